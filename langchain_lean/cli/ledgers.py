"""The ledger that a command reads."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from langchain_lean.accounting.ledger import TokenLedger
from langchain_lean.accounting.store import SQLiteStore
from langchain_lean.cli.output import tell
from langchain_lean.errors import StorageError
from langchain_lean.sqlite_file import is_busy

_SOON = 1.0  # seconds in which a process that writes now and then lets others in


@contextmanager
def opened(path: Path) -> Iterator[TokenLedger]:
    """Open a ledger's file; of one that may not be written, a copy.

    Opening brings older files up to date, and reading fixes costs that are still open.

    Args:
        path: The file.

    Yields:
        The ledger.

    Raises:
        StorageError: If the file is no ledger, or cannot be read.
    """
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    with nullcontext(str(path.parent)) if writable else TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        if not writable:
            _copy(path, file)
        elif sys.stderr.isatty() and _is_held(file):
            tell("Another process holds the ledger; waiting for it.")
        with TokenLedger(SQLiteStore(file)) as ledger:
            yield ledger


def _is_held(file: Path) -> bool:
    """Whether another process keeps this one waiting."""
    try:
        with closing(sqlite3.connect(file, timeout=_SOON)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:  # opening the ledger puts it into words
        return is_busy(error)
    return False


def _copy(path: Path, to: Path) -> None:
    try:
        try:
            _copied(path, to)
        except sqlite3.OperationalError as error:
            # SQLite reads what was written last only with a third file beside it;
            # where that is missing, nobody has the ledger open.
            if is_busy(error):
                raise
            for ending in ("", "-wal"):
                if (file := path.with_name(path.name + ending)).exists():
                    shutil.copyfile(file, to.with_name(to.name + ending))
    except (sqlite3.Error, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        msg = f"The ledger {str(path)!r} cannot be read: {why}."
        raise StorageError(msg) from error


def _copied(path: Path, to: Path) -> None:
    url = f"file:{quote(str(path.absolute()))}?mode=ro"
    with (
        closing(sqlite3.connect(url, uri=True)) as source,
        closing(sqlite3.connect(to)) as target,
    ):
        source.backup(target)
