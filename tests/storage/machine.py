"""Any sequence of verbs, against a store and against a plain dict at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from langchain_lean.budgets.storage import Claim, Counter, Lease, Storage
from langchain_lean.budgets.storage.base import LATE

_AMOUNTS = st.integers(0, 12)
_LIMIT = 20


@dataclass
class _Row:
    """A lease as the dict knows it."""

    claim: Claim
    ends: float
    state: str = "held"


@dataclass
class _Book:
    """A counter as the dict knows it."""

    used: int = 0
    ends: float | None = 0.0
    rows: dict[str, _Row] = field(default_factory=dict)

    def at(self, now: float) -> Counter:
        for row in self.rows.values():
            if row.state == "held" and row.ends <= now:
                row.state, row.ends = "late", now + LATE
                self.used += row.claim.floor
        held = [row for row in self.rows.values() if row.state == "held"]
        return Counter(self.used, sum(row.claim.amount for row in held))


class _Model:
    """What a store should do, without any thought of speed or of other processes."""

    def __init__(self) -> None:
        self.books: dict[str, _Book] = {}

    def book(self, key: str, now: float) -> _Book:
        book = self.books.setdefault(key, _Book())
        if book.ends is not None and book.ends <= now:
            book = self.books[key] = _Book()
        return book

    def read(self, key: str, now: float) -> Counter:
        return self.book(key, now).at(now)

    def fits(self, claims: tuple[Claim, ...], now: float) -> bool:
        return all(self.read(c.key, now).taken + c.amount <= c.limit for c in claims)

    def grant(self, lease: Lease, now: float, seconds: float) -> None:
        for claim in lease.claims:
            book = self.book(claim.key, now)
            book.rows[lease.id] = _Row(claim, now + seconds)
            if claim.window is None or book.ends is None:
                book.ends = None
            else:
                book.ends = max(book.ends, now + claim.window)

    def forgotten(self, lease: Lease, now: float) -> bool:
        """Whether the lease ended so long ago that nothing of it need be known."""
        rows = [self.book(c.key, now).rows.get(lease.id) for c in lease.claims]
        return any(row and row.state == "late" and row.ends <= now for row in rows)

    def settle(self, lease: Lease, actuals: dict[str, int], now: float) -> None:
        for claim in lease.claims:
            book = self.book(claim.key, now)
            book.at(now)
            row = book.rows.pop(lease.id, None)
            if row is None or (row.state == "late" and row.ends <= now):
                continue
            paid = claim.floor if row.state == "late" else 0
            book.used += actuals.get(claim.key, 0) - paid


class StorageMachine(RuleBasedStateMachine):
    opened: Callable[..., Storage]

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_795_000_000.0
        self.model = _Model()
        self.leases: list[Lease] = []
        self.storage = type(self).opened(lambda: self.now)

    def teardown(self) -> None:
        self.storage.close()

    @initialize()
    def name(self) -> None:
        stem = uuid4().hex
        self.keys = [f"{stem}-{letter}" for letter in "ab"]

    @rule(
        amounts=st.lists(_AMOUNTS, min_size=1, max_size=2),
        first=st.integers(0, 1),
        floor=_AMOUNTS,
        window=st.sampled_from([None, 50.0, 1000.0]),
        seconds=st.sampled_from([5.0, 30.0, 300.0]),
    )
    def reserve(
        self,
        amounts: list[int],
        first: int,
        floor: int,
        window: float | None,
        seconds: float,
    ) -> None:
        claims = tuple(
            Claim(
                self.keys[(first + index) % 2],
                amount,
                _LIMIT,
                window,
                min(floor, amount),
            )
            for index, amount in enumerate(amounts)
        )
        fits = self.model.fits(claims, self.now)
        outcome = self.storage.reserve(claims, lease=seconds)
        assert isinstance(outcome, Lease) == fits
        if isinstance(outcome, Lease):
            self.model.grant(outcome, self.now, seconds)
            self.leases.append(outcome)
            for claim in claims:
                assert self.storage.read(claim.key).taken <= _LIMIT

    @rule(data=st.data(), amounts=st.tuples(_AMOUNTS, _AMOUNTS))
    def settle(self, data: Any, amounts: tuple[int, int]) -> None:
        """Settle any lease there ever was, settled and ended ones among them."""
        if not self.leases:
            return
        lease = data.draw(st.sampled_from(self.leases))
        keys = [claim.key for claim in lease.claims]
        actuals = dict(zip(keys, amounts, strict=False))
        self.model.settle(lease, actuals, self.now)
        told = self.storage.settle(lease, actuals)
        for key in told:
            assert told[key] == self.model.read(key, self.now)

    @rule(key=st.integers(0, 1))
    def clear(self, key: int) -> None:
        self.storage.clear(self.keys[key])
        self.model.books.pop(self.keys[key], None)

    @rule(seconds=st.sampled_from([1.0, 5.0, 29.0, 60.0, 999.0, LATE]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([1.0, 40.0, 100_000.0]))
    def the_clock_jumps_backwards(self, seconds: float) -> None:
        self.agrees()  # so that whatever has ended by now is seen to have ended
        known = self.model
        self.leases = [x for x in self.leases if not known.forgotten(x, self.now)]
        self.now -= seconds

    @invariant()
    def agrees(self) -> None:
        for key in getattr(self, "keys", ()):
            counter = self.storage.read(key)
            assert counter == self.model.read(key, self.now)
            assert min(counter) >= 0


def machine_over(opened: Callable[..., Storage]) -> type[StorageMachine]:
    """A state machine over the store that `opened(clock)` opens."""
    return type("Machine", (StorageMachine,), {"opened": staticmethod(opened)})
