"""Text that changes from call to call, found in the static part of a prompt."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_lean.context.retrieval.sentences import Chunk
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import EXAMPLE_NAMES, role

Volatile = re.Pattern[str] | Callable[[str], object]
"""Says of a line, or a sentence of it, whether it changes from call to call."""

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
_WEEKDAY = r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?\b"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE = (
    rf"(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}}"
    rf"|\d{{1,2}}/\d{{2}}\b"
    rf"|{_MONTH} {_DAY}\b(?:,? \d{{4}})?|{_DAY}\.?(?: of)? {_MONTH}(?:,? \d{{4}})?"
    r"|\d{4}年\d{1,2}月\d{1,2}日)"
)
_TIME = (
    r"(?:\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:\s?[ap]\.?m\b)?"
    r"|\d{1,2}\s?[ap]\.?m\b)"
)
_ZONE = (
    r"(?:Z\b|[+-](?:0\d|1[0-4]):?[0-5]\d\b"
    r"|\(?\b(?:UTC|GMT|[A-Z]{3,4})\b(?:[+-]\d{1,2})?\)?)"
)
_UNIX = r"\b\d{10}(?:\d{3})?\b"
_CLOCK = rf"(?:{_UNIX}|{_DATE}|{_TIME}|{_WEEKDAY})"
# The value of a clock and nothing else, to the end of a line.
_READING = (
    rf"{_CLOCK}(?:(?:T|[\s,.]{{1,3}}|\s(?:at|on)\s)?"
    rf"(?:{_CLOCK}|{_ZONE}|\d{{4}}\b)){{0,5}}[.\s]*"
)
_WHAT = (
    r"(?:local|system|server|unix|utc|gmt|iso|week|date|day|weekday|time|datetime"
    r"|timestamp|and|or)"
)
_BETWEEN = r"[\s_/&-]{1,3}"
_IS = (
    r"\s{0,2}(?:\([^()\n]{0,40}\)\s{0,2})?"
    r"(?:(?:it\s+is|it['’]?s|is|are|[:=,：，])\s{0,2}){0,3}"
    r"(?:(?:now|the|on|at|in)\s){0,2}"
)
_NOW = re.compile(
    r"(?<![a-z])(?:(?:current|present|currently|today(?:['’]?s)?|now)(?![a-z])|今天|今日|现在)"
    rf"(?:(?:{_BETWEEN}{_WHAT}(?![a-z])){{0,5}}{_IS}{_CLOCK}"
    rf"|{_BETWEEN}year(?![a-z]){_IS}\d{{4}}\b|{_BETWEEN}month(?![a-z]){_IS}{_MONTH})",
    re.IGNORECASE,
)
_ITEM = r"(?:[-+•>#]+\s*|\d{1,2}[.)]\s+)?"
_LABEL = (
    r"(?:the\s+)?(?:(?:current|present|today['’]?s|local|system|server|utc|unix"
    rf"|request)(?:{_BETWEEN}))?(?:date|time|datetime|timestamp|today|now"
    rf"|date{_BETWEEN}(?:(?:and|of){_BETWEEN})?(?:time|day|today))"
)
_CLOCK_LINE = re.compile(
    rf"{_ITEM}{_LABEL}\s*(?:\([^()\n]{{0,40}}\))?\s*[:=]\s*{_READING}", re.IGNORECASE
)
_STAMP = re.compile(rf"{_ITEM}{_DATE}(?:T|,?\s+(?:at\s+)?){_TIME}\s?{_ZONE}?\.?")
_ID_LINE = re.compile(
    rf"{_ITEM}(?:(?:the|this|your)\s+)?(?:request|session|trace|correlation|run"
    r"|conversation|thread|span|transaction|invocation)[\s_-]?(?:uu)?id\s*"
    r"(?:is\s|[:=#])\s*[<(\[]?(?=[\w-]{0,80}\d)[\w-]{4,80}[>)\]]?\.?",
    re.IGNORECASE,
)
_INSTRUCTS = re.compile(
    r"\b(?:you|your|you['’]re|must|never|always|refuse|reject|do\s+not|don['’]?t|cannot"
    r"|can['’]?t|should|shall|only|ensure|make\s+sure|if|unless|until|before|after"
    r"|answer|reply|use|assume|treat|remember|ignore|please)\b",
    re.IGNORECASE,
)
_CURRENT = re.compile(
    r"current|present|today|(?<![a-z])now(?![a-z])|[今现]", re.IGNORECASE
)
_RECORD = re.compile(r"\s*[-*+•>#]?\s*[^\W\d_][^\n:=]{0,40}[:=]\s")
_OTHER_WORDS = 4  # that a sentence on the current time may have beside it
_OF_CLOCKS = frozenset(
    """a am and as at date datetime day days gmt in is it its iso local now of on or pm
    present present's right s server system th st nd rd the time timestamp timezone
    today todays unix utc week weekday year month current currently zone""".split()  # noqa: SIM905
)
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
_NAMES = re.compile(rf"{_MONTH}|{_WEEKDAY}", re.IGNORECASE)
_SOON = re.compile(
    rf"(?:current|present|today|now)(?![a-z])[^\n]{{0,60}}?(?:{_TIME}|{_UNIX})"
    rf"|^[^\n]{{0,40}}{_DATE}(?:T|\s)\d{{1,2}}:\d{{2}}:\d{{2}}[^\n]{{0,40}}$"
    r"|(?:request|session|trace|correlation|run|conversation|thread)(?:[\s_-]?id)?\s*"
    r"[:=]\s*[0-9a-f]{8}-[0-9a-f]{4}-",
    re.IGNORECASE | re.MULTILINE,
)
_LONGEST = 200  # characters of a line that is a label and its value
_QUOTES = re.compile(r"[*`\"'“”]+|</[\w-]+>")
_TAG = re.compile(r"<([\w-]+)>")
_FENCES = ("```", "~~~")
_JSON_MEMBER = re.compile(r"\s*+[{,]?\s*+\"[^\"\n]*+\"\s*+:")
_EXAMPLE = re.compile(
    r"\W*(?:user|assistant|human|ai|bot|agent|customer|system|q|a|question|answer|input"
    r"|output|example)\s?\d{0,3}\W{0,3}:",
    re.IGNORECASE,
)
_TIMED = re.compile(rf"{_TIME}|{_UNIX}|\bid\b|[\s_-]id\b", re.IGNORECASE)


def is_volatile(line: str) -> bool:
    """Whether a line only says what changes from call to call.

    That is the current date or time, where it is called so (`current`, `present`,
    `now`, `today`); a line that is a date, time or timestamp behind such a word and a
    colon, or in such a tag; a timestamp with a time of day on a line of its own; and a
    line with the id of a request, session, trace or the like. Whatever else names a
    date or a time is a rule ("the closing time is 17:00", "the policy of 2024-01-01"),
    and so is a sentence that also tells what to do.

    Args:
        line: A line, or a sentence.
    """
    plain = _TAG.sub(r"\1: ", _QUOTES.sub("", line)).strip()
    short = len(plain) <= _LONGEST
    if short and (_CLOCK_LINE.fullmatch(plain) or _ID_LINE.fullmatch(plain)):
        return True
    if short and _STAMP.fullmatch(plain):
        return True
    if not _NOW.search(plain) or _INSTRUCTS.search(plain):
        return False
    said = {word.lower() for word in _WORD.findall(_NAMES.sub("", plain))}
    others = len(said - _OF_CLOCKS)
    return others <= (_OTHER_WORDS if "current" in said else 0)


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


def instructs(message: BaseMessage) -> bool:
    """Whether a message is a system message, and no example."""
    return role(message) == "system" and message.name not in EXAMPLE_NAMES


def changes_soon(message: BaseMessage) -> bool:
    """Whether a system message holds what changes while a provider's cache lasts.

    A date alone is none of that: it lasts a day.
    """
    if not instructs(message):
        return False
    content = message.content
    texts = [content] if isinstance(content, str) else list(map(_text, content))
    pieces = (piece for text in texts for piece in parted(text, is_volatile)[1])
    timed = any(_TIMED.search(piece) for piece in pieces)
    return timed or any(_SOON.search(text) for text in texts)


def parted(text: str, volatile: Callable[[str], object]) -> tuple[str, list[str]]:
    """Take out of a text what changes from call to call.

    Of a line the sentences go that are volatile; the whole line where only all of it
    is. A label that ends in a colon goes with a bare timestamp below it. Fenced blocks,
    the members of JSON objects and the lines of examples ("User: ...") stay whole.

    Args:
        text: A text.
        volatile: Says of a line or a sentence whether it is.

    Returns:
        What stays, and the pieces that go, in their order. Together they hold every
        character but white space around the pieces.
    """
    kept: list[str] = []
    gone: list[str] = []
    records = _in_records(text) if volatile is is_volatile else set()
    for number, (line, whole) in enumerate(_lines(text)):
        stays = whole or number in records
        rest, pieces = (line, []) if stays else _without(line, volatile)
        if pieces and _STAMP.fullmatch(line.strip()) and _is_label(kept):
            if _INSTRUCTS.search(kept[-1]):
                rest, pieces = line, []
            else:
                pieces.insert(0, kept.pop().strip())
        gone += pieces
        kept.append(rest)
    return "".join(kept), gone


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """The lines of a text, and whether each must stay whole."""
    fenced = False
    for line in text.splitlines(keepends=True):
        has_fence = any(fence in line for fence in _FENCES)
        stays = _JSON_MEMBER.match(line) or _EXAMPLE.match(line)
        yield line, fenced or has_fence or stays is not None
        fenced ^= line.lstrip().startswith(_FENCES)


def _in_records(text: str) -> set[int]:
    """The lines that tell the time of something else: a mail's, an order's.

    They stand beside other labels with a value, or their label comes again. What is
    called current is no part of a record.
    """
    lines = text.splitlines()
    headers = [_RECORD.match(f"{line} ") for line in lines]
    labels = [header[0].strip() if header else "" for header in headers]
    often = Counter(labels)
    pairs = zip(labels, lines, strict=True)
    own = [bool(label) and is_volatile(line) for label, line in pairs]
    found = set()
    for number, (line, label) in enumerate(zip(lines, labels, strict=True)):
        if not own[number] or _CURRENT.search(line):
            continue
        beside = [n for n in (number - 1, number + 1) if 0 <= n < len(lines)]
        if often[label] > 1 or any(labels[n] and not own[n] for n in beside):
            found.add(number)
    return found


def _is_label(kept: list[str]) -> bool:
    return bool(kept) and kept[-1].rstrip().endswith(":")


def _without(line: str, volatile: Callable[[str], object]) -> tuple[str, list[str]]:
    rest, gone = line, []
    while rest.strip():
        rest, pieces = _sentences(rest, volatile)
        if not pieces:
            break
        gone += pieces
    return rest, gone


def _sentences(line: str, volatile: Callable[[str], object]) -> tuple[str, list[str]]:
    sentences = Chunk.of(line).sentences
    changing = [bool(volatile(sentence.strip())) for sentence in sentences]
    gone = [s.strip() for s, goes in zip(sentences, changing, strict=True) if goes]
    stay = "".join(s for s, goes in zip(sentences, changing, strict=True) if not goes)
    if not gone and not volatile(line.strip()):
        return line, []
    if not gone or not stay.strip():
        return "", [line.strip()]
    end = line[len(line.rstrip()) :]
    return stay.rstrip() + end, gone


def _text(block: str | dict[str, Any]) -> str:
    text = block if isinstance(block, str) else block.get("text")
    return text if isinstance(text, str) else ""
