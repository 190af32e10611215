"""What providers refuse, judged by what their real clients would send."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from langchain_core.messages import BaseMessage


def openai_refusal(messages: Sequence[BaseMessage]) -> str | None:
    """Why OpenAI's chat API would refuse a prompt; None if it would not."""
    from langchain_openai.chat_models.base import _convert_message_to_dict

    sent = [_convert_message_to_dict(message) for message in messages]
    return next(_wrong_for_openai(sent), None)


def _wrong_for_openai(sent: Sequence[dict[str, Any]]) -> Iterator[str]:
    awaited: list[str] = []
    for message in sent:
        if message["role"] == "tool":
            if message["tool_call_id"] not in awaited:
                yield "a tool result does not follow its call"
                return
            awaited.remove(message["tool_call_id"])
            continue
        if awaited:
            yield "a tool call is not followed by its result"
        awaited = [call["id"] for call in message.get("tool_calls") or ()]
        if len({*awaited}) < len(awaited):
            yield "two calls of a message have one id"
        if not awaited and not message["content"]:
            yield "a message is empty"
    if awaited:
        yield "a tool call is not followed by its result"
    if not sent or sent[-1]["role"] not in ("user", "tool"):
        yield "there is nothing to answer"


def converse_refusal(messages: Sequence[BaseMessage]) -> str | None:
    """Why Bedrock's Converse API would refuse a prompt; None if it would not."""
    from langchain_aws.chat_models.bedrock_converse import _messages_to_bedrock

    sent, _ = _messages_to_bedrock(list(messages))
    return next(_wrong_for_converse(sent), None)


def _wrong_for_converse(sent: Sequence[dict[str, Any]]) -> Iterator[str]:
    roles = [message["role"] for message in sent]
    if roles[:1] != ["user"] or roles[-1:] != ["user"]:
        yield "it does not begin and end with the user"
    if any(one == following for one, following in pairwise(roles)):
        yield "two messages of one role follow each other"
    awaited: list[str] = []
    for message in sent:
        content = message["content"]
        if not all(block.get("text", "text").strip() for block in content):
            yield "a text is blank"
        if not content:
            yield "a message is empty"
        results = [b["toolResult"]["toolUseId"] for b in content if "toolResult" in b]
        if sorted(results) != sorted(awaited):
            yield "tool results do not answer the calls before them"
        awaited = [b["toolUse"]["toolUseId"] for b in content if "toolUse" in b]
        if len({*awaited}) < len(awaited):
            yield "two calls of a message have one id"
    if awaited:
        yield "a tool call is not followed by its result"
