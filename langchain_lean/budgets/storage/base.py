"""What a budget needs of a store: a few verbs, each one atomic step.

A counter is what was used and what is held. A reservation holds an amount of several
counters, all or none, for the time of its lease; settling puts what was really used in
the place of what was held. Amounts are integers: tokens, calls, nano-dollars.

Time is each store's own: leases and windows end by its clock.
"""

import asyncio
import itertools
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Self

from langchain_lean.errors import ConfigurationError

MOST = 2**53 - 1
"""The largest amount: Lua counts in doubles, which are exact up to here."""

LATE = 3600.0
"""Seconds after its end for which a lease can still be settled."""

_LONGEST_KEY = 1_000
_process = secrets.token_hex(12)
_count = itertools.count()


class Counter(NamedTuple):
    """What stands on a counter.

    Attributes:
        used: Settled, or charged where a lease ended unsettled.
        held: Reserved by leases that have not ended.
    """

    used: int = 0
    held: int = 0

    @property
    def taken(self) -> int:
        """Used and held together: what a new reservation finds gone."""
        return self.used + self.held


@dataclass(frozen=True, slots=True)
class Claim:
    """One part of a reservation.

    Attributes:
        key: The counter. Without anything a user wrote: it stands in the store.
        amount: What to hold of it.
        limit: What `used + held` may be afterwards.
        window: Seconds from now after which the counter begins anew; None for never.
            The latest end that was granted counts.
        floor: What stays charged where the lease ends unsettled.
    """

    key: str
    amount: int
    limit: int
    window: float | None
    floor: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not 0 < len(self.key) <= _LONGEST_KEY:
            msg = f"The key of a claim is a text of 1 to {_LONGEST_KEY:,} characters."
            raise ConfigurationError(msg)
        for name in ("amount", "limit", "floor"):
            check_amount(name, getattr(self, name))
        if self.floor > self.amount:
            msg = f"The floor {self.floor} is more than the amount {self.amount}."
            raise ConfigurationError(msg)
        if self.window is not None:
            check_seconds("window", self.window)


