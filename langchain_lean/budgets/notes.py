"""Saying what was done to a call: on its answer, and to the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.runnables import Runnable

from langchain_lean.accounting.reporting import report_saving
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.budgets.demands import Demand, Reservation
from langchain_lean.budgets.fitting import Candidate
from langchain_lean.messages import note
from langchain_lean.models import ended_on_cap


@dataclass(frozen=True, slots=True)
class Accepted:
    """A call as it is made.

    Attributes:
        candidate: The way it is made.
        reservation: What is reserved for it; None where no model is asked.
        asked: What it would have taken as it was asked for.
        runnable: Makes it.
        lever: Whom notes and savings name.
    """

    candidate: Candidate
    reservation: Reservation | None
    asked: Demand
    runnable: Runnable[Any, Any]
    lever: str


def note_what_was_done(accepted: Accepted, answer: Any) -> Any:
    """Say on an answer what was done, and report what that saved.

    Returns:
        The answer with its notes: a copy, as it may stand in a cache.
    """
    message = answer.get("raw") if isinstance(answer, dict) else answer
    if not isinstance(message, AIMessage):
        return answer
    candidate = accepted.candidate
    update: dict[str, Any] = {"response_metadata": dict(message.response_metadata)}
    if not candidate.tools:  # a call that nobody offered is not to be made
        update["tool_calls"] = update["invalid_tool_calls"] = []
    message = message.model_copy(update=update)
    for done in candidate.notes:
        note(message, lever=accepted.lever, action=done.action, reason=done.detail)
    if candidate.output is not None and ended_on_cap(message):
        reason = f"the answer ended at {candidate.output:,} tokens"
        note(message, lever=accepted.lever, action="shortened", reason=reason)
    if candidate.notes and accepted.reservation is not None:
        _report_saving(accepted, accepted.reservation.demand, message)
    return {**answer, "raw": message} if isinstance(answer, dict) else message


def last_chunk(accepted: Accepted, chunks: list[Any]) -> Iterator[AIMessageChunk]:
    """The empty chunk that carries what was done to a streamed answer."""
    if accepted.candidate.output is None and not accepted.candidate.notes:
        return
    if not chunks or not all(isinstance(chunk, AIMessageChunk) for chunk in chunks):
        return
    whole = add_ai_message_chunks(chunks[0], *chunks[1:])
    before = whole.response_metadata.get("lean", [])
    whole = note_what_was_done(accepted, whole)
    notes = whole.response_metadata.get("lean", [])[len(before) :]
    if notes:
        yield AIMessageChunk(content="", id=whole.id, response_metadata={"lean": notes})


def _report_saving(accepted: Accepted, made: Demand, answer: AIMessage) -> None:
    """Report what trimming and downgrading saved; a capped answer's rest is unknown."""
    asked = accepted.asked
    left_out = asked.estimate.floor.input - made.estimate.floor.input
    usage = TokenUsage.from_message(answer)
    if accepted.candidate.lite and usage is not None:
        report_saving(
            accepted.lever,
            avoided=TokenUsage(
                input=usage.input + max(left_out, 0), output=usage.output
            ),
            model=asked.ask.model or "",
            provider=asked.ask.provider,
            spent=usage,
            spent_model=made.ask.model,
            baseline=f"the call as it was asked of {asked.ask.model}",
        )
    elif left_out > 0:
        report_saving(
            accepted.lever,
            avoided=TokenUsage(input=left_out),
            model=asked.ask.model or "",
            provider=asked.ask.provider,
            baseline="all turns of the chat",
        )
