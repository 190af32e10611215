"""Real OpenAI and Bedrock clients over HTTP, and the local server they talk to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.integration.provider_server import ProviderServer

if TYPE_CHECKING:
    import boto3
    from langchain_aws import ChatBedrockConverse
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

GPT = "gpt-4o-mini"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


class MakeChatOpenAI(Protocol):
    def __call__(self, **kwargs: Any) -> ChatOpenAI: ...


class MakeOpenAIEmbeddings(Protocol):
    def __call__(self, **kwargs: Any) -> OpenAIEmbeddings: ...


class MakeChatBedrock(Protocol):
    def __call__(self, **kwargs: Any) -> ChatBedrockConverse: ...


@pytest.fixture
def clean_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep keys, proxies and tracing of the machine out of the clients."""
    prefixes = ("AWS_", "OPENAI_", "LANGSMITH_", "LANGCHAIN_")
    for name in list(os.environ):
        if name.startswith(prefixes) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def openai_server(clean_settings: None) -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@pytest.fixture
def bedrock_server(clean_settings: None) -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@pytest.fixture
def openai_settings(openai_server: ProviderServer) -> Iterator[dict[str, Any]]:
    """What any OpenAI class of LangChain takes to talk to the server, trying once."""
    import openai

    # Without `verify=False` each client loads certificates for 25 ms and uses none.
    with openai.DefaultHttpxClient(verify=False) as client:
        yield {
            "base_url": f"{openai_server.url}/v1",
            "api_key": "sk-test",
            "max_retries": 0,
            "http_client": client,
            "http_async_client": openai.DefaultAsyncHttpxClient(verify=False),
        }


@pytest.fixture
def chat_openai(openai_settings: dict[str, Any]) -> MakeChatOpenAI:
    """`chat_openai(**kwargs)` is a ChatOpenAI."""
    from langchain_openai import ChatOpenAI

    def make(**kwargs: Any) -> ChatOpenAI:
        return ChatOpenAI(**{"model": GPT} | openai_settings | kwargs)

    return make


@pytest.fixture
def openai_embeddings(openai_settings: dict[str, Any]) -> MakeOpenAIEmbeddings:
    """`openai_embeddings(**kwargs)` sends texts as they are: tokenizers download."""
    from langchain_openai import OpenAIEmbeddings

    own = {"model": "text-embedding-3-small", "check_embedding_ctx_length": False}

    def make(**kwargs: Any) -> OpenAIEmbeddings:
        return OpenAIEmbeddings(**own | openai_settings | kwargs)

    return make


@pytest.fixture(scope="session")
def boto_session() -> boto3.Session:
    """Keeps the parsed service models: 2 ms a client where LangChain's own take 100."""
    import boto3

    return boto3.Session("test", "test", region_name="us-east-1")


@pytest.fixture
def chat_bedrock(
    bedrock_server: ProviderServer, boto_session: boto3.Session
) -> Iterator[MakeChatBedrock]:
    """`chat_bedrock(**kwargs)` is a ChatBedrockConverse that tries once."""
    from botocore.config import Config
    from langchain_aws import ChatBedrockConverse

    with contextlib.ExitStack() as clients:

        def make(*, max_retries: int = 0, **kwargs: Any) -> ChatBedrockConverse:
            client = boto_session.client(
                "bedrock-runtime",
                endpoint_url=bedrock_server.url,
                config=Config(retries={"max_attempts": max_retries}),
            )
            clients.callback(client.close)
            # A client given for the control plane keeps LangChain from making one.
            own = {"model": CLAUDE, "client": client, "bedrock_client": client}
            return ChatBedrockConverse(**own | kwargs)

        yield make
