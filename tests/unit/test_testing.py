"""The stand-in chat models behave as a provider's integration does."""

import asyncio
import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ExtractiveChatModel, ScriptedChatModel

PARIS = "Paris is the capital of France. It has two million people."
CALL = AIMessage(
    "Let me look.",
    additional_kwargs={"refusal": "none"},
    tool_calls=[
        {"name": "weather", "args": {"city": "Oslo, NO", "days": 3}, "id": "a"},
        {"name": "now", "args": {}, "id": "b"},
    ],
)
BLOCKS = AIMessage([{"type": "text", "text": "One block."}])
OSLO = {"name": "Oslo", "people": 7, "mood": "calm", "coastal": True, "area": 1.5}


class Spy(BaseCallbackHandler):
    """Keeps what a handler is given when a call starts."""

    def __init__(self) -> None:
        self.starts: list[dict[str, Any]] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.starts.append(kwargs)


class City(BaseModel):
    """A city."""

    name: str
    people: int
    mood: Literal["calm", "loud"]
    coastal: bool
    area: float | None


@tool
def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"The weather in {city} is dry."


def merged(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    first, *rest = chunks
    for chunk in rest:
        first = first + chunk
    return first


def scripted(*responses: Any, **options: Any) -> ScriptedChatModel:
    return ScriptedChatModel(responses=responses, **options)


async def four_ways(make: Callable[[], Any], question: Any) -> list[AIMessage]:
    """What a fresh model says to each way of asking."""
    return [
        make().invoke(question),
        await make().ainvoke(question),
        merged(list(make().stream(question))),
        merged([chunk async for chunk in make().astream(question)]),
    ]


class TestScript:
    def test_it_answers_in_order_whatever_kind_a_response_is(self) -> None:
        model = scripted(
            "one",
            AIMessage("two"),
            {"three": 3},
            lambda messages: messages[-1].text + "!",
            lambda messages: AIMessage("five"),
        )
        answers = [model.invoke("hey").content for _ in range(5)]
        assert answers == ["one", "two", '{"three": 3}', "hey!", "five"]

    def test_a_scripted_exception_is_raised_and_the_script_goes_on(self) -> None:
        model = scripted(TimeoutError("slow"), "fine")
        with pytest.raises(TimeoutError, match="slow"):
            model.invoke("hey")
        assert model.invoke("hey").content == "fine"

    @pytest.mark.parametrize(("responses", "loop"), [(["one"], False), ([], True)])
    def test_the_end_of_the_script_is_an_error(
        self, responses: list[str], loop: bool
    ) -> None:
        model = ScriptedChatModel(responses=responses, loop=loop)
        for _ in responses:
            model.invoke("hey")
        with pytest.raises(ConfigurationError, match=f"after {len(responses)} resp"):
            model.invoke("hey")

    def test_a_looped_script_starts_again(self) -> None:
        model = scripted("a", "b", loop=True)
        assert [model.invoke("hey").content for _ in range(5)] == list("ababa")

    def test_many_threads_get_each_response_once(self) -> None:
        model = scripted(*(str(n) for n in range(200)))
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: model.invoke("hey").text, range(200)))
        assert sorted(answers, key=int) == [str(n) for n in range(200)]
        assert len(model.calls) == 200

    @pytest.mark.parametrize("deep", [False, True])
    def test_copies_share_script_and_calls(self, deep: bool) -> None:
        model = scripted("one", "two", "three")
        other = model.model_copy(update={"tags": ["nostream"]}, deep=deep)
        answers = [m.invoke("hey").content for m in (model, other, model)]
        assert answers == ["one", "two", "three"]
        assert model.calls == other.calls
        assert len(model.calls) == 3

    def test_a_scripted_message_keeps_its_usage_and_metadata(self) -> None:
        usage = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
        metadata = {"model_name": "their-model", "service_tier": "flex"}
        message = AIMessage("x", usage_metadata=usage, response_metadata=metadata)
        answer = scripted(message).invoke("hey")
        assert answer.usage_metadata == usage
        assert metadata.items() <= answer.response_metadata.items()
        assert answer.response_metadata["model_provider"] == "stand-in"

    async def test_a_scripted_message_keeps_its_id(self) -> None:
        ways = await four_ways(lambda: scripted(AIMessage("x y", id="mine")), "hey")
        assert [answer.id for answer in ways] == ["mine"] * 4

    def test_changing_an_answer_leaves_the_script_as_it_was(self) -> None:
        before = copy.deepcopy(CALL)
        model = scripted(CALL, loop=True)
        model.invoke("hey").tool_calls[0]["args"]["city"] = "Rome"
        assert before == CALL
        assert model.invoke("hey").tool_calls == CALL.tool_calls


