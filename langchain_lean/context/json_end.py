"""Where the JSON value in a text ends, found while the text still comes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_BRACKET = re.compile(r"[{\[]")
_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_LONGEST_ESCAPE = 6
_WORD = re.compile(r"[\w.+-]*")
_SCALAR = re.compile(  # what `json.loads` takes, NaN and Infinity included
    r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
    r"|true|false|null|NaN|-?Infinity"
)
_MARK = re.compile(r"\{\s*\}|\[[\s0-9,]*\]")
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

    Prose and code fences before it are passed over, and so is every bracket in them
    that begins no valid JSON, such as `[the]` or `{name}`. Behind prose, empty
    brackets and lists of nothing but whole numbers are taken for marks and citations
    (`[1]`, `[ ]`, `{}`) and passed over, too; where the text begins with one, it is
    the value.

    Args:
        kinds: The brackets the value may begin with.

    Attributes:
        end: How many characters of the text there are up to the end of the value;
            None as long as it is not complete.
        length: How many characters there are in all.
    """

    def __init__(self, kinds: str = "{[") -> None:
        self.end: int | None = None
        self._kinds = kinds
        self._text = ""
        self._at = 0
        self._open: list[int] = []
        self._hopeless: set[int] = set()
        self._in_string = False
        self._expected = _VALUE

    @property
    def length(self) -> int:
        """How many characters there are in all."""
        return len(self._text)

    @property
    def inside(self) -> bool:
        """Whether the text so far ends within a value."""
        return bool(self._open) and self.end is None

    def feed(self, text: str) -> int | None:
        """Read more of the text.

        Args:
            text: What comes next.

        Returns:
            The end of the value, counted from the start of the whole text; None if
            it is not complete yet.
        """
        self._text += text
        while self.end is None and self._step():
            pass
        return self.end

    def _step(self) -> bool:
        """Read one token; False where there is no whole one yet."""
        if not self._open:
            return self._begin()
        if self._in_string:
            return self._string()
        self._at = _end(_SPACE, self._text, self._at)
        if self._at == len(self._text):
            return False
        char = self._text[self._at]
        kind = char if char in '{}[],:"' else "s"
        if kind not in self._expected:
            return self._refuse()
        if kind == "s":
            return self._scalar()
        self._punctuation(kind)
        return True

    def _begin(self) -> bool:
        found = _BRACKET.search(self._text, self._at)
        if found is None:
            self._at = len(self._text)
            return False
        self._at = found.end()
        if found.start() not in self._hopeless:
            self._opened(found.start())
        return True

    def _opened(self, at: int) -> None:
        self._open.append(at)
        self._expected = _FIRST_KEY if self._text[at] == "{" else _FIRST_ITEM

    def _punctuation(self, kind: str) -> None:
        in_object = self._text[self._open[-1]] == "{"
        self._at += 1
        if kind in "{[":
            self._opened(self._at - 1)
        elif kind in "}]":
            self._closed()
        elif kind == ",":
            self._expected = _KEY if in_object else _VALUE
        elif kind == ":":
            self._expected = _VALUE
        else:
            self._in_string = True

    def _closed(self) -> None:
        start = self._open.pop()
        if self._open:
            self._expected = self._after()
        elif self._counts(start):
            self.end = self._at

    def _counts(self, start: int) -> bool:
        """Whether what begins there and ends here is the value of the answer."""
        if self._text[start] not in self._kinds:
            return False
        leads = _BEFORE_ANSWER.fullmatch(self._text, 0, start)
        return bool(leads) or not _MARK.fullmatch(self._text, start, self._at)

    def _string(self) -> bool:
        self._at = _end(_PLAIN, self._text, self._at)
        if self._at == len(self._text):
            return False
        if self._text[self._at] == '"':
            self._at += 1
            self._in_string = False
            is_key = self._expected in (_KEY, _FIRST_KEY)
            self._expected = _COLON if is_key else self._after()
            return True
        escape = _ESCAPE.match(self._text, self._at)
        if escape:
            self._at = escape.end()
            return True
        is_escape = self._text[self._at] == "\\"
        if is_escape and len(self._text) - self._at < _LONGEST_ESCAPE:
            return False
        return self._refuse()

    def _scalar(self) -> bool:
        end = _end(_WORD, self._text, self._at)
        if end == len(self._text):
            return False
        if not _SCALAR.fullmatch(self._text, self._at, end):
            return self._refuse()
        self._at = end
        self._expected = self._after()
        return True

    def _after(self) -> str:
        in_object = self._text[self._open[-1]] == "{"
        return _AFTER_MEMBER if in_object else _AFTER_ITEM

    def _refuse(self) -> bool:
        """Look on behind the bracket that turned out to begin no value."""
        # Brackets still open within it end in the same error; others may begin one.
        self._hopeless.update(self._open)
        self._at = self._open[0] + 1
        self._open = []
        self._in_string = False
        return True


def brackets_of(schema: Mapping[str, Any]) -> str:
    """The brackets that a value of a JSON schema may begin with."""
    kind = schema.get("type")
    if kind == "object" or (kind is None and "properties" in schema):
        return "{"
    return "[" if kind == "array" else "{["


def ends_at_first_brace(schema: Mapping[str, Any]) -> bool:
    """Whether the first `}` of any text of a JSON schema is its end.

    This holds for an object with no other properties than those it names, whose
    values are numbers, booleans, null, or one of some values without a brace.

    Args:
        schema: A JSON schema.
    """
    names = schema.get("properties")
    return (
        schema.get("type") == "object"
        and schema.get("additionalProperties") is False
        and not schema.get("patternProperties")
        and isinstance(names, Mapping)
        and all("}" not in name for name in names)
        and all(_holds_no_brace(value, schema, 0) for value in names.values())
    )


_MOST_REFERENCES = 8


def _holds_no_brace(value: Any, root: Mapping[str, Any], depth: int) -> bool:
    if not isinstance(value, Mapping) or depth > _MOST_REFERENCES:
        return False
    if "const" in value:
        return "}" not in json.dumps(value["const"])
    if "enum" in value:
        return "}" not in json.dumps(value["enum"])
    if "$ref" in value:
        return _holds_no_brace(_referred(str(value["$ref"]), root), root, depth + 1)
    for choice in ("anyOf", "oneOf"):
        if choice in value:
            return all(_holds_no_brace(v, root, depth + 1) for v in value[choice])
    kind = value.get("type")
    kinds = kind if isinstance(kind, Sequence) and not isinstance(kind, str) else [kind]
    return all(k in ("number", "integer", "boolean", "null") for k in kinds)


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """What a reference such as `#/$defs/Color` stands for."""
    section, _, name = reference.removeprefix("#/").partition("/")
    return root.get(section, {}).get(name)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
