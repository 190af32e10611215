"""What stands in a conversation for the messages that left it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

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
        last_id: The id of the newest of them.
    """

    text: str = ""
    messages: int = 0
    turns: int = 0
    answers: int = 0
    tokens: int = 0
    unread: int = 0
    cut: int = 0
    last_id: str | None = None

    def message(self, message_id: str | None = None) -> HumanMessage:
        """The message that stands in the conversation.

        It is a human's, since providers take those in any place, and what users wrote
        must not gain the weight of a system message.
        """
        lines = [_OPENING, self.text] if self.text else []
        if self.unread:
            lines.append(_UNREAD.format(count=self.unread))
        return HumanMessage(
            "\n".join(lines), id=message_id, additional_kwargs={_KEY: asdict(self)}
        )

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
    "last_id": (str, type(None)),
}


def joined(notes: str, added: str) -> str:
    """Notes with new lines behind them; a line that stands there already is not new."""
    lines = dict.fromkeys(line.strip() for line in notes.splitlines())
    new = dict.fromkeys(line.strip() for line in added.splitlines() if line.strip())
    return "\n".join(
        filter(None, [notes, *(line for line in new if line not in lines)])
    )


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
