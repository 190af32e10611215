"""Where the time of a run goes."""

from collections.abc import Iterable
from dataclasses import dataclass

from langchain_lean.accounting.entry import LedgerEntry, Step


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
    """

    trace_id: str
    total: float | None = None
    first_token: float | None = None
    generation: float = 0.0
    retrieval: float = 0.0
    tools: float = 0.0


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
    for entry in entries:
        times = found.setdefault(entry.trace_id, {})
        kind = "embedding" if entry.kind == "embedding" else "generation"
        first = entry.first_token_seconds
        if first is not None:
            times["first_token"] = first
        times[kind] = times.get(kind, 0.0) + entry.seconds - (first or 0.0)
        if entry.trace_id == entry.run_id:
            times["total"] = entry.seconds
    names = {"run": "total", "retriever": "retrieval", "tool": "tools"}
    for step in steps:
        times = found.setdefault(step.trace_id, {})
        times[names[step.kind]] = times.get(names[step.kind], 0.0) + step.seconds
    for times in found.values():
        embedding = times.pop("embedding", 0.0)
        if embedding:
            times.setdefault("retrieval", embedding)
    return [RunTiming(trace_id=trace, **times) for trace, times in found.items()]


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
