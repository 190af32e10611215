"""The tables of a ledger's file, and the statements that fill them."""

from collections.abc import Sequence
from functools import cache

from langchain_lean.accounting.store.rows import (
    COST_COLUMNS,
    ENTRY_COLUMNS,
    NOTICE_COLUMNS,
    SAVING_COLUMNS,
    STEP_COLUMNS,
)
from langchain_lean.accounting.store.sums import ENTRIES, SAVINGS
from langchain_lean.sqlite_file import Schema

CHUNK = 2_000
ROWS_AT_ONCE = 100
PRICED_AT_ONCE = 20  # few, so that whoever writes is not kept waiting

_NOTICES = f"CREATE TABLE notices ({', '.join(NOTICE_COLUMNS)}, PRIMARY KEY (id))"
_MISSES = "CREATE TABLE misses (id PRIMARY KEY, lever) WITHOUT ROWID"
_NO_SECONDS = "NOT NULL DEFAULT 0"  # of `seconds`, which is the last column
_SUMS = (
    f"CREATE INDEX savings_to_price ON savings (id) WHERE {SAVINGS.to_price}",
    *ENTRIES.create,
    *SAVINGS.create,
)
_SECONDS = f"ALTER TABLE savings ADD COLUMN {SAVING_COLUMNS[-1]} {_NO_SECONDS}"

LEDGER = Schema(
    kind="ledger",
    application=0x4C45414E,  # "LEAN"
    version=4,
    statements=(
        f"CREATE TABLE entries ({', '.join(ENTRY_COLUMNS)}, day GENERATED ALWAYS AS"
        " (date(start, 'unixepoch')), PRIMARY KEY (run_id))",
        f"CREATE INDEX entries_to_price ON entries (run_id) WHERE {ENTRIES.to_price}",
        f"CREATE TABLE steps ({', '.join(STEP_COLUMNS)}, PRIMARY KEY (run_id))",
        f"CREATE TABLE savings ({', '.join(SAVING_COLUMNS)} {_NO_SECONDS},"
        " PRIMARY KEY (id))",
        _NOTICES,
        _MISSES,
        "CREATE TABLE texts (digest PRIMARY KEY, text) WITHOUT ROWID",
        "CREATE TABLE feedback (run_id PRIMARY KEY, good) WITHOUT ROWID",
        "CREATE TABLE learned (model PRIMARY KEY, state) WITHOUT ROWID",
        "CREATE TABLE own_prices (model, provider, price,"
        " PRIMARY KEY (model, provider))",
        "CREATE TABLE meta (name PRIMARY KEY, value) WITHOUT ROWID",
        "INSERT INTO meta VALUES ('key', lower(hex(randomblob(16))))",
        *_SUMS,
    ),
    upgrades={1: (_NOTICES,), 2: (_MISSES, _SECONDS), 3: _SUMS},
)


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
ADD_NOTICE = insert("IGNORE", "notices", NOTICE_COLUMNS)
ADD_MISS = insert("IGNORE", "misses", ("id", "lever"))
ADD_TEXT = insert("IGNORE", "texts", ("digest", "text"))
ADD_FEEDBACK = insert("REPLACE", "feedback", ("run_id", "good"))
ADD_LEARNED = insert("REPLACE", "learned", ("model", "state"))
ADD_PRICE = insert("REPLACE", "own_prices", ("model", "provider", "price"))

_FEW = f"LIMIT {PRICED_AT_ONCE}"
TO_PRICE = f"SELECT * FROM entries WHERE {ENTRIES.to_price} {_FEW}"
SAVINGS_TO_PRICE = f"SELECT * FROM savings WHERE {SAVINGS.to_price} {_FEW}"
PRICE_ENTRY = (
    f"UPDATE entries SET {', '.join(f'{name} = ?' for name in COST_COLUMNS)}, "
    f"unpriced = ? WHERE run_id = ? AND {ENTRIES.to_price}"
)
PRICE_SAVING = (
    f"UPDATE savings SET value = ?, unpriced = ? WHERE id = ? AND {SAVINGS.to_price}"
)
