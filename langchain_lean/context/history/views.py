"""What of a conversation is sent, and how the state of a graph comes to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from langchain_core.messages import BaseMessage, RemoveMessage

from langchain_lean.context.history.shortening import Short
from langchain_lean.context.history.summary import Summary
from langchain_lean.messages import is_static


def update(short: Short) -> list[BaseMessage]:
    """The update of a channel of messages: the summary, and what leaves by its id."""
    standing = next(message for message in short.messages if Summary.of(message))
    gone = [message.id for message in short.leaving if message.id]
    # Copies, since making one takes four times as long and there can be thousands.
    remove = RemoveMessage(id="")
    others = [each for each in gone if each != standing.id]
    return [standing, *(remove.model_copy(update={"id": each}) for each in others)]


def distinct(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """The messages, an object that stands there again as a copy of it.

    What leaves is told from what stays by identity.
    """
    seen: set[int] = set()
    if len({id(message) for message in messages}) == len(messages):
        return messages
    distinct = []
    for message in messages:
        distinct.append(message.model_copy() if id(message) in seen else message)
        seen.add(id(message))
    return distinct


@dataclass(frozen=True, slots=True)
class View:
    """A short conversation that goes on.

    Attributes:
        messages: What it has become.
        summary: What stands in it for messages that left.
        tail: What the summary does not reach; the end of `messages`.
    """

    messages: Sequence[BaseMessage]
    summary: Summary
    tail: Sequence[BaseMessage]

    def goes_on(self, short: Short) -> Short:
        """What a memory made of it, which reaches as far as it did in any case."""
        left = {id(message) for message in short.leaving}
        newer = any(id(message) in left for message in self.tail)
        if short.summary is None or not left or newer:
            return short
        summary = replace(short.summary, last_id=self.summary.last_id)
        messages = [
            summary.message(message.id) if Summary.of(message) else message
            for message in short.messages
        ]
        return replace(short, messages=messages, summary=summary)


def continued(
    earlier: Sequence[BaseMessage], summary: Summary, messages: Sequence[BaseMessage]
) -> View | None:
    """What was sent of a history the last time, and what is new in it.

    Args:
        earlier: What was sent.
        summary: What stands in it for messages that left.
        messages: The history as it is now.

    Returns:
        None where messages were put in or taken out up to where the summary reaches.
    """
    tail = _behind(messages, summary.last_id)
    if tail is None:
        return None
    head = list(takewhile(is_static, messages))
    rest = earlier[len(list(takewhile(is_static, earlier))) :]
    kept = _still_there(rest, messages, tail)
    reached = len(messages) - len(head) - len(tail)
    if reached != summary.messages + len(kept) - 1:
        return None
    return View([*head, *kept, *tail], summary, tail)


def _behind(
    messages: Sequence[BaseMessage], message_id: str | None
) -> Sequence[BaseMessage] | None:
    """The messages behind one; None if it is not there."""
    if message_id is None:
        return None
    for position in range(len(messages) - 1, -1, -1):
        if messages[position].id == message_id:
            return messages[position + 1 :]
    return None


def _still_there(
    earlier: Sequence[BaseMessage],
    messages: Sequence[BaseMessage],
    tail: Sequence[BaseMessage],
) -> list[BaseMessage]:
    """What stands before a tail in a short conversation, as the history now has it."""
    new = {message.id for message in tail}
    kept = {message.id for message in earlier if not Summary.of(message)} - new
    now: dict[str | None, BaseMessage] = {}
    for message in messages:
        if len(now) == len(kept):
            break
        if message.id in kept:
            now[message.id] = message
    return [now.get(m.id, m) for m in earlier if Summary.of(m) or m.id in now]
