"""Models that wrap other models: their answers were billed to the inner call."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import AIMessage

    from langchain_lean.accounting.recording.events import Call

_inside: ContextVar[UUID | None] = ContextVar("langchain_lean_call", default=None)
"""The call that was begun last in this context: what is begun now is inside it."""


def enter(run_id: UUID, calls: Mapping[UUID, Call]) -> Call | None:
    """Begin a call.

    Returns:
        The call under way that it is made inside of, if any.
    """
    outer = _inside.get()
    _inside.set(run_id)
    return None if outer is None else calls.get(outer)


def leave(call: Call, message: AIMessage | None) -> bool:
    """End a call.

    A model that wraps another one hands on its answer, which was billed once. It is
    told by a call inside its own that gave the same text for the same usage. (One that
    makes another text of it cannot be told from a second call.)

    Args:
        call: The call that has ended.
        message: Its answer.

    Returns:
        Whether the answer is only passed on.
    """
    _inside.set(None if call.outer is None else UUID(call.outer.run_id))
    if message is None:
        return False
    if call.outer is not None:
        call.outer.inner = [*(call.outer.inner or ()), message]
    return any(
        answer is message
        or (
            answer.usage_metadata == message.usage_metadata
            and answer.content == message.content
        )
        for answer in call.inner or ()
    )
