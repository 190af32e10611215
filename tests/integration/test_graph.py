"""The lean graph over real OpenAI and Bedrock clients."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool

from langchain_lean import Budget, BudgetGuard, SemanticCache, TokenLedger
from langchain_lean.graph import build_lean_graph
from tests.integration.conftest import MakeChatBedrock, MakeChatOpenAI
from tests.integration.provider_server import ProviderServer, Reply, ToolCall

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
QUESTION = {"messages": [HumanMessage("Where is parcel 7?", id="asked")]}
ESCALATES = Reply(text="[[")  # the provider takes the stop sequence away
ANSWER = "It is in Bergen now."

Ask = Callable[[Any, Any], Awaitable[AIMessage]]


async def invoke(graph: Any, config: Any) -> AIMessage:
    return graph.invoke(QUESTION, config)["messages"][-1]


async def ainvoke(graph: Any, config: Any) -> AIMessage:
    return (await graph.ainvoke(QUESTION, config))["messages"][-1]


async def stream(graph: Any, config: Any) -> AIMessage:
    parts = graph.stream(QUESTION, config, stream_mode="messages")
    return whole([message for message, _ in parts])


async def astream(graph: Any, config: Any) -> AIMessage:
    parts = graph.astream(QUESTION, config, stream_mode="messages")
    return whole([message async for message, _ in parts])


def whole(pieces: list[Any]) -> AIMessage:
    """The answer of which these are the pieces: the last message that was streamed."""
    first, *others = [piece for piece in pieces if piece.id == pieces[-1].id]
    return sum(others, first)


every_way = pytest.mark.parametrize("ask", [invoke, ainvoke, stream, astream])


class Pages(BaseRetriever):
    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return [Document("Parcel 7 left Oslo.")]


@tool
def track(parcel: int) -> str:
    """Track a parcel."""
    return f"Parcel {parcel} is in Bergen."


TRACK = Reply(text="", tool_calls=(ToolCall(name="track", args={"parcel": 7}),))


def needs(route: str, **more: bool) -> dict[str, Any]:
    known = {"needs_rag": False, "needs_tools": False, "faq": 0}
    return {"route": route, **known, **more}


def sources(ledger: TokenLedger) -> list[tuple[str | None, str | None]]:
    entries = sorted(ledger.entries(), key=lambda entry: entry.start)
    return [(entry.node, entry.source) for entry in entries]


class TestOpenAI:
    @every_way
    async def test_documents_go_to_the_cheap_model_and_its_answer_is_given(
        self, ask: Ask, chat_openai: MakeChatOpenAI, openai_server: ProviderServer
    ) -> None:
        decision = json.dumps(needs("rag", needs_rag=True))
        openai_server.reply(Reply(text=decision), Reply(text=ANSWER))
        ledger, guard = TokenLedger(), BudgetGuard(Budget(usd="1", per="day"))
        graph = build_lean_graph(
            chat_openai(model="gpt-4o-mini", stream_usage=True),
            chat_openai(model="gpt-4o", stream_usage=True),
            retriever=Pages(),
            guard=guard,
        )
        answer = await ask(graph, {"callbacks": [ledger]})
        assert answer.text == ANSWER
        asked, drafted = openai_server.requests
        assert asked["response_format"]["type"] == "json_schema"
        assert "Parcel 7 left Oslo." in drafted["messages"][-1]["content"]
        assert sources(ledger) == [("classify", "classify"), ("rag", None)]
        assert not any(entry.estimated for entry in ledger.entries())
        [status] = guard.status()
        assert (status.used > 0, status.held) == (True, 0)

    @every_way
    async def test_a_rejected_draft_is_answered_by_the_strong_model(
        self, ask: Ask, chat_openai: MakeChatOpenAI, openai_server: ProviderServer
    ) -> None:
        openai_server.reply(ESCALATES, Reply(text=ANSWER))
        ledger = TokenLedger()
        graph = build_lean_graph(
            chat_openai(model="gpt-4o-mini", stream_usage=True),
            chat_openai(model="gpt-4o", stream_usage=True),
        )
        answer = await ask(graph, {"callbacks": [ledger]})
        assert answer.text == ANSWER
        assert answer.response_metadata["lean"][-1]["action"] == "escalated"
        assert sources(ledger) == [("agent", "routing"), ("answer", None)]

    @every_way
    async def test_tools_run_between_drafts(
        self, ask: Ask, chat_openai: MakeChatOpenAI, openai_server: ProviderServer
    ) -> None:
        openai_server.reply(TRACK, Reply(text=ANSWER))
        graph = build_lean_graph(
            chat_openai(model="gpt-4o-mini", stream_usage=True),
            chat_openai(model="gpt-4o", stream_usage=True),
            tools=[track],
        )
        assert (await ask(graph, {})).text == ANSWER
        _, after = openai_server.requests
        assert after["messages"][-1]["content"] == "Parcel 7 is in Bergen."

    @every_way
    async def test_the_last_answer_of_a_run_is_asked_for_as_it_is(
        self, ask: Ask, chat_openai: MakeChatOpenAI, openai_server: ProviderServer
    ) -> None:
        openai_server.reply(Reply(text=ANSWER))
        graph = build_lean_graph(
            chat_openai(model="gpt-4o-mini", stream_usage=True),
            chat_openai(model="gpt-4o", stream_usage=True),
            max_calls=0,
        )
        assert (await ask(graph, {})).text == ANSWER
        [asked] = openai_server.requests
        assert "stop" not in asked
        assert "ESCALATE" not in str(asked)

    @every_way
    async def test_a_kept_answer_asks_nobody(
        self, ask: Ask, chat_openai: MakeChatOpenAI, openai_server: ProviderServer
    ) -> None:
        openai_server.reply(Reply(text=ANSWER))
        graph = build_lean_graph(
            chat_openai(model="gpt-4o-mini", stream_usage=True),
            chat_openai(model="gpt-4o", stream_usage=True),
            cache=SemanticCache(),
        )
        for _ in range(2):
            assert (await ask(graph, {})).text == ANSWER
        assert len(openai_server.requests) == 1


class TestBedrock:
    @every_way
    async def test_documents_and_tools_go_to_the_cheap_model(
        self, ask: Ask, chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
    ) -> None:
        needed = needs("agent", needs_rag=True, needs_tools=True)
        decision = ToolCall(name="Classification", args=needed)
        bedrock_server.reply(
            Reply(text="", tool_calls=(decision,)), TRACK, Reply(text=ANSWER)
        )
        ledger = TokenLedger()
        graph = build_lean_graph(
            chat_bedrock(model=HAIKU), chat_bedrock(), retriever=Pages(), tools=[track]
        )
        answer = await ask(graph, {"callbacks": [ledger]})
        assert answer.text == ANSWER
        assert sources(ledger) == [
            ("classify", "classify"),
            ("agent", None),
            ("agent", None),
        ]
        assert {entry.model for entry in ledger.entries()} == {HAIKU}

    @every_way
    async def test_the_strong_model_goes_on_behind_its_tools(
        self, ask: Ask, chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
    ) -> None:
        bedrock_server.reply(ESCALATES, TRACK, Reply(text=ANSWER))
        graph = build_lean_graph(
            chat_bedrock(model=HAIKU), chat_bedrock(), tools=[track]
        )
        answer = await ask(graph, {})
        assert answer.text == ANSWER
        route = answer.response_metadata["lean"][-1]["route"]
        assert route["model"] == "strong"
