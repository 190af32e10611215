"""Saying what was done to a call: on its answer, and to the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from langchain_lean.models import ended_on_cap, without

_CALLS = (
    "tool_use",
    "input_json_delta",  # a piece of one, in Anthropic's streams
    "tool_call",
    "tool_call_chunk",
    "function_call",
)
_IN_ADDITION = ("tool_calls", "function_call")


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
    metadata = dict(message.response_metadata)
    message = message.model_copy(update={"response_metadata": metadata})
    message = without_calls(accepted, message)
    for done in candidate.notes:
        note(message, lever=accepted.lever, action=done.action, reason=done.detail)
    if candidate.output is not None and ended_on_cap(message):
        reason = f"the answer ended at {candidate.output:,} tokens"
        note(message, lever=accepted.lever, action="shortened", reason=reason)
    if candidate.notes and accepted.reservation is not None:
        _report_saving(accepted, accepted.reservation.demand, message)
    return {**answer, "raw": message} if isinstance(answer, dict) else message


def without_calls(accepted: Accepted, answer: Any) -> Any:
    """An answer, or a piece of one, without calls of tools that nobody offered."""
    if accepted.candidate.tools or not isinstance(answer, AIMessage):
        return answer
    update: dict[str, Any] = {"tool_calls": [], "invalid_tool_calls": []}
    if isinstance(answer, AIMessageChunk):
        update["tool_call_chunks"] = []
    update["additional_kwargs"] = without(answer.additional_kwargs, _IN_ADDITION)
    if isinstance(answer.content, list):
        update["content"] = [b for b in answer.content if not _calls(b)]
    return answer.model_copy(update=update)


def _calls(block: object) -> bool:
    return isinstance(block, Mapping) and block.get("type") in _CALLS


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
