"""The one last answer without tools, for when no more can be spent.

Tool calls and results are put into words: providers refuse messages with tool calls
where no tools are given, and a tool that is offered may be called.
"""

import json
from collections.abc import Sequence

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)

from langchain_lean.messages import message_text, tool_calls

INSTRUCTION = (
    "Nothing more can be looked up or tried. Answer now, briefly, from what stands "
    "above, and say plainly what is missing."
)

OUTPUT = 256
"""Tokens of a last answer."""


def finishing(
    messages: Sequence[BaseMessage], *, instruction: str = INSTRUCTION
) -> list[BaseMessage]:
    """The messages that ask for a last answer.

    Args:
        messages: The chat so far, with tool calls that may have no result yet.
        instruction: What is asked of the model in the end.

    Returns:
        The chat in words, without tool calls, and the instruction.
    """
    answered = {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
    names = {call["id"]: call["name"] for m in messages for call in tool_calls(m)}
    told = [_in_words(message, answered, names) for message in messages]
    return [*told, HumanMessage(instruction)]


def _in_words(
    message: BaseMessage, answered: set[str], names: dict[str | None, str]
) -> BaseMessage:
    if isinstance(message, ToolMessage):
        name = message.name or names.get(message.tool_call_id) or "a tool"
        return HumanMessage(f"[Result of {name}]\n{message_text(message)}")
    calls = _asked_for(message)
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
