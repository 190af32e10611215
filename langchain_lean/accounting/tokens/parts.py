"""From the messages and tools of a call to its texts, and to what has no text.

Where the constants are from:

- Each message 3 tokens, and 3 for the start of the reply: OpenAI's cookbook recipe.
  The same 3 are taken for a name, for each tool call and for each tool.
- Tool calls: name and arguments as JSON, whether content is a string or blocks.
- Tool schemas: the JSON of their OpenAI form.
- Images: 765 tokens, OpenAI's price of 1024 x 1024 pixels in tiles, or 85 at low
  detail; 2.1 times as much at most, which covers the 1,600 tokens at which Anthropic's
  width x height / 750 stops.
- Audio: 32 tokens a second (Gemini), 16 kB a second. Video: 263 tokens a second
  (Gemini), 250 kB a second. Files: 2,250 tokens a page (the middle of Anthropic's 1,500
  to 3,000), 50 kB a page. A minute or a page where the size is not known. The sizes a
  second and a page are rules of thumb. Base64 is never counted as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

OVERHEAD = 3
MEDIA_BOUND = 2.1
_IMAGE, _LOW_DETAIL = 765, 85
# Tokens where the size is unknown, and bytes per token.
_SIZED = {
    "audio": (60 * 32, 16_000 / 32),
    "video": (60 * 263, 250_000 / 263),
    "file": (2_250, 50_000 / 2_250),
}
_MEDIA_TYPES = {
    "document": "file",
    "media": "file",
    **{
        spelling.format(kind): kind
        for kind in ("image", *_SIZED)
        for spelling in ("{}", "input_{}", "{}_url")
    },
}
_CALL_TYPES = frozenset({"function_call", "tool_call", "tool_call_chunk", "tool_use"})
_ARGUMENTS = frozenset({"args", "arguments", "input"})
# What stands in a block beside its text, and is no text to the model.
_ASIDE = frozenset(
    """annotations base64 bytes cache_control call_id data detail encrypted_content
    extras file_data file_id format id index media_type mime_type role signature status
    tool_call_id tool_use_id type url""".split()  # noqa: SIM905
)
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


class CallParts:
    """The parts of one call.

    Attributes:
        texts: Every text the model reads.
        overhead: Tokens around them.
        media: Tokens of images, audio, video and files.
    """

    def __init__(self, messages: Sequence[BaseMessage], tools: Sequence[Any]) -> None:
        self.texts: list[str] = []
        self.overhead = OVERHEAD if messages else 0
        self.media = 0.0
        for message in messages:
            self._message(message)
        for tool in tools:
            self.texts.append(_tool_text(tool))
            self.overhead += OVERHEAD

    def _message(self, message: BaseMessage) -> None:
        self.overhead += OVERHEAD
        called = isinstance(message, AIMessage) and self._calls(message)
        content = message.content
        if isinstance(content, str):
            self.texts.append(content)
        else:
            for block in content:
                if not (called and _type(block) in _CALL_TYPES):
                    self._block(block)
        if message.name and not isinstance(message, ToolMessage):
            self.texts.append(message.name)
            self.overhead += OVERHEAD

    def _calls(self, message: AIMessage) -> bool:
        before = self.overhead
        for call in message.tool_calls:
            self.texts += call["name"], _json(call["args"])
            self.overhead += OVERHEAD
        for failed in message.invalid_tool_calls:
            self._block([failed["name"], failed["args"]])
            self.overhead += OVERHEAD
        if self.overhead == before:
            for key in ("tool_calls", "function_call"):
                if raw := message.additional_kwargs.get(key):
                    self._block(raw)
                    self.overhead += OVERHEAD
        return self.overhead > before

    def _block(self, block: object) -> None:
        if isinstance(block, str):
            self.texts.append(block)
        elif isinstance(block, list):
            for part in block:
                self._block(part)
        elif isinstance(block, dict):
            if medium := _medium(block):
                self.media += _media_tokens(medium, block)
                return
            source = block.get("source")
            if isinstance(source, dict) and source.get("type") == "text":
                self._block(source.get("data"))
            for key, value in block.items():
                if key in _ARGUMENTS:
                    self.texts.append(value if isinstance(value, str) else _json(value))
                elif key not in _ASIDE:
                    self._block(value)


def tool_preamble(model: str | None) -> int:
    """The tokens of the instructions a provider adds where a call has tools.

    Anthropic documents 159 to 530 of them, by model and `tool_choice`; 346 is what
    most models have. Other providers document none.
    """
    return 346 if "claude" in (model or "").lower() else 0


def _type(block: object) -> object:
    return block.get("type") if isinstance(block, dict) else None


def _medium(block: dict[Any, Any]) -> str | None:
    """Image, audio, video or file, if the block is one; a text document is not."""
    kind = _type(block)
    if "type" not in block and len(block) == 1:
        kind = next(iter(block))
    medium = _MEDIA_TYPES.get(kind) if isinstance(kind, str) else None
    if medium is None or _type(block.get("source")) in {"text", "content"}:
        return None
    mime = str(block.get("mime_type")).partition("/")[0]
    return _MEDIA_TYPES.get(mime, medium)


def _media_tokens(medium: str, block: dict[Any, Any]) -> float:
    if medium == "image":
        nested = block.get("image_url")
        image = nested if isinstance(nested, dict) else block
        return _LOW_DETAIL if image.get("detail") == "low" else _IMAGE
    unsized, bytes_per_token = _SIZED[medium]
    size = _size(block)
    return max(1.0, size / bytes_per_token) if size else unsized


def _size(block: object) -> float:
    """Bytes of the data in a block, which stand there as base64 or as they are."""
    if isinstance(block, str):
        return len(block) * 0.75 if len(block) > 1_000 else 0
    if isinstance(block, bytes):
        return len(block)
    return sum(map(_size, block.values())) if isinstance(block, dict) else 0


def _tool_text(tool: Any) -> str:
    try:
        return _json(convert_to_openai_tool(tool))
    except (TypeError, ValueError, KeyError):
        if isinstance(tool, Mapping):  # a provider's own tool
            return _json(dict(tool))
        raise
