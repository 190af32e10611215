"""The tables of a ledger's file: making them, and telling them from others."""

import secrets
import sqlite3
from collections.abc import Sequence
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
_CHECKED_BYTES = 64_000_000
CHUNK = 2_000

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


def _insert(how: str, table: str, columns: Sequence[str]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT OR {how} INTO {table} ({', '.join(columns)}) VALUES ({marks})"


ADD_ENTRY = _insert("REPLACE", "entries", ENTRY_COLUMNS)
ADD_STEP = _insert("REPLACE", "steps", STEP_COLUMNS)
ADD_SAVING = _insert("IGNORE", "savings", SAVING_COLUMNS)
ADD_TEXT = _insert("IGNORE", "texts", ("digest", "text"))
ADD_FEEDBACK = _insert("REPLACE", "feedback", ("run_id", "good"))
ADD_LEARNED = _insert("REPLACE", "learned", ("model", "state"))
ADD_PRICE = _insert("REPLACE", "own_prices", ("model", "provider", "price"))
ADD_META = _insert("IGNORE", "meta", ("name", "value"))

TO_PRICE = (
    f"SELECT * FROM entries WHERE cost_total IS NULL AND NOT unpriced LIMIT {CHUNK}"
)
SAVINGS_TO_PRICE = (
    f"SELECT * FROM savings WHERE value IS NULL AND NOT unpriced LIMIT {CHUNK}"
)
PRICE_ENTRY = (
    f"UPDATE entries SET {', '.join(f'{name} = ?' for name in COST_COLUMNS)}, "
    "unpriced = ? WHERE run_id = ?"
)
PRICE_SAVING = "UPDATE savings SET value = ?, unpriced = ? WHERE id = ?"


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file; refuse one that is not a ledger."""
    _refuse_foreign(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")
    if not connection.execute("PRAGMA application_id").fetchone()[0]:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
    connection.execute(ADD_META, ("key", secrets.token_hex(16)))
    connection.execute("COMMIT")


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    def pragma(name: str) -> Any:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    try:
        application, version = pragma("application_id"), pragma("user_version")
        tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
        small = path.stat().st_size <= _CHECKED_BYTES
        damage = pragma("quick_check(1)") if small else "ok"
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        damage = str(error)
        application = version = tables = 0
    if damage != "ok":
        msg = f"{str(path)!r} is damaged or no SQLite file; move it away: {damage}."
        raise StorageError(msg)
    if (application or tables) and application != _APPLICATION:
        msg = f"{str(path)!r} is a database of another program; name another file."
        raise StorageError(msg)
    if version > _VERSION:
        msg = (
            f"{str(path)!r} was written by a newer langchain_lean; upgrade to read it."
        )
        raise StorageError(msg)
