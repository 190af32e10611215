"""What a cached prefix costs against one that is sent anew."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Literal

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.prices.cost import exact
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.checks import checked_count
from langchain_lean.context.prefixes.limits import CacheRules, Lifetime, cache_rules
from langchain_lean.errors import ConfigurationError

_MOST_CALLS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOrRetrieve:
    """Which of two ways to show documents to a model is cheaper.

    Attributes:
        choice: `bundle` for all documents in a cached prefix, `retrieve` for pruned
            chunks in every prompt; `retrieve` where both cost the same.
        bundle_cost: Dollars of input for all calls of a cache lifetime, by bundle.
        retrieve_cost: The same by retrieval.
        break_even_calls: From how many calls in a lifetime on the bundle is cheaper;
            None for never.
        cached: Whether the bundle is long enough to be cached, and that pays.
    """

    choice: Literal["bundle", "retrieve"]
    bundle_cost: Decimal
    retrieve_cost: Decimal
    break_even_calls: int | None
    cached: bool


@dataclass(frozen=True, slots=True)
class Pricing:
    """What input tokens of a model cost, sent anew, written and read.

    Attributes:
        book: The prices.
        model: The model id.
        provider: Its provider.
        lifetime: How long the provider keeps what it caches.
    """

    book: PriceBook
    model: str
    provider: str | None
    lifetime: Lifetime

    def plain(self, tokens: int, calls: int) -> Decimal:
        """Dollars for sending tokens anew with every call."""
        with exact():
            return self._input(TokenUsage(input=tokens)) * calls

    def cached(self, tokens: int, calls: int, behind: int = 0) -> Decimal:
        """Dollars for writing tokens to the cache once, and reading them after that.

        So many tokens `behind` them are sent anew with every call, in the same prompt:
        where prices have tiers its length decides.
        """
        whole = tokens + behind
        read = self._input(TokenUsage(input=whole, cache_read=tokens))
        if self.lifetime == "5m":
            write = self._input(TokenUsage(input=whole, cache_write_5m=tokens))
        else:
            write = self._input(TokenUsage(input=whole, cache_write_1h=tokens))
        with exact():
            return write + read * (calls - 1)

    def pays(self, tokens: int, calls: int) -> bool:
        """Whether so many calls in a lifetime make up for writing tokens."""
        return self.cached(tokens, calls) < self.plain(tokens, calls)

    def _input(self, usage: TokenUsage) -> Decimal:
        return self.book.cost(usage, self.model, self.provider).input


@cache
def default_prices() -> PriceBook:
    """One book for all who bring none: it remembers what it has looked up."""
    return PriceBook()


def bundle_or_retrieve(
    *,
    bundle_tokens: int,
    chunk_tokens: int,
    calls: int,
    model: str,
    provider: str | None = None,
    prefix_tokens: int = 0,
    lifetime: Lifetime = "5m",
    prices: PriceBook | None = None,
) -> BundleOrRetrieve:
    """Say which is cheaper: all documents in a cached prefix, or chunks per question.

    Questions and answers cost the same either way and are left out; so are better
    answers, and what an embedding of the question costs. A prefix below the model's
    minimum is not cached, nor one whose re-use does not pay the write.

    Args:
        bundle_tokens: Tokens of all documents.
        chunk_tokens: Tokens of the chunks that are retrieved for a question.
        calls: Calls within the lifetime of the cache, which each call renews.
        model: The model id.
        provider: Its provider, as LangChain names it.
        prefix_tokens: Tokens of instructions and tools in front of the documents.
        lifetime: `5m`, or `1h`, which costs more to write at Anthropic and Bedrock.
        prices: Where prices come from; a `PriceBook()` by default.

    Returns:
        The cheaper choice, and what both cost.

    Raises:
        ConfigurationError: If a number or the lifetime makes no sense.
        UnpricedModelError: If no price is known for the model.

    Example:
        ```python
        bundle_or_retrieve(
            bundle_tokens=30_000, chunk_tokens=1_200, calls=50, model="gpt-5-mini"
        ).choice
        ```
    """
    checked_count("calls", calls)
    for name, tokens in (
        ("bundle_tokens", bundle_tokens),
        ("chunk_tokens", chunk_tokens),
        ("prefix_tokens", prefix_tokens),
    ):
        checked_count(name, tokens, least=0)
    rules = cache_rules(model, provider)
    checked_lifetime(lifetime, rules, model)
    pricing = Pricing(prices or default_prices(), model, provider, lifetime)

    def cost(prefix: int, chunks: int, count: int) -> Decimal:
        plain = pricing.plain(prefix + chunks, count)
        if rules is None or prefix < rules.minimum:
            return plain
        return min(plain, pricing.cached(prefix, count, chunks))

    def both(count: int) -> tuple[Decimal, Decimal]:
        bundle = cost(prefix_tokens + bundle_tokens, 0, count)
        return bundle, cost(prefix_tokens, chunk_tokens, count)

    bundle_cost, retrieve_cost = both(calls)
    whole = prefix_tokens + bundle_tokens
    return BundleOrRetrieve(
        choice="bundle" if bundle_cost < retrieve_cost else "retrieve",
        bundle_cost=bundle_cost,
        retrieve_cost=retrieve_cost,
        break_even_calls=_first(lambda count: both(count)[0] < both(count)[1]),
        cached=bundle_cost < pricing.plain(whole, calls),
    )


def checked_lifetime(lifetime: object, rules: CacheRules | None, model: str) -> None:
    """Check that a provider keeps a prefix of a model so long.

    Raises:
        ConfigurationError: If it does not.
    """
    if lifetime not in ("5m", "1h"):
        raise ConfigurationError(f"lifetime= is '5m' or '1h', not {lifetime!r}.")
    if lifetime == "1h" and rules is not None and not rules.hour:
        raise ConfigurationError(
            f"The provider keeps prefixes of {model!r} for 5 minutes only; leave "
            "lifetime= at '5m'."
        )


def _first(cheaper: Callable[[int], bool]) -> int | None:
    """The first number of calls that makes it cheaper; all after it do, too."""
    calls = range(1, _MOST_CALLS + 1)
    index = bisect_left(calls, True, key=cheaper)
    return calls[index] if index < len(calls) else None
