"""The models of the demo, by provider."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.exceptions import ModelError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call

from langchain_lean.demo_data import signature
from langchain_lean.errors import ConfigurationError
from langchain_lean.graph.classify import Classification
from langchain_lean.messages import last_human_index
from langchain_lean.testing import ExtractiveChatModel, ScriptedChatModel

STRONG = {
    "standin": "claude-sonnet-5-5",
    "openai": "gpt-6.1-sol",
    "bedrock": "global.anthropic.claude-sonnet-5-5",
}
"""The strong model of each provider; the stand-in only has its prices."""

SMALL = {
    "standin": "claude-haiku-5-5",
    "openai": "gpt-6-luna",
    "bedrock": "global.anthropic.claude-haiku-5-5",
}
"""The small model of each provider: answers first, and takes notes; as `STRONG`."""

STRONG_LATENCY, SMALL_LATENCY = (1.0, 0.015), (0.5, 0.007)
"""Seconds that stand-ins simulate: to the first token, and for each token."""

_SAID = re.compile(
    r"^([0-9a-f]{8}) human: (.+?)(?=\n\1 |\n</)", re.DOTALL | re.MULTILINE
)
_CODE = re.compile(r"`(\w+)`")


class HelpDeskStandIn(ExtractiveChatModel):
    """A stand-in that quotes what stands in front of the question.

    It is no model. What a question needs it tells by a word of it, and the function
    whose signature is asked for by its backticks.
    """

    def _reply(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        asked = last_human_index(messages)
        text = str(messages[asked].text)
        tools = {tool["function"]["name"] for tool in kwargs.get("tools") or ()}
        if Classification.__name__ in tools:
            question = text.rpartition("human: ")[2]
            return _calling(Classification.__name__, what_is_needed(question))
        context, _, question = text.rpartition("\n\n")
        messages = [*messages]
        messages[asked] = HumanMessage(f"{context}\n\nQuestion: {question}")
        answer = super()._reply(messages, kwargs)
        if not answer.tool_calls:
            return answer
        return _calling(signature.name, {"name": _CODE.findall(question)[-1]})


def what_is_needed(question: str) -> dict[str, Any]:
    """The classification of a stand-in, by a word of the question.

    Args:
        question: The question.

    Returns:
        The fields of a `Classification`.
    """
    if signature.name in question:
        return {"route": "agent", "needs_tools": True}
    if "How " in question:
        return {"route": "rag", "needs_rag": True}
    return {"route": "agent"}


def what_users_said(messages: Sequence[BaseMessage]) -> str:
    """The notes of a stand-in: all that users said, word by word, and no answer.

    Args:
        messages: What the memory asks a summarizer.
    """
    said = _SAID.finditer(str(messages[-1].text))
    return "\n".join(match[2] for match in said)


def strong_model(provider: str, name: str) -> BaseChatModel:
    """Make the model of a provider that answers.

    Args:
        provider: `standin`, `openai` or `bedrock`.
        name: The model's id.

    Returns:
        The model; nothing is called yet.

    Raises:
        ConfigurationError: If there is no key, or are no credentials, for it.
    """
    if provider == "standin":
        return _stand_in(name, sentences=4, latency=STRONG_LATENCY)
    return _real_model(provider, name)


def cheap_model(provider: str) -> BaseChatModel:
    """Make the model of a provider that answers first; as `strong_model`.

    The stand-in quotes half as many sentences as the strong one.
    """
    if provider == "standin":
        return _stand_in(SMALL[provider], sentences=2, latency=SMALL_LATENCY)
    return _real_small_model(provider)


def small_model(provider: str) -> BaseChatModel:
    """Make the model of a provider that takes notes; as `strong_model`."""
    if provider == "standin":
        return ScriptedChatModel(
            responses=[what_users_said],
            loop=True,
            model_name=SMALL[provider],
            provider="anthropic",
            latency=SMALL_LATENCY,
        )
    return _real_small_model(provider)


def _stand_in(name: str, **options: Any) -> BaseChatModel:
    return HelpDeskStandIn(model_name=name, provider="anthropic", **options)


def _calling(name: str, args: Mapping[str, Any]) -> AIMessage:
    call = tool_call(name=name, args=dict(args), id=f"call_{uuid4().hex}")
    return AIMessage("", tool_calls=[call])


def _real_small_model(provider: str) -> BaseChatModel:
    # A model that thinks would have no room left in the notes' cap.
    options = {"reasoning_effort": "none"} if provider == "openai" else {}
    return _real_model(provider, SMALL[provider], **options)


def _real_model(provider: str, name: str, **options: Any) -> BaseChatModel:
    if provider == "openai":
        if not os.environ.get("OPENAI_API_KEY"):
            msg = "--provider openai needs a key: set OPENAI_API_KEY."
            raise ConfigurationError(msg)
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=name, **options)
    _check_aws()
    from langchain_aws import ChatBedrockConverse

    return ChatBedrockConverse(model_id=name, **options)


def _check_aws() -> None:
    from boto3 import Session
    from botocore.exceptions import BotoCoreError

    try:
        session = Session()
        key = os.environ.get("AWS_BEARER_TOKEN_BEDROCK") or session.get_credentials()
        region = os.environ.get("AWS_REGION") or session.region_name
    except BotoCoreError as error:
        msg = f"--provider bedrock cannot use your AWS configuration: {error}."
        raise ConfigurationError(msg) from None
    if not (key and region):
        msg = (
            "--provider bedrock needs AWS credentials and a region: "
            "run `aws configure`, or set AWS_PROFILE and AWS_REGION."
        )
        raise ConfigurationError(msg)


def provider_errors(provider: str) -> tuple[type[Exception], ...]:
    """What a failing provider raises; LangChain has its own errors for OpenAI only."""
    if provider != "bedrock":
        return (ModelError,)
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError
