"""Sums kept in a ledger's file, so that a report need not read every call.

A row of a table is *folded* into the sums once its cost is fixed and many newer rows
stand behind it; what is asked for is the sums and the rows that are not yet folded.
The newest row never is: SQLite gives a row that replaces it a higher number then.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from langchain_lean.accounting.entry import FLAGS
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.store.rows import ANATOMY_COLUMNS
from langchain_lean.accounting.usage import COUNTS

FOLDED_AT_ONCE = 5_000
"""Few enough that other writers hardly wait, and that the rest is read in no time."""


@dataclass(frozen=True, slots=True)
class Summed:
    """A table whose rows are summed up; it has an index of its rows without a price.

    Attributes:
        table: Its name.
        cost: The column that is NULL where a cost is not fixed.
        named: The columns of the models that a price was looked for.
        columns: By the name of a sum, the expression that is summed over its rows.
        groupings: The sets of columns by which sums are kept.
    """

    table: str
    cost: str
    named: tuple[str, str]
    columns: Mapping[str, str]
    groupings: tuple[tuple[str, ...], ...]

    @property
    def to_price(self) -> str:
        """What holds for a row whose cost is not fixed yet."""
        return f"{self.cost} IS NULL AND NOT unpriced"

    @property
    def sums(self) -> str:
        """The name of the table of its sums."""
        return f"{self.table}_sums"

    @property
    def keys(self) -> tuple[str, ...]:
        """Every column by which sums are kept."""
        return tuple(dict.fromkeys(key for keys in self.groupings for key in keys))

    @property
    def create(self) -> tuple[str, ...]:
        """What makes the table of its sums, and the note how far these go."""
        columns = ", ".join(("grouping", "key", *self.keys, *self.columns))
        models = ", ".join((*self.named, "provider"))
        return (
            f"CREATE INDEX {self.table}_unpriced ON {self.table} ({models})"
            " WHERE unpriced",
            f"CREATE TABLE {self.sums} ({columns}, PRIMARY KEY (grouping, key))"
            " WITHOUT ROWID",
            f"INSERT INTO meta VALUES ('{self.sums}', 0)",
        )

    @property
    def _folded(self) -> str:
        return f"(SELECT value FROM meta WHERE name = '{self.sums}')"

    def fold(self, grouping: int, where: str, sign: str = "") -> str:
        """The statement that adds rows to the sums of a grouping, or takes them off.

        Args:
            grouping: The index of the grouping.
            where: Which rows.
            sign: `-` to take them off.
        """
        keys = self.groupings[grouping]
        named = ", ".join(keys)
        # Distinct for all values there are: NULL is no key, and 1 is not '1'.
        key = " || ' ' || ".join(f"typeof({name}) || hex({name})" for name in keys)
        sums = ", ".join(f"{sign}{sum_}" for sum_ in self.columns.values())
        adding = ", ".join(f"{c} = {c} + excluded.{c}" for c in self.columns)
        columns = ", ".join(("grouping", "key", *keys, *self.columns))
        return (
            f"INSERT INTO {self.sums} ({columns})"
            f" SELECT {grouping}, {key}, {named}, {sums} FROM {self.table}"
            f" WHERE {where} GROUP BY {named}"
            f" ON CONFLICT (grouping, key) DO UPDATE SET {adding}"
        )

    def select(self, by: tuple[str, ...]) -> str:
        """The query of all sums by some columns.

        Args:
            by: The columns; of any other set than a part of a grouping, all rows are
                read.
        """
        keys = "".join(f"{name}, " for name in by)
        group = f" GROUP BY {', '.join(by)}" if by else ""
        names = ", ".join(self.columns)
        sums = ", ".join(f"{sum_} AS {name}" for name, sum_ in self.columns.items())
        found = next(
            (n for n, each in enumerate(self.groupings) if {*by} <= {*each}), None
        )
        if found is None:
            return f"SELECT {keys}{sums} FROM {self.table}{group}"
        total = ", ".join(f"SUM({name})" for name in self.columns)
        return (
            f"SELECT {keys}{total} FROM ("
            f"SELECT {keys}{names} FROM {self.sums} WHERE grouping = {found}"
            f" UNION ALL SELECT {keys}{sums} FROM {self.table}"
            f" WHERE rowid > {self._folded}{group}){group}"
        )

    @property
    def foldable(self) -> str:
        """The query of the rows to fold next: behind which, and up to which.

        It has no row where these are too few.
        """
        # By itself SQLite looks for the lowest number through the whole table.
        unpriced = (
            f"SELECT MIN(rowid) FROM {self.table} INDEXED BY {self.table}_to_price"
            f" WHERE {self.to_price}"
        )
        newest = f"SELECT MAX(rowid) FROM {self.table}"
        folded = f"SELECT {self._folded} AS behind, ({newest}) AS newest"
        return (
            f"SELECT behind, behind + {FOLDED_AT_ONCE} FROM ({folded})"
            f" WHERE behind + {FOLDED_AT_ONCE}"
            f" < MIN(newest, COALESCE(({unpriced}), newest))"
        )

    def fold_some(self, connection: sqlite3.Connection) -> None:
        """Fold the oldest rows that are not yet, if these are enough.

        Args:
            connection: A connection, in a transaction.
        """
        rows = connection.execute(self.foldable).fetchone()
        if rows is None:
            return
        for grouping in range(len(self.groupings)):
            where = "rowid > ? AND rowid <= ?"
            connection.execute(self.fold(grouping, where), tuple(rows))
        note = "UPDATE meta SET value = ? WHERE name = ?"
        connection.execute(note, (rows[1], self.sums))

    def price_again(self, connection: sqlite3.Connection, prices: PriceBook) -> None:
        """Let rows be priced once more that own prices have come for.

        Args:
            connection: A connection, in a transaction.
            prices: What is known now.
        """
        columns = (*self.named, "provider")
        rows = connection.execute(
            f"SELECT DISTINCT {', '.join(columns)} FROM {self.table} WHERE unpriced"
        ).fetchall()
        again = [
            tuple(row)
            for row in rows
            if any(name and prices.has_own(name, row[2]) for name in row[:2])
        ]
        if again:
            which = " AND ".join(f"{column} IS ?" for column in columns)
            connection.executemany(
                f"UPDATE {self.table} SET unpriced = 0 WHERE unpriced AND {which}",
                again,
            )
            connection.execute(f"DELETE FROM {self.sums}")
            connection.execute(f"UPDATE meta SET value = 0 WHERE name = '{self.sums}'")

    def take_off(self, connection: sqlite3.Connection, run_ids: Sequence[str]) -> None:
        """Take calls off the sums that are about to be replaced.

        Args:
            connection: A connection, in a transaction.
            run_ids: The calls, of which most are new.
        """
        marks = ", ".join("?" * len(run_ids))
        where = f"run_id IN ({marks}) AND rowid <= {self._folded}"
        found = f"SELECT 1 FROM {self.table} WHERE {where} LIMIT 1"
        if connection.execute(found, run_ids).fetchone():
            for grouping in range(len(self.groupings)):
                connection.execute(self.fold(grouping, where, "-"), run_ids)


def _sum(expression: str) -> str:
    """The sum of an expression, which a group of NULLs has, too."""
    return f"COALESCE(SUM({expression}), 0)"


def _money(name: str, column: str) -> dict[str, str]:
    """Two sums for an amount of money: their parts cannot overflow 64 bits."""
    return {
        f"{name}_millions": _sum(f"{column} / 1000000"),
        f"{name}_rest": _sum(f"{column} % 1000000"),
    }


ENTRIES = Summed(
    table="entries",
    cost="cost_total",
    named=("model", "requested"),
    columns={
        "calls": "COUNT(*)",
        "seconds": _sum("seconds"),
        **{name: _sum(name) for name in (*COUNTS, *ANATOMY_COLUMNS, *FLAGS)},
        **_money("cost", "cost_total"),
        **_money("cache_saved", "cost_cache_saved"),
    },
    groupings=(
        ("model", "provider", "kind", "source", "day"),
        ("node",),
        ("user_id",),
    ),
)
"""The calls, by what a report is made of."""

SAVINGS = Summed(
    table="savings",
    cost="value",
    named=("model", "spent_model"),
    columns={
        "count": "COUNT(*)",
        "unpriced": _sum("unpriced"),
        "seconds": _sum("seconds"),
        **_money("value", "value"),
    },
    groupings=(("lever", "kind", "baseline"),),
)
"""The savings."""
