"""Where in a prompt cache marks are of use."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

from langchain_lean.context.prefixes.limits import CacheRules
from langchain_lean.context.prefixes.marks import TOOLS, can_carry, count_blocks
from langchain_lean.messages import last_human_index, role, static_prefix

_LOOKS_BACK = 18  # blocks; Claude finds a prefix "some twenty" before a mark


class Spot(NamedTuple):
    """A place for a mark.

    Attributes:
        place: The index of its message, or `TOOLS`.
        calls: How many calls in a lifetime share what is in front of it.
    """

    place: int
    calls: int


def spots(
    messages: Sequence[BaseMessage],
    tools: Sequence[Any],
    rules: CacheRules,
    *,
    stable: int,
    calls: int,
    thread_calls: int,
) -> list[Spot]:
    """Places for marks, the most useful first.

    Args:
        messages: A prompt.
        tools: Its tools.
        rules: What the provider caches.
        stable: How many of the messages stay from call to call; marks stand among
            them.
        calls: How many calls share the static prefix.
        thread_calls: How many of them are of this thread.
    """

    def last(start: int, end: int) -> list[int]:
        places = range(min(end, len(messages)) - 1, start - 1, -1)
        found = (p for p in places if can_carry(messages[p], rules.dialect))
        return [place for place in (next(found, None),) if place is not None]

    static = static_prefix(messages)
    end = _without_notes(messages)
    question = max(last_human_index(messages[:end]), static)
    before = max(last_human_index(messages[:question]), static)
    common = last(0, min(static, stable)) or ([TOOLS] if tools and rules.tools else [])
    turns = last(static, question)
    if end and role(messages[end - 1]) == "tool":
        newest = last(question, end)
        turns += newest
        step = _step_before(messages, question, end)
        far = newest and count_blocks(messages[step : newest[0] + 1]) > _LOOKS_BACK
        if newest and (rules.exact or far):
            turns += last(question, step)
    if rules.exact:
        turns += last(static, before)
    return [Spot(place, calls) for place in common] + [
        Spot(place, thread_calls) for place in dict.fromkeys(turns) if place < stable
    ]


def _without_notes(messages: Sequence[BaseMessage]) -> int:
    """Where a prompt ends but for human messages behind tool results.

    `stable_prefix` puts the time there.
    """
    end = len(messages)
    while end and role(messages[end - 1]) == "human":
        end -= 1
    return end if end and role(messages[end - 1]) == "tool" else len(messages)


def _step_before(messages: Sequence[BaseMessage], start: int, end: int) -> int:
    """Behind which message the newest step of an agent begins."""
    while end > start and role(messages[end - 1]) == "tool":
        end -= 1
    return max(end - 1, start)
