"""Counters in the memory of one process."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from langchain_lean.budgets.storage.base import (
    LATE,
    Claim,
    Counter,
    Lease,
    Refusal,
    Storage,
)
from langchain_lean.lifecycle import keep_until_exit


class _Held(NamedTuple):
    ends: float
    amount: int
    floor: int


@dataclass(slots=True)
class _Book:
    """A counter and the leases on it.

    `ending` has the leases by the time they end, settled ones among them. A late lease
    has ended unsettled; its `ends` is when it is forgotten.
    """

    ends: float | None = 0.0
    used: int = 0
    held: int = 0
    leases: dict[str, _Held] = field(default_factory=dict)
    late: dict[str, _Held] = field(default_factory=dict)
    ending: list[tuple[float, str]] = field(default_factory=list)

    @property
    def counter(self) -> Counter:
        return Counter(self.used, self.held)

    def hold(self, lease_id: str, claim: Claim, now: float, seconds: float) -> None:
        self.leases[lease_id] = _Held(now + seconds, claim.amount, claim.floor)
        self.held += claim.amount
        heappush(self.ending, (now + seconds, lease_id))
        if claim.window is None or self.ends is None:
            self.ends = None
        else:
            self.ends = max(self.ends, now + claim.window)

    def end_leases(self, now: float) -> None:
        while self.ending and self.ending[0][0] <= now:
            _, lease_id = heappop(self.ending)
            lease = self.leases.pop(lease_id, None)
            if lease is not None:
                self.held -= lease.amount
                self.used += lease.floor
                self.late[lease_id] = lease._replace(ends=now + LATE)
        while self.late and next(iter(self.late.values())).ends <= now:
            del self.late[next(iter(self.late))]

    def settle(self, lease_id: str, amount: int, now: float) -> None:
        if lease_id in self.leases:
            self.used += amount
            self.held -= self.leases.pop(lease_id).amount
        elif lease_id in self.late:
            late = self.late.pop(lease_id)
            self.used += amount - late.floor if late.ends > now else 0

    def recount(self) -> None:
        """Mend what an interrupt, such as Ctrl-C, left half done."""
        self.held = sum(lease.amount for lease in self.leases.values())


class MemoryStorage(Storage):
    """Counts in this process alone; nothing of it outlives the process.

    An abandoned stream is settled whenever the garbage collector finds it, and that may
    be on the thread that holds the lock: such a settlement waits until that is done.

    Args:
        clock: Seconds since the epoch.
    """

    waits = False
    _SWEPT = 1_000  # reservations after which counters that have ended are dropped

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._busy = False
        self._waiting: deque[tuple[Lease, Sequence[int]]] = deque()
        self._books: dict[str, _Book] = {}
        self._reserved = 0
        keep_until_exit(self, early=False)

    def read(self, key: str) -> Counter:
        """How a counter stands; nothing where there is none."""
        with self._lock:
            if self._busy:
                return self._books.get(key, _Book()).counter
        with self._alone():
            book = self._book(key, self._clock())
            return book.counter if book else Counter()

    def clear(self, key: str) -> None:
        """Let a counter begin anew; leases on it are forgotten, too."""
        with self._alone():
            self._books.pop(key, None)

    def hold(self) -> None:
        """Take the lock, so that no other thread holds it while the process forks."""
        self._lock.acquire()

    def release(self) -> None:
        """Let go of the lock again."""
        self._lock.release()

    def forget(self) -> None:
        """Have a lock of its own in a forked process."""
        self._lock = threading.RLock()
        self._busy = False

    def _reserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        with self._alone():
            now = self._clock()
            self._sweep(now)
            found = {c.key: self._book(c.key, now) or _Book() for c in wanted.claims}
            for claim in wanted.claims:
                if found[claim.key].counter.taken + claim.amount > claim.limit:
                    counters = {key: book.counter for key, book in found.items()}
                    return Refusal(claim, counters)
            for claim in wanted.claims:
                found[claim.key].hold(wanted.id, claim, now, seconds)
            self._books.update(found)
            counters = {key: book.counter for key, book in found.items()}
            return Lease(wanted.id, wanted.claims, counters)

    def _settle(self, lease: Lease, amounts: Sequence[int]) -> dict[str, Counter]:
        with self._lock:
            if self._busy:
                self._waiting.append((lease, amounts))
                return {}
        with self._alone():
            return self._settle_now(lease, amounts)

    def _settle_now(self, lease: Lease, amounts: Sequence[int]) -> dict[str, Counter]:
        now = self._clock()
        counters = {}
        for claim, amount in zip(lease.claims, amounts, strict=True):
            book = self._book(claim.key, now)
            if book is not None:
                book.settle(lease.id, amount, now)
            counters[claim.key] = book.counter if book else Counter()
        return counters

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads out, and mend what was interrupted."""
        with self._lock:
            outermost, self._busy = not self._busy, True
            try:
                yield
            except BaseException:
                for book in self._books.values():
                    book.recount()
                raise
            finally:
                if outermost:
                    while self._waiting:
                        self._settle_now(*self._waiting.popleft())
                    self._busy = False

    def _book(self, key: str, now: float) -> _Book | None:
        """A counter without what has ended by now."""
        book = self._books.get(key)
        if book is None:
            return None
        if book.ends is not None and book.ends <= now:
            del self._books[key]
            return None
        book.end_leases(now)
        return book

    def _sweep(self, now: float) -> None:
        self._reserved += 1
        if self._reserved % self._SWEPT == 0:
            for key in list(self._books):
                self._book(key, now)
