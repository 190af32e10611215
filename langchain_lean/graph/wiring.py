"""The nodes of the lean graph and the ways between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode

from langchain_lean.caching.answering.nodes import CacheNodes
from langchain_lean.context.memory import SummaryMemory
from langchain_lean.graph.answers import FAQ, Answers
from langchain_lean.graph.classify import SOURCE, Classifier, Faq
from langchain_lean.graph.state import Way, need_of
from langchain_lean.messages import last_human_text, tool_calls
from langchain_lean.models import unstreamed
from langchain_lean.node import Node, edge
from langchain_lean.routing.router import Route
from langchain_lean.routing.steps import StepCap

Tool = BaseTool | Callable[..., Any] | dict[str, Any]
"""What `bind_tools` takes; a dict is a tool that the provider runs."""

Model = Runnable[Any, Any]
"""A chat model, or one with options bound to it."""

Builder = StateGraph[Any, Any, Any, Any]


def add_gathering(
    builder: Builder,
    cheap: Model,
    cap: StepCap,
    retriever: BaseRetriever | None,
    tools: Sequence[Tool],
    memory: SummaryMemory | None,
    faq: Faq | None,
) -> list[str]:
    """Add what comes before a draft, side by side as far as it does not depend.

    Returns:
        The nodes that are first.
    """
    if retriever is None and faq is None:
        if memory is None:
            return ["agent"]
        builder.add_node("memory", memory)
        builder.add_edge("memory", "agent")
        return ["memory"]
    # The classifier has the edge to what is next, which begins when all have ended.
    drafts = ("agent",) if retriever is None else ("rag", "agent")
    first = []
    if memory is not None:
        builder.add_node("memory", memory, destinations=drafts)
        first.append("memory")
    if retriever is not None:
        builder.add_node("retrieve", _retrieving(retriever), destinations=drafts)
        first.append("retrieve")
    classifier = Classifier(
        cap.model(unstreamed(cheap), final=False),  # many a stream has no usage
        faq=faq,
        documents=retriever is not None,
        tools=[(s["name"], s.get("description", "")) for s in schemas(tools)],
    )
    builder.add_node(SOURCE, classifier.node)
    ways: list[Way] = [] if faq is None else ["faq"]
    builder.add_conditional_edges(SOURCE, edge(_way), [*ways, *drafts])
    return [*first, SOURCE]


def add_answering(
    builder: Builder,
    cap: StepCap,
    answers: Answers,
    tools: Sequence[BaseTool | Callable[..., Any]],
    *,
    with_faq: bool,
) -> None:
    """Add the nodes that draft, verify and answer, and the agent's tools."""
    if with_faq:
        builder.add_node("faq", answers.faq)
        builder.add_edge("faq", "verify")
    if answers.retrieves:
        builder.add_node("rag", answers.draft)
        builder.add_edge("rag", "verify")
    builder.add_node("agent", answers.draft)
    builder.add_node("verify", answers.verify)
    builder.add_node("answer", answers.answer)
    builder.add_edge("verify", "answer")
    if not tools:
        builder.add_edge("agent", "verify")
        return
    node = ToolNode(
        tools, wrap_tool_call=cap.wrap_tool_call, awrap_tool_call=cap.awrap_tool_call
    )
    builder.add_node("tools", node)

    def behind_tools(state: Mapping[str, Any]) -> str:
        return "answer" if answers.goes_on(state) else "agent"

    builder.add_conditional_edges("agent", edge(_behind_agent), ["tools", "verify"])
    builder.add_conditional_edges("tools", edge(behind_tools), ["agent", "answer"])


def add_ends(
    builder: Builder,
    first: Sequence[str],
    cache: CacheNodes | None,
) -> None:
    """Add the way in and the way out, by the cache where there is one."""
    if cache is None:
        for name in first:
            builder.add_edge(START, name)
    else:

        def behind_cache(state: Mapping[str, Any]) -> str | list[str]:
            return END if cache.route(state) == "hit" else list(first)

        builder.add_node("cache", _reading(cache))
        builder.add_edge(START, "cache")
        builder.add_conditional_edges("cache", edge(behind_cache), [END, *first])
        builder.add_node("keep", cache.write)
        builder.add_edge("keep", END)

    def behind_answer(state: Mapping[str, Any]) -> str:
        if "tools" in builder.nodes and tool_calls(state["messages"][-1]):
            return "tools"
        kept = cache is not None and state["route"]["model"] != FAQ
        return "keep" if kept else END

    ways = [name for name in ("tools", "keep") if name in builder.nodes]
    builder.add_conditional_edges("answer", edge(behind_answer), [*ways, END])


def _reading(cache: CacheNodes) -> Runnable[Any, Any]:
    """A node that looks the question up among those that were answered."""

    def read(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return _hit(cache.read.invoke(state, config))

    async def aread(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return _hit(await cache.read.ainvoke(state, config))

    return Node(read, aread, name="cache")


def _hit(update: dict[str, Any]) -> dict[str, Any]:
    """What the cache gives, with the route of an answer that it had."""
    if not update:
        return update
    done = update["messages"][-1].response_metadata["lean"][-1]
    route = Route(
        model="cache",
        escalated=False,
        reason=done["reason"],
        verdicts=[],
        decision_usd="0",
    )
    return {**update, "route": route, "need": None, "documents": [], "draft": None}


def _way(state: Mapping[str, Any]) -> Way:
    return need_of(state)["route"]


def _behind_agent(state: Mapping[str, Any]) -> str:
    return "tools" if state.get("draft") is None else "verify"


def _retrieving(retriever: BaseRetriever) -> Runnable[Any, Any]:
    """A node that looks the question up."""

    def retrieve(state: Any, config: RunnableConfig) -> dict[str, Any]:
        question = last_human_text(state["messages"])
        return {"documents": retriever.invoke(question, config)}

    async def aretrieve(state: Any, config: RunnableConfig) -> dict[str, Any]:
        question = last_human_text(state["messages"])
        return {"documents": await retriever.ainvoke(question, config)}

    return Node(retrieve, aretrieve, name="retrieve")


def schemas(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The names, descriptions and parameters of tools."""
    formed = [convert_to_openai_tool(tool) for tool in tools]
    return [tool.get("function") or {"name": tool["type"], **tool} for tool in formed]
