"""Cache marks on messages and tools, in each provider's own form."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool

from langchain_lean.context.prefixes.limits import Dialect, Lifetime
from langchain_lean.context.prefixes.tools import (
    CACHE_CONTROL,
    CACHE_POINT,
    controlled,
)
from langchain_lean.messages import role, tool_calls

TOOLS = -1
"""Where a mark stands that is behind the tools, in front of all messages."""

BREAKPOINT = "prompt_cache_breakpoint"
"""The key of OpenAI's mark."""

_KEYS = (CACHE_CONTROL, CACHE_POINT, BREAKPOINT)
_CARRIERS: dict[Dialect, tuple[str, ...]] = {
    "anthropic": ("system", "human", "ai", "tool"),
    "invoke": ("system", "human", "ai"),  # ChatBedrock puts one inside of a result
    "converse": ("system", "human", "ai", "tool"),
    "openai": ("system", "human"),  # its Responses API takes none elsewhere
}


_CALLED = ("tool_use", "tool_call", "function_call")


class Mark(NamedTuple):
    """A mark that stands in a prompt.

    Attributes:
        place: The index of its message, or `TOOLS`.
        lifetime: How long the provider is to keep what is in front of it.
    """

    place: int
    lifetime: Lifetime


def marks_of(messages: Sequence[BaseMessage], tools: Sequence[Any]) -> list[Mark]:
    """The marks a prompt has, in the order a provider reads it: tools first."""
    found = [Mark(TOOLS, lifetime) for tool in tools for lifetime in _on(_schema(tool))]
    for place, message in enumerate(messages):
        if not isinstance(message.content, str):
            blocks = message.content
            found += [Mark(place, life) for block in blocks for life in _on(block)]
    return found


def can_carry(message: BaseMessage, dialect: Dialect) -> bool:
    """Whether a mark can stand in a message: behind text, and in no open tool call."""
    kind = role(message)
    if kind not in _CARRIERS[dialect] or (kind == "ai" and tool_calls(message)):
        return False
    return _last_text(message.content) is not None


def with_mark(message: BaseMessage, dialect: Dialect, lifetime: Lifetime) -> Any:
    """A message with a mark behind its last text; the message stays as it is."""
    content = message.content
    last = _last_text(content) or 0
    blocks: list[Any] = [content] if isinstance(content, str) else list(content)
    if isinstance(blocks[last], str):
        blocks[last] = {"type": "text", "text": blocks[last]}
    if dialect == "converse":
        blocks.insert(last + 1, _cache_point(lifetime))
    elif dialect in ("anthropic", "invoke"):
        blocks[last] = {**blocks[last], CACHE_CONTROL: _cache_control(lifetime)}
    else:
        blocks[last] = {**blocks[last], BREAKPOINT: {"mode": "explicit"}}
    return message.model_copy(update={"content": blocks})


def tools_with_mark(
    tools: Sequence[Any], dialect: Dialect, lifetime: Lifetime
) -> tuple[Any, ...]:
    """Tools with a mark behind the last one; the tools stay as they are."""
    if dialect == "converse":
        return (*tools, _cache_point(lifetime))
    *others, last = tools
    control = _cache_control(lifetime)
    return (*others, controlled(last, control, as_schema=dialect == "invoke"))


def count_blocks(messages: Sequence[BaseMessage]) -> int:
    """How many blocks messages have for a provider, tool calls and results included."""
    return sum(_blocks(message) for message in messages)


def _last_text(content: str | Sequence[Any]) -> int | None:
    if isinstance(content, str):
        return 0 if content.strip() else None
    for index in range(len(content) - 1, -1, -1):
        block = content[index]
        text = block if isinstance(block, str) else _text(block)
        if text.strip():
            return index
    return None


def _blocks(message: BaseMessage) -> int:
    content = message.content
    kinds = [b.get("type") for b in content if isinstance(b, dict)]
    texts = bool(content) if isinstance(content, str) else len(content)
    if role(message) == "tool":
        return 1
    called = sum(kind in _CALLED for kind in kinds)  # they stand in `tool_calls`, too
    return max(texts - called + len(tool_calls(message)), called)


def _text(block: Mapping[str, Any]) -> str:
    text = block.get("text")
    return text if isinstance(text, str) and block.get("type", "text") == "text" else ""


def _on(block: Any) -> Iterator[Lifetime]:
    if not isinstance(block, Mapping):
        return
    extras = block.get("extras")
    sources = (block, extras if isinstance(extras, Mapping) else {})
    for mark in (source[key] for key in _KEYS for source in sources if key in source):
        ttl = mark.get("ttl") if isinstance(mark, Mapping) else None
        yield "1h" if ttl == "1h" else "5m"
        return


def _schema(tool: Any) -> Any:
    return {"extras": tool.extras} if isinstance(tool, BaseTool) else tool


def _cache_control(lifetime: Lifetime) -> dict[str, str]:
    return {"type": "ephemeral", **_ttl(lifetime)}


def _cache_point(lifetime: Lifetime) -> dict[str, Any]:
    return {CACHE_POINT: {"type": "default", **_ttl(lifetime)}}


def _ttl(lifetime: Lifetime) -> dict[str, str]:
    return {"ttl": lifetime} if lifetime == "1h" else {}
