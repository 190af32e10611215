"""What levers would have saved, in the terminal and as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from html import escape

from rich.table import Table
from rich.text import Text

from langchain_lean.accounting.report import words
from langchain_lean.accounting.report.html import paragraphs, table
from langchain_lean.accounting.report.style import CSS
from langchain_lean.accounting.report.svg import element
from langchain_lean.accounting.report.tables import borderless
from langchain_lean.whatif.costs import Saved
from langchain_lean.whatif.result import WhatIf

_TITLE = "what if"
_TOGETHER = "together"
_NONE_OF_THE_NEWEST = "None of the newest calls asked a model: look at more of them."
_NOTHING_YET = "Nothing has been recorded yet that a model was asked."
_COLUMNS = ("calls", "tokens", "alone", "of all", "per 1,000 calls", "in turn", "known")


def lines(found: WhatIf) -> Iterator[Text | Table]:
    """What is printed, from the top."""
    yield Text(" · ".join([_TITLE, *_headline(found)]), style="bold")
    if found.levers:
        yield _table(found)
    for name, said in _assumptions(found):
        yield Text(f"{name}: {said}", style="dim")
    for said in _left_out(found):
        yield Text(said, style="yellow")


def fragment(found: WhatIf) -> str:
    """The same as a notebook shows it: a style and one element."""
    parts = [element("h1", _TITLE)]
    parts.append(element("p", escape(" · ".join(_headline(found))), class_="lead"))
    if found.levers:
        parts.append(table(_TITLE, [("lever", *_COLUMNS), *_rows(found)]))
    assumed = (f"{name}: {said}" for name, said in _assumptions(found))
    parts.append(paragraphs([*assumed, *_left_out(found)]))
    return element("style", CSS) + element("div", *parts, class_="lean")


def _headline(found: WhatIf) -> list[str]:
    if not found.calls:
        return [_NONE_OF_THE_NEWEST if found.older else _NOTHING_YET]
    said = [
        f"{'newest ' if found.older else ''}{words.many(found.calls, 'call')}",
        words.many(found.requests, "request"),
        f"spent {_money(found, found.spent)}",
    ]
    if found.levers:
        share = found.share(found.together)
        saved = _money(found, found.together.dollars)
        if share is not None:
            saved += f" ({words.share(share)})"
        elif not found.priced:
            saved = f"{words.many(found.together.tokens, 'token')}"
        said.append(f"all levers {_TOGETHER} would have saved {saved}")
    return said


def _money(found: WhatIf, amount: Decimal) -> str:
    return words.money(amount) if found.priced else "unknown"


def _left_out(found: WhatIf) -> Iterator[str]:
    """What the figures do not hold."""
    if found.older:
        yield f"{words.many(found.older, 'older call')} in no figure"
    if found.unpriced:
        yield f"{words.many(found.unpriced, 'call')} unpriced"
    yield from (f"{name}: {reason}" for name, reason in found.missing.items())


def _rows(found: WhatIf) -> Iterator[tuple[str, ...]]:
    """A row for each lever, and one for all of them."""
    for lever in found.levers:
        in_turn = _money(found, lever.added.dollars)
        yield (lever.name, *_figures(found, lever.alone), in_turn, lever.sure)
    dollars = _money(found, found.together.dollars)
    yield (_TOGETHER, *_figures(found, found.together), dollars, "")


def _figures(found: WhatIf, saved: Saved) -> tuple[str, ...]:
    share, (tokens, dollars) = found.share(saved), found.per_1000_calls(saved)
    per_1000 = [words.count(tokens)] if tokens else []
    if found.priced or not tokens:
        per_1000.append(_money(found, dollars))
    return (
        f"{saved.calls:,}",
        words.count(saved.tokens) if saved.tokens else "-",
        _money(found, saved.dollars),
        "-" if share is None else words.share(share),
        " · ".join(per_1000),
    )


def _assumptions(found: WhatIf) -> Iterator[tuple[str, str]]:
    for lever in found.levers:
        details = f" ({'; '.join(lever.details)})" if lever.details else ""
        yield lever.name, words.printable(f"{lever.assumption}{details}")


def _table(found: WhatIf) -> Table:
    table = borderless()
    table.add_column("lever", no_wrap=True)
    for name in _COLUMNS:
        side = "left" if name == "known" else "right"
        table.add_column(name, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for row in _rows(found):
        table.add_row(*row)
    return table
