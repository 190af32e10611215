"""Tools in an order and a form that do not change from call to call."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

_KEPT_ORDER = ("properties",)  # models fill arguments in this order
_DATA = ("const", "default", "enum", "example", "examples", "input_examples")

CACHE_POINT = "cachePoint"
"""The key of Bedrock's cache mark, which stands among messages and tools."""


def canonical(value: Any) -> str:
    """A value as a JSON text that is the same for equal values."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def is_cache_point(block: object) -> bool:
    """Whether something is Bedrock's own mark, and neither text nor tool."""
    return isinstance(block, Mapping) and CACHE_POINT in block


def tool_name(tool: Any) -> str:
    """The name a tool has for a model, in whatever form it is given.

    Args:
        tool: A tool, a class, a function, or a schema of OpenAI's, Anthropic's or
            Bedrock's form.

    Returns:
        Its name; for a provider's own tool its type; empty if it has none.
    """
    if not isinstance(tool, Mapping):
        return str(getattr(tool, "name", None) or getattr(tool, "__name__", ""))
    inner = tool.get("function") or tool.get("toolSpec") or tool.get("systemTool")
    for schema in (inner, tool):
        if isinstance(schema, Mapping):
            for key in ("name", "title", "type"):
                if isinstance(schema.get(key), str):
                    return str(schema[key])
    return ""


def stable_tools(tools: Sequence[Any]) -> tuple[Any, ...]:
    """Tools by name, schemas with their keys in one order; the rest as it was given.

    The names under `properties` keep their order, in which a model fills them in.
    Bedrock's cache points go behind the tools.
    """
    formed = [_ordered(t) if isinstance(t, Mapping) else t for t in tools]
    return tuple(sorted(formed, key=_place))


def _place(tool: Any) -> tuple[bool, str, str]:
    schema = canonical(tool) if isinstance(tool, Mapping) else ""
    return is_cache_point(tool), tool_name(tool), schema


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _member(key, value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    return value


def _member(key: str, value: Any) -> Any:
    if key in _DATA:
        return value
    if key in _KEPT_ORDER and isinstance(value, Mapping):
        return {name: _ordered(schema) for name, schema in value.items()}
    return _ordered(value)
