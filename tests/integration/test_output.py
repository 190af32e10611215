"""Answers that end at their JSON value, from real clients over HTTP."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

from langchain_lean import Budget, BudgetGuard, TokenLedger
from langchain_lean.context.output import concise, stop_at_json
from tests.integration import provider_server
from tests.integration.conftest import MakeChatBedrock, MakeChatOpenAI
from tests.integration.provider_server import ProviderServer, Reply, ToolCall

Ask = Callable[[Any, Any], Awaitable[Any]]

PIECES = ('{"a": "}', '\\"', '", "b"', ": [1]} and", " so on")
VALUE = '{"a": "}\\"", "b": [1]}'
LONG = 30 * ("x" * 1_000_000,)  # more than the sockets on both sides hold


async def invoke(model: Any, config: Any) -> Any:
    return model.invoke("Give.", config)


async def ainvoke(model: Any, config: Any) -> Any:
    return await model.ainvoke("Give.", config)


async def stream(model: Any, config: Any) -> Any:
    first, *others = model.stream("Give.", config)
    return sum(others, first)


async def astream(model: Any, config: Any) -> Any:
    first, *others = [chunk async for chunk in model.astream("Give.", config)]
    return sum(others, first)


every_way = pytest.mark.parametrize("ask", [invoke, ainvoke, stream, astream])


@pytest.fixture(params=["chat", "responses"])
def make(request: pytest.FixtureRequest, chat_openai: MakeChatOpenAI) -> MakeChatOpenAI:
    """A ChatOpenAI on either API."""
    own = {"chat": {"stream_usage": True}, "responses": {"use_responses_api": True}}

    def make(**kwargs: Any) -> Any:
        return chat_openai(**{**own[request.param], **kwargs})

    return make


class Endings(queue.SimpleQueue[str]):
    """How the server's answers ended."""

    async def next(self) -> str:
        return await asyncio.to_thread(self.get, timeout=10)


@pytest.fixture
def endings(monkeypatch: pytest.MonkeyPatch) -> Endings:
    endings = Endings()
    send = provider_server._Handler._send

    def watched(self: Any, *args: Any) -> None:
        try:
            send(self, *args)
        except ConnectionError:
            endings.put("closed by the client")
            raise
        endings.put("sent whole")

    monkeypatch.setattr(provider_server._Handler, "_send", watched)
    return endings


def done(answer: Any) -> list[str]:
    return [note["action"] for note in answer.response_metadata.get("lean", [])]


@every_way
async def test_the_connection_is_closed_at_the_value(
    ask: Ask, make: MakeChatOpenAI, openai_server: ProviderServer, endings: Endings
) -> None:
    ledger, guard = TokenLedger(), BudgetGuard(Budget(tokens=10_000, per="day"))
    openai_server.reply(Reply(stream_chunks=(*PIECES, *LONG)))
    answer = await ask(stop_at_json(make()), {"callbacks": [ledger, guard]})
    assert await endings.next() == "closed by the client"
    assert answer.text == VALUE
    assert done(answer) == ["stopped"]
    (entry,) = ledger.entries()
    assert (entry.stopped_early, entry.failed, entry.estimated) == (True, False, True)
    assert 0 < entry.usage.output < 40
    assert ledger.savings().levers == {}
    (status,) = guard.status()
    assert (status.held, status.used) == (0, entry.usage.input + entry.usage.output)


@every_way
async def test_an_answer_without_a_value_keeps_its_usage(
    ask: Ask, make: MakeChatOpenAI, openai_server: ProviderServer, endings: Endings
) -> None:
    ledger = TokenLedger()
    openai_server.reply(Reply(text="I cannot [really] say."))
    answer = await ask(stop_at_json(make()), {"callbacks": [ledger]})
    assert await endings.next() == "sent whole"
    assert answer.text == "I cannot [really] say."
    (entry,) = ledger.entries()
    assert (entry.stopped_early, entry.estimated) == (False, False)
    assert entry.usage.output == 80


@every_way
async def test_a_tool_call_behind_the_value_comes_through(
    ask: Ask, make: MakeChatOpenAI, openai_server: ProviderServer
) -> None:
    ledger = TokenLedger()
    call = ToolCall(name="look_up", args={"word": "a"})
    openai_server.reply(Reply(text='{"a": 1} is what I found.', tool_calls=(call,)))
    tool = {"title": "look_up", "description": "Look up.", "type": "object"}
    model = stop_at_json(make()).bind_tools([tool | {"properties": {}}])
    answer = await ask(model, {"callbacks": [ledger]})
    assert answer.text == '{"a": 1} is what I found.'
    assert answer.tool_calls[0]["args"] == {"word": "a"}
    (entry,) = ledger.entries()
    assert (entry.stopped_early, entry.usage.output) == (False, 80)


class Person(BaseModel):
    name: str


