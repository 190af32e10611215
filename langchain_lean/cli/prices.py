"""`langchain-lean prices`: what models cost."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from langchain_lean.cli.arguments import parser, whole

if TYPE_CHECKING:
    from langchain_lean.accounting.prices.cost import Rates
    from langchain_lean.accounting.usage import TokenUsage
    from langchain_lean.cli.output import Page

_MILLION = 1_000_000
_HEAD = ("model", "provider", "input", "output", "cache read", "cache write")
_HOUR = "for 1 h"
_EXAMPLE = """\
  langchain-lean prices gpt-5-mini claude-haiku-4-5 --input 12000 --output 500
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs, for one size of input.

    Attributes:
        model: How it was named.
        known_as: The id that the price table has it under.
        provider: The provider that the table has it under.
        rates: The rates; `langchain_lean.accounting.prices.cost` says what of.
        up_to: The largest input they are for; None where there is no end.
        cost: What the usage costs, where it is of this size.
    """

    model: str
    known_as: str
    provider: str
    rates: Rates
    up_to: int | None
    cost: Decimal | None

    def per_million(self, count: str) -> Decimal | None:
        """Dollars for a million of a count; None where it has no price of its own."""
        rates = self.rates
        if count == "output":
            return _per_million(rates.output.get(count))
        found = rates.input.get(count)
        if found is None or count == "input":
            return _per_million(found)
        return _per_million(rates.input.get("input", Decimal(0)) + found)


def main(arguments: Sequence[str], *, prog: str) -> int:
    """Print what models cost.

    Args:
        arguments: What stands behind the command.
        prog: How it is called.

    Returns:
        The exit code.
    """
    read = parser(
        prog,
        "What models cost, in US dollars per million tokens, from the dated table of "
        "genai-prices.",
        _EXAMPLE,
    )
    add = read.add_argument
    add("models", nargs="+", metavar="MODEL", help="a model's id, or provider:id")
    add("--provider", metavar="P", help="whose price, such as azure, of all of them")
    add("--at", type=_moment, metavar="DATE", help="as of a day, such as 2026-01-31")
    add("--input", type=whole(0), metavar="N", help="also the cost of so many tokens")
    add("--output", type=whole(0), metavar="N", help="and of so many answered")
    add(
        "--cached",
        type=whole(0),
        metavar="N",
        help="how much of --input a provider's cache reads",
    )
    options = read.parse_intermixed_args(arguments)

    from langchain_lean.accounting.prices.cost import exact
    from langchain_lean.accounting.usage import TokenUsage
    from langchain_lean.cli.output import show, show_json

    counts = (options.input, options.output, options.cached)
    usage = None
    if any(count is not None for count in counts):
        sent, answered, cached = (count or 0 for count in counts)
        if cached > sent:
            read.error("--cached is a part of --input, and cannot be more")
        usage = TokenUsage(input=sent, output=answered, cache_read=cached)
    at = options.at or datetime.now(UTC)
    with exact():
        found = [
            list(_prices(name, options.provider, at, usage)) for name in options.models
        ]
        if options.json:
            show_json(_figures(found, at, counts if usage else None))
        else:
            show(_page([price for prices in found for price in prices], usage))
    return 0


def _prices(
    name: str, provider: str | None, at: datetime, usage: TokenUsage | None
) -> Iterator[Price]:
    """The prices of a model, for small inputs first."""
    from langchain_lean.accounting.model_ids import model_names, price_provider
    from langchain_lean.accounting.prices.book import PriceBook
    from langchain_lean.accounting.prices.table import price_table
    from langchain_lean.cli.models import priced_model

    model = priced_model(name, PriceBook(), provider=provider, at=at)
    table = price_table()
    owner = price_provider(model.provider, model.name)
    known = _known(table.snapshot, model_names(model.name), owner)
    tiers = table.rates(*model, at, ()) or ()
    ends = [None, *(rates.above for rates in tiers)]
    applies = next((r for r in tiers if usage and usage.input > r.above), None)
    for rates, up_to in reversed(list(zip(tiers, ends, strict=False))):
        yield Price(
            model=name,
            known_as=known[0],
            provider=known[1],
            rates=rates,
            up_to=up_to,
            cost=rates.cost(usage).total if usage and rates is applies else None,
        )


def _known(
    snapshot: Any, names: Sequence[str], provider: str | None
) -> tuple[str, str]:
    """The id and the provider that the price table has a model under."""
    for name in names:
        try:
            owner, model = snapshot.find_provider_model(name, None, provider, None)
        except LookupError:
            continue
        return model.id, owner.id
    return names[0], provider or ""


def _per_million(rate: Decimal | None) -> Decimal | None:
    return None if rate is None else rate * _MILLION


def _page(prices: Sequence[Price], usage: TokenUsage | None) -> Page:
    from rich.text import Text

    from langchain_lean.accounting.report import words
    from langchain_lean.cli.output import Page, table

    hour = any(price.per_million("cache_write_1h") is not None for price in prices)
    counts = ["input", "output", "cache_read", "cache_write_5m"]
    counts += ["cache_write_1h"] if hour else []
    tiered = any(price.up_to is not None for price in prices)
    head = (*_HEAD, *([_HOUR] if hour else []), *(["cost"] if usage else []))
    rows: list[tuple[str, ...]] = [(*head, "") if tiered else head]
    for price in prices:
        amounts = (price.per_million(count) for count in counts)
        cells = ["-" if a is None else words.money(a) for a in amounts]
        if usage:
            cells.append("" if price.cost is None else words.money(price.cost))
        if tiered:
            cells.append(_size(price))
        rows.append((words.printable(price.model), price.provider, *cells))
    return Page((table(rows), *(Text(n, style="dim") for n in _notes(prices, usage))))


def _notes(prices: Sequence[Price], usage: TokenUsage | None) -> list[str]:
    from langchain_lean.accounting.report import words

    notes = ["Prices are in US dollars per million tokens."]
    cached = ("cache_read", "cache_write_5m")
    if any(price.per_million(count) is None for price in prices for count in cached):
        notes.append("Where a cache has no price of its own, its tokens cost as input.")
    if usage is not None:
        read = f" ({usage.cache_read:,} of them cached)" if usage.cache_read else ""
        sent, answered = f"{usage.input:,} input{read}", f"{usage.output:,} output"
        notes.append(f"The cost is that of {sent} and {answered} tokens.")
    renamed = {p.model: p.known_as for p in prices if p.known_as not in p.model}
    notes += [
        words.printable(f"{model} is priced as {known}.")
        for model, known in renamed.items()
    ]
    return notes


def _size(price: Price) -> str:
    if price.up_to is not None:
        return f"up to {price.up_to:,} input tokens"
    above = price.rates.above
    return f"above {above:,} input tokens" if above >= 0 else ""


def _figures(
    found: Sequence[Sequence[Price]],
    at: datetime,
    usage: tuple[int | None, ...] | None,
) -> dict[str, Any]:
    counted = dict(zip(("input", "output", "cached"), usage or (), strict=False))
    return {
        "at": at.isoformat(timespec="seconds"),
        "usage": {name: count or 0 for name, count in counted.items()} or None,
        "models": [
            {
                "model": prices[0].model,
                "known_as": prices[0].known_as,
                "provider": prices[0].provider,
                "usd_per_million_tokens": [_rates(price) for price in prices],
                "cost_usd": next(
                    (_text(p.cost) for p in prices if p.cost is not None), None
                ),
            }
            for prices in found
        ],
    }


def _rates(price: Price) -> dict[str, Any]:
    return {
        "input": _text(price.per_million("input")),
        "output": _text(price.per_million("output")),
        "cache_read": _text(price.per_million("cache_read")),
        "cache_write": _text(price.per_million("cache_write_5m")),
        "cache_write_1h": _text(price.per_million("cache_write_1h")),
        "up_to_input_tokens": price.up_to,
    }


def _text(amount: Decimal | None) -> str | None:
    from langchain_lean.accounting.report import words

    return None if amount is None else words.exact_money(amount)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        moment.astimezone(UTC)  # which is before the year 1 of some
    except (ValueError, OverflowError):
        msg = f"must be a date such as 2026-01-31, not {text!r:.40}"
        raise argparse.ArgumentTypeError(msg) from None
    return moment
