"""Where the JSON value in a text ends, found while the text still comes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BRACKET = re.compile(r"[{\[]")
_ANY_BRACKET = re.compile(r"[{\[\]}]")
_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'[^"\\]*')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_ESCAPE_BEGUN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_WORD = re.compile(r"[\w.+-]*")
_SCALAR = re.compile(  # what `json.loads` takes, NaN and Infinity included
    r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
    r"|true|false|null|NaN|-?Infinity"
)
_WHOLE_NUMBER = re.compile(r"[0-9]+")
_BEFORE_ANSWER = re.compile(r"\s*(?:```\w*\s*)?")

# What may come next within a value; `s` is a number, true, false or null.
_VALUE = '"{[s'
_FIRST_ITEM = '"{[s]'
_KEY = '"'
_FIRST_KEY = '"}'
_COLON = ":"
_AFTER_ITEM = ",]"
_AFTER_MEMBER = ",}"


class JsonScanner:
    """Finds the end of the first JSON object or array in a growing text.

    JSON is what `json.loads(..., strict=False)` takes, as LangChain's parsers do: a
    string may hold raw newlines and tabs.

    Prose and code fences before the value are passed over, and so are brackets that
    are refused before anything but brackets is in them, such as `[the]` or `{name}`,
    with all up to where they are closed. What is refused later was meant as a value,
    and is given up with all that follows: to go on within it would find a part of it.
    Behind prose, empty brackets and lists
    of nothing but whole numbers are taken for marks and citations (`[1]`, `[ ]`, `{}`)
    and passed over, too; where the text begins with one, it is the value.

    No character is read twice, in whatever pieces the text comes.

    Args:
        kinds: The brackets the value may begin with.

    Attributes:
        complete: The value has ended.
    """

    def __init__(self, kinds: str = "{[") -> None:
        self.complete = False
        self._kinds = kinds
        self._given_up = False
        self._before: list[str] | None = []  # until the first bracket
        self._leads = False
        self._open: list[str] = []
        self._aside = 0  # brackets of prose that are open
        self._only_brackets = True
        self._is_mark = True
        self._expected = _VALUE
        self._in_string = False
        self._escape = ""
        self._word: list[str] = []

    def feed(self, text: str) -> int | None:
        """Read more of the text.

        Args:
            text: What comes next.

        Returns:
            How many of its characters belong to the text up to the end of the value;
            None if that is not here.
        """
        at = 0
        while at < len(text) and not self.complete and not self._given_up:
            at = self._read(text, at)
        return at if at and self.complete else None

    def _read(self, text: str, at: int) -> int:
        """Read a token, or what there is of one; give where to go on."""
        if self._aside:
            return self._to_the_end_of_prose(text, at)
        if not self._open:
            return self._prose(text, at)
        if self._in_string:
            return self._string(text, at)
        if self._word:
            return self._scalar(text, at)
        at = _end(_SPACE, text, at)
        if at == len(text):
            return at
        char = text[at]
        kind = char if char in '{}[],:"' else "s"
        if kind not in self._expected:
            self._refuse()
            return at
        if kind == "s":
            return self._scalar(text, at)
        self._punctuation(kind)
        return at + 1

    def _prose(self, text: str, at: int) -> int:
        found = _BRACKET.search(text, at)
        end = found.start() if found else len(text)
        if self._before is not None:
            self._before.append(text[at:end])
        if not found:
            return end
        before, self._before = self._before, None
        self._leads = before is not None and bool(
            _BEFORE_ANSWER.fullmatch("".join(before))
        )
        self._only_brackets = self._is_mark = True
        self._opened(found[0])
        return found.end()

    def _to_the_end_of_prose(self, text: str, at: int) -> int:
        found = _ANY_BRACKET.search(text, at)
        if not found:
            return len(text)
        self._aside += 1 if found[0] in "{[" else -1
        return found.end()

    def _opened(self, bracket: str) -> None:
        self._is_mark = self._is_mark and not self._open
        self._open.append(bracket)
        self._expected = _FIRST_KEY if bracket == "{" else _FIRST_ITEM

    def _punctuation(self, kind: str) -> None:
        if kind in "{[":
            self._opened(kind)
            return
        self._only_brackets = False
        if kind in "}]":
            self._closed()
        elif kind == ",":
            self._expected = _KEY if self._open[-1] == "{" else _VALUE
        elif kind == ":":
            self._expected = _VALUE
        else:
            self._in_string = True
            self._is_mark = False

    def _closed(self) -> None:
        bracket = self._open.pop()
        if self._open:
            self._expected = self._after()
        else:
            wanted = bracket in self._kinds
            self.complete = wanted and (self._leads or not self._is_mark)

    def _string(self, text: str, at: int) -> int:
        if not self._escape:
            at = _end(_PLAIN, text, at)
            if at == len(text):
                return at
            if text[at] == '"':
                self._in_string = False
                is_key = self._expected in (_KEY, _FIRST_KEY)
                self._expected = _COLON if is_key else self._after()
                return at + 1
        self._escape += text[at]
        if _ESCAPE.fullmatch(self._escape):
            self._escape = ""
        elif not _ESCAPE_BEGUN.fullmatch(self._escape):
            self._refuse()
        return at + 1

    def _scalar(self, text: str, at: int) -> int:
        end = _end(_WORD, text, at)
        self._word.append(text[at:end])
        if end == len(text):
            return end
        word = "".join(self._word)
        self._word = []
        if not _SCALAR.fullmatch(word):
            self._refuse()
            return end
        self._only_brackets = False
        self._is_mark = self._is_mark and bool(_WHOLE_NUMBER.fullmatch(word))
        self._expected = self._after()
        return end

    def _after(self) -> str:
        return _AFTER_MEMBER if self._open[-1] == "{" else _AFTER_ITEM

    def _refuse(self) -> None:
        """What is open begins no value: prose, or one that nobody could read."""
        self._given_up = not self._only_brackets
        self._aside = len(self._open)
        self._open = []


def brackets_of(schema: Mapping[str, Any]) -> str:
    """The brackets that a value of a JSON schema may begin with."""
    kind = schema.get("type")
    if kind == "object" or (kind is None and "properties" in schema):
        return "{"
    return "[" if kind == "array" else "{["


def ends_at_first_brace(schema: Mapping[str, Any]) -> bool:
    """Whether the first `}` of any text of a JSON schema is its end.

    This holds for an object with no other properties than those it names, whose
    values are numbers, booleans, null, or one of some values without a brace. Of a
    schema that is none it does not hold.

    Args:
        schema: A JSON schema.
    """
    names = schema.get("properties")
    return (
        schema.get("type") == "object"
        and schema.get("additionalProperties") is False
        and not schema.get("patternProperties")
        and isinstance(names, Mapping)
        and all(isinstance(name, str) and "}" not in name for name in names)
        and all(_holds_no_brace(value, schema, 0) for value in names.values())
    )


_MOST_REFERENCES = 8


def _holds_no_brace(value: Any, root: Mapping[str, Any], depth: int) -> bool:
    if not isinstance(value, Mapping) or depth > _MOST_REFERENCES:
        return False
    if "const" in value:
        return _written_without_brace(value["const"])
    if "enum" in value:
        return bool(_items(value["enum"])) and _written_without_brace(value["enum"])
    if "$ref" in value:
        return _holds_no_brace(_referred(str(value["$ref"]), root), root, depth + 1)
    for choice in ("anyOf", "oneOf"):
        if choice in value:
            ways = _items(value[choice])
            return bool(ways) and all(_holds_no_brace(w, root, depth + 1) for w in ways)
    kind = value.get("type")
    kinds = [kind] if isinstance(kind, str) else _items(kind)
    flat = ("number", "integer", "boolean", "null")
    return bool(kinds) and all(each in flat for each in kinds)


def _written_without_brace(value: Any) -> bool:
    try:
        return "}" not in json.dumps(value)
    except (TypeError, ValueError, RecursionError):  # no JSON
        return False


def _items(value: Any) -> list[Any]:
    """The items of a JSON list; none of anything else."""
    return list(value) if isinstance(value, list | tuple) else []


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """What a reference such as `#/$defs/Color` stands for."""
    section, _, name = reference.removeprefix("#/").partition("/")
    named = root.get(section)
    return named.get(name) if isinstance(named, Mapping) else None


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
