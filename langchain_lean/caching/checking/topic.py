"""Questions that are the same but for the one thing they are about."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_lean.caching.checking.names import one_name
from langchain_lean.caching.checking.words import FUNCTION_WORDS, stem, word_set

_LEAST_WORDS = 3
_PREPOSITIONS = word_set("of for in to with by on from about into near at against")
_SMALL = FUNCTION_WORDS - _PREPOSITIONS


def another_topic(
    one: Sequence[str], other: Sequence[str], common: frozenset[str]
) -> bool:
    """Whether all words are equal but for one: "safe for dogs", "safe for cats".

    It is a word behind a preposition or the last one; elsewhere it may be another word
    for the same, such as "change" and "update". Another ending or one wrong letter
    makes no other word.

    Args:
        one: The words of a question.
        other: Those of another one.
        common: Words that have several forms, such as "km" and "kilometers".
    """
    if len(one) != len(other) or len(one) < _LEAST_WORDS:
        return False
    places = [place for place, word in enumerate(one) if word != other[place]]
    if len(places) != 1:
        return False
    here, there = one[places[0]], other[places[0]]
    read_elsewhere = not (here + there).isalpha() or not (
        FUNCTION_WORDS.isdisjoint((here, there)) and common.isdisjoint((here, there))
    )
    if read_elsewhere or one_name(here) == one_name(there):
        return False
    if stem(here) == stem(there) or _one_letter_off(here, there):
        return False
    return places[0] == len(one) - 1 or _follows_a_preposition(one, places[0])


def _follows_a_preposition(words: Sequence[str], place: int) -> bool:
    """With at most one small word between, such as "the"."""
    before = words[place - 1] if place else ""
    if before in _SMALL and place > 1:
        before = words[place - 2]
    return before in _PREPOSITIONS


def _one_letter_off(one: str, other: str) -> bool:
    """Whether a letter is wrong, missing or too many, or two are swapped, within."""
    if one[0] != other[0] or min(len(one), len(other)) < 4:
        return False
    for _ in range(2):  # without what they have in common: at the head, at the end
        same = _common(one, other)
        one, other = one[same:][::-1], other[same:][::-1]
    return max(len(one), len(other)) < 2 or (len(one) == 2 and one == other[::-1])


def _common(one: str, other: str) -> int:
    """How many letters two words have in common at the head."""
    letters = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in letters if a != b), min(len(one), len(other)))
