"""The lean graph: every lever in its place, and none that was not given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal

from langchain_core.retrievers import BaseRetriever
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer

from langchain_lean.budgets.following import followed
from langchain_lean.budgets.guard import BudgetGuard
from langchain_lean.caching.answering.nodes import CacheNodes
from langchain_lean.caching.cache import SemanticCache
from langchain_lean.context.memory import SummaryMemory
from langchain_lean.graph.answers import Answers, Routers
from langchain_lean.graph.checking import check_parts
from langchain_lean.graph.classify import Faq
from langchain_lean.graph.final import FinalAnswer
from langchain_lean.graph.state import LeanState
from langchain_lean.graph.wiring import (
    Builder,
    Model,
    Tool,
    add_answering,
    add_ends,
    add_gathering,
    schemas,
)
from langchain_lean.models import model_string, without_tools
from langchain_lean.routing.policies import EscalationPolicy, SelfScreen
from langchain_lean.routing.router import EscalationRouter
from langchain_lean.routing.steps import StepCap

LeanGraph = CompiledStateGraph[Any, Any, Any, Any]


def build_lean_graph(
    cheap: Model,
    strong: Model,
    *,
    medium: Model | None = None,
    retriever: BaseRetriever | None = None,
    tools: Sequence[Tool] = (),
    cache: SemanticCache | CacheNodes | None = None,
    memory: SummaryMemory | None = None,
    guard: BudgetGuard | None = None,
    faq: Faq | None = None,
    verify: EscalationPolicy | None = None,
    final: Literal["strong"] | None = None,
    max_calls: int | StepCap = 20,
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

    It takes and gives `{"messages": [...]}`. With `stream_mode="messages"` a draft that
    the first tokens can decide on (`SelfScreen`) is shown as it comes, others once they
    are verified, and rejected ones never; `updates` and `values` carry the state, and
    so its `draft`.

    Args:
        cheap: Says what is needed, drafts, and takes the steps with tools.
        strong: Answers where a draft is not good enough.
        medium: Drafts answers from documents, without tools; `cheap` if not given.
        retriever: Finds documents, such as a `BudgetRetriever`. It is asked while the
            cheap model decides whether they are needed, so one that fails fails all.
        tools: The tools of the agent.
        cache: Answers to what was asked before. The key has the models, the prompt and
            the tools in it, not what the retriever would find: `cache.invalidate(...)`
            when documents change, or give `cache.nodes("a name that you change")`.
            Answers of turns with tools are kept only with `tool_calls=True`.
        memory: Keeps the conversation short. In a node of another graph it has to be
            one with `keep_history=True`, as the other never hears of removals.
        guard: Budgets. Where the strong model is over them, a draft that was judged is
            given, and says so; where there is none, as with `SelfScreen`, whose model
            asks for a stronger one in place of an answer, and where the cheap model is
            over them, `BudgetExceededError` is raised.
        faq: Set answers by their question, given as they are. All of these questions
            stand in the cheap model's prompt; for more than some dozen give a retriever
            of documents that are a question each, with the `answer` in their metadata:
            then the five nearest do.
        verify: Judges drafts; `SelfScreen()` if not given.
        final: `strong` has the strong model write the last answer of each turn that
            called tools; the cheap one takes the steps.
        max_calls: The model calls for one input, before one last answer; or a cap of
            your own, with a store, or to `reset` it for a replay.
        system_prompt: Stands before the conversation in every prompt that answers.
        state_schema: A `LeanState` of your own, for what your tools keep in it.
        checkpointer: Keeps threads, as for any graph.
        store: For tools, as for any graph.

    Returns:
        The compiled graph; the step cap and the guard see what it does.

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
    tools, faq = list(tools), faq or None
    check_parts(
        cheap,
        strong,
        medium,
        tools=tools,
        final=final,
        state_schema=state_schema,
        retriever=retriever,
        cache=cache,
        memory=memory,
        guard=guard,
        faq=faq,
        verify=verify,
        system_prompt=system_prompt,
    )
    cap = max_calls if isinstance(max_calls, StepCap) else StepCap(max_calls)
    routers = _routers(cap, cheap, medium, strong, tools, verify or SelfScreen(), final)
    if retriever is None:
        del routers["rag"]
    short = memory is not None and memory.keeps_history
    own = [tool for tool in tools if not isinstance(tool, dict)]  # not the provider's
    answers = Answers(
        routers, system_prompt=system_prompt, tools=bool(own), short=short
    )
    builder: Builder = StateGraph(state_schema)
    first = add_gathering(builder, cheap, cap, retriever, tools, memory, faq)
    add_answering(builder, cap, answers, own, with_faq=faq is not None)
    if isinstance(cache, SemanticCache):
        models = [model_string(cheap), *(r.identity for r in routers.values())]
        set_answers = sorted(faq.items()) if isinstance(faq, Mapping) else type(faq)
        others = (system_prompt, set_answers, schemas(tools))
        cache = cache.nodes(_digest(*models, *map(str, others)))
    add_ends(builder, first, cache)
    graph = builder.compile(checkpointer, store=store, name="lean")
    guards = [cap] if guard is None else [cap, guard]
    handlers = [handler for each in guards for handler in followed(each)]
    return graph.with_config({"callbacks": handlers})


def _routers(
    cap: StepCap,
    cheap: Model,
    medium: Model | None,
    strong: Model,
    tools: Sequence[Tool],
    policy: EscalationPolicy,
    final: str | None,
) -> Routers:
    """Who answers, by the way a question goes."""

    def router(**models: Model) -> EscalationRouter:
        capped = {name: cap.model(model) for name, model in models.items()}
        return EscalationRouter(capped, policy=policy)

    agent = router(cheap=cheap, strong=strong)
    drafts = {"cheap": cheap} if medium is None else {"medium": medium}
    documents = {name: without_tools(model) for name, model in drafts.items()}
    routers: Routers = {
        "rag": router(**documents, strong=without_tools(strong)),
        "agent": agent.bind_tools(tools) if tools else agent,
    }
    if final is not None:
        routers["final"] = routers["agent"].judged_by(FinalAnswer())
    return routers


def _digest(*parts: str) -> str:
    """A text that changes whenever one of these does, and tells nothing of them."""
    digest = sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return f"lean-{digest.hexdigest()[:32]}"
