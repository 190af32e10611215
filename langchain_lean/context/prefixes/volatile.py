"""Text that changes from call to call, found in the static part of a prompt."""

import re
from collections.abc import Callable, Iterator

from langchain_lean.context.retrieval.sentences import Chunk
from langchain_lean.errors import ConfigurationError

Volatile = re.Pattern[str] | Callable[[str], object]
"""Says of a line, or a sentence of it, whether it changes from call to call."""

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
_WEEKDAY = r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE = (
    rf"(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}}"
    rf"|{_MONTH} {_DAY},? \d{{4}}|{_DAY}\.? {_MONTH},? \d{{4}}"
    r"|\d{4}年\d{1,2}月\d{1,2}日)"
)
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
_ZONE = r"(?:\s?[ap]\.?m\.?)?(?:\s[A-Z]{2,5})?"
_STAMP = (
    rf"{_DATE}(?:T|,?\s+(?:at\s+)?){_TIME}"
    rf"|{_TIME}{_ZONE},?\s+(?:on\s+)?(?:{_WEEKDAY},?\s+)?{_DATE}"
    rf"|{_MONTH}\s+\d{{1,2}}\s+{_TIME}(?:\s+[A-Z]+)?\s+\d{{4}}"  # as ctime writes it
)
# A date alone may be a rule's own; one that is said to be today's is not.
_NOW = (
    r"\b(?:(?:current|present|today['’]s|local|server|system|the)\s+(?:\w+\s+)?"
    r"(?:date(?:\s?(?:and|&|/)\s?time)?|time(?:stamp)?|datetime|day|month|year)"
    r"|today|now|it\s+is\s+(?:now|currently))"
    r"['\"*`]*\s*(?:\([^)\n]{0,40}\)\s*)?(?:is|:|=|(?<=now)|(?<=currently))"
    r"[\s'\"*`]*(?:now\s+)?"
    rf"(?:{_DATE}|{_TIME}|\d{{1,2}}\s?[ap]\.?m\b|{_WEEKDAY}\b|{_MONTH}\s+\d|\d{{4}}\b"
    r"|\d{10,13}\b)"
)
_UUID = r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"
_ID = (
    r"\b(?:request|session|trace|correlation|run|conversation|thread|span|transaction"
    r"|invocation)[\s_-]?id\b['\"*`]*\s*(?:is|:|=|#)?[\s'\"*`<(\[]*"
    r"(?=[\w-]*\d)[\w-]{4,}"
)
_VOLATILE = re.compile(rf"{_STAMP}|{_NOW}|{_UUID}|{_ID}", re.IGNORECASE)
_FENCES = ("```", "~~~")
_JSON_MEMBER = re.compile(r"\s*+[{,]?\s*+\"[^\"\n]*+\"\s*+:")


def is_volatile(line: str) -> bool:
    """Whether a line holds what changes from call to call.

    That is a date with a time of day, a date or time that is said to be the current
    one, a UUID, or the id of a request, session, trace or the like. A date alone is
    none: "the policy of 2024-01-01" is a rule.

    Args:
        line: A line, or a sentence.
    """
    return _VOLATILE.search(line) is not None


def says_volatile(volatile: Volatile) -> Callable[[str], object]:
    """A pattern or a predicate as a predicate.

    Raises:
        ConfigurationError: If it is neither.
    """
    if isinstance(volatile, re.Pattern):
        return volatile.search
    if callable(volatile):
        return volatile
    kind = type(volatile).__name__
    msg = f"volatile= is a compiled pattern or a predicate on a line, not {kind}."
    raise ConfigurationError(msg)


def parted(text: str, volatile: Callable[[str], object]) -> tuple[str, list[str]]:
    """Take out of a text what changes from call to call.

    Of a line the sentences go that are volatile; the whole line where only all of it
    is. Fenced blocks and the members of JSON objects stay: they would not be whole.

    Args:
        text: A text.
        volatile: Says of a line or a sentence whether it is.

    Returns:
        What stays, and the pieces that go, in their order. Together they hold every
        character but white space around the pieces.
    """
    kept, gone = [], []
    for line, whole in _lines(text):
        rest = line
        while not whole and rest.strip() and volatile(rest.strip()):
            rest, pieces = _sentences(rest, volatile)
            gone += pieces
        kept.append(rest)
    return "".join(kept), gone


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """The lines of a text, and whether each must stay whole."""
    fenced = False
    for line in text.splitlines(keepends=True):
        has_fence = any(fence in line for fence in _FENCES)
        yield line, fenced or has_fence or _JSON_MEMBER.match(line) is not None
        fenced ^= line.lstrip().startswith(_FENCES)


def _sentences(line: str, volatile: Callable[[str], object]) -> tuple[str, list[str]]:
    sentences = Chunk.of(line).sentences
    changing = [bool(volatile(sentence.strip())) for sentence in sentences]
    gone = [s.strip() for s, goes in zip(sentences, changing, strict=True) if goes]
    stay = "".join(s for s, goes in zip(sentences, changing, strict=True) if not goes)
    if not gone or not stay.strip():
        return "", [line.strip()]
    end = line[len(line.rstrip()) :]
    return stay.rstrip() + end, gone
