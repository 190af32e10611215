"""A report in the terminal: rich tables, and sentences that end with the line."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from langchain_lean.accounting.report import words

if TYPE_CHECKING:
    from langchain_lean.accounting.report.data import Report

_NAME, _FIGURE, _GAP = 30, 7, 2  # columns: at least, where they are needed and free


def tables(report: "Report", width: int) -> Iterator[Text | Table]:
    """A report as tables and the sentences between them.

    Args:
        report: The report.
        width: How many characters a line may have.

    Yields:
        What rich is to print, from the top.
    """
    if report.empty:
        yield Text(f"{words.headline(report)[0]} · {words.NOTHING_YET}")
        return
    yield from _flow(words.headline(report), width, style="bold")
    named = (("model", report.models), ("node", report.nodes), ("user", report.users))
    names = (line.name for _, lines in named for line in lines)
    room = min(max(map(cell_len, names), default=0), _NAME)
    by_model, *others = [
        _table(words.table(name, lines), room, width) for name, lines in named
    ]
    if report.latency:
        others.append(_table(words.times(report.latency), room, width))
    yield by_model
    yield from _flow(words.spending(report), width)
    for parts in (
        words.levers(report),
        words.hit_rates(report),
        words.baselines(report),
    ):
        yield from _flow(parts, width, indent="  ", style="dim")
    yield from _flow(words.provider_cache(report), width)
    yield from _flow(words.anatomy(report), width, sep="  ")
    yield from _flow(words.remarks(report), width, style="yellow")
    yield from (Text(line, style="yellow") for line in words.notices(report))
    for table in others:
        if table.rows:
            yield Text()
            yield table


def _flow(
    parts: Sequence[str],
    width: int,
    *,
    sep: str = " · ",
    indent: str = "",
    style: str = "",
) -> Iterator[Text]:
    """Parts in a row, broken between them where the width ends."""
    rows: list[str] = []
    for part in parts:
        longer = f"{rows[-1]}{sep}{part}" if rows else ""
        if rows and cell_len(longer) <= width:
            rows[-1] = longer
        else:
            rows.append(indent + part)
    yield from (Text(row, style=style) for row in rows)


def borderless() -> Table:
    """An empty table as all reports of this package have it: columns without lines."""
    return Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")


def _table(rows: Sequence[tuple[str, ...]], room: int, width: int) -> Table:
    """A table whose names are broken where its figures leave them too little room."""
    if _filled(rows) + room > width and not rows[0][-1]:
        rows = [(*row[:-2], "\n".join(filter(None, row[-2:]))) for row in rows]
    free = width - _filled(rows)
    least = _FIGURE if free > 0 else 1  # so that rich marks what it has to cut
    table = borderless()
    first, *names = rows[0]
    table.add_column(first, min_width=max(1, min(room, free)), overflow="fold")
    for name in names:
        side: JustifyMethod = "right" if name else "left"
        table.add_column(name, justify=side, min_width=least, no_wrap=True)
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table


def _filled(rows: Sequence[tuple[str, ...]]) -> int:
    """How many characters of a line the figures take."""
    _, *columns = zip(*rows, strict=True)
    lines = ([line for cell in cells for line in cell.split("\n")] for cells in columns)
    return sum(max(_FIGURE, *map(cell_len, each)) + _GAP for each in lines)