class TestLikeAProvider:
    @pytest.mark.parametrize(
        "response", ["two words", "", CALL, BLOCKS, " \n a ", "naïve 你好"]
    )
    async def test_all_four_ways_to_ask_give_the_same_answer(
        self, response: Any
    ) -> None:
        first, *others = await four_ways(lambda: scripted(response), "hey")
        for other in others:
            assert other.content == first.content
            assert other.tool_calls == first.tool_calls
            assert other.additional_kwargs == first.additional_kwargs
            assert other.usage_metadata == first.usage_metadata
            assert other.response_metadata == first.response_metadata
        expected = response if isinstance(response, str) else response.content
        assert first.content == expected

    @given(
        text=st.text(),
        args=st.dictionaries(st.text(), st.text() | st.integers() | st.booleans()),
    )
    def test_a_stream_merges_back_to_any_answer(
        self, text: str, args: dict[str, Any]
    ) -> None:
        calls = [{"name": "f", "args": args, "id": "1", "type": "tool_call"}]
        whole = merged(list(scripted(AIMessage(text, tool_calls=calls)).stream("q")))
        assert whole.content == text
        assert whole.tool_calls == calls

    def test_a_stream_comes_word_by_word(self) -> None:
        chunks = list(scripted("one two  three").stream("hey"))
        assert [chunk.content for chunk in chunks] == ["one ", "two  ", "three", ""]

    async def test_async_calls_stay_on_the_loop_s_thread(self) -> None:
        threads: list[int] = []

        def answer(messages: Any) -> str:
            threads.append(threading.get_ident())
            return "here"

        model = scripted(answer, loop=True)
        await model.ainvoke("hey")
        _ = [chunk async for chunk in model.astream("hey")]
        assert threads == [threading.get_ident()] * 2

    async def test_streams_of_two_tasks_take_turns(self) -> None:
        order: list[str] = []

        async def read(name: str) -> None:
            async for _ in scripted("a b c").astream("hey"):
                order.append(name)  # noqa: PERF401

        await asyncio.gather(read("x"), read("y"))
        assert order != sorted(order)

    async def test_usage_is_what_the_token_counter_counts(self) -> None:
        counter, messages = (
            TokenCounter(),
            [SystemMessage("Be brief."), HumanMessage(PARIS)],
        )
        tools = scripted().bind_tools([get_weather]).kwargs["tools"]
        read = counter.count(messages, model="gpt-5", tools=tools)
        written = counter.count("Some answer.", model="gpt-5")
        ways = await four_ways(
            lambda: scripted("Some answer.", model_name="gpt-5").bind(tools=tools),
            messages,
        )
        for answer in ways:
            assert answer.usage_metadata == {
                "input_tokens": read,
                "output_tokens": written,
                "total_tokens": read + written,
            }

    def test_a_tool_call_costs_output_tokens(self) -> None:
        plain = scripted(CALL.content).invoke("hey").usage_metadata
        calling = scripted(CALL).invoke("hey").usage_metadata
        assert plain is not None
        assert calling is not None
        assert calling["output_tokens"] > plain["output_tokens"] > 0

    def test_only_the_last_chunk_carries_usage_and_metadata(self) -> None:
        *words, last = scripted("one two").stream("hey")
        assert not any(word.usage_metadata for word in words)
        assert not any(word.response_metadata for word in words)
        assert (last.content, last.chunk_position) == ("", "last")
        assert last.usage_metadata is not None
        assert last.response_metadata["model_name"] == "stand-in"

    async def test_a_silent_provider_never_reports_usage(self) -> None:
        ways = await four_ways(lambda: scripted("one", report_usage=False), "hey")
        assert [answer.usage_metadata for answer in ways] == [None] * 4

    async def test_some_providers_report_usage_only_without_a_stream(self) -> None:
        ways = await four_ways(lambda: scripted("one", stream_usage=False), "hey")
        reported = [answer.usage_metadata is not None for answer in ways]
        assert reported == [True, True, False, False]

    def test_langchain_s_own_usage_handler_counts_it_by_model(self) -> None:
        handler = UsageMetadataCallbackHandler()
        model = scripted("one", "two", model_name="gpt-5")
        model.invoke("hey", config={"callbacks": [handler]})
        list(model.stream("hey", config={"callbacks": [handler]}))
        assert list(handler.usage_metadata) == ["gpt-5"]
        one_call = TokenCounter().count("one", model="gpt-5")
        assert handler.usage_metadata["gpt-5"]["output_tokens"] >= 2 * one_call

    def test_handlers_see_model_provider_tools_and_limits(self) -> None:
        spy = Spy()
        model = scripted("one", model_name="gpt-5", provider="openai", max_tokens=9)
        bound = model.bind_tools([get_weather], tool_choice="auto")
        bound.invoke("hey", config={"callbacks": [spy]}, stop=["."], temperature=0.5)
        (start,) = spy.starts
        expected = {
            "ls_model_name": "gpt-5",
            "ls_provider": "openai",
            "ls_max_tokens": 9,
            "ls_temperature": 0.5,
            "ls_stop": ["."],
        }
        assert expected.items() <= start["metadata"].items()
        params = start["invocation_params"]
        assert params["tools"][0]["function"]["name"] == "get_weather"
        assert (params["max_tokens"], params["stop"]) == (9, ["."])

    async def test_a_call_can_ask_for_another_model(self) -> None:
        ways = await four_ways(
            lambda: scripted("one", provider="openai").bind(model="gpt-5-mini"), "hey"
        )
        for answer in ways:
            assert answer.response_metadata["model_name"] == "gpt-5-mini"
            assert answer.response_metadata["model_provider"] == "openai"

    def test_every_call_is_kept_with_its_messages_and_options(self) -> None:
        model = scripted("one", "two", TimeoutError("slow"))
        model.bind(max_tokens=5).invoke("hey", stop=["x"])
        list(model.stream([SystemMessage("s"), HumanMessage("h")]))
        with pytest.raises(TimeoutError):
            model.invoke("hey")
        first, second, _third = model.calls
        assert first == ((HumanMessage("hey"),), {"max_tokens": 5, "stop": ["x"]})
        assert second == ((SystemMessage("s"), HumanMessage("h")), {})


