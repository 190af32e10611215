"""Whom a call is for is found wherever an application says it."""

from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph

from langchain_lean import scope
from langchain_lean.accounting.attribution import attributed


def test_metadata_comes_first() -> None:
    with scope(user_id="scope"):
        assert attributed("user_id", {"user_id": "metadata"}) == "metadata"


def test_a_scope_says_it_where_nothing_else_does() -> None:
    assert attributed("user_id") is None
    with scope(user_id="ada", team="search"):
        assert attributed("user_id", {"other": 1}) == "ada"
        with scope(user_id="bob"):
            assert (attributed("user_id"), attributed("team")) == ("bob", "search")
        assert attributed("user_id") == "ada"
    assert attributed("user_id") is None


def test_a_scope_ends_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), scope(user_id="ada"):
        1 / 0  # noqa: B018 - the error is the point
    assert attributed("user_id") is None


def test_the_running_configuration_says_it() -> None:
    ask = RunnableLambda(lambda _: attributed("user_id"))
    assert ask.invoke(1, {"metadata": {"user_id": "ada"}}) == "ada"
    assert ask.invoke(1, {"configurable": {"user_id": "bob"}}) == "bob"
    assert ask.invoke(1, {"configurable": {"user_id": 7}}) == "7"
    with scope(user_id="scope"):
        assert ask.invoke(1, {"configurable": {"user_id": ""}}) == "scope"


@dataclass
class Context:
    user_id: str


@dataclass(slots=True)
class SlottedContext:
    user_id: str


@pytest.mark.parametrize(
    "context", [{"user_id": "ada"}, Context("ada"), SlottedContext("ada")]
)
def test_a_graphs_context_says_it(context: Any) -> None:
    class State(TypedDict):
        found: str | None

    def node(state: Any) -> Any:
        return {"found": attributed("user_id")}

    builder: Any = StateGraph(State, context_schema=type(context))
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    graph = builder.compile()
    assert graph.invoke({"found": None}, context=context) == {"found": "ada"}
    assert graph.invoke({"found": None}) == {"found": None}
