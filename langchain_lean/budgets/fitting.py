"""Making a call fit into what is left: which ways there are, and in which order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal, get_args

from langchain_core.messages import BaseMessage

from langchain_lean.budgets import finish
from langchain_lean.messages import role, static_prefix, turns

Action = Literal["trim", "shorten", "downgrade", "finish", "raise"]
"""What to do with a call that does not fit: leave the oldest turns out, cap the answer,
ask the lite model, give one short last answer without tools, or raise."""

ACTIONS: tuple[Action, ...] = get_args(Action)

LEAST_OUTPUT = 64
"""Tokens below which an answer is not worth its price."""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that was done to a call.

    Attributes:
        action: What.
        detail: How far it went.
    """

    action: str
    detail: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to make a call.

    Attributes:
        messages: What is sent.
        output: What the answer is capped at; None for what its caller says.
        lite: It asks the lite model.
        tools: It has the tools its caller gave.
        notes: What was done to it.
    """

    messages: Sequence[BaseMessage]
    output: int | None = None
    lite: bool = False
    tools: bool = True
    notes: tuple[Note, ...] = ()


Fits = Callable[[Candidate], bool]
"""Whether a candidate fits into what is left."""


def options(
    call: Candidate, actions: Sequence[Action], *, output: int, lite: bool, fits: Fits
) -> Iterator[Candidate]:
    """The ways to make a call that fit, those of the earlier actions first.

    Each action is tried alone, then together with as few of those before it as help.

    Args:
        call: The call as it was asked for.
        actions: In the order they may be taken.
        output: Output tokens that the call would reserve.
        lite: There is a lite model.
        fits: Whether one fits.
    """
    for index, action in enumerate(actions):
        if action == "raise":
            return
        if action == "finish":
            ways = [_finished(call, actions[:index], output, lite, fits)]
        else:
            ways = [
                _done(call, [*others, action], output, fits)
                for count in range(index + 1)
                for others in combinations(actions[:index], count)
            ]
        yield from (way for way in ways if way is not call and fits(way))


# The model decides what fits, so it comes first; a cap takes what the rest leaves over.
_FIRST: tuple[Action, ...] = ("downgrade", "trim", "shorten")


def _done(
    call: Candidate, actions: Sequence[Action], output: int, fits: Fits
) -> Candidate:
    for action in (action for action in _FIRST if action in actions):
        if action == "downgrade":
            note = Note("downgrade", "the lite model was asked")
            call = replace(call, lite=True, notes=(*call.notes, note))
        elif action == "trim":
            call = trimmed(call, fits)
        elif action == "shorten":
            call = shortened(call, output, fits)
    return call


def trimmed(call: Candidate, fits: Fits) -> Candidate:
    """The call without its oldest turns: as few as make it fit, else all but the last.

    Turns go whole, so that a tool result is never parted from its call. System messages
    stay, and so do examples at the start.
    """
    head = static_prefix(call.messages)
    rest = turns(call.messages[head:])
    if len(rest) < 2:
        return call

    def without(count: int) -> Candidate:
        gone = [message for turn in rest[:count] for message in turn]
        kept = [message for message in gone if role(message) == "system"]
        kept += [message for turn in rest[count:] for message in turn]
        note = Note("trim", f"{count} of {len(rest)} turns were left out")
        messages = [*call.messages[:head], *kept]
        return replace(call, messages=messages, notes=(*call.notes, note))

    counts = range(1, len(rest))
    found = bisect_left(counts, True, key=lambda count: fits(without(count)))
    return without(counts[min(found, len(counts) - 1)])


def shortened(call: Candidate, output: int, fits: Fits) -> Candidate:
    """The call with its answer capped: as little as makes it fit."""

    def capped(tokens: int) -> Candidate:
        note = Note("shorten", f"the answer was capped at {tokens:,} tokens")
        return replace(call, output=tokens, notes=(*call.notes, note))

    caps = range(LEAST_OUTPUT, output)
    if not caps:
        return call
    too_many = bisect_left(caps, True, key=lambda tokens: not fits(capped(tokens)))
    return capped(caps[max(too_many - 1, 0)])


def _finished(
    call: Candidate, before: Sequence[Action], output: int, lite: bool, fits: Fits
) -> Candidate:
    """The call as one last answer, with what was allowed before it where needed."""
    tokens = min(finish.OUTPUT, output)

    def last(call: Candidate) -> Candidate:
        note = Note("finish", "a short last answer without tools was asked for")
        return replace(
            call,
            messages=finish.finishing(call.messages),
            output=tokens,
            tools=False,
            notes=(*call.notes, note),
        )

    models = [call]
    if lite and "downgrade" in before:
        models.append(_done(call, ["downgrade"], tokens, fits))
    for model in models:
        ways = [model]
        if "trim" in before:
            ways.append(trimmed(model, lambda way: fits(last(way))))
        for way in ways:
            answer = last(way)
            for candidate in (answer, shortened(answer, tokens, fits)):
                if fits(candidate):
                    return candidate
    return last(call)
