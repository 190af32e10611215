"""What every store of budgets must do, whatever it is made of.

A backend's test file inherits `StorageContract`, and `SharedStorageContract` where
several processes can use the store, and says how the store is opened.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from langchain_lean.budgets.storage import (
    Claim,
    Counter,
    Lease,
    Refusal,
    Storage,
    storage_from_url,
)
from langchain_lean.budgets.storage.base import LATE, MOST
from langchain_lean.errors import ConfigurationError
from tests.storage.machine import machine_over

DAY = 86_400.0


class Clock:
    """A clock that tests set."""

    def __init__(self, now: float = 1_795_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Open(Protocol):
    """Opens the store under test once more, as another process would."""

    def __call__(self, clock: Clock | None = None) -> Storage: ...


def claim(key: str, amount: int = 1, limit: int = 10, **more: Any) -> Claim:
    return Claim(key, amount, limit, **{"window": DAY, **more})


def granted(outcome: Lease | Refusal) -> Lease:
    assert isinstance(outcome, Lease), outcome
    return outcome


def refused(outcome: Lease | Refusal) -> Refusal:
    assert isinstance(outcome, Refusal), outcome
    return outcome


class StorageContract:
    """Everything one process can ask of a store."""

    threads = 16
    rounds = 200
    examples = 60

    @pytest.fixture
    def opened(self) -> Open:
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def storage(self, opened: Open, clock: Clock) -> Iterator[Storage]:
        with opened(clock) as storage:
            yield storage

    @pytest.fixture
    def key(self) -> str:
        return uuid4().hex

    def test_a_counter_nobody_used_stands_at_nothing(
        self, storage: Storage, key: str
    ) -> None:
        assert storage.read(key) == Counter(used=0, held=0)

    def test_what_is_reserved_is_held_until_it_is_settled(
        self, storage: Storage, key: str
    ) -> None:
        lease = granted(storage.reserve([claim(key, 4)], lease=60))
        assert storage.read(key) == Counter(used=0, held=4)
        storage.settle(lease, {key: 3})
        assert storage.read(key) == Counter(used=3, held=0)

    def test_the_limit_can_be_reached_and_not_passed(
        self, storage: Storage, key: str
    ) -> None:
        granted(storage.reserve([claim(key, 7)], lease=60))
        refusal = refused(storage.reserve([claim(key, 4)], lease=60))
        assert refusal.claim.key == key
        assert refusal.counters[key] == Counter(used=0, held=7)
        granted(storage.reserve([claim(key, 3)], lease=60))
        assert storage.read(key) == Counter(used=0, held=10)

    def test_a_limit_of_nothing_allows_nothing(
        self, storage: Storage, key: str
    ) -> None:
        refused(storage.reserve([claim(key, 1, limit=0)], lease=60))
        granted(storage.reserve([claim(key, 0, limit=0)], lease=60))

    def test_all_claims_are_held_or_none(self, storage: Storage, key: str) -> None:
        some, full = f"{key}-some", f"{key}-full"
        granted(storage.reserve([claim(full, 10)], lease=60))
        refusal = refused(storage.reserve([claim(some), claim(full)], lease=60))
        assert refusal.claim.key == full
        assert refusal.counters == {some: Counter(0, 0), full: Counter(0, 10)}
        assert storage.read(some) == Counter(0, 0)
        both = granted(storage.reserve([claim(some), claim(full, 0)], lease=60))
        storage.settle(both, {some: 1, full: 2})
        assert storage.read(some) == Counter(1, 0)
        assert storage.read(full) == Counter(2, 10)

    def test_settling_twice_changes_nothing(self, storage: Storage, key: str) -> None:
        lease = granted(storage.reserve([claim(key, 4)], lease=60))
        other = granted(storage.reserve([claim(key, 5)], lease=60))
        storage.settle(lease, {key: 3})
        storage.settle(lease, {key: 3})
        storage.settle(lease, {key: 9})
        assert storage.read(key) == Counter(used=3, held=5)
        storage.settle(other, {})
        assert storage.read(key) == Counter(used=3, held=0)

    def test_more_can_be_settled_than_was_held_and_counts_in_full(
        self, storage: Storage, key: str
    ) -> None:
        lease = granted(storage.reserve([claim(key, 2)], lease=60))
        storage.settle(lease, {key: 25})
        assert storage.read(key) == Counter(used=25, held=0)
        refused(storage.reserve([claim(key, 0)], lease=60))

    def test_what_is_told_of_a_counter_is_how_it_stands(
        self, storage: Storage, key: str
    ) -> None:
        lease = granted(storage.reserve([claim(key, 4)], lease=60))
        assert lease.counters.get(key, Counter(0, 4)) == Counter(0, 4)
        told = storage.settle(lease, {key: 3})
        assert told.get(key, Counter(3, 0)) == Counter(3, 0)

    def test_a_lease_that_ends_leaves_its_floor_and_frees_the_rest(
        self, storage: Storage, clock: Clock, key: str
    ) -> None:
        granted(storage.reserve([claim(key, 8, floor=3)], lease=60))
        clock.now += 59
        refused(storage.reserve([claim(key, 3)], lease=60))
        clock.now += 1
        granted(storage.reserve([claim(key, 7)], lease=60))
        assert storage.read(key) == Counter(used=3, held=7)

    def test_a_lease_settled_after_its_end_counts_what_was_used_once(
        self, storage: Storage, clock: Clock, key: str
    ) -> None:
        lease = granted(storage.reserve([claim(key, 8, floor=3)], lease=60))
        clock.now += 61
        assert storage.read(key) == Counter(used=3, held=0)
        storage.settle(lease, {key: 5})
        storage.settle(lease, {key: 5})
        assert storage.read(key) == Counter(used=5, held=0)

    def test_a_lease_can_be_settled_for_an_hour_after_its_end(
        self, storage: Storage, clock: Clock, key: str
    ) -> None:
        lease = granted(storage.reserve([claim(key, 8, floor=3)], lease=60))
        clock.now += 60
        assert storage.read(key) == Counter(used=3, held=0)
        clock.now += LATE
        storage.settle(lease, {key: 8})
        assert storage.read(key) == Counter(used=3, held=0)

    def test_a_counter_begins_anew_after_its_window(
        self, storage: Storage, clock: Clock, key: str
    ) -> None:
        lease = granted(storage.reserve([claim(key, 9, floor=1, window=100)], lease=60))
        clock.now += 50
        granted(storage.reserve([claim(key, 1, window=100)], lease=60))
        clock.now += 99
        assert storage.read(key) == Counter(used=1, held=0)
        clock.now += 1
        assert storage.read(key) == Counter(0, 0)
        storage.settle(lease, {key: 9})
        assert storage.read(key) == Counter(0, 0)
        granted(storage.reserve([claim(key, 10)], lease=60))

    def test_a_counter_without_a_window_stays(
        self, storage: Storage, clock: Clock, key: str
    ) -> None:
        lease = granted(storage.reserve([claim(key, 4, window=None)], lease=60))
        storage.settle(lease, {key: 4})
        granted(storage.reserve([claim(key, 0, window=1)], lease=60))
        clock.now += 3650 * DAY
        assert storage.read(key) == Counter(used=4, held=0)

    def test_a_clock_that_jumps_backwards_frees_nothing_and_forgets_nothing(
        self, storage: Storage, clock: Clock, key: str
    ) -> None:
        lease = granted(storage.reserve([claim(key, 6, floor=2)], lease=60))
        clock.now -= 10 * DAY
        refused(storage.reserve([claim(key, 5)], lease=60))
        storage.settle(lease, {key: 6})
        assert storage.read(key) == Counter(used=6, held=0)

    def test_a_cleared_counter_begins_anew_and_forgets_its_leases(
        self, storage: Storage, key: str
    ) -> None:
        lease = granted(storage.reserve([claim(key, 6)], lease=60))
        storage.clear(key)
        assert storage.read(key) == Counter(0, 0)
        storage.settle(lease, {key: 6})
        assert storage.read(key) == Counter(0, 0)

    def test_once_is_true_for_the_first_and_again_after_its_time(
        self, storage: Storage, clock: Clock, key: str
    ) -> None:
        assert [storage.once(key, 30) for _ in range(3)] == [True, False, False]
        clock.now += 29
        assert not storage.once(key, 30)
        clock.now += 1
        assert storage.once(key, 30)

    def test_keys_that_look_alike_are_other_counters(self, storage: Storage) -> None:
        stem = uuid4().hex
        odd = ["", ":", "::", "{", "}", "{}", "\n", " ", "é", "e\u0301", "🙂", "*", "'"]
        keys = [f"{stem}{end}" for end in odd] + [f"{stem}{'x' * 900}"]
        for amount, key in enumerate(keys):
            lease = granted(storage.reserve([claim(key, amount, 99)], lease=60))
            storage.settle(lease, {key: amount})
        found = [storage.read(key).used for key in keys]
        assert found == list(range(len(keys)))

    def test_the_largest_amounts_are_counted_exactly(
        self, storage: Storage, key: str
    ) -> None:
        half = MOST // 2
        lease = granted(storage.reserve([claim(key, half, MOST)], lease=60))
        storage.settle(lease, {key: half})
        granted(storage.reserve([claim(key, half + 1, MOST)], lease=60))
        refused(storage.reserve([claim(key, 1, MOST)], lease=60))
        assert storage.read(key) == Counter(used=half, held=half + 1)

    @pytest.mark.parametrize("amount", [-1, 1.0, True, "1", None, MOST + 1])
    def test_an_amount_that_is_no_count_is_refused(
        self, storage: Storage, key: str, amount: Any
    ) -> None:
        with pytest.raises(ConfigurationError, match="amount"):
            claim(key, amount)
        lease = granted(storage.reserve([claim(key)], lease=60))
        with pytest.raises(ConfigurationError, match="amount"):
            storage.settle(lease, {key: amount})
        assert storage.read(key) == Counter(used=0, held=1)

    def test_claims_that_make_no_sense_are_refused(
        self, storage: Storage, key: str
    ) -> None:
        with pytest.raises(ConfigurationError, match="another key"):
            storage.reserve([], lease=60)
        with pytest.raises(ConfigurationError, match="another key"):
            storage.reserve([claim(key), claim(key)], lease=60)
        with pytest.raises(ConfigurationError, match="lease"):
            storage.reserve([claim(key)], lease=0)
        with pytest.raises(ConfigurationError, match="window"):
            claim(key, window=float("nan"))
        with pytest.raises(ConfigurationError, match="floor"):
            claim(key, 1, floor=2)
        with pytest.raises(ConfigurationError, match="key"):
            claim("x" * 1001)
        lease = granted(storage.reserve([claim(key)], lease=60))
        with pytest.raises(ConfigurationError, match="its own counters"):
            storage.settle(lease, {f"{key}-other": 1})

    async def test_the_async_verbs_do_the_same(
        self, opened: Open, clock: Clock, key: str
    ) -> None:
        storage = opened(clock)
        lease = granted(await storage.areserve([claim(key, 8)], lease=60))
        refused(await storage.areserve([claim(key, 3)], lease=60))
        assert await storage.aread(key) == Counter(used=0, held=8)
        await storage.asettle(lease, {key: 5})
        await storage.asettle(lease, {key: 5})
        assert await storage.aread(key) == Counter(used=5, held=0)
        await storage.aclear(key)
        assert await storage.aread(key) == Counter(used=0, held=0)
        assert [await storage.aonce(key, 30) for _ in range(2)] == [True, False]
        await storage.aclose()

    async def test_many_tasks_are_granted_exactly_the_limit(
        self, opened: Open, key: str
    ) -> None:
        storage = opened()
        asked = [storage.areserve([claim(key)], lease=600) for _ in range(40)]
        outcomes = await asyncio.gather(*asked)
        assert sum(isinstance(outcome, Lease) for outcome in outcomes) == 10
        await storage.aclose()

    def test_threads_are_granted_exactly_the_limit(
        self, opened: Open, key: str
    ) -> None:
        storage = opened()
        tries = self.rounds // self.threads + 1
        limit = self.threads * tries // 2
        barrier = threading.Barrier(self.threads)

        def reserve() -> int:
            barrier.wait()
            asked = (
                storage.reserve([claim(key, 1, limit)], lease=600) for _ in range(tries)
            )
            return sum(isinstance(outcome, Lease) for outcome in asked)

        admitted = run_in_threads(self.threads, reserve)
        assert sum(admitted) == limit
        assert storage.read(key) == Counter(used=0, held=limit)
        storage.close()

    def test_what_threads_settle_adds_up(self, opened: Open, key: str) -> None:
        storage = opened()
        tries = self.rounds // self.threads + 1
        other = f"{key}-other"
        barrier = threading.Barrier(self.threads)

        def spend() -> int:
            barrier.wait()
            spent = 0
            for amount in range(tries):
                claims = [claim(key, 5, MOST), claim(other, 2, MOST)]
                lease = granted(storage.reserve(claims, lease=600))
                storage.settle(lease, {key: amount, other: 1})
                spent += amount
            return spent

        spent = run_in_threads(self.threads, spend)
        assert storage.read(key) == Counter(used=sum(spent), held=0)
        assert storage.read(other) == Counter(used=self.threads * tries, held=0)
        storage.close()

    def test_any_sequence_does_what_a_plain_dict_does(self, opened: Open) -> None:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine_over(opened),
            settings=settings(
                max_examples=self.examples,
                stateful_step_count=25,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )


class SharedStorageContract(StorageContract):
    """Everything several processes can ask of a store they share."""

    processes = 8
    reservations = 2_000

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def opened(self, url: str) -> Open:
        namespace = f"test-{uuid4().hex}"

        def opened(clock: Clock | None = None) -> Storage:
            return storage_from_url(url, namespace=namespace, clock=clock)

        return opened

    def test_clients_of_one_store_share_its_counters(
        self, opened: Open, key: str
    ) -> None:
        with opened() as one, opened() as other:
            lease = granted(one.reserve([claim(key, 6)], lease=600))
            refused(other.reserve([claim(key, 5)], lease=600))
            other.settle(lease, {key: 2})
            assert one.read(key) == Counter(used=2, held=0)

    def test_processes_are_granted_exactly_the_limit_and_settle_exactly(
        self, url: str, key: str
    ) -> None:
        wanted = self.processes * self.reservations
        limit = wanted // 2
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(self.processes) as pool:
            work = [(url, key, limit, self.reservations)] * self.processes
            admitted = pool.starmap(reserve_and_settle, work)
        assert sum(admitted) == limit
        with storage_from_url(url) as storage:
            assert storage.read(key) == Counter(used=limit, held=0)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_process_goes_on_with_the_same_store(
        self, url: str, key: str
    ) -> None:
        code = (
            "import os, sys\n"
            "from langchain_lean.budgets.storage import Claim, storage_from_url\n"
            "storage = storage_from_url(sys.argv[1])\n"
            "claim = Claim(sys.argv[2], 1, 10, None)\n"
            "storage.reserve([claim], lease=600)\n"
            "if child := os.fork():\n"
            "    os.waitpid(child, 0)\n"
            "storage.reserve([claim], lease=600)\n"
            "print(storage.read(claim.key).held, flush=True)\n"
            "os._exit(0)\n"
        )
        command = [sys.executable, "-W", "error", "-c", code, url, key]
        assert subprocess.check_output(command, text=True).split() == ["2", "3"]


def reserve_and_settle(url: str, key: str, limit: int, times: int) -> int:
    """In a process of its own: how many of some reservations are granted."""
    admitted = 0
    with storage_from_url(url) as storage:
        for _ in range(times):
            outcome = storage.reserve([claim(key, 1, limit)], lease=600)
            if isinstance(outcome, Lease):
                storage.settle(outcome, {key: 1})
                admitted += 1
    return admitted


def run_in_threads(count: int, work: Callable[[], int]) -> list[int]:
    """What each of some threads returns that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(count) as pool:
            return [done.result() for done in [pool.submit(work) for _ in range(count)]]
    finally:
        sys.setswitchinterval(before)
