"""The step cap: what counts, what is said when it is reached, and what goes round."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_lean import Budget, BudgetExceededError, BudgetGuard, TokenLedger
from langchain_lean.budgets import finish
from langchain_lean.budgets.errors import BudgetStoreError
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.errors import ConfigurationError, StorageError
from langchain_lean.routing.stepping.loops import goes_round
from langchain_lean.routing.steps import StepCap
from langchain_lean.testing import ScriptedChatModel

Ask = Callable[[Any, Any], Awaitable[Any]]

STOPPED = "Stopped, because the run reached its cap of 2 calls: this was not answered."


async def invoke(model: Any, prompt: Any) -> Any:
    return model.invoke(prompt)


async def ainvoke(model: Any, prompt: Any) -> Any:
    return await model.ainvoke(prompt)


async def stream(model: Any, prompt: Any) -> Any:
    chunks = list(model.stream(prompt))
    return sum(chunks[1:], chunks[0])


async def astream(model: Any, prompt: Any) -> Any:
    chunks = [chunk async for chunk in model.astream(prompt)]
    return sum(chunks[1:], chunks[0])


every_way = pytest.mark.parametrize("ask", [invoke, ainvoke, stream, astream])


@tool
def search(query: str) -> str:
    """Search."""
    return query


def gpt(*answers: Any, **options: Any) -> ScriptedChatModel:
    return ScriptedChatModel(responses=answers or ["It is so."], loop=True, **options)


async def run(
    ask: Ask, model: Any, times: int, *handlers: Any, prompt: Any = "Hello"
) -> Any:
    """The answers of so many calls of one run, one after the other."""

    async def body(_: Any) -> list[Any]:
        return [await ask(model, prompt) for _ in range(times)]

    return await RunnableLambda(body).ainvoke("", {"callbacks": [*handlers]})


def done(answer: AIMessage) -> list[str]:
    return [note["action"] for note in answer.response_metadata.get("lean", [])]


class TestWhenTheCapIsReached:
    @every_way
    async def test_one_last_answer_comes_and_then_a_fixed_text(self, ask: Ask) -> None:
        model, cap = gpt(), StepCap(2)
        answers = await run(ask, cap.model(model.bind_tools([search])), 5, cap)
        assert [done(answer) for answer in answers] == [
            [],
            [],
            ["capped"],
            ["stopped"],
            ["stopped"],
        ]
        assert [answer.content for answer in answers[3:]] == [STOPPED] * 2
        assert len(model.calls) == 3

    @every_way
    async def test_the_last_answer_is_asked_for_without_tools(self, ask: Ask) -> None:
        model, cap = gpt(), StepCap(0)
        chat: list[AnyMessage] = [HumanMessage("Where?"), *called("a")]
        await run(ask, cap.model(model.bind_tools([search])), 1, cap, prompt=chat)
        ((messages, options),) = model.calls
        assert "tools" not in options
        assert messages[-1].content == finish.INSTRUCTION
        assert not any(vars(message).get("tool_calls") for message in messages)

    @every_way
    async def test_the_last_answer_is_short(self, ask: Ask) -> None:
        model, cap = gpt("word " * 1_000), StepCap(0)
        (answer,) = await run(ask, cap.model(model), 1, cap)
        assert answer.usage_metadata["output_tokens"] == finish.OUTPUT
        assert done(answer) == ["capped", "shortened"]

    async def test_a_smaller_cap_of_the_model_stays(self) -> None:
        model, cap = gpt("word " * 1_000, max_tokens=9), StepCap(0)
        (answer,) = await run(invoke, cap.model(model), 1, cap)
        assert answer.usage_metadata["output_tokens"] <= 9

    async def test_the_last_answer_leaves_room_for_thinking(self) -> None:
        cap = StepCap(0)
        model = gpt("word " * 1_000).bind(thinking={"budget_tokens": 100})
        (answer,) = await run(invoke, cap.model(model), 1, cap)
        assert answer.usage_metadata["output_tokens"] == finish.OUTPUT + 100

    @every_way
    async def test_the_reason_is_on_the_answer_and_in_the_ledger(
        self, ask: Ask
    ) -> None:
        ledger, cap = TokenLedger(), StepCap(1)
        answers = await run(ask, cap.model(gpt()), 3, ledger, cap)
        reason = "the run reached its cap of 1 call"
        notes = [
            {"lever": "steps", "action": action, "reason": reason}
            for action in ("capped", "stopped")
        ]
        assert [answer.response_metadata["lean"] for answer in answers[1:]] == [
            [note] for note in notes
        ]
        assert [tuple(n.kind) for n in ledger.notices()] == [
            tuple(note.values()) for note in notes
        ]
        assert [e.tags for e in ledger.entries()][1:] == [("lean:capped",)]

    @every_way
    async def test_nothing_is_said_of_calls_that_fit(self, ask: Ask) -> None:
        ledger, cap, model = TokenLedger(), StepCap(2), gpt()
        answers = await run(ask, cap.model(model), 2, ledger, cap)
        assert [done(answer) for answer in answers] == [[], []]
        assert [*ledger.notices()] == []
        assert [call.messages[-1].content for call in model.calls] == ["Hello"] * 2

    async def test_there_is_one_last_answer_also_where_a_call_turns_out_to_be_none(
        self,
    ) -> None:
        cap, model, given = StepCap(1), gpt(), []
        cached = AIMessage("From the cache.")
        nothing = dict.fromkeys(["input_tokens", "output_tokens", "total_tokens"], 0)
        cached.usage_metadata = {**nothing, "total_cost": 0}  # as LangChain marks it

        def slow(_: Any) -> AIMessage:
            given.append(cap.model(model).invoke("Meanwhile?"))
            return cached

        def body(_: Any) -> None:
            given.append(cap.model(gpt(slow)).invoke("Hello"))
            given.append(cap.model(model).invoke("And now?"))

        RunnableLambda(body).invoke("", {"callbacks": [cap]})
        assert [done(answer) for answer in given] == [["capped"], [], ["stopped"]]
        assert len(model.calls) == 1

    @every_way
    async def test_a_model_it_was_not_told_of_raises(self, ask: Ask) -> None:
        model, cap = gpt(), StepCap(2)
        with pytest.raises(BudgetExceededError, match="'steps': 2 calls per run"):
            await run(ask, model, 3, cap)
        assert len(model.calls) == 2

    @every_way
    async def test_all_models_of_a_run_count_together(self, ask: Ask) -> None:
        model, other, cap = gpt(), gpt(), StepCap(3)

        async def body(_: Any) -> Any:
            await ask(other, "Hello")
            return [await ask(cap.model(model), "Hello") for _ in range(4)]

        answers = await RunnableLambda(body).ainvoke("", {"callbacks": [cap]})
        assert [done(a) for a in answers] == [[], [], ["capped"], ["stopped"]]

    @every_way
    async def test_a_schema_gets_no_text_but_an_error(self, ask: Ask) -> None:
        class Person(BaseModel):
            name: str

        model, cap = gpt('{"name": "Ada"}'), StepCap(1)
        structured = cap.model(model).with_structured_output(Person)
        with pytest.raises(BudgetExceededError):
            await run(ask, structured, 2, cap)
        assert len(model.calls) == 1

    async def test_tools_can_be_bound_afterwards(self) -> None:
        model, cap = gpt(), StepCap(1)
        await run(invoke, cap.model(model).bind_tools([search]), 2, cap)
        assert ["tools" in call.kwargs for call in model.calls] == [True, False]


class TestWhatCounts:
    async def test_each_run_begins_at_zero(self) -> None:
        model, cap = gpt(), StepCap(2)
        for _ in range(3):
            answers = await run(invoke, cap.model(model), 2, cap)
            assert [done(answer) for answer in answers] == [[], []]

    @every_way
    async def test_a_call_on_its_own_is_a_run_of_its_own(self, ask: Ask) -> None:
        model, cap = gpt(), StepCap(1)
        for _ in range(3):
            assert done(await ask(cap.model(model), "Hello")) == []
        assert len(model.calls) == 3

    @every_way
    async def test_a_call_that_fails_counts(self, ask: Ask) -> None:
        model, cap = gpt(ConnectionError("down")), StepCap(2)
        outcomes = []

        async def body(_: Any) -> None:
            for _ in range(4):
                try:
                    outcomes.append(done(await ask(cap.model(model), "Hello")))
                except ConnectionError:
                    outcomes.append(["failed"])

        await RunnableLambda(body).ainvoke("", {"callbacks": [cap]})
        assert outcomes == [["failed"], ["failed"], ["failed"], ["stopped"]]
        assert len(model.calls) == 3

    @pytest.mark.parametrize("ask", [stream, astream])
    async def test_a_stream_that_breaks_counts(self, ask: Ask) -> None:
        model, cap = gpt("One two three.", fail_after=1), StepCap(1)

        async def body(_: Any) -> Any:
            for _ in range(2):
                with pytest.raises(ConnectionError):
                    await ask(cap.model(model), "Hello")
            return await ask(cap.model(model), "Hello")

        answer = await RunnableLambda(body).ainvoke("", {"callbacks": [cap]})
        assert done(answer) == ["stopped"]
        assert len(model.calls) == 2

    @pytest.mark.parametrize("ask", [invoke, ainvoke])  # streams are not tried again
    async def test_every_try_again_counts(self, ask: Ask) -> None:
        model, cap = gpt(ConnectionError("down"), ConnectionError("down"), "Up."), None
        cap = StepCap(4)
        answers = await run(ask, cap.model(retried(model)), 2, cap)
        assert [answer.content for answer in answers] == [
            "Up.",
            STOPPED.replace("2", "4"),
        ]
        assert len(model.calls) == 5

    @pytest.mark.parametrize("ask", [invoke, ainvoke])
    async def test_a_retry_without_a_step_left_gives_way_to_the_last_answer(
        self, ask: Ask
    ) -> None:
        model, cap = gpt(ConnectionError("down"), "Up."), StepCap(1)
        (answer,) = await run(ask, cap.model(retried(model)), 1, cap)
        assert (answer.content, done(answer)) == ("Up.", ["capped"])
        assert len(model.calls) == 2

    @every_way
    async def test_a_fallback_without_a_step_left_gives_way_to_the_last_answer(
        self, ask: Ask
    ) -> None:
        model, cap = gpt(ConnectionError("down"), "Up."), StepCap(1)
        both = model.with_fallbacks([gpt("Another.")])
        (answer,) = await run(ask, cap.model(both), 1, cap)
        assert (answer.content, done(answer)) == ("Up.", ["capped"])

    @every_way
    async def test_a_fallback_counts(self, ask: Ask) -> None:
        model, cap = gpt(ConnectionError("down")), StepCap(2)
        both = model.with_fallbacks([gpt("Another.")])
        answers = await run(ask, cap.model(both), 2, cap)
        assert [done(answer) for answer in answers] == [[], ["stopped"]]
        assert len(model.calls) == 2

    async def test_an_answer_of_the_cache_does_not_count(self) -> None:
        model, cap = gpt(cache=InMemoryCache()), StepCap(2)
        answers = await run(invoke, cap.model(model), 9, cap)
        assert {str(done(answer)) for answer in answers} == {"[]"}
        assert len(model.calls) == 1

    async def test_the_status_says_how_many_calls_a_run_made(self) -> None:
        cap, runs = StepCap(5), []

        def body(_: Any, config: Any) -> None:
            runs.append(config["callbacks"].parent_run_id)
            cap.model(gpt()).batch(["Hello"] * 3)

        RunnableLambda(body).invoke("", {"callbacks": [cap]})
        (status,) = cap.status(run_id=str(runs[0]))
        assert (status.used, status.held, status.remaining) == (3, 0, 2)
        assert await cap.astatus(run_id=str(runs[0])) == [status]

    async def test_after_a_reset_a_run_has_its_steps_and_its_last_answer_again(
        self,
    ) -> None:
        cap = StepCap(1)
        model = cap.model(gpt())

        async def body(_: Any, config: Any) -> list[Any]:
            run_id = str(config["callbacks"].parent_run_id)
            answers = [model.invoke("Hello") for _ in range(3)]
            cap.reset(run_id=run_id)
            answers += [model.invoke("Hello") for _ in range(3)]
            await cap.areset(run_id=run_id)
            return [*answers, model.invoke("Hello")]

        answers = await RunnableLambda(body).ainvoke("", {"callbacks": [cap]})
        rounds = [[], ["capped"], ["stopped"]]
        assert [done(answer) for answer in answers] == [*rounds, *rounds, []]

    async def test_only_calls_of_the_same_cap_count(self, tmp_path: Path) -> None:
        store = f"sqlite:///{tmp_path}/steps.db"
        outer = StepCap(9, store=store)
        inner = StepCap(1, store=store, name="inner")
        answers = await run(invoke, inner.model(gpt()), 3, outer, inner)
        assert [done(answer) for answer in answers] == [[], ["capped"], ["stopped"]]


class TestBesideOthers:
    @every_way
    @pytest.mark.parametrize("first", [True, False])
    async def test_the_refusal_of_a_guard_stays_its_own(
        self, ask: Ask, first: bool
    ) -> None:
        model, cap = gpt(), StepCap(9)
        guard = BudgetGuard(Budget(calls=1, per="run", name="steps"))
        handlers = [guard, cap] if first else [cap, guard]
        with pytest.raises(BudgetExceededError) as caught:
            await run(ask, cap.model(model), 2, *handlers)
        assert caught.value.budget is guard.budgets[0]
        assert not cap.refused(caught.value)
        assert len(model.calls) == 1

    @every_way
    @pytest.mark.parametrize("first", [True, False])
    async def test_a_guard_counts_what_the_cap_lets_through(
        self, ask: Ask, first: bool
    ) -> None:
        ledger, cap, guard = (
            TokenLedger(),
            StepCap(2),
            BudgetGuard(Budget(calls=9, per="day")),
        )
        handlers = [guard, cap] if first else [cap, guard]
        await run(ask, cap.model(gpt()), 5, ledger, *handlers)
        (status,) = guard.status()
        assert (status.used, status.held) == (3, 0)
        assert ledger.totals().calls == 3

    async def test_the_models_of_guards_and_caps_do_not_nest(self) -> None:
        cap, guard = StepCap(), BudgetGuard(Budget(calls=9, per="day"))
        with pytest.raises(ConfigurationError, match="do not stand in each other"):
            cap.model(guard.model(gpt()))
        with pytest.raises(ConfigurationError, match="takes a chat model"):
            guard.model(cap.model(gpt()))

    @every_way
    async def test_a_store_that_is_gone_refuses(self, ask: Ask) -> None:
        store = Leaving()
        store.gone = True
        cap = StepCap(2, store=store)
        with pytest.raises(BudgetStoreError):
            await run(ask, cap.model(gpt()), 1, cap)

    @pytest.mark.parametrize("ask", [invoke, ainvoke])
    async def test_a_store_that_is_gone_refuses_a_retry(self, ask: Ask) -> None:
        store = Leaving()

        def fail(_: Any) -> str:
            store.gone = True
            raise ConnectionError("down")

        cap = StepCap(9, store=store)
        with pytest.raises(BudgetStoreError):
            await run(ask, cap.model(retried(gpt(fail))), 1, cap)

    @pytest.mark.parametrize("metadata", [{}, {"thread_id": "t", "ls_integration": ""}])
    def test_without_its_store_it_can_count_by_itself(self, metadata: Any) -> None:
        store, model = Leaving(), gpt()
        cap = StepCap(2, store=store, on_store_error="local")

        def body(_: Any) -> Any:
            return [cap.model(model).invoke("Hello") for _ in range(4)]

        for store.gone in (False, True, True):
            config: Any = {"callbacks": [cap], "metadata": metadata}
            answers = RunnableLambda(body).invoke("", config)
            assert [done(a) for a in answers] == [[], [], ["capped"], ["stopped"]]


class TestWhatIsAsked:
    @pytest.mark.parametrize("max_calls", [-1, 2.0, "20", None, True])
    def test_a_number_of_calls(self, max_calls: Any) -> None:
        with pytest.raises(ConfigurationError, match="max_calls= is a whole number"):
            StepCap(max_calls)

    @pytest.mark.parametrize("repeat", [-1, 0, 1, 2.0, "3", True])
    def test_repeats_or_none(self, repeat: Any) -> None:
        with pytest.raises(ConfigurationError, match="repeat= is a whole number"):
            StepCap(repeat=repeat)

    @pytest.mark.parametrize("model", [None, "gpt-5", RunnableLambda(str)])
    def test_a_chat_model(self, model: Any) -> None:
        with pytest.raises(ConfigurationError, match="takes a chat model"):
            StepCap().model(model)

    def test_a_model_that_takes_tools_where_some_are_bound(self) -> None:
        model = StepCap().model(GenericFakeChatModel(messages=iter(["Hello"])))
        with pytest.raises(ConfigurationError, match="takes no tools"):
            model.bind_tools([search])

    def test_tools_once(self) -> None:
        model = StepCap().model(gpt()).bind_tools([search])
        with pytest.raises(ConfigurationError, match="bound once"):
            model.bind_tools([search])

    @every_way
    async def test_a_run_that_is_told_of_the_cap(self, ask: Ask) -> None:
        model, cap = gpt(), StepCap()
        with pytest.raises(ConfigurationError, match=r'"callbacks": \[cap\]'):
            await run(ask, cap.model(model), 1)
        assert model.calls == []

    def test_it_says_what_it_is(self) -> None:
        assert repr(StepCap(7)) == "StepCap(7, repeat=3, store=MemoryStorage)"


class TestGoingRound:
    @every_way
    async def test_the_same_call_three_times_in_a_row_gets_an_answer_without_tools(
        self, ask: Ask
    ) -> None:
        ledger, model, cap = TokenLedger(), gpt(), StepCap(20)
        chat = [HumanMessage("Where?"), *called("a"), *called("a"), *called("a")]
        tooled = cap.model(model.bind_tools([search]))
        (answer,) = await run(ask, tooled, 1, ledger, cap, prompt=chat)
        reason = "the same tool calls came 3 times in a row"
        note = {"lever": "steps", "action": "looped", "reason": reason}
        assert answer.response_metadata["lean"] == [note]
        assert [tuple(n.kind) for n in ledger.notices()] == [tuple(note.values())]
        (call,) = model.calls
        assert "tools" not in call.kwargs
        assert call.messages[-1].content == finish.INSTRUCTION

    @every_way
    async def test_it_is_a_call_that_counts(self, ask: Ask) -> None:
        model, cap = gpt(), StepCap(1)
        chat = [HumanMessage("Where?"), *called("a"), *called("a"), *called("a")]
        tooled = cap.model(model.bind_tools([search]))
        answers = await run(ask, tooled, 3, cap, prompt=chat)
        assert [done(a) for a in answers] == [["looped"], ["capped"], ["stopped"]]

    @pytest.mark.parametrize(("repeat", "expected"), [(None, []), (2, ["looped"])])
    async def test_how_often_is_the_users_to_say(
        self, repeat: int | None, expected: list[str]
    ) -> None:
        cap = StepCap(repeat=repeat)
        chat = [HumanMessage("Where?"), *called("a"), *called("a")]
        tooled = cap.model(gpt().bind_tools([search]))
        (answer,) = await run(invoke, tooled, 1, cap, prompt=chat)
        assert done(answer) == expected

    async def test_a_model_without_tools_answers_as_it_is_asked(self) -> None:
        cap, model = StepCap(), gpt()
        chat = [HumanMessage("Where?"), *called("a"), *called("a"), *called("a")]
        (answer,) = await run(invoke, cap.model(model), 1, cap, prompt=chat)
        assert done(answer) == []
        assert list(model.calls[0].messages) == chat

    def test_other_arguments_are_another_call(self) -> None:
        assert not goes_round([*called("a"), *called("b"), *called("a")], 2)

    def test_an_answer_between_begins_anew(self) -> None:
        chat = [*called("a"), AIMessage("Here."), *called("a")]
        assert not goes_round(chat, 2)

    def test_after_an_answer_nothing_goes_round(self) -> None:
        chat = [*called("a"), *called("a"), AIMessage("Here.")]
        assert not goes_round(chat, 2)

    def test_a_question_between_begins_anew(self) -> None:
        chat = [*called("a"), HumanMessage("And there?"), *called("a")]
        assert not goes_round(chat, 2)

    def test_a_reminder_between_changes_nothing(self) -> None:
        chat = [*called("a"), SystemMessage("Be quick."), *called("a")]
        assert goes_round(chat, 2)

    def test_one_answer_with_the_same_call_several_times_is_no_loop(self) -> None:
        assert not goes_round(called("a", "a", "a"), 2)

    def test_calls_beside_each_other_are_compared_whatever_their_order(self) -> None:
        assert goes_round([*called("a", "b"), *called("b", "a")], 2)
        assert not goes_round([*called("a", "b"), *called("a", "c")], 2)

    def test_the_order_of_arguments_does_not_matter(self) -> None:
        one, other = (
            {"x": 1, "y": [{"p": 1, "q": 2}]},
            {"y": [{"q": 2, "p": 1}], "x": 1},
        )
        assert goes_round([*calling(one), *calling(other)], 2)

    @pytest.mark.parametrize("other", [{"x": True}, {"x": "1"}, {"x": None}, {}])
    def test_arguments_of_another_type_are_others(self, other: dict[str, Any]) -> None:
        assert not goes_round([*calling({"x": 1}), *calling(other)], 2)

    @given(
        st.lists(st.sampled_from("ab"), max_size=8), st.integers(2, 5), st.booleans()
    )
    def test_it_is_seen_exactly_when_the_last_calls_are_the_same(
        self, queries: list[str], times: int, pending: bool
    ) -> None:
        chat = [HumanMessage("a"), *(m for query in queries for m in called(query))]
        if pending and queries:
            chat.pop()  # its result has not come yet
        tail = queries[-times:]
        assert goes_round(chat, times) == (len(tail) == times and len({*tail}) == 1)


def called(*queries: str) -> list[AnyMessage]:
    """An answer that searches for these, and what was found."""
    return calling(*({"query": query} for query in queries))


def calling(*arguments: dict[str, Any]) -> list[AnyMessage]:
    calls = [
        tool_call(name="search", args=args, id=f"call-{number}")
        for number, args in enumerate(arguments)
    ]
    results = [ToolMessage("found", tool_call_id=str(call["id"])) for call in calls]
    return [AIMessage("", tool_calls=calls), *results]


def retried(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The model, tried three times without a pause."""
    return model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)


class Leaving(MemoryStorage):
    """A store that nobody can reach while it is gone."""

    gone = False

    def _reserve(self, wanted: Any, seconds: float) -> Any:
        if self.gone:
            raise StorageError("The store is gone.")
        return super()._reserve(wanted, seconds)


@pytest.mark.parametrize("form", ["invoke", "stream"])
def test_a_last_answer_calls_no_tool_that_nobody_offered(form: str) -> None:
    blocks: Any = [
        {"type": "text", "text": "I look it up."},
        {"type": "tool_use", "id": "1", "name": "look_up", "input": {}},
        {"type": "input_json_delta", "partial_json": "{}"},
    ]
    call = {"name": "look_up", "args": {}, "id": "1"}
    answers = ScriptedChatModel(responses=[AIMessage(blocks, tool_calls=[call])])
    cap = StepCap(0)
    capped = cap.model(answers).with_config(callbacks=[cap])
    if form == "invoke":
        answer = capped.invoke("Why?")
    else:
        first, *others = capped.stream("Why?")
        answer = sum(others, first)
    assert answer.tool_calls == []
    assert [block["type"] for block in answer.content] == ["text"]
