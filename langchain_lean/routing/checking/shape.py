"""Whether an answer is whole, and has the form that was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from langchain_lean.errors import ConfigurationError

_FENCE = re.compile(r"`{3,}")
_FENCED = re.compile(r"^[ \t]*```[^\n`]*\n((?s:.*?))^[ \t]*```", re.MULTILINE)

_LEADS_ON = re.compile(r"(?:[(\[{×÷≈]|\s[=+/*-])\Z")
_LINKS = re.compile(
    r"(?:,|\b(?:and|or|but|because|the|an|of|which|whose|than|if|whereas|although"
    r"|while))\Z"
)
_TAIL = 80  # characters that an end is looked for in
_LINKED_WORDS = 4  # fewer are "Best regards," or a word that was asked for
_SENTENCE_WORDS = 8  # fewer are a heading, an item, a signature or a result

_BRACKETS = re.compile(r"[()\[\]]")
_FACES = re.compile(r"[:;]['-]?[()\[\]]")
_ENDED = re.compile(r"""[.!?…:;。！？]["'”’)\]*_`]*\Z""")
_INNER_END = re.compile(r"""[a-z)"”][.!?]\s""")
_ENDS_IN_WORD = re.compile(r"(?:\A|\s)[^\s./@]*\w\Z")  # and in no address


def breaks_off(text: str) -> bool:
    """Whether a text ends in the midst of something.

    That is a block of code without its closing fence, a bracket that is open in the
    last line, an end on a comma, an operator or a word such as "and" or "the", or a
    last sentence without an end where those before have one.

    Args:
        text: An answer.
    """
    text = text.rstrip()
    if len(_FENCE.findall(text)) % 2:
        return True
    last = _FACES.sub("", text[text.rfind("\n") + 1 :]).strip()
    tail = last[-_TAIL:]
    if _LEADS_ON.search(tail) or _leaves_open(last):
        return True
    if _LINKS.search(tail) and len(last.split()) >= _LINKED_WORDS:
        return True
    return _is_sentence(last) and _lacks_an_end(text, last)


def json_value(text: str) -> str:
    """The JSON an answer is: the text in its one fenced block, else all of it."""
    blocks = _FENCED.findall(text)
    return (blocks[0] if len(blocks) == 1 else text).strip()


def validator(schema: type | Mapping[str, Any]) -> Callable[[str], bool]:
    """What says whether a JSON text fits a schema.

    Args:
        schema: A pydantic class (or another class pydantic validates), or a JSON
            schema.

    Raises:
        ConfigurationError: If it is neither, or `jsonschema` is needed and missing.
    """
    if isinstance(schema, type):
        return _pydantic_validator(schema)
    if isinstance(schema, Mapping):
        return _json_schema_validator(schema)
    msg = f"schema= is a pydantic class or a JSON schema, not {type(schema).__name__}."
    raise ConfigurationError(msg)


def _is_sentence(line: str) -> bool:
    return line[:1].isalpha() and len(line.split()) >= _SENTENCE_WORDS


def _lacks_an_end(text: str, last: str) -> bool:
    if not _ENDS_IN_WORD.search(last[-_TAIL:]):
        return False
    if _INNER_END.search(last):
        return True
    lines = (line.strip() for line in text.split("\n")[:-1])
    ends = [_is_ended(line) for line in lines if _is_sentence(line)]
    return bool(ends) and all(ends)


def _leaves_open(line: str) -> bool:
    depth = 0
    for bracket in _BRACKETS.findall(line):
        depth = depth + 1 if bracket in "([" else max(depth - 1, 0)
    return depth > 0 and not _is_ended(line)


def _is_ended(line: str) -> bool:
    return bool(_ENDED.search(line[-_TAIL:]))


def _pydantic_validator(schema: type) -> Callable[[str], bool]:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(schema)
    except PydanticUserError:
        msg = f"schema= is a class pydantic can validate, not {schema.__name__}."
        raise ConfigurationError(msg) from None

    def validates(text: str) -> bool:
        try:
            adapter.validate_json(text)
        except ValidationError:
            return False
        return True

    return validates


def _json_schema_validator(schema: Mapping[str, Any]) -> Callable[[str], bool]:
    try:
        import jsonschema
        import referencing
    except ImportError:
        msg = (
            "A JSON schema needs jsonschema: pip install jsonschema; "
            "or give schema= a pydantic class."
        )
        raise ConfigurationError(msg) from None
    dialect = jsonschema.validators.validator_for(schema)
    try:
        dialect.check_schema(schema)
    except jsonschema.SchemaError:
        msg = (
            "schema= is no valid JSON schema; check it with jsonschema's check_schema."
        )
        raise ConfigurationError(msg) from None
    # A registry of its own: by default, references are fetched from the network.
    checked = dialect(schema, registry=referencing.Registry())

    def validates(text: str) -> bool:
        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return False
        return bool(checked.is_valid(value))

    return validates


def _refuse(constant: str) -> None:
    """Refuse `NaN` and `Infinity`, which Python reads and JSON has not."""
    raise ValueError(constant)
