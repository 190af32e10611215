"""What a ledger makes of real OpenAI clients: usage and dollars to the last digit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import openai
import pytest
from langchain_core.exceptions import ModelConnectionError
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_openai import OpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from langchain_lean import MeteredEmbeddings, PriceBook, TokenLedger, TokenUsage, track
from langchain_lean.accounting.prices.cost import Cost
from tests.integration.calling import (
    astream,
    attached,
    every_way,
    invoke,
    once_or_streamed,
    stream,
)
from tests.integration.conftest import GPT, MakeChatOpenAI
from tests.integration.provider_server import CHAT_USAGE, Reply, ToolCall

MINI = "gpt-5-mini"  # $0.25 in, $0.025 cached, $2 out for a million tokens
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)

# what the server reports: 1,200 in, 1,024 of them cached; 80 out, 64 of them thought
USAGE = TokenUsage(
    input=1200, output=80, cache_read=1024, reasoning=64, service_tier="default"
)
OWN = {"input": "3", "output": "15", "cache_read": "0.3"}
OWN_INPUT = Decimal("0.0008352")  # 176 at $3 and 1,024 at $0.30
OWN_OUTPUT = Decimal("0.0012")  # 80 at $15
OWN_SAVED = Decimal("0.0027648")  # 1,024 at $2.70 less
OWN_COST = Cost(OWN_INPUT + OWN_OUTPUT, OWN_INPUT, OWN_OUTPUT, OWN_SAVED)
TABLE_COST = Decimal("0.0002296")  # 176 at $0.25, 1,024 at $0.025, 80 at $2


class Timer:
    """Seconds that a test moves forward."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def ledger(timer: Timer) -> Iterator[TokenLedger]:
    """Prices gpt-4o-mini at the test's own price, on the test's own day."""
    with TokenLedger(
        prices=PriceBook().with_price(GPT, **OWN), clock=AT.timestamp, timer=timer
    ) as ledger:
        yield ledger


@pytest.fixture(params=["chat", "responses"])
def make(request: pytest.FixtureRequest, chat_openai: MakeChatOpenAI) -> MakeChatOpenAI:
    """A ChatOpenAI on either API; the chat one is asked for the usage of streams."""
    own = {"chat": {"stream_usage": True}, "responses": {"use_responses_api": True}}

    def make(**kwargs: Any) -> Any:
        return chat_openai(**own[request.param], **kwargs)

    return make


class TestEveryCall:
    @every_way
    async def test_is_accounted_for_to_the_last_digit(self, make, ledger, call):
        calls = await call(make(), ledger)
        entries = list(ledger.entries())
        assert len(entries) == calls
        for entry in entries:
            assert (entry.kind, entry.model, entry.provider) == ("chat", GPT, "openai")
            assert entry.usage == USAGE
            assert entry.cost == OWN_COST
            assert entry.start == AT
        assert ledger.totals().flags == {}
        assert ledger.totals().cost == calls * OWN_COST.total

    @once_or_streamed
    async def test_of_a_known_model_has_the_table_s_price(self, make, ledger, call):
        await call(make(model=MINI), ledger)
        assert ledger.totals().cost == TABLE_COST
        assert set(ledger.totals(by="model")) == {MINI}

    @once_or_streamed
    async def test_of_a_dated_model_has_the_price_of_the_model(
        self, make, ledger, openai_server, call
    ):
        openai_server.reply(Reply(model=f"{MINI}-2025-08-07"))
        await call(make(model=MINI), ledger)
        assert ledger.totals().cost == TABLE_COST

    # flex is half of gpt-5-mini's price; priority is $0.45, $0.045 and $3.60
    @pytest.mark.parametrize(
        ("tier", "cost"), [("flex", "0.0001148"), ("priority", "0.00041328")]
    )
    @once_or_streamed
    async def test_is_charged_at_the_tier_that_served_it(
        self, make, ledger, openai_server, call, tier, cost
    ):
        openai_server.reply(Reply(service_tier=tier))
        await call(make(model=MINI), ledger)
        [entry] = ledger.entries()
        assert entry.usage == TokenUsage(
            input=1200, output=80, cache_read=1024, reasoning=64, service_tier=tier
        )
        assert entry.cost.total == Decimal(cost)

    async def test_of_an_unknown_model_is_unpriced_and_said_to_be(self, make, ledger):
        await invoke(make(model="my-llm"), ledger)
        [entry] = ledger.entries()
        assert (entry.cost, entry.unpriced) == (None, True)
        assert ledger.totals().unpriced == 1

    @once_or_streamed
    async def test_counts_tool_schemas_and_calls_as_part_of_it(
        self, make, ledger, openai_server, call
    ):
        openai_server.reply(Reply(tool_calls=(ToolCall(name="add", args={"a": 1}),)))
        await call(make().bind_tools([add]), ledger)
        [entry] = ledger.entries()
        assert (entry.usage, entry.cost) == (USAGE, OWN_COST)
        assert entry.anatomy.tools > 0

    async def test_is_seen_by_track_without_a_callback(self, make, ledger):
        with track(ledger):
            make().invoke("hi")
            await make().ainvoke("hi")
        assert ledger.totals().cost == 2 * OWN_COST.total


