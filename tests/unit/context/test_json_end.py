"""Where a JSON value ends, in whatever pieces and prose it comes."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from langchain_lean.context.answers.json_end import (
    JsonScanner,
    brackets_of,
    ends_at_first_brace,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters() | st.sampled_from('{}[]"\\\n,:'))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
containers = st.lists(values, max_size=4) | st.dictionaries(
    st.text(), values, max_size=4
)
proses = st.text(alphabet=st.characters(exclude_characters="{}[]"))


def end_of(text: str, brackets: str = "{[", sizes: Iterable[int] = ()) -> int | None:
    """Where the value in a text ends that comes in pieces of some sizes."""
    scanner = JsonScanner(brackets)
    before = 0
    for piece in pieces(text, sizes):
        kept = scanner.feed(piece)
        assert scanner.complete == (kept is not None)
        if kept is not None:
            return before + kept
        before += len(piece)
    return None


def value_in(text: str, brackets: str = "{[") -> Any:
    """What the text up to the end of its value ends with."""
    end = end_of(text, brackets)
    assert end is not None
    for start in range(end):
        if text[start] in "{[":
            try:
                return json.loads(text[start:end], strict=False)
            except ValueError:
                continue
    raise AssertionError("No JSON value ends there.")


def pieces(text: str, sizes: Iterable[int]) -> list[str]:
    cut = []
    for size in sizes:
        cut.append(text[:size])
        text = text[size:]
    return [*cut, text]


@given(
    value=containers,
    after=st.text(),
    sizes=st.lists(st.integers(0, 9)),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 0, 2]),
)
def test_a_value_at_the_start_ends_where_it_ends(
    value: Any, after: str, sizes: list[int], ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert end_of(text + after, sizes=sizes) == len(text)


@given(value=containers, before=proses, after=st.text())
def test_a_value_behind_prose_ends_where_it_ends(
    value: Any, before: str, after: str
) -> None:
    marked = {"value": value}  # neither empty nor a list of numbers
    text = before + json.dumps(marked)
    assert end_of(text + after) == len(text)


odd_texts = st.text(alphabet="{}[]\",:1a \\\n-'/") | st.lists(
    st.sampled_from(['{"a": ', "[", "]", "}", ", ", "None", "1", '"\n"', "\\u12", "`"])
).map("".join)


@given(text=odd_texts, sizes=st.lists(st.integers(0, 4)))
def test_pieces_do_not_change_what_is_found(text: str, sizes: list[int]) -> None:
    assert end_of(text, sizes=sizes) == end_of(text)


@given(text=odd_texts)
def test_what_is_found_is_a_json_value(text: str) -> None:
    if end_of(text) is not None:
        assert isinstance(value_in(text), dict | list)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    "text",
    [
        '{"a": "}"}',
        r'{"a": "\""}',
        r'{"a": "\\"}',
        r'{"a": "\\\"}"}',
        r'{"a": "\u007d\ud83d\ude00"}',
        '{"a": [1, {"b": "]"}], "c": {}}',
        '[{"a": 1}, {"a": 2}]',
        "[NaN, -Infinity, 1.5e-3, -0, true, null]",
        '```json\n{"a": 1}',
        "```\n[1, 2]",
        " \n[]",
        'Here is [the] answer: {"a": 1}',
        'Use {name} and [01] and {}, then {"a": 1}',
        'See [1] and [2, 3]. {"a": 1}',
        '- [ ] an open task, {} for empty: {"a": 1}',
        '[see [this]] {"a": 1}',
        '[[[[x]]]] {"a": 1}',
        '{"raw\n": "a\tb\r\x00"}',
        '{{name}} {"a": 1}',
        '["a", 1234567890.25]',
        "The list: [1.5, 2]",
        "The names: [[1, 2], [3]]",
    ],
)
def test_a_value_is_found_in(text: str, size: int) -> None:
    whole = text + "} and ]"
    sizes = [size] * (len(whole) // size)
    assert end_of(whole, sizes=sizes) == len(text)


@pytest.mark.parametrize(
    "text",
    ["", "42", '"text"', "none", "{", '{"a": 1', '{"a": "}', "[1, 2", "[the]", "{a}"],
)
def test_no_value_is_found_in(text: str) -> None:
    assert end_of(text) is None


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1}, None, {"b": 2}]',
        '[{"a": 1},]',
        '{"a": {"b": 1},}',
        '{"a": {"b": 1}, // so it is\n "c": 2}',
        r'{"path": "C:\data", "x": {"a": 1}}',
        r'["C:\data", {"a": 1}]',
        r'{"a": "\u12x4", "x": {"a": 1}}',
        """{"a": {"b": 1}, 'c': {"d": 1}}""",
        '{"a": tru, "x": {"a": 1}}',
        '{"a": 01, "x": {"a": 1}}',
        '[[], the {"a": 1}]',
        '{"a" {"b": 1}}',
    ],
)
def test_a_value_that_is_refused_late_is_given_up(text: str, size: int) -> None:
    whole = text + ' or rather {"a": 1}'
    assert end_of(whole, sizes=[size] * (len(whole) // size)) is None


@given(
    before=containers.filter(bool),
    after=containers,
    refused=st.sampled_from(["None", "'a'", "// so", "C:", "+1", "1.", ""]),
    sizes=st.lists(st.integers(0, 9)),
)
def test_no_part_of_a_refused_value_is_found(
    before: Any, after: Any, refused: str, sizes: list[int]
) -> None:
    items = [json.dumps(before), refused, json.dumps(after)]
    assert end_of(f"[{', '.join(items)}] {items[0]}", sizes=sizes) is None


def test_a_citation_before_the_value_is_not_the_value() -> None:
    assert value_in('As [1] says: {"a": 1}. Done.') == {"a": 1}


def test_a_list_of_numbers_that_leads_the_answer_is_the_value() -> None:
    assert value_in("[3, 1, 2] is the order. {}") == [3, 1, 2]


@pytest.mark.parametrize(
    ("brackets", "found"), [("{", {"a": 1}), ("[", ["b"]), ("{[", ["b"])]
)
def test_only_a_value_of_the_expected_kind_counts(brackets: str, found: Any) -> None:
    assert value_in('["b"] or {"a": 1} or ["b"]', brackets) == found


def test_a_value_within_one_of_the_wrong_kind_does_not_count() -> None:
    assert end_of('[{"a": 1}]', "{") is None


def test_ten_thousand_open_brackets_are_read_in_one_go() -> None:
    text = "[" * 10_000 + "x" + "]" * 10_000 + '{"a": 1}'
    assert end_of(text + " and so on") == len(text)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Brace(enum.Enum):
    CLOSE = "}"


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Flat(Closed):
    score: float
    sure: bool
    color: Color
    verdict: Literal["good", "bad"] | None
    count: int = 0


class Open(BaseModel):
    score: float


class WithText(Closed):
    text: str


class WithList(Closed):
    scores: list[int]


class WithBrace(Closed):
    brace: Brace


class Nested(Closed):
    inner: Flat


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        Flat.model_json_schema(),
        closed(),
        closed(a={"type": ["integer", "null"]}),
        closed(a={"const": "yes"}),
        closed(a={"oneOf": [{"type": "number"}, {"enum": ["a", "b"]}]}),
    ],
)
def test_the_first_brace_ends_a_flat_object(schema: dict[str, Any]) -> None:
    assert ends_at_first_brace(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "array", "items": {"type": "integer"}},
        Open.model_json_schema(),
        WithText.model_json_schema(),
        WithList.model_json_schema(),
        WithBrace.model_json_schema(),
        Nested.model_json_schema(),
        closed(a={}),
        closed(a=True),
        closed(a={"type": "string"}),
        closed(a={"type": ["string", "null"]}),
        closed(a={"type": "object"}),
        closed(a={"const": {}}),
        closed(a={"anyOf": [{"type": "number"}, {"type": "string"}]}),
        closed(a={"$ref": "#/$defs/Missing"}),
        closed(a={"$ref": "#/properties/a"}),
        closed(**{"}": {"type": "number"}}),
        {**closed(), "patternProperties": {"^x": {"type": "string"}}},
        closed(a={"$ref": "#/title/a"}) | {"title": "No schema"},
        closed(a={"$ref": "#/$defs/A"}) | {"$defs": ["A"]},
        closed(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": "number"}},
        closed(a={"$ref": None}),
        closed(a={"const": b"yes"}),
        closed(a={"enum": {"a", "b"}}),
        closed(a={"enum": "ab"}),
        closed(a={"enum": []}),
        closed(a={"anyOf": None}),
        closed(a={"anyOf": []}),
        closed(a={"anyOf": "ab"}),
        closed(a={"type": []}),
        closed(a={"type": [[]]}),
        closed(a={"type": None}),
        closed(a={"type": 1}),
        closed() | {"properties": {1: {"type": "number"}}},
        closed() | {"properties": ["a"]},
    ],
)
def test_the_first_brace_may_not_end(schema: dict[str, Any]) -> None:
    assert not ends_at_first_brace(schema)


@pytest.mark.parametrize(
    ("schema", "brackets"),
    [
        ({"type": "object"}, "{"),
        ({"properties": {}}, "{"),
        ({"type": "array"}, "["),
        ({}, "{["),
        ({"anyOf": [{"type": "object"}, {"type": "array"}]}, "{["),
    ],
)
def test_a_schema_says_what_its_value_begins_with(
    schema: dict[str, Any], brackets: str
) -> None:
    assert brackets_of(schema) == brackets


@pytest.mark.parametrize(
    "text",
    [
        '{items: ["a"], n: 2}',
        "{'items': [\"it's\"], 'n': 2}",
        '{ // list\n "tags": ["a"], "n": 1}',
        '{“a”: {"b": 1}, “c”: 2}',
        '[\n  {name: "x", tags: ["a"]},\n {name: "y"}]',
        '[None, {"a": 1}]',
        'I see [three options: {"a": 1}',
        '{{"a": 1}, "b": 2}',
    ],
)
def test_a_bracket_that_holds_no_json_holds_no_value_either(text: str) -> None:
    scanner = JsonScanner()
    assert scanner.feed(text) is None
    assert not scanner.complete
