"""What providers refuse: prompts judged by the rules of OpenAI and Bedrock Converse."""

from collections.abc import Iterator, Sequence

from langchain_core.messages import BaseMessage, ToolMessage

from langchain_lean.messages import role, tool_calls


def openai_refusal(messages: Sequence[BaseMessage]) -> str | None:
    """Why OpenAI's chat API would refuse a prompt; None if it would not.

    Every tool call is answered once, directly after the message that makes it, before
    anything else is said; the last word is not the assistant's.
    """
    if not any(role(message) != "system" for message in messages):
        return "nothing is said but by the system"
    if role(messages[-1]) not in ("human", "tool"):
        return "the last message leaves nothing to answer"
    return next(_unpaired(messages), None)


def converse_refusal(messages: Sequence[BaseMessage]) -> str | None:
    """Why Bedrock's Converse API would refuse a prompt; None if it would not.

    As OpenAI's; beside the system messages a human one comes first, and none is empty.
    Neighbors of one role are no reason: `ChatBedrockConverse` sends them as one.
    """
    spoken = [message for message in messages if role(message) != "system"]
    if spoken and role(spoken[0]) != "human":
        return "the first message is not a human one"
    if any(not _says_something(message) for message in spoken):
        return "a message is empty"
    return openai_refusal(spoken)


def _says_something(message: BaseMessage) -> bool:
    """Whether a message has text or a tool call; the result of a tool needs none."""
    content = message.content
    text = content.strip() if isinstance(content, str) else content
    return bool(text or tool_calls(message) or role(message) == "tool")


def _unpaired(messages: Sequence[BaseMessage]) -> Iterator[str]:
    """What is wrong with the tool calls and their results.

    An id may come back in a later answer, as it does in recorded runs.
    """
    awaited: set[str | None] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in awaited:
                yield "a tool result has no call before it"
            awaited.discard(message.tool_call_id)
            continue
        if awaited:
            yield "a tool call has no result after it"
        ids = [call["id"] for call in tool_calls(message)]
        awaited = {*ids}
        if len(awaited) < len(ids):
            yield "two tool calls have one id"
    if awaited:
        yield "a tool call has no result after it"
