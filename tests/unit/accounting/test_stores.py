"""Every store keeps the same promises; the file keeps some more."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from langchain_lean import PriceBook, TokenLedger, TokenUsage, report_saving
from langchain_lean.accounting.anatomy import Anatomy
from langchain_lean.accounting.entry import LedgerEntry, MessageMark, Step
from langchain_lean.accounting.notices import Notice
from langchain_lean.accounting.reporting import report_notice
from langchain_lean.accounting.savings import Missed, Saving
from langchain_lean.accounting.store import Batch, LedgerStore, MemoryStore, memory
from langchain_lean.accounting.store.memory import FOLDED
from langchain_lean.accounting.store.schema import LEDGER
from langchain_lean.accounting.store.sqlite import SQLiteStore
from langchain_lean.errors import ConfigurationError, StorageError
from langchain_lean.sqlite_file import SQLiteFile
from tests.unit.accounting.conftest import PRICES

RUN = UUID(int=7)
USED: Any = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def entry(index: int = 0, **values: object) -> LedgerEntry:
    made = LedgerEntry(
        run_id=f"run-{index}",
        trace_id=f"trace-{index}",
        start=START + timedelta(seconds=index),
        model="test-model",
        provider="openai",
        node="draft",
        user_id=("ada", "bob")[index % 2],
        tags=("a", "b"),
        seconds=0.5,
        first_token_seconds=0.25,
        usage=TokenUsage(input=1000, output=100, cache_read=400, service_tier="flex"),
        anatomy=Anatomy(system=600, question=400, output=100),
        messages=(MessageMark("system", 10, "ab"), MessageMark("human", 5, "cd")),
        answer=MessageMark("ai", 7, "ef"),
        reason="because of: this",
    )
    return made._replace(**values)


def saving(name: str = "s1", **values: object) -> Saving:
    given = {
        "lever": "routing",
        "id": name,
        "avoided": TokenUsage(input=1000),
        "model": "test-model",
        "spent": TokenUsage(input=100),
        "baseline": "the strong model",
        "at": START,
    }
    return Saving(**{**given, **values})  # type: ignore[arg-type]


def notice(name: str = "n1", **values: object) -> Notice:
    given = {
        "lever": "retriever",
        "action": "skipped",
        "reason": "it failed",
        "id": name,
        "at": START,
        "run_id": "run-1",
    }
    return Notice(**{**given, **values})  # type: ignore[arg-type]


class StoreContract:
    """What a ledger expects of a store."""

    @pytest.fixture
    def store(self) -> LedgerStore | Iterator[LedgerStore]:
        raise NotImplementedError

    def test_an_entry_comes_back_as_it_was(self, store: LedgerStore) -> None:
        kept = entry(1, cache_hit=True, estimated=True, stopped_early=True)
        store.add(Batch(entries=[kept, entry(2, cost=None, messages=(), answer=None)]))
        assert list(store.entries()) == [
            kept,
            entry(2, cost=None, messages=(), answer=None),
        ]

    def test_entries_keep_their_order(self, store: LedgerStore) -> None:
        for index in range(5):
            store.add(Batch(entries=[entry(index)]))
        assert [e.run_id for e in store.entries()] == [f"run-{i}" for i in range(5)]
        assert [e.run_id for e in store.recent(2)] == ["run-3", "run-4"]

    def test_the_same_run_again_replaces_the_first(self, store: LedgerStore) -> None:
        store.add(Batch(entries=[entry(1, abandoned=True)]))
        store.add(Batch(entries=[entry(1)]))
        assert [e.abandoned for e in store.entries()] == [False]
        assert store.totals(())[()].calls == 1

    def test_costs_are_fixed_once(self, store: LedgerStore) -> None:
        store.add(Batch(entries=[entry(1), entry(2, model="x", requested="y")]))
        store.price(PRICES)
        dearer = PriceBook().with_price("test-model", input=999, output=999)
        store.price(dearer.with_price("x", input=1, output=1))
        first, second = store.entries()
        assert first.cost is not None
        assert first.cost.total == Decimal("0.00164")  # 600 at 1, 400 at 0.1, 100 at 10
        assert first.cost.cache_saved == Decimal("0.00036")
        assert (second.cost, second.unpriced) == (None, True)

    def test_a_requested_model_is_priced_where_the_answering_one_is_not(
        self, store: LedgerStore
    ) -> None:
        store.add(Batch(entries=[entry(1, model="alias", requested="test-model")]))
        store.price(PRICES)
        assert store.totals(())[()].cost == Decimal("0.00164")

    def test_totals_add_up_by_any_keys(self, store: LedgerStore) -> None:
        store.add(
            Batch(entries=[entry(index, failed=index == 3) for index in range(4)])
        )
        store.price(PRICES)
        whole = store.totals(())[()]
        assert (whole.calls, whole.seconds) == (4, 2.0)
        assert whole.usage == TokenUsage(input=4000, output=400, cache_read=1600)
        assert whole.cost == 4 * Decimal("0.00164")
        assert whole.cache_saved == 4 * Decimal("0.00036")
        assert whole.anatomy == Anatomy(system=2400, question=1600, output=400)
        assert whole.flags == {"failed": 1}
        by = store.totals(("user_id", "day"))
        assert set(by) == {("ada", "2026-11-22"), ("bob", "2026-11-22")}
        assert by[("bob", "2026-11-22")].flags == {"failed": 1}

    def test_sums_beyond_64_bits_stay_exact(self, store: LedgerStore) -> None:
        dear = PriceBook().with_price("test-model", input="5000.000001", output=0)
        big = TokenUsage(input=10**9)
        store.add(Batch(entries=[entry(i, usage=big) for i in range(9)]))
        store.price(dear)
        assert store.totals(())[()].cost == 9 * Decimal("5000000.001")

    def test_an_absurd_cost_stops_nothing(self, store: LedgerStore) -> None:
        dear = PriceBook().with_price("test-model", input=10**12, output=0)
        store.add(Batch(entries=[entry(1, usage=TokenUsage(input=10**9)), entry(2)]))
        store.price(dear)
        assert store.totals(())[()].cost >= 10**15

    def test_steps_come_back_as_they_were(self, store: LedgerStore) -> None:
        step = Step(
            run_id="r",
            trace_id="t",
            kind="retriever",
            name="docs",
            start=START,
            seconds=0.1,
            failed=True,
            documents=(MessageMark("document", 9, "ab"),),
        )
        store.add(Batch(steps=[step]))
        assert list(store.steps()) == store.recent_steps(5) == [step]

    def test_a_saving_counts_once(self, store: LedgerStore) -> None:
        store.add(Batch(savings=[saving("s1"), saving("s1"), saving("s2")]))
        store.add(Batch(savings=[saving("s1"), saving("s3", kind="exact")]))
        store.price(PRICES)
        lever = store.levers()["routing"]
        each = Decimal("0.0009")
        assert (lever.count, lever.exact, lever.counterfactual) == (3, each, 2 * each)
        assert lever.baselines == ("the strong model",)
        assert [s.id for s in store.savings()] == ["s1", "s2", "s3"]

    def test_an_unpriced_saving_says_so(self, store: LedgerStore) -> None:
        store.add(Batch(savings=[saving(model="nobody-knows")]))
        store.price(PRICES)
        assert store.levers()["routing"].unpriced == 1
        assert store.levers()["routing"].total == 0

    def test_a_miss_counts_once_and_makes_a_hit_rate(self, store: LedgerStore) -> None:
        store.add(Batch(missed=[Missed("routing", "m1"), Missed("routing", "m1")]))
        store.add(Batch(missed=[Missed("routing", "m1"), Missed("other", "m2")]))
        assert store.levers()["routing"].hit_rate == 0
        store.add(Batch(savings=[saving("s1", seconds=1.5), saving("s2", seconds=2)]))
        lever = store.levers()["routing"]
        assert (lever.count, lever.misses, lever.seconds) == (2, 1, 3.5)
        assert lever.hit_rate == pytest.approx(2 / 3)
        assert store.levers()["other"].misses == 1
        assert [found.seconds for found in store.savings()] == [1.5, 2]

    def test_notices_come_back_as_they_were_in_their_order(
        self, store: LedgerStore
    ) -> None:
        notices = [notice("n2"), notice("n1", run_id=None), notice("n3", lever="b")]
        store.add(Batch(notices=notices[:2]))
        store.add(Batch(notices=notices[2:]))
        assert list(store.notices()) == notices

    def test_a_notice_counts_once(self, store: LedgerStore) -> None:
        store.add(Batch(notices=[notice("n1"), notice("n1"), notice("n2")]))
        store.add(Batch(notices=[notice("n1", reason="another")]))
        assert store.noticed() == {("retriever", "skipped", "it failed"): 2}

    def test_batches_that_are_merged_keep_their_notices(
        self, store: LedgerStore
    ) -> None:
        batches = [Batch(notices=[notice("n1")]), Batch(notices=[notice("n2")])]
        store.add(Batch.merged(batches))
        assert [found.id for found in store.notices()] == ["n1", "n2"]

    def test_texts_feedback_come_back(self, store: LedgerStore) -> None:
        store.add(Batch(texts={"ab": "Hello 👋 \ud800"[:7]}, feedback={"r": True}))
        store.add(Batch(texts={"ab": "other"}, feedback={"r": False}))
        assert store.text("ab") == "Hello 👋"
        assert store.text("none") is None
        assert store.feedback() == {"r": False}

    def test_an_empty_store_is_empty(self, store: LedgerStore) -> None:
        assert list(store.entries()) == []
        assert store.totals(()) == {}
        assert store.levers() == {}
        assert list(store.notices()) == []
        assert store.noticed() == {}
        store.price(PRICES)


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> LedgerStore:
        return MemoryStore(b"key")

    def test_older_entries_fold_into_exact_totals(self) -> None:
        store = MemoryStore(b"key", max_entries=10)
        for index in range(100):
            store.add(Batch(entries=[entry(index, failed=index % 5 == 0)]))
            store.price(PRICES)
        assert len(list(store.entries())) == 10
        for by in ((), ("user_id",), ("model", "day")):
            sums = store.totals(by).values()
            assert sum(t.calls for t in sums) == 100
            assert sum(t.cost for t in sums) == 100 * Decimal("0.00164")
            assert sum(t.flags["failed"] for t in sums) == 20
        assert store.totals(("thread_id",))[(FOLDED,)].calls == 90

    def test_savings_are_the_same_before_and_after_folding(self) -> None:
        def savings(store: MemoryStore) -> object:
            ledger = TokenLedger(store, prices=PRICES)
            for source in (None, None, "summarization"):
                ledger._books.take(entry(source=source, run_id=str(uuid4())))
            return ledger.savings()

        whole = savings(MemoryStore(b"key"))
        assert savings(MemoryStore(b"key", max_entries=1)) == whole

    def test_more_users_than_can_be_kept_stand_together(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(memory, "_MOST_FOLDED", 5)
        store = MemoryStore(b"key", max_entries=1)
        users = [entry(index, user_id=f"user {index}") for index in range(50)]
        store.add(Batch(entries=users))
        store.price(PRICES)
        by_user = store.totals(("user_id",))
        assert len(by_user) == 7
        assert by_user[(FOLDED,)].calls == 44
        assert store.totals(())[()].calls == 50

    def test_long_chats_fold_sooner(self) -> None:
        store = MemoryStore(b"key", max_marks=100)
        marks = (MessageMark("human", 1, "ab"),) * 30
        store.add(Batch(entries=[entry(index, messages=marks) for index in range(10)]))
        store.price(PRICES)
        assert len(list(store.entries())) == 3
        assert store.totals(())[()].calls == 10

    def test_savings_fold_too(self) -> None:
        store = MemoryStore(b"key", max_entries=2)
        store.add(Batch(savings=[saving(f"s{index}") for index in range(5)]))
        store.price(PRICES)
        assert len(list(store.savings())) == 2
        assert store.levers()["routing"].count == 5

    def test_the_newest_notices_stay(self) -> None:
        store = MemoryStore(b"key", max_entries=2)
        store.add(Batch(notices=[notice(f"n{index}") for index in range(5)]))
        assert [found.id for found in store.notices()] == ["n3", "n4"]


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "lean.db"

    @pytest.fixture
    def store(self, path: Path) -> Iterator[LedgerStore]:
        store = SQLiteStore(path)
        yield store
        store.close()

    def test_what_is_written_is_there_when_the_file_is_opened_again(
        self, path: Path
    ) -> None:
        with TokenLedger(f"sqlite:///{path}", prices=PRICES) as ledger:
            ledger.record(model="test-model", usage=TokenUsage(input=1000, output=100))
            report_saving(
                "routing",
                avoided=TokenUsage(input=1000),
                model="test-model",
                baseline="the strong model",
                callbacks=ledger,
            )
            ledger.feedback("run", good=True)
        with TokenLedger(f"sqlite:///{path}") as again:
            assert again.totals().cost == Decimal("0.002")
            assert again.savings().levers["routing"].total == Decimal("0.001")
            assert again.feedbacks() == {"run": True}

    def test_own_prices_stay_with_the_file(self, path: Path) -> None:
        with TokenLedger(f"sqlite:///{path}", prices=PRICES):
            pass
        other = PriceBook().with_price("second", input=5, output=5)
        with TokenLedger(f"sqlite:///{path}", prices=other) as again:
            again.record(model="test-model", usage=TokenUsage(input=1000, output=100))
            assert again.totals().cost == Decimal("0.002")
            assert {price.model for price in again.prices.own} == {
                "test-model",
                "second",
            }

    def test_a_price_that_is_added_later_holds_for_calls_that_had_none(
        self, path: Path
    ) -> None:
        used = TokenUsage(input=1000, output=100)
        url = f"sqlite:///{path}"
        with TokenLedger(url) as ledger:
            ledger.record(model="test-model", usage=used)
            ledger.record(model="unheard-of", usage=used)
            ledger.store.add(Batch(savings=[saving()]))
            assert ledger.totals().unpriced == 2
            assert ledger.savings().levers["routing"].unpriced == 1
        with TokenLedger(url, prices=PRICES) as again:
            assert again.totals(by="model")["test-model"].cost == Decimal("0.002")
            assert again.totals().unpriced == 1
            assert again.savings().levers["routing"].total > 0
        dearer = PriceBook().with_price("test-model", input=999, output=999)
        with TokenLedger(url, prices=dearer) as last:
            assert last.totals().cost == Decimal("0.002")

    def test_a_price_that_is_added_holds_whoever_reads_the_calls_next(
        self, path: Path
    ) -> None:
        used = TokenUsage(input=1000, output=100)
        url = f"sqlite:///{path}"
        with TokenLedger(url) as without:
            without.record(model="test-model", usage=used)
            assert without.totals().unpriced == 1
            with TokenLedger(url, prices=PRICES):
                assert without.totals().cost == Decimal("0.002")
            without.record(model="test-model", usage=used)
            assert without.totals().unpriced == 1
        with TokenLedger(url, prices=PRICES) as again:
            assert again.totals().cost == Decimal("0.004")

    def test_marks_of_one_file_can_be_compared_across_processes(
        self, path: Path
    ) -> None:
        keys = {SQLiteStore(path).key for _ in range(2)}
        assert len(keys) == 1

    def test_what_the_counter_learned_stays_with_the_file(self, path: Path) -> None:
        text = "How many tokens does a provider count in a text such as this one?"
        with TokenLedger(f"sqlite:///{path}") as ledger:
            before = ledger.counter.count(text, model="test-model")
            for _ in range(60):
                ledger.counter.observe(text, "test-model", before * 2)
            ledger._books._learned_since = True
            ledger.flush()
        with TokenLedger(f"sqlite:///{path}") as again:
            assert again.counter.count(text, model="test-model") > 1.5 * before

    def test_rows_that_are_no_learning_are_ignored(self, path: Path) -> None:
        SQLiteStore(path).add(Batch(learned={"o200k_base/x": "{not json"}))
        with TokenLedger(f"sqlite:///{path}") as ledger:
            assert ledger.counter.count("one two", model="x") > 0

    def test_a_damaged_file_is_refused_with_a_sentence(self, path: Path) -> None:
        store = SQLiteStore(path)
        store.add(Batch(entries=[entry(index) for index in range(500)]))
        store.close()
        data = bytearray(path.read_bytes())
        data[4096:12288] = os.urandom(8192)
        path.write_bytes(data)
        with pytest.raises(StorageError, match="damaged"):
            SQLiteStore(path)

    @pytest.mark.parametrize("content", [b"not a database at all" * 100, b"{}\n"])
    def test_a_file_that_is_no_database_is_refused(
        self, path: Path, content: bytes
    ) -> None:
        path.write_bytes(content)
        with pytest.raises(StorageError, match="no SQLite file"):
            TokenLedger(f"sqlite:///{path}")
        assert path.read_bytes() == content

    def test_a_database_of_another_program_is_refused(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE users (name)")
        connection.close()
        with pytest.raises(StorageError, match="another program"):
            SQLiteStore(path)

    def test_a_file_of_a_newer_version_is_refused(self, path: Path) -> None:
        SQLiteStore(path).close()
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        with pytest.raises(StorageError, match="newer"):
            SQLiteStore(path)

    def test_a_file_of_the_first_version_keeps_what_it_has_and_takes_notices(
        self, path: Path
    ) -> None:
        make_first_version(path)
        store = SQLiteStore(path)
        store.add(Batch(savings=[saving("new")], notices=[notice()]))
        assert [found.id for found in store.savings()] == ["old", "new"]
        assert list(store.notices()) == [notice()]
        assert store.key == bytes(range(16))
        store.close()
        assert list(SQLiteStore(path).notices()) == [notice()]

    def test_a_file_of_the_first_version_becomes_one_like_a_new_one(
        self, path: Path
    ) -> None:
        new = path.with_name("new.db")
        make_first_version(path)
        SQLiteStore(path).close()
        SQLiteStore(new).close()
        assert shape(path) == shape(new)

    def test_processes_that_open_a_file_of_the_first_version_at_once_all_get_it(
        self, path: Path
    ) -> None:
        with processes().Pool(4) as pool:
            for attempt in range(5):
                old = path.with_name(f"{attempt}.db")
                make_first_version(old)
                pool.map(open_and_tell, [old] * 4, chunksize=1)
                assert len(list(SQLiteStore(old).notices())) == 4

    def test_a_file_that_cannot_be_brought_up_to_date_stays_as_it_was(
        self, path: Path
    ) -> None:
        make_first_version(path)
        before = shape(path)
        broken = replace(LEDGER, upgrades={1: ("CREATE TABLE new (a)", "NONSENSE")})
        with pytest.raises(StorageError, match="cannot be used"):
            SQLiteFile(path, broken).select("SELECT 1")
        assert shape(path) == before

    def test_a_file_far_behind_takes_one_upgrade_after_the_other(
        self, path: Path
    ) -> None:
        make_first_version(path)
        steps = {1: ("CREATE TABLE a (b)",), 2: ("ALTER TABLE a RENAME TO c",)}
        newer = replace(LEDGER, version=LEDGER.version + 1, upgrades=steps)
        newest = SQLiteFile(path, newer)
        assert newest.select("SELECT * FROM c") == []
        newest.close()
        with pytest.raises(StorageError, match="newer"):
            SQLiteStore(path)

    def test_a_folder_that_is_not_there_is_said_to_be_missing(
        self, tmp_path: Path
    ) -> None:
        with pytest.raises(StorageError, match="no folder"):
            TokenLedger(f"sqlite:///{tmp_path}/nowhere/lean.db")

    def test_a_closed_ledger_opens_its_own_file_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path)
        ledger = TokenLedger("sqlite:///lean.db")
        ledger.record(model="m", usage=TokenUsage(input=1))
        ledger.close()
        monkeypatch.chdir(tmp_path / "other")
        assert ledger.totals().calls == 1
        ledger.close()
        (tmp_path / "lean.db").unlink()
        assert ledger.totals().calls == 0
        assert list((tmp_path / "other").iterdir()) == []

    @pytest.mark.parametrize(
        "url", ["postgres://x", "sqlite://", "lean.db", "sqlite:///"]
    )
    def test_an_unknown_url_is_refused_with_the_known_ones(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="sqlite:///"):
            TokenLedger(url)

    def test_two_processes_write_one_file_and_lose_nothing(self, path: Path) -> None:
        writers = [
            processes().Process(target=write_calls, args=(path, name))
            for name in ("a", "b")
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        with TokenLedger(f"sqlite:///{path}", prices=PRICES) as ledger:
            by_user = {k: t.calls for k, t in ledger.totals(by="user_id").items()}
            assert by_user == {"a": 1500, "b": 1500}
            assert ledger.totals().cost == 3000 * Decimal("0.00001")

    def test_a_killed_process_loses_at_most_its_last_tenth_of_a_second(
        self, path: Path
    ) -> None:
        code = KILLED.format(path=path)
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        safe = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with TokenLedger(f"sqlite:///{path}") as ledger:
            assert ledger.totals().calls >= safe > 0

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_workers_of_multiprocessing_lose_nothing(
        self, path: Path, method: str
    ) -> None:
        context = multiprocessing.get_context(method)
        with TokenLedger(f"sqlite:///{path}") as ledger:
            ledger.record(model="m", usage=TokenUsage(input=1), user_id="parent")
            worker = context.Process(target=write_few_calls, args=(path,))
            worker.start()
            worker.join()
            calls = {k: t.calls for k, t in ledger.totals(by="user_id").items()}
        assert calls == {"parent": 1, "worker": 5}

    def test_processes_that_open_a_new_file_at_once_all_get_it(
        self, path: Path
    ) -> None:
        with processes().Pool(4) as pool:
            for attempt in range(5):
                new = path.with_name(f"{attempt}.db")
                pool.map(open_ledger, [new] * 4, chunksize=1)
                assert SQLiteStore(new).totals(())[()].calls == 4

    def test_a_process_that_ends_by_itself_loses_nothing(self, path: Path) -> None:
        code = (
            "from langchain_lean import TokenLedger, TokenUsage\n"
            f"ledger = TokenLedger('sqlite:///{path}')\n"
            "for _ in range(100): ledger.record(model='m', usage=TokenUsage(input=1))\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
        assert SQLiteStore(path).totals(())[()].calls == 100

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_threads_may_fork_at_once(self, path: Path) -> None:
        def fork() -> None:
            for _ in range(10):
                child = os.fork()
                if child == 0:
                    os._exit(0)
                os.waitpid(child, 0)

        with TokenLedger(f"sqlite:///{path}") as ledger:
            threads = [threading.Thread(target=fork) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            ledger.record(model="m", usage=TokenUsage(input=1))
            assert ledger.totals().calls == 1

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_process_writes_its_own_calls_only(self, path: Path) -> None:
        with TokenLedger(f"sqlite:///{path}") as ledger:
            ledger.record(model="m", usage=TokenUsage(input=1), user_id="parent")
            child = os.fork()
            if child == 0:
                ledger.record(model="m", usage=TokenUsage(input=1), user_id="child")
                ledger.close()
                os._exit(0)
            os.waitpid(child, 0)
            calls = {k: t.calls for k, t in ledger.totals(by="user_id").items()}
        assert calls == {"parent": 1, "child": 1}

    def test_what_no_file_can_hold_is_cleaned_and_kept(self, path: Path) -> None:
        with TokenLedger(f"sqlite:///{path}", keep_text=True) as ledger:
            usage = TokenUsage(input=1)
            odd: Any = object()
            ledger.record(model="half a pair \ud83d", usage=usage, user_id=odd)
            ledger.record(model="plain", usage=usage, tags=[odd, "\udc00"])
            ledger._books.take(entry(1, agent={"a": 1}))
            prices = {"response_metadata": {"service_tier": "\ud83d"}}
            ledger.on_chat_model_start({}, [[HumanMessage("\ud83d")]], run_id=RUN)
            answer = AIMessage("\ud83d", usage_metadata=USED, **prices)
            result = LLMResult(generations=[[ChatGeneration(message=answer)]])
            ledger.on_llm_end(result, run_id=RUN)
            ledger.feedback("\ud83d", good=True)
            report_notice("\ud83d", action="x", reason="y", callbacks=ledger)
            models = ledger.totals(by="model")
            assert [found.lever for found in ledger.notices()] == ["?"]
        assert set(models) == {"half a pair ?", "plain", "test-model", None}
        assert sum(totals.calls for totals in models.values()) == 4

    def test_a_caller_is_not_kept_waiting_for_a_file(self, path: Path) -> None:
        with TokenLedger(f"sqlite:///{path}") as ledger:
            blocker = sqlite3.connect(path, isolation_level=None)
            blocker.execute("BEGIN IMMEDIATE")
            for _ in range(5000):
                ledger.record(model="m", usage=TokenUsage(input=1))
            assert blocker.execute("SELECT COUNT(*) FROM entries").fetchone() == (0,)
            blocker.execute("COMMIT")
            blocker.close()
            assert ledger.totals().calls == 5000

    def test_a_file_that_cannot_be_written_for_a_while_loses_nothing(
        self, path: Path
    ) -> None:
        with TokenLedger(f"sqlite:///{path}") as ledger:
            store = ledger.store
            assert isinstance(store, SQLiteStore)
            broken = FailingStore(store)
            ledger._books.store = broken  # type: ignore[assignment]
            ledger.record(model="m", usage=TokenUsage(input=1))
            ledger._books._write_soon()
            assert store.totals(()) == {}
            broken.failing = False
            assert ledger.totals().calls == 1


class FailingStore:
    """A store whose disk is full until it is not."""

    def __init__(self, store: SQLiteStore) -> None:
        self.store = store
        self.failing = True

    def add(self, batch: Batch) -> None:
        if self.failing:
            msg = "disk full"
            raise StorageError(msg)
        self.store.add(batch)

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)


FIRST_VERSION = """
CREATE TABLE entries (run_id, parent_id, trace_id, kind, model, requested, provider, \
node, agent, source, user_id, thread_id, seconds, first_token_seconds, reason, start, \
tags, messages, answer, service_tier, region, input, output, cache_read, \
cache_write_5m, cache_write_1h, audio_input, audio_cache_read, image_input, \
image_cache_read, video_input, video_cache_read, reasoning, audio_output, \
image_output, web_searches, file_searches, cost_total, cost_input, cost_output, \
cost_cache_saved, anatomy_system, anatomy_tools, anatomy_examples, anatomy_retrieved, \
anatomy_history, anatomy_question, anatomy_output, cache_hit, estimated, unpriced, \
failed, blocked, stopped_early, abandoned, day GENERATED ALWAYS AS \
(date(start, 'unixepoch')), PRIMARY KEY (run_id));
CREATE INDEX entries_to_price ON entries (run_id) \
WHERE cost_total IS NULL AND NOT unpriced;
CREATE TABLE steps (run_id, trace_id, kind, name, start, seconds, failed, documents, \
PRIMARY KEY (run_id));
CREATE TABLE savings (id, lever, model, provider, avoided, spent, spent_model, kind, \
baseline, at, value, unpriced, PRIMARY KEY (id));
CREATE TABLE texts (digest PRIMARY KEY, text) WITHOUT ROWID;
CREATE TABLE feedback (run_id PRIMARY KEY, good) WITHOUT ROWID;
CREATE TABLE learned (model PRIMARY KEY, state) WITHOUT ROWID;
CREATE TABLE own_prices (model, provider, price, PRIMARY KEY (model, provider));
CREATE TABLE meta (name PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES ('key', '000102030405060708090a0b0c0d0e0f');
INSERT INTO savings VALUES ('old', 'routing', 'm', NULL, '{}', '{}', NULL, 'exact', \
NULL, 0, NULL, 1);
PRAGMA application_id = 0x4C45414E;
PRAGMA user_version = 1;
"""

KILLED = """
import time
from langchain_lean import TokenLedger, TokenUsage
ledger = TokenLedger("sqlite:///{path}")
recorded = []
while True:
    ledger.record(model="m", usage=TokenUsage(input=1))
    recorded.append(time.monotonic())
    if recorded[-1] - recorded[0] > 1:
        print(sum(at < recorded[-1] - 0.1 for at in recorded), flush=True)
        time.sleep(60)
    time.sleep(0.001)
"""


def processes() -> ForkServerContext:
    """Starts processes from one that has imported this file and opened nothing.

    A spawned process takes a second to import it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def write_few_calls(path: Path) -> None:
    ledger = TokenLedger(f"sqlite:///{path}")  # neither flushed nor closed
    for _ in range(5):
        ledger.record(model="m", usage=TokenUsage(input=1), user_id="worker")


def open_ledger(path: Path) -> None:
    with TokenLedger(f"sqlite:///{path}") as ledger:
        ledger.record(model="m", usage=TokenUsage(input=1))


def open_and_tell(path: Path) -> None:
    with TokenLedger(f"sqlite:///{path}") as ledger:
        report_notice("memory", action="kept", reason="it failed", callbacks=ledger)


def make_first_version(path: Path) -> None:
    """A file as the first version made it, with one saving in it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST_VERSION)


def shape(path: Path) -> tuple[int, set[tuple[str, str]]]:
    """The version of a file and the statements of its tables."""
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        made = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
    return version, set(made)


def write_calls(path: Path, user: str) -> None:
    with TokenLedger(f"sqlite:///{path}") as ledger:
        for _ in range(1500):
            ledger.record(model="test-model", usage=TokenUsage(input=10), user_id=user)
