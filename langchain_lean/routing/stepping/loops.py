"""Seeing that an agent goes round in a circle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from langchain_core.messages import BaseMessage

from langchain_lean.messages import role, tool_calls

_Calls = frozenset[tuple[str, str]]


def goes_round(messages: Sequence[BaseMessage], times: int) -> bool:
    """Whether the newest answers ask for the same tool calls again and again.

    What counts are the answers in a row that call tools, the newest first, back to the
    last one that calls none or to the last human message. Two are the same where they
    call the same tools with the same arguments, in any order. Calls that one answer
    repeats count once: it had not seen a result yet.

    Args:
        messages: The chat so far.
        times: How many answers in a row are too many.
    """
    newest: _Calls | None = None
    for count, calls in enumerate(_calls_in_a_row(messages), 1):
        newest = newest or calls
        if calls != newest:
            return False
        if count == times:
            return True
    return False


def _calls_in_a_row(messages: Sequence[BaseMessage]) -> Iterator[_Calls]:
    """What the answers since the last text called, newest first."""
    for message in reversed(messages):
        said_by = role(message)
        if said_by == "human" or (said_by == "ai" and not tool_calls(message)):
            return
        if said_by == "ai":
            yield frozenset(
                (call["name"], _canonical(call["args"])) for call in tool_calls(message)
            )


def _canonical(args: object) -> str:
    return json.dumps(args, sort_keys=True, default=str)
