"""What a question states, and when that differs from what another one states."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import NamedTuple


class Facts(NamedTuple):
    """The facts of one kind in a question.

    Attributes:
        stated: What another question has to state or hint at, too.
        hinted: What may be left unsaid: "a" for "1", "now" for "today".
    """

    stated: AbstractSet[str]
    hinted: AbstractSet[str] = frozenset()


def clash(one: Facts, other: Facts) -> bool:
    """Whether one question states what the other neither states nor hints at."""
    return bool(
        one.stated - other.stated - other.hinted
        or other.stated - one.stated - one.hinted
    )


def at_odds(one: AbstractSet[str], other: AbstractSet[str]) -> bool:
    """Whether both questions say something of a kind, and nothing is in common."""
    return bool(one) and bool(other) and one.isdisjoint(other)
