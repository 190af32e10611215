"""A summarizing memory in an agent."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call

from langchain_lean import SummaryMemory, TokenLedger
from langchain_lean.middleware import SummaryMemoryMiddleware
from tests.integration.middleware.agents import (
    Run,
    answer,
    asked,
    both,
    both_streams,
    calling,
    every_way,
    on_thread,
    plain,
    scripted,
    sent,
    thread,
)

NOTES = "They spoke of the harbor."
LONG = "The harbor is closed in strong wind, so they went to the market. " * 8
keeping = pytest.mark.parametrize("keep_history", [False, True])


def memory(notes: Any = NOTES, **options: Any) -> SummaryMemoryMiddleware:
    """A memory of some two turns."""
    limits = {"max_tokens": 600, "keep_tokens": 200, "max_summary_tokens": 100}
    given = {**limits, "always": True, **options}
    return SummaryMemoryMiddleware(SummaryMemory(scripted(notes, loop=True), **given))


async def talked(run: Run, agent: Any, turns: int = 6, **config: Any) -> Any:
    for number in range(turns):
        state = await run(agent, asked(f"{number}: {LONG}"), thread(**config))
    return state


def holds(messages: Any, text: str) -> bool:
    return any(text in str(message.content) for message in messages)


class TestAConversation:
    @every_way
    async def test_what_left_it_left_the_state(self, run: Run) -> None:
        model = scripted("Fine.", loop=True)
        state = await talked(run, on_thread(model, memory()))
        assert len(state["messages"]) < 10
        assert holds(state["messages"], NOTES)
        assert not holds(state["messages"], "0: ")
        assert answer(state).content == "Fine."

    @every_way
    async def test_the_history_can_stay(self, run: Run) -> None:
        model = scripted("Fine.", loop=True)
        state = await talked(run, on_thread(model, memory(keep_history=True)))
        assert [str(m.content)[:2] for m in state["messages"][::2]] == [
            f"{number}:" for number in range(6)
        ]
        assert holds(state["short_messages"], NOTES)
        assert not holds(state["messages"], NOTES)

    @both
    @keeping
    async def test_the_model_is_sent_the_notes_and_what_is_new(
        self, run: Run, keep_history: bool
    ) -> None:
        model = scripted("Fine.", loop=True)
        agent = on_thread(model, memory(keep_history=keep_history), system_prompt="Be.")
        await talked(run, agent)
        messages = model.calls[-1].messages
        assert [messages[0].type, messages[0].content] == ["system", "Be."]
        assert holds(messages, NOTES)
        assert holds(messages, "5: ")
        assert not holds(messages, "0: ")

    @both
    @keeping
    async def test_a_short_one_is_sent_as_it_is(
        self, run: Run, keep_history: bool
    ) -> None:
        script = [calling("search"), "There.", "Fine."]
        prompts, states = [], []
        for middleware in ([], [memory(keep_history=keep_history)]):
            model = scripted(*script)
            agent = on_thread(model, *middleware)
            for text in ("Where is it?", "Thanks."):
                state = await run(agent, asked(text), thread())
            prompts.append(sent(model))
            states.append([plain(message) for message in state["messages"]])
        assert prompts[0] == prompts[1]
        assert states[0] == states[1]

    @both
    @keeping
    async def test_a_long_turn_of_tool_calls_stays_whole(
        self, run: Run, keep_history: bool
    ) -> None:
        script = [
            *(calling("search", text=LONG, query=f"{n}") for n in range(4)),
            "So.",
        ]
        model = scripted(*script)
        agent = on_thread(model, memory(keep_history=keep_history))
        state = await run(agent, asked(), thread())
        assert answer(state).content == "So."
        assert len(model.calls[-1].messages) == 9

    @both
    @keeping
    async def test_a_tool_call_that_cannot_be_read_is_answered(
        self, run: Run, keep_history: bool
    ) -> None:
        broken = invalid_tool_call(name="search", args="{", id="1", error="no JSON")
        model = scripted(AIMessage("", invalid_tool_calls=[broken]), "There.", "Fine.")
        agent = on_thread(model, memory(keep_history=keep_history))
        for text in ("Where is it?", "And now?"):
            await run(agent, asked(text), thread())
        bare = scripted(AIMessage("", invalid_tool_calls=[broken]), "There.", "Fine.")
        agent = on_thread(bare)
        for text in ("Where is it?", "And now?"):
            await run(agent, asked(text), thread())
        assert sent(model) == sent(bare)


class TestAStream:
    @keeping
    @both_streams
    async def test_it_shows_no_notes(self, parts: Run, keep_history: bool) -> None:
        model = scripted("Fine.", loop=True)
        agent = on_thread(model, memory(keep_history=keep_history))
        shown: list[Any] = []
        for number in range(6):
            shown += await parts(agent, asked(f"{number}: {LONG}"), thread())
        assert holds(model.calls[-1].messages, NOTES)
        said = [piece.text for piece, _ in shown if piece.type == "AIMessageChunk"]
        assert "".join(said) == "Fine." * 6


class TestTheLedger:
    @both
    async def test_it_counts_what_the_notes_save_and_cost(self, run: Run) -> None:
        ledger = TokenLedger()
        agent = on_thread(scripted("Fine.", loop=True), memory())
        await talked(run, agent, callbacks=[ledger])
        assert {entry.source for entry in ledger.entries()} == {None, "memory"}
        assert ledger.savings().levers["memory"].count > 0
