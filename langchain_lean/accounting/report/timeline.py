"""What a ledger spent over time, as a figure."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from langchain_lean.accounting.entry import LedgerEntry, Totals
from langchain_lean.accounting.report import words
from langchain_lean.accounting.report.figure import (
    NotebookFigure,
    empty_figure,
    legend,
    plain,
    titled_axes,
)
from langchain_lean.accounting.report.style import COLORS
from langchain_lean.vectors import Floats

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from langchain_lean.accounting.ledger import TokenLedger

_NEWEST = 10_000
_MOMENTS = 400
_SHADES = ("accent", "question", "history", "retrieved", "examples", "output")
_MARKS = {"failed": ("failed", "x", 0.97), "blocked": ("refused", "v", 0.92)}


class _Event(NamedTuple):
    """What a call, or several, came to: dollars, tokens, failed and refused calls."""

    at: datetime
    model: str | None
    amounts: Floats


def timeline(ledger: "TokenLedger") -> NotebookFigure:
    """Draw what was spent over time, by model; tokens where nothing has a price.

    The newest 10,000 calls stand each where it ended, older ones at the end of their
    day or, on a day that newer ones share, before these.

    Args:
        ledger: The ledger.
    """
    total = ledger.totals()
    if not total.calls:
        return empty_figure(words.NOTHING_YET)
    events = list(_events(ledger))
    priced = total.unpriced < total.calls
    calls = words.many(total.calls, "call")
    amount = words.cost(total) if priced else f"{words.count(total.usage.total)} tokens"
    title = "Spent over time" if priced else "Tokens over time"
    said = f"{amount} in {calls}; times are in UTC"
    figure, axes = titled_axes(title, said, height=4.2)
    legend(figure, _drawn(axes, events, priced=priced))
    return plain(figure)


def _events(ledger: "TokenLedger") -> Iterator[_Event]:
    groups = ledger.totals(by=("day", "model"))
    older = {key: _amounts(totals) for key, totals in groups.items()}
    newest = ledger.store.recent(_NEWEST)
    begun: dict[str | None, datetime] = {}
    for entry in newest:
        end = entry.start + timedelta(seconds=entry.seconds)
        begun[entry.day] = min(end, begun.get(entry.day, end))
        amounts = _amounts_of(entry)
        yield _Event(end, entry.model, amounts)
        if (key := (entry.day, entry.model)) in older:
            older[key] -= amounts
    if sum(totals.calls for totals in groups.values()) > len(newest):
        for (day, model), amounts in older.items():
            midnight = datetime.fromisoformat(f"{day}T00:00Z") + timedelta(days=1)
            yield _Event(min(midnight, begun.get(day, midnight)), model, amounts)


def _amounts_of(entry: LedgerEntry) -> Floats:
    cost = 0.0 if entry.cost is None else float(entry.cost.total)
    marks = (getattr(entry, name) for name in _MARKS)
    return np.array([cost, entry.usage.total, *marks], float)


def _amounts(totals: Totals) -> Floats:
    marks = (totals.flags.get(name, 0) for name in _MARKS)
    return np.array([float(totals.cost), totals.usage.total, *marks])


def _drawn(axes: "Axes", events: list[_Event], *, priced: bool) -> "dict[str, Artist]":
    """Draw events, and give what was drawn by its name."""
    ends = [event.at.timestamp() for event in events]
    pad = max((max(ends) - min(ends)) / 50, 1.0)
    moments = np.linspace(min(ends) - pad, max(ends) + pad, _MOMENTS)
    times: Any = [datetime.fromtimestamp(moment, UTC) for moment in moments]
    added: dict[str, Any] = defaultdict(lambda: np.zeros(_MOMENTS))
    marked = np.zeros((len(_MARKS), _MOMENTS), int)
    for place, event in zip(np.searchsorted(moments, ends), events, strict=True):
        dollars, tokens, *marks = event.amounts
        if amount := dollars if priced else tokens:
            added[words.printable(event.model or "(unknown)")][place] += amount
        marked[:, place] += np.array(marks, int)
    areas = {name: np.cumsum(each) for name, each in _largest(added).items()}
    shades = [*(COLORS[name] for name in _SHADES[: len(added)]), COLORS["rest"]]
    drawn: dict[str, Artist] = {}
    if areas:
        stack = axes.stackplot(
            times, *areas.values(), colors=shades, step="post", linewidth=0
        )
        drawn |= zip(areas, stack, strict=True)
    for counts, (said, marker, height) in zip(marked, _MARKS.values(), strict=True):
        if counts.any():
            where = np.flatnonzero(counts)
            drawn[f"{counts.sum():,} {said}"] = axes.scatter(
                [times[at] for at in where],
                [height] * len(where),
                marker=marker,
                color=COLORS["spent"],
                s=20,
                linewidth=1,
                transform=axes.get_xaxis_transform(),
            )
    top = float(sum(area[-1] for area in areas.values()))
    axes.set_xlim(times[0], times[-1])
    axes.set_ylim(0, top * 1.2 or 1.0)
    _scaled(axes, priced=priced)
    return drawn


def _largest(added: dict[str, Any]) -> dict[str, Any]:
    """The models that spent most, and all others as one; the largest first."""
    ranked = sorted(added, key=lambda name: -added[name].sum())
    shown = ranked if len(ranked) <= len(_SHADES) + 1 else ranked[: len(_SHADES)]
    found: dict[str, Any] = {}
    for name in shown:  # long names may be short for the same
        found[words.short(name)] = found.get(words.short(name), 0) + added[name]
    if rest := ranked[len(shown) :]:
        found[f"({len(rest):,} more)"] = sum(added[name] for name in rest)
    return found


def _scaled(axes: "Axes", *, priced: bool) -> None:
    from matplotlib import dates
    from matplotlib.ticker import FuncFormatter

    untyped: Any = dates
    locator = untyped.AutoDateLocator(tz=UTC, minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator, tz=UTC))
    axes.yaxis.set_major_formatter(FuncFormatter(_dollars if priced else _tokens))
    axes.yaxis.grid(visible=True, color=COLORS["line"])
    axes.set_axisbelow(True)


def _dollars(value: float, place: int) -> str:
    return f"${words.exact_money(Decimal(f'{value:.6g}'))}"


def _tokens(value: float, place: int) -> str:
    return words.count(round(value))
