"""What levers save one by one and behind each other, and which to leave out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from langchain_lean.accounting.prices.cost import ZERO
from langchain_lean.whatif.costs import Change, Saved, State, saved, untouched

if TYPE_CHECKING:
    from langchain_lean.whatif.traffic import Call


@dataclass(frozen=True, slots=True)
class Credit:
    """What a lever saves by itself, and what it adds behind those before it.

    Attributes:
        change: The lever.
        alone: What it saves by itself.
        added: What it adds.
        beside: Another lever that would lose more than it adds, for which it is left
            out of the combination.
    """

    change: Change
    alone: Saved
    added: Saved = field(default_factory=Saved)
    beside: str | None = None


class _Combination(NamedTuple):
    """What some levers add to each other in turn, and what they save in all."""

    added: Mapping[Change, Saved]
    together: Saved


def combined(
    changes: Sequence[Change], calls: Sequence[Call]
) -> tuple[list[Credit], Saved]:
    """What each lever saves alone, and behind those before it.

    Levers are left out where the others save more without them, and none is credited
    with more than it saves alone.

    Args:
        changes: What the levers change, in the order in which they work.
        calls: All calls.

    Returns:
        What each saves, and what those save together that are not left out.
    """
    whole = untouched(calls)
    alone = {change: saved(whole, change.leaves(whole)) for change in changes}

    @cache
    def behind(levers: tuple[Change, ...]) -> tuple[State, dict[Change, Saved]]:
        if not levers:
            return whole, {}
        state, added = behind(levers[:-1])
        left = levers[-1].leaves(state)
        more, most = saved(state, left), alone[levers[-1]]
        credited = Saved(
            min(more.tokens, most.tokens), min(more.dollars, most.dollars), more.calls
        )
        pays = more.dollars or more.tokens
        return state | left if pays else state, {**added, levers[-1]: credited}

    @cache
    def tried(chosen: frozenset[Change]) -> _Combination:
        state, added = behind(tuple(each for each in changes if each in chosen))
        together = Saved(
            sum(more.tokens for more in added.values()),
            sum((more.dollars for more in added.values()), ZERO),
            sum(c.of_application and state[c] != left for c, left in whole.items()),
        )
        return _Combination(added, together)

    saving = [change for change, each in alone.items() if each.dollars or each.tokens]
    chosen = _best(saving, lambda some: _worth(tried(some).together))
    best = tried(chosen)
    beside = {
        change: _loser(best.added, tried(chosen | {change}).added)
        for change in saving
        if change not in chosen
    }
    found = [
        Credit(each, alone[each], best.added.get(each, Saved()), beside.get(each))
        for each in changes
    ]
    return found, best.together


def _best(
    every: Sequence[Change], worth: Callable[[frozenset[Change]], tuple[Decimal, int]]
) -> frozenset[Change]:
    """The levers that save most: all, or fewer where some are in the way of others.

    From all of them, and from the best one alone, levers are taken out or put in one
    at a time as long as that saves more; of those that save alike, the first.
    """

    def climbed(chosen: frozenset[Change]) -> frozenset[Change]:
        while True:
            near = (chosen ^ {each} for each in every)
            better = max(near, key=worth, default=chosen)
            if worth(better) <= worth(chosen):
                return chosen
            chosen = better

    chosen = climbed(frozenset(every))
    single = max((frozenset([each]) for each in every), key=worth, default=chosen)
    return climbed(single) if worth(single) > worth(chosen) else chosen


def _worth(together: Saved) -> tuple[Decimal, int]:
    """What is compared: dollars, and tokens where these are the same."""
    return together.dollars, together.tokens


def _loser(without: Mapping[Change, Saved], beside: Mapping[Change, Saved]) -> str:
    """The lever that loses most by another one."""

    def lost(change: Change) -> tuple[Decimal, int]:
        one, other = without[change], beside[change]
        return one.dollars - other.dollars, one.tokens - other.tokens

    return max(without, key=lost).name
