"""How the cache is used, for mypy: never run."""

from typing import Any, assert_type

from langchain_core.caches import BaseCache
from langchain_core.embeddings import Embeddings
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langgraph.graph import END, MessagesState, StateGraph

from langchain_lean import BudgetGuard, PriceBook, SemanticCache
from langchain_lean.caching.answering.model import CachedModel
from langchain_lean.caching.answering.nodes import CacheNodes
from langchain_lean.caching.checks import VETOES, differs
from langchain_lean.caching.stores.memory import MemoryCacheStore
from langchain_lean.caching.verifying import Candidate, ask_model


def every_option(embeddings: Embeddings, haiku: BaseChatModel) -> None:
    def same_length(one: str, other: str) -> str | None:
        return None if len(one) == len(other) else "the lengths differ"

    def verify(candidate: Candidate) -> bool:
        return candidate.similarity > 0.97 and "?" in candidate.cached_question

    cache = SemanticCache(
        embeddings,
        store="redis://localhost:6379/0",
        max_error_rate=0.02,
        same_answer=lambda one, other: one.split() == other.split(),
        ttl=3600,
        max_entries=10_000,
        tenant_by="user_id",
        vetoes=(*VETOES, same_length),
        verify=verify,
        tool_calls=True,
        sampled=True,
        truncated=True,
        tags=["prices"],
        on_error="raise",
        namespace="shop",
        prices=PriceBook(),
        clock=lambda: 0.0,
    )
    assert_type(cache, SemanticCache)
    SemanticCache(
        embeddings, threshold=0.9, verify=ask_model(haiku), store=MemoryCacheStore()
    )
    SemanticCache(on_error="ignore")  # type: ignore[arg-type]
    assert_type(differs("one", "other"), str | None)


def in_a_model(cache: SemanticCache, model: BaseChatModel) -> None:
    base: BaseCache = cache
    set_llm_cache(base)
    assert_type(cache.invalidate(tag="prices"), int)
    assert_type(cache.invalidate(tenant="ada"), int)
    cache.clear()


def around_a_model(
    cache: SemanticCache, guard: BudgetGuard, model: BaseChatModel
) -> None:
    cached = cache.model(guard.model(model), tags=["prices"])
    assert_type(cached, CachedModel)
    runnable: Runnable[Any, Any] = cached
    assert_type(cached.bind_tools([]), CachedModel)
    assert_type(cached.with_structured_output(dict), Runnable[Any, Any])
    assert_type(cache.model(runnable, identity="desk").model, Runnable[Any, Any])
    cache.model("gpt-5")  # type: ignore[arg-type]


async def in_a_graph(cache: SemanticCache, graph: StateGraph[MessagesState]) -> None:
    nodes = cache.nodes("desk", tags=["prices"], messages_key="chat")
    assert_type(nodes, CacheNodes)
    graph.add_node("cache", nodes.read)
    graph.add_node("keep", nodes.write)
    graph.add_conditional_edges("cache", nodes.route, {"hit": END, "miss": "answer"})
    assert_type(await cache.ainvalidate(tag="prices"), int)
    await cache.aclear()
    await cache.aclose()
