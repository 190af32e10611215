"""Texts as sentences, and the words of a query found in them."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, chain, islice

import numpy as np
from numpy.typing import NDArray

_LINE_ENDS = r"\n\r\x0b\x0c\x85\u2028\u2029"
_SPACED, _UNSPACED_STOPS = ".!?…॥।۔؟", "。！？｡។။።։"
_STOPS = _SPACED + _UNSPACED_STOPS
# The dots of "e.g.", "J. Smith", "vs." and "1." end no sentence, nor that of "3.14".
_NO_ABBREVIATION = (
    r"(?<!\b[A-Za-z0-9])(?<!\b(?:vs|cf|al|Dr|Mr|Ms|St|No))"
    r"(?<!\b(?:etc|Mrs|Fig|fig|Inc|Ltd))(?<!\bProf)(?<!\bapprox)"
)
_END = (
    rf"(?:{_NO_ABBREVIATION}\.|(?!\.(?![{_SPACED}]))[{_SPACED}]++)"
    r"[\"')\]”’»]*+\s++"
    rf"|[{_UNSPACED_STOPS}]++[”’」』）]*+\s*+|[{_LINE_ENDS}]\s*+"
)
# Possessive throughout: nothing is looked at twice, and no sentence is blank.
_SENTENCE = re.compile(
    rf"[^{_LINE_ENDS}{_STOPS}]*+"
    rf"(?:(?!{_END})[{_STOPS}]++[^{_LINE_ENDS}{_STOPS}]*+)*+(?:{_END}|\Z)"
)
_CLOSING = re.compile(rf"[\s{_STOPS}\"')\]”’»」』）]+\Z")
_WORD = re.compile(r"(?<!\w['’])\w+")  # the "s" of "Claude's" is no word
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_ENDINGS = ("ing", "ed", "es", "s")
_SHORTEST_STEM = 3
_REMEMBERED_TERMS = 256
_MOST_ASKED, _MOST_TERMS = 10_000, 200

_FUNCTION_WORDS = frozenset(
    """
    a about all also am an and any are as at be been but by can could did do does for
    from get had has have he her his how i if in into is it its just me more most my no
    not of on or our she should so some such than that the their them then there these
    they this those to up us was we were what when where which who whom whose why will
    with would you your
    """.split()  # noqa: SIM905 - a list of words, not of strings
)


@dataclass(frozen=True, eq=False)
class Chunk:
    """A text, split at the ends of its sentences and of its lines.

    Attributes:
        text: The text.
        sentences: Its sentences, in order, each with the white space around it.
        ends: Where each ends in the text.
    """

    text: str
    sentences: list[str]
    ends: list[int]
    _found: dict[str, list[int]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, text: str) -> "Chunk":
        """Split a text that is not blank.

        A list item, a row of a table and a line of code count as sentences, too.
        """
        sentences = _SENTENCE.findall(text)
        if not sentences[-1]:
            sentences.pop()
        if sentences[0].isspace():
            sentences[:2] = ["".join(sentences[:2])]
        return cls(text, sentences, [*accumulate(map(len, sentences))])

    @cached_property
    def sizes(self) -> NDArray[np.float64]:
        """How many characters each sentence has."""
        return np.fromiter(map(len, self.sentences), np.float64, len(self.sentences))

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """What stands between white space, in lower case."""
        return frozenset(self._lower.split())

    @cached_property
    def said(self) -> dict[tuple[str, ...], None]:
        """The words of each sentence, without the stops at its end, each once."""
        bare = (_CLOSING.sub("", sentence) for sentence in self.sentences)
        return dict.fromkeys(tuple(sentence.split()) for sentence in bare)

    @cached_property
    def _lower(self) -> str:
        lower = self.text.lower()
        if len(lower) == len(self.text):
            return lower
        # A few letters become two; positions must stay those of the text.
        return "".join(c if len(c.lower()) > 1 else c.lower() for c in self.text)

    def matches(self, terms: Sequence[str]) -> tuple[list[int], list[int]]:
        """Where words begin with terms; see `terms`.

        Returns:
            The number of a term and the number of a sentence that has it, for each of
            such pairs.
        """
        which: list[int] = []
        where: list[int] = []
        for number, term in enumerate(terms):
            found = self._found.get(term)
            if found is None:
                if len(self._found) >= _REMEMBERED_TERMS:
                    self._found.clear()
                found = self._found[term] = self._search(term)
            if found:
                which += [number] * len(found)
                where += found
        return which, where

    def _search(self, term: str) -> list[int]:
        text, size = self._lower, len(term)
        position = text.find(term)
        if position < 0:
            return []
        inside_words = _UNSPACED.match(term) is not None
        whole_words = size < _SHORTEST_STEM
        ends, found = self.ends, []
        while position >= 0:
            end = position + size
            begins = inside_words or not text[position - 1 : position].isalnum()
            if begins and not (whole_words and text[end : end + 1].isalnum()):
                index = bisect_right(ends, position)
                found.append(index)
                end = ends[index]  # once a sentence is enough
            position = text.find(term, end)
        return found

    def cut(self, kept: Iterable[int]) -> str:
        """The text of some sentences, given in their order.

        Neighbours stay as they stand in the text; where something is left out, a new
        line begins.
        """
        return "\n".join([self.text[a:b].strip() for a, b in self.spans(kept)])

    def left_out(self, kept: Iterable[int]) -> list[tuple[int, int]]:
        """Where in the text the sentences that are not kept stand."""
        edges = [0, *chain.from_iterable(self.spans(kept)), len(self.text)]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return [(start, end) for start, end in pairs if start < end]

    def spans(self, kept: Iterable[int]) -> list[tuple[int, int]]:
        """Where in the text some sentences stand, neighbours as one."""
        spans: list[tuple[int, int]] = []
        for index in kept:
            start = self.ends[index - 1] if index else 0
            if spans and spans[-1][1] == start:
                start = spans.pop()[0]
            spans.append((start, self.ends[index]))
        return spans


def query_terms(query: str) -> tuple[str, ...]:
    """What to look for in sentences: the terms of a query, each once.

    Of a long query the first 10,000 characters count, and 200 terms.
    """
    return tuple(islice(dict.fromkeys(terms(query[:_MOST_ASKED])), _MOST_TERMS))


def terms(text: str) -> list[str]:
    """The words of a text in lower case, without their endings.

    English function words are left out, unless there is nothing else. In scripts that
    are written without spaces, every two characters are a term.
    """
    words = _WORD.findall(text.lower())
    content = [word for word in words if word not in _FUNCTION_WORDS] or words
    return [term for word in content for term in _terms(word)]


def _terms(word: str) -> list[str]:
    runs = _UNSPACED.findall(word)
    if runs:
        return [r[i : i + 2] for r in runs for i in range(max(1, len(r) - 1))]
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return [word.removesuffix(ending)]
    return [word]
