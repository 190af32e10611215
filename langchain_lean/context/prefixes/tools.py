"""Tools in an order and a form that do not change from call to call."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool

_KEPT_ORDER = ("properties",)  # models fill arguments in this order
_DATA = ("const", "default", "enum", "example", "examples", "input_examples")

_FUNCTION = (None, "function", "custom")

CACHE_POINT = "cachePoint"
"""The key of Bedrock's cache mark, which stands among messages and tools."""

CACHE_CONTROL = "cache_control"
"""The key of Anthropic's mark."""


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
    A mark on the last tool stays on the last tool; of Bedrock's cache points one
    stands behind the tools.
    """
    points = [tool for tool in tools if is_cache_point(tool)]
    given = [tool for tool in tools if not is_cache_point(tool)]
    control = control_of(given[-1]) if given else None
    if control is not None:
        given[-1] = _uncontrolled(given[-1])
    formed = [_ordered(t) if isinstance(t, Mapping) else t for t in given]
    formed.sort(key=_place)
    if control is not None:
        formed[-1] = controlled(formed[-1], control)
    return (*formed, *points[-1:])


def control_of(tool: Any) -> Any:
    """Anthropic's mark on a tool; None where it has none."""
    extras = tool.extras if isinstance(tool, BaseTool) else tool
    return extras.get(CACHE_CONTROL) if isinstance(extras, Mapping) else None


def controlled(tool: Any, control: Any, *, as_schema: bool = False) -> Any:
    """A tool with Anthropic's mark on it, in a form that keeps the mark.

    Args:
        tool: A tool in any form.
        control: The mark.
        as_schema: Whether it must be Anthropic's own form: ChatBedrock keeps a mark
            there only, ChatAnthropic also on a tool, which it can send as strict.
    """
    if isinstance(tool, Mapping):
        served = tool.get("type") not in _FUNCTION and "properties" not in tool
        if "input_schema" in tool or served:
            return {**tool, CACHE_CONTROL: control}
    elif isinstance(tool, BaseTool) and not as_schema:
        extras = {**(tool.extras or {}), CACHE_CONTROL: control}
        return tool.model_copy(update={"extras": extras})
    function = convert_to_openai_tool(tool)["function"]
    name, description = function["name"], function.get("description", "")
    schema = function.get("parameters", {"type": "object", "properties": {}})
    # A schema of OpenAI's form is only sent as strict where it says so itself.
    loose = (
        isinstance(tool, Mapping) and "function" in tool and "strict" not in function
    )
    if as_schema or loose:
        marked = {"name": name, "description": description, "input_schema": schema}
        return {**marked, CACHE_CONTROL: control}
    return StructuredTool(
        name=name,
        description=description,
        args_schema=schema,
        extras={CACHE_CONTROL: control},
    )


def _uncontrolled(tool: Any) -> Any:
    if isinstance(tool, BaseTool):
        extras = {k: v for k, v in (tool.extras or {}).items() if k != CACHE_CONTROL}
        return tool.model_copy(update={"extras": extras or None})
    return {key: value for key, value in tool.items() if key != CACHE_CONTROL}


def _place(tool: Any) -> tuple[str, str]:
    return tool_name(tool), canonical(tool) if isinstance(tool, Mapping) else ""


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
