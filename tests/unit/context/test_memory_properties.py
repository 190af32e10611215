"""What holds of the memory for every history, and of the recorded runs."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
    convert_to_messages,
)
from langgraph.graph.message import add_messages

from langchain_lean import SummaryMemory
from langchain_lean.messages import tool_calls, unpaired_tool_messages
from tests.prompt_shapes import converse_refusal, openai_refusal
from tests.unit.context.conversations import (
    COUNTER,
    agent_histories,
    chat,
    facts,
    ids,
    is_summary,
    limits,
    looked_up,
    memory,
    pins,
    prompts,
    sliding,
    summarizer,
    summary_of,
    texts,
    turn,
    words,
)

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("LEAN_DATA", ROOT.parent / "shared" / "data"))
FILE = DATA / "agents" / "airline_runs.jsonl"

Turns = list[list[BaseMessage]]


def unanswered(messages: list[BaseMessage]) -> set[str | None]:
    """The calls that no result follows."""
    results = {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
    return {c["id"] for m in messages for c in tool_calls(m)} - results


def played(shorten: SummaryMemory, turns: Turns) -> list[list[BaseMessage]]:
    """What stands in a graph's state after the memory, turn by turn."""
    state: list[BaseMessage] = []
    found = []
    for said in turns:
        state = [*state, *said]
        update = shorten.invoke({"messages": state}).get("messages", [])
        state = add_messages(state, update)  # type: ignore[assignment, arg-type]
        found.append(state)
    return found


def is_subsequence(few: list[Any], many: list[Any]) -> bool:
    left = iter(many)
    return all(each in left for each in few)


def prefix(messages: list[BaseMessage]) -> list[str]:
    """A prompt as a provider's cache compares it."""
    return [m.model_dump_json(exclude={"id"}) for m in messages]


@settings(max_examples=60, deadline=None)
@given(agent_histories(), limits, st.booleans())
def test_no_result_stands_without_its_call_and_no_call_loses_its_results(
    turns: Turns, options: dict[str, Any], sums_up: bool
) -> None:
    shorten = (memory if sums_up else sliding)(**options)
    whole: list[BaseMessage] = []
    for said, state in zip(turns, played(shorten, turns), strict=True):
        whole += said
        assert unpaired_tool_messages(state) == []
        assert unanswered(state) <= unanswered(whole)


@settings(max_examples=60, deadline=None)
@given(agent_histories(), limits)
def test_what_is_kept_is_kept_whole_and_in_order(
    turns: Turns, options: dict[str, Any]
) -> None:
    whole: list[BaseMessage] = []
    for said, state in zip(turns, played(memory(**options), turns), strict=True):
        whole += said
        kept = [message for message in state if not is_summary(message)]
        assert is_subsequence(kept, whole)
        assert len(state) - len(kept) <= 1
        if len(kept) < len(state):
            assert summary_of(state)["messages"] == len(whole) - len(kept)
        else:
            assert kept == whole


@settings(max_examples=60, deadline=None)
@given(agent_histories(), limits)
def test_system_messages_examples_pins_and_the_last_question_stay(
    turns: Turns, options: dict[str, Any]
) -> None:
    pin = options["pin"] or (lambda message: False)
    whole: list[BaseMessage] = []
    for said, state in zip(turns, played(memory(**options), turns), strict=True):
        whole += said
        staying = {
            message.id
            for message in whole
            if message.type == "system" or message.name or pin(message)
        }
        assert staying <= {*ids(state)}
        assert all(m in state for m in whole if m.id in staying)
        first, *others = [m for m in said if m.type == "human" and not m.name]
        assert (others or [first])[-1] in state


@settings(max_examples=60, deadline=None)
@given(agent_histories(), limits)
def test_node_chain_and_view_send_the_same(
    turns: Turns, options: dict[str, Any]
) -> None:
    if options["split_last_turn"]:
        options = {**options, "pin": None}  # see the next test
    chain, beside = memory(**options), memory(keep_history=True, **options)
    whole: list[BaseMessage] = []
    view: dict[str, Any] = {}
    for said, state in zip(turns, played(memory(**options), turns), strict=True):
        whole += said
        assert prefix(chain.invoke(whole)) == prefix(state)
        view = beside.invoke({"messages": whole, **view})
        assert view["short_messages"] == state


@pytest.mark.parametrize("keep_history", [True, False])
def test_steps_that_left_stay_away_when_only_their_question_leaves(
    keep_history: bool,
) -> None:
    """All else of the turn is pinned."""
    options: Any = {"split_last_turn": True, "keep_tokens": 0, "max_tokens": 300}
    model = summarizer()
    shorten = memory(model, keep_history=keep_history, pin=is_pinned, **options)
    steps = [looked_up(n, f"c{n}", result=words("Found", 60))[1:3] for n in range(4)]
    split = [turn(0)[0], *steps[0], *steps[1], *steps[2], *steps[3]]
    longer = [*split, HumanMessage(words("And now?", 170), id="more")]
    state: dict[str, Any] = {}
    for history in (split, longer, longer):
        if keep_history:
            state = shorten.invoke({"messages": history, **state})
        short = state["short_messages"] if keep_history else shorten.invoke(history)
    kept = [message.id for message in short if not is_summary(message)]
    assert kept == ["calls-3", "result-3-0", "more"]
    assert len(model.calls) == 2


