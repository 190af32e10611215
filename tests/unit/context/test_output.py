"""Models that write less: what is sent, what is passed on, and what is written down."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.load import dumps
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    message_chunk_to_message,
)
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel, ConfigDict, Field

from langchain_lean import Budget, BudgetGuard, TokenLedger
from langchain_lean.context.answers.json_answer import JsonAnswer
from langchain_lean.context.output import concise, stop_at_json
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ScriptedChatModel

Ask = Callable[..., Awaitable[AIMessage]]


def merged(chunks: list[Any]) -> Any:
    return sum(chunks[1:], chunks[0])


async def invoke(model: Any, prompt: Any, config: Any = None, **options: Any) -> Any:
    return model.invoke(prompt, config, **options)


async def ainvoke(model: Any, prompt: Any, config: Any = None, **options: Any) -> Any:
    return await model.ainvoke(prompt, config, **options)


async def stream(model: Any, prompt: Any, config: Any = None, **options: Any) -> Any:
    return merged(list(model.stream(prompt, config, **options)))


async def astream(model: Any, prompt: Any, config: Any = None, **options: Any) -> Any:
    return merged([c async for c in model.astream(prompt, config, **options)])


async def batch(model: Any, prompt: Any, config: Any = None, **options: Any) -> Any:
    return model.batch([prompt], config, **options)[0]


async def abatch(model: Any, prompt: Any, config: Any = None, **options: Any) -> Any:
    return (await model.abatch([prompt], config, **options))[0]


async def batch_as_completed(
    model: Any, prompt: Any, config: Any = None, **options: Any
) -> Any:
    return next(iter(model.batch_as_completed([prompt], config, **options)))[1]


async def abatch_as_completed(
    model: Any, prompt: Any, config: Any = None, **options: Any
) -> Any:
    pairs = model.abatch_as_completed([prompt], config, **options)
    return await anext(answer async for _, answer in pairs)


async def transform(model: Any, prompt: Any, config: Any = None, **options: Any) -> Any:
    return merged(list(model.transform(iter([prompt]), config, **options)))


async def atransform(
    model: Any, prompt: Any, config: Any = None, **options: Any
) -> Any:
    async def only() -> AsyncIterator[Any]:
        yield prompt

    return merged([c async for c in model.atransform(only(), config, **options)])


calls = [invoke, ainvoke, stream, astream]
every_way = pytest.mark.parametrize("ask", calls)
every_entry = pytest.mark.parametrize(
    "ask",
    [
        *calls,
        batch,
        abatch,
        batch_as_completed,
        abatch_as_completed,
        transform,
        atransform,
    ],
)


def done(answer: AIMessage) -> list[str]:
    return [note["action"] for note in answer.response_metadata.get("lean", [])]


def said(answer: AIMessage) -> list[tuple[str, str]]:
    notes = answer.response_metadata.get("lean", [])
    return [(note["action"], note["reason"]) for note in notes]


INCOMPLETE = ("stopped", "the answer ended before its JSON value was complete")


def scripted(*answers: Any, **kwargs: Any) -> ScriptedChatModel:
    return ScriptedChatModel(responses=answers or ["So it is."], loop=True, **kwargs)


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return word


@tool
def count(words: str) -> int:
    """Count words."""
    return len(words)


class Person(BaseModel):
    name: str


class Pieces(BaseChatModel):
    """A stand-in that streams the messages it is given, and says when it is closed."""

    pieces: list[AIMessageChunk]
    sent: list[str] = Field(default_factory=list)
    closed: list[bool] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "pieces"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=["tool" for _ in tools], **kwargs)

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        message = message_chunk_to_message(merged(self.pieces))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        try:
            for piece in self.pieces:
                self.sent.append(str(piece.text))
                yield ChatGenerationChunk(message=piece.model_copy())
        finally:
            self.closed.append(True)


def chunks(*contents: Any) -> list[AIMessageChunk]:
    return [
        content
        if isinstance(content, AIMessageChunk)
        else AIMessageChunk(content=content)
        for content in contents
    ]


CALL = AIMessageChunk(
    content="",
    tool_call_chunks=[{"name": "look_up", "args": "{}", "id": "1", "index": 0}],
)
USAGE = AIMessageChunk(
    content="",
    usage_metadata={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
)
STOP = AIMessageChunk(content="", response_metadata={"finish_reason": "stop"})
VALUE = '{"a": "} \\" [", "b": [1, {}]}'
TALK = " I hope that this helps. Is there more that I can do?"


class TestConcise:
    @every_entry
    async def test_every_way_of_asking_sends_the_instruction(self, ask: Ask) -> None:
        model = scripted()
        answer = await ask(concise(model), "Why?")
        assert answer.text == "So it is."
        assert done(answer) == ["concise"]
        (call,) = model.calls
        assert [m.text for m in call.messages] == ["Answer in one sentence.", "Why?"]

    async def test_events_show_the_call_with_its_instruction(self) -> None:
        model = scripted()
        events = [e async for e in concise(model).astream_events("Why?", version="v2")]
        assert {e["event"] for e in events} == {
            "on_chat_model_start",
            "on_chat_model_stream",
            "on_chat_model_end",
        }
        assert model.calls[0].messages[0].text == "Answer in one sentence."

    @pytest.mark.parametrize(
        ("sentences", "instruction"),
        [(1, "Answer in one sentence."), (3, "Answer in at most 3 sentences.")],
    )
    def test_the_instruction_names_the_sentences(
        self, sentences: int, instruction: str
    ) -> None:
        model = scripted()
        concise(model, sentences=sentences).invoke("Why?")
        assert model.calls[0].messages[0].text == instruction

    @pytest.mark.parametrize(
        "prompt",
        [
            "Why?",
            ["Why?"],
            [("user", "Why?")],
            [{"role": "user", "content": "Why?"}],
            [HumanMessage("Why?")],
            ChatPromptTemplate.from_messages([("human", "Why?")]).invoke({}),
        ],
    )
    def test_it_takes_all_that_a_model_takes(self, prompt: Any) -> None:
        model = scripted()
        concise(model).invoke(prompt)
        assert [m.type for m in model.calls[0].messages] == ["system", "human"]
        assert model.calls[0].messages[1].text == "Why?"

    def test_the_instruction_ends_the_first_system_message(self) -> None:
        model = scripted()
        prompt = [SystemMessage("One."), SystemMessage("Two."), HumanMessage("Why?")]
        concise(model).invoke(prompt)
        assert [m.text for m in model.calls[0].messages] == [
            "One.\n\nAnswer in one sentence.",
            "Two.",
            "Why?",
        ]
        assert prompt[0].content == "One."

    def test_a_cache_point_of_the_system_message_stays_where_it_was(self) -> None:
        model = scripted()
        cached = {
            "type": "text",
            "text": "Long.",
            "cache_control": {"type": "ephemeral"},
        }
        prompt = [SystemMessage([cached]), HumanMessage("Why?")]
        concise(model).invoke(prompt)
        assert model.calls[0].messages[0].content == [
            cached,
            {"type": "text", "text": "Answer in one sentence."},
        ]
        assert prompt[0].content == [cached]

    @every_way
    async def test_an_answer_that_ends_on_the_cap_says_so(self, ask: Ask) -> None:
        answer = await ask(concise(scripted("word " * 50), max_tokens=5), "Why?")
        assert answer.text.strip() == "word word word word word"
        assert done(answer) == ["concise", "shortened"]

    async def test_an_answer_below_the_cap_is_only_concise(self) -> None:
        answer = concise(scripted(), max_tokens=50).invoke("Why?")
        assert done(answer) == ["concise"]

    @pytest.mark.parametrize(
        "said_so",
        [
            {"finish_reason": "length"},
            {"stop_reason": "max_tokens"},
            {"stopReason": "max_tokens"},
            {"done_reason": "length"},
            {
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
            },
        ],
    )
    @every_way
    async def test_every_provider_says_in_its_way_that_the_cap_was_met(
        self, ask: Ask, said_so: Any
    ) -> None:
        end = AIMessageChunk(content="", response_metadata=said_so)
        model = concise(Pieces(pieces=chunks("So it", end)), max_tokens=2)
        assert done(await ask(model, "Why?")) == ["concise", "shortened"]

    @pytest.mark.parametrize(
        "said_so",
        [
            {"done_reason": "stop"},
            {
                "status": "incomplete",
                "incomplete_details": {"reason": "content_filter"},
            },
            {"status": "completed", "incomplete_details": None},
        ],
    )
    def test_other_endings_are_not_the_cap(self, said_so: Any) -> None:
        model = scripted(AIMessage("So.", response_metadata=said_so))
        assert done(concise(model, max_tokens=2).invoke("Why?")) == ["concise"]

    @pytest.mark.parametrize("name", ["inferenceConfig", "inference_config"])
    def test_a_cap_bound_in_an_inference_config_gives_way(self, name: str) -> None:
        model = scripted()
        config = {"maxTokens": 5_000, "temperature": 0}
        concise(model.bind(**{name: config}), max_tokens=50).invoke("Why?")
        sent = model.calls[0].kwargs[name]
        assert sent == {"maxTokens": 50, "temperature": 0}
        assert config["maxTokens"] == 5_000

    def test_an_inference_config_without_a_cap_gets_one(self) -> None:
        model = scripted()
        bound = model.bind(inferenceConfig={"temperature": 0})
        concise(bound, max_tokens=50).invoke("Why?")
        assert model.calls[0].kwargs["inferenceConfig"]["maxTokens"] == 50

    @pytest.mark.parametrize("name", ["extra_body", "model_kwargs"])
    def test_a_cap_bound_in_the_body_of_the_request_gives_way(self, name: str) -> None:
        model = scripted()
        bound = model.bind(**{name: {"max_tokens": 5_000, "ttl": 3}})
        concise(bound, max_tokens=50).invoke("Why?")
        assert model.calls[0].kwargs[name] == {"ttl": 3}

    def test_a_cap_in_a_field_for_the_body_gives_way(self) -> None:
        class WithBody(ScriptedChatModel):
            extra_body: dict[str, Any] | None = None

        model = WithBody(responses=[], extra_body={"max_tokens": 5_000, "ttl": 3})
        inner = concise(model, max_tokens=50).bound
        assert (inner.extra_body, inner.max_tokens) == ({"ttl": 3}, 50)
        assert model.extra_body == {"max_tokens": 5_000, "ttl": 3}

    @pytest.mark.parametrize(
        "options",
        [
            {"thinking": {"type": "enabled", "budget_tokens": 50}},
            {"additional_model_request_fields": {"thinking": {"budget_tokens": 99}}},
        ],
    )
    @pytest.mark.parametrize("bound", [False, True])
    def test_a_cap_must_leave_room_for_the_thoughts(
        self, options: Any, bound: bool
    ) -> None:
        class Thinker(ScriptedChatModel):
            thinking: Any = None
            additional_model_request_fields: Any = None

        model: Any = Thinker(responses=[], **({} if bound else options))
        if bound:
            model = model.bind(**options)
        with pytest.raises(ConfigurationError, match="Give max_tokens= more than the"):
            concise(model, max_tokens=50)
        concise(model, max_tokens=100)
        concise(model)

    def test_a_cap_leaves_the_model_as_it_was(self) -> None:
        model = scripted()
        concise(model, max_tokens=5)
        assert model.max_tokens is None

    @every_way
    async def test_tools_pass_through(self, ask: Ask) -> None:
        call = {"name": "look_up", "args": {"word": "a"}, "id": "1"}
        model = scripted(AIMessage("", tool_calls=[call]))
        answer = await ask(concise(model).bind_tools([look_up]), "Why?")
        assert answer.tool_calls[0]["args"] == {"word": "a"}
        assert done(answer) == ["concise"]
        assert len(model.calls[0].kwargs["tools"]) == 1

    def test_what_is_bound_outlives_bound_tools(self) -> None:
        model = scripted()
        concise(model.bind(seed=1)).bind_tools([look_up]).invoke("Why?")
        assert model.calls[0].kwargs["seed"] == 1
        assert "tools" in model.calls[0].kwargs

    @every_way
    async def test_structured_output_is_asked_for_with_the_instruction(
        self, ask: Ask
    ) -> None:
        model = scripted({"name": "Ada"})
        person = await ask(concise(model).with_structured_output(Person), "Who?")
        assert person == Person(name="Ada")
        assert model.calls[0].messages[0].text == "Answer in one sentence."

    @every_way
    async def test_the_raw_message_of_structured_output_carries_the_note(
        self, ask: Ask
    ) -> None:
        model = concise(scripted({"name": "Ada"}))
        structured = model.with_structured_output(Person, include_raw=True)
        answer = await ask(structured, "Who?")
        assert done(answer["raw"]) == ["concise"]
        assert answer["parsed"] == Person(name="Ada")

    @every_way
    async def test_the_ledger_sees_one_call_that_ended_well(self, ask: Ask) -> None:
        ledger = TokenLedger()
        await ask(concise(scripted()), "Why?", {"callbacks": [ledger]})
        (entry,) = ledger.entries()
        assert (entry.stopped_early, entry.failed, entry.estimated) == (False,) * 3

    def test_a_cached_answer_is_noted_once_each_time(self) -> None:
        model = concise(scripted(cache=InMemoryCache()))
        assert [done(model.invoke("Why?")) for _ in range(3)] == [["concise"]] * 3

    def test_it_works_in_a_chain_with_retries_and_options(self) -> None:
        model = scripted(ConnectionError("Gone."), "So it is.")
        retried = concise(model).bind(seed=1).with_retry(wait_exponential_jitter=False)
        chain = ChatPromptTemplate.from_template("{q}") | retried | StrOutputParser()
        assert chain.invoke({"q": "Why?"}) == "So it is."
        assert [call.kwargs for call in model.calls] == [{"seed": 1}] * 2

    def test_it_works_with_fallbacks(self) -> None:
        model = concise(scripted(ConnectionError("Gone.")))
        answer = model.with_fallbacks([scripted("Instead.")]).invoke("Why?")
        assert answer.text == "Instead."

    @every_way
    async def test_a_guard_caps_the_model_inside(self, ask: Ask) -> None:
        guard = BudgetGuard(Budget(output_tokens=100, per="call"))
        model = guard.model(concise(scripted("word " * 500)), when_over=["shorten"])
        answer = await ask(model, "Why?")
        assert answer.text.count("word") == 100
        assert done(answer)[0] == "concise"

    def test_it_can_be_dumped(self) -> None:
        assert "not_implemented" in dumps(concise(scripted()))

    @pytest.mark.parametrize("number", [0, -1, True, 1.5, "2"])
    @pytest.mark.parametrize("name", ["sentences", "max_tokens"])
    def test_numbers_must_be_whole_and_positive(self, name: str, number: Any) -> None:
        with pytest.raises(ConfigurationError, match=f"{name}= is a whole number"):
            concise(scripted(), **{name: number})

    @pytest.mark.parametrize("wrap", [concise, stop_at_json])
    @pytest.mark.parametrize("tags", [False, True])
    def test_a_guarded_model_is_to_be_turned_around(
        self, wrap: Any, tags: bool
    ) -> None:
        guard = BudgetGuard(Budget(tokens=100, per="day"))
        model: Any = guard.model(scripted())
        if tags:
            model = model.with_config(tags=["a"])
        with pytest.raises(
            ConfigurationError, match=rf"guard.model\({wrap.__name__}\(model\)\)"
        ):
            wrap(model)

    @pytest.mark.parametrize("wrap", [concise, stop_at_json])
    @pytest.mark.parametrize("thing", ["gpt-5", None, RunnableLambda(str)])
    def test_it_takes_only_models(self, wrap: Any, thing: Any) -> None:
        with pytest.raises(ConfigurationError, match="It takes a chat model"):
            wrap(thing)


class TestStopAtJson:
    @every_entry
    async def test_every_way_of_asking_stops_at_the_value(self, ask: Ask) -> None:
        ledger = TokenLedger()
        config = {"callbacks": [ledger]}
        answer = await ask(stop_at_json(scripted(VALUE + TALK)), "Give.", config)
        assert answer.text == VALUE
        assert done(answer) == ["stopped"]
        (entry,) = ledger.entries()
        assert entry.stopped_early
        assert entry.estimated
        assert not entry.failed
        assert ledger.savings().levers == {}

    @every_way
    async def test_text_before_the_value_stays(self, ask: Ask) -> None:
        answer = await ask(stop_at_json(scripted("Here: " + VALUE + TALK)), "Give.")
        assert answer.text == "Here: " + VALUE

    @every_way
    async def test_nothing_is_read_behind_the_value(self, ask: Ask) -> None:
        model = Pieces(pieces=chunks('{"a"', ": 1} and", " on", " and on"))
        assert (await ask(stop_at_json(model), "Give.")).text == '{"a": 1}'
        assert model.sent == ['{"a"', ": 1} and"]

    def test_the_stream_is_closed_before_the_last_text_is_passed_on(self) -> None:
        model = Pieces(pieces=chunks('{"a"', ": 1} and", " on"))
        pieces = stop_at_json(model).stream("Give.")
        assert next(pieces).text == '{"a"'
        assert model.closed == []
        assert next(pieces).text == ": 1}"
        assert model.closed == [True]
        assert [p.text for p in pieces] == [""]

    def test_a_caller_who_leaves_early_closes_the_call(self) -> None:
        ledger = TokenLedger()
        model = stop_at_json(scripted("Here: " + VALUE))
        pieces: Any = model.stream("Give.", {"callbacks": [ledger]})
        next(pieces)
        pieces.close()
        assert [e.stopped_early for e in ledger.entries()] == [True]

    async def test_a_caller_who_leaves_early_closes_the_async_call(self) -> None:
        ledger = TokenLedger()
        model = stop_at_json(scripted("Here: " + VALUE).bind(seed=1))
        pieces: Any = model.astream("Give.", {"callbacks": [ledger]})
        await anext(pieces)
        await pieces.aclose()
        assert [e.stopped_early for e in ledger.entries()] == [True]

    async def test_a_cancelled_call_is_stopped_in_the_ledger(self) -> None:
        ledger = TokenLedger()
        started = asyncio.Event()

        async def never(_: float) -> None:
            started.set()
            await asyncio.Event().wait()

        model = stop_at_json(scripted(VALUE, asleep=never))
        task = asyncio.create_task(model.ainvoke("Give.", {"callbacks": [ledger]}))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [e.stopped_early for e in ledger.entries()] == [True]

    @every_way
    async def test_a_guard_settles_what_it_reserved(self, ask: Ask) -> None:
        guard = BudgetGuard(Budget(tokens=10_000, per="day"))
        model = stop_at_json(scripted(VALUE + TALK))
        await ask(model, "Give.", {"callbacks": [guard]})
        await ask(guard.model(model), "Give.")
        (status,) = guard.status()
        assert status.held == 0
        assert 0 < status.used < 100

    async def test_events_show_the_call(self) -> None:
        model = stop_at_json(scripted(VALUE + TALK))
        events = [e async for e in model.astream_events("Give.", version="v2")]
        shown = [e["data"]["chunk"].text for e in events if "chunk" in e["data"]]
        assert "".join(shown) == VALUE

    @every_way
    async def test_an_answer_without_json_comes_back_whole(self, ask: Ask) -> None:
        ledger = TokenLedger()
        model = stop_at_json(scripted("I cannot [really] say {that}."))
        answer = await ask(model, "Give.", {"callbacks": [ledger]})
        assert answer.text == "I cannot [really] say {that}."
        assert done(answer) == []
        assert answer.usage_metadata is not None
        assert not next(ledger.entries()).stopped_early

    @every_way
    async def test_a_value_that_is_cut_comes_back_as_it_is(self, ask: Ask) -> None:
        answer = await ask(stop_at_json(scripted('{"a": "b', max_tokens=3)), "Give.")
        assert answer.response_metadata["finish_reason"] == "length"
        assert done(answer) == []

    @every_way
    async def test_blocks_are_cut_where_the_value_ends(self, ask: Ask) -> None:
        thought = {"type": "thinking", "thinking": '{"no": 1}', "index": 0}
        text = {"type": "text", "index": 1}
        model = Pieces(
            pieces=chunks(
                [thought],
                [{**text, "text": '{"a": '}],
                [{**text, "text": "1} so"}, {"type": "text", "text": "on", "index": 2}],
            )
        )
        answer = await ask(stop_at_json(model), "Give.")
        assert answer.content == [thought, {**text, "text": '{"a": 1}'}]

    @every_way
    async def test_strings_among_blocks_are_cut_too(self, ask: Ask) -> None:
        model = Pieces(pieces=chunks(['{"a": 1}', " and on"]))
        answer = await ask(stop_at_json(model), "Give.")
        assert answer.content == ['{"a": 1}']

    @every_way
    async def test_a_model_that_does_not_stream_loses_only_the_talk(
        self, ask: Ask
    ) -> None:
        ledger = TokenLedger()
        model = stop_at_json(scripted(VALUE + TALK, disable_streaming=True))
        answer = await ask(model, "Give.", {"callbacks": [ledger]})
        assert answer.text == VALUE
        assert done(answer) == ["cut"]
        assert answer.usage_metadata is not None
        assert not next(ledger.entries()).stopped_early

    def test_a_model_that_does_not_stream_may_end_at_the_value(self) -> None:
        answer = stop_at_json(scripted(VALUE, disable_streaming=True)).invoke("Give.")
        assert done(answer) == []

    def test_other_stand_ins_work_as_well(self) -> None:
        model = GenericFakeChatModel(messages=iter([AIMessage(VALUE + TALK)]))
        assert stop_at_json(model).invoke("Give.").text == VALUE

    def test_chains_parse_what_comes(self) -> None:
        chain = stop_at_json(scripted(VALUE + TALK)) | JsonOutputParser()
        assert chain.invoke("Give.") == json.loads(VALUE)
        assert list(chain.stream("Give."))[-1] == json.loads(VALUE)

    def test_options_and_configuration_reach_the_model(self) -> None:
        ledger = TokenLedger()
        model = scripted(VALUE + TALK)
        bound = model.bind(seed=1).with_config(tags=["inner"])
        wrapped = stop_at_json(bound).bind(top_p=1).with_config(tags=["outer"])
        wrapped.invoke("Give.", {"callbacks": [ledger]}, top_k=2)
        assert model.calls[0].kwargs == {"seed": 1, "top_p": 1, "top_k": 2}
        assert set(next(ledger.entries()).tags) == {"inner", "outer"}

    def test_retries_go_around(self) -> None:
        model = scripted(ConnectionError("Gone."), VALUE + TALK)
        retried = stop_at_json(model).with_retry(wait_exponential_jitter=False)
        assert retried.invoke("Give.").text == VALUE

    @pytest.mark.parametrize("bound", [False, True])
    def test_retries_inside_are_refused(self, bound: bool) -> None:
        model = scripted().bind(seed=1) if bound else scripted()
        with pytest.raises(ConfigurationError, match="Call with_retry on stop_at_json"):
            stop_at_json(model.with_retry())

    @every_way
    async def test_fallbacks_go_around(self, ask: Ask) -> None:
        bad, good = scripted(ConnectionError("Gone.")), scripted(VALUE + TALK)
        around = stop_at_json(bad).with_fallbacks([stop_at_json(good)])
        assert (await ask(around, "Give.")).text == VALUE

    @pytest.mark.parametrize("wrap", [lambda m: m, lambda m: m.bind(seed=1), concise])
    def test_fallbacks_inside_are_refused(self, wrap: Any) -> None:
        model = wrap(scripted().with_fallbacks([scripted()]))
        words = r"stop_at_json\(m\).with_fallbacks\(\[stop_at_json\(other\)\]\)"
        with pytest.raises(ConfigurationError, match=words):
            stop_at_json(model)

    @every_way
    async def test_it_goes_together_with_concise(self, ask: Ask) -> None:
        for model in (
            stop_at_json(concise(scripted(VALUE + TALK))),
            concise(stop_at_json(scripted(VALUE + TALK))),
        ):
            answer = await ask(model, "Give.")
            assert answer.text == VALUE
            assert sorted(done(answer)) == ["concise", "stopped"]

    def test_a_parser_inside_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="parsers behind it"):
            stop_at_json(scripted() | StrOutputParser())

    @pytest.mark.parametrize("schema", ["{}", 1, int])
    def test_a_schema_is_a_mapping_or_a_class(self, schema: Any) -> None:
        with pytest.raises(ConfigurationError, match="Give schema= a JSON schema"):
            stop_at_json(scripted(), schema=schema)

    @every_way
    async def test_a_schema_says_which_bracket_begins_the_value(self, ask: Ask) -> None:
        text = '["b"] then {"name": "Ada"}'
        answer = await ask(stop_at_json(scripted(text + TALK), schema=Person), "Give.")
        assert answer.text == text

    @every_way
    async def test_structured_output_is_the_models_own(self, ask: Ask) -> None:
        model = stop_at_json(scripted({"name": "Ada"}).bind(seed=1))
        assert await ask(model.with_structured_output(Person), "Who?") == Person(
            name="Ada"
        )


class TestTools:
    @every_way
    async def test_a_call_with_tools_passes_through_to_its_end(self, ask: Ask) -> None:
        ledger = TokenLedger()
        model = Pieces(pieces=chunks('{"a": 1}', " and so on.", CALL, USAGE))
        wrapped = stop_at_json(model).bind_tools([look_up])
        answer = await ask(wrapped, "Give.", {"callbacks": [ledger]})
        assert answer.text == '{"a": 1} and so on.'
        assert answer.tool_calls[0]["name"] == "look_up"
        assert done(answer) == []
        (entry,) = ledger.entries()
        assert (entry.stopped_early, entry.usage.output) == (False, 4)

    @every_way
    async def test_a_whole_answer_with_tools_is_not_cut(self, ask: Ask) -> None:
        model = scripted(VALUE + TALK, disable_streaming=True)
        answer = await ask(stop_at_json(model).bind_tools([look_up]), "Give.")
        assert answer.text == VALUE + TALK

    @pytest.mark.parametrize("tool_choice", [None, "auto", {"type": "auto"}])
    @pytest.mark.parametrize("place", ["outside", "inside", "call"])
    def test_tools_count_wherever_they_are_given(
        self, place: str, tool_choice: Any
    ) -> None:
        model: Any = Pieces(pieces=chunks(VALUE, TALK))
        options = {"tools": ["tool"], "tool_choice": tool_choice}
        if place == "inside":
            model = stop_at_json(model.bind(**options))
        else:
            model = stop_at_json(model)
        if place == "outside":
            model = model.bind(**options)
        given = options if place == "call" else {}
        assert model.invoke("Give.", **given).text == VALUE + TALK

    @pytest.mark.parametrize("tool_choice", ["none", {"type": "none"}])
    @every_way
    async def test_tools_that_may_not_be_called_do_not_count(
        self, ask: Ask, tool_choice: Any
    ) -> None:
        model = Pieces(pieces=chunks(VALUE, TALK))
        wrapped = stop_at_json(model).bind_tools([look_up], tool_choice=tool_choice)
        assert (await ask(wrapped, "Give.")).text == VALUE

    @every_way
    async def test_a_tool_call_that_nobody_offered_is_left_alone(
        self, ask: Ask
    ) -> None:
        model = Pieces(pieces=chunks(CALL, '{"a": 1}', " and more"))
        answer = await ask(stop_at_json(model), "Give.")
        assert answer.text == '{"a": 1} and more'

    @pytest.mark.parametrize("wrap", [concise, stop_at_json])
    def test_tools_bound_anew_replace_those_bound_before(self, wrap: Any) -> None:
        model = scripted("None.")
        first = wrap(model.bind(seed=1)).bind_tools([look_up], tool_choice="look_up")
        first.bind_tools([count]).invoke("How many?")
        sent = model.calls[0].kwargs
        assert [each["function"]["name"] for each in sent["tools"]] == ["count"]
        assert "tool_choice" not in sent

    @pytest.mark.parametrize("wrap", [concise, stop_at_json])
    def test_what_else_is_bound_stays(self, wrap: Any) -> None:
        model = scripted("None.")
        bound = model.bind(seed=1, tools=["old"], response_format={"type": "text"})
        wrap(bound).bind_tools([count]).invoke("How many?")
        assert model.calls[0].kwargs["seed"] == 1
        assert "response_format" not in model.calls[0].kwargs

    @pytest.mark.parametrize("wrap", [concise, stop_at_json])
    def test_a_schema_replaces_tools_bound_before(self, wrap: Any) -> None:
        model = scripted({"name": "Ada"})
        bound = wrap(model).bind_tools([look_up], tool_choice="look_up")
        assert bound.with_structured_output(Person).invoke("Who?") == Person(name="Ada")


class TestResponseFormat:
    @every_way
    async def test_text_behind_the_value_ends_the_call(self, ask: Ask) -> None:
        model = Pieces(pieces=chunks('{"a": 1}', " ", "And", " so on"))
        bound = stop_at_json(model.bind(response_format={"type": "json_object"}))
        answer = await ask(bound, "Give.")
        assert answer.text == '{"a": 1} '
        assert done(answer) == ["stopped"]
        assert model.sent == ['{"a": 1}', " ", "And"]

    @every_way
    async def test_text_in_the_same_piece_ends_the_call(self, ask: Ask) -> None:
        model = Pieces(pieces=chunks('{"a": 1} so', " on"))
        options = {"response_format": {"type": "json_object"}}
        answer = await ask(stop_at_json(model), "Give.", **options)
        assert answer.text == '{"a": 1}'

    @every_way
    async def test_with_a_response_format_the_call_may_end_by_itself(
        self, ask: Ask
    ) -> None:
        ledger = TokenLedger()
        model = stop_at_json(scripted(VALUE)).bind(response_format={"type": "json"})
        answer = await ask(model, "Give.", {"callbacks": [ledger]})
        assert answer.text == VALUE
        assert not next(ledger.entries()).stopped_early


tokens = ['{"a": ', "[", "]", "}", ", ", "None", "1", '"\n\t"', "C:\\d", "// so", "'a'"]
longer = ['[{"a": 1}, ', '{"b": {}', '["c"]', "[the] ", "[1]"]
parts = st.lists(st.sampled_from([*tokens, *longer]))
kinds = st.sampled_from(["{", "[", "{["])


def passed(answer: JsonAnswer, given: list[AIMessageChunk]) -> str:
    """The text that comes through, read as long as it is of use."""
    out: list[Any] = []
    for chunk in given:
        out += answer.feed(chunk)
        if answer.done:
            break
    return "".join(str(chunk.text) for chunk in [*out, *answer.rest()])


def ends_at_a_value(text: str) -> bool:
    for start in range(len(text)):
        if text[start] in "{[":
            with contextlib.suppress(ValueError):
                json.loads(text[start:], strict=False)
                return True
    return False


class TestAnyText:
    @given(parts=parts, kinds=kinds, waits=st.booleans(), blocks=st.booleans())
    def test_what_comes_out_is_whole_or_ends_at_a_value(
        self, parts: list[str], kinds: str, waits: bool, blocks: bool
    ) -> None:
        text = "".join(parts)
        given_ = [[{"type": "text", "text": p}] for p in parts] if blocks else parts
        out = passed(JsonAnswer(kinds, waits=waits), chunks(*given_))
        assert text.startswith(out)
        assert out == text or ends_at_a_value(out.rstrip())

    @given(parts=parts, kinds=kinds, size=st.integers(1, 4))
    def test_pieces_do_not_change_what_comes_out(
        self, parts: list[str], kinds: str, size: int
    ) -> None:
        text = "".join(parts)
        cut = [text[i : i + size] for i in range(0, len(text), size)]
        out = passed(JsonAnswer(kinds), chunks(*cut))
        assert out == passed(JsonAnswer(kinds), chunks(text))

    @every_way
    async def test_a_value_that_is_refused_late_comes_back_whole(
        self, ask: Ask
    ) -> None:
        block = {"type": "text", "index": 0}
        two = ['[{"a": 1}, No', 'ne, {"b": 2}]']
        model = Pieces(pieces=chunks(*([{**block, "text": each}] for each in two)))
        answer = await ask(stop_at_json(model), "Give.")
        assert answer.content == [{**block, "text": "".join(two)}]
        assert done(answer) == []

    @every_way
    async def test_raw_newlines_in_a_string_are_part_of_the_value(
        self, ask: Ask
    ) -> None:
        value = '{"poem": "Roses\nare\tred"}'
        answer = await ask(stop_at_json(scripted(value + TALK)), "Give.")
        assert answer.text == value


class Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    score: float
    grade: Literal["good", "bad"]


FLAT = '{"score": 0.5, "grade": "good"}'


def judge(text: Any = FLAT + TALK, **kwargs: Any) -> ScriptedChatModel:
    named = {"model_name": "gpt-4o", "provider": "openai"}
    return scripted(text, **{**named, **kwargs})


class TestStopSequence:
    @every_entry
    async def test_a_flat_object_ends_at_a_stop_sequence(self, ask: Ask) -> None:
        ledger = TokenLedger()
        model = judge()
        wrapped = stop_at_json(model, schema=Verdict)
        answer = await ask(wrapped, "Judge.", {"callbacks": [ledger]})
        assert answer.text == FLAT
        assert done(answer) == ["stopped"]
        assert model.calls[0].kwargs["stop"] == ["}"]
        (entry,) = ledger.entries()
        assert (entry.stopped_early, entry.failed, entry.estimated) == (False,) * 3

    @pytest.mark.parametrize(
        ("provider", "name", "takes"),
        [
            ("openai", "gpt-4o-mini-2024-07-18", True),
            ("openai", "gpt-4.1", True),
            ("openai", "gpt-3.5-turbo", True),
            ("openai", "gpt-5-mini", False),
            ("openai", "o3", False),
            ("openai", "gpt-4o-search-preview", False),
            ("openai", "my-llama", False),
            ("azure", "gpt-4o", False),
            ("anthropic", "claude-sonnet-4-5", True),
            ("anthropic", "claude-3-5-haiku-20241022", True),
            ("anthropic", "claude-opus-9", False),
            ("amazon_bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", True),
            ("amazon_bedrock", "amazon.nova-lite-v1:0", True),
            ("amazon_bedrock", "meta.llama3-1-8b-instruct-v1:0", False),
            ("stand-in", "gpt-4o", False),
        ],
    )
    def test_only_models_known_to_take_one_get_it(
        self, provider: str, name: str, takes: bool
    ) -> None:
        model = judge(provider=provider, model_name=name)
        assert stop_at_json(model, schema=Verdict).invoke("Judge.").text == FLAT
        assert ("stop" in model.calls[0].kwargs) == takes

    @pytest.mark.parametrize(
        "options",
        [
            {"stop": ["\n"]},
            {"inferenceConfig": {"stopSequences": ["."]}},
            {"inference_config": {"stop_sequences": ["."]}},
            {"response_format": {"type": "json_object"}},
            {"reasoning_effort": "low"},
            {"thinking": {"type": "enabled"}},
        ],
    )
    @every_way
    async def test_calls_with_options_that_matter_are_streamed(
        self, ask: Ask, options: Any
    ) -> None:
        model = judge()
        answer = await ask(stop_at_json(model, schema=Verdict), "Judge.", **options)
        assert answer.text.strip() == FLAT
        assert model.calls[0].kwargs == options

    def test_a_schema_with_free_text_is_streamed(self) -> None:
        model = judge('{"name": "}"}' + TALK)
        assert stop_at_json(model, schema=Person).invoke("Who?").text == '{"name": "}"}'
        assert "stop" not in model.calls[0].kwargs

    @every_way
    async def test_a_provider_that_ignores_it_changes_nothing(self, ask: Ask) -> None:
        model = _NamedPieces(pieces=chunks(FLAT, TALK))
        answer = await ask(stop_at_json(model, schema=Verdict), "Judge.")
        assert answer.text == FLAT

    @every_way
    async def test_no_brace_is_put_behind_an_answer_that_ended_on_its_cap(
        self, ask: Ask
    ) -> None:
        answer = await ask(
            stop_at_json(judge('{"score": 0.5 ', max_tokens=5), schema=Verdict),
            "Judge.",
        )
        assert answer.response_metadata["finish_reason"] == "length"
        assert not answer.text.endswith("}")
        assert said(answer) == [INCOMPLETE]

    @pytest.mark.parametrize(
        "reason",
        [
            {"finish_reason": "stop"},
            {"stop_reason": "stop_sequence"},
            {"stop_reason": "end_turn"},
            {"stopReason": "stop_sequence"},
        ],
    )
    @every_way
    async def test_the_brace_is_put_behind_an_answer_that_was_stopped(
        self, ask: Ask, reason: dict[str, str]
    ) -> None:
        end = AIMessageChunk(content="", response_metadata=reason)
        model = _NamedPieces(pieces=chunks(FLAT[:9], FLAT[9:-1], end))
        answer = await ask(stop_at_json(model, schema=Verdict), "Judge.")
        assert answer.text == FLAT
        assert said(answer) == [("stopped", "the JSON value was complete")]

    @pytest.mark.parametrize(
        "reason",
        [
            {},
            {"finish_reason": "content_filter"},
            {"finish_reason": "length"},
            {"stop_reason": "refusal"},
            {"stop_reason": "max_tokens"},
            {"stopReason": "guardrail_intervened"},
            {"stopReason": "content_filtered"},
        ],
    )
    @every_way
    async def test_no_brace_is_put_behind_an_answer_that_ended_otherwise(
        self, ask: Ask, reason: dict[str, str]
    ) -> None:
        end = AIMessageChunk(content="", response_metadata=reason)
        model = _NamedPieces(pieces=chunks(FLAT[:9], FLAT[9:-1], end))
        answer = await ask(stop_at_json(model, schema=Verdict), "Judge.")
        assert answer.text == FLAT[:-1]
        assert said(answer) == [INCOMPLETE]

    @every_way
    async def test_no_brace_is_put_behind_prose(self, ask: Ask) -> None:
        text = "As (a) or b} it stands"
        answer = await ask(stop_at_json(judge(text), schema=Verdict), "Judge.")
        assert answer.text == "As (a) or b"
        assert said(answer) == [INCOMPLETE]

    @every_way
    async def test_an_answer_against_its_schema_says_that_it_was_stopped(
        self, ask: Ask
    ) -> None:
        model = judge('{"grade": "a } in a text"}')
        answer = await ask(stop_at_json(model, schema=Verdict), "Judge.")
        assert answer.text == '{"grade": "a '
        assert said(answer) == [INCOMPLETE]

    @every_way
    async def test_the_brace_joins_the_last_text_block(self, ask: Ask) -> None:
        block = {"type": "text", "text": FLAT[:-1], "index": 0}
        model = judge(AIMessage([block, {"type": "citations", "index": 1}]))
        answer = await ask(stop_at_json(model, schema=Verdict), "Judge.")
        assert answer.text == FLAT
        assert answer.content[0] == {"type": "text", "text": FLAT, "index": 0}

    def test_a_cached_answer_stays_as_it_was_cached(self) -> None:
        model = judge(cache=InMemoryCache())
        wrapped = stop_at_json(model, schema=Verdict)
        answers = [wrapped.invoke("Judge.") for _ in range(3)]
        assert [a.text for a in answers] == [FLAT] * 3
        assert [done(a) for a in answers] == [["stopped"]] * 3
        assert len(model.calls) == 1


class _NamedPieces(Pieces):
    """The same, by the name of a model that takes stop sequences."""

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_name": "gpt-4o"}
