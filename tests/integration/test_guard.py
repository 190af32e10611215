"""Budgets over real OpenAI and Bedrock clients: what is sent, and what is settled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.tools import tool

from langchain_lean import Budget, BudgetExceededError, BudgetGuard, TokenLedger
from tests.integration.conftest import MakeChatBedrock, MakeChatOpenAI
from tests.integration.provider_server import ProviderServer, Reply

MINI = "gpt-5-mini"


@tool
def search(query: str) -> str:
    """Search."""
    return query


Provider = tuple[Any, ProviderServer, Callable[[Any], Any]]


def _sent_to_openai(request: Any) -> Any:
    return request.get("max_completion_tokens", request.get("max_output_tokens"))


def _sent_to_bedrock(request: Any) -> Any:
    return request.get("inferenceConfig", {}).get("maxTokens")


@pytest.fixture(params=["chat", "responses", "converse"])
def provider(request: pytest.FixtureRequest) -> Provider:
    """A model, the server it talks to, and the cap that a request carries."""
    if request.param == "converse":
        chat_bedrock: MakeChatBedrock = request.getfixturevalue("chat_bedrock")
        server = request.getfixturevalue("bedrock_server")
        return chat_bedrock(), server, _sent_to_bedrock
    chat_openai: MakeChatOpenAI = request.getfixturevalue("chat_openai")
    server = request.getfixturevalue("openai_server")
    responses = request.param == "responses"
    model = chat_openai(model=MINI, use_responses_api=responses, stream_usage=True)
    return model, server, _sent_to_openai


async def invoke(model: Any, config: Any) -> None:
    model.invoke("hi", config)


async def ainvoke(model: Any, config: Any) -> None:
    await model.ainvoke("hi", config)


async def stream(model: Any, config: Any) -> None:
    list(model.stream("hi", config))


async def astream(model: Any, config: Any) -> None:
    _ = [chunk async for chunk in model.astream("hi", config)]


Way = Callable[[Any, Any], Awaitable[None]]
every_way = pytest.mark.parametrize("call", [invoke, ainvoke, stream, astream])


@every_way
async def test_what_is_settled_is_what_the_ledger_books(
    provider: Provider, call: Way
) -> None:
    model, _, _ = provider
    ledger = TokenLedger()
    guard = BudgetGuard(
        Budget(usd="1", per="day"), Budget(tokens=10**6, per="day"), ledger=ledger
    )
    await call(model, {"callbacks": [ledger, guard]})
    usd, tokens = guard.status()
    assert usd.used == round(ledger.totals().cost, 9)
    assert tokens.used == ledger.totals().usage.total
    assert (usd.held, tokens.held) == (0, 0)


@every_way
async def test_a_refused_call_sends_nothing(provider: Provider, call: Way) -> None:
    model, server, _ = provider
    ledger = TokenLedger()
    guard = BudgetGuard(Budget(calls=0, per="day"), ledger=ledger)
    for asked in (model, model.bind_tools([search]), guard.model(model)):
        with pytest.raises(BudgetExceededError):
            await call(asked, {"callbacks": [ledger, guard]})
    assert server.requests == []
    assert [entry.blocked for entry in ledger.entries()] == [True] * 3


@every_way
async def test_a_failed_call_frees_what_it_reserved(
    provider: Provider, call: Way
) -> None:
    model, server, _ = provider
    guard = BudgetGuard(Budget(usd="1", per="day"), Budget(calls=9, per="day"))
    server.reply(Reply(status=429))
    with pytest.raises(Exception):  # noqa: B017, PT011 - each provider has its own
        await call(model, {"callbacks": [guard]})
    assert [(s.used, s.held) for s in guard.status()] == [(0, 0), (0, 0)]


@every_way
async def test_a_shortened_call_carries_its_cap(provider: Provider, call: Way) -> None:
    model, server, cap_of = provider
    guard = BudgetGuard(Budget(output_tokens=200, per="call"))
    await call(guard.model(model), {})
    await call(guard.model(model).bind_tools([search]), {})
    assert [cap_of(request) for request in server.requests] == [200, 200]


async def test_exact_carries_what_is_reserved(provider: Provider) -> None:
    model, server, cap_of = provider
    guard = BudgetGuard(Budget(tokens=5_000, per="call"))
    guard.model(model, exact=True).invoke("hi")
    assert [cap_of(request) for request in server.requests] == [1_024]


async def test_without_a_cap_none_is_sent(provider: Provider) -> None:
    model, server, cap_of = provider
    guard = BudgetGuard(Budget(tokens=5_000, per="call"))
    guard.model(model).invoke("hi")
    assert [cap_of(request) for request in server.requests] == [None]


async def test_the_callers_cap_is_what_is_reserved(provider: Provider) -> None:
    model, _, _ = provider
    guard = BudgetGuard(Budget(output_tokens=300, per="call"))
    capped = model.model_copy(update={"max_tokens": 300})
    capped.invoke("hi", {"callbacks": [guard]})
    with pytest.raises(BudgetExceededError) as caught:
        capped.model_copy(update={"max_tokens": 301}).invoke(
            "hi", {"callbacks": [guard]}
        )
    assert caught.value.requested == 301
    with pytest.raises(BudgetExceededError) as caught:
        capped.invoke("hi", {"callbacks": [guard]}, max_tokens=305)
    assert caught.value.requested == 305
