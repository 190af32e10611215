"""How the commands read their arguments."""

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path

from langchain_lean.command_line import Parser
from langchain_lean.errors import StorageError
from langchain_lean.sqlite_file import is_database

_URL = "sqlite:///"


def parser(prog: str, description: str, example: str) -> Parser:
    """A parser of a command, with `--json` and an example at the end of its help.

    Args:
        prog: How the command is called.
        description: What it does, in one paragraph or more.
        example: The lines of an example.
    """
    made = Parser(
        prog=prog,
        description="\n\n".join(map(_filled, description.split("\n\n"))),
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--json", action="store_true", help="print JSON, and only that")
    return made


def _filled(paragraph: str) -> str:
    return textwrap.fill(paragraph, 79, break_on_hyphens=False)


def whole(least: int) -> Callable[[str], int]:
    """Reads a whole number from `least` up."""

    def read(text: str) -> int:
        try:
            number = int(text.replace("_", ""))
        except ValueError:
            number = least - 1
        if number < least:
            msg = f"must be a whole number from {least} up, not {text!r:.40}"
            raise argparse.ArgumentTypeError(msg)
        return number

    return read


def share(text: str) -> float:
    """Reads a share from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        msg = f"must be a share from 0 to 1, not {text!r:.40}"
        raise argparse.ArgumentTypeError(msg)
    return number


def existing(path: str | Path, kind: str) -> Path:
    """A SQLite file that is there, so that opening it makes none.

    Args:
        path: The file, or its `sqlite:///` URL.
        kind: What it is, such as `ledger`.

    Raises:
        StorageError: If it is not there, or is something else.
    """
    file = Path(str(path).removeprefix(_URL))
    if not file.exists():
        msg = f"There is no {kind} {str(path)!r}."
    elif not file.is_file():
        msg = f"{str(path)!r} is no {kind}: it is no file."
    elif not is_database(file):
        msg = f"{str(path)!r} is no {kind}: it is no SQLite file."
    else:
        return file
    raise StorageError(msg)