@dataclass(frozen=True, slots=True)
class Lease:
    """A reservation that was granted.

    Attributes:
        id: Its own, so that a repeated request grants it once.
        claims: What it holds.
        counters: By key, how the counters stood just after it was granted, as far as
            the store tells without being asked again.
    """

    id: str
    claims: tuple[Claim, ...]
    counters: Mapping[str, Counter] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reservation that was refused; nothing of it is held.

    Attributes:
        claim: The first that did not fit.
        counters: By key, how the counters of all claims stood.
    """

    claim: Claim
    counters: Mapping[str, Counter]


class Storage(ABC):
    """Keeps the counters of budgets.

    Every verb is one atomic step, safe from any number of threads and processes that
    share the store. `x` is for threads, `ax` the same for asyncio.

    Attributes:
        waits: Whether a verb may wait for something, such as a file or a server.
    """

    waits: ClassVar[bool] = True

    def reserve(self, claims: Sequence[Claim], *, lease: float) -> Lease | Refusal:
        """Hold the amounts of all claims, or of none.

        Args:
            claims: What to hold, each of another counter.
            lease: Seconds after which it is freed, if it was not settled: what it
                held is given back and its floors stay charged.

        Returns:
            The lease, or which claim does not fit.

        Raises:
            ConfigurationError: If the claims or the lease make no sense.
            StorageError: If the store cannot be reached. What it did is not known
                then; at worst, something is held until the end of the lease.
        """
        return self._reserve(new_lease(claims, lease), lease)

    async def areserve(
        self, claims: Sequence[Claim], *, lease: float
    ) -> Lease | Refusal:
        """`reserve` for asyncio."""
        return await self._areserve(new_lease(claims, lease), lease)

    def settle(self, lease: Lease, actuals: Mapping[str, int]) -> dict[str, Counter]:
        """Put what was used in the place of what was held; a second time does nothing.

        A lease that has ended can be settled for another hour: what was used then
        takes the place of its floors.

        Args:
            lease: What `reserve` gave.
            actuals: By key, what was used; nothing of the counters not named. It may
                be more than was held.

        Returns:
            By key, how the counters stand now, as far as the store tells without being
            asked again.

        Raises:
            ConfigurationError: If an amount is no count, or of another counter.
            StorageError: If the store cannot be reached; it may be tried again.
        """
        return self._settle(lease, actual_amounts(lease, actuals))

    async def asettle(
        self, lease: Lease, actuals: Mapping[str, int]
    ) -> dict[str, Counter]:
        """`settle` for asyncio."""
        return await self._asettle(lease, actual_amounts(lease, actuals))

    @abstractmethod
    def read(self, key: str) -> Counter:
        """How a counter stands; nothing where there is none."""

    async def aread(self, key: str) -> Counter:
        """`read` for asyncio."""
        return await asyncio.to_thread(self.read, key)

    @abstractmethod
    def clear(self, key: str) -> None:
        """Let a counter begin anew; leases on it are forgotten, too."""

    async def aclear(self, key: str) -> None:
        """`clear` for asyncio."""
        await asyncio.to_thread(self.clear, key)

    def once(self, key: str, ttl: float) -> bool:
        """Whether this is the first time for this key in `ttl` seconds.

        The key is a counter, so `clear` lets it be the first time again.
        """
        return isinstance(self.reserve([_only(key, ttl)], lease=ttl), Lease)

    async def aonce(self, key: str, ttl: float) -> bool:
        """`once` for asyncio."""
        return isinstance(await self.areserve([_only(key, ttl)], lease=ttl), Lease)

    def close(self) -> None:  # noqa: B027 - some have nothing to let go of
        """Let go of files and connections; a later use opens them again."""

    async def aclose(self) -> None:
        """`close` for asyncio."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        """Use the store and close it at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the store."""
        self.close()

    @abstractmethod
    def _reserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        """Grant the lease or refuse it; one of this id stays granted."""

    async def _areserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        if self.waits:
            return await asyncio.to_thread(self._reserve, wanted, seconds)
        return self._reserve(wanted, seconds)

    @abstractmethod
    def _settle(self, lease: Lease, amounts: Sequence[int]) -> dict[str, Counter]:
        """Settle it with one amount for each of its claims."""

    async def _asettle(
        self, lease: Lease, amounts: Sequence[int]
    ) -> dict[str, Counter]:
        if self.waits:
            return await asyncio.to_thread(self._settle, lease, amounts)
        return self._settle(lease, amounts)


def check_amount(name: str, value: object) -> None:
    """Refuse what is no count.

    Raises:
        ConfigurationError: If it is not an integer from 0 to `MOST`.
    """
    if type(value) is not int or not 0 <= value <= MOST:
        msg = f"{name} is an integer from 0 to {MOST:,}, not {value!r:.40}."
        raise ConfigurationError(msg)


def check_seconds(name: str, value: object) -> None:
    """Refuse what is no time.

    Raises:
        ConfigurationError: If it is not a number of seconds above 0.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 < value < 1e12):  # type: ignore[operator]
        msg = f"{name} is a number of seconds above 0, not {value!r:.40}."
        raise ConfigurationError(msg)


def new_lease(claims: Sequence[Claim], seconds: float) -> Lease:
    """The lease a reservation asks for.

    Raises:
        ConfigurationError: If there is no claim, two of one counter, or no time.
    """
    keys = {claim.key for claim in claims}
    if not claims or len(keys) < len(claims):
        msg = "A reservation has one claim or more, each of another key."
        raise ConfigurationError(msg)
    check_seconds("lease", seconds)
    return Lease(_new_id(), tuple(claims))


def actual_amounts(lease: Lease, actuals: Mapping[str, int]) -> list[int]:
    """What was used, in the order of the lease's claims.

    Raises:
        ConfigurationError: If an amount is no count, or of another counter.
    """
    keys = [claim.key for claim in lease.claims]
    if not actuals.keys() <= set(keys):
        msg = "A lease is settled with amounts of its own counters only."
        raise ConfigurationError(msg)
    for amount in actuals.values():
        check_amount("amount", amount)
    return [actuals.get(key, 0) for key in keys]


def _new_id() -> str:
    """An id nobody else has: a random part of the process, its number, and a count.

    A forked process has the same random part and another number.
    """
    return f"{_process}{os.getpid():x}-{next(_count):x}"


def _only(key: str, seconds: float) -> Claim:
    return Claim(key, 1, limit=1, window=seconds, floor=1)
