"""The memory as a node of a graph, beside its history, and in a chain."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import ChatPromptTemplate
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages
from pydantic import BaseModel

from langchain_lean import SummaryMemory, TokenLedger
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ExtractiveChatModel
from tests.unit.context.conversations import (
    COUNTER,
    chat,
    facts,
    ids,
    is_summary,
    looked_up,
    memory,
    prompts,
    sliding,
    summarizer,
    summary_of,
    texts,
    turn,
    used,
    words,
)

Run = Callable[[SummaryMemory, Any], Awaitable[Any]]

SYSTEM = SystemMessage("You are a guide.", id="system")
LONG = chat(12)


async def run(shorten: SummaryMemory, given: Any) -> Any:
    return shorten.invoke(given)


async def arun(shorten: SummaryMemory, given: Any) -> Any:
    return await shorten.ainvoke(given)


both = pytest.mark.parametrize("run", [run, arun])


def after(messages: Sequence[BaseMessage], update: dict[str, Any]) -> list[BaseMessage]:
    """A channel of messages after the update of a node."""
    return add_messages(list(messages), update.get("messages", []))  # type: ignore[return-value, arg-type]


def pinned(*pinned_ids: str) -> Callable[[BaseMessage], bool]:
    return lambda message: message.id in pinned_ids


class TestNode:
    @both
    async def test_the_summary_takes_the_first_removed_id(self, run: Run) -> None:
        update = await run(memory(), {"messages": LONG})
        summary, *removed = update["messages"]
        assert summary.id == "human-0"
        assert "Notes." in summary.content
        assert {type(each) for each in removed} == {RemoveMessage}

    @both
    async def test_the_others_are_removed_one_by_one(self, run: Run) -> None:
        update = await run(memory(), {"messages": LONG})
        kept = after(LONG, update)
        _, *removed = update["messages"]
        assert ids(removed) == ids(LONG)[1 : len(removed) + 1]
        assert kept[1:] == LONG[len(removed) + 1 :]
        assert REMOVE_ALL_MESSAGES not in ids(update["messages"])

    @both
    async def test_nothing_is_updated_where_nothing_is_to_be_done(
        self, run: Run
    ) -> None:
        assert await run(memory(), {"messages": chat(2)}) == {}

    def test_nothing_is_updated_where_a_summary_stands_and_all_is_short(self) -> None:
        short = after(LONG, memory().invoke({"messages": LONG}))
        assert memory().invoke({"messages": short}) == {}

    def test_the_second_summary_stands_in_the_place_of_the_first(self) -> None:
        model = summarizer("First.", "Second.")
        shorten = memory(model)
        once = after(LONG, shorten.invoke({"messages": LONG}))
        longer = [*once, *chat(10, first=13)]
        twice = after(longer, shorten.invoke({"messages": longer}))
        assert [m.id for m in twice if is_summary(m)] == ["human-0"]
        assert "First.\nSecond." in str(twice[0].content)
        assert summary_of(twice)["messages"] > summary_of(once)["messages"]

    def test_messages_without_ids_are_refused_in_one_sentence(self) -> None:
        bare = [m.model_copy(update={"id": None}) for m in LONG]
        with pytest.raises(ConfigurationError, match=r"ids, which add_messages gives"):
            memory().invoke({"messages": bare})

    def test_messages_without_ids_are_taken_while_nothing_leaves(self) -> None:
        assert memory().invoke({"messages": [HumanMessage("Hi.")]}) == {}

    def test_a_pydantic_state_is_taken(self) -> None:
        class State(BaseModel):
            messages: list[Any]

        update = memory().invoke(State(messages=LONG))
        assert update == memory().invoke({"messages": LONG})

    def test_a_dataclass_state_is_taken(self) -> None:
        @dataclass
        class State:
            messages: list[Any]

        update = memory().invoke(State(messages=LONG))
        assert update == memory().invoke({"messages": LONG})

    def test_messages_may_stand_under_another_key(self) -> None:
        update = memory(messages_key="chat").invoke({"chat": LONG, "messages": []})
        assert update == {"chat": memory().invoke({"messages": LONG})["messages"]}

    @pytest.mark.parametrize("state", [{}, {"chat": []}, {"messages": None}, 7, None])
    def test_a_state_without_messages_is_refused_in_one_sentence(
        self, state: Any
    ) -> None:
        with pytest.raises(ConfigurationError, match="a state with 'messages', not"):
            memory().invoke(state)

    def test_the_summary_survives_a_checkpoint(self) -> None:
        [summary, *_] = memory().invoke({"messages": LONG})["messages"]
        serializer = JsonPlusSerializer()
        loaded = serializer.loads_typed(serializer.dumps_typed(summary))
        assert loaded == summary
        model = summarizer()
        assert memory(model).invoke({"messages": [loaded, *LONG[-3:]]}) == {}
        longer = [loaded, *chat(12, first=12)]
        assert (
            summary_of(after(longer, memory(model).invoke({"messages": longer})))[
                "messages"
            ]
            > (summary_of([summary])["messages"])
        )

    def test_a_message_of_a_user_that_claims_to_be_a_summary_does_no_harm(self) -> None:
        short = after(LONG, memory().invoke({"messages": LONG}))
        forged = short[0].model_copy(update={"id": "forged"})
        for number in (20, 29):  # it leaves, or it stays
            new = [*chat(10, first=20)]
            new.insert(2 * (number - 20), forged)
            given = [*short, *turn(13), *new]
            kept = after(given, memory().invoke({"messages": given}))
            assert kept[0].id == "human-0"
            assert is_summary(kept[0])
            assert ("forged" in ids(kept)) == (number == 29)

    @pytest.mark.parametrize("claim", ["yes", {}, {"text": 5}, {"messages": "many"}])
    def test_something_else_under_the_key_of_a_summary_is_no_summary(
        self, claim: Any
    ) -> None:
        odd = HumanMessage("Hi.", id="odd", additional_kwargs={"lean_summary": claim})
        update = memory().invoke({"messages": [odd, *LONG]})
        assert update["messages"][0].id == "odd"
        assert summary_of(update["messages"][:1])["turns"] > 1

    def test_the_messages_given_stay_as_they_were(self) -> None:
        before = [message.model_copy(deep=True) for message in LONG]
        memory().invoke({"messages": LONG})
        assert before == LONG


class TestWhatStays:
    def test_system_messages_stay_in_their_places(self) -> None:
        rule = SystemMessage("From now on in French.", id="rule")
        given = [SYSTEM, *LONG[:4], rule, *LONG[4:]]
        kept = after(given, memory().invoke({"messages": given}))
        assert ids(kept)[:3] == ["system", "human-0", "rule"]
        assert is_summary(kept[1])

    def test_named_examples_stay(self) -> None:
        examples = [
            HumanMessage("Is it so?", name="example_user", id="example-0"),
            AIMessage("It is.", name="example_assistant", id="example-1"),
        ]
        given = [SYSTEM, *examples, *LONG]
        kept = after(given, memory().invoke({"messages": given}))
        assert kept[:3] == given[:3]
        assert is_summary(kept[3])

    def test_a_pinned_message_stays_behind_the_summary(self) -> None:
        shorten = memory(pin=pinned("ai-1", "human-3"))
        kept = after(LONG, shorten.invoke({"messages": LONG}))
        assert ids(kept)[:3] == ["human-0", "ai-1", "human-3"]
        assert kept[1:3] == [LONG[3], LONG[6]]

    def test_a_pinned_message_that_leads_stays_before_the_summary(self) -> None:
        shorten = memory(pin=pinned("human-0"))
        kept = after(LONG, shorten.invoke({"messages": LONG}))
        assert ids(kept)[:2] == ["human-0", "ai-0"]
        assert is_summary(kept[1])

    @pytest.mark.parametrize("pin", ["calls-1", "result-1-0", "result-1-1"])
    def test_a_pin_keeps_a_call_with_all_its_results(self, pin: str) -> None:
        given = [*turn(0), *looked_up(1, "one", "two"), *chat(12, first=2)]
        shorten = memory(pin=pinned(pin))
        kept = after(given, shorten.invoke({"messages": given}))
        assert ids(kept)[1:4] == ["calls-1", "result-1-0", "result-1-1"]

    def test_a_pin_keeps_the_results_of_its_own_turn_where_an_id_comes_back(
        self,
    ) -> None:
        given = [m for number in range(10) for m in looked_up(number, "call")]
        shorten = memory(pin=pinned("result-1-0"))
        kept = after(given, shorten.invoke({"messages": [*given, turn(10)[0]]}))
        assert ids(kept)[:4] == ["human-0", "calls-1", "result-1-0", "human-9"]

    def test_turns_whose_call_ids_come_back_leave_one_by_one(self) -> None:
        given = [m for number in range(10) for m in looked_up(number, "call")]
        kept = after(given, memory().invoke({"messages": [*given, turn(10)[0]]}))
        assert is_summary(kept[0])
        assert ids(kept)[1] == "human-9"

    def test_the_last_turn_stays_whole_however_long_it_is(self) -> None:
        last = looked_up(12, *(f"c{n}" for n in range(30)))[:-1]
        given = [*LONG[:-1], *last]
        kept = after(given, memory().invoke({"messages": given}))
        assert kept[1:] == last

    def test_the_older_steps_of_the_last_turn_leave_where_that_is_asked_for(
        self,
    ) -> None:
        steps = [m for n in range(30) for m in looked_up(n, f"c{n}")[1:3]]
        given = [SYSTEM, turn(0)[0], *steps]
        kept = after(given, memory(split_last_turn=True).invoke({"messages": given}))
        assert ids(kept)[:3] == ["system", "human-0", "calls-0"]
        assert is_summary(kept[2])
        assert kept[-2:] == steps[-2:]

    def test_a_call_that_has_no_result_yet_stays(self) -> None:
        given = [*LONG[:-1], *looked_up(12, "open")[:2]]
        kept = after(given, memory().invoke({"messages": given}))
        assert kept[-2:] == given[-2:]

    def test_another_human_message_between_call_and_result_parts_nothing(self) -> None:
        question, call, result, answer = looked_up(10, "c")
        given = [
            *LONG[:-5],
            question,
            call,
            *turn(11)[:1],
            result,
            answer,
            *chat(1, 12),
        ]
        kept = after(given, memory(keep_tokens=0).invoke({"messages": given}))
        assert ("calls-10" in ids(kept)) == ("result-10-0" in ids(kept))


def view(state: dict[str, Any], shorten: SummaryMemory) -> dict[str, Any]:
    """A state after a node that leaves the messages alone."""
    return {**state, **shorten.invoke(state)}


class TestBesideTheHistory:
    @both
    async def test_the_history_stays_and_the_short_one_has_its_own_key(
        self, run: Run
    ) -> None:
        update = await run(memory(keep_history=True), {"messages": LONG})
        assert list(update) == ["short_messages"]
        rewritten = after(LONG, memory().invoke({"messages": LONG}))
        assert update["short_messages"] == rewritten

    def test_the_short_key_is_filled_before_anything_leaves(self) -> None:
        update = memory(keep_history=True).invoke({"messages": chat(1)})
        assert update == {"short_messages": chat(1)}

    def test_an_empty_history_has_an_empty_view(self) -> None:
        shorten = memory(keep_history=True)
        assert shorten.invoke({"messages": []}) == {"short_messages": []}

    def test_the_keys_may_have_other_names(self) -> None:
        shorten = memory(keep_history=True, messages_key="chat", short_key="sent")
        assert list(shorten.invoke({"chat": LONG})) == ["sent"]

    def test_turn_by_turn_it_sends_what_the_rewriting_form_sends(self) -> None:
        beside, rewriting = summarizer(facts), summarizer(facts)
        state: dict[str, Any] = {"messages": []}
        messages: list[BaseMessage] = []
        kept, rewritten = memory(beside, keep_history=True), memory(rewriting)
        for number in range(40):
            new = turn(number, f"Gate {number} is red.")
            state = view({**state, "messages": [*state["messages"], new[0]]}, kept)
            messages = [*messages, new[0]]
            messages = after(messages, rewritten.invoke({"messages": messages}))
            assert state["short_messages"] == messages
            state["messages"].append(new[1])
            messages.append(new[1])
        assert len(state["messages"]) == 80
        assert prompts(beside) == prompts(rewriting)
        assert len(beside.calls) > 2

    def test_another_process_goes_on_where_the_state_stands(self) -> None:
        state = view({"messages": LONG}, memory(keep_history=True))
        state["messages"] = [*LONG, *chat(1, first=13)]
        model = summarizer()
        shown = memory(model, keep_history=True).invoke(state)["short_messages"]
        assert model.calls == []
        assert (
            shown[-2:] == LONG[-1:] + state["messages"][-1:]
            or shown[-1] == (state["messages"][-1])
        )

    def test_another_process_finds_the_summary_inside_of_a_split_turn(self) -> None:
        steps = [m for n in range(30) for m in looked_up(n, f"c{n}")[1:3]]
        first = memory(keep_history=True, split_last_turn=True)
        state = view({"messages": [turn(0)[0], *steps]}, first)
        model = summarizer()
        again = memory(model, keep_history=True, split_last_turn=True)
        assert view(state, again) == state
        assert model.calls == []

    @pytest.mark.parametrize("with_ids", [True, False])
    def test_the_newest_message_is_always_in_the_view(self, with_ids: bool) -> None:
        shorten = memory(keep_history=True)
        given = LONG if with_ids else [bare(message) for message in LONG]
        state = view({"messages": given}, shorten)
        new = turn(13)[0] if with_ids else bare(turn(13)[0])
        state = view({**state, "messages": [*given, turn(12)[1], new]}, shorten)
        assert state["short_messages"][-1] == new
        assert len(state["short_messages"]) < len(given)

    def test_a_message_removed_from_the_history_leaves_the_view(self) -> None:
        shorten = memory(keep_history=True)
        state = view({"messages": LONG}, shorten)
        removed = state["short_messages"][-2]
        state["messages"] = [m for m in LONG if m is not removed]
        assert removed.id not in ids(view(state, shorten)["short_messages"])

    def test_a_message_edited_in_the_history_is_edited_in_the_view(self) -> None:
        shorten = memory(keep_history=True, pin=pinned("ai-0"))
        state = view({"messages": [SYSTEM, *LONG]}, shorten)
        edited = {
            "system": SystemMessage("You are a cook.", id="system"),
            "ai-0": AIMessage("I was wrong.", id="ai-0"),
            "human-12": HumanMessage("Rather this?", id="human-12"),
        }
        state["messages"] = [edited.get(str(m.id), m) for m in state["messages"]]
        shown = {m.id: m for m in view(state, shorten)["short_messages"]}
        assert [shown[each] for each in edited] == list(edited.values())

    def test_a_history_whose_summarized_end_is_gone_is_summarized_anew(self) -> None:
        model = summarizer("Old.", "New.")
        shorten = memory(model, keep_history=True)
        state = view({"messages": LONG}, shorten)
        state["messages"] = chat(13, first=50)
        shown = view(state, shorten)["short_messages"]
        assert "New." in shown[0].content
        assert "Old." not in shown[0].content

    def test_an_edited_history_is_measured_itself(self) -> None:
        """The newest answer's usage is of the view, which does not stand for it."""
        shorten = memory(keep_history=True)
        state = view({"messages": LONG}, shorten)
        answered = AIMessage("So.", id="ai-12", usage_metadata=used(200))
        state["messages"] = [*chat(12, first=50), answered, *turn(90)[:1]]
        shown = view(state, shorten)["short_messages"]
        assert COUNTER.count(shown) <= 600


