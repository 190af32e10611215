"""Which input of its thread a run is about, so that it goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from langchain_lean.budgets.budget import Budget
from langchain_lean.budgets.reservations import Grant, Reservations
from langchain_lean.budgets.storage import Claim, Counter
from langchain_lean.budgets.storage.base import MOST

_REMEMBERED = 100_000
_LONGER = 7 * 86_400.0  # seconds for which a number outlives the counters it names


class Inputs:
    """Numbers the inputs of threads, and knows under which name a run is counted.

    The store gives each input a number of its own, so that runs of one thread at the
    same time do not count together.

    Args:
        reservations: Reserve in the store.
        name: The name of the counters.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, reservations: Reservations, name: str, clock: Callable[[], float]
    ) -> None:
        self._reservations = reservations
        self._clock = clock
        self._budget = Budget(calls=None, per="thread", name=name)
        self._names: dict[str, str] = {}

    def begin(self, run: str, thread: str, *, goes_on: bool) -> None:
        """Give a run the name of a new input, or of the newest that goes on.

        Where the store is gone and that does not block, the run counts by itself.

        Args:
            run: The outermost run.
            thread: Its thread.
            goes_on: It goes on where an earlier run stopped.

        Raises:
            BudgetStoreError: If the store cannot be reached and that blocks.
        """
        key, one = self._counter(thread), 0 if goes_on else 1
        window = self._budget.lasts(self._clock(), after=_LONGER)
        claim = Claim(key, one, MOST, window, floor=one)
        grant = self._reservations.reserve([claim])
        name = run
        if isinstance(grant, Grant) and grant.storage is self._reservations.storage:
            counters = grant.lease.counters if grant.lease else {}
            name = _name(thread, counters[key])
        self._names.pop(run, None)  # a call before the graph gave it its own
        self._remember(run, name)

    def name(self, run: str) -> None:
        """Count a run under a name made of its own id, so that it may rest."""
        self._remember(run, f"{run}/")

    def name_of(self, run: str) -> str:
        """Under which name a run is counted; its own where it has no thread."""
        return self._names.get(run, run)

    def fixed_name_of(self, run: str) -> str:
        """The name of a run that is counted from now on, so that no other will do."""
        return self._names.get(run) or self._remember(run, run)

    def __contains__(self, run: str) -> bool:
        return run in self._names

    def numbered(self, run: str) -> bool:
        """Whether a run is counted under the number of an input."""
        return self.name_of(run) != run

    def newest(self, thread: str) -> str:
        """The name of the newest input of a thread.

        Raises:
            StorageError: If the store cannot be reached.
        """
        counter = self._reservations.storage.read(self._counter(thread))
        return _name(thread, counter)

    async def anewest(self, thread: str) -> str:
        """`newest` for asyncio."""
        counter = await self._reservations.storage.aread(self._counter(thread))
        return _name(thread, counter)

    def rests(self, run: str) -> float:
        """Seconds that a run may rest before it goes on: none without a thread."""
        if not self.numbered(run):
            return 0.0
        return self._budget.lasts(self._clock(), after=0) or 0.0

    def _counter(self, thread: str) -> str:
        """The counter that numbers the inputs of a thread."""
        return self._budget.counter(self._clock(), {"thread_id": thread})

    def _remember(self, run: str, name: str) -> str:
        name = self._names.setdefault(run, name)
        if len(self._names) > _REMEMBERED:
            # Other threads may be at the same.
            with suppress(StopIteration, RuntimeError):
                self._names.pop(next(iter(self._names)), None)
        return name


def _name(thread: str, number: Counter) -> str:
    return f"{thread}/{number.taken}"
