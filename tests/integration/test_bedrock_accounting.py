"""What a ledger makes of real Bedrock clients: usage and dollars to the last digit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from urllib3.exceptions import ProtocolError

from langchain_lean import PriceBook, TokenLedger, TokenUsage
from langchain_lean.accounting.prices.cost import Cost
from tests.integration.calling import (
    astream,
    attached,
    every_way,
    invoke,
    once_or_streamed,
    stream,
)
from tests.integration.conftest import CLAUDE, MakeChatBedrock
from tests.integration.provider_server import (
    CONVERSE_USAGE,
    ProviderServer,
    Reply,
    ToolCall,
)

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
SONNET = CLAUDE.removeprefix("us.")
ARN = "arn:aws:bedrock:us-east-1:123456789012"
PROFILE = f"{ARN}:application-inference-profile/a1b2c3d4e5f6"
PROVISIONED = f"{ARN}:provisioned-model/a1b2c3d4e5f6"

# what the server reports: 1,712 in, 1,024 of them read and 512 written; 80 out
USAGE = TokenUsage(input=1712, output=80, cache_read=1024, cache_write_5m=512)

# in a region claude-sonnet-4-5 is $3.30 in, $0.33 read, $4.125 written, $16.50 out
REGIONAL = Cost(
    input=Decimal("0.00303072"),  # 176 at $3.30, 1,024 at $0.33, 512 at $4.125
    output=Decimal("0.00132"),  # 80 at $16.50
    total=Decimal("0.00435072"),
    cache_saved=Decimal("0.00261888"),  # 1,024 at $2.97 less 512 at $0.825
)
GLOBAL = Decimal("0.0039552")  # a tenth less: $3, $0.30, $3.75, $15

OWN = {"input": 10, "output": 20, "cache_read": 1, "cache_write": 12}
OWN_TOTAL = Decimal("0.010528")  # 176 at $10, 1,024 at $1, 512 at $12, 80 at $20


@pytest.fixture
def ledger() -> Iterator[TokenLedger]:
    with TokenLedger(clock=AT.timestamp) as ledger:
        yield ledger


def charged(price_book: PriceBook) -> TokenLedger:
    return TokenLedger(prices=price_book, clock=AT.timestamp)


class TestEveryCall:
    @every_way
    async def test_is_accounted_for_to_the_last_digit(self, chat_bedrock, ledger, call):
        calls = await call(chat_bedrock(), ledger)
        entries = list(ledger.entries())
        assert len(entries) == calls
        for entry in entries:
            assert (entry.kind, entry.model) == ("chat", CLAUDE)
            assert entry.provider == "amazon_bedrock"
            assert (entry.usage, entry.cost) == (USAGE, REGIONAL)
        assert ledger.totals().flags == {}
        assert ledger.totals().cost == calls * REGIONAL.total
        assert ledger.totals().cache_saved == calls * REGIONAL.cache_saved

    @once_or_streamed
    async def test_has_an_own_price_where_there_is_one(self, chat_bedrock, call):
        with charged(PriceBook().with_price(CLAUDE, **OWN)) as ledger:
            await call(chat_bedrock(), ledger)
            assert ledger.totals().cost == OWN_TOTAL

    @pytest.mark.parametrize(
        ("model", "cost"),
        [
            (f"eu.{SONNET}", REGIONAL.total),
            (f"global.{SONNET}", GLOBAL),
            (SONNET, REGIONAL.total),
            (f"{ARN}:inference-profile/us.{SONNET}", REGIONAL.total),
            (f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET}", REGIONAL.total),
        ],
    )
    @once_or_streamed
    async def test_costs_what_its_model_costs_where_it_runs(
        self, chat_bedrock, ledger, call, model, cost
    ):
        await call(chat_bedrock(model=model, provider="anthropic"), ledger)
        assert ledger.totals().cost == cost

    @once_or_streamed
    async def test_charges_cache_writes_by_their_lifetime(
        self, chat_bedrock, bedrock_server, ledger, call
    ):
        details = [
            {"ttl": "5m", "inputTokens": 200},
            {"ttl": "1h", "inputTokens": 312},
        ]
        bedrock_server.reply(Reply(usage={**CONVERSE_USAGE, "cacheDetails": details}))
        await call(chat_bedrock(), ledger)
        [entry] = ledger.entries()
        assert entry.usage == TokenUsage(
            input=1712,
            output=80,
            cache_read=1024,
            cache_write_5m=200,
            cache_write_1h=312,
        )
        # 312 for an hour at $6.60 in place of $4.125
        assert entry.cost.total == REGIONAL.total + Decimal("0.0007722")

    @once_or_streamed
    async def test_tells_thinking_from_the_rest_of_the_output(
        self, chat_bedrock, bedrock_server, ledger, call
    ):
        bedrock_server.reply(Reply(thinking_tokens=30))
        await call(chat_bedrock(), ledger)
        [entry] = ledger.entries()
        assert (entry.usage.reasoning, entry.usage.output) == (30, 80)
        assert entry.cost == REGIONAL

    @once_or_streamed
    async def test_keeps_the_tier_that_served_it(
        self, chat_bedrock, bedrock_server, ledger, call
    ):
        bedrock_server.reply(Reply(service_tier="flex"))
        await call(chat_bedrock(), ledger)
        [entry] = ledger.entries()
        assert entry.usage.service_tier == "flex"

    @once_or_streamed
    async def test_without_usage_is_estimated_and_flagged(
        self, chat_bedrock, bedrock_server, ledger, call
    ):
        bedrock_server.reply(Reply(text="One two three four.", usage={}))
        await call(chat_bedrock(), ledger)
        [entry] = ledger.entries()
        assert entry.estimated
        assert entry.usage == estimate(ledger, "One two three four.")
        assert entry.cost.total > 0

    @once_or_streamed
    async def test_counts_tool_schemas_and_calls_as_part_of_it(
        self, chat_bedrock, bedrock_server, ledger, call
    ):
        asked = ToolCall(name="add", args={"a": 1, "b": 2})
        bedrock_server.reply(Reply(tool_calls=(asked,)))
        await call(chat_bedrock().bind_tools([add]), ledger)
        [entry] = ledger.entries()
        assert (entry.usage, entry.cost) == (USAGE, REGIONAL)
        assert entry.anatomy.tools > 0


class TestHiddenModels:
    @once_or_streamed
    async def test_an_application_profile_costs_what_its_base_model_costs(
        self, chat_bedrock, ledger, call
    ):
        model = chat_bedrock(model=PROFILE, provider="anthropic", base_model_id=SONNET)
        await call(model, ledger)
        [entry] = ledger.entries()
        assert entry.cost == REGIONAL

    @once_or_streamed
    async def test_an_arn_that_hides_its_model_is_unpriced(
        self, chat_bedrock, ledger, call
    ):
        await call(chat_bedrock(model=PROVISIONED, provider="anthropic"), ledger)
        [entry] = ledger.entries()
        assert (entry.usage, entry.cost, entry.unpriced) == (USAGE, None, True)

    async def test_an_arn_may_be_given_a_price(self, chat_bedrock):
        with charged(PriceBook().with_price(PROVISIONED, **OWN)) as ledger:
            await invoke(chat_bedrock(model=PROVISIONED, provider="anthropic"), ledger)
            assert ledger.totals().cost == OWN_TOTAL


def estimate(ledger: TokenLedger, text: str) -> TokenUsage:
    """What the ledger's counter makes of the question and an answer."""
    count = ledger.counter.count
    return TokenUsage(
        input=count([HumanMessage("hi")], model=CLAUDE),
        output=count(text, model=CLAUDE) if text else 0,
    )


