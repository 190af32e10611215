"""Which outermost run a call belongs to, and what its retrievers returned."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from langchain_lean.accounting.recording.events import Finished, Run, Trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from langchain_lean.accounting.recording.events import StepKind

_REMEMBERED_RUNS = 100_000
_LOOSE_DOCUMENTS = 64


class Traces:
    """Follows chains, tools and retrievers from their start to their end.

    Args:
        clock: Seconds since the epoch.
        timer: Seconds that only go forward.
    """

    def __init__(
        self, *, clock: Callable[[], float], timer: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._timer = timer
        self._runs: dict[UUID, Run] = {}
        self._loose: deque[str] = deque(maxlen=_LOOSE_DOCUMENTS)

    def of(self, run_id: UUID, parent_run_id: UUID | None) -> Trace:
        """The outermost run that a run belongs to.

        A run that stands alone may use what retrievers returned that stood alone,
        too: `model.invoke(prompt)` after `retriever.invoke(query)`.
        """
        parent = self._runs.get(parent_run_id) if parent_run_id else None
        if parent is not None:
            return parent.trace
        trace = Trace(id=str(parent_run_id or run_id))
        if self._loose:
            trace.add(self._loose)
        return trace

    def enter(
        self,
        kind: StepKind | None,
        run_id: UUID,
        parent_run_id: UUID | None,
        name: str | None,
    ) -> None:
        """A run has started; a second start of the same is passed over.

        A retriever that another one asks is a part of that one.
        """
        if run_id in self._runs:
            return
        parent = self._runs.get(parent_run_id) if parent_run_id else None
        if kind == "retriever" and parent is not None and parent.kind == "retriever":
            kind = None
        trace = self.of(run_id, parent_run_id)
        named = str(name or kind)
        self._runs[run_id] = Run(trace, kind, named, self._clock(), self._timer())
        if len(self._runs) > _REMEMBERED_RUNS:
            # Other threads may be at the same.
            with suppress(StopIteration, RuntimeError):
                self._runs.pop(next(iter(self._runs)), None)

    def leave(
        self, run_id: UUID, *, failed: bool = False, documents: tuple[str, ...] = ()
    ) -> Finished | None:
        """A run has ended.

        Returns:
            What is kept of it; None for inner chains and runs that were not seen.
        """
        run = self._runs.pop(run_id, None)
        if run is None:
            return None
        alone = run.trace.id == str(run_id)
        if run.kind is not None:
            run.trace.add(documents)
        if alone:
            self._loose.extend(documents)
            run.trace.ended = True
        if run.kind is None:
            return None
        seconds = max(self._timer() - run.started, 0.0)
        return Finished(str(run_id), run, seconds, failed, documents)

    def forget(self) -> None:
        """Drop the runs under way: in a forked process they are the parent's."""
        self._runs.clear()
