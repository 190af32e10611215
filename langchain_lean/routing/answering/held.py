"""Holding an answer back until it is decided whether anybody sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    message_chunk_to_message,
)
from langchain_core.messages.ai import add_ai_message_chunks

from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.verdict import Verdict

Peek = Callable[[str], Verdict | None]


class Held:
    """Takes the pieces of an answer, and gives them out once it is accepted.

    Args:
        peek: Says what it can of the beginning of an answer; None where nobody rejects
            the answer, which then passes as it comes.
    """

    def __init__(self, peek: Peek | None) -> None:
        self.verdict: Verdict | None = None
        self._peek = peek
        self._chunks: list[AIMessageChunk] = []
        self._id = f"run-{uuid4()}"  # for what a function makes of an answer
        self._shown = 0
        self._text = ""

    @classmethod
    def of(cls, pieces: Iterable[AIMessageChunk], *, shown: bool) -> Held:
        """An answer that came before, and was shown then or is to be shown."""
        held = cls(None)
        held._chunks = list(pieces)
        held._shown = len(held._chunks) if shown else 0
        return held

    @property
    def shown(self) -> bool:
        """Whether all that has come was given out."""
        return self._shown == len(self._chunks) > 0

    @property
    def empty(self) -> bool:
        """Whether nothing has come, as where the answer was not streamed."""
        return not self._chunks

    @property
    def rejected(self) -> bool:
        """Whether its beginning was enough to reject it."""
        return self.verdict is not None and self.verdict.escalate

    def feed(self, piece: Any) -> list[AIMessageChunk]:
        """Take a piece; give those that can be shown now."""
        chunk = as_chunk(piece)
        chunk.id = chunk.id or self._id
        self._chunks.append(chunk)
        if self._peek is not None and self.verdict is None:
            self._text += chunk.text
            self.verdict = self._peek(self._text)
        decided = self._peek is None or self.verdict is not None
        return self.rest() if decided and not self.rejected else []

    def restart(self) -> None:
        """Forget what has come, where the model is asked anew and nobody has seen it.

        What was shown cannot be taken back; the new answer comes behind it.
        """
        if not self._shown:
            self._chunks, self._text, self.verdict = [], "", None

    def rest(self) -> list[AIMessageChunk]:
        """Give all that has come and was not shown yet."""
        waiting = self._chunks[self._shown :]
        self._shown = len(self._chunks)
        return waiting

    def message(self) -> AIMessage:
        """The answer as far as it has come."""
        first, *others = self._chunks or [AIMessageChunk(content="")]
        whole: Any = message_chunk_to_message(add_ai_message_chunks(first, *others))
        return checked_answer(whole)


def checked_answer(answer: object) -> AIMessage:
    """An answer as a router takes it.

    Raises:
        ConfigurationError: If it is no message of a model.
    """
    if isinstance(answer, AIMessage):
        return answer
    msg = (
        f"A router's models answer with messages, not {type(answer).__name__}; "
        "take with_structured_output off, and check the answer with a schema."
    )
    raise ConfigurationError(msg)


def as_chunk(piece: object) -> AIMessageChunk:
    """An answer, or a piece of one, as a piece.

    Raises:
        ConfigurationError: If it is neither.
    """
    message = checked_answer(piece)
    if isinstance(message, AIMessageChunk):
        return message
    return AIMessageChunk(**message.model_dump(exclude={"type"}))
