"""Who does what to whom, and from where to where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import product

from langchain_lean.caching.checking.reading import Question
from langchain_lean.caching.checking.words import FUNCTION_WORDS, stem, word_set

_REACH = dict.fromkeys(
    word_set("to into than over per before after minus > < → - ÷ ^ **"), 2
) | dict.fromkeys(word_set("by in for of"), 1)
"""Prepositions and how many words on either side they may be about."""

_FROM, _TO = frozenset(("from",)), frozenset(("to", "into"))
_PIVOTS = frozenset(_REACH)
_LEVEL = word_set("and or vs versus with between nor und et y e")
"""Words whose two sides may be swapped without a change."""


def swapped(question: Question, another: Question) -> bool:
    """Whether two words stand on the two sides of a third one, the other way round.

    "From Paris to London" is "to London from Paris", and not "from London to Paris".
    Where the third one is no preposition, all words with a topic must be the same.
    """
    one, other = question.words, another.words
    if _turned(one, other) or _turned(other, one):
        return True
    pivots = _PIVOTS.intersection(one).intersection(other)
    if set(question.content) == set(another.content):
        pivots |= set(one) - FUNCTION_WORDS
    ordered, others = set(_ordered(one, pivots)), set(_ordered(other, pivots))
    mirrored = {(pivot, right, left) for pivot, left, right in ordered - others}
    return not mirrored.isdisjoint(others - ordered)


def _turned(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether it is "from" in one and "to" in the other, and nothing else in either."""
    if "from" not in one:
        return False
    sources, targets = _behind(one, _FROM), _behind(other, _TO)
    turned = sources & targets
    return bool(turned) and bool(turned - _behind(one, _TO) - _behind(other, _FROM))


def _behind(words: Sequence[str], prepositions: frozenset[str]) -> set[str]:
    """The next word with a topic behind each of the prepositions."""
    found: set[str] = set()
    for place, word in enumerate(words):
        if word in prepositions:
            behind = words[place + 1 : place + 4]
            topics = [stem(each) for each in behind if each not in FUNCTION_WORDS]
            found.update(topics[:1])
    return found


def _ordered(
    words: Sequence[str], pivots: AbstractSet[str]
) -> Iterator[tuple[str, str, str]]:
    """Each pivot with a word to its left and one to its right."""
    if pivots.isdisjoint(words):
        return
    kept = [w for w in words if w in _PIVOTS or w in _LEVEL or w not in FUNCTION_WORDS]
    for place, pivot in enumerate(kept):
        if pivot in pivots and pivot not in _LEVEL:
            reach = _REACH.get(pivot, 1)
            left = _side(kept[max(place - 2 * reach, 0) : place][::-1], reach)
            right = _side(kept[place + 1 : place + 1 + 2 * reach], reach)
            yield from product((pivot,), left, right)


def _side(words: Sequence[str], reach: int) -> list[str]:
    """The nearest words, as far as nothing on one level comes between."""
    found: list[str] = []
    for word in words:
        if word in _LEVEL or word in _PIVOTS or len(found) == reach:
            break
        found.append(stem(word))
    return found
