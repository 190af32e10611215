"""What a question quotes, and its code."""

from __future__ import annotations

import re

from langchain_lean.caching.checking.reading import Question

_QUOTATION = re.compile(
    r"""(?<!\w)"([^"]+)"(?!\w)|(?<!\w)'([^']+)'(?!\w)|«([^«»]+)»|「([^「」]+)」|『([^『』]+)』"""
)
_CODE = re.compile(r"`+([^`]+)`+")
_MARKS = frozenset("\"'«「『")
_WORD = re.compile(r"\w+")


def a_quotation_is_missing(one: Question, other: Question) -> bool:
    """Whether what one question quotes is nowhere in the other, quoted or not."""
    return _missing(one.folded, other.folded) or _missing(other.folded, one.folded)


def _missing(one: str, other: str) -> bool:
    code = {match[1].strip() for match in _CODE.finditer(one)} if "`" in one else set()
    if any(each not in other for each in code):
        return True
    if _MARKS.isdisjoint(one):
        return False
    quoted = {_words(match[match.lastindex or 0]) for match in _QUOTATION.finditer(one)}
    quoted.discard("  ")
    known = _words(other) if quoted else ""
    return any(each not in known for each in quoted)


def _words(text: str) -> str:
    return f" {' '.join(_WORD.findall(text))} "
