"""A prompt as bytes, in the order in which providers read it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_lean.context.prefixes.marks import BREAKPOINT
from langchain_lean.context.prefixes.tools import (
    CACHE_CONTROL,
    is_cache_point,
    tool_name,
)
from langchain_lean.messages import role, tool_calls

_json = json.JSONEncoder(ensure_ascii=False, default=str).encode  # in its own order
_BETWEEN = b"\x1e"
_NOT_SENT = ("index", "extras", CACHE_CONTROL, BREAKPOINT)
_CALLED = ("tool_use", "tool_call", "function_call", "tool_call_chunk")


@dataclass(frozen=True, slots=True)
class Part:
    """A tool or a message of a prompt.

    Attributes:
        kind: Which of both it is.
        name: The tool's name, or the message's role.
        data: What the provider is sent of it, without cache marks; of a message that
            is a text and has no name, this text.
    """

    kind: Literal["tool", "message"]
    name: str
    data: bytes


def prompt_parts(messages: Sequence[BaseMessage], tools: Sequence[Any]) -> list[Part]:
    """The tools, then the messages of a prompt.

    Args:
        messages: The messages.
        tools: Tools or their schemas, in the order they are sent.

    Returns:
        Its parts; equal ones are equal to the provider's cache, too.
    """
    parts = [
        Part("tool", tool_name(tool), _encoded(_json(_schema(tool))))
        for tool in tools
        if not is_cache_point(tool)
    ]
    return parts + [Part("message", role(m), _message(m)) for m in messages]


def _message(message: BaseMessage) -> bytes:
    return _BETWEEN.join(map(_encoded, _texts(message)))


def _texts(message: BaseMessage) -> Iterator[str]:
    calls = tool_calls(message)
    content = message.content
    if isinstance(message, ToolMessage):
        yield message.tool_call_id
    elif message.name:
        yield message.name
    for block in [content] if isinstance(content, str) else content:
        if isinstance(block, str):
            if block or not calls:
                yield block
        elif is_cache_point(block) or (calls and block.get("type") in _CALLED):
            continue
        elif isinstance(block.get("text"), str) and block.get("type") == "text":
            yield block["text"]
        else:
            yield _json(_bare(block))
    for call in calls:
        yield _json({key: call[key] for key in ("name", "args", "id")})


def _schema(tool: Any) -> Any:
    if isinstance(tool, BaseTool) or not isinstance(tool, Mapping):
        tool = convert_to_openai_tool(tool)
    return _bare(tool)


def _bare(block: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in block.items()
        if key not in _NOT_SENT and not (key == "id" and _is_langchains(value))
    }


def _is_langchains(value: object) -> bool:
    """Whether an id is one that LangChain gives to blocks, for itself."""
    return isinstance(value, str) and value.startswith("lc_")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
