"""Reserving and settling where the store may be out of reach."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, get_args

from langchain_lean.budgets.errors import BudgetStoreError
from langchain_lean.budgets.storage import Claim, Counter, Lease, Refusal, Storage
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.errors import ConfigurationError, StorageError

logger = logging.getLogger(__name__)

OnStoreError = Literal["block", "local", "allow"]
"""What to do where the store cannot be reached."""

_PAUSE = 1.0  # seconds for which a store that failed is not asked again
_UNSETTLED = 10_000
_MOST_SEEN = 10_000


@dataclass(frozen=True, slots=True)
class Grant:
    """A reservation that was granted.

    Attributes:
        claims: What it holds.
        lease: The lease of it; None where there is nothing to hold, or nobody to hold
            it.
        storage: Who holds it.
    """

    claims: tuple[Claim, ...] = ()
    lease: Lease | None = None
    storage: Storage | None = None


class Reservations:
    """Reserves and settles, and knows what to do when the store is gone.

    Args:
        storage: The store.
        lease: Seconds after which a reservation that was not settled ends.
        on_store_error: `block` refuses; `local` counts in this process alone, on top of
            what it last saw in the store, for as long as that is gone; `allow` grants
            everything.
        clock: Seconds since the epoch, for `local`.
        timer: Seconds that only go forward.

    Raises:
        ConfigurationError: If `on_store_error` is none of these.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        lease: float,
        on_store_error: OnStoreError,
        clock: Callable[[], float],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        if on_store_error not in get_args(OnStoreError):
            known = ", ".join(get_args(OnStoreError))
            msg = f"on_store_error= is one of {known}, not {on_store_error!r:.40}."
            raise ConfigurationError(msg)
        self.storage = storage
        self.lease = lease
        self._on_store_error = on_store_error
        self._timer = timer
        self._local = MemoryStorage(clock=clock)
        self._gone_until = 0.0
        self._seen: dict[str, Counter] = {}
        self._unsettled: deque[tuple[Lease, dict[str, int]]] = deque(maxlen=_UNSETTLED)

    def reserve(self, claims: Sequence[Claim]) -> Grant | Refusal:
        """Hold all claims or none.

        Raises:
            BudgetStoreError: If the store cannot be reached and that blocks.
        """
        if not claims:
            return Grant()
        if not self._gone:
            try:
                self._tell_waiting()
                return self._found(self.storage.reserve(claims, lease=self.lease))
            except StorageError as error:
                self._lose(error)
        return self._without(claims)

    async def areserve(self, claims: Sequence[Claim]) -> Grant | Refusal:
        """`reserve` for asyncio."""
        if not claims:
            return Grant()
        if not self._gone:
            try:
                if self._unsettled:
                    await asyncio.to_thread(self._tell_waiting)
                outcome = await self.storage.areserve(claims, lease=self.lease)
                return self._found(outcome)
            except StorageError as error:
                self._lose(error)
        return self._without(claims)

    def settle(
        self, grant: Grant, actuals: Mapping[str, int]
    ) -> dict[str, Counter] | None:
        """Put what was used in the place of what was held.

        Never raises: what the store cannot be told is told later, as long as this
        process lives; after that its lease ends.

        Returns:
            By key, how the counters stand, as far as known; None if nothing could be
            settled.
        """
        if grant.lease is None or grant.storage is None:
            return None
        try:
            told = grant.storage.settle(grant.lease, actuals)
        except StorageError as error:
            logger.warning("What a call used is told to its budgets later: %s", error)
            self._unsettled.append((grant.lease, dict(actuals)))
            return None
        if grant.storage is self.storage:
            self._see(told)
            self.close()
        return told

    def clear(self, key: str) -> None:
        """Let a counter begin anew, here and in the store.

        Raises:
            StorageError: If the store cannot be reached.
        """
        self.storage.clear(key)
        self._seen.pop(key, None)

    async def aclear(self, key: str) -> None:
        """`clear` for asyncio."""
        await self.storage.aclear(key)
        self._seen.pop(key, None)

    def close(self) -> None:
        """Tell the store what it could not be told before, if it is there."""
        with suppress(StorageError):
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        while self._unsettled:
            try:
                lease, actuals = self._unsettled.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                self.storage.settle(lease, actuals)
            except BaseException:
                self._unsettled.appendleft((lease, actuals))
                raise

    @property
    def _gone(self) -> bool:
        return self._timer() < self._gone_until

    def forget(self) -> None:
        """Leave what is open to the parent, in a forked process."""
        self._unsettled.clear()

    def _see(self, counters: Mapping[str, Counter]) -> None:
        """Remember how counters stood, for when the store is gone."""
        if self._on_store_error == "local":
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen.update(counters)

    def _found(self, outcome: Lease | Refusal) -> Grant | Refusal:
        self._see(outcome.counters)
        if isinstance(outcome, Refusal):
            return outcome
        return Grant(outcome.claims, outcome, self.storage)

    def _lose(self, error: StorageError) -> None:
        if self._on_store_error == "block":
            msg = f"The call is refused, because its budgets cannot be asked: {error}"
            raise BudgetStoreError(msg) from error
        self._gone_until = self._timer() + _PAUSE
        logger.warning("The budgets go on without their store: %s", error)

    def _without(self, claims: Sequence[Claim]) -> Grant | Refusal:
        if self._on_store_error == "allow":
            return Grant(tuple(claims))
        taken = {c.key: self._seen.get(c.key, Counter()).taken for c in claims}
        left = [replace(c, limit=max(c.limit - taken[c.key], 0)) for c in claims]
        outcome = self._local.reserve(left, lease=self.lease)
        if isinstance(outcome, Refusal):
            counters = {
                key: Counter(counter.used + taken[key], counter.held)
                for key, counter in outcome.counters.items()
            }
            return Refusal(outcome.claim, counters)
        return Grant(outcome.claims, outcome, self._local)
