"""Whether it pays to sum up: what it saves from now on against what it costs now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from langchain_core.runnables import Runnable

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.errors import UnpricedModelError
from langchain_lean.models import ls_params

Price = Callable[[TokenUsage], Decimal]
"""What usage costs, in dollars or in any other unit."""


_RATIOS = PriceBook().with_price(
    "unknown", input=1, output=5, cache_read="0.1", cache_write="1.25"
)
"""Anthropic's between kinds of tokens, for models without a price: a cache read costs
no less at other providers, so that with these a summary pays latest."""


def prices_of(
    prices: PriceBook,
    answering: Runnable[Any, Any] | None,
    summarizing: Runnable[Any, Any] | None,
) -> tuple[Price, Price]:
    """The prices of the models that read a conversation and that sum it up.

    Args:
        prices: Where to look them up; loading the table takes half a second.
        answering: The model that reads it.
        summarizing: The model that sums it up.

    Returns:
        Both in dollars; or, where one is not known, both in the price of an input
        token.
    """
    if answering is None or summarizing is None:
        return _unknown, _unknown
    try:
        return _price(prices, answering), _price(prices, summarizing)
    except UnpricedModelError:
        return _unknown, _unknown


def _price(prices: PriceBook, model: Runnable[Any, Any]) -> Price:
    said = ls_params(model)
    name, provider = said.get("ls_model_name"), said.get("ls_provider")
    if not name:
        raise UnpricedModelError("")

    def price(usage: TokenUsage) -> Decimal:
        return prices.cost(usage, name, provider).total

    price(TokenUsage(input=1))
    return price


def _unknown(usage: TokenUsage) -> Decimal:
    return _RATIOS.cost(usage, "unknown").total


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What leaving messages out changes, in tokens.

    Attributes:
        leaving: Of what leaves.
        staying: Of what stays behind it, which a provider's cache does not know in its
            new place.
        grown: Of what the summary grows by.
        written: Of what the summarizer writes; more than that where it writes anew.
        asked: Of what the summarizer reads beside what leaves.
        calls: How many calls are still to come.
        cached: Whether the provider reads the conversation from its prompt cache.
    """

    leaving: int
    staying: int
    grown: int
    written: int
    asked: int
    calls: int
    cached: bool

    def pays(self, answering: Price, summarizing: Price) -> bool:
        """Whether it saves more than it costs.

        Every call to come is spared what leaves, less the summary: at the price of a
        cache read where the conversation is cached. Against that stand the call of the
        summarizer and, where it is cached, what stays, written once more instead of
        read.

        Args:
            answering: The price of the model that reads the conversation.
            summarizing: The price of the model that sums it up.
        """
        spared = self.leaving - self.grown
        if spared <= 0:
            return False
        saved = answering(_input(spared, cached=self.cached)) * self.calls
        read = self.leaving + self.asked
        cost = summarizing(TokenUsage(input=read, output=self.written))
        if self.cached:
            moved = self.staying + self.grown
            cost += answering(TokenUsage(input=moved, cache_write_5m=moved))
            cost -= answering(_input(moved, cached=True))
        return saved > cost


def _input(tokens: int, *, cached: bool) -> TokenUsage:
    return TokenUsage(input=tokens, cache_read=tokens if cached else 0)
