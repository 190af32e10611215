"""Models that write less: what is sent, what is passed on, and what is written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Literal

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.load import dumps
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
)
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel, ConfigDict, Field

from langchain_lean import Budget, BudgetGuard, TokenLedger
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


def scripted(*answers: Any, **kwargs: Any) -> ScriptedChatModel:
    return ScriptedChatModel(responses=answers or ["So it is."], loop=True, **kwargs)


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return word


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

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

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

    async def test_the_raw_message_of_structured_output_carries_the_note(self) -> None:
        model = concise(scripted({"name": "Ada"}))
        answer = model.with_structured_output(Person, include_raw=True).invoke("Who?")
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
        with pytest.raises(ConfigurationError, match=f"Give {name}= a whole number"):
            concise(scripted(), **{name: number})

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
    async def test_fallbacks_work_inside_and_around(self, ask: Ask) -> None:
        bad, good = scripted(ConnectionError("Gone.")), scripted(VALUE + TALK)
        inside = stop_at_json(bad.with_fallbacks([good]))
        around = stop_at_json(bad).with_fallbacks([stop_at_json(good)])
        assert (await ask(inside, "Give.")).text == VALUE
        assert (await ask(around, "Give.")).text == VALUE

    @every_way
    async def test_it_goes_together_with_concise(self, ask: Ask) -> None:
        for model in (
            stop_at_json(concise(scripted(VALUE + TALK))),
            concise(stop_at_json(scripted(VALUE + TALK))),
        ):
            answer = await ask(model, "Give.")
            assert answer.text == VALUE
            assert "stopped" in done(answer)

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


class TestToolsAfterJson:
    @every_way
    async def test_a_tool_call_behind_the_value_comes_through(self, ask: Ask) -> None:
        model = Pieces(pieces=chunks('{"a": 1}', "\n", CALL, USAGE))
        answer = await ask(stop_at_json(model).bind_tools([look_up]), "Give.")
        assert answer.text == '{"a": 1}\n'
        assert answer.tool_calls[0]["name"] == "look_up"
        assert answer.usage_metadata["output_tokens"] == 4
        assert done(answer) == []

    @every_way
    async def test_text_behind_the_value_ends_the_call(self, ask: Ask) -> None:
        model = Pieces(pieces=chunks('{"a": 1}', " ", "And", " so on", CALL))
        answer = await ask(stop_at_json(model.bind_tools([look_up])), "Give.")
        assert answer.text == '{"a": 1} '
        assert done(answer) == ["stopped"]
        assert model.sent == ['{"a": 1}', " ", "And"]

    @every_way
    async def test_text_in_the_same_piece_ends_the_call(self, ask: Ask) -> None:
        model = Pieces(pieces=chunks('{"a": 1} so', " on"))
        answer = await ask(stop_at_json(model), "Give.", tools=["tool"])
        assert answer.text == '{"a": 1}'

    @every_way
    async def test_usage_behind_the_value_is_kept(self, ask: Ask) -> None:
        ledger = TokenLedger()
        model = stop_at_json(Pieces(pieces=chunks('{"a": 1}', USAGE)).bind(tools=["t"]))
        await ask(model, "Give.", {"callbacks": [ledger]})
        (entry,) = ledger.entries()
        assert (entry.stopped_early, entry.usage.output) == (False, 4)

    @every_way
    async def test_an_answer_with_tool_calls_is_left_alone(self, ask: Ask) -> None:
        model = Pieces(pieces=chunks(CALL, '{"a": 1}', " and more"))
        answer = await ask(stop_at_json(model).bind_tools([look_up]), "Give.")
        assert answer.text == '{"a": 1} and more'

    @pytest.mark.parametrize(
        "block",
        [
            {"type": "tool_use", "id": "1", "name": "look_up", "input": {}},
            {"type": "web_search_call", "id": "1"},
            {"type": "input_json_delta", "partial_json": "{}"},
        ],
    )
    def test_blocks_of_a_providers_own_tools_are_calls_too(self, block: Any) -> None:
        text = {"type": "text", "text": '{"a": 1} as found'}
        model = Pieces(pieces=chunks([text, block], [{"type": "text", "text": "!"}]))
        answer = stop_at_json(model.bind_tools([look_up])).invoke("Give.")
        assert answer.text == '{"a": 1} as found!'

    @pytest.mark.parametrize(
        "kwargs",
        [
            {"tool_call_chunks": [{"name": None, "args": "", "id": None, "index": 0}]},
            {"additional_kwargs": {"function_call": {"name": "look_up"}}},
        ],
    )
    def test_pieces_and_old_forms_of_calls_are_calls_too(self, kwargs: Any) -> None:
        call = AIMessageChunk(content="", **kwargs)
        model = Pieces(pieces=chunks('{"a": 1}', call, "!"))
        answer = stop_at_json(model.bind_tools([look_up])).invoke("Give.")
        assert answer.text == '{"a": 1}!'

    @every_way
    async def test_a_whole_answer_with_tool_calls_is_left_alone(self, ask: Ask) -> None:
        call = {"name": "look_up", "args": {}, "id": "1"}
        message = AIMessage(VALUE + TALK, tool_calls=[call])
        model = scripted(message, disable_streaming=True)
        answer = await ask(stop_at_json(model).bind_tools([look_up]), "Give.")
        assert answer.text == VALUE + TALK

    @every_way
    async def test_with_a_response_format_the_call_may_end_by_itself(
        self, ask: Ask
    ) -> None:
        ledger = TokenLedger()
        model = stop_at_json(scripted(VALUE)).bind(response_format={"type": "json"})
        answer = await ask(model, "Give.", {"callbacks": [ledger]})
        assert answer.text == VALUE
        assert not next(ledger.entries()).stopped_early


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
            {"tools": [{"type": "function"}]},
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

    def test_a_fallback_inside_is_streamed(self) -> None:
        model = judge()
        wrapped = stop_at_json(model.with_fallbacks([scripted()]), schema=Verdict)
        assert wrapped.invoke("Judge.").text == FLAT
        assert "stop" not in model.calls[0].kwargs

    @every_way
    async def test_a_provider_that_ignores_it_changes_nothing(self, ask: Ask) -> None:
        model = Pieces(pieces=chunks(FLAT, TALK))
        model = _NamedPieces(pieces=model.pieces)
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
        assert done(answer) == []

    @every_way
    async def test_no_brace_is_put_behind_prose(self, ask: Ask) -> None:
        answer = await ask(stop_at_json(judge("I cannot."), schema=Verdict), "Judge.")
        assert answer.text == "I cannot."
        assert done(answer) == []

    @every_way
    async def test_an_answer_against_its_schema_says_that_it_was_stopped(
        self, ask: Ask
    ) -> None:
        model = judge('{"grade": "a } in a text"}')
        answer = await ask(stop_at_json(model, schema=Verdict), "Judge.")
        assert answer.text == '{"grade": "a '
        (note,) = answer.response_metadata["lean"]
        assert note["action"] == "stopped"
        assert note["reason"] == "the answer ended before its JSON value was complete"

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

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        from langchain_core.outputs import ChatGeneration, ChatResult

        message = AIMessage("".join(str(piece.text) for piece in self.pieces))
        return ChatResult(generations=[ChatGeneration(message=message)])