class TestTroubles:
    async def test_a_failed_try_costs_nothing_and_the_next_one_its_price(
        self, chat_bedrock, bedrock_server, ledger
    ):
        bedrock_server.reply(Reply(status=429, text="slow down"), Reply())
        model = chat_bedrock().with_retry(
            stop_after_attempt=2, wait_exponential_jitter=False
        )
        await invoke(model, ledger)
        failed, served = ledger.entries()
        assert (failed.failed, failed.usage) == (True, TokenUsage())
        assert (failed.cost, served.cost) == (Cost(), REGIONAL)

    async def test_a_fallback_is_charged_and_the_failure_is_not(
        self, chat_bedrock, bedrock_server, ledger
    ):
        bedrock_server.reply(Reply(status=503, text="down"), Reply())
        other = chat_bedrock(model=f"global.{SONNET}")
        await chat_bedrock().with_fallbacks([other]).ainvoke("hi", attached(ledger))
        totals = ledger.totals(by="model")
        assert (totals[CLAUDE].cost, totals[CLAUDE].flags) == (0, {"failed": 1})
        assert totals[f"global.{SONNET}"].cost == GLOBAL

    async def test_a_refused_call_raises_as_without_a_ledger(
        self, chat_bedrock, bedrock_server, ledger
    ):
        bedrock_server.reply(Reply(status=403, text="no"))
        with pytest.raises(ClientError, match="no"):
            await invoke(chat_bedrock(), ledger)
        assert ledger.totals().cost == 0

    @pytest.mark.parametrize("call", [stream, astream])
    async def test_a_stream_that_breaks_is_charged_for_what_came(
        self, chat_bedrock, bedrock_server, ledger, call
    ):
        bedrock_server.reply(Reply(text="One two three four.", drop_after=3))
        with pytest.raises(ProtocolError):
            await call(chat_bedrock(), ledger)
        [entry] = ledger.entries()
        assert (entry.failed, entry.estimated) == (True, True)
        assert entry.usage == estimate(ledger, "One two ")
        assert entry.cost.output == entry.usage.output * Decimal("0.0000165")

    async def test_a_cancelled_call_is_abandoned_once_its_run_has_ended(
        self, chat_bedrock, bedrock_server: ProviderServer, ledger
    ):
        gate = threading.Event()
        bedrock_server.reply(Reply(gate=gate))
        chain = RunnableLambda(lambda text: text) | chat_bedrock()
        task = asyncio.create_task(chain.ainvoke("hi", attached(ledger)))
        await asyncio.to_thread(bedrock_server.wait_for, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        [entry] = ledger.entries()
        gate.set()
        assert (entry.abandoned, entry.estimated) == (True, True)
        assert entry.usage == estimate(ledger, "")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class TestGraphs:
    @pytest.fixture
    def graph(self, chat_bedrock: MakeChatBedrock) -> Any:
        """Two nodes in parallel, each with a model of its own."""
        models = {"far": chat_bedrock(model=f"global.{SONNET}"), "near": chat_bedrock()}
        builder = StateGraph(MessagesState)
        for name, model in models.items():
            builder.add_node(
                name,
                lambda state, model=model: {
                    "messages": [model.invoke(state["messages"])]
                },
            )
            builder.add_edge(START, name)
        return builder.compile()

    def test_parallel_nodes_are_told_apart(self, graph, ledger):
        graph.invoke({"messages": [HumanMessage("hi")]}, attached(ledger))
        totals = ledger.totals(by="node")
        assert {node: t.cost for node, t in totals.items()} == {
            "far": GLOBAL,
            "near": REGIONAL.total,
        }

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_an_agent_s_steps_and_tools_are_accounted_for(
        self, chat_bedrock, bedrock_server, ledger, asynchronous
    ):
        agents = pytest.importorskip("langchain.agents")
        asked = ToolCall(name="add", args={"a": 1, "b": 2})
        bedrock_server.reply(Reply(tool_calls=(asked,)), Reply(text="3"))
        agent = agents.create_agent(chat_bedrock(), [add], name="adder")
        state = {"messages": [HumanMessage("What is 1 + 2?")]}
        config = attached(ledger) | {"metadata": {"user_id": "ada"}}
        if asynchronous:
            answer = await agent.ainvoke(state, config)
        else:
            answer = agent.invoke(state, config)
        assert answer["messages"][-1].text == "3"
        assert [entry.agent for entry in ledger.entries()] == ["adder", "adder"]
        assert ledger.totals(by="user_id")["ada"].cost == 2 * REGIONAL.total
        assert [step.name for step in ledger.steps() if step.kind == "tool"] == ["add"]
