"""The dates of a question: months, days of the week, days told from today."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from langchain_lean.caching.checking.facts import Facts
from langchain_lean.caching.checking.words import word_set, word_table

_MONTHS = word_table(
    """
    january jan
    february feb
    march mar
    april apr
    may
    june jun
    july jul
    august aug
    september sep sept
    october oct
    november nov
    december dec
    """
)
_WEEKDAYS = word_table(
    """
    monday mondays mon
    tuesday tuesdays tue tues
    wednesday wednesdays
    thursday thursdays thu thur thurs
    friday fridays fri
    saturday saturdays
    sunday sundays
    weekend weekends
    """
)
_FAR = word_table(
    """
    tomorrow tmrw tomorow tommorow tommorrow morgen demain mañana amanhã domani
    yesterday gestern ayer ontem ieri
    """
)
_NEAR = frozenset(("today", "now", "currently", "current", "tonight", "heute"))
_WRITTEN_TOGETHER = {
    "明天": "tomorrow", "明日": "tomorrow", "昨天": "yesterday", "昨日": "yesterday",
    "내일": "tomorrow", "어제": "yesterday",
}  # fmt: skip
_ALSO_WORDS = frozenset(("may", "march", "mar", "jan", "dec"))
_BEFORE_A_MONTH = word_set(
    """in since until till by from before after during last next this early late mid"""
)
_BETWEEN = word_set("of the st nd rd th")  # a day and its month
_SHIFTS = word_table(
    """
    last past previous
    next coming following upcoming
    """
)
_SPANS = word_set(
    """week month year quarter night weekend summer winter spring autumn decade century
    semester season"""
) | frozenset((*_WEEKDAYS, *_MONTHS))


DATE_WORDS = _SPANS.union(_FAR, _NEAR, _SHIFTS)
"""The words that dates are made of."""


def dates(words: Sequence[str], folded: str) -> Facts:
    """The dates among words, but for their numbers. "Today" and "now" are hints."""
    stated: set[str] = set()
    stated.update(_FAR[word] for word in words if word in _FAR)
    stated.update(_WEEKDAYS[word] for word in words if word in _WEEKDAYS)
    if not folded.isascii():
        stated.update(_WRITTEN_TOGETHER[w] for w in _WRITTEN_TOGETHER if w in folded)
    if not _MONTHS.keys().isdisjoint(words):
        stated.update(_months(words))
    if not _SHIFTS.keys().isdisjoint(words):
        stated.update(
            f"{_SHIFTS[word]} {following}"
            for word, following in pairwise(words)
            if word in _SHIFTS and following in _SPANS
        )
    return Facts(stated, frozenset() if _NEAR.isdisjoint(words) else {"today"})


def _months(words: Sequence[str]) -> set[str]:
    """The months, each with its day where it has one: "may", "may 5"."""
    found: set[str] = set()
    for place, word in enumerate(words):
        if word not in _MONTHS:
            continue
        before = [w for w in words[max(place - 3, 0) : place] if w not in _BETWEEN][-1:]
        after = [w for w in words[place + 1 : place + 3] if w != "the"][:1]
        days = [each for each in before + after if _is_day(each)]
        sure = days or _is_year(after) or not _BEFORE_A_MONTH.isdisjoint(before)
        if sure or word not in _ALSO_WORDS:
            found.add(_MONTHS[word])
            found.update(f"{_MONTHS[word]} {int(day)}" for day in days[:1])
    return found


def _is_year(after: Sequence[str]) -> bool:
    return any(word.isdigit() for word in after)


def _is_day(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 2 and 1 <= int(word) <= 31
