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
    ToolCall,
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
    calls = tool_calls(message)
    if not calls:
        return message
    said = message_text(AIMessage(message.content))
    return AIMessage("\n".join([*filter(None, [said]), *_called(calls, answered)]))


def _called(calls: Sequence[ToolCall], answered: set[str]) -> list[str]:
    lines = []
    for call in calls:
        args = json.dumps(call["args"], ensure_ascii=False, default=str)
        ran = "" if call["id"] in answered else ", which was not run"
        lines.append(f"[Called {call['name']} with {args}{ran}]")
    return lines
