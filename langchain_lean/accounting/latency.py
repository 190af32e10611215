"""Where the time of a run goes."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from langchain_lean.accounting.entry import LedgerEntry, Step

_Span = tuple[datetime, float]  # when it began, and its seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTiming:
    """Where the time of one outermost run went, in seconds.

    Calls and steps that run side by side are each counted whole.

    Attributes:
        trace_id: The outermost run.
        total: How long it took; None where the ledger did not see it end.
        first_token: Until the first token of its last streamed call, from where that
            call began.
        generation: In models, after the first token where there is one.
        retrieval: In retrievers.
        tools: In tools.
        waiting: While no model, retriever or tool of it was at work; None where the
            ledger did not see it end, or keeps no call of it any more.
    """

    trace_id: str
    total: float | None = None
    first_token: float | None = None
    generation: float = 0.0
    retrieval: float = 0.0
    tools: float = 0.0
    waiting: float | None = None


def timings(entries: Iterable[LedgerEntry], steps: Iterable[Step]) -> list[RunTiming]:
    """Add up times by outermost run.

    Args:
        entries: Calls. Embeddings count as retrieval where the ledger saw no
            retriever, which would embed the query within its own time.
        steps: Steps.

    Returns:
        One timing for each run, in the order they first appear. A call that stands
        alone is its own run.
    """
    found: dict[str, dict[str, float]] = {}
    began: dict[str, datetime] = {}
    work: defaultdict[str, list[_Span]] = defaultdict(list)
    for entry in entries:
        times = found.setdefault(entry.trace_id, {})
        kind = "embedding" if entry.kind == "embedding" else "generation"
        first = entry.first_token_seconds
        if first is not None:
            times["first_token"] = first
        times[kind] = times.get(kind, 0.0) + entry.seconds - (first or 0.0)
        work[entry.trace_id].append((entry.start, entry.seconds))
        if entry.trace_id == entry.run_id:
            times["total"], began[entry.trace_id] = entry.seconds, entry.start
    names = {"run": "total", "retriever": "retrieval", "tool": "tools"}
    for step in steps:
        times = found.setdefault(step.trace_id, {})
        times[names[step.kind]] = times.get(names[step.kind], 0.0) + step.seconds
        if step.kind == "run":
            began[step.trace_id] = step.start
        else:
            work[step.trace_id].append((step.start, step.seconds))
    for trace, times in found.items():
        embedding = times.pop("embedding", 0.0)
        if embedding:
            times.setdefault("retrieval", embedding)
        if trace in began and "generation" in times:
            times["waiting"] = _waiting(began[trace], times["total"], work[trace])
    return [RunTiming(trace_id=trace, **times) for trace, times in found.items()]


def _waiting(start: datetime, total: float, work: Iterable[_Span]) -> float:
    """Seconds of a run in which none of its work was under way."""
    waiting = until = 0.0
    for begin, seconds in sorted(work):
        offset = (begin - start).total_seconds()
        waiting += max(min(offset, total) - until, 0.0)
        until = max(until, offset + seconds)
    return waiting + max(total - until, 0.0)


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value that a share of the values does not exceed (nearest rank).

    Args:
        values: The values.
        share: From 0 to 1.

    Returns:
        The value; None where there are none.
    """
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
