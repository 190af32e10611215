"""Models that wrap other models: their answers were billed to the inner call."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

_REMEMBERED = 8


@dataclass(slots=True, eq=False)
class Nest:
    """A call under way, as the calls made inside of it see it.

    Attributes:
        outer: The call it is made inside of.
        ended: It has ended.
        answers: The newest answers of the calls made inside of it.
    """

    outer: Nest | None
    ended: bool = False
    answers: deque[AIMessage] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


_nests: ContextVar[Mapping[int, Nest]] = ContextVar("langchain_lean_calls")
"""By recorder, the call that was begun last in this context."""


def enter(recorder: object) -> Nest:
    """Begin a call, inside of the innermost one under way in this context."""
    under_way = {
        name: nest
        for name, begun in _nests.get({}).items()
        if (nest := _open(begun)) is not None
    }
    nest = Nest(under_way.get(id(recorder)))
    _nests.set({**under_way, id(recorder): nest})
    return nest


def _open(nest: Nest | None) -> Nest | None:
    """The innermost call under way, from one that may have ended."""
    while nest is not None and nest.ended:
        nest = nest.outer
    return nest


def drop(nest: Nest) -> None:
    """End a call that is not made, so that no other is taken to be inside of it."""
    nest.ended = True


def leave(nest: Nest, message: AIMessage | None) -> bool:
    """End a call.

    A model that wraps another one hands on its message, which was billed once: a call
    inside its own has given the same one, or one of the same id, text, tool calls and
    usage. (One that makes a message of its own cannot be told from a second call.)

    Args:
        nest: The call.
        message: Its answer.

    Returns:
        Whether the answer is only passed on.
    """
    nest.ended = True
    if message is None:
        return False
    if nest.outer is not None:
        nest.outer.answers.append(message)
    return any(_same(answer, message) for answer in nest.answers)


def _same(one: AIMessage, other: AIMessage) -> bool:
    return one is other or (
        one.id is not None
        and one.id == other.id
        and one.usage_metadata == other.usage_metadata
        and one.content == other.content
        and one.tool_calls == other.tool_calls
    )
