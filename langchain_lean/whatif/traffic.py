"""What a ledger has of an application's traffic: calls, requests, and their texts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

if TYPE_CHECKING:
    from langchain_lean.accounting.entry import LedgerEntry, MessageMark, Step
    from langchain_lean.accounting.ledger import TokenLedger
    from langchain_lean.accounting.prices.book import PriceBook
    from langchain_lean.accounting.tokens.counter import TokenCounter

_REMEMBERED = 16_384  # texts and messages; prompts with documents come once
_STEPS_A_CALL = 10  # runs, retrievals and tools
_STEPS = 100_000
_CALLED = '[{"name": "'
_UNSEEN = "(not kept)"

Model = tuple[str, str | None]
"""A model's name and its provider, as LangChain names it."""

Documents = tuple["MessageMark", ...]
"""What one retrieval returned, best first."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a model that used something.

    Attributes:
        entry: What the ledger has of it.
        retrieved: What the retrievals of its trace returned, one after the other.
    """

    entry: LedgerEntry
    retrieved: tuple[Documents, ...] = ()

    @cached_property
    def of_application(self) -> bool:
        """Whether it was made for the application, and not by a lever for itself."""
        return self.entry.source is None and self.entry.kind != "embedding"

    @cached_property
    def prompt(self) -> list[MessageMark]:
        """The marks of its messages, in order."""
        return [mark for mark in self.entry.messages if mark.role != "tools"]

    @cached_property
    def tools(self) -> MessageMark | None:
        """The mark of its tool schemas."""
        marks = self.entry.messages
        return marks[-1] if marks and marks[-1].role == "tools" else None

    @cached_property
    def asked(self) -> int:
        """Where its last human message stands in the prompt; -1 if there is none."""
        roles = [mark.role for mark in self.prompt]
        return len(roles) - 1 - roles[::-1].index("human") if "human" in roles else -1

    @cached_property
    def tokens_a_character(self) -> float:
        """Tokens of its prompt for each character, tool schemas aside."""
        tokens = self.entry.usage.input - self.entry.anatomy.tools
        return tokens / (sum(mark.length for mark in self.prompt) or 1)

    @cached_property
    def unchanged(self) -> int:
        """Tokens of its prompt that no lever changes: examples and the question."""
        parts = self.entry.anatomy
        changed = parts.retrieved + parts.history + parts.system + parts.tools
        return self.entry.usage.input - changed

    @cached_property
    def is_whole(self) -> bool:
        """Whether it was answered to the end, as far as is recorded."""
        entry = self.entry
        broken = entry.failed or entry.stopped_early or entry.abandoned
        return entry.answer is not None and not broken

    @cached_property
    def rests_on_tools(self) -> bool:
        """Whether a tool said something since the last human message."""
        return any(mark.role == "tool" for mark in self.prompt[self.asked + 1 :])

    @cached_property
    def thread(self) -> str:
        """The conversation: its name, else the message that opens it."""
        opening = (mark.digest for mark in self.prompt if mark.role != "system")
        return self.entry.thread_id or next(opening, self.entry.trace_id)

    @cached_property
    def model(self) -> Model:
        """The model that answered, and its provider."""
        return self.entry.model or self.entry.requested or "", self.entry.provider


@dataclass(frozen=True, eq=False)
class Request:
    """All calls of one outermost run.

    Attributes:
        calls: The calls, in order.
    """

    calls: Sequence[Call]

    @cached_property
    def asking(self) -> list[Call]:
        """Those of the application."""
        return [call for call in self.calls if call.of_application]


class Traffic:
    """What a ledger recorded, to be read as often as needed.

    Args:
        ledger: The ledger.
        max_calls: How many of its calls, the newest ones.
    """

    def __init__(self, ledger: TokenLedger, max_calls: int) -> None:
        newest = ledger.store.recent(max_calls)
        entries = [entry for entry in newest if entry.usage.total]
        steps = ledger.store.recent_steps(max(_STEPS, _STEPS_A_CALL * max_calls))
        retrieved = _retrieved(steps, {entry.trace_id for entry in entries})
        self.older = max(ledger.totals().calls - len(newest), 0)
        self.calls = [
            Call(entry, retrieved.get(entry.trace_id, ()))
            for entry in sorted(entries, key=lambda entry: entry.start)
        ]
        self.prices: PriceBook = ledger.prices
        self.counter: TokenCounter = ledger.counter
        # `ledger.text` writes what is waiting each time it is asked.
        self.text = lru_cache(_REMEMBERED)(ledger.store.text)
        self._message = lru_cache(_REMEMBERED)(self._made)

    @cached_property
    def requests(self) -> list[Request]:
        """The calls by their outermost run, those that began first in front."""
        by_trace: dict[str, list[Call]] = {}
        for call in self.calls:
            by_trace.setdefault(call.entry.trace_id, []).append(call)
        return [Request(calls) for calls in by_trace.values()]

    @cached_property
    def asking(self) -> list[Call]:
        """The calls of the application."""
        return [call for call in self.calls if call.of_application]

    @cached_property
    def has_text(self) -> bool:
        """Whether the texts of some call were kept."""
        return any(map(self.has_texts_of, self.asking))

    def has_texts_of(self, call: Call) -> bool:
        """Whether the texts of a call were kept."""
        marks = call.entry.messages
        return bool(marks) and all(self.text(m.digest) is not None for m in marks)

    def messages(self, marks: Iterable[MessageMark]) -> list[BaseMessage]:
        """Messages as they were sent, as far as their texts were kept.

        The same text in the same role is the same object.
        """
        return [self._message(mark.role, mark.digest) for mark in marks]

    def count(self, text: str, call: Call) -> int:
        """How many tokens a text has for the model of a call."""
        return self.counter.count(text, model=call.model[0])

    def _made(self, role: str, digest: str) -> BaseMessage:
        text = self.text(digest)
        return message(role, _UNSEEN if text is None else text)


def message(role: str, text: str) -> BaseMessage:
    """A message of a role, such as a mark has."""
    if role == "system":
        return SystemMessage(text)
    if role == "ai":
        return AIMessage(text)
    if role == "tool":
        return ToolMessage(text, tool_call_id="")
    return HumanMessage(text)


def called_tools(answer: str) -> list[str]:
    """The tools that an answer calls, which stand at its end as `message_text` writes.

    Args:
        answer: Its text.
    """
    at = answer.find(_CALLED)
    while at >= 0:
        with suppress(ValueError):
            calls = json.loads(answer[at:])
            if all(map(_is_call, calls)):
                return [call["name"] for call in calls]
        at = answer.find(_CALLED, at + 1)
    return []


def _is_call(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("args"), dict)
    )


def _retrieved(
    steps: Iterable[Step], traces: Collection[str]
) -> Mapping[str, tuple[Documents, ...]]:
    """What the retrievals of some traces returned."""
    found: dict[str, tuple[Documents, ...]] = {}
    for step in steps:
        if step.documents and step.trace_id in traces:
            found[step.trace_id] = (*found.get(step.trace_id, ()), step.documents)
    return found
