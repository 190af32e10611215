"""Whether what an answer cites and quotes stands in what it was given."""

from __future__ import annotations

import re
from collections.abc import Iterator

NUMBERED = re.compile(r"\[([0-9]{1,4}(?:\s?[,;–-]\s?[0-9]{1,4})*+)\](?!\()")
"""Marks such as `[1]`, `[1, 3]` and `[2-4]`; `[1](...)` is a link."""

_LEAST_WORDS = 5  # of a quotation; shorter ones are names and terms
_LONGEST_RANGE = 100  # of numbers in one mark

_CODE = re.compile(r"```(?s:.*?)(?:```|\Z)|`[^`\n]*`")
_QUOTATION = re.compile(r'"([^"\n]+)"|“([^“”\n]+)”|«([^«»\n]+)»')
_LEFT_OUT = re.compile(r"\.\.\.|…|\[[^\[\]\n]*\]")
_NO_WORD = re.compile(r"[\W_]+")
_NUMBERS = re.compile(r"[0-9]+(?:\s?[,;–-]\s?[0-9]+)*+")
_NUMBER_OR_RANGE = re.compile(r"([0-9]+)(?:\s?[–-]\s?([0-9]+))?")


def without_code(text: str) -> str:
    """A text without what stands between backticks."""
    return _CODE.sub(" ", text)


def cited(text: str, marks: re.Pattern[str] = NUMBERED) -> set[str]:
    """The sources a text names.

    Args:
        text: An answer, or a list of sources.
        marks: What a mark looks like. Its first group, if any, is the source; several
            numbers in one mark are taken apart.

    Returns:
        Each source once.
    """
    group = min(marks.groups, 1)
    found = (match.group(group) for match in marks.finditer(text))
    return {source for mark in found if mark for source in _taken_apart(mark.strip())}


def unknown_quotations(text: str, context: str) -> list[str]:
    """The quotations of a text that do not stand in a context.

    They are compared word by word, without regard to case, punctuation and layout. The
    pieces around dots or square brackets are looked for one by one.

    Args:
        text: An answer. Looked at is what stands in double quotes, on one line, and has
            at least five words.
        context: What it was given.

    Returns:
        The quotations that are not found, in order.
    """
    found = (match.group(match.lastindex or 0) for match in _QUOTATION.finditer(text))
    long = [each for each in found if len(_words(each).split()) >= _LEAST_WORDS]
    known = _words(context) if long else ""
    return [each for each in long if not _stands_in(each, known)]


def _stands_in(quotation: str, words: str) -> bool:
    pieces = map(_words, _LEFT_OUT.split(quotation))
    return all(piece in words for piece in pieces if piece.strip())


def _words(text: str) -> str:
    """The words alone, with a space around each."""
    return f" {_NO_WORD.sub(' ', text.casefold()).strip()} "


def _taken_apart(mark: str) -> Iterator[str]:
    """`1, 3-5` is 1, 3, 4 and 5."""
    if not _NUMBERS.fullmatch(mark):
        yield mark
        return
    for match in _NUMBER_OR_RANGE.finditer(mark):
        first, last = match.groups()
        numbers = range(int(first), int(last or first) + 1)
        if 0 < len(numbers) <= _LONGEST_RANGE:
            yield from map(str, numbers)
        else:
            yield match.group()
