"""The numbers of a question, in digits and in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from langchain_lean.caching.checking.facts import Facts

_SMALL = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen
""".split()  # noqa: SIM905
_SMALL_RANKS = """
zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth
thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth
""".split()  # noqa: SIM905
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_VALUES = (
    {word: value for value, word in enumerate(_SMALL)}
    | {word: value for value, word in enumerate(_SMALL_RANKS)}
    | {word: 10 * tens for tens, word in enumerate(_TENS, 2)}
    | {f"{word[:-1]}ieth": 10 * tens for tens, word in enumerate(_TENS, 2)}
)
_ABBREVIATED = frozenset(("k", "mn", "bn"))
_SCALES = {
    "hundred": 100, "thousand": 1_000, "k": 1_000, "lakh": 100_000,
    "million": 10**6, "mn": 10**6, "crore": 10**7, "billion": 10**9, "bn": 10**9,
    "trillion": 10**12,
}  # fmt: skip
_LARGEST = 10**15  # what is multiplied or added to
_WHOLE = {"dozen": "12", "noon": "12:00", "midnight": "0:00", "midday": "12:00"}
_HINTS = {
    "a": "1", "an": "1", "one": "1", "single": "1", "once": "1", "per": "1",
    "each": "1", "every": "1", "twice": "2", "double": "2", "both": "2",
    "couple": "2", "pair": "2", "half": "1/2", "triple": "3",
}  # fmt: skip
_A_SECOND_OF_TIME = frozenset(("a", "per", "one", "each", "every", "this", "split"))
_NOT_A_RANK = frozenset(("at", "time", "name", "of", "place"))
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_GROUPED_BY_DOTS = re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d+)|\d{1,3}(?:\.\d{3}){2,}")
_PLAIN = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)")


_STARTS = frozenset((*_VALUES, *_SCALES, *_WHOLE))
NUMBER_WORDS = _STARTS.union(_HINTS)
"""The words that numbers are made of."""


def numbers(words: Sequence[str]) -> Facts:
    """The numbers among words, each in one form.

    "1,000", "1k" and "one thousand" are equal, as are "3rd", "third" and "3", or
    "5 pm" and "17:00". "3.10" is not "3.1", for versions. "One" and "a" hint at 1.
    """
    stated: set[str] = set()
    place = 0
    while place < len(words):
        word = words[place]
        if word not in _STARTS and not word[-1].isdigit():
            place += 1
        elif word[-1].isdigit():
            values, place = _in_digits(words, place)
            stated.update(values)
        elif word in _WHOLE:
            stated.add(_WHOLE[word])
            place += 1
        else:
            value, after = _in_words(words, place, Decimal(0))
            if after > place + 1 or _is_number(words, place):
                stated.add(_shown(value))
            place = max(after, place + 1)
    return Facts(stated, {_HINTS[word] for word in words if word in _HINTS})


def _in_words(words: Sequence[str], place: int, value: Decimal) -> tuple[Decimal, int]:
    """The number that goes on at a place, and the place behind it."""
    whole = Decimal(0)
    while place < len(words):
        word = words[place]
        if word in _SCALES and value < _LARGEST:
            value = (value or Decimal(1)) * _SCALES[word]
            if _SCALES[word] > 100:
                whole, value = whole + value, Decimal(0)
        elif word in _VALUES and value < _LARGEST:
            room = 10 if _VALUES[word] < 10 else 100
            if value % room or value % 100 == 10:
                break
            value += _VALUES[word]
        elif word != "and" or not (whole or value >= 100) or not _goes_on(words, place):
            break
        place += 1
    return whole + value, place


def _goes_on(words: Sequence[str], place: int) -> bool:
    return place + 1 < len(words) and words[place + 1] in _VALUES


def _is_number(words: Sequence[str], place: int) -> bool:
    """Whether a single word is meant as a number: "one" and "a second" are not."""
    word = words[place]
    if word == "one" or word in _ABBREVIATED:
        return False
    before = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    if word == "second":
        return before not in _A_SECOND_OF_TIME and not before[-1:].isdigit()
    return word != "first" or (before != "at" and after not in _NOT_A_RANK)


def _in_digits(words: Sequence[str], place: int) -> tuple[list[str], int]:
    """The numbers of a token that has digits, and the place behind them."""
    token, after = words[place], words[place + 1 : place + 3]
    half = "".join(after)[:2] if after and after[0] in ("am", "pm", "a", "p") else ""
    clock = _CLOCK.fullmatch(token)
    if half in ("am", "pm") and (clock or (token.isdigit() and len(token) < 3)):
        hour, minute = clock.groups() if clock else (token, "00")
        shown = f"{int(hour) % 12 + 12 * (half == 'pm')}:{minute}"
        return [shown], place + 2
    if clock:
        return [f"{int(clock[1])}:{clock[2]}"], place + 1
    values = _plain(token)
    if (
        len(values) == 1
        and after
        and after[0] in _SCALES
        and _PLAIN.fullmatch(values[0])
    ):
        value, place = _in_words(words, place + 1, Decimal(values[0]))
        return [_shown(value)], place
    return values, place + 1


def _plain(token: str) -> list[str]:
    """The numbers of a token without thousands separators and idle zeros."""
    sign = "-" if token[0] == "-" else ""
    digits = token.removeprefix("-")
    if _GROUPED.fullmatch(digits):
        digits = digits.replace(",", "")
    elif _GROUPED_BY_DOTS.fullmatch(digits):
        digits = digits.replace(".", "").replace(",", ".")
    elif digits.count(",") == 1 and "." not in digits:
        digits = digits.replace(",", ".")
    pieces = [piece for piece in digits.split(",") if piece]
    return [sign + _without_zeros(piece) for piece in pieces]


def _without_zeros(digits: str) -> str:
    """`007` is 7 and `5.00` is 5; the zeros of `3.10` and of `1.000` may mean more."""
    whole, point, fraction = digits.partition(".")
    if point and len(fraction) <= 2 and not fraction.strip("0"):
        point = fraction = ""
    return (whole.lstrip("0") or "0") + point + fraction


def _shown(value: Decimal) -> str:
    shown = f"{value:f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown
