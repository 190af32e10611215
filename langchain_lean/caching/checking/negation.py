"""What a question negates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from langchain_lean.caching.checking.reading import Question
from langchain_lean.caching.checking.words import FUNCTION_WORDS, stem, word_set

_REACH = 4  # words with a topic behind a "not" that it may be about

_NEGATORS = word_set(
    """not no never without avoid avoids avoiding none nothing nobody nowhere neither
    nor non hardly except excluding unless lacking lacks nicht kein keine keinen keinem
    keiner nie niemals ohne pas jamais sans aucun aucune nunca jamás não nao nem sem
    senza niet geen nooit inte ikke не нет без никогда değil नहीं لا لم لن ليس"""
)
_NOT_MEANT = word_set("only just matter worries doubt")
_DOUBTED = word_set("know understand sure certain")
_I_CAN = ("i", "can")
_SOUGHT = word_set("find locate figure seem")
_SHOULD_NOT_HAVE = ("should", "not", "have", "been")
_ENDS = word_set("that which who but because and or so if when while though")
_PASSED_OVER = FUNCTION_WORDS | word_set(
    "really yet even actually always still currently ever"
)
_AUXILIARIES = word_set(
    """do does did is are was were has have had can could will would should may must"""
)
_ASKING = word_set("why how what which where when who and so but")
_SUBJECTS = word_set("i you he she it we they there one")
_LIGHT_VERBS = word_set("get got have had want like let")
_HINTS = frozenset(
    map(
        stem,
        word_set(
            """fail failure decline reject refuse deny broken lost lose missing miss
            pending still stuck wrong unknown stop block lack error issue problem
            trouble except delay late forget forgot forgotten unrecognised hard
            difficult different instead prevent but yet not"""
        ),
    )
)
_WRITTEN_TOGETHER = re.compile(
    "[不没沒](?!同|过|過|只|仅|僅|管|断|斷|错|錯|用说)|未(?!来|來|婚)|ません|ない|なかった|않|못|없"
)
# "Can or cannot" asks, and negates nothing.
_CHOICE = re.compile("(.)[不没沒]\\1|有[没沒]有")


class Negation(NamedTuple):
    """What a "not" is about, as stems.

    Attributes:
        word: What it negates for sure: the next word; "" where that is not clear, as in
            "hasn't my card arrived".
        reach: All that it may be about.
    """

    word: str
    reach: tuple[str, ...]


def one_is_negated(one: Question, other: Question) -> bool:
    """Whether one question negates, and the other says the same without.

    Or both negate, but one of them negates what the other one says plainly.
    """
    ours, theirs = list(_negations(one)), list(_negations(other))
    if bool(ours) != bool(theirs):
        plain = set(map(stem, (other if ours else one).words))
        if not plain & _HINTS - negated(one if ours else other):
            return True
    return _says_plainly(other, theirs, one, ours) or _says_plainly(
        one, ours, other, theirs
    )


def negated(question: Question) -> set[str]:
    """The stems that the negations of a question may be about."""
    return {stem for each in _negations(question) for stem in each.reach}


def _says_plainly(
    question: Question,
    own: Sequence[Negation],
    other: Question,
    negations: Sequence[Negation],
) -> bool:
    """Whether a question says plainly what the other one only negates."""
    if not negations:
        return False
    said = set(question.content).difference(*(each.reach for each in own))
    counts = Counter(other.content)
    return any(each.word in said and counts[each.word] == 1 for each in negations)


def _negations(question: Question) -> Iterator[Negation]:
    words = question.words
    for place, word in enumerate(words):
        if word in _NEGATORS and _is_meant(words, place):
            yield _negation(words, place)
    if not question.folded.isascii():
        together = _CHOICE.sub("", question.folded)
        yield from (Negation("", ()) for _ in _WRITTEN_TOGETHER.finditer(together))


def _is_meant(words: Sequence[str], place: int) -> bool:
    """Not "no. 5", "not only", "I don't know", "or not", "should not have been".

    Nor does "isn't there a way" at the head ask for anything but "is there a way".
    """
    after = words[place + 1] if place + 1 < len(words) else ""
    before = words[place - 1] if place else ""
    i_am_the_one = place < 2 or "i" in words[max(place - 3, 0) : place]
    return not (
        after in _NOT_MEANT
        or after[-1:].isdigit()
        or (i_am_the_one and after in _DOUBTED)
        or (before == "or" and (not after or after in FUNCTION_WORDS))
        or (words[place] == "no" and not after)
        or (place == 1 and after == "there")
        or (after in _SOUGHT and words[place - 2 : place] == _I_CAN)
        or words[place - 1 : place + 3] == _SHOULD_NOT_HAVE
    )


def _negation(words: Sequence[str], place: int) -> Negation:
    behind = takewhile(lambda word: word not in _ENDS, words[place + 1 : place + 12])
    topics = (stem(w) for w in behind if w not in _PASSED_OVER)
    reach = tuple(islice(topics, _REACH))
    asks = words[place - 1] in _AUXILIARIES if place else False
    asks = asks and (place == 1 or words[place - 2] in _ASKING)
    if asks and _SUBJECTS.isdisjoint(words[place + 1 : place + 2]):
        return Negation("", reach)
    unclear = not reach or not _LIGHT_VERBS.isdisjoint(words[place + 1 : place + 2])
    return Negation("" if unclear else reach[0], reach)
