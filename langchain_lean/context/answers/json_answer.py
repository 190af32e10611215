"""An answer that is read until its JSON value is complete."""

from __future__ import annotations

from typing import Any, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_lean.context.answers.json_end import JsonScanner
from langchain_lean.messages import note
from langchain_lean.models import finish_reasons

_LEVER = "output"

_COMPLETE = "the JSON value was complete"
_INCOMPLETE = "the answer ended before its JSON value was complete"

_ENDED = ("stop", "end_turn", "stop_sequence")
"""What providers say of an answer that ended by itself or at a stop sequence."""

_Message = TypeVar("_Message", bound=AIMessage)


class JsonAnswer:
    """Passes an answer on up to the end of its JSON value.

    It makes no call and reads no stream: the caller feeds it and stops reading when it
    is done. An answer without a JSON value passes whole; one with a tool call passes
    whole from the call on.

    Args:
        kinds: The brackets the value may begin with.
        waits: Be done only when more text follows the value, because the call may end
            there by itself.
        brace: The call ends at its first `}`, which the provider leaves out.

    Attributes:
        done: The rest of the stream is of no use.
    """

    def __init__(self, kinds: str, *, waits: bool = False, brace: bool = False) -> None:
        self.done = False
        self._scanner = JsonScanner(kinds)
        self._waits = waits
        self._brace = brace
        self._calls = False
        self._reasons: list[str] = []
        self._held: list[Any] = []
        self._last = AIMessageChunk(content="")

    def feed(self, chunk: Any) -> list[Any]:
        """Take the next piece of an answer, or the whole of one.

        Args:
            chunk: What the model gave.

        Returns:
            What to pass on now.
        """
        if not isinstance(chunk, AIMessageChunk):
            self._held.append(self._whole(chunk))
            return []
        self._calls = self._calls or _calls_tool(chunk)
        self._reasons += finish_reasons(chunk)
        text = str(chunk.text)
        if text:
            self._last = chunk
        if self._calls:
            return [chunk]
        if self._scanner.complete:
            self.done = bool(text.strip())
            return [] if self.done else [chunk]
        kept = self._scanner.feed(text)
        if kept is None or (self._waits and not text[kept:].strip()):
            return [chunk]
        self.done = True
        self._held.append(_cut(chunk, kept))
        return []

    def rest(self) -> list[Any]:
        """What to pass on at the end, once the stream is closed."""
        if self.done:
            return [*self._held, self._closing(_COMPLETE, position="last")]
        if self._held or not self._brace or self._calls or self._scanner.complete:
            return self._held
        if self._lacks_brace():
            content = _braced(self._last.content, alone=True)
            return [self._closing(_COMPLETE, content=content)]
        return [self._closing(_INCOMPLETE)]

    def _whole(self, answer: Any) -> Any:
        if not isinstance(answer, AIMessage) or _calls_tool(answer):
            return answer
        text = str(answer.text)
        kept = self._scanner.feed(text)
        if kept is not None:
            cut = _cut(answer, kept)
            return noted(cut, "cut", _COMPLETE) if text[kept:].strip() else answer
        if not self._brace:
            return answer
        self._reasons = finish_reasons(answer)
        if not self._lacks_brace():
            return noted(answer, "stopped", _INCOMPLETE)
        ended = answer.model_copy(update={"content": _braced(answer.content)})
        return noted(ended, "stopped", _COMPLETE)

    def _lacks_brace(self) -> bool:
        """Whether the answer ended at the brace of its value: it could be the last."""
        ended = self._reasons and all(reason in _ENDED for reason in self._reasons)
        return bool(ended) and self._scanner.feed("}") is not None

    def _closing(
        self, reason: str, *, content: Any = "", position: Any = None
    ) -> AIMessageChunk:
        """The last chunk, which carries the note."""
        chunk = AIMessageChunk(
            content=content, id=self._last.id, chunk_position=position
        )
        note(chunk, lever=_LEVER, action="stopped", reason=reason)
        return chunk


def noted(answer: _Message, action: str, reason: str) -> _Message:
    """A copy with a note: the answer itself may belong to a cache or a trace."""
    metadata = {**answer.response_metadata}
    copy = answer.model_copy(update={"response_metadata": metadata})
    note(copy, lever=_LEVER, action=action, reason=reason)
    return copy


def _calls_tool(message: AIMessage) -> bool:
    """Whether an answer, or a piece of one, belongs to a tool call."""
    pieces = getattr(message, "tool_call_chunks", ())
    return bool(message.tool_calls or message.invalid_tool_calls or pieces)


def _text(block: Any) -> str:
    """The text of a block of content; none for thoughts, media and the like."""
    if isinstance(block, str):
        return block
    text = block.get("text") if block.get("type") == "text" else None
    return text if isinstance(text, str) else ""


def _with_text(block: Any, text: str) -> Any:
    return text if isinstance(block, str) else {**block, "text": text}


def _cut(message: _Message, kept: int) -> _Message:
    """A copy with the first characters of its text, and the blocks before its end."""
    content = message.content
    if isinstance(content, str):
        return message.model_copy(update={"content": content[:kept]})
    blocks: list[Any] = []
    for block in content:
        text = _text(block)
        blocks.append(_with_text(block, text[:kept]) if len(text) > kept else block)
        kept -= len(text)
        if kept <= 0:
            break
    return message.model_copy(update={"content": blocks})


def _braced(content: Any, *, alone: bool = False) -> Any:
    """The content with a brace behind its text; or the brace alone, as a piece."""
    if isinstance(content, str):
        return "}" if alone else content + "}"
    last = max(index for index, block in enumerate(content) if _text(block))
    text = "}" if alone else _text(content[last]) + "}"
    block = _with_text(content[last], text)
    return [block] if alone else [*content[:last], block, *content[last + 1 :]]
