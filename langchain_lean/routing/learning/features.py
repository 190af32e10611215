"""What can be seen of a question and its answer without understanding them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from langchain_lean.routing.checking.arithmetic import calculations
from langchain_lean.routing.checking.shape import breaks_off
from langchain_lean.routing.checking.wording import hedges, refuses
from langchain_lean.vectors import Floats

QUESTION_FEATURES = (
    "characters",
    "sentences",
    "negations",
    "share of negations",
    "repetition",
)
"""What `question_features` measures, in its order."""

ANSWER_FEATURES = (
    "answer: characters",
    "answer: last line",
    "answer: repetition",
    "answer: breaks off",
    "answer: doubts",
    "answer: words of the question",
    "answer: calculations",
    "answer: wrong calculations",
    "answer: unused numbers",
    "answer: numbers from nowhere",
    "answer: ends on a result",
)
"""What `answer_features` measures, in its order."""

Texts = tuple[str, ...]
"""The text of a question and, if there is one, of its answer."""

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|[。！？]")
_NEGATIONS = frozenset(
    {"not", "no", "nor", "never", "none", "neither", "nobody", "nothing", "nowhere"}
    | {"without", "except", "cannot"}
)
_CONTRACTED = ("n't", "n’t")
_READ = 4_000  # characters; of a longer text the beginning and the end are read


def feature_names(*, answers: bool) -> tuple[str, ...]:
    """What is measured, with or without an answer."""
    return QUESTION_FEATURES + ANSWER_FEATURES if answers else QUESTION_FEATURES


def features_of(rows: Sequence[Texts]) -> Floats:
    """The features of rows, all of them with an answer or none.

    Returns:
        (rows, features), in the order of `feature_names`.
    """
    return np.array([_features(*texts) for texts in rows], np.float64)


def question_features(question: str) -> list[float]:
    """How long a question is, how often it says no, how much it repeats.

    Counts are taken as log(1 + count). Negations are English.

    Args:
        question: Its text.

    Returns:
        A number for each of `QUESTION_FEATURES`.
    """
    read = _ends(question)
    words = _words(read)
    negations = sum(w in _NEGATIONS or w.endswith(_CONTRACTED) for w in words)
    return [
        math.log1p(len(question)),
        math.log1p(len(_SENTENCE_END.findall(read))),
        math.log1p(negations),
        negations / max(1, len(words)),
        _repetition(words),
    ]


def answer_features(question: str, answer: str) -> list[float]:
    """The form of an answer, its calculations, and what it takes from its question.

    The last number of an answer may be the result of a calculation it states; a number
    is from nowhere if it is neither such a result nor in the question. Doubts and
    refusals are English.

    Args:
        question: The text of the question.
        answer: The text of the answer.

    Returns:
        A number for each of `ANSWER_FEATURES`.
    """
    answer = answer.strip()
    read, asked = _ends(answer), _ends(question)
    words, known = _words(read), set(_words(asked))
    numbers, given = _numbers(read), set(_numbers(asked))
    stated = calculations(read)
    results = {_as_float(each.said) for each in stated}
    return [
        math.log1p(len(answer)),
        math.log1p(len(read[read.rfind("\n") + 1 :])),
        _repetition(words),
        breaks_off(read),
        hedges(read) or refuses(read),
        len(known.intersection(words)) / max(1, len(known)),
        math.log1p(len(stated)),
        math.log1p(sum(not each.holds for each in stated)),
        len(given.difference(numbers)) / max(1, len(given)),
        math.log1p(len({*numbers} - given - results)),
        bool(numbers) and numbers[-1] in results,
    ]


def _features(question: str, answer: str | None = None) -> list[float]:
    asked = question_features(question)
    return asked if answer is None else asked + answer_features(question, answer)


def _ends(text: str) -> str:
    if len(text) <= _READ:
        return text
    return f"{text[: _READ // 2]}\n{text[-_READ // 2 :]}"


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in _NUMBER.findall(text)]


def _as_float(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf


def _repetition(words: Sequence[str]) -> float:
    """The share of pairs of neighbouring words that stood there before."""
    pairs = [*pairwise(words)]
    return 1 - len({*pairs}) / len(pairs) if pairs else 0.0
