"""The ledger that a command reads."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from langchain_lean.accounting.ledger import TokenLedger
from langchain_lean.accounting.store import SQLiteStore
from langchain_lean.errors import StorageError


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
        with TokenLedger(SQLiteStore(file)) as ledger:
            yield ledger


def _copy(path: Path, to: Path) -> None:
    try:
        _copied(path, to, "mode=ro")
    except sqlite3.OperationalError:
        # What others are writing beside it cannot be seen without writing a file there.
        try:
            _copied(path, to, "immutable=1")
        except sqlite3.Error as error:
            msg = f"The ledger {str(path)!r} cannot be read: {error}."
            raise StorageError(msg) from error


def _copied(path: Path, to: Path, how: str) -> None:
    url = f"file:{quote(str(path.absolute()))}?{how}"
    with (
        closing(sqlite3.connect(url, uri=True)) as source,
        closing(sqlite3.connect(to)) as target,
    ):
        source.backup(target)
