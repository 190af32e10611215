"""Sums that a file keeps are those of its rows, whatever came in which order."""

import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_lean import PriceBook, TokenUsage
from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.accounting.prices.cost import Cost
from langchain_lean.accounting.savings import Saving
from langchain_lean.accounting.store import Batch, MemoryStore, SQLiteStore, sums
from tests.unit.accounting.conftest import PRICES

START = datetime(2026, 11, 22, 23, 59, 50, tzinfo=UTC)
KEYS = (
    (),
    ("model",),
    ("model", "kind", "source"),
    ("provider", "day"),
    ("node",),
    ("user_id",),
    ("user_id", "model"),  # no sums are kept for these
)

runs = st.integers(0, 12)
batches = st.lists(
    st.tuples(runs, st.sampled_from((None, "ada", "", 1, "1")), st.booleans()),
    max_size=6,
)
steps = st.lists(st.one_of(batches, st.just("price"), st.just("read")), max_size=12)


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "FOLDED_AT_ONCE", 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lean.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path)
    yield store
    store.close()


def entry(run: int, user: object = "ada", *, known: bool = True) -> LedgerEntry:
    return LedgerEntry(
        run_id=f"run-{run}",
        start=START + timedelta(seconds=run),
        model="test-model" if known else "unheard-of",
        provider="openai",
        node=(None, "draft")[run % 2],
        user_id=user,  # type: ignore[arg-type]
        seconds=0.25,
        usage=TokenUsage(input=1000 + run, output=100),
        abandoned=run % 3 == 0,
    )


def saving(number: int) -> Saving:
    return Saving(
        lever="routing",
        id=f"s{number}",
        avoided=TokenUsage(input=1000),
        model="test-model",
        spent=TokenUsage(input=100 * number),
        kind=("exact", "counterfactual")[number % 2],  # type: ignore[arg-type]
        baseline=(None, "the strong model")[number % 2],
        at=START,
    )


def kept_in_sums(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        (calls,) = connection.execute(
            "SELECT COALESCE(SUM(calls), 0) FROM entries_sums WHERE grouping = 0"
        ).fetchone()
    connection.close()
    return int(calls)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_totals_are_those_of_a_store_that_keeps_no_sums(
    steps: list[list[tuple[int, object, bool]] | str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, plain = SQLiteStore(Path(folder) / "lean.db"), MemoryStore(b"key")
        for step in steps:
            if step == "price":
                store.price(PRICES)
                plain.price(PRICES)
            elif step == "read":
                store.totals(())
            else:
                calls = [entry(run, user, known=known) for run, user, known in step]
                store.add(Batch(entries=calls))
                plain.add(Batch(entries=calls))
        for by in KEYS:
            assert store.totals(by) == plain.totals(by)
        store.close()


def test_calls_are_folded_while_they_are_written(
    store: SQLiteStore, path: Path
) -> None:
    for run in range(9):
        store.add(Batch(entries=[entry(run).priced(PRICES)]))
    assert kept_in_sums(path) == 8
    assert store.totals(())[()].calls == 9


def test_calls_are_not_folded_before_their_cost_is_fixed(
    store: SQLiteStore, path: Path
) -> None:
    store.add(Batch(entries=[entry(run) for run in range(9)]))
    store.totals(())
    assert kept_in_sums(path) == 0
    store.price(PRICES)
    store.totals(())
    assert kept_in_sums(path) == 8


def test_a_call_that_replaces_a_folded_one_counts_once(
    store: SQLiteStore, path: Path
) -> None:
    store.add(Batch(entries=[entry(run).priced(PRICES) for run in range(9)]))
    store.totals(())
    again = entry(2)._replace(user_id="bob", usage=TokenUsage(), cost=Cost())
    store.add(Batch(entries=[again]))
    by_user = store.totals(("user_id",))
    assert (by_user[("ada",)].calls, by_user[("bob",)].calls) == (8, 1)
    assert by_user[("bob",)].usage == TokenUsage()


def test_the_newest_call_of_all_may_be_replaced_again_and_again(
    store: SQLiteStore,
) -> None:
    for run in [*range(5), 4, 4, 4, 4, 4, 4]:
        store.add(Batch(entries=[entry(run).priced(PRICES)]))
        store.totals(())
    assert store.totals(())[()].calls == 5


def test_a_file_that_has_no_sums_yet_gets_them_when_it_is_read(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "FOLDED_AT_ONCE", 1_000)
    store.add(Batch(entries=[entry(run).priced(PRICES) for run in range(9)]))
    monkeypatch.setattr(sums, "FOLDED_AT_ONCE", 2)
    assert kept_in_sums(path) == 0
    assert store.totals(("node",))[("draft",)].calls == 4
    assert kept_in_sums(path) == 8


def test_calls_that_are_priced_after_all_leave_the_sums_right(
    store: SQLiteStore,
) -> None:
    store.own_prices(PriceBook())
    store.add(Batch(entries=[entry(run) for run in range(9)]))
    store.price(PriceBook())
    assert store.totals(())[()].unpriced == 9
    store.price(store.own_prices(PRICES))
    found = store.totals(())[()]
    costs = sum(e.cost.total for e in store.entries() if e.cost is not None)
    assert (found.unpriced, found.cost) == (0, costs)
    assert costs > 0


def test_savings_are_folded_and_counted_once(store: SQLiteStore) -> None:
    plain = MemoryStore(b"key")
    for number in [*range(9), 3, 3]:
        for each in (store, plain):
            each.add(Batch(savings=[saving(number)]))
            each.price(PRICES)
    assert store.levers() == plain.levers()
    assert store.levers()["routing"].count == 9


def test_two_processes_that_price_one_call_fix_its_cost_once(path: Path) -> None:
    first, second = SQLiteStore(path), SQLiteStore(path)
    first.add(Batch(entries=[entry(run) for run in range(9)]))

    class PricedMeanwhile(PriceBook):
        def cost(self, *args: Any, **kwargs: Any) -> Cost:
            second.price(PRICES)
            second.totals(())
            return super().cost(*args, **kwargs)

    dearer = PricedMeanwhile(PRICES.own).with_price("test-model", input=9, output=9)
    first.price(PricedMeanwhile(dearer.own))
    costs = sum(e.cost.total for e in first.entries() if e.cost is not None)
    assert first.totals(())[()].cost == second.totals(())[()].cost == costs
    first.close()
    second.close()
