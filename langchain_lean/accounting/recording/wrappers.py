"""Models that wrap other models: their answers were billed to the inner call."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from langchain_lean.accounting.recording.events import Call

_REMEMBERED = 1_000


class Answers:
    """The newest answers, to tell one that is only passed on.

    A model that wraps another one returns its message, with the same id, text and
    usage, which was billed once. (One that makes a message of its own from it cannot
    be told from a second call.)
    """

    def __init__(self) -> None:
        self._newest: dict[str, tuple[Call, AIMessage]] = {}

    def passed_on(self, call: Call, message: AIMessage, *, others: bool) -> bool:
        """Whether an answer is that of a call which was made inside this one.

        Args:
            call: The call that has ended.
            message: Its answer.
            others: Whether other calls are under way, one of which may wrap this one.
        """
        name = getattr(message, "id", None)
        if not isinstance(name, str) or not name:
            return False
        inner, answer = self._newest.get(name, (call, message))
        if inner is not call and inner.started >= call.started:
            merged = type(message).__name__.endswith("Chunk")  # of a stream
            return answer is message or (
                merged
                and answer.usage_metadata == message.usage_metadata
                and answer.content == message.content
            )
        if not others:
            self._newest.clear()
            return False
        self._newest[name] = (call, message)
        if len(self._newest) > _REMEMBERED:
            # Other threads may be at the same.
            with suppress(StopIteration, RuntimeError):
                self._newest.pop(next(iter(self._newest)), None)
        return False

    def forget(self) -> None:
        """Drop all answers."""
        self._newest.clear()