class TestLimits:
    async def test_max_tokens_cuts_the_answer_and_says_so(self) -> None:
        text = "one two three four five six seven eight nine ten"
        ways = await four_ways(lambda: scripted(text).bind(max_tokens=4), "hey")
        for answer in ways:
            assert answer.content
            assert text.startswith(answer.content)
            assert answer.usage_metadata is not None
            assert answer.usage_metadata["output_tokens"] <= 4
            assert answer.response_metadata["finish_reason"] == "length"

    @given(text=st.text(max_size=200), limit=st.integers(0, 60))
    def test_an_answer_is_cut_only_where_it_is_too_long(
        self, text: str, limit: int
    ) -> None:
        count = partial(TokenCounter().count, model="claude-sonnet-4-5")
        model = scripted(text, max_tokens=limit, model_name="claude-sonnet-4-5")
        answer = model.invoke("hey")
        fits = count(text) <= limit
        assert text.startswith(answer.content)
        assert answer.usage_metadata is not None
        assert answer.usage_metadata["output_tokens"] <= limit
        assert (answer.content == text) == fits
        longer = text[: len(answer.text) + 1]
        assert fits or count(longer) > limit
        reason = "stop" if fits else "length"
        assert answer.response_metadata["finish_reason"] == reason

    async def test_the_first_stop_sequence_ends_the_answer(self) -> None:
        make = lambda: scripted("one two three").bind(stop=["three", " two"])  # noqa: E731
        for answer in await four_ways(make, "hey"):
            assert answer.content == "one"
            assert answer.response_metadata["finish_reason"] == "stop"

    def test_a_stream_breaks_after_the_given_chunks(self) -> None:
        stream = scripted("one two three", fail_after=2).stream("hey")
        assert [next(stream).content, next(stream).content] == ["one ", "two "]
        with pytest.raises(ConnectionError):
            next(stream)

    async def test_an_async_stream_breaks_after_the_given_chunks(self) -> None:
        stream = scripted("one two three", fail_after=1).astream("hey")
        assert (await anext(stream)).content == "one "
        with pytest.raises(ConnectionError):
            await anext(stream)

    def test_a_call_without_a_stream_does_not_break(self) -> None:
        assert scripted("one two", fail_after=0).invoke("hey").content == "one two"

    async def test_latency_is_the_first_token_and_then_each_token(self) -> None:
        waits: list[float] = []

        async def asleep(seconds: float) -> None:
            waits.append(seconds)

        options = {"latency": (2.0, 0.25), "sleep": waits.append, "asleep": asleep}
        tokens = TokenCounter().count("one two three", model="stand-in")
        totals = []
        for way in range(4):
            waits.clear()
            model = scripted("one two three", **options)
            if way == 0:
                model.invoke("hey")
            elif way == 1:
                await model.ainvoke("hey")
            elif way == 2:
                list(model.stream("hey"))
                assert waits[0] > 2.0 > waits[1]
            else:
                _ = [chunk async for chunk in model.astream("hey")]
                assert waits[0] > 2.0 > waits[1]
            totals.append(sum(waits))
        assert totals == pytest.approx([2.0 + 0.25 * tokens] * 4)

    def test_without_latency_nothing_sleeps(self) -> None:
        waits: list[float] = []
        model = scripted("one two", "three", sleep=waits.append)
        list(model.stream("hey"))
        model.invoke("hey")
        assert waits == []


