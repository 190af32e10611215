"""A ledger as matplotlib figures."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from langchain_lean.accounting.anatomy import PARTS, Anatomy
from langchain_lean.accounting.report import words
from langchain_lean.accounting.report.data import make_report
from langchain_lean.accounting.report.figure import (
    NotebookFigure,
    empty_figure,
    legend,
    plain,
    titled_axes,
)
from langchain_lean.accounting.report.style import COLORS
from langchain_lean.accounting.report.timeline import timeline
from langchain_lean.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer

    from langchain_lean.accounting.ledger import TokenLedger
    from langchain_lean.accounting.report.data import Report

Kind = Literal["anatomy", "timeline", "savings", "latency"]

_SHOWN = 10
_FRAME, _ROW = 1.35, 0.42  # inches: around all bars, for each
_OWN_COST = "their own cost"


def plot(ledger: "TokenLedger", kind: Kind) -> NotebookFigure:
    """Draw a ledger.

    Args:
        ledger: The ledger.
        kind: As for `TokenLedger.plot`.

    Raises:
        ConfigurationError: If there is no such kind.
    """
    if kind not in get_args(Kind):
        known = ", ".join(map(repr, get_args(Kind)))
        raise ConfigurationError(f"kind= is one of {known}, not {kind!r:.40}.")
    if kind == "timeline":
        return timeline(ledger)
    draw = {"anatomy": _anatomy, "savings": _savings, "latency": _latency}[kind]
    report = make_report(ledger, timed=kind == "latency")
    return empty_figure(words.NOTHING_YET) if report.empty else draw(report)


class _Piece(NamedTuple):
    """A part of a bar: its name in the legend, that of its color, and its length."""

    name: str
    color: str
    size: float


class _Row(NamedTuple):
    """A bar, its name, and its figure, written out."""

    name: str
    value: str
    pieces: Sequence[_Piece]


def _anatomy(report: "Report") -> NotebookFigure:
    anatomies = [(line.name, line.totals.anatomy) for line in report.models]
    found = sorted(
        ((name, parts) for name, parts in anatomies if parts.total),
        key=lambda named: -named[1].total,
    )
    if not found:
        return empty_figure("No call has used any tokens yet.")
    if len(found) > _SHOWN + 1:
        rest = sum((parts for _, parts in found[_SHOWN:]), Anatomy())
        found[_SHOWN:] = [(f"({len(found) - _SHOWN:,} more)", rest)]
    whole = report.total.anatomy
    shares = {n: f"{n} {words.share(part)}" for n, part in whole.shares().items()}
    rows = [
        _Row(
            name,
            words.count(parts.total),
            [_Piece(shares[n], n, size) for n, size in parts.parts().items() if size],
        )
        for name, parts in found
    ]
    tokens, calls = words.count(whole.total), words.many(report.total.calls, "call")
    said = f"{tokens} tokens in {calls}"
    return _bars("Where the tokens go", said, rows, [shares[name] for name in PARTS])


def _savings(report: "Report") -> NotebookFigure:
    rows = [
        _Row(
            name,
            words.lever_saved(lever),
            [
                _Piece(kind, color, float(amount))
                for kind, color, amount in (
                    ("exact", "accent", lever.exact),
                    ("counterfactual", "pale", lever.counterfactual),
                )
                if amount
            ],
        )
        for name, lever in words.ranked(report)
    ]
    if cost := words.own_cost(report):
        own = sum(report.savings.own_cost.values(), Decimal(0))
        rows.append(_Row(_OWN_COST, cost, [_Piece(_OWN_COST, "spent", -float(own))]))
    if not rows:
        return empty_figure("No lever has saved anything yet.")
    said = " · ".join([*words.spending(report)[1:], *words.provider_cache(report)])
    order = ("exact", "counterfactual", _OWN_COST)
    return _bars("Savings by lever", said, rows, order)


def _latency(report: "Report") -> NotebookFigure:
    rows = [
        _Row(
            row.part,
            f"{words.duration(row.p50)} · {words.duration(row.p95)}",
            [
                _Piece("p50", "accent", row.p50),
                _Piece("p95", "pale", row.p95 - row.p50),
            ],
        )
        for row in report.latency
    ]
    if not rows:
        return empty_figure("No run has been timed yet.")
    runs = max(row.runs for row in report.latency)
    said = f"p50 · p95 of the newest {words.many(runs, 'run')}"
    return _bars("Latency", said, rows, ("p50", "p95"))


def _bars(
    title: str, said: str, rows: Sequence[_Row], order: Sequence[str]
) -> NotebookFigure:
    """Horizontal bars, their names to the left and their figures to the right.

    Args:
        title: What they show.
        said: Their figures in a line.
        rows: The bars, from the top.
        order: The names of their pieces, as the legend gives them.
    """
    height = _FRAME + _ROW * len(rows)
    figure, axes = titled_axes(title, said, height=height)
    drawn: dict[str, BarContainer] = {}
    for place, row in enumerate(rows):
        drawn |= _bar(axes, place, row)
    axes.set_yticks(range(len(rows)), [words.short(row.name) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks([])
    axes.margins(x=0)
    legend(figure, {name: drawn[name] for name in order if name in drawn})
    return plain(figure)


def _bar(axes: "Axes", place: int, row: _Row) -> "dict[str, BarContainer]":
    """One bar, whose negative pieces go to the left; its pieces by name."""
    drawn, left, right = {}, 0.0, 0.0
    for name, color, size in row.pieces:
        drawn[name] = axes.barh(
            place,
            size,
            left=left if size < 0 else right,
            height=0.56,
            color=COLORS[color],
            edgecolor=COLORS["surface"],
            linewidth=0.8,
        )
        left, right = left + min(size, 0.0), right + max(size, 0.0)
    axes.annotate(
        row.value,
        (right, place),
        (5, 0),
        textcoords="offset points",
        va="center",
        fontsize=10,
    )
    return drawn
