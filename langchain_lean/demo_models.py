"""The models of the demo, by provider."""

import os
from typing import Any

from langchain_core.exceptions import ModelError
from langchain_core.language_models import BaseChatModel

from langchain_lean.demo_arms import what_users_said
from langchain_lean.errors import ConfigurationError
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
        return ExtractiveChatModel(model_name=name, provider="anthropic", sentences=4)
    return _real_model(provider, name)


def cheap_model(provider: str) -> BaseChatModel:
    """Make the model of a provider that answers first; as `strong_model`.

    The stand-in quotes half as many sentences as the strong one.
    """
    name = SMALL[provider]
    if provider == "standin":
        return ExtractiveChatModel(model_name=name, provider="anthropic", sentences=2)
    return _real_small_model(provider)


def small_model(provider: str) -> BaseChatModel:
    """Make the model of a provider that takes notes; as `strong_model`."""
    if provider == "standin":
        return ScriptedChatModel(
            responses=[what_users_said],
            loop=True,
            model_name=SMALL[provider],
            provider="anthropic",
        )
    return _real_small_model(provider)


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
