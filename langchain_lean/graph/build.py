"""The lean graph: every lever in its place, and none that was not given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer

from langchain_lean.budgets.guard import BudgetGuard
from langchain_lean.caching.answering.nodes import CacheNodes
from langchain_lean.caching.cache import SemanticCache
from langchain_lean.context.memory import SummaryMemory
from langchain_lean.errors import ConfigurationError
from langchain_lean.graph.answers import FAQ, Answers, Routers
from langchain_lean.graph.classify import SOURCE, Classifier, Faq
from langchain_lean.graph.final import FinalAnswer
from langchain_lean.graph.state import LeanState, Way, need_of
from langchain_lean.messages import last_human_text, tool_calls
from langchain_lean.models import model_string
from langchain_lean.routing.policies import EscalationPolicy, SelfScreen
from langchain_lean.routing.router import EscalationRouter, Route
from langchain_lean.routing.steps import StepCap

Tool = BaseTool | Callable[..., Any] | dict[str, Any]
"""What `bind_tools` takes; a dict is a tool that the provider runs."""

LeanGraph = CompiledStateGraph[Any, Any, Any, Any]


def build_lean_graph(
    cheap: BaseChatModel,
    strong: BaseChatModel,
    *,
    medium: BaseChatModel | None = None,
    retriever: BaseRetriever | None = None,
    tools: Sequence[Tool] = (),
    cache: SemanticCache | CacheNodes | None = None,
    memory: SummaryMemory | None = None,
    guard: BudgetGuard | None = None,
    faq: Faq | None = None,
    verify: EscalationPolicy | None = None,
    final: Literal["strong"] | None = None,
    max_calls: int = 20,
    system_prompt: str | None = None,
    state_schema: type[Any] = LeanState,
    checkpointer: Checkpointer = None,
    store: BaseStore | None = None,
) -> LeanGraph:
    """Build a graph that answers with the cheapest model that will do.

    A cached answer ends it at once. Else the cheap model says what is needed, while
    documents are retrieved and the conversation is shortened; a set answer, the
    documents with the medium model, or an agent's loop on the cheap model drafts the
    answer; a policy verifies the draft, and the strong model answers where it must.
    What was not given has no node.

    It takes and gives `{"messages": [...]}`. A draft that the first tokens can decide
    on (`SelfScreen`) is streamed as it comes, others once they are verified; a rejected
    one is in no stream.

    Args:
        cheap: Says what is needed, drafts, and takes the steps with tools.
        strong: Answers where a draft is not good enough.
        medium: Drafts answers from documents; `cheap` if not given.
        retriever: Finds documents, such as a `BudgetRetriever`. It is asked while the
            cheap model decides whether they are needed.
        tools: The tools of the agent.
        cache: Answers to what was asked before. The key has the models, the prompt and
            the tools in it, not what the retriever would find: `cache.invalidate(...)`
            when documents change, or give `cache.nodes("a name that you change")`.
            Answers of turns with tools are kept only with `tool_calls=True`.
        memory: Keeps the conversation short.
        guard: Budgets. Where the strong model is over them the draft is given, and says
            so; where the cheap one is, the call raises `BudgetExceededError`.
        faq: Set answers by their question, or a retriever of documents that are the
            question, with the `answer` in their metadata; up to five are offered to the
            cheap model. They are given as they are.
        verify: Judges drafts; `SelfScreen()` if not given.
        final: `strong` has the strong model write the last answer of each turn that
            called tools; the cheap one takes the steps.
        max_calls: The model calls for one input, before one last answer.
        system_prompt: Stands before the conversation in every prompt that answers.
        state_schema: A `LeanState` of your own, for what your tools keep in it.
        checkpointer: Keeps threads, as for any graph.
        store: For tools, as for any graph.

    Returns:
        The compiled graph, with the step cap and the guard among its callbacks.

    Raises:
        ConfigurationError: If something of this makes no sense.

    Example:
        ```python
        desk = build_lean_graph(
            haiku, sonnet, retriever=retriever, tools=[order_status], cache=cache
        )
        desk.invoke({"messages": ["Where is my parcel?"]})
        ```
    """
    _check(
        cheap,
        strong,
        medium,
        retriever=retriever,
        guard=guard,
        memory=memory,
        verify=verify,
        final=final,
    )
    cap = StepCap(max_calls)
    routers = _routers(cap, cheap, medium, strong, tools, verify or SelfScreen(), final)
    if retriever is None:
        del routers["rag"]
    short = memory is not None and memory.keeps_history
    answers = Answers(routers, system_prompt=system_prompt, short=short)
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state_schema)
    first = _add_gathering(builder, cheap, cap, retriever, tools, memory, faq)
    _add_answering(builder, cap, answers, tools, with_faq=faq is not None)
    if isinstance(cache, SemanticCache):
        depends = (routers["agent"].identity, system_prompt, faq, _schemas(tools))
        cache = cache.nodes(_digest(model_string(cheap), *map(str, depends)))
    _add_ends(builder, first, cache, tools=bool(tools))
    graph = builder.compile(checkpointer, store=store, name="lean")
    return graph.with_config({"callbacks": [cap] if guard is None else [cap, guard]})


def _routers(
    cap: StepCap,
    cheap: BaseChatModel,
    medium: BaseChatModel | None,
    strong: BaseChatModel,
    tools: Sequence[Tool],
    policy: EscalationPolicy,
    final: str | None,
) -> Routers:
    """Who answers, by the way a question goes."""

    def router(**models: BaseChatModel) -> EscalationRouter:
        capped = {name: cap.model(model) for name, model in models.items()}
        return EscalationRouter(capped, policy=policy)

    agent = router(cheap=cheap, strong=strong)
    drafts = {"cheap": cheap} if medium is None else {"medium": medium}
    routers: Routers = {
        "rag": router(**drafts, strong=strong),
        "agent": agent.bind_tools(tools) if tools else agent,
    }
    if final is not None:
        routers["final"] = routers["agent"].judged_by(FinalAnswer())
    return routers


def _add_gathering(
    builder: StateGraph[Any, Any, Any, Any],
    cheap: BaseChatModel,
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
    drafts = ("agent",) if retriever is None else ("rag", "agent")
    first = []
    if memory is not None:
        builder.add_node("memory", memory, destinations=drafts)
        first.append("memory")
    if retriever is not None:
        builder.add_node("retrieve", _retrieving(retriever), destinations=drafts)
        first.append("retrieve")
    if retriever is None and faq is None:
        if memory is not None:
            builder.add_edge("memory", "agent")
        return first or ["agent"]
    classifier = Classifier(
        cap.model(cheap, final=False),
        faq=faq,
        documents=retriever is not None,
        tools=[(s["name"], s.get("description", "")) for s in _schemas(tools)],
    )
    builder.add_node(SOURCE, classifier.node)
    ways: list[Way] = [] if faq is None else ["faq"]
    builder.add_conditional_edges(SOURCE, _way, [*ways, *drafts])
    return [*first, SOURCE]


def _add_answering(
    builder: StateGraph[Any, Any, Any, Any],
    cap: StepCap,
    answers: Answers,
    tools: Sequence[Tool],
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
    own = [tool for tool in tools if not isinstance(tool, dict)]
    node = ToolNode(
        own, wrap_tool_call=cap.wrap_tool_call, awrap_tool_call=cap.awrap_tool_call
    )
    builder.add_node("tools", node)

    def behind_tools(state: Mapping[str, Any]) -> str:
        return "answer" if answers.goes_on(state) else "agent"

    builder.add_conditional_edges("agent", _behind_agent, ["tools", "verify"])
    builder.add_conditional_edges("tools", behind_tools, ["agent", "answer"])


def _add_ends(
    builder: StateGraph[Any, Any, Any, Any],
    first: Sequence[str],
    cache: CacheNodes | None,
    *,
    tools: bool,
) -> None:
    """Add the way in and the way out, by the cache where there is one."""
    if cache is None:
        for name in first:
            builder.add_edge(START, name)
    else:

        def behind_cache(state: Mapping[str, Any]) -> str | list[str]:
            return END if cache.route(state) == "hit" else list(first)

        builder.add_node("cache", cache.read | RunnableLambda(_hit))
        builder.add_edge(START, "cache")
        builder.add_conditional_edges("cache", behind_cache, [END, *first])
        builder.add_node("keep", cache.write)
        builder.add_edge("keep", END)

    def behind_answer(state: Mapping[str, Any]) -> str:
        if tool_calls(state["messages"][-1]):
            return "tools"
        kept = cache is not None and state["route"]["model"] != FAQ
        return "keep" if kept else END

    ways = [*(["tools"] if tools else []), *([] if cache is None else ["keep"]), END]
    builder.add_conditional_edges("answer", behind_answer, ways)


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
    return {**update, "route": route}


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

    return RunnableLambda(retrieve, aretrieve, name="retrieve")


def _schemas(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The names, descriptions and parameters of tools."""
    formed = [convert_to_openai_tool(tool) for tool in tools]
    return [tool.get("function") or {"name": tool["type"], **tool} for tool in formed]


def _digest(*parts: str) -> str:
    """A text that changes whenever one of these does, and tells nothing of them."""
    digest = sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return f"lean-{digest.hexdigest()[:32]}"


def _check(
    *models: object,
    retriever: object,
    guard: object,
    memory: object,
    verify: object,
    final: object,
) -> None:
    """Refuse what the graph could not work with.

    Raises:
        ConfigurationError: If something is of another kind.
    """
    wanted = (
        ("retriever", retriever, BaseRetriever),
        ("guard", guard, BudgetGuard),
        ("memory", memory, SummaryMemory),
        ("verify", verify, EscalationPolicy),
        *(("a model", model, BaseChatModel) for model in models),
    )
    for name, given, kind in wanted:
        if given is not None and not isinstance(given, kind):
            msg = f"Give {name} a {kind.__name__}, not {type(given).__name__}."
            raise ConfigurationError(msg)
    if final not in (None, "strong"):
        msg = f'final= is "strong" or None, not {final!r:.40}.'
        raise ConfigurationError(msg)
