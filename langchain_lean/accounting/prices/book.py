"""What models cost: the dated price table of `genai-prices`, and your own prices."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from langchain_lean.accounting.model_ids import model_names, price_provider
from langchain_lean.accounting.prices.cost import Cost, Rates, exact
from langchain_lean.accounting.prices.table import price_table
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.errors import ConfigurationError, UnpricedModelError

Dollars = str | int | Decimal
"""An amount of money; no floats, which cannot hold most amounts."""

_CACHED = 4096
_MINUTE = timedelta(minutes=1)
_Dated = tuple[datetime, datetime, tuple[Rates, ...] | None]
_END = datetime.max.replace(tzinfo=UTC)
_NEVER: _Dated = (_END, _END, None)
_PER_TOKEN = Decimal("0.000001")
_DECIMALS = 6  # of dollars per million: a token then costs whole picodollars


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPrice:
    """A price of your own, in US dollars per million tokens.

    Attributes:
        model: The model id it is for, in lower case.
        provider: The provider it is for; None for any.
        input: For input tokens.
        output: For output tokens.
        cache_read: For tokens read from the provider's cache; None as `input`.
        cache_write: For tokens written to it; None as `input`.
        cache_write_1h: For tokens written for an hour; None as `cache_write`.
    """

    model: str
    provider: str | None = None
    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None

    def to_json(self) -> str:
        """The price as a JSON text."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "OwnPrice":
        """The price of a JSON text."""
        named = ("model", "provider")
        values: dict[str, Any] = {
            name: value if name in named or value is None else Decimal(value)
            for name, value in json.loads(text).items()
        }
        return cls(**values)

    def rates(self) -> Rates:
        """The same price for single tokens."""
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        hour = write if self.cache_write_1h is None else self.cache_write_1h
        return Rates(
            input={
                "input": self.input * _PER_TOKEN,
                "cache_read": (read - self.input) * _PER_TOKEN,
                "cache_write_5m": (write - self.input) * _PER_TOKEN,
                "cache_write_1h": (hour - self.input) * _PER_TOKEN,
            },
            output={"output": self.output * _PER_TOKEN},
        )


class PriceBook:
    """Prices of models: what `genai-prices` knows, and what you add.

    The table is dated: an old call has the price of its day. Loading it takes about
    half a second, once in a process, when the first price is asked for.

    Args:
        own: Prices of your own, which win over the table; see `with_price`.
    """

    def __init__(self, own: Iterable[OwnPrice] = ()) -> None:
        self.own = tuple(own)
        self._rates = {(p.model, p.provider): (p.rates(),) for p in self.own}
        self._newest: dict[tuple[str | None, ...], _Dated] = {}

    def with_price(
        self,
        model: str,
        *,
        input: Dollars,  # noqa: A002 - the word of the field
        output: Dollars,
        cache_read: Dollars | None = None,
        cache_write: Dollars | None = None,
        cache_write_1h: Dollars | None = None,
        provider: str | None = None,
    ) -> "PriceBook":
        """Add a price of your own, in dollars per million tokens.

        Args:
            model: The model id, as the provider reports it.
            input: For input tokens.
            output: For output tokens.
            cache_read: For tokens read from the provider's cache; as `input` if not
                given.
            cache_write: For tokens written to it; as `input` if not given.
            cache_write_1h: For tokens written for an hour; as `cache_write` if not
                given.
            provider: Only for this provider, named as LangChain names it.

        Returns:
            A new book; this one stays as it is.

        Raises:
            ConfigurationError: If an amount is not a number from 0 up.
        """
        price = OwnPrice(
            model=model_names(model)[0],
            provider=provider and price_provider(provider, model),
            input=_dollars("input", input),
            output=_dollars("output", output),
            cache_read=_optional("cache_read", cache_read),
            cache_write=_optional("cache_write", cache_write),
            cache_write_1h=_optional("cache_write_1h", cache_write_1h),
        )
        key = (price.model, price.provider)
        return PriceBook(
            [*(p for p in self.own if (p.model, p.provider) != key), price]
        )

    def cost(
        self,
        usage: TokenUsage,
        model: str,
        provider: str | None = None,
        at: datetime | None = None,
    ) -> Cost:
        """Price what a call used.

        Args:
            usage: What it used.
            model: The model id: a provider's, or a Bedrock id, inference profile or
                ARN.
            provider: The provider as LangChain names it (`openai`, `azure`,
                `amazon_bedrock`, ...) or as `genai-prices` does; the model tells it
                where it is not given.
            at: When the call was made; now if not given. Naive times are UTC.

        Returns:
            The cost, exact to the last digit.

        Raises:
            UnpricedModelError: If no price is known; the cost is never 0 instead.
        """
        with exact():
            return self._cost(usage, model, provider, at)

    def _cost(
        self,
        usage: TokenUsage,
        model: str,
        provider: str | None,
        at: datetime | None,
    ) -> Cost:
        when = datetime.now(UTC) if at is None else at
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
        key = (model, provider, usage.service_tier, usage.region)
        since, until, rates = self._newest.get(key, _NEVER)
        if not since <= when < until:
            rates = self._own(model, provider)
            if rates is None:
                rates = price_table().rates(model, provider, when, _context(usage))
            # Most calls are priced soon after each other, and prices change at full
            # minutes.
            since = when.replace(second=0, microsecond=0)
            if len(self._newest) >= _CACHED:
                self._newest.clear()
            if since < _END - _MINUTE:
                self._newest[key] = (since, since + _MINUTE, rates)
        if rates is None:
            raise UnpricedModelError(model, provider)
        return next(r for r in rates if usage.input > r.above).cost(usage)

    def has_own(self, model: str, provider: str | None = None) -> bool:
        """Whether a price of your own holds for a model.

        Args:
            model: The model.
            provider: Its provider as LangChain names it.
        """
        return self._own(model, provider) is not None

    def _own(self, model: str, provider: str | None) -> tuple[Rates, ...] | None:
        if not self._rates:
            return None
        owner = provider and price_provider(provider, model)
        keys = ((name, p) for name in model_names(model) for p in (owner, None))
        return next((self._rates[key] for key in keys if key in self._rates), None)


def _context(usage: TokenUsage) -> tuple[tuple[str, str], ...]:
    """What `genai-prices` chooses price variants by.

    It files tiers under three names (`service_tier`, `processing` for batches,
    `speed` for fast modes); a value means one thing wherever it is known.
    """
    context = []
    if usage.service_tier:
        tier = usage.service_tier.lower()
        context += [(key, tier) for key in ("service_tier", "processing", "speed")]
    if usage.region:
        context.append(("region", usage.region))
    return tuple(context)


def _optional(name: str, amount: Dollars | None) -> Decimal | None:
    return None if amount is None else _dollars(name, amount)


def _dollars(name: str, amount: Dollars) -> Decimal:
    problem = (
        f"{name} must be dollars per million tokens as text, int or Decimal "
        f'(such as "0.15"), not {amount!r:.40}.'
    )
    if isinstance(amount, bool) or not isinstance(amount, str | int | Decimal):
        raise ConfigurationError(problem)
    try:
        value = Decimal(amount)
    except InvalidOperation:
        raise ConfigurationError(problem) from None
    if not value.is_finite() or value < 0:
        raise ConfigurationError(problem)
    with exact():
        fits = value == round(value, _DECIMALS)
    if not fits:
        msg = f"{name} can have {_DECIMALS} decimals at most, so that sums stay exact."
        raise ConfigurationError(msg)
    return value
