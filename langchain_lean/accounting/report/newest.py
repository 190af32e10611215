"""A ledger in a notebook: its sums, and its newest calls."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import compress
from typing import TYPE_CHECKING

from langchain_lean.accounting.entry import FLAGS, LedgerEntry
from langchain_lean.accounting.report import words
from langchain_lean.accounting.report.data import make_report
from langchain_lean.accounting.report.html import Markup, figures, paragraphs, table
from langchain_lean.accounting.report.style import CSS
from langchain_lean.accounting.report.svg import Span, element, meter
from langchain_lean.errors import LeanError

if TYPE_CHECKING:
    from langchain_lean.accounting.ledger import TokenLedger

_SHOWN = 10
_COLUMNS = (
    *("model", "node", "cost", "tokens", "input", "cached", "output"),
    *("took", "began (UTC)", ""),
)
_TOKENS = {"input": "accent", "cached": "pale", "output": "output"}
_REMARKS = {
    name: name.replace("_", " ").replace("blocked", "refused")
    for name in FLAGS
    if name != "unpriced"
}


def fragment(ledger: "TokenLedger") -> str:
    """A ledger as a notebook shows it; one that cannot be read says why.

    Args:
        ledger: The ledger.

    Returns:
        A style that touches nothing outside of it, and one element.
    """
    try:
        parts = [*_parts(ledger)]
    except LeanError as error:
        parts = [element("h1", "TokenLedger"), _lead(str(error))]
    return element("style", CSS) + element("div", "\n".join(parts), class_="lean")


def _parts(ledger: "TokenLedger") -> Iterator[str]:
    report = make_report(ledger, title="TokenLedger", timed=False)
    title, *rest = words.headline(report)
    yield element("h1", title)
    if report.empty:
        yield _lead(words.NOTHING_YET)
        return
    yield _lead(" · ".join(rest))
    yield figures(report)
    yield paragraphs([" · ".join(words.remarks(report))])
    if newest := ledger.store.recent(_SHOWN)[::-1]:
        yield _table(newest)


def _lead(said: str) -> str:
    return element("p", escape(said), class_="lead")


def _table(entries: Sequence[LedgerEntry]) -> str:
    heading = "Newest calls"
    most = max(entry.usage.total for entry in entries) or 1
    rows = [_row(entry, most) for entry in entries]
    filled = [any(column) for column in zip(*rows, strict=True)]
    rows = [tuple(compress(row, filled)) for row in (_COLUMNS, *rows)]
    keys = (
        element("li", element("span", class_=f"key {kind}", aria_hidden="true"), name)
        for name, kind in _TOKENS.items()
    )
    legend = element("ul", *keys, class_="legend")
    return element("section", element("h2", heading), table(heading, rows), legend)


def _row(entry: LedgerEntry, most: int) -> tuple[str, ...]:
    usage = entry.usage
    counts = (usage.input - usage.cache_read, usage.cache_read, usage.output)
    spans, start = [], 0.0
    for kind, number in zip(_TOKENS.values(), counts, strict=True):
        spans.append(Span(start, number / most, kind))
        start += number / most
    cost = "-" if entry.cost is None else words.money(entry.cost.total)
    return (
        words.printable(entry.model or "(unknown)"),
        words.printable(entry.node or ""),
        "unpriced" if entry.unpriced else cost,
        Markup(meter(words.many(usage.total, "token"), spans)),
        *(words.count(n) if n else "-" for n in (usage.input, *counts[1:])),
        words.duration(entry.seconds),
        f"{entry.start:%Y-%m-%d %H:%M:%S}",
        ", ".join(said for name, said in _REMARKS.items() if getattr(entry, name)),
    )