def is_pinned(message: BaseMessage) -> bool:
    return message.id == "result-3-0"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=20),
    pins(),
    st.booleans(),
    st.booleans(),
)
def test_between_compressions_a_prompt_only_grows_at_its_end(
    lengths: list[int], pin: Any, chained: bool, split_last_turn: bool
) -> None:
    """Whatever is pinned keeps its place, so that a provider's cache goes on."""
    model = summarizer(*(f"Notes {n}." for n in range(20)))
    shorten = memory(model, pin=pin, split_last_turn=split_last_turn)
    history: list[BaseMessage] = []
    before: list[str] = []
    asked = 0
    for number, length in enumerate(lengths):
        question, answer = turn(number, "word " * length)
        history.append(question)
        if chained:
            now = shorten.invoke(history)
        else:
            update = shorten.invoke({"messages": history}).get("messages", [])
            history = now = add_messages(history, update)  # type: ignore[assignment, arg-type]
        if len(model.calls) == asked:
            assert prefix(now)[: len(before)] == before
        asked, before = len(model.calls), prefix(now)
        history = [*history, answer]


_CONTENTS = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="北京东京서울", min_size=1, max_size=400),
    st.text(alphabet="ab", min_size=3_000, max_size=4_000),
    st.just("\ud800 alone"),
    st.just(""),
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.text(max_size=30).map(lambda text: {"type": "text", "text": text}),
        ),
        max_size=3,
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_CONTENTS, _CONTENTS), min_size=2, max_size=8))
def test_every_text_that_leaves_was_read(contents: list[tuple[Any, Any]]) -> None:
    """Over as many calls as it takes: here a call reads 200 tokens."""
    model = summarizer()
    model.profile = {"max_input_tokens": 400}
    options: Any = {"max_tokens": 60, "keep_tokens": 0, "max_summary_tokens": 20}
    shorten = memory(model, answer_model=summarizer(), **options)
    history: list[BaseMessage] = []
    for number, (asked, said) in enumerate(contents):
        history += (
            HumanMessage(asked, id=f"h{number}"),
            AIMessage(said, id=f"a{number}"),
        )
    history.append(HumanMessage("Last?", id="last"))
    kept = shorten.invoke(history)
    left = [m for m in history if m not in kept]
    whole = "\n".join(record(prompt) for prompt in prompts(model))
    said = re.sub(r"^[0-9a-f]{8} (\w+, continued: )?", "", whole, flags=re.MULTILINE)
    read = said.replace("\n", "")
    at = 0
    for text in texts(left):
        for line in text.replace("\r", "\n").split("\n"):
            found = read.find(line, at)
            assert found >= 0
            at = found + len(line)


def record(prompt: str) -> str:
    """The record a summarizer was given, without what stands around it."""
    opening = prompt.index("<record-")
    fence = prompt[opening + 1 : prompt.index(">", opening)]
    start = opening + len(fence) + 3
    return prompt[start : prompt.index(f"\n</{fence}>", start)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=20))
def test_a_summary_never_passes_its_cap(answers: list[str]) -> None:
    shorten = memory(summarizer(*answers), max_summary_tokens=30)
    for number in range(0, 40, 3):
        for message in shorten.invoke(chat(number)):
            if is_summary(message):
                notes = message.additional_kwargs["lean_summary"]["text"]
                assert COUNTER.count(notes) <= 30


def test_the_first_fact_is_still_there_after_fifty_compressions() -> None:
    model = summarizer(facts)
    shorten = memory(model, max_summary_tokens=900, max_tokens=1_600)
    history: list[BaseMessage] = []
    number = compressions = 0
    while compressions < 50:
        told = f"Gate {number} is red." if number % 10 == 0 else ""
        history = [*history, *turn(number, told)]
        update = shorten.invoke({"messages": history}).get("messages", [])
        history = add_messages(history, update)  # type: ignore[assignment, arg-type]
        compressions += bool(update)
        number += 1
    assert "Gate 0 is red." in history[0].text.splitlines()
    assert "Gate 10 is red." in history[0].text


@cache
def runs() -> list[list[BaseMessage]]:
    if not FILE.exists():
        pytest.skip(f"needs agents/airline_runs.jsonl in LEAN_DATA (looked in {DATA})")
    with FILE.open(encoding="utf-8") as lines:
        found = [convert_to_messages(json.loads(line)["messages"]) for line in lines]
    for run in found:
        for number, message in enumerate(run):
            message.id = f"{number}"
    return found


@pytest.mark.evaluation_data
@pytest.mark.parametrize("refusal", [openai_refusal, converse_refusal])
@pytest.mark.parametrize(
    "options",
    [{}, {"split_last_turn": True}, {"pin": lambda m: int(m.id) % 7 == 3}],
    ids=["turns", "steps", "pins"],
)
@pytest.mark.parametrize("make", [memory, sliding])
def test_recorded_runs_are_accepted_after_every_compression(
    make: Any, options: dict[str, Any], refusal: Any
) -> None:
    compressions = 0
    for run in runs()[::4]:
        shorten = make(max_tokens=2_500, keep_tokens=500, **options)
        state: list[BaseMessage] = []
        for message in run:
            state.append(message)
            if message.type not in ("human", "tool") or waits(state):
                continue
            assert refusal(state) is None
            update = shorten.invoke({"messages": state}).get("messages", [])
            state = add_messages(state, update)  # type: ignore[assignment, arg-type]
            compressions += bool(update)
            assert refusal(state) is None
    assert compressions > 20


def waits(messages: list[BaseMessage]) -> bool:
    """Whether a call is still without its result."""
    last = next(at for at, m in enumerate(reversed(messages)) if m.type != "tool")
    return len(tool_calls(messages[-1 - last])) > last
