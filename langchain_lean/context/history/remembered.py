"""The summaries of conversations that come back longer, found by what they sum up."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from langchain_lean.context.history.selection import Pin
from langchain_lean.context.history.summary import Summary
from langchain_lean.messages import role

SUMMARY = -1
"""In place of a message's position: the summary."""


@dataclass(frozen=True, slots=True)
class Known:
    """How a conversation was made shorter.

    Attributes:
        summary: What stands for the messages that left.
        order: What the conversation then began with: positions in it, and `SUMMARY`
            where the summary stands.
        messages: How many messages of the conversation this covers.
    """

    summary: Summary
    order: tuple[int, ...]
    messages: int

    def applied(self, body: Sequence[BaseMessage]) -> list[BaseMessage]:
        """The conversation made shorter in the same way."""
        left = next(at for at in range(self.messages) if at not in self.order)
        standing = self.summary.message(body[left].id)
        short = [standing if at == SUMMARY else body[at] for at in self.order]
        return [*short, *body[self.messages :]]


class Remembered:
    """How conversations were made shorter, by the digest of what was covered.

    Safe to use from many threads. The digests are of whole contents, so that no
    conversation finds the summary of another.

    Args:
        size: How many are kept, the newest.
        pin: Says which messages stay; where it says something else, a conversation is
            another one.
    """

    def __init__(self, size: int, pin: Pin | None = None) -> None:
        self._size, self._pin = size, pin
        self._known: OrderedDict[int, Known] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, body: Sequence[BaseMessage]) -> Known | None:
        """What is known that covers the most of a conversation."""
        if not self._known:
            return None
        digests = self._digests(body)
        with self._lock:
            for digest in reversed(digests):
                if known := self._known.get(digest):
                    self._known.move_to_end(digest)
                    return known
        return None

    def keep(
        self,
        body: Sequence[BaseMessage],
        summary: Summary,
        short: Sequence[BaseMessage],
    ) -> None:
        """Remember how a conversation was made shorter.

        Args:
            body: The conversation as it was.
            summary: What stands for what left, now and before.
            short: The conversation as it is now; the summary is no message of `body`.
        """
        places = {id(message): at for at, message in enumerate(body)}
        staying = {id(message) for message in short}
        messages = 1 + max(at for key, at in places.items() if key not in staying)
        order = (places.get(id(message), SUMMARY) for message in short)
        known = Known(summary, tuple(at for at in order if at < messages), messages)
        digest = self._digests(body[:messages])[-1]
        with self._lock:
            self._known[digest] = known
            self._known.move_to_end(digest)
            while len(self._known) > self._size:
                self._known.popitem(last=False)

    def _digests(self, messages: Sequence[BaseMessage]) -> list[int]:
        """For each message the digest of the conversation up to it.

        Python's own hash is keyed anew in each process, so that nobody can make two
        conversations look the same.
        """
        digests = []
        digest = 0
        for message in messages:
            said = message.__dict__
            text = message.content
            if not isinstance(text, str):
                text = json.dumps(text, default=str)
            rest = (message.name, said.get("tool_calls"), said.get("tool_call_id"))
            extra = json.dumps(rest, default=str) if any(rest) else ""
            pinned = self._pin is not None and bool(self._pin(message))
            digest = hash((digest, role(message), text, extra, pinned))
            digests.append(digest)
        return digests
