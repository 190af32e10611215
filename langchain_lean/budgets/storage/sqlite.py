"""Counters in a SQLite file, for the processes of one machine."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from langchain_lean.budgets.storage.base import (
    LATE,
    Counter,
    Lease,
    Refusal,
    Storage,
)
from langchain_lean.lifecycle import keep_until_exit
from langchain_lean.sqlite_file import Schema, SQLiteFile

_SCHEMA = Schema(
    kind="file of budgets",
    application=0x4C454142,  # "LEAB"
    version=1,
    statements=(
        "CREATE TABLE counters (key TEXT PRIMARY KEY, used INT NOT NULL,"
        " held INT NOT NULL, ends REAL) WITHOUT ROWID",
        "CREATE INDEX counters_by_end ON counters (ends)",
        # Of a lease that has ended, `late` is set and `ends` is when it is forgotten.
        "CREATE TABLE leases (key TEXT, id TEXT, ends REAL NOT NULL,"
        " amount INT NOT NULL, floor INT NOT NULL, late INT NOT NULL DEFAULT 0,"
        " PRIMARY KEY (key, id)) WITHOUT ROWID",
        "CREATE INDEX leases_by_end ON leases (key, late, ends)",
    ),
)

_COUNTER = "SELECT used, held, ends FROM counters WHERE key = ?"
_PUT_COUNTER = "INSERT OR REPLACE INTO counters VALUES (?, ?, ?, ?)"
_ENDED = "SELECT id, amount, floor FROM leases WHERE key = ? AND NOT late AND ends <= ?"
_END = "UPDATE leases SET late = 1, ends = ? WHERE key = ? AND id = ?"
_PUT_LEASE = "INSERT INTO leases (key, id, ends, amount, floor) VALUES (?, ?, ?, ?, ?)"
_TAKE_LEASE = (
    "DELETE FROM leases WHERE key = ? AND id = ? RETURNING ends, amount, floor, late"
)
_CLEAR = ("DELETE FROM leases WHERE key = ?", "DELETE FROM counters WHERE key = ?")
_SWEEP = (
    "DELETE FROM leases WHERE key IN (SELECT key FROM counters WHERE ends <= ?)",
    "DELETE FROM counters WHERE ends <= ?",
    "DELETE FROM leases WHERE late AND ends <= ?",
)
_SWEPT = 1_000  # reservations after which what has ended is deleted


@dataclass(slots=True)
class _Book:
    """A counter's row."""

    used: int = 0
    held: int = 0
    ends: float | None = 0.0

    @property
    def counter(self) -> Counter:
        return Counter(self.used, self.held)


class SQLiteStorage(Storage):
    """Counts in one file, exactly, whoever of this machine writes to it.

    Args:
        path: The file; made at its first use if it is not there.
        clock: Seconds since the epoch, the same for all who use the file.
    """

    def __init__(
        self, path: str | Path, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._file = SQLiteFile(path, _SCHEMA)
        self._clock = clock
        self._reserved = 0
        keep_until_exit(self._file, early=False)

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def read(self, key: str) -> Counter:
        """How a counter stands; nothing where there is none."""
        with self._file.transaction() as connection:
            return _book(connection, key, self._clock()).counter

    def clear(self, key: str) -> None:
        """Let a counter begin anew; leases on it are forgotten, too."""
        with self._file.transaction() as connection:
            _clear(connection, key)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._file.close()

    def _reserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        with self._file.transaction() as connection:
            now = self._clock()
            self._sweep(connection, now)
            found = {c.key: _book(connection, c.key, now) for c in wanted.claims}
            counters = {key: book.counter for key, book in found.items()}
            for claim in wanted.claims:
                if counters[claim.key].taken + claim.amount > claim.limit:
                    return Refusal(claim, counters)
            for claim in wanted.claims:
                book = found[claim.key]
                book.held += claim.amount
                if claim.window is None or book.ends is None:
                    book.ends = None
                else:
                    book.ends = max(book.ends, now + claim.window)
                _put(connection, claim.key, book)
                row = (claim.key, wanted.id, now + seconds, claim.amount, claim.floor)
                connection.execute(_PUT_LEASE, row)
            counters = {key: book.counter for key, book in found.items()}
            return Lease(wanted.id, wanted.claims, counters)

    def _settle(self, lease: Lease, amounts: Sequence[int]) -> dict[str, Counter]:
        counters = {}
        with self._file.transaction() as connection:
            now = self._clock()
            for claim, amount in zip(lease.claims, amounts, strict=True):
                book = _book(connection, claim.key, now)
                row = connection.execute(_TAKE_LEASE, (claim.key, lease.id)).fetchone()
                if row is not None and not (row["late"] and row["ends"] <= now):
                    book.used += amount - (row["floor"] if row["late"] else 0)
                    book.held -= 0 if row["late"] else row["amount"]
                    _put(connection, claim.key, book)
                counters[claim.key] = book.counter
        return counters

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        self._reserved += 1
        if self._reserved % _SWEPT == 0:
            for statement in _SWEEP:
                connection.execute(statement, (now,))


def _book(connection: sqlite3.Connection, key: str, now: float) -> _Book:
    """A counter without what has ended by now; a new one where there is none."""
    row = connection.execute(_COUNTER, (key,)).fetchone()
    if row is None:
        return _Book()
    book = _Book(*row)
    if book.ends is not None and book.ends <= now:
        _clear(connection, key)
        return _Book()
    ended = connection.execute(_ENDED, (key, now)).fetchall()
    for lease_id, amount, floor in ended:
        book.held -= amount
        book.used += floor
        connection.execute(_END, (now + LATE, key, lease_id))
    if ended:
        _put(connection, key, book)
    return book


def _put(connection: sqlite3.Connection, key: str, book: _Book) -> None:
    connection.execute(_PUT_COUNTER, (key, book.used, book.held, book.ends))


def _clear(connection: sqlite3.Connection, key: str) -> None:
    for statement in _CLEAR:
        connection.execute(statement, (key,))
