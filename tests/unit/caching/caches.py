"""Stand-ins, embeddings whose cosines are known, and the forms a cache is asked in."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Awaitable, Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.caches import BaseCache
from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage

from langchain_lean.caching.cache import SemanticCache
from langchain_lean.testing import ScriptedChatModel

CARD = "Where is my card?"
CARD_TOO = "Where is my card please?"  # four words of five: a cosine of 0.894
RATE = "What is the exchange rate?"

Ask = Callable[[Any, Any], Awaitable[Any]]


class WordEmbeddings(Embeddings):
    """Counts words, so that the cosine of two texts is the share of their words."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.asked.append(text)
        vector = [0.0] * 509
        for word in re.findall(r"\w+", text.lower()):
            vector[zlib.crc32(word.encode()) % 509] += 1
        return vector


class FailingEmbeddings(WordEmbeddings):
    """Embeddings whose provider is down."""

    def embed_query(self, text: str) -> list[float]:
        raise TimeoutError(text)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def semantic(**options: Any) -> SemanticCache:
    """A cache that takes four words of five for the same question."""
    return SemanticCache(WordEmbeddings(), **{"threshold": 0.85, **options})


def model(
    answer: Any = None, *, cache: BaseCache | None = None, **options: Any
) -> ScriptedChatModel:
    """A stand-in that counts its answers, so that a new one is told from a kept one."""
    count = iter(range(1, 10_000))

    def counted(messages: Sequence[BaseMessage]) -> str:
        return f"answer {next(count)} to: {messages[-1].text}"

    named = {"model_name": "claude-haiku-4-5", "provider": "anthropic", **options}
    return ScriptedChatModel(
        responses=[counted if answer is None else answer],
        loop=True,
        cache=cache,
        **named,
    )


def lean(message: BaseMessage) -> dict[str, Any]:
    """The last note of the cache on an answer; empty if there is none."""
    notes = message.response_metadata.get("lean", [])
    return next((n for n in reversed(notes) if n["lever"] == "cache"), {})


async def invoke(model: Any, given: Any) -> Any:
    return await asyncio.to_thread(model.invoke, given)


async def ainvoke(model: Any, given: Any) -> Any:
    return await model.ainvoke(given)


async def stream(model: Any, given: Any) -> Any:
    def merged() -> Any:
        first, *others = model.stream(given)
        return reduce(add, others, first)

    return await asyncio.to_thread(merged)


async def astream(model: Any, given: Any) -> Any:
    first, *others = [chunk async for chunk in model.astream(given)]
    return reduce(add, others, first)


async def batch(model: Any, given: Any) -> Any:
    return (await asyncio.to_thread(model.batch, [given]))[0]


async def abatch(model: Any, given: Any) -> Any:
    return (await model.abatch([given]))[0]


both = pytest.mark.parametrize("ask", [invoke, ainvoke])
all_forms = pytest.mark.parametrize(
    "ask", [invoke, ainvoke, stream, astream, batch, abatch]
)
