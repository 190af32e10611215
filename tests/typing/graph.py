"""How the ready graph is used, for mypy: never run."""

from typing import Any, assert_type

from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph

from langchain_lean import (
    BudgetGuard,
    EscalationRouter,
    SemanticCache,
    SummaryMemory,
    build_lean_graph,
)
from langchain_lean.graph import LeanState, Need
from langchain_lean.routing.policies import AnswerChecks


class MyState(LeanState):
    country: str


def search(query: str) -> str:
    """Search."""
    return query


def every_option(
    haiku: BaseChatModel,
    sonnet: BaseChatModel,
    retriever: BaseRetriever,
    tool: BaseTool,
    guard: BudgetGuard,
    cache: SemanticCache,
) -> None:
    graph = build_lean_graph(
        haiku,
        sonnet.bind(stop=["END"]),
        medium=haiku,
        retriever=retriever,
        tools=[tool, search, {"type": "web_search"}],
        cache=cache,
        memory=SummaryMemory(haiku),
        guard=guard,
        faq={"When do you open?": "At nine."},
        verify=AnswerChecks(),
        final="strong",
        max_calls=10,
        system_prompt="Be brief.",
        state_schema=MyState,
        checkpointer=InMemorySaver(),
    )
    assert_type(graph, CompiledStateGraph[Any, Any, Any, Any])
    build_lean_graph(haiku, sonnet, cache=cache.nodes("desk"), faq=retriever)
    build_lean_graph(haiku)  # type: ignore[call-arg]
    build_lean_graph(haiku, sonnet, final="cheap")  # type: ignore[arg-type]


def what_it_carries(state: LeanState) -> None:
    need = state["need"]
    assert_type(need, Need | None)
    assert_type(state["route"]["model"], str)


async def in_three_nodes(router: EscalationRouter) -> None:
    draft = router.parts.draft.invoke("What is a ledger?")
    draft = await router.parts.verify.ainvoke({"messages": [], "draft": draft})
    assert_type(draft["status"] == "accepted", bool)
    answer = router.parts.answer.invoke({"messages": [], "draft": draft})
    print(answer.text)
