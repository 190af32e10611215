"""What the tests of the memory share: chats, summarizers, and what providers refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata

from langchain_lean import TokenCounter
from langchain_lean.context.memory import SummaryMemory
from langchain_lean.messages import message_text
from langchain_lean.testing import ScriptedChatModel
from tests.unit.accounting.conftest import PRICES

COUNTER = TokenCounter(encoding="utf8")
FACT = re.compile(r"Gate \d+ is \w+\.")
SMALL: dict[str, Any] = {
    "max_tokens": 600,
    "keep_tokens": 200,
    "max_summary_tokens": 100,
    "always": True,
    "counter": COUNTER,
    "prices": PRICES,
}
"""Limits that a dozen turns pass."""


def words(text: str, number: int = 30) -> str:
    """A text with so many words more."""
    return " ".join([text, *["word"] * number])


def turn(number: int, text: str = "") -> list[BaseMessage]:
    """A question and its answer, of about 80 tokens."""
    return [
        HumanMessage(words(f"Question {number}. {text}"), id=f"human-{number}"),
        AIMessage(words(f"Answer {number}."), id=f"ai-{number}"),
    ]


def chat(turns: int, first: int = 0) -> list[BaseMessage]:
    """Turns, and a question that has no answer yet."""
    end = first + turns
    answered = [m for number in range(first, end) for m in turn(number)]
    return [*answered, turn(end)[0]]


def looked_up(number: int, *call_ids: str, result: str = "Found.") -> list[BaseMessage]:
    """A turn of an agent that calls a tool as often as there are ids, at once."""
    question, answer = turn(number)
    calls: list[Any] = [
        {"name": "look_up", "args": {"word": f"{number}"}, "id": call_id}
        for call_id in call_ids
    ]
    return [
        question,
        AIMessage("", tool_calls=calls, id=f"calls-{number}"),
        *(
            ToolMessage(words(result), tool_call_id=call_id, id=f"result-{number}-{n}")
            for n, call_id in enumerate(call_ids)
        ),
        answer,
    ]


def used(tokens: int, *, cached: int | None = 0) -> UsageMetadata:
    """What a provider reports of a call with so many input tokens."""
    usage = UsageMetadata(
        input_tokens=tokens, output_tokens=10, total_tokens=tokens + 10
    )
    if cached is not None:
        usage["input_token_details"] = InputTokenDetails(cache_read=cached)
    return usage


def summarizer(*answers: Any, **options: Any) -> ScriptedChatModel:
    """A stand-in that answers in turn, `Notes.` if nothing is given."""
    given = {"model_name": "test-model", "loop": True, **options}
    return ScriptedChatModel(responses=list(answers) or ["Notes."], **given)


def facts(messages: Sequence[BaseMessage]) -> str:
    """What a perfect summarizer answers: all facts of its prompt, a line each."""
    found = FACT.findall("\n".join(map(message_text, messages)))
    return "\n".join(dict.fromkeys(found)) or "Nothing of note."


def memory(model: Any = None, **options: Any) -> SummaryMemory:
    """A memory with small limits, and a summarizer if none is given."""
    return SummaryMemory(model or summarizer(), **SMALL | options)


def sliding(**options: Any) -> SummaryMemory:
    """A memory that leaves out unread what is old."""
    return SummaryMemory(None, **SMALL | options)


def ids(messages: Sequence[BaseMessage]) -> list[str | None]:
    return [message.id for message in messages]


def texts(messages: Sequence[BaseMessage]) -> list[str]:
    return [message_text(message) for message in messages]


def summary_of(messages: Sequence[BaseMessage]) -> dict[str, Any]:
    """What stands in a conversation about the messages that left it."""
    [said] = [
        message.additional_kwargs["lean_summary"]
        for message in messages
        if "lean_summary" in message.additional_kwargs
    ]
    return dict(said)


def is_summary(message: BaseMessage) -> bool:
    return "lean_summary" in message.additional_kwargs


def prompts(model: ScriptedChatModel) -> list[str]:
    """What a summarizer was asked, call by call, without what it was told to do."""
    return [message_text(call.messages[-1]) for call in model.calls]


# --- Random histories

_LENGTHS = st.integers(0, 40)


@st.composite
def agent_turns(draw: st.DrawFn, number: int) -> list[BaseMessage]:
    """A turn: a question, steps that call tools at once, and mostly an answer."""
    name = f"{number}"

    def text(kind: str) -> str:
        return words(f"{kind} {name}.", draw(_LENGTHS))

    said: list[BaseMessage] = [
        HumanMessage(text("Question"), id=f"human-{name}-{n}")
        for n in range(draw(st.sampled_from([1, 1, 1, 2])))
    ]
    if draw(st.integers(0, 9)) == 0:
        said.append(SystemMessage(text("Rule"), id=f"rule-{name}"))
    for step in range(draw(st.integers(0, 3))):
        called = [f"{name}-{step}-{n}" for n in range(draw(st.integers(1, 3)))]
        calls: list[Any] = [
            {"name": "look_up", "args": {"word": each}, "id": each} for each in called
        ]
        said.append(AIMessage("", tool_calls=calls, id=f"calls-{name}-{step}"))
        said += [
            ToolMessage(text("Result"), tool_call_id=each, id=f"result-{each}")
            for each in draw(st.permutations(called))
        ]
    if draw(st.integers(0, 4)):
        said.append(AIMessage(text("Answer"), id=f"ai-{name}"))
    return said


@st.composite
def agent_histories(draw: st.DrawFn) -> list[list[BaseMessage]]:
    """The turns of an agent's conversation, the first of them with system messages."""
    head: list[BaseMessage] = [
        SystemMessage(f"You are agent {n}.", id=f"system-{n}")
        for n in range(draw(st.integers(0, 2)))
    ]
    if head and draw(st.booleans()):
        head += [
            HumanMessage("Is it so?", name="example_user", id="example-0"),
            AIMessage("It is.", name="example_assistant", id="example-1"),
        ]
    count = draw(st.integers(1, 8))
    turns = [draw(agent_turns(number)) for number in range(count)]
    turns[0] = [*head, *turns[0]]
    return turns


@st.composite
def pins(draw: st.DrawFn) -> Callable[[BaseMessage], bool] | None:
    """Pins a few messages, whatever they are."""
    if draw(st.booleans()):
        return None
    share = draw(st.integers(3, 9))
    remainder = draw(st.integers(0, 2))
    return lambda message: sum((message.id or "").encode()) % share == remainder


limits: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "max_tokens": st.sampled_from([120, 300, 600]),
        "keep_tokens": st.sampled_from([0, 50, 100]),
        "max_summary_tokens": st.sampled_from([20, 60]),
        "split_last_turn": st.booleans(),
        "pin": pins(),
    }
)