def bare(message: BaseMessage) -> BaseMessage:
    return message.model_copy(update={"id": None})


def sent(shorten: SummaryMemory, messages: Any) -> list[BaseMessage]:
    return shorten.invoke(messages)  # type: ignore[no-any-return]


class TestChain:
    @both
    async def test_messages_come_back_shorter(self, run: Run) -> None:
        short = await run(memory(), LONG)
        assert short == after(LONG, memory().invoke({"messages": LONG}))

    def test_a_short_conversation_comes_back_as_it_is(self) -> None:
        assert sent(memory(), chat(2)) == chat(2)

    @pytest.mark.parametrize("empty", [[], (), ""])
    def test_an_empty_conversation_is_no_error(self, empty: Any) -> None:
        assert texts(sent(memory(), empty)) in ([], [""])

    def test_every_form_of_messages_is_taken(self) -> None:
        pairs = [("human" if m.type == "human" else "ai", m.content) for m in LONG]
        short = sent(memory(), pairs)
        assert texts(short) == texts(sent(memory(), LONG))

    def test_it_stands_between_a_prompt_and_a_model(self) -> None:
        prompt = ChatPromptTemplate(
            [("system", "Be brief."), ("placeholder", "{history}"), ("human", "{ask}")]
        )
        answering = summarizer("So.")
        chain = prompt | memory() | answering
        assert chain.invoke({"history": LONG[:-1], "ask": "Why?"}).text == "So."
        [call] = answering.calls
        assert texts(call.messages)[0] == "Be brief."
        assert is_summary(call.messages[1])
        assert call.messages[-1].text == "Why?"
        assert len(call.messages) < 10

    def test_a_chain_streams(self) -> None:
        chain = memory() | summarizer("So it is.")
        assert [c.text for c in chain.stream(LONG)][:3] == ["So ", "it ", "is."]

    @both
    async def test_a_growing_chat_is_summarized_as_rarely_as_in_a_graph(
        self, run: Run
    ) -> None:
        chained, rewriting = summarizer(facts), summarizer(facts)
        chain, node = memory(chained), memory(rewriting)
        history: list[BaseMessage] = []
        messages: list[BaseMessage] = []
        for number in range(100):
            question, answer = turn(number, f"Gate {number} is red.")
            short = await run(chain, [*history, question])
            update = await run(node, {"messages": [*messages, question]})
            messages = after([*messages, question], update)
            assert short == messages
            history += question, answer
            messages.append(answer)
        assert len(chained.calls) == len(rewriting.calls) < 40

    def test_messages_made_anew_each_time_are_known_again(self) -> None:
        """A chain gets its history from a database, without ids."""
        model = summarizer()
        shorten = memory(model)
        sent(shorten, [bare(m) for m in LONG])
        again = sent(shorten, [bare(m) for m in [*LONG, turn(12)[1], turn(13)[0]]])
        assert len(model.calls) == 1
        assert again[-1].text == turn(13)[0].text

    def test_what_comes_back_may_be_the_next_history(self) -> None:
        model = summarizer("One.", "Two.")
        shorten = memory(model)
        short = sent(shorten, LONG)
        twice = sent(shorten, [*short, turn(12)[1], *chat(10, first=13)])
        assert [is_summary(m) for m in twice].count(True) == 1
        assert "One.\nTwo." in twice[0].text

    def test_users_with_the_same_beginning_keep_their_own_ends(self) -> None:
        model = summarizer(facts)
        shorten = memory(model, keep_tokens=0)
        start = chat(8)[:-1]
        ada = [*start, *turn(50, "Gate 1 is red."), *chat(6, first=51)]
        bob = [*start, *turn(60, "Gate 2 is blue."), *chat(6, first=61)]
        for each in (ada, bob):
            sent(shorten, each)
        told = {"ada": sent(shorten, ada)[0].text, "bob": sent(shorten, bob)[0].text}
        assert "Gate 1 is red." in told["ada"]
        assert "Gate 2" not in told["ada"]
        assert "Gate 2 is blue." in told["bob"]
        assert "Gate 1" not in told["bob"]

    @pytest.mark.parametrize(
        "other",
        [
            HumanMessage("Gate 7 is green."),
            AIMessage("Question 3."),
            HumanMessage("Question 3.", name="bob"),
        ],
    )
    def test_a_conversation_that_differs_in_one_message_is_not_known(
        self, other: BaseMessage
    ) -> None:
        model = summarizer()
        shorten = memory(model)
        sent(shorten, LONG)
        sent(shorten, [*LONG[:6], other, *LONG[7:]])
        assert len(model.calls) == 2

    def test_only_the_newest_summaries_are_remembered(self) -> None:
        model = summarizer()
        shorten = memory(model, max_tokens=120, keep_tokens=0)
        first, newest = chat(2), chat(2, first=1_000)
        for number in range(1_001):
            sent(shorten, chat(2, first=number))
        asked = len(model.calls)
        sent(shorten, newest)
        assert len(model.calls) == asked
        sent(shorten, first)
        assert len(model.calls) == asked + 1

    def test_a_message_object_that_stands_twice_loses_nothing(self) -> None:
        question, answer = turn(0)
        short = sent(memory(), [question, answer] * 12 + [question])
        assert is_summary(short[0])
        assert short[1:] == [*[question, answer] * (len(short) // 2 - 1), question]
        assert summary_of(short)["messages"] == 25 - len(short[1:])

    def test_a_batch_is_one_call_each(self) -> None:
        shorts = memory().batch([LONG, chat(2), chat(12, first=50)])
        assert [is_summary(short[0]) for short in shorts] == [True, False, True]

    def test_many_threads_each_keep_their_own(self) -> None:
        shorten = memory(summarizer(facts), keep_tokens=0)
        start = threading.Barrier(8)

        def talk(user: int) -> list[str]:
            history: list[BaseMessage] = turn(0, f"Gate {user} is red.")
            start.wait()
            for number in range(1, 25):
                history += turn(number)
                short = sent(shorten, [*history, turn(number + 1)[0]])
            return texts(short)

        with ThreadPoolExecutor(8) as threads:
            for user, said in enumerate(threads.map(talk, range(8))):
                assert f"Gate {user} is red." in said[0]
                assert said[0].count("Gate") == 1

    async def test_many_tasks_each_keep_their_own(self) -> None:
        shorten = memory(summarizer(facts), keep_tokens=0)

        async def talk(user: int) -> str:
            history = [*turn(0, f"Gate {user} is red."), *LONG]
            short = await shorten.ainvoke(history)
            return texts(short)[0]

        for user, said in enumerate(await asyncio.gather(*map(talk, range(8)))):
            assert f"Gate {user} is red." in said


class TestWaterMarks:
    def test_little_is_left_after_a_compression(self) -> None:
        shorten = memory(summarizer(words("Notes", 300)))
        short = sent(shorten, [SYSTEM, *LONG])
        assert COUNTER.count(short[2:]) <= 200
        assert COUNTER.count(short) <= 200 + 100 + COUNTER.count([SYSTEM]) + 40

    def test_what_must_stay_takes_from_what_is_kept(self) -> None:
        """Else the next turn would pass the limit again."""
        system = SystemMessage(words("Rules", 400), id="system")
        short = sent(memory(keep_tokens=590), [system, *LONG])
        assert COUNTER.count(short[2:]) <= (600 - COUNTER.count([system])) // 2

    def test_bound_tools_count(self) -> None:
        tool = {"name": "f", "description": words("Does", 600), "parameters": {}}
        answering = summarizer().bind_tools([{"type": "function", "function": tool}])
        shorten = memory(answer_model=answering)
        assert is_summary(sent(shorten, chat(3))[0])
        assert not is_summary(sent(memory(), chat(3))[0])

    def test_a_sliding_window_drops_whole_turns_unread(self) -> None:
        short = sent(sliding(), LONG)
        told = summary_of(short)
        assert told["unread"] == told["messages"] == len(LONG) - len(short) + 1
        assert f"{told['unread']} earlier messages" in short[0].text
        assert short[1].type == "human"

    def test_a_sliding_window_moves_on_in_a_growing_chat(self) -> None:
        shorten = sliding()
        shorts = [sent(shorten, chat(number)) for number in range(40)]
        starts = [short[1].text for short in shorts if is_summary(short[0])]
        assert len(set(starts)) < len(starts) / 3  # rare
        told = summary_of(shorts[-1])
        assert told["messages"] + len(shorts[-1]) - 1 == 79
        assert told["unread"] == told["messages"]


class TestEdits:
    """What happens to the history beside the memory."""

    def test_a_pin_of_another_conversation_is_not_taken_over(self) -> None:
        shorten = memory(pin=lambda m: bool(m.additional_kwargs.get("pin")))
        shorten.invoke(LONG)
        pinned = LONG[2].model_copy(update={"additional_kwargs": {"pin": True}})
        assert pinned in shorten.invoke([*LONG[:2], pinned, *LONG[3:]])

    def test_a_removed_message_is_not_in_a_view_any_more(self) -> None:
        model = summarizer()
        shorten = memory(model, keep_history=True)
        state = {"messages": LONG, **shorten.invoke({"messages": LONG})}
        shorten.invoke({**state, "messages": [LONG[0], *LONG[3:]]})
        assert LONG[1].text in prompts(model)[0]
        assert LONG[1].text not in prompts(model)[-1]

    def test_a_system_message_that_is_new_reaches_a_view(self) -> None:
        shorten = memory(keep_history=True)
        state = {"messages": LONG, **shorten.invoke({"messages": LONG})}
        rule = SystemMessage("Be brief.", id="rule")
        view = shorten.invoke({**state, "messages": [rule, *LONG]})["short_messages"]
        assert view[0] == rule

    def test_a_call_that_could_not_be_read_stays_with_its_result(self) -> None:
        broken = {"name": "find", "args": "{", "id": "i1", "error": None}
        call = AIMessage("", invalid_tool_calls=[broken], id="call")
        result = ToolMessage("Not JSON.", tool_call_id="i1", id="result")
        shorten = memory(pin=lambda message: message.type == "tool")
        kept = shorten.invoke([turn(0)[0], call, result, *LONG])
        assert kept[1:3] == [call, result]

    def test_the_last_human_message_stays_inside_of_a_split_turn(self) -> None:
        first, asked, found, _ = looked_up(0, "c0")
        stop = HumanMessage("Stop.", id="stop")
        later = [m for n in range(1, 9) for m in looked_up(n, f"c{n}")[1:3]]
        shorten = memory(split_last_turn=True, keep_tokens=0, max_tokens=150)
        assert stop in shorten.invoke([first, asked, stop, found, *later])


class TestBadInput:
    @pytest.mark.parametrize(
        "given",
        [
            [HumanMessage(words("Long", 2_000), id="one")],
            [
                ToolMessage(words("r"), tool_call_id=f"{n}", id=f"{n}")
                for n in range(40)
            ],
            [SystemMessage(words("Rules", 2_000), id="system")],
            [SystemMessage(words("Rules", 2_000), id="system"), *turn(0)[:1]],
            looked_up(0, *(f"c{n}" for n in range(40)))[:-1],
        ],
        ids=["one", "tools", "system", "rules", "step"],
    )
    @pytest.mark.parametrize("split_last_turn", [True, False])
    def test_what_cannot_leave_stays_and_a_notice_says_so(
        self, given: list[BaseMessage], split_last_turn: bool
    ) -> None:
        model, ledger = summarizer(), TokenLedger()
        shorten = memory(model, split_last_turn=split_last_turn)
        config: Any = {"callbacks": [ledger]}
        assert shorten.invoke({"messages": given}, config) == {}
        assert shorten.invoke(given, config) == given
        assert {notice.kind for notice in ledger.notices()} == {
            ("memory", "kept", "all that is above max_tokens must stay")
        }
        assert model.calls == []

    @pytest.mark.parametrize(
        "options",
        [
            {"max_tokens": 0},
            {"max_tokens": 1.5},
            {"max_tokens": "600"},
            {"max_tokens": True},
            {"keep_tokens": -1},
            {"keep_tokens": None},
            {"max_summary_tokens": 0},
            {"max_summary_tokens": "many"},
            {"hard_limit": 0},
            {"remaining_turns": -1},
            {"remaining_turns": 2.5},
        ],
        ids=str,
    )
    def test_a_number_that_cannot_be_is_refused_by_its_name(
        self, options: dict[str, Any]
    ) -> None:
        [name] = options
        with pytest.raises(ConfigurationError, match=f"^{name}= is a whole number"):
            memory(**options)

    @pytest.mark.parametrize("keep_tokens", [600, 601])
    def test_nothing_could_leave_where_keep_tokens_reaches_max_tokens(
        self, keep_tokens: int
    ) -> None:
        with pytest.raises(ConfigurationError, match="keep_tokens= less than"):
            memory(keep_tokens=keep_tokens)

    @pytest.mark.parametrize("cap", [600, 5_000])
    def test_notes_that_could_pass_the_limit_alone_get_half_of_it(
        self, cap: int
    ) -> None:
        model = summarizer(words("Notes", 900))
        short = memory(model, max_summary_tokens=cap).invoke(LONG)
        assert 200 < COUNTER.count(summary_of(short)["text"]) <= 300

    def test_a_pin_is_a_function(self) -> None:
        with pytest.raises(ConfigurationError, match="pin= a function"):
            memory(pin="ada")

    def test_what_is_short_needs_a_key_of_its_own(self) -> None:
        with pytest.raises(ConfigurationError, match="short_key= another name"):
            memory(messages_key="chat", short_key="chat", keep_history=True)

    @pytest.mark.parametrize(
        "given", [{"set"}, HumanMessage("Hi."), (m for m in LONG), 5, object()]
    )
    def test_what_is_neither_messages_nor_a_state_is_refused(self, given: Any) -> None:
        with pytest.raises(ConfigurationError, match="takes messages, a prompt, or"):
            memory().invoke(given)

    @pytest.mark.parametrize("model", ["gpt-5-mini", 7, lambda messages: "Notes."])
    @pytest.mark.parametrize("option", ["model", "answer_model"])
    def test_a_model_that_is_none_is_refused(self, option: str, model: Any) -> None:
        options = {"model": summarizer(), option: model}
        with pytest.raises(ConfigurationError, match="takes a chat model"):
            SummaryMemory(**options)

    def test_any_stand_in_or_model_in_a_chain_is_taken(self) -> None:
        for model in (
            ExtractiveChatModel(),
            summarizer().bind(stop=["\n\n"]),
            summarizer().with_config(tags=["own"]),
            summarizer().with_retry(),
            summarizer().with_fallbacks([summarizer()]),
        ):
            assert is_summary(
                sent(
                    SummaryMemory(
                        model,
                        max_tokens=600,
                        keep_tokens=200,
                        always=True,
                        counter=COUNTER,
                    ),
                    LONG,
                )[0]
            )
