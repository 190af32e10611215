"""`langchain-lean report`: what a ledger's application spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_lean.cli.arguments import existing, parser

if TYPE_CHECKING:
    from rich.console import RenderableType

    from langchain_lean.accounting.entry import Totals

    Groups = Mapping[str | None, Totals]

_NARROWEST = 80
_SHOWN = 20
_EXAMPLE = """\
  langchain-lean report lean.db --by user_id --by day --html report.html
"""


def main(arguments: Sequence[str], *, prog: str) -> int:
    """Print the report of a ledger.

    Args:
        arguments: What stands behind the command.
        prog: How it is called.

    Returns:
        The exit code.
    """
    read = parser(
        prog, "What a ledger's application spent, saved and waited for.", _EXAMPLE
    )
    add = read.add_argument
    add("path", metavar="PATH", help="the SQLite file of a TokenLedger")
    add("--title", default="langchain_lean", help="what it is headed with")
    add(
        "--by",
        action="append",
        default=[],
        metavar="FIELD",
        help="also a table by a field of the calls, such as user_id, thread_id, node, "
        "model, provider or day; may be repeated",
    )
    add("--html", type=Path, metavar="FILE", help="also write it as a page")
    options = read.parse_args(arguments)

    from langchain_lean.accounting.entry import check_fields
    from langchain_lean.cli.ledgers import opened
    from langchain_lean.cli.output import Page, show, show_json, tell
    from langchain_lean.sqlite_file import belongs_to_database

    check_fields(options.by)
    path = existing(options.path, "ledger")
    if options.html and belongs_to_database(options.html):
        read.error("--html names a file of a database, which it would replace")
    with opened(path) as ledger:
        report = ledger.report(title=options.title)
        by = {field: ledger.totals(by=field) for field in options.by}
    if options.html:
        report.write_html(options.html)
    if options.json:
        tables = {field: _figures(field, groups) for field, groups in by.items()}
        show_json(report.to_dict() | ({"by": tables} if by else {}))
    else:
        show(report, narrowest=_NARROWEST)
        for field, groups in by.items():
            show(Page(tuple(_table(field, groups))))
    if options.html:
        tell(f"The page is in {options.html}.")
    return 0


def _table(field: str, groups: Groups) -> Iterator[RenderableType]:
    from rich.text import Text

    from langchain_lean.accounting.report import words
    from langchain_lean.accounting.report.data import Line
    from langchain_lean.cli.output import table

    found = _ordered(field, groups)
    lines = [
        Line(name="(none)" if name is None else words.printable(str(name)), totals=sums)
        for name, sums in found[:_SHOWN]
    ]
    yield Text()
    yield table(words.table(field, lines))
    if more := len(found) - len(lines):
        yield Text(f"and {more:,} more; --json has them all", style="dim")


def _figures(field: str, groups: Groups) -> list[dict[str, Any]]:
    from langchain_lean.accounting.report import words

    return [
        {
            "name": None if name is None else str(name),
            "calls": totals.calls,
            "input_tokens": totals.usage.input,
            "cached_input_tokens": totals.usage.cache_read,
            "output_tokens": totals.usage.output,
            "spent_usd": words.exact_sum(totals.cost, totals.unpriced, totals.calls),
            "unpriced_calls": totals.unpriced,
        }
        for name, totals in _ordered(field, groups)
    ]


def _ordered(field: str, groups: Groups) -> list[tuple[str | None, Totals]]:
    """Days as they come, the newest first; else the dearest first."""
    if field == "day":
        return sorted(groups.items(), key=lambda each: str(each[0]), reverse=True)
    return sorted(
        groups.items(),
        key=lambda each: (-each[1].cost, -each[1].usage.total, str(each[0])),
    )
