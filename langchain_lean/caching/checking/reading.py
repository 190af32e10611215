"""A question as its words, in one form whatever its case, layout and script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from langchain_lean.caching.checking.words import FUNCTION_WORDS, stem, word_table

LONGEST = 4_000
"""Characters of a question that are read."""

_SPACED_THOUSANDS = re.compile(r"(?<=\d)[\u00a0\u2009\u202f'’](?=\d{3}(?!\d))")
_GLUED_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_FOREIGN_DIGIT = re.compile(r"[^\D0-9]")
_SIGNS = str.maketrans("‘’ʼ′“”„−–—⁄٫٬", "''''\"\"\"---/.,")
_SPELLED = re.compile(
    r"\b(?:(?P<USA>(?i:united states(?: of america)?|u\.s\.(?:a\.)?)|US\b)"
    r"|(?P<UK>(?i:united kingdom|great britain|u\.k\.))"
    r"|(?P<EU>(?i:european union)))"
)
_TOKEN = re.compile(
    r"""[^\W\d_]+(?:'[^\W\d_]+)*(?:(?<=\b[cf])(?:\+\+|\#))?
    | \d{4}-\d\d?-\d\d?(?!\d)
    | (?:(?<![^\s(])-)?\d+(?:[.,:/]\d+)*
    | \*\*|[$€£¥₹₩₽₿%°+*×÷<>→^] | (?<=\s)-(?=\s)""",
    re.VERBOSE,
)
_DATE = re.compile(
    r"(?P<y>\d{4})-(?P<m>\d\d?)-(?P<d>\d\d?)"
    r"|(?P<d2>\d\d?)\.(?P<m2>\d\d?)\.(?P<y2>\d{4})"
    r"|(?P<d3>\d\d?)/(?P<m3>\d\d?)/(?P<y3>\d{4})"
)
_MONTHS = """january february march april may june july august september october
    november december""".split()  # noqa: SIM905

_SHORT_FORMS = frozenset(("s", "re", "ve", "ll", "d", "m"))
_BEFORE_NOT = {"ca": "can", "wo": "will", "sha": "shall"}
_NOT_AFTER = word_table(  # contractions without the apostrophe
    """
    can cannot cant
    will wont
    do dont
    does doesnt
    did didnt
    is isnt
    are arent
    was wasnt
    were werent
    has hasnt
    have havent
    had hadnt
    would wouldnt
    should shouldnt
    could couldnt
    """
)
_NOT_BEFORE = word_table(  # words that say "not" without the word, where it is safe
    """
    possible impossible
    able unable
    safe unsafe
    legal illegal unlawful
    available unavailable
    correct incorrect
    valid invalid
    likely unlikely
    necessary unnecessary
    healthy unhealthy
    authorized unauthorized unauthorised
    sufficient insufficient
    complete incomplete
    compatible incompatible
    visible invisible
    appropriate inappropriate
    supported unsupported
    paid unpaid
    allowed forbidden prohibited banned disallowed
    secure insecure
    verified unverified
    limited unlimited
    equal unequal
    stable unstable
    aware unaware
    successful unsuccessful
    satisfied unsatisfied dissatisfied
    """
)
_WITH_NOT = {
    **{each: (plain, "not") for each, plain in _NOT_AFTER.items() if each != plain},
    **{each: ("not", plain) for each, plain in _NOT_BEFORE.items() if each != plain},
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question that was read.

    Attributes:
        text: Its text, in normal form (NFKC, plain quotes and digits), with its case.
        folded: The same without case, and with single spaces.
        words: Its words, numbers and signs in order. "n't" is "not", and numeric dates
            are day, month and year.
        content: The stems of the words that carry a topic, in order.
    """

    text: str
    folded: str
    words: tuple[str, ...]
    content: tuple[str, ...]


@lru_cache(maxsize=64)  # each veto reads both questions, and one is asked about often
def read(text: str) -> Question:
    """Read the first `LONGEST` characters of a question."""
    text = _normal(text[:LONGEST])
    folded = " ".join(text.casefold().split())
    words = tuple(_words(folded))
    content = tuple(
        stem(word)
        for word in words
        if word not in FUNCTION_WORDS and (word[0].isalnum() or word[-1].isdigit())
    )
    return Question(text, folded, words, content)


def _normal(text: str) -> str:
    if not text.isascii():
        text = _SPACED_THOUSANDS.sub("", text)
        text = unicodedata.normalize("NFKC", _GLUED_FRACTION.sub(" ", text))
        text = _FOREIGN_DIGIT.sub(lambda digit: str(int(digit.group())), text)
        text = text.translate(_SIGNS)
    return _SPELLED.sub(lambda spelled: spelled.lastgroup or "", text)


def _words(folded: str) -> Iterator[str]:
    for token in _TOKEN.findall(folded):
        if token in _WITH_NOT:
            yield from _WITH_NOT[token]
        elif "'" in token:
            yield from _parts(token)
        elif date := len(token) >= 8 and _DATE.fullmatch(token):
            yield from _day_month_year(token, date)
        else:
            yield token


def _parts(token: str) -> Iterator[str]:
    """`don't` is "do not", `what's` is "what", `l'eau` is "l" and "eau"."""
    head, _, tail = token.rpartition("'")
    if tail == "t" and head.endswith("n"):
        yield _BEFORE_NOT.get(head[:-1], head[:-1])
        yield "not"
    elif tail in _SHORT_FORMS:
        yield from head.split("'")
    else:
        yield from token.split("'")


def _day_month_year(token: str, date: re.Match[str]) -> Iterator[str]:
    """A numeric date in words, where it is clear which number is the month."""
    year, month, day = (
        next(int(n) for key, n in date.groupdict().items() if n and key[0] == part)
        for part in "ymd"
    )
    with_slashes = "/" in token
    if with_slashes and day <= 12 and month <= 12 and day != month:
        yield token
        return
    if with_slashes and month > 12:
        day, month = month, day
    if not 1 <= month <= 12:
        yield token
        return
    yield from (str(day), _MONTHS[month - 1], str(year))
