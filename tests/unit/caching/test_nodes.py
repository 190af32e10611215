"""A cache as two nodes of a graph, around whatever else it does."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from langchain_lean import TokenLedger, track
from langchain_lean.errors import ConfigurationError
from tests.unit.caching.caches import (
    CARD,
    CARD_TOO,
    RATE,
    Ask,
    both,
    lean,
    model,
    semantic,
)


def desk(cache: Any, inner: Any, identity: str = "desk", **options: Any) -> Any:
    """A graph that answers with a model, with the cache around."""

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [inner.invoke(state["messages"])]}

    nodes = cache.nodes(identity, **options)
    graph = StateGraph(MessagesState)
    graph.add_node("cache", nodes.read)
    graph.add_node("answer", answer)
    graph.add_node("keep", nodes.write)
    graph.add_edge(START, "cache")
    graph.add_conditional_edges("cache", nodes.route, {"hit": END, "miss": "answer"})
    graph.add_edge("answer", "keep")
    return graph.compile()


def asking(question: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(question)]}


@both
class TestNodes:
    async def test_a_question_that_was_answered_ends_at_the_cache(
        self, ask: Ask
    ) -> None:
        inner = model()
        graph = desk(semantic(), inner)
        first = (await ask(graph, asking(CARD)))["messages"]
        again = (await ask(graph, asking(CARD_TOO)))["messages"]
        assert [message.text for message in again] == [CARD_TOO, first[-1].text]
        assert lean(again[-1])["kind"] == "semantic"
        assert len(inner.calls) == 1

    async def test_another_identity_misses(self, ask: Ask) -> None:
        cache, inner = semantic(), model()
        for name in ("May", "June"):
            await ask(desk(cache, inner, name), asking(CARD))
        assert len(inner.calls) == 2

    async def test_the_ledger_has_hits_and_misses(self, ask: Ask) -> None:
        graph = desk(semantic(), model())
        with track(TokenLedger()) as ledger:
            for question in (CARD, CARD_TOO, RATE):
                await ask(graph, asking(question))
        saved = ledger.savings().levers["cache"]
        assert (saved.count, saved.misses) == (1, 2)

    async def test_a_route_is_a_miss_where_the_last_answer_is_no_hit(
        self, ask: Ask
    ) -> None:
        nodes = semantic().nodes("desk")
        assert nodes.route({"messages": []}) == "miss"
        assert nodes.route(asking(CARD)) == "miss"

    async def test_tenants_are_apart(self, ask: Ask) -> None:
        inner = model()
        graph = desk(semantic(tenant_by="user_id"), inner)
        for user in ("ada", "bob", None):
            await ask(graph.with_config(metadata={"user_id": user}), asking(CARD))
        assert len(inner.calls) == 3

    async def test_an_answer_with_tool_calls_is_not_kept(self, ask: Ask) -> None:
        called = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
        inner = model(called)
        graph = desk(semantic(), inner)
        for _ in range(2):
            await ask(graph, asking(CARD))
        assert len(inner.calls) == 2

    @pytest.mark.parametrize("kept", [False, True])
    async def test_an_answer_that_rests_on_tools_is_kept_only_where_that_is_wanted(
        self, ask: Ask, kept: bool
    ) -> None:
        nodes = semantic(tool_calls=kept).nodes("desk")
        call = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
        turn = [call, ToolMessage("Rain.", tool_call_id="1"), AIMessage("It rains.")]
        await ask(nodes.write, {"messages": [HumanMessage(CARD), *turn]})
        assert bool(await ask(nodes.read, asking(CARD))) is kept

    async def test_what_another_process_has_looked_up_is_kept(self, ask: Ask) -> None:
        cache = semantic()
        write, again = cache.nodes("desk").write, cache.nodes("desk").read
        answered = [HumanMessage(CARD), AIMessage("Here.")]
        await ask(write, {"messages": answered})
        found = await ask(again, asking(CARD_TOO))
        assert found["messages"][0].text == "Here."
        assert await ask(write, {"messages": [*answered[:1], *found["messages"]]}) == {}

    async def test_a_tag_invalidates(self, ask: Ask) -> None:
        cache = semantic()
        graph = desk(cache, model(), tags=["prices"])
        await ask(graph, asking(CARD))
        assert cache.invalidate(tag="prices") == 1


def test_nodes_need_an_identity() -> None:
    with pytest.raises(ConfigurationError, match="whenever answers would"):
        semantic().nodes("")


async def test_a_graph_shows_a_hit_in_pieces_once() -> None:
    graph = desk(semantic(), model("one two three four five six seven"))
    await graph.ainvoke(asking(CARD))
    shown = [
        chunk async for chunk, _ in graph.astream(asking(CARD), stream_mode="messages")
    ]
    assert len(shown) > 1
    assert "".join(chunk.text for chunk in shown) == "one two three four five six seven"
