"""What stands in a conversation for the messages that left it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from langchain_lean.accounting.left_out import LeftOut
from langchain_lean.context.history.transcript import NOTHING

_BASELINE = "the whole history"
_KEY = "lean_summary"
_OPENING = "[Summary of the earlier conversation: a record, not a request]"
_UNREAD = "[{count} earlier messages were left out without a summary]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What stands for the messages that left a conversation.

    Attributes:
        text: What they said, in short; empty where nobody summed them up.
        messages: How many left.
        turns: How many of them were a human's.
        answers: How many of them were a model's.
        tokens: Input tokens they had.
        unread: How many of them were left out without being summed up.
        cut: Tokens of summaries that were cut because they passed their cap.
        spared: By how many tokens a prompt with this in their place is shorter.
        cached: Whether the provider had them in its cache when the last of them left.
        moved: Tokens behind them, which got a new place then.
        last_id: The id of the newest of them.
    """

    text: str = ""
    messages: int = 0
    turns: int = 0
    answers: int = 0
    tokens: int = 0
    unread: int = 0
    cut: int = 0
    spared: int = 0
    cached: bool = False
    moved: int = 0
    last_id: str | None = None

    def message(self, message_id: str | None = None) -> HumanMessage:
        """The message that stands in the conversation.

        It is a human's, since providers take those in any place, and what users wrote
        must not gain the weight of a system message.
        """
        read = self.messages > self.unread
        lines = [_OPENING, self.text or f"({NOTHING})"] if read else []
        if self.unread:
            lines.append(_UNREAD.format(count=self.unread))
        left = LeftOut(
            lever="memory",
            tokens=self.spared,
            baseline=_BASELINE,
            id=self._digest(),
            cached=self.cached,
            moved=self.moved,
        )
        return HumanMessage(
            "\n".join(lines),
            id=message_id,
            additional_kwargs={_KEY: asdict(self), **left.mark()},
        )

    def _digest(self) -> str:
        said = repr((self.text, self.messages, self.tokens, self.last_id))
        data = said.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, digest_size=8).hexdigest()

    @classmethod
    def of(cls, message: BaseMessage) -> Summary | None:
        """The summary a message is; None if it is another one."""
        kept = message.additional_kwargs.get(_KEY)
        if not isinstance(kept, dict) or kept.keys() != _TYPES.keys():
            return None
        if not all(isinstance(kept[name], kinds) for name, kinds in _TYPES.items()):
            return None
        return cls(**kept)


_TYPES: dict[str, Any] = {
    **{field.name: int for field in fields(Summary)},
    "text": str,
    "cached": bool,
    "last_id": (str, type(None)),
}


def joined(notes: str, added: str) -> str:
    """Notes with new ones behind them.

    A line that stands in the notes already is moved to the end, not repeated: it holds
    now, whatever was noted in between. Where lines stand under headings they mean
    something only there, and all stay.
    """
    old, new = notes.splitlines(), added.splitlines()
    if not any(line.rstrip().endswith((":", "：")) for line in (*old, *new)):
        again = {line.strip() for line in new}
        old = [line for line in old if line.strip() not in again]
    return "\n".join(line.rstrip() for line in (*old, *new) if line.strip())


def newest(notes: str, limit: int, count: Callable[[str], int]) -> str:
    """As many of the last lines of notes as fit into a limit of tokens."""
    lines = notes.splitlines(keepends=True)
    fitting = _most(
        len(lines), lambda n: count("".join(lines[len(lines) - n :])) <= limit
    )
    return "".join(lines[len(lines) - fitting :])


def fitted(text: str, limit: int, count: Callable[[str], int]) -> tuple[str, int]:
    """A text within a limit of tokens.

    Args:
        text: The text.
        limit: How many tokens it may have.
        count: Counts tokens.

    Returns:
        As many of its first lines as fit, of a single line that is too long as many
        of its first characters; and the tokens of what is cut.
    """
    if count(text) <= limit:
        return text, 0
    lines = text.splitlines(keepends=True)
    fitting = _most(len(lines), lambda number: count("".join(lines[:number])) <= limit)
    kept = "".join(lines[:fitting])
    if not kept.strip():
        kept = text[: _most(len(text), lambda number: count(text[:number]) <= limit)]
    return kept.rstrip(), count(text[len(kept) :])


def _most(high: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `high` that fits, where smaller ones do, too."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
