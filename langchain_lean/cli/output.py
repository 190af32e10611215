"""How the commands print."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from langchain_lean.accounting.report import words
from langchain_lean.accounting.report.tables import borderless

_UNBROKEN = 10_000  # columns that nothing to be shown fills


@dataclass(frozen=True, slots=True)
class Page:
    """Tables and sentences, one below the other; lines of `str` are never broken."""

    parts: tuple[RenderableType, ...]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Show them in color where the console has any."""
        yield from self.parts

    def __str__(self) -> str:
        return words.as_text(self, narrowest=_UNBROKEN)


def show(shown: RenderableType, *, narrowest: int = _UNBROKEN) -> None:
    """Print for a person: in color in a terminal, as plain text elsewhere.

    Args:
        shown: Something whose `str` is the plain text.
        narrowest: Its columns in a terminal that has fewer, which then breaks the lines
            itself: nothing is cut off.
    """
    console = Console()
    if console.is_terminal:
        Console(width=max(console.width, narrowest)).print(shown)
        return
    text, encoding = f"{shown}\n", sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))


def show_json(value: dict[str, Any]) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def tell(message: str) -> None:
    """Say something that is no result, on standard error."""
    sys.stderr.write(f"{message}\n")


def table(rows: Sequence[tuple[str, ...]]) -> Table:
    """A table with a row of names; all columns but the first stand on the right."""
    made = borderless()
    first, *names = rows[0]
    made.add_column(first, overflow="fold")
    for name in names:
        made.add_column(name, justify="right" if name else "left", no_wrap=True)
    for row in rows[1:]:
        made.add_row(*map(Text, row))
    return made
