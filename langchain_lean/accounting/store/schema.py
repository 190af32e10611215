"""The tables of a ledger's file: making them, and telling them from others."""

import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from langchain_lean.accounting.store.rows import (
    COST_COLUMNS,
    ENTRY_COLUMNS,
    SAVING_COLUMNS,
    STEP_COLUMNS,
)
from langchain_lean.errors import StorageError

_APPLICATION = 0x4C45414E  # "LEAN", so that a file of another program is not taken
_VERSION = 1
_WAIT = 10.0  # seconds
_CHECKED_BYTES = 64_000_000
CHUNK = 2_000
ROWS_AT_ONCE = 100
PRICED_AT_ONCE = 20  # few, so that whoever writes is not kept waiting

_SCHEMA = f"""
CREATE TABLE entries ({", ".join(ENTRY_COLUMNS)},
    day GENERATED ALWAYS AS (date(start, 'unixepoch')), PRIMARY KEY (run_id));
CREATE INDEX entries_to_price ON entries (run_id)
    WHERE cost_total IS NULL AND NOT unpriced;
CREATE TABLE steps ({", ".join(STEP_COLUMNS)}, PRIMARY KEY (run_id));
CREATE TABLE savings ({", ".join(SAVING_COLUMNS)}, PRIMARY KEY (id));
CREATE TABLE texts (digest PRIMARY KEY, text) WITHOUT ROWID;
CREATE TABLE feedback (run_id PRIMARY KEY, good) WITHOUT ROWID;
CREATE TABLE learned (model PRIMARY KEY, state) WITHOUT ROWID;
CREATE TABLE own_prices (model, provider, price, PRIMARY KEY (model, provider));
CREATE TABLE meta (name PRIMARY KEY, value) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""


def insert(how: str, table: str, columns: Sequence[str], rows: int = 1) -> str:
    """The statement that inserts some rows at once."""
    marks = f"({', '.join('?' * len(columns))})"
    values = ", ".join([marks] * rows)
    return f"INSERT OR {how} INTO {table} ({', '.join(columns)}) VALUES {values}"


@cache
def add_entries(rows: int) -> str:
    """The statement that adds some calls, `ROWS_AT_ONCE` at most."""
    return insert("REPLACE", "entries", ENTRY_COLUMNS, rows)


ADD_STEP = insert("REPLACE", "steps", STEP_COLUMNS)
ADD_SAVING = insert("IGNORE", "savings", SAVING_COLUMNS)
ADD_TEXT = insert("IGNORE", "texts", ("digest", "text"))
ADD_FEEDBACK = insert("REPLACE", "feedback", ("run_id", "good"))
ADD_LEARNED = insert("REPLACE", "learned", ("model", "state"))
ADD_PRICE = insert("REPLACE", "own_prices", ("model", "provider", "price"))
ADD_META = insert("IGNORE", "meta", ("name", "value"))

_FEW = f"LIMIT {PRICED_AT_ONCE}"
TO_PRICE = f"SELECT * FROM entries WHERE cost_total IS NULL AND NOT unpriced {_FEW}"
SAVINGS_TO_PRICE = f"SELECT * FROM savings WHERE value IS NULL AND NOT unpriced {_FEW}"
PRICE_ENTRY = (
    f"UPDATE entries SET {', '.join(f'{name} = ?' for name in COST_COLUMNS)}, "
    "unpriced = ? WHERE run_id = ?"
)
PRICE_SAVING = "UPDATE savings SET value = ?, unpriced = ? WHERE id = ?"


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file; refuse one that is not a ledger.

    Other processes may be at the same, so all of it is one transaction.

    Raises:
        StorageError: If the file is damaged, foreign or of a newer version.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        version, new = _version(connection, path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error
    if version > _VERSION:
        msg = f"{str(path)!r} is of a newer langchain_lean; upgrade to read it."
        raise StorageError(msg)
    for statement in _SCHEMA.split(";") if new else ():
        connection.execute(statement)
    connection.execute(ADD_META, ("key", secrets.token_hex(16)))
    connection.execute("COMMIT")
    _write_ahead(connection)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work side by side; SQLite itself does not wait here."""
    until = time.monotonic() + _WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            threading.Event().wait(0.01)
        else:
            return


def _version(connection: sqlite3.Connection, path: Path) -> tuple[int, bool]:
    """The version of a ledger's file, and whether it is still to be made."""

    def pragma(name: str) -> Any:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    application = pragma("application_id")
    tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if (application or tables) and application != _APPLICATION:
        msg = f"{str(path)!r} is a database of another program; name another file."
        raise StorageError(msg)
    small = path.stat().st_size <= _CHECKED_BYTES
    damage = pragma("quick_check(1)") if small else "ok"
    if damage != "ok":
        raise _damaged(path, damage)
    return pragma("user_version"), not tables


def _damaged(path: Path, why: object) -> StorageError:
    return StorageError(
        f"{str(path)!r} is damaged or no SQLite file; move it away: {why}."
    )
