"""A router over real OpenAI and Bedrock clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from langchain_lean import TokenLedger
from langchain_lean.routing.grader import Grader
from langchain_lean.routing.router import EscalationRouter, RouteState
from langchain_lean.routing.self_screen import SelfScreen
from langchain_lean.routing.verdict import EscalationPolicy, Verdict
from tests.integration.conftest import MakeChatBedrock, MakeChatOpenAI
from tests.integration.provider_server import ProviderServer, Reply, ToolCall

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
ASKED = [HumanMessage("Why?", id="why")]
ESCALATES = Reply(text="[[")  # the provider takes the stop sequence away

Ask = Callable[[Any, Any], Awaitable[AIMessage]]


class TooShort(EscalationPolicy):
    """Escalates answers of few words."""

    def judge(self, messages: Any, answer: AIMessage) -> Verdict:
        return Verdict(len(answer.text.split()) < 3, None, "it was counted")


async def invoke(graph: Any, config: Any) -> AIMessage:
    return graph.invoke({"messages": ASKED}, config)["messages"][-1]


async def ainvoke(graph: Any, config: Any) -> AIMessage:
    return (await graph.ainvoke({"messages": ASKED}, config))["messages"][-1]


async def stream(graph: Any, config: Any) -> AIMessage:
    parts = graph.stream({"messages": ASKED}, config, stream_mode="messages")
    first, *others = [message for message, _ in parts]
    return sum(others, first)


async def astream(graph: Any, config: Any) -> AIMessage:
    parts = graph.astream({"messages": ASKED}, config, stream_mode="messages")
    first, *others = [message async for message, _ in parts]
    return sum(others, first)


every_way = pytest.mark.parametrize("ask", [invoke, ainvoke, stream, astream])


def graph(router: EscalationRouter) -> Any:
    builder = StateGraph(RouteState)
    builder.add_node("answer", router)
    builder.add_edge(START, "answer")
    return builder.compile()


def route(answer: AIMessage) -> dict[str, Any]:
    [noted] = answer.response_metadata["lean"]
    found: dict[str, Any] = noted["route"]
    return found


@pytest.fixture
def openai(chat_openai: MakeChatOpenAI) -> dict[str, Any]:
    return {
        "mini": chat_openai(model="gpt-4o-mini", stream_usage=True),
        "large": chat_openai(model="gpt-4o", stream_usage=True),
    }


@pytest.fixture
def bedrock(chat_bedrock: MakeChatBedrock) -> dict[str, Any]:
    return {"haiku": chat_bedrock(model=HAIKU), "sonnet": chat_bedrock()}


class TestOpenAI:
    @every_way
    async def test_a_model_that_asks_for_a_stronger_one_is_not_shown(
        self, ask: Ask, openai: dict[str, Any], openai_server: ProviderServer
    ) -> None:
        openai_server.reply(ESCALATES, Reply(text="Because it is so."))
        ledger = TokenLedger()
        router = EscalationRouter(openai, policy=SelfScreen())
        answer = await ask(graph(router), {"callbacks": [ledger]})
        assert answer.text == "Because it is so."
        assert route(answer)["model"] == "large"
        screened, plain = openai_server.requests
        assert screened["stop"] == ["ESCALATE]]"]
        assert screened["messages"][0]["role"] == "system"
        assert "stop" not in plain
        assert [m["role"] for m in plain["messages"]] == ["user"]
        sources = {entry.requested: entry.source for entry in ledger.entries()}
        assert sources == {"gpt-4o-mini": "routing", "gpt-4o": None}

    @every_way
    async def test_an_answer_that_stands_is_shown_with_its_usage(
        self, ask: Ask, openai: dict[str, Any], openai_server: ProviderServer
    ) -> None:
        openai_server.reply(Reply(text="Because it is so."))
        ledger = TokenLedger()
        router = EscalationRouter(openai, policy=TooShort())
        answer = await ask(graph(router), {"callbacks": [ledger]})
        assert answer.text == "Because it is so."
        assert answer.usage_metadata is not None
        [entry] = ledger.entries()
        assert answer.usage_metadata["input_tokens"] == entry.usage.input
        assert not entry.estimated
        cost = ledger.prices.cost
        strong = cost(entry.usage, "gpt-4o", "openai").total
        assert entry.cost is not None
        lever = ledger.savings().levers["routing"]
        assert lever.counterfactual == strong - entry.cost.total > 0

    @every_way
    async def test_a_real_grader_reads_and_grades(
        self, ask: Ask, openai: dict[str, Any], openai_server: ProviderServer
    ) -> None:
        openai_server.reply(
            Reply(text="Perhaps."), Reply(text='{"grade": 3}'), Reply(text="Surely.")
        )
        router = EscalationRouter(openai, policy=Grader(openai["mini"]))
        answer = await ask(graph(router), {})
        assert answer.text == "Surely."
        [row] = route(answer)["verdicts"]
        assert (row["score"], row["reason"]) == (0.3, "graded 3 of 10")
        assert Decimal(route(answer)["decision_usd"]) > 0

    @every_way
    async def test_a_grader_that_is_refused_by_its_provider_escalates(
        self, ask: Ask, openai: dict[str, Any], openai_server: ProviderServer
    ) -> None:
        openai_server.reply(
            Reply(text="Perhaps."), Reply(status=429), Reply(text="Surely.")
        )
        router = EscalationRouter(openai, policy=Grader(openai["mini"]))
        answer = await ask(graph(router), {})
        assert answer.text == "Surely."
        assert route(answer)["reason"].startswith("the policy failed: ")

    @every_way
    async def test_a_strong_model_that_is_down_raises(
        self, ask: Ask, openai: dict[str, Any], openai_server: ProviderServer
    ) -> None:
        openai_server.reply(Reply(text="No."), Reply(status=500))
        router = EscalationRouter(openai, policy=TooShort())
        with pytest.raises(Exception, match="500"):
            await ask(graph(router), {})

    def test_a_cheap_stream_that_breaks_off_shows_nothing(
        self, openai: dict[str, Any], openai_server: ProviderServer
    ) -> None:
        openai_server.reply(Reply(text="Hidden words.", drop_after=2))
        router = EscalationRouter(openai, policy=TooShort())
        parts = graph(router).stream({"messages": ASKED}, stream_mode="messages")
        with pytest.raises(Exception, match=r".+"):
            next(parts)  # the error comes before any piece does

    async def test_an_agent_with_tools_goes_on_with_the_model_that_took_over(
        self, openai: dict[str, Any], openai_server: ProviderServer
    ) -> None:
        @tool
        def look_up(topic: str) -> str:
            """Look something up."""
            return f"All about {topic}."

        openai_server.reply(
            Reply(text="No."),
            Reply(
                text="", tool_calls=(ToolCall(name="look_up", args={"topic": "it"}),)
            ),
            Reply(text="Because it is so."),
        )
        router = EscalationRouter(openai, policy=TooShort()).bind_tools([look_up])
        builder = StateGraph(RouteState)
        builder.add_node("agent", router)
        builder.add_node("tools", ToolNode([look_up]))
        builder.add_edge(START, "agent")
        builder.add_conditional_edges("agent", tools_condition)
        builder.add_edge("tools", "agent")
        state = await builder.compile().ainvoke({"messages": ASKED})
        assert state["messages"][-1].text == "Because it is so."
        asked = [request["model"] for request in openai_server.requests]
        assert asked == ["gpt-4o-mini", "gpt-4o", "gpt-4o"]
        assert all("tools" in request for request in openai_server.requests)


class TestBedrock:
    @every_way
    async def test_a_model_that_asks_for_a_stronger_one_is_not_shown(
        self, ask: Ask, bedrock: dict[str, Any], bedrock_server: ProviderServer
    ) -> None:
        bedrock_server.reply(ESCALATES, Reply(text="Because it is so."))
        ledger = TokenLedger()
        router = EscalationRouter(bedrock, policy=SelfScreen())
        answer = await ask(graph(router), {"callbacks": [ledger]})
        assert answer.text == "Because it is so."
        assert route(answer)["model"] == "sonnet"
        assert Decimal(route(answer)["decision_usd"]) > 0
        screened, plain = bedrock_server.requests
        assert screened["inferenceConfig"]["stopSequences"] == ["ESCALATE]]"]
        assert "stopSequences" not in plain.get("inferenceConfig", {})
        assert not plain.get("system")
        assert set(ledger.totals(by="source")) == {"routing", None}

    @every_way
    async def test_an_answer_that_stands_saves_the_strong_price(
        self, ask: Ask, bedrock: dict[str, Any], bedrock_server: ProviderServer
    ) -> None:
        bedrock_server.reply(Reply(text="Because it is so."))
        ledger = TokenLedger()
        router = EscalationRouter(bedrock, policy=TooShort())
        answer = await ask(graph(router), {"callbacks": [ledger]})
        assert answer.text == "Because it is so."
        assert ledger.savings().levers["routing"].counterfactual > 0
        assert not ledger.savings().own_cost

    async def test_a_screening_node_asks_in_a_few_tokens(
        self, bedrock: dict[str, Any], bedrock_server: ProviderServer
    ) -> None:
        bedrock_server.reply(ESCALATES)
        router = EscalationRouter(bedrock, policy=SelfScreen())
        update = await router.screen.ainvoke({"messages": ASKED})
        assert router.route(update) == "sonnet"
        [request] = bedrock_server.requests
        config = request["inferenceConfig"]
        assert config == {"maxTokens": 16, "stopSequences": ["ESCALATE]]"]}
