"""A ledger's SQLite file, which several processes may write at once."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

from langchain_lean.accounting.anatomy import PARTS, Anatomy
from langchain_lean.accounting.entry import FLAGS, LedgerEntry, Step, Totals
from langchain_lean.accounting.notices import Notice, NoticeKind
from langchain_lean.accounting.prices.book import OwnPrice, PriceBook
from langchain_lean.accounting.savings import LeverSaving, Saving
from langchain_lean.accounting.store.base import Batch, Key
from langchain_lean.accounting.store.rows import (
    entry_row,
    notice_row,
    priced_entry_row,
    priced_saving_row,
    row_entry,
    row_notice,
    row_saving,
    row_step,
    saving_row,
    step_row,
    to_dollars,
)
from langchain_lean.accounting.store.schema import (
    ADD_FEEDBACK,
    ADD_LEARNED,
    ADD_MISS,
    ADD_NOTICE,
    ADD_PRICE,
    ADD_SAVING,
    ADD_STEP,
    ADD_TEXT,
    CHUNK,
    LEDGER,
    PRICE_ENTRY,
    PRICE_SAVING,
    ROWS_AT_ONCE,
    SAVINGS_TO_PRICE,
    TO_PRICE,
    add_entries,
)
from langchain_lean.accounting.store.sums import ENTRIES, SAVINGS, Summed
from langchain_lean.accounting.usage import COUNTS, TokenUsage
from langchain_lean.sqlite_file import SQLiteFile


class SQLiteStore:
    """Keeps a ledger in one file.

    Args:
        path: The file; made if it is not there.

    Raises:
        StorageError: If the file cannot be opened, is damaged, or is not a ledger.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = SQLiteFile(path, LEDGER)
        self._unpriced = False
        rows = self._file.select("SELECT value FROM meta WHERE name = 'key'")
        self.key = bytes.fromhex(rows[0][0])

    @property
    def wants_prices(self) -> bool:
        """Whether calls were written before the price data were loaded."""
        return self._unpriced

    def add(self, batch: Batch) -> None:
        """Keep a batch in one transaction."""
        with self._file.transaction() as connection:
            run = connection.executemany
            # SQLite lets other threads run after every statement, and they may keep
            # this one waiting; so a statement inserts many rows.
            rows = [entry_row(entry) for entry in batch.entries]
            for start in range(0, len(rows), ROWS_AT_ONCE):
                some = rows[start : start + ROWS_AT_ONCE]
                ENTRIES.take_off(connection, [row[0] for row in some])
                connection.execute(add_entries(len(some)), [*chain(*some)])
            run(ADD_STEP, map(step_row, batch.steps))
            run(ADD_SAVING, map(saving_row, batch.savings))
            misses = [(miss.id, miss.lever) for miss in batch.missed]
            run(ADD_MISS, misses)
            run(ADD_NOTICE, map(notice_row, batch.notices))
            run(ADD_TEXT, batch.texts.items())
            run(ADD_FEEDBACK, batch.feedback.items())
            run(ADD_LEARNED, batch.learned.items())
            for table in (ENTRIES, SAVINGS):
                table.fold_some(connection)
        if any(entry.cost is None for entry in batch.entries) or batch.savings:
            self._unpriced = True

    def price(
        self, prices: PriceBook, *, stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Fix the cost of every entry and saving that has none yet.

        Prices that another process has kept meanwhile are known, too.
        """
        self._unpriced = False
        kept = self._kept_prices()
        if {_priced(price) for price in kept} - {
            _priced(price) for price in prices.own
        }:
            prices = PriceBook([*kept, *prices.own])
        while rows := self._file.select(TO_PRICE):
            entries = [row_entry(row).priced(prices) for row in rows]
            with self._file.transaction() as connection:
                connection.executemany(PRICE_ENTRY, map(priced_entry_row, entries))
            if stop():
                self._unpriced = True
                return
        while rows := self._file.select(SAVINGS_TO_PRICE):
            savings = [row_saving(row).priced(prices) for row in rows]
            with self._file.transaction() as connection:
                connection.executemany(PRICE_SAVING, map(priced_saving_row, savings))

    def recent(self, limit: int) -> list[LedgerEntry]:
        """The newest calls, oldest first."""
        return [row_entry(row) for row in reversed(self._newest("entries", limit))]

    def recent_steps(self, limit: int) -> list[Step]:
        """The newest steps, oldest first."""
        return [row_step(row) for row in reversed(self._newest("steps", limit))]

    def own_prices(self, prices: PriceBook) -> PriceBook:
        """Keep prices of your own in the file, and take over those it has.

        What has none yet, and has one of these now, is to be priced again; a cost that
        is fixed stays.
        """
        with self._file.transaction() as connection:
            stored = self._kept_prices()
            given = {_priced(price) for price in prices.own}
            kept = [price for price in stored if _priced(price) not in given]
            merged = PriceBook([*kept, *prices.own])
            if merged.own:
                for table in (ENTRIES, SAVINGS):
                    table.price_again(connection, merged)
            connection.executemany(
                ADD_PRICE,
                [(p.model, p.provider or "", p.to_json()) for p in prices.own],
            )
        return merged

    def entries(self) -> Iterator[LedgerEntry]:
        """The calls, in the order they were written."""
        return map(row_entry, self._rows("entries"))

    def steps(self) -> Iterator[Step]:
        """The steps, in the order they were written."""
        return map(row_step, self._rows("steps"))

    def savings(self) -> Iterator[Saving]:
        """The savings, in the order they were written."""
        return map(row_saving, self._rows("savings"))

    def notices(self) -> Iterator[Notice]:
        """The notices, in the order they were written."""
        return map(row_notice, self._rows("notices"))

    def noticed(self) -> dict[NoticeKind, int]:
        """How often each kind of notice was told."""
        kind = "lever, action, reason"
        rows = self._file.select(
            f"SELECT {kind}, COUNT(*) FROM notices GROUP BY {kind}"
        )
        return {NoticeKind(*kind): count for *kind, count in rows}

    def totals(self, by: Sequence[str]) -> dict[Key, Totals]:
        """Sums over all calls by the values of some columns."""
        rows = self._summed(ENTRIES, by)
        return {
            tuple(row[: len(by)]): _totals(tuple(row[len(by) :]))
            for row in rows
            if row[len(by)]
        }

    def levers(self) -> dict[str, LeverSaving]:
        """What each lever saved, and how often it could save nothing."""
        missed = "SELECT lever, COUNT(*) FROM misses GROUP BY lever"
        found = {
            lever: LeverSaving(misses=count)
            for lever, count in self._file.select(missed)
        }
        for row in self._summed(SAVINGS, ("lever", "kind", "baseline")):
            lever, kind, baseline, count, unpriced, seconds, high, low = row
            amount = _money(high, low)
            part = LeverSaving(
                count=count,
                exact=amount if kind == "exact" else Decimal(0),
                counterfactual=Decimal(0) if kind == "exact" else amount,
                unpriced=unpriced,
                baselines=(baseline,) if baseline else (),
                seconds=seconds,
            )
            found[lever] = found[lever] + part if lever in found else part
        return found

    def text(self, digest: str) -> str | None:
        """The text of a digest, where it was kept."""
        rows = self._file.select("SELECT text FROM texts WHERE digest = ?", digest)
        return rows[0][0] if rows else None

    def feedback(self) -> dict[str, bool]:
        """By run, whether its answer was good."""
        rows = self._file.select("SELECT run_id, good FROM feedback")
        return {run_id: bool(good) for run_id, good in rows}

    def learned(self) -> dict[str, str]:
        """What the token counter learned, by model, as JSON."""
        return dict(map(tuple, self._file.select("SELECT model, state FROM learned")))

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._file.close()

    def hold(self) -> None:
        """Take the lock, so that no other thread holds it while the process forks."""
        self._file.hold()

    def release(self) -> None:
        """Let go of the lock again."""
        self._file.release()

    def forget(self) -> None:
        """Open the file anew in a forked process."""
        self._file.forget()

    def _summed(self, table: Summed, by: Sequence[str]) -> list[Any]:
        """The sums by some columns; of a file that has none yet, they are made once."""
        while self._file.select(table.foldable):
            with self._file.transaction() as connection:
                table.fold_some(connection)
        return self._file.select(table.select(tuple(by)))

    def _kept_prices(self) -> list[OwnPrice]:
        rows = self._file.select("SELECT price FROM own_prices")
        return [OwnPrice.from_json(row["price"]) for row in rows]

    def _newest(self, table: str, limit: int) -> list[Any]:
        query = f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT ?"
        return self._file.select(query, limit)

    def _rows(self, table: str) -> Iterator[Any]:
        """All rows, a chunk at a time, so that writers are not kept waiting."""
        last = 0
        query = (
            f"SELECT rowid, * FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT {CHUNK}"
        )
        while True:
            rows = self._file.select(query, last)
            yield from rows
            if len(rows) < CHUNK:
                return
            last = rows[-1]["rowid"]


def _priced(price: OwnPrice) -> tuple[str, str | None]:
    """What a price is for."""
    return price.model, price.provider


def _totals(row: tuple[Any, ...]) -> Totals:
    calls, seconds, *sums = row
    counts = dict(zip(COUNTS, sums, strict=False))
    del sums[: len(COUNTS)]
    parts = dict(zip(PARTS, sums, strict=False))
    del sums[: len(PARTS)]
    flags = zip(FLAGS, sums, strict=False)
    cost_high, cost_low, saved_high, saved_low = sums[len(FLAGS) :]
    return Totals(
        calls=calls,
        usage=TokenUsage(**counts),
        cost=_money(cost_high, cost_low),
        seconds=seconds,
        cache_saved=_money(saved_high, saved_low),
        anatomy=Anatomy(**parts),
        flags={name: count for name, count in flags if count},
    )


def _money(high: float | None, low: float | None) -> Decimal:
    return to_dollars(int(high or 0) * 1_000_000 + int(low or 0))
