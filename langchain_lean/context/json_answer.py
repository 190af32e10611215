"""An answer that is read until its JSON value is complete."""

from __future__ import annotations

from typing import Any, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_lean.context.json_end import JsonScanner
from langchain_lean.messages import note
from langchain_lean.models import ended_on_cap

LEVER = "output"

_COMPLETE = "the JSON value was complete"
_INCOMPLETE = "the answer ended before its JSON value was complete"

_Message = TypeVar("_Message", bound=AIMessage)


class JsonAnswer:
    """Passes an answer on up to the end of its JSON value.

    It makes no call and reads no stream: the caller feeds it and stops reading when it
    is done. An answer without a JSON value passes whole; one with a tool call passes
    whole from the call on.

    Args:
        kinds: The brackets the value may begin with.
        waits: Be done only when more text follows the value, because something else
            may follow it, such as a tool call.
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
        self._capped = False
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
        self._capped = self._capped or ended_on_cap(chunk)
        text = str(chunk.text)
        if text:
            self._last = chunk
        if self._calls:
            return [chunk]
        if self._scanner.end is not None:
            return self._behind(chunk, text)
        end = self._scanner.feed(text)
        if end is None:
            return [chunk]
        kept = end - (self._scanner.length - len(text))
        if self._waits and not text[kept:].strip():
            return [chunk]
        self.done = True
        self._held.append(_cut(chunk, kept))
        return []

    def rest(self) -> list[Any]:
        """What to pass on at the end, once the stream is closed."""
        if self.done:
            return [*self._held, self._closing(_COMPLETE, position="last")]
        if self._held or not self._brace or self._calls or self._capped:
            return self._held
        if self._scanner.feed("}") == self._scanner.length:
            return [
                self._closing(
                    _COMPLETE, content=_braced(self._last.content, alone=True)
                )
            ]
        if self._scanner.inside:
            return [self._closing(_INCOMPLETE)]
        return []

    def _behind(self, chunk: AIMessageChunk, text: str) -> list[Any]:
        """Take what comes behind the value: usage and blanks, a tool call, or talk."""
        self.done = bool(text.strip())
        return [] if self.done else [chunk]

    def _whole(self, answer: Any) -> Any:
        if not isinstance(answer, AIMessage) or _calls_tool(answer):
            return answer
        text = str(answer.text)
        end = self._scanner.feed(text)
        if end is not None:
            cut = _cut(answer, end)
            return _noted(cut, "cut", _COMPLETE) if text[end:].strip() else answer
        if not self._brace or ended_on_cap(answer):
            return answer
        if self._scanner.feed("}") == len(text) + 1:
            content = _braced(answer.content)
            ended = answer.model_copy(update={"content": content})
            return _noted(ended, "stopped", _COMPLETE)
        inside = self._scanner.inside
        return _noted(answer, "stopped", _INCOMPLETE) if inside else answer

    def _closing(
        self, reason: str, *, content: Any = "", position: Any = None
    ) -> AIMessageChunk:
        """The last chunk, which carries the note."""
        chunk = AIMessageChunk(
            content=content, id=self._last.id, chunk_position=position
        )
        note(chunk, lever=LEVER, action="stopped", reason=reason)
        return chunk


def _noted(answer: _Message, action: str, reason: str) -> _Message:
    """A copy with a note: the answer itself may belong to a cache or a trace."""
    metadata = {**answer.response_metadata}
    noted = answer.model_copy(update={"response_metadata": metadata})
    note(noted, lever=LEVER, action=action, reason=reason)
    return noted


def _calls_tool(message: AIMessage) -> bool:
    """Whether an answer, or a piece of one, belongs to a tool call."""
    if message.tool_calls or message.invalid_tool_calls:
        return True
    if isinstance(message, AIMessageChunk) and message.tool_call_chunks:
        return True
    if "function_call" in message.additional_kwargs:
        return True
    blocks = (block for block in message.content if isinstance(block, dict))
    kinds = (str(block.get("type")) for block in blocks)
    return any("tool" in k or "call" in k or k == "input_json_delta" for k in kinds)


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
