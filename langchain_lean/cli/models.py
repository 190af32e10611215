"""Models as they are named on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from langchain_lean.accounting.model_ids import price_provider
from langchain_lean.accounting.prices.table import price_table
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.errors import LeanError, UnpricedModelError

if TYPE_CHECKING:
    from langchain_lean.accounting.prices.book import PriceBook

_NEAR = 3
_ONE = TokenUsage(input=1)


class Model(NamedTuple):
    """A model that has a price.

    Attributes:
        name: Its id.
        provider: Its provider, if it was named.
    """

    name: str
    provider: str | None


def priced_model(
    text: str,
    prices: PriceBook,
    *,
    provider: str | None = None,
    at: datetime | None = None,
) -> Model:
    """The model that a text names: its id, or `provider:id` as LangChain writes it.

    Args:
        text: What was typed.
        prices: Where it must have a price.
        provider: Its provider, where that was said apart.
        at: When; now if not given.

    Raises:
        LeanError: If it has none; with the names that come near.
    """
    owner, _, name = text.partition(":")
    named = [Model(name, owner)] if provider is None and owner and name else []
    for model in (*named, Model(text, provider)):
        if _has_price(model, prices, at):
            return model
    where = f" from provider {provider!r:.80}" if provider else ""
    near = _near(named[0] if named else Model(text, provider), prices, at)
    asked = f"; did you mean {' or '.join(near)}?" if near else "."
    msg = f"No price is known for model {text!r:.80}{where}{asked}"
    raise LeanError(msg)


def _has_price(model: Model, prices: PriceBook, at: datetime | None) -> bool:
    with suppress(UnpricedModelError):
        prices.cost(_ONE, *model, at)
        return True
    return False


def _near(model: Model, prices: PriceBook, at: datetime | None) -> list[str]:
    """Names that have a price, the nearest first."""
    owner = price_provider(model.provider, model.name)
    owners: dict[str, list[str]] = {}
    for each in price_table().snapshot.providers:
        for info in each.models:
            owners.setdefault(info.id, []).append(each.id)
    known = [
        name for name, all_of in owners.items() if owner is None or owner in all_of
    ]
    names = get_close_matches(model.name.lower(), known or owners, n=2 * _NEAR)
    found = (
        label
        for name in names
        for label in _labels(name, owners[name], owner, prices, at)
    )
    return list(dict.fromkeys(found))[:_NEAR]


def _labels(
    name: str,
    owners: list[str],
    owner: str | None,
    prices: PriceBook,
    at: datetime | None,
) -> Iterator[str]:
    """How to name a model of the table so that it is found."""
    if owner is None and _has_price(Model(name, None), prices, at):
        yield name
        return
    for each in [owner] if owner in owners else owners:
        if _has_price(Model(name, each), prices, at):
            yield f"{each}:{name}"
