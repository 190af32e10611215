"""Which messages leave a conversation: whole turns, the oldest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from langchain_core.messages import BaseMessage, ToolMessage

from langchain_lean.context.history.summary import Summary
from langchain_lean.messages import (
    call_ids,
    is_static,
    last_human_index,
    role,
    turns,
)

Count = Callable[[Sequence[BaseMessage]], int]
"""Input tokens of messages."""

Pin = Callable[[BaseMessage], bool]
"""Whether a message must stay."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as a memory sees it.

    Attributes:
        messages: All of it, in order.
        head: The messages it begins with that no turn changes.
        summary: What stands for messages that left earlier; None if none did.
        standing: The message of that summary.
        body: All others, in order.
    """

    messages: Sequence[BaseMessage]
    head: Sequence[BaseMessage]
    summary: Summary | None
    standing: BaseMessage | None
    body: Sequence[BaseMessage]

    @classmethod
    def of(cls, messages: Sequence[BaseMessage]) -> Conversation:
        """Take a conversation apart."""
        head = list(takewhile(is_static, messages))
        body = list(messages[len(head) :])
        for position, message in enumerate(body):
            if summary := Summary.of(message):
                del body[position]
                return cls(messages, head, summary, message, body)
        return cls(messages, head, None, None, body)

    @property
    def fixed(self) -> list[BaseMessage]:
        """What stays in any case: the head, and what stands for earlier messages."""
        return [*self.head, *([self.standing] if self.standing else [])]

    def without(
        self, leaving: Sequence[BaseMessage], summary: Summary
    ) -> list[BaseMessage]:
        """The conversation with a summary in place of messages.

        Args:
            leaving: Messages of its body.
            summary: What stands for them. Its message takes the place, and the id, of
                the earlier one, or of the first of them.
        """
        gone = {id(message) for message in leaving}
        replaced = self.standing or leaving[0]
        short: list[BaseMessage] = []
        for message in self.messages:
            if message is replaced:
                short.append(summary.message(replaced.id))
            elif id(message) not in gone:
                short.append(message)
        return short


def summary_ahead(messages: Sequence[BaseMessage], pin: Pin | None) -> Summary | None:
    """The summary in a conversation, found without reading it to its end.

    It stands where the first message that left stood: before it are only messages
    that must stay, and what a turn begins with that lost its first steps.
    """
    for message in messages:
        if summary := Summary.of(message):
            return summary
        stays = is_static(message) or _call_ids(message) or (pin and pin(message))
        if role(message) == "ai" and not stays:
            return None
    return None


@dataclass(frozen=True, slots=True)
class Selection:
    """What leaves a conversation.

    Attributes:
        leaving: The messages, in order.
        kept: Tokens of the turns that stay as they are.
    """

    leaving: Sequence[BaseMessage]
    kept: int


def select(
    body: Sequence[BaseMessage],
    *,
    keep: int,
    count: Count,
    pin: Pin | None = None,
    split_last_turn: bool = False,
) -> Selection:
    """Choose what leaves, the oldest turns first and each of them whole.

    System messages and pinned ones stay where they are, with the calls and results
    of tools that belong to them. So does the last turn, however long it is.

    Args:
        body: The conversation without its head and summary.
        keep: Tokens of the newest turns that stay.
        count: Counts tokens.
        pin: Says which messages stay.
        split_last_turn: Let the older steps of the last turn leave, too: an answer
            with the calls it makes and their results. Its human message stays, and so
            does the last step.
    """
    units = turns(body)
    if split_last_turn and units:
        *units, last = units
        *steps, newest = turns(last, begins="ai")
        if steps and role(steps[0][0]) != "ai":
            _, *steps = steps  # what the turn begins with stays
        units = [*units, *steps, newest]
    kept, first = 0, len(units)
    while first:
        size = count(units[first - 1])
        if first < len(units) and kept + size > keep:
            break
        kept, first = kept + size, first - 1
    asked = last_human_index(body)
    held = body[asked] if asked >= 0 else None
    old = [m for unit in units[:first] for m in _leaving(unit, pin)]
    return Selection([m for m in old if m is not held], kept)


def _leaving(unit: Sequence[BaseMessage], pin: Pin | None) -> list[BaseMessage]:
    """A turn without what is pinned, and the tool calls and results of that."""
    pinned = [m for m in unit if is_static(m) or (pin is not None and pin(m))]
    calls = {call for message in pinned for call in _call_ids(message)}
    while calls:  # what belongs to a call may make other calls, which stay then, too
        tied = [m for m in unit if calls & _call_ids(m)]
        more = {call for message in tied for call in _call_ids(message)}
        if more <= calls:
            pinned += tied
            break
        calls |= more
    staying = {id(message) for message in pinned}
    return [message for message in unit if id(message) not in staying]


def _call_ids(message: BaseMessage) -> set[str | None]:
    """The tool calls a message makes or answers."""
    if isinstance(message, ToolMessage):
        return {message.tool_call_id}
    return set(call_ids(message))
