"""A chat with its tool calls and results put into words."""

import json
from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_lean.messages import message_text, role, tool_calls


def in_words(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """A chat with its tool calls and results put into words.

    Args:
        messages: A chat, with tool calls that may have no result yet.

    Returns:
        As many messages, none of them with a tool call or of role `tool`.
    """
    answered = {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
    names = {call["id"]: call["name"] for m in messages for call in tool_calls(m)}
    return [_in_words(message, answered, names) for message in messages]


def _in_words(
    message: BaseMessage, answered: set[str], names: dict[str | None, str]
) -> BaseMessage:
    if isinstance(message, ToolMessage):
        name = message.name or names.get(message.tool_call_id) or "a tool"
        return HumanMessage(f"[Result of {name}]\n{message_text(message)}")
    calls = _asked_for(message) if role(message) == "ai" else []
    if not calls:
        return message
    said = message_text(AIMessage(message.content))
    return AIMessage("\n".join([*filter(None, [said]), *_called(calls, answered)]))


def _asked_for(message: BaseMessage) -> list[tuple[str, str | None, object]]:
    """Name, id and arguments of the tool calls of an answer, broken ones among them."""
    calls: list[tuple[str, str | None, object]] = [
        (call["name"], call["id"], call["args"]) for call in tool_calls(message)
    ]
    invalid = message.__dict__.get("invalid_tool_calls") or ()
    calls += [(c["name"] or "a tool", c["id"], c["args"]) for c in invalid]
    raw = message.additional_kwargs.get("tool_calls") if not calls else None
    for call in raw or ():
        called = call.get("function") or {}
        name, args = called.get("name") or "a tool", called.get("arguments") or ""
        calls.append((name, call.get("id"), args))
    return calls


def _called(
    calls: Sequence[tuple[str, str | None, object]], answered: set[str]
) -> list[str]:
    lines = []
    for name, call_id, given in calls:
        args = given
        if not isinstance(given, str):
            args = json.dumps(given, ensure_ascii=False, default=str)
        ran = "" if call_id in answered else ", which was not run"
        lines.append(f"[Called {name} with {args}{ran}]")
    return lines