def test_cache_writes_are_charged_at_their_own_price_and_tier(
    chat_openai, openai_server
):
    usage = CHAT_USAGE | {
        "prompt_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 900}
    }
    openai_server.reply(Reply(usage=usage), Reply(usage=usage, service_tier="flex"))
    book = PriceBook().with_price(GPT, **OWN, cache_write="3.75")
    with TokenLedger(prices=book) as ledger:
        chat_openai().batch(["hi"], attached(ledger))
        chat_openai().invoke("hi", attached(ledger))
        plain, flex = ledger.entries()
    # 100 at $3, 200 at $0.30, 900 at $3.75, 80 at $15
    expected = Decimal("0.0003") + Decimal("0.00006") + Decimal("0.003375")
    for entry in (plain, flex):
        assert entry.usage.cache_write_5m == 900
        assert entry.cost.input == expected
        assert entry.cost.total == expected + OWN_OUTPUT


def test_several_choices_of_one_call_are_charged_once(chat_openai, ledger):
    result = chat_openai(n=3).generate([[HumanMessage("hi")]], callbacks=[ledger])
    assert len(result.generations[0]) == 3
    [entry] = ledger.entries()
    assert entry.usage.counts() == USAGE.counts()
    assert entry.cost == OWN_COST


def test_a_plain_language_model_is_accounted_for(openai_settings, ledger, monkeypatch):
    body = {
        "id": "cmpl-1",
        "choices": [{"text": "Hello.", "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 80, "total_tokens": 1080},
    }
    model = OpenAI(model=GPT, **openai_settings)
    monkeypatch.setattr(model.client, "create", lambda **_: body)
    model.invoke("hi", attached(ledger))
    [entry] = ledger.entries()
    assert (entry.kind, entry.model) == ("completion", GPT)
    assert entry.usage == TokenUsage(input=1000, output=80)
    assert entry.cost.total == Decimal("0.0042")  # 1,000 at $3, 80 at $15


@once_or_streamed
async def test_a_call_without_usage_is_estimated_and_flagged(
    chat_openai, openai_server, ledger, call
):
    text = "One two three four."
    openai_server.default = Reply(text=text, usage={})
    await call(chat_openai(), ledger)
    [entry] = ledger.entries()
    assert entry.estimated
    assert entry.usage == estimate(ledger, text)
    assert (
        entry.cost.total
        == (entry.usage.input * Decimal(3) + entry.usage.output * Decimal(15))
        / 1_000_000
    )


def estimate(ledger: TokenLedger, text: str) -> TokenUsage:
    """What the ledger's counter makes of the question and an answer."""
    count = ledger.counter.count
    return TokenUsage(
        input=count([HumanMessage("hi")], model=GPT),
        output=count(text, model=GPT) if text else 0,
    )


class TestTroubles:
    async def test_a_failed_try_costs_nothing_and_the_next_one_its_price(
        self, make, ledger, openai_server
    ):
        openai_server.reply(Reply(status=429, text="slow down"), Reply())
        model = make().with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
        await invoke(model, ledger)
        failed, served = ledger.entries()
        assert (failed.failed, failed.usage, failed.cost) == (
            True,
            TokenUsage(),
            Cost(),
        )
        assert failed.reason.endswith("RateLimitError")
        assert (served.failed, served.cost) == (False, OWN_COST)

    async def test_a_fallback_is_charged_and_the_failure_is_not(
        self, make, ledger, openai_server
    ):
        openai_server.reply(Reply(status=500, text="down"), Reply())
        model = make().with_fallbacks([make(model=MINI)])
        await model.ainvoke("hi", attached(ledger))
        totals = ledger.totals(by="model")
        assert totals[GPT].cost == 0
        assert totals[GPT].flags == {"failed": 1}
        assert totals[MINI].cost == TABLE_COST

    async def test_a_refused_call_raises_as_without_a_ledger(
        self, make, ledger, openai_server
    ):
        openai_server.reply(Reply(status=401, text="no"))
        with pytest.raises(openai.AuthenticationError):
            await invoke(make(), ledger)
        assert ledger.totals().cost == 0

    @pytest.mark.parametrize("call", [stream, astream])
    async def test_a_stream_that_breaks_is_charged_for_what_came(
        self, chat_openai, ledger, openai_server, call
    ):
        openai_server.reply(Reply(text="One two three four.", drop_after=3))
        with pytest.raises(ModelConnectionError):
            await call(chat_openai(stream_usage=True), ledger)
        [entry] = ledger.entries()
        assert entry.failed
        assert entry.estimated
        assert entry.usage == estimate(ledger, "One two ")
        assert 0 < entry.usage.output < estimate(ledger, "One two three four.").output

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_a_stream_the_reader_closes_is_charged_for_what_came(
        self, chat_openai, ledger, openai_server, asynchronous
    ):
        openai_server.reply(Reply(text="One two three four."))
        model = chat_openai(stream_usage=True)
        seen = ""
        if asynchronous:
            chunks = model.astream("hi", attached(ledger))
            async for chunk in chunks:
                seen += chunk.text
                if "two" in seen:
                    break
            await chunks.aclose()
        else:
            chunks = model.stream("hi", attached(ledger))
            for chunk in chunks:
                seen += chunk.text
                if "two" in seen:
                    break
            chunks.close()
        [entry] = ledger.entries()
        assert (entry.stopped_early, entry.failed, entry.estimated) == (
            True,
            False,
            True,
        )
        assert entry.usage == estimate(ledger, "One two ")

    async def test_a_cancelled_call_is_abandoned_once_its_run_has_ended(
        self, make, ledger, openai_server
    ):
        gate = threading.Event()
        openai_server.reply(Reply(gate=gate))
        chain = RunnableLambda(lambda text: text) | make()
        task = asyncio.create_task(chain.ainvoke("hi", attached(ledger)))
        await asyncio.to_thread(openai_server.wait_for, 1)
        assert not list(ledger.entries())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        [entry] = ledger.entries()
        assert (entry.abandoned, entry.estimated) == (True, True)
        assert entry.usage == estimate(ledger, "")
        assert entry.cost.total == entry.usage.input * Decimal("0.000003")

    async def test_a_cancelled_call_that_stands_alone_is_abandoned(
        self, make, ledger, openai_server
    ):
        gate = threading.Event()
        openai_server.reply(Reply(gate=gate))
        task = asyncio.create_task(make().ainvoke("hi", attached(ledger)))
        await asyncio.to_thread(openai_server.wait_for, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        [entry] = ledger.entries()
        assert entry.abandoned


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@dataclass
class Context:
    """What a graph is run with."""

    user_id: str


class TestGraphs:
    @pytest.fixture
    def graph(self, make: MakeChatOpenAI) -> Any:
        """Two nodes, each with a model of its own."""
        draft, review = make(), make(model=MINI)

        def call_draft(state: MessagesState) -> Any:
            return {"messages": [draft.invoke(state["messages"])]}

        async def call_review(state: MessagesState) -> Any:
            return {"messages": [await review.ainvoke(state["messages"])]}

        builder = StateGraph(MessagesState, context_schema=Context)
        builder.add_node("draft", call_draft)
        builder.add_node("review", call_review)
        builder.add_edge(START, "draft")
        builder.add_edge("draft", "review")
        return builder.compile(checkpointer=InMemorySaver())

    def config(self, ledger: TokenLedger, **configurable: str) -> Any:
        return {
            "callbacks": [ledger],
            "configurable": {"thread_id": "t1", **configurable},
        }

    async def test_calls_are_attributed_to_nodes_and_threads(self, graph, ledger):
        state = {"messages": [HumanMessage("hi")]}
        context = Context(user_id="ada")
        await graph.ainvoke(state, self.config(ledger), context=context)
        totals = ledger.totals(by="node")
        assert {node: t.cost for node, t in totals.items()} == {
            "draft": OWN_COST.total,
            "review": TABLE_COST,
        }
        assert set(ledger.totals(by="thread_id")) == {"t1"}
        assert len({entry.trace_id for entry in ledger.entries()}) == 1

    async def test_the_user_is_known_from_the_runtime_context(self, graph, ledger):
        state = {"messages": [HumanMessage("hi")]}
        context = Context(user_id="ada")
        await graph.ainvoke(state, self.config(ledger), context=context)
        assert set(ledger.totals(by="user_id")) == {"ada"}

    async def test_the_user_is_known_from_the_configurable(self, graph, ledger):
        state = {"messages": [HumanMessage("hi")]}
        await graph.ainvoke(state, self.config(ledger, user_id="bob"))
        assert set(ledger.totals(by="user_id")) == {"bob"}

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_an_agent_s_steps_and_tools_are_accounted_for(
        self, make, ledger, openai_server, asynchronous
    ):
        agents = pytest.importorskip("langchain.agents")
        asked = ToolCall(name="add", args={"a": 1, "b": 2})
        openai_server.reply(Reply(tool_calls=(asked,)), Reply(text="3"))
        agent = agents.create_agent(make(), [add], name="adder")
        state = {"messages": [HumanMessage("What is 1 + 2?")]}
        if asynchronous:
            answer = await agent.ainvoke(state, attached(ledger))
        else:
            answer = agent.invoke(state, attached(ledger))
        assert answer["messages"][-1].text == "3"
        entries = list(ledger.entries())
        assert [entry.agent for entry in entries] == ["adder", "adder"]
        assert [entry.node for entry in entries] == ["model", "model"]
        assert ledger.totals().cost == 2 * OWN_COST.total
        assert [step.name for step in ledger.steps() if step.kind == "tool"] == ["add"]


def test_an_embedding_is_charged_for_what_was_sent(openai_embeddings, ledger):
    texts = ["How much is it?", "Where is it?"]
    metered = MeteredEmbeddings(openai_embeddings(), ledger, provider="openai")
    assert len(metered.embed_documents(texts)) == 2
    [entry] = ledger.entries()
    assert (entry.kind, entry.model) == ("embedding", "text-embedding-3-small")
    assert entry.estimated
    # $0.02 for a million tokens
    assert entry.cost.total == entry.usage.input * Decimal("0.00000002")
    assert entry.usage.input > 5
