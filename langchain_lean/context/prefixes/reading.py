"""What callbacks say of a call: whose prompt it is, and what the provider counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from langchain_lean.accounting.attribution import attributed
from langchain_lean.accounting.model_ids import undoubled
from langchain_lean.accounting.recording.calls import node_path
from langchain_lean.accounting.recording.events import model_asked
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.context.prefixes.parts import Part
from langchain_lean.context.prefixes.report import PromptId
from langchain_lean.errors import UsageError


def prompt_id(
    options: Mapping[str, Any], metadata: Mapping[str, Any], parts: Sequence[Part]
) -> PromptId:
    """Whose prompt it is.

    Args:
        options: The parameters the call is sent with.
        metadata: Its metadata.
        parts: The prompt.
    """
    node = node_path(metadata)
    agent, source = metadata.get("lc_agent_name"), metadata.get("lc_source")
    told = node or agent or source
    tools = sorted(part.name for part in parts if part.kind == "tool")
    return PromptId(
        thread=attributed("thread_id", metadata),
        model=model_asked(options, metadata),
        node=node,
        agent=str(agent) if agent else None,
        source=str(source) if source else None,
        tools=() if told else tuple(tools),
    )


def answer_of(result: LLMResult | None) -> AIMessage | None:
    """The first message of a result, if it has one."""
    choices = result.generations[0] if result and result.generations else []
    first = choices[0] if choices else None
    message = first.message if isinstance(first, ChatGeneration) else None
    return message if isinstance(message, AIMessage) else None


def usage_of(result: LLMResult | None) -> TokenUsage:
    """What the provider reported; nothing where it did not, or not believably."""
    try:
        return (TokenUsage.from_result(result) if result else None) or TokenUsage()
    except UsageError:
        return TokenUsage()


def answering_model(message: AIMessage | None) -> str | None:
    """The model that answered, as far as its provider says."""
    name = message.response_metadata.get("model_name") if message else None
    return undoubled(name) if isinstance(name, str) and name else None
