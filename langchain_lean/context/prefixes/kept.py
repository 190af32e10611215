"""The prompts a monitor keeps to compare with, in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.context.prefixes.comparing import (
    Comparison,
    compare,
    is_next_question,
)
from langchain_lean.context.prefixes.parts import Part
from langchain_lean.context.prefixes.report import PromptId

PROMPTS = 1_000
"""How many kinds of prompts are kept, and how many calls under way."""

_BYTES = 64_000_000
_COMPARED = 4  # prompts that one node, or one model without any, may ask in turns


@dataclass(frozen=True, slots=True)
class Asked:
    """A call under way.

    Attributes:
        prompt: Whose prompt it sends.
        parts: The prompt; None where there was no room for it, so that it is not
            compared.
        provider: The provider that is asked.
        at: When it began, in seconds since the epoch.
    """

    prompt: PromptId
    parts: Sequence[Part] | None
    provider: str | None
    at: float

    @property
    def size(self) -> int:
        """The bytes it holds."""
        return sum(len(part.data) for part in self.parts or ())


class Before(NamedTuple):
    """A call to compare with.

    Attributes:
        asked: The call.
        usage: What it used.
        hour: Whether its prefix was cached for an hour.
    """

    asked: Asked
    usage: TokenUsage
    hour: bool


class KeptPrompts:
    """Calls under way, and the last answered ones of each kind of prompt.

    Not safe to use from many threads at once.
    """

    def __init__(self) -> None:
        self._asked: dict[UUID, Asked] = {}
        self._before: dict[PromptId, list[Before]] = {}
        self._bytes = 0

    def begin(self, run_id: UUID, asked: Asked) -> None:
        """Take down a call that begins."""
        self._asked[run_id] = asked
        self._bytes += asked.size
        while len(self._asked) > PROMPTS:  # cancelled calls never end
            self.end(next(iter(self._asked)))
        self._make_room()

    def end(self, run_id: UUID) -> Asked | None:
        """Give back a call that ends, and forget it; None if it is not known."""
        asked = self._asked.pop(run_id, None)
        self._bytes -= asked.size if asked else 0
        return asked

    def most_alike(self, asked: Asked) -> tuple[Before | None, Comparison | None]:
        """Of the last prompts the one with most in common, the newest of equals."""
        found: tuple[Before | None, Comparison | None] = (None, None)
        for before in self._before.get(asked.prompt, ()):
            if asked.parts is not None and before.asked.parts is not None:
                compared = compare(before.asked.parts, asked.parts)
                if found[1] is None or compared.common >= found[1].common:
                    found = before, compared
        return found

    def keep(
        self,
        asked: Asked,
        usage: TokenUsage,
        before: Before | None,
        compared: Comparison | None,
    ) -> None:
        """Keep an answered call, in place of the one it goes on from."""
        kept = self._before.pop(asked.prompt, [])
        if before and compared and goes_on(before, compared):
            kept = [each for each in kept if each is not before]
            self._bytes -= before.asked.size
        if asked.parts is not None:
            again = before is not None and before.hour and usage.cache_read > 0
            kept = [*kept, Before(asked, usage, usage.cache_write_1h > 0 or again)]
            self._bytes += asked.size
        self._bytes -= sum(each.asked.size for each in kept[:-_COMPARED])
        self._before[asked.prompt] = kept[-_COMPARED:]
        while len(self._before) > PROMPTS:
            self._forget_oldest()
        self._make_room()

    def _make_room(self) -> None:
        while self._bytes > _BYTES and self._before:
            self._forget_oldest()
        for run_id, asked in self._asked.items():
            if self._bytes <= _BYTES:
                break
            self._bytes -= asked.size
            self._asked[run_id] = replace(asked, parts=None)

    def _forget_oldest(self) -> None:
        oldest = self._before.pop(next(iter(self._before)))
        self._bytes -= sum(each.asked.size for each in oldest)


def goes_on(before: Before, compared: Comparison) -> bool:
    """Whether a prompt is the one before with another end, and no other prompt."""
    return compared.part is None or is_next_question(compared, before.asked.parts or ())