class TestPromptCache:
    LONG = SystemMessage("The house rules say to be kind. " * 400)

    def cached(self, answer: AIMessage) -> int:
        assert answer.usage_metadata is not None
        details = answer.usage_metadata["input_token_details"]
        assert details["cache_read"] <= answer.usage_metadata["input_tokens"]
        return details["cache_read"]

    def test_the_leading_messages_of_an_earlier_call_are_read_from_the_cache(
        self,
    ) -> None:
        model = scripted("one", "two", cache_prefix=True)
        first = [self.LONG, HumanMessage("hey")]
        assert self.cached(model.invoke(first)) == 0
        second = [*first, AIMessage("one"), HumanMessage("and now?")]
        expected = TokenCounter().count(first, model="stand-in")
        assert self.cached(model.invoke(second)) == expected

    @pytest.mark.parametrize(
        ("messages", "options"),
        [
            ([HumanMessage("first"), LONG], {}),
            ([LONG], {"model": "another"}),
            ([LONG], {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ],
        ids=["other start", "other model", "other tools"],
    )
    def test_another_start_model_or_tool_list_misses_the_cache(
        self, messages: list[Any], options: dict[str, Any]
    ) -> None:
        model = scripted("one", "two", cache_prefix=True)
        model.invoke([self.LONG])
        assert self.cached(model.invoke(messages, **options)) == 0

    def test_a_short_prefix_is_not_cached(self) -> None:
        model = scripted("one", "two", cache_prefix=True)
        model.invoke("hey")
        assert self.cached(model.invoke("hey")) == 0


class TestStructuredOutput:
    @pytest.mark.parametrize("as_text", [False, True])
    async def test_a_scripted_object_becomes_the_asked_for_value(
        self, as_text: bool
    ) -> None:
        text = City(**OSLO).model_dump_json()
        model = scripted(text if as_text else OSLO, loop=True)
        chain = model.with_structured_output(City)
        assert chain.invoke("hey") == City(**OSLO)
        assert await chain.ainvoke("hey") == City(**OSLO)
        assert list(chain.stream("hey"))[-1] == City(**OSLO)

    def test_a_script_that_is_no_object_stays_text(self) -> None:
        model = scripted("no idea", "[1]")
        for text in ("no idea", "[1]"):
            result = model.with_structured_output(City, include_raw=True).invoke("hey")
            assert result["parsed"] is None
            assert result["raw"].content == text

    @pytest.mark.parametrize(
        "choice",
        [
            "City",
            "any",
            "required",
            True,
            {"type": "any"},
            {"function": {"name": "City"}},
        ],
    )
    def test_a_forced_choice_calls_the_tool_that_has_the_fields(
        self, choice: Any
    ) -> None:
        bound = scripted(OSLO).bind_tools([get_weather, City], tool_choice=choice)
        (call,) = bound.invoke("hey").tool_calls
        assert (call["name"], call["args"]) == ("City", OSLO)

    @pytest.mark.parametrize("choice", [None, "auto", "none", False])
    def test_an_object_stays_text_where_no_tool_is_forced(self, choice: Any) -> None:
        bound = scripted(OSLO).bind_tools([City], tool_choice=choice)
        assert bound.invoke("hey").tool_calls == []

    @pytest.mark.parametrize("model", [scripted({}), ExtractiveChatModel()])
    def test_a_choice_that_names_no_bound_tool_is_refused(self, model: Any) -> None:
        with pytest.raises(ConfigurationError, match="'Town'"):
            model.bind_tools([City], tool_choice="Town").invoke("hey")

    def test_the_extractive_model_fills_fields_from_its_answer(self) -> None:
        chain = ExtractiveChatModel().with_structured_output(City)
        sentence = "The city of Oslo: 709,000 people, 454.12 km2."
        city = chain.invoke([SystemMessage(sentence), HumanMessage("Which city?")])
        assert city == City(
            name=sentence, people=709_000, mood="calm", coastal=False, area=454.12
        )


class TestExtraction:
    def ask(self, question: str, context: str = PARIS, **options: Any) -> str:
        model = ExtractiveChatModel(**options)
        return model.invoke([SystemMessage(context), HumanMessage(question)]).text

    def test_it_quotes_the_sentences_that_match_in_their_order(self) -> None:
        assert self.ask("Two million people in the capital?") == PARIS
        one = self.ask("The capital of France?", sentences=1)
        assert one == "Paris is the capital of France."

    def test_a_rare_word_counts_more_than_a_common_one(self) -> None:
        context = "Paris has cafés. Paris has parks. Paris has rain. The river is long."
        assert self.ask("Paris river", context, sentences=1) == "The river is long."

    @pytest.mark.parametrize(
        "context", ["", "Cats sleep all day.", "Who is in Rome?", "People in Rome:"]
    )
    def test_it_says_when_nothing_matches(self, context: str) -> None:
        assert self.ask("Who is in Rome?", context) == "I do not know."

    def test_a_repeated_sentence_is_quoted_once(self) -> None:
        assert (
            self.ask("Which capital?", PARIS + "\n" + PARIS)
            == PARIS.partition(" It")[0]
        )

    def test_sentences_of_chinese_text_end_without_a_space(self) -> None:
        answer = self.ask("Oslo 在哪里", "我喜欢 Paris 。我去过 Oslo 。天气很好。")
        assert answer == "我去过 Oslo 。"

    def test_a_bad_context_gives_a_bad_answer(self) -> None:
        wrong = "Lyon is the capital of France."
        assert self.ask("What is the capital of France?", wrong) == wrong

    @pytest.mark.parametrize(
        "prompt",
        [
            f"Use the text.\nContext: {PARIS}\nQuestion: Which capital?\nAnswer:",
            f"Question: Which capital?\nContext: {PARIS}\nAnswer:",
            f"Question: Any cats?\nNo.\n{PARIS}\nQuestion:\nWhich capital?",
        ],
    )
    def test_one_prompt_may_hold_context_and_question(self, prompt: str) -> None:
        answer = ExtractiveChatModel().invoke(prompt).text
        assert answer.removeprefix("Context: ") == "Paris is the capital of France."

    def test_earlier_turns_are_context(self) -> None:
        turns = [HumanMessage("My name is Ada."), AIMessage("Hello!")]
        asked = [*turns, HumanMessage("What is my name?")]
        assert ExtractiveChatModel().invoke(asked).text == "My name is Ada."

    def test_reading_less_knows_less(self) -> None:
        question = "How many people?"
        assert self.ask(question, reads=len(PARIS)) == "It has two million people."
        assert self.ask(question, reads=31) == "I do not know."

    def test_a_reading_limit_counts_the_context_alone(self) -> None:
        messages = [
            HumanMessage("Which capital?"),
            ToolMessage(PARIS, tool_call_id="1"),
        ]
        answer = ExtractiveChatModel(reads=31).invoke(messages)
        assert answer.text == "Paris is the capital of France."

    @given(
        context=st.lists(st.text("abc ", min_size=1), max_size=8).map(". ".join),
        question=st.text("abc "),
        sentences=st.integers(1, 3),
    )
    def test_it_says_nothing_of_its_own(
        self, context: str, question: str, sentences: int
    ) -> None:
        answer = self.ask(question, context, sentences=sentences)
        if answer != "I do not know.":
            quoted = [part.strip(" .") for part in answer.split(". ")]
            assert len(quoted) <= sentences
            assert all(part in context for part in quoted)
            assert set(question.split()) & set(answer.replace(".", " ").split())


class TestExtractiveTools:
    MODEL = ExtractiveChatModel().bind_tools([City, get_weather])

    def test_a_tool_asked_for_is_called_and_then_its_result_quoted(self) -> None:
        question = HumanMessage("How is the weather in Oslo?")
        answer = self.MODEL.invoke([question])
        (call,) = answer.tool_calls
        assert (call["name"], call["args"]) == ("get_weather", {"city": question.text})
        assert answer.response_metadata["finish_reason"] == "tool_calls"
        result = ToolMessage("The weather in Oslo is dry.", tool_call_id=call["id"])
        final = self.MODEL.invoke([question, answer, result])
        assert (final.text, final.tool_calls) == ("The weather in Oslo is dry.", [])

    def test_a_tool_can_be_asked_for_by_its_whole_name(self) -> None:
        (call,) = self.MODEL.invoke("Please use get_weather").tool_calls
        assert call["name"] == "get_weather"

    def test_each_call_has_its_own_id(self) -> None:
        ids = {self.MODEL.invoke("weather?").tool_calls[0]["id"] for _ in range(5)}
        assert len(ids) == 5

    @pytest.mark.parametrize(
        ("question", "choice"),
        [("Who are you?", None), ("get_weather", "none"), ("Get it?", "auto")],
    )
    def test_no_tool_is_called_unless_asked_for_and_allowed(
        self, question: str, choice: Any
    ) -> None:
        bound = ExtractiveChatModel().bind_tools([get_weather], tool_choice=choice)
        assert bound.invoke(question).tool_calls == []

    def test_numbers_are_taken_from_the_question_in_order(self) -> None:
        def add(a: int, b: float) -> float:
            """Add two numbers."""
            return a + b

        bound = ExtractiveChatModel().bind_tools([add], tool_choice="any")
        (call,) = bound.invoke("Let unit7 add 1,200 and -2.5").tool_calls
        assert call["args"] == {"a": 1200, "b": -2.5}