@pytest.mark.parametrize("ask", [invoke, ainvoke])
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
@pytest.mark.parametrize("wrap", [stop_at_json, concise])
async def test_structured_output_is_parsed_as_ever(
    wrap: Any,
    method: str,
    ask: Ask,
    make: MakeChatOpenAI,
    openai_server: ProviderServer,
) -> None:
    openai_server.reply(Reply(text='{"name": "Ada"}'))
    model = wrap(make()).with_structured_output(Person, method=method)
    assert await ask(model, {}) == Person(name="Ada")


class Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    score: float
    grade: Literal["good", "bad"]


@every_way
async def test_a_flat_object_is_an_ordinary_call_with_a_stop_sequence(
    ask: Ask, chat_openai: MakeChatOpenAI, openai_server: ProviderServer
) -> None:
    ledger = TokenLedger()
    openai_server.reply(Reply(text='{"score": 1, "grade": "good"'))
    model = stop_at_json(chat_openai(stream_usage=True), schema=Verdict)
    answer = await ask(model, {"callbacks": [ledger]})
    assert answer.text == '{"score": 1, "grade": "good"}'
    assert openai_server.requests[0]["stop"] == ["}"]
    (entry,) = ledger.entries()
    assert (entry.stopped_early, entry.estimated) == (False, False)
    assert entry.usage.output == 80


@every_way
@pytest.mark.parametrize(
    "options", [{"use_responses_api": True}, {"model": "gpt-5-mini"}, {"stop": ["\n"]}]
)
async def test_models_that_refuse_a_stop_sequence_get_none(
    ask: Ask, chat_openai: MakeChatOpenAI, openai_server: ProviderServer, options: Any
) -> None:
    openai_server.reply(Reply(text='{"score": 1, "grade": "good"} and on and on.'))
    model = stop_at_json(chat_openai(**options), schema=Verdict)
    answer = await ask(model, {})
    assert answer.text == '{"score": 1, "grade": "good"}'
    assert "}" not in openai_server.requests[0].get("stop", [])


@every_way
async def test_a_concise_answer_is_asked_for_and_capped(
    ask: Ask, make: MakeChatOpenAI, openai_server: ProviderServer
) -> None:
    ledger = TokenLedger()
    openai_server.reply(Reply(text="Because.", truncated=True))
    answer = await ask(concise(make(), max_tokens=50), {"callbacks": [ledger]})
    assert answer.text == "Because."
    assert done(answer) == ["concise", "shortened"]
    request = openai_server.requests[0]
    asked = request.get("messages") or request["input"]
    assert asked[0]["content"] == "Answer in one sentence."
    assert 50 in (
        request.get("max_completion_tokens"),
        request.get("max_output_tokens"),
    )
    (entry,) = ledger.entries()
    assert (entry.stopped_early, entry.usage.output) == (False, 80)


@pytest.mark.parametrize("bound", [False, True])
def test_a_cap_in_the_body_of_a_request_gives_way(
    bound: bool, make: MakeChatOpenAI, openai_server: ProviderServer
) -> None:
    body = {"extra_body": {"max_completion_tokens": 9_000, "max_output_tokens": 9_000}}
    openai_server.reply(Reply(text="Because."))
    model = make().bind(**body) if bound else make(**body)
    concise(model, max_tokens=50).invoke("Why?")
    assert 9_000 not in openai_server.requests[0].values()


def test_a_cap_in_bedrocks_inference_config_gives_way(
    chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
) -> None:
    bedrock_server.reply(Reply(text="Because.", truncated=True))
    model = chat_bedrock().bind(inference_config={"max_tokens": 9_000, "top_p": 0.5})
    answer = concise(model, max_tokens=50).invoke("Why?")
    sent = bedrock_server.requests[0]["inferenceConfig"]
    assert sent == {"maxTokens": 50, "topP": 0.5}
    assert done(answer) == ["concise", "shortened"]


@every_way
async def test_bedrock_is_stopped_at_the_value(
    ask: Ask, chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
) -> None:
    ledger = TokenLedger()
    bedrock_server.reply(Reply(stream_chunks=PIECES))
    answer = await ask(stop_at_json(chat_bedrock()), {"callbacks": [ledger]})
    assert answer.text == VALUE
    (entry,) = ledger.entries()
    assert (entry.stopped_early, entry.failed, entry.estimated) == (True, False, True)


@every_way
async def test_bedrock_takes_a_stop_sequence(
    ask: Ask, chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
) -> None:
    ledger = TokenLedger()
    bedrock_server.reply(Reply(text='{"score": 1, "grade": "good"'))
    model = stop_at_json(chat_bedrock(), schema=Verdict)
    answer = await ask(model, {"callbacks": [ledger]})
    assert answer.text == '{"score": 1, "grade": "good"}'
    sent = bedrock_server.requests[0]["inferenceConfig"]["stopSequences"]
    assert sent == ["}"]
    assert [entry.stopped_early for entry in ledger.entries()] == [False]
