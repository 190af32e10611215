"""The names of a question: people, places, products, identifiers, addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from langchain_lean.caching.checking.reading import Question
from langchain_lean.caching.checking.words import FUNCTION_WORDS, word_set, word_table

_ONE_FOR = word_table(
    """
usa america american americans
uk britain british
france french
germany german germans
spain spanish
italy italian
portugal portuguese
netherlands dutch holland
belgium belgian
switzerland swiss
austria austrian
poland polish
sweden swedish
norway norwegian
denmark danish
finland finnish
iceland icelandic
ireland irish
scotland scottish
greece greek
turkey turkish
russia russian
ukraine ukrainian
romania romanian
bulgaria bulgarian
hungary hungarian
croatia croatian
serbia serbian
slovakia slovak
slovenia slovenian
china chinese mandarin
japan japanese
korea korean
india indian
pakistan pakistani
bangladesh bangladeshi
indonesia indonesian
malaysia malaysian
thailand thai
vietnam vietnamese
philippines filipino
australia australian
canada canadian
mexico mexican
brazil brazilian
argentina argentinian
chile chilean
colombia colombian
peru peruvian
egypt egyptian
nigeria nigerian
kenya kenyan
ethiopia ethiopian
morocco moroccan
israel israeli
iran iranian persian
iraq iraqi
javascript js
typescript ts
postgresql postgres
kubernetes k8s
"""
)
_GAZETTEER = frozenset(_ONE_FOR) | word_set(
    """
africa arabic asia england europe hindi latin wales zealand singapore taiwan cuba
afghanistan algeria bolivia cambodia ecuador ghana jamaica kuwait lebanon libya nepal
paraguay qatar senegal somalia sudan syria tanzania tunisia uganda uruguay venezuela
yemen zambia zimbabwe amsterdam athens atlanta auckland bangkok barcelona beijing berlin
boston brussels budapest cairo chicago copenhagen dallas delhi denver dubai dublin
edinburgh florence frankfurt geneva hamburg helsinki houston istanbul jakarta
johannesburg lagos lisbon london lyon madrid manchester melbourne miami milan montreal
moscow mumbai munich nairobi naples oslo paris philadelphia prague rome seattle seoul
shanghai stockholm sydney tokyo toronto vancouver venice vienna warsaw zurich
california florida texas alaska hawaii
android chrome debian docker facebook firefox gmail instagram ios iphone java
linux macos mongodb mysql netflix numpy pandas paypal perl php powershell
python pytorch ruby safari scala sqlite tensorflow tiktok twitter ubuntu
whatsapp youtube c++ c#
aspirin ibuprofen paracetamol acetaminophen amoxicillin metformin insulin
mercury venus mars jupiter saturn uranus neptune pluto
"""
)
"""Names that are often written small; a longer list would be longer, not complete."""

_EDGES = "\"'`.,;:!?()[]{}<>*~…«»"
_SENTENCE_END = re.compile(r"[.!?:;…][\"')\]»]*$|^[-*•#>|]+$|^\d+[.)]$")
_ADDRESS = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?:https?://|www\.).+|\w*[^\W_]_[^\W_]\w*.*"
    r"|(?:~|\.{1,2})?/[\w.-]+.*|[A-Za-z]:\\.+|(?=.*[^\W\d_])[\w.-]+(?:/[\w.-]+){2,}"
    r"|[a-z0-9][\w-]+(?:\.[a-z]\w+)+(?:\(\))?"
)
_MARK = re.compile(r"[@_/\\]|\.\w")
_SCHEME = re.compile(r"^(?:https?://)?(?:www\.)?")
_PIECE = re.compile(r"[^\W_]+(?:\+\+|#)?")
_LETTERS = re.compile(r"[^\W\d_]+|\d+")
_SIGNS = re.compile(r"[\W_]+")
_NO_NAMES = FUNCTION_WORDS | word_set(
    """not no never yes hi hey dear mr mrs ms dr am pm etc vs eg ie faq asap btw wed sat
    sun st nd rd th don t"""
)
_GERMAN = word_set(
    """der die das ist ich mein meine nicht wie und ein eine kann zu im auf mit"""
)


def a_name_is_missing(one: Question, other: Question, common: frozenset[str]) -> bool:
    """Whether a name of one question is nowhere in the other one.

    Names are found by their capitals and compared without them, so that "ada lovelace"
    is "Ada Lovelace".

    Args:
        one: A question.
        other: Another one.
        common: Words that are no names even with capitals, such as "USD".
    """
    ours, theirs = _names(one), _names(other)
    return _missing(ours - theirs - common, other) or _missing(
        theirs - ours - common, one
    )


def _missing(names: set[str], other: Question) -> bool:
    unknown = names.difference(other.words) if names else names
    if not unknown:
        return False
    pieces = _LETTERS.findall(other.folded)
    joined = map("".join, pairwise(pieces))
    known = set(map(one_name, (*pieces, *joined, *_PIECE.findall(other.folded))))
    if "us" in known:
        known.add("usa")
    compact = _SIGNS.sub("", other.folded)
    return any(
        name not in compact or _is_short(name)
        for name in set(map(one_name, unknown)) - known
    )


def _is_short(name: str) -> bool:
    """Whether a name may stand within a word by chance."""
    return len(name) < 5 and name.isalpha()


def _names(question: Question) -> set[str]:
    names = set(_GAZETTEER.intersection(question.words))
    capitals: list[tuple[str, str]] = []
    marked = _MARK.search(question.text) is not None
    for line in question.text.splitlines():
        before = ""
        for raw in line.split():
            if marked and _ADDRESS.fullmatch(raw.strip(_EDGES)):
                address = _SCHEME.sub("", raw.strip(_EDGES).casefold())
                names.add(_SIGNS.sub("", address))
            elif not raw.islower() and raw != raw.lower():
                capitals.append((raw.strip(_EDGES), before))
            before = raw
    if capitals:
        names.update(_with_capitals(question, capitals))
    return names


def _with_capitals(
    question: Question, capitals: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """The names among words with capitals, each given with the word before it."""
    if question.text.isupper():
        return
    chunks = [
        (chunk, not before or _SENTENCE_END.search(before) is not None)
        for chunk, before in capitals
    ]
    tell_names = _tell_names(question, chunks)
    for chunk, starts in chunks:
        if "°" in chunk:  # °C
            continue
        pieces = _PIECE.findall(chunk)
        if len(pieces) == 2 and max(map(len, pieces)) < 4:  # Wi-Fi, X-ray
            pieces = ["".join(pieces)]
        for place, piece in enumerate(pieces):
            inner = piece[1:] != piece[1:].lower()
            head = piece[0].isupper() and tell_names and not (starts and place == 0)
            if (inner or head) and piece.casefold() not in _NO_NAMES:
                yield piece.casefold()


def _tell_names(question: Question, chunks: Sequence[tuple[str, bool]]) -> bool:
    """Whether capitals do: not in a Title Like This, nor in German, on each noun."""
    titled = any(
        not starts and len(chunk) > 1 and chunk[1:].islower()
        and chunk.lower() in FUNCTION_WORDS
        for chunk, starts in chunks
    )  # fmt: skip
    return not titled and len(_GERMAN.intersection(question.words)) < 2


def one_name(word: str) -> str:
    """One form, in small letters, for a name: "france" for "french", and no plural."""
    if word in _ONE_FOR:
        return _ONE_FOR[word]
    return word[:-1] if len(word) > 2 and word[-1] == "s" != word[-2] else word
