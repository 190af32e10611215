"""Checks of an answer that need no model."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call
from pydantic import BaseModel

from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.answer_checks import AnswerChecks

ASKED: list[BaseMessage] = [HumanMessage("What is it?")]
OFF: dict[str, Any] = {
    "cut": False,
    "refusals": False,
    "hedging": False,
    "arithmetic": False,
}
CALL = tool_call(name="look", args={"at": "it"}, id="1")
LONG = "The bridge was built in 1932. It carries eight lanes. " * 15


class City(BaseModel):
    name: str
    people: int


class Plain:
    """Nothing pydantic could validate."""


CITY_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
}


def reason(
    answer: str | AIMessage, messages: Sequence[BaseMessage] = ASKED, **options: Any
) -> str | None:
    """Why the answer is not good; None where nothing was judged."""
    if isinstance(answer, str):
        answer = AIMessage(answer)
    verdict = AnswerChecks(**options).judge(messages, answer)
    if verdict is None:
        return None
    assert verdict.escalate == bool(verdict.reason)
    return verdict.reason


def only(**options: Any) -> dict[str, Any]:
    return {**OFF, **options}


# The verdict


def test_a_good_answer_passes_with_the_full_score() -> None:
    verdict = AnswerChecks().judge(ASKED, AIMessage("It is 3 x 60 = 180 meters."))
    assert verdict is not None
    assert (verdict.escalate, verdict.score, verdict.reason) == (False, 1.0, "")


def test_the_reason_names_each_failed_check_and_the_score_counts_them() -> None:
    answer = AIMessage("I'm not sure, but 3 x 60 = 190.")
    verdict = AnswerChecks(max_words=3, min_words=1).judge(ASKED, answer)
    assert verdict is not None
    assert verdict.reason == "it hedges; a calculation is wrong; it is too long"
    assert verdict.score == pytest.approx(2 / 5)


async def test_it_judges_the_same_for_asyncio() -> None:
    checks, answer = AnswerChecks(), AIMessage("I do not know.")
    assert await checks.ajudge(ASKED, answer) == checks.judge(ASKED, answer)


def test_it_has_no_opinion_before_there_is_an_answer() -> None:
    assert AnswerChecks().screen(ASKED) is None


@pytest.mark.parametrize(
    "options",
    [
        OFF,
        only(pattern="("),
        only(pattern=3),
        only(pattern=re.compile(b"x")),
        only(schema=3),
        only(schema={"type": 3}),
        only(schema=Plain),
        {"hedging": "perhaps"},
        {"hedging": []},
        {"hedging": [" "]},
        {"refusals": [3]},
        {"refusals": re.compile(b"no")},
        {"citations": "["},
        {"citations": 1},
        {"citations": True, "sources": "1"},
        {"citations": True, "min_citations": -1},
        {"min_citations": 1},
        {"sources": ["1"]},
        {"min_words": 0},
        {"min_words": 5, "max_words": 4},
        {"max_words": "many"},
        {"checks": ["it is good"]},
    ],
    ids=str,
)
def test_an_option_that_makes_no_sense_is_refused_in_one_sentence(
    options: dict[str, Any],
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        AnswerChecks(**options)
    message = str(raised.value)
    assert message.endswith(".")
    assert "\n" not in message


# Content


def test_what_a_model_thought_is_not_judged() -> None:
    content: list[str | dict[str, Any]] = [
        {"type": "thinking", "thinking": "I'm not sure. 2 + 2 = 5?", "signature": "x"},
        {"type": "reasoning", "reasoning": "I can't help with that."},
        {"type": "text", "text": "It is "},
        {"type": "text", "text": "2 + 2 = 4."},
    ]
    assert reason(AIMessage(content)) == ""


def test_the_text_of_several_blocks_is_judged_as_one() -> None:
    said = {"type": "text", "text": "= 5."}
    content: list[str | dict[str, Any]] = ["It is 2 + 2 ", said]
    assert reason(AIMessage(content)) == "a calculation is wrong"


def test_tool_calls_without_a_fault_are_not_judged() -> None:
    assert reason(AIMessage("", tool_calls=[CALL])) is None
    asks = AIMessage("I'm not sure, let me look.", tool_calls=[CALL])
    assert reason(asks, pattern="[0-9]+") is None


def test_tool_calls_that_were_cut_escalate() -> None:
    ended = {"finish_reason": "length"}
    answer = AIMessage("", tool_calls=[CALL], response_metadata=ended)
    assert reason(answer) == "it ended on its cap"
    assert reason(answer, cut=False) is None


def test_a_picture_or_sound_alone_is_not_judged() -> None:
    picture = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
    assert reason(AIMessage([picture])) is None
    assert reason(AIMessage("", additional_kwargs={"audio": {"id": "1"}})) is None
    assert reason(AIMessage([picture, {"type": "text", "text": "2 + 2 = 5"}]))


def test_a_chunk_is_judged_like_a_message() -> None:
    assert reason(AIMessageChunk(content="I do not know.")) == "it refuses"


# Cut answers


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"finish_reason": "stop"}, ""),
        ({"stop_reason": "end_turn"}, ""),
        ({"finish_reason": "length"}, "it ended on its cap"),
        ({"stop_reason": "max_tokens"}, "it ended on its cap"),
        ({"stopReason": "max_tokens"}, "it ended on its cap"),
        ({"finish_reason": "content_filter"}, "the provider held it back"),
        ({"stopReason": "guardrail_intervened"}, "the provider held it back"),
        ({"finish_reason": "SAFETY"}, "the provider held it back"),
        (
            {"incomplete_details": {"reason": "content_filter"}},
            "the provider held it back",
        ),
    ],
)
def test_an_answer_that_the_provider_cut_escalates(
    metadata: dict[str, Any], expected: str
) -> None:
    answer = AIMessage("It is 4.", response_metadata=metadata)
    assert reason(answer) == expected


def test_a_tool_call_that_cannot_be_read_escalates() -> None:
    broken = invalid_tool_call(name="look", args='{"at": ', id="1", error=None)
    answer = AIMessage("", invalid_tool_calls=[broken])
    assert reason(answer) == "a tool call cannot be read"


@pytest.mark.parametrize("content", ["", " \n ", [], [{"type": "text", "text": ""}]])
def test_an_answer_without_anything_is_empty(content: Any) -> None:
    assert reason(AIMessage(content)) == "it is empty"


@pytest.mark.parametrize(
    "text",
    [
        "Here is the code:\n```python\nprint(1)\n",
        "1. Run this:\n   ```bash\n   make\n   ```\n2. Then this:\n   ```bash\n   mak",
        "He has 3 apples and",
        "They sold the house because",
        "It was made of wood, stone,",
        "So the total is 12 +",
        "So the total =",
        r"So it is 3 ×",
        "See the list (in section 3",
        "He paid $30 (",
        "The first is done. The second one is still being worked on by the tea",
        "It was sold to somebody in the spring.\nIt had no tenant in so many ye",
    ],
)
def test_a_text_that_breaks_off_escalates(text: str) -> None:
    assert reason(text, **only(cut=True)) == "it breaks off"


@pytest.mark.parametrize(
    "text",
    [
        "42",
        "Paris",
        "because",
        "It is the",
        "Yes, it is",
        "He has 5 apples",
        "Therefore, he has 5 apples left over from yesterday",
        "I would use C++",
        "1. Bread\n2. Milk",
        "# Title\n\n- one\n- two",
        "Here it is:\n```python\nprint((1)\n```",
        "1. Run this:\n   ```bash\n   make\n   ```",
        "```print(1)```",
        "Sorry to hear that :(",
        "Great :)",
        "a) yes\nb) no",
        "The interval [0, 1) is half open",
        "The interval is (0, 1]",
        "It was so cold (the coldest day.",
        "Dear John,\n\nThank you for the letter.\n\nBest regards,",
        "It works now. Read more about it and all of its options at https://example.com/a",
        "It works now. Please write to all of us about it at team@example.com",
        "It is done. Have a great trip and a safe flight to Seattle! ✈️",
        "好的，没有问题",
        "He said “yes.”",
        "**It is four.**",
        "The token is aGVsbG8=",
        "---",
        '{"a": [1, 2]}',
        "| a | b |\n|---|---|\n| 1 | 2 |",
    ],
)
def test_a_text_that_is_whole_passes(text: str) -> None:
    assert reason(text, **only(cut=True)) == ""


# Refusals and hedging

REFUSALS = [
    "I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I'm sorry, but I cannot.",
    "I do not know.",
    "I don't know the answer.",
    "I have no idea.",
    "I'm unable to provide legal advice.",
    "I am not able to answer that question.",
    "Unfortunately, I don't have access to real-time data.",
    "As an AI language model, I cannot browse the internet.",
    "I must respectfully decline.",
    "I apologize, but I can't discuss this topic.",
    "**I cannot fulfill this request.**",
    "I won't write that. " + LONG,
]
HEDGES = [
    "I'm not sure, but it may be 5.",
    "I am not entirely sure about this.",
    "I'm not 100% certain.",
    "The answer is 5, but I'm not completely confident.",
    "I’m unsure.",
    "As an AI I cannot verify this.",
    "I can't say for certain.",
    "It is unclear what the question asks.",
    "It's hard to say.",
    "It is not possible to determine the number.",
    "This cannot be determined from the text.",
    "There is not enough information to answer.",
    "My best guess is 7.",
    "I could be wrong, but it's Paris.",
    "If I recall correctly, it was 1969.",
    "The question is ambiguous.",
    "There must be a mistake in the problem.",
    LONG + "But I'm not sure.",
]
PLAIN = [
    "The answer is 42.",
    "I know the answer: 4.",
    "I can help with that.",
    "I can't help but admire it.",
    'She said: "I can\'t help with that." Then she left.',
    "To say no, write: “I'm sorry, but I cannot attend. I'm not sure when I can.”",
    "> I do not know.\n\nThat is what he wrote.",
    "```\nraise ValueError('I do not know')\n```",
    "Sorry for the delay! Here it is.",
    "You can't divide by zero.",
    "Since we cannot have half a fish, we round up.",
    "Since it is not possible to buy half a ticket, she buys 3.",
    "He does not know the answer, and he was not sure whether to go.",
    "The weather is uncertain in April.",
    "There is an error in your code: line 3 lacks a colon.",
    "I'm sure it is 5. I'm certain.",
    "Make sure to save it.",
    "No sé la respuesta.",
    LONG + "He wrote that I do not know. It is unclear who did it. " + LONG,
]


@pytest.mark.parametrize("text", REFUSALS)
def test_an_answer_that_refuses_escalates(text: str) -> None:
    assert reason(text, **only(refusals=True)) == "it refuses"


@pytest.mark.parametrize("text", HEDGES)
def test_an_answer_that_hedges_escalates(text: str) -> None:
    assert reason(text, **only(hedging=True)) == "it hedges"


@pytest.mark.parametrize("text", PLAIN)
def test_an_answer_that_neither_refuses_nor_hedges_passes(text: str) -> None:
    assert reason(text, **only(refusals=True, hedging=True)) == ""


@pytest.mark.parametrize(
    "answer",
    [
        AIMessage("", additional_kwargs={"refusal": "I can't."}),
        AIMessage([{"type": "refusal", "refusal": "I can't."}]),
        AIMessage("", response_metadata={"stop_reason": "refusal"}),
    ],
)
def test_a_refusal_that_the_provider_reports_escalates(answer: AIMessage) -> None:
    assert reason(answer, **only(refusals=True)) == "it refuses"


def test_own_phrases_are_looked_for_instead_of_the_usual_ones() -> None:
    own = only(hedging=["vielleicht", "nicht  sicher"])
    assert reason("Das ist Vielleicht so.", **own) == "it hedges"
    assert reason("Ich bin nicht sicher.", **own) == "it hedges"
    assert reason("Vielleichtsager", **own) == ""
    assert reason("I'm not sure.", **own) == ""


def test_an_own_pattern_is_looked_for_instead_of_the_usual_phrases() -> None:
    own = only(refusals=re.compile(r"^NO_ANSWER"))
    assert reason("NO_ANSWER", **own) == "it refuses"
    assert reason("no_answer", **own) == ""


# Arithmetic


def test_a_wrong_calculation_escalates() -> None:
    assert reason("It is 12 * $3.50 = $43.") == "a calculation is wrong"
    assert reason("It is 12 * $3.50 = $42.") == ""
    assert reason("It is 12 * $3.50 = $43.", arithmetic=False) == ""


def test_a_mistake_that_was_asked_about_may_be_repeated() -> None:
    asked = [HumanMessage("Is 3 x 60 = 190 right?")]
    assert reason("No: 3 × 60 = 190 is wrong, 3 × 60 = 180.", asked) == ""
    assert reason("No: 3 × 60 = 170.", asked) == "a calculation is wrong"


# Format


@pytest.mark.parametrize("pattern", [r"[A-D]", re.compile(r"[a-d]", re.IGNORECASE)])
@pytest.mark.parametrize(
    ("text", "matches"),
    [("B", True), (" B\n", True), ("B.", False), ("It is B", False), ("", False)],
)
def test_a_pattern_must_match_the_whole_answer(
    pattern: Any, text: str, matches: bool
) -> None:
    expected = "" if matches else "it does not match the pattern"
    assert reason(text, **only(pattern=pattern)) == expected


FITS = [
    '{"name": "Rom", "people": 3}',
    ' \n{"name": "Zürich", "people": 3, "more": [1]}\n',
    'Here it is:\n```json\n{"name": "Rom", "people": 3}\n```\nDone.',
    '```\n{"name": "Rom", "people": 3}\n```',
]
FITS_NOT = [
    "",
    "Rom has 3 people.",
    '{"name": "Rom"}',
    '{"name": "Rom", "people": "many"}',
    '{"name": "Rom", "people": 3',
    'Here: {"name": "Rom", "people": 3}',
    '[{"name": "Rom", "people": 3}]',
    '{"name": "Rom", "people": NaN}',
    '```\n{"name": "Rom", "people": 3}\n```\n```\n{"name": "Rom", "people": 3}\n```',
    "[" * 100_000,
]


@pytest.mark.parametrize("schema", [City, CITY_SCHEMA], ids=["pydantic", "json"])
@pytest.mark.parametrize(
    ("text", "fits"),
    [(text, True) for text in FITS] + [(text, False) for text in FITS_NOT],
    ids=lambda value: str(value)[:20],
)
def test_a_schema_must_fit_the_answer_or_its_one_block(
    schema: Any, text: str, fits: bool
) -> None:
    expected = "" if fits else "it does not fit the schema"
    assert reason(text, **only(schema=schema)) == expected


def test_a_schema_may_be_a_plain_class() -> None:
    assert reason("[1, 2]", **only(schema=list)) == ""
    assert reason("{}", **only(schema=list)) == "it does not fit the schema"


def test_a_json_schema_without_jsonschema_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ConfigurationError, match="pip install jsonschema"):
        AnswerChecks(schema=CITY_SCHEMA)


def test_a_reference_of_a_schema_is_never_fetched() -> None:
    schema = {"$ref": "http://127.0.0.1:9/city.json"}
    with pytest.raises(Exception, match="Unresolvable"):
        AnswerChecks(schema=schema).judge(ASKED, AIMessage("{}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two", ""),
        ("one two  three\nfour", ""),
        ("one", "it is too short"),
        ("", "it is too short"),
        ("one two three four five", "it is too long"),
    ],
)
def test_the_words_of_an_answer_are_counted(text: str, expected: str) -> None:
    assert reason(text, **only(min_words=2, max_words=4)) == expected


# Citations

SOURCES: list[BaseMessage] = [
    SystemMessage("These are your sources.\n[1] It opened in May.\n[2] It has lanes."),
    HumanMessage("When did it open?"),
    AIMessage("Let me look [7].", tool_calls=[CALL]),
    ToolMessage("[3] He said: “We have never seen so many people.”", tool_call_id="1"),
]


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("It opened in May [1].", True),
        ("It opened in May[1][3].", True),
        ("It opened in May [1, 2] and [1-3].", True),
        ("It opened in May.", True),
        ("See [9](https://example.com).", True),
        ("Use `a[9]`, or\n```\na[8]\n```", True),
        ("It opened in May [4].", False),
        ("It opened in May [2-4].", False),
        ("It opened in May [1-9000].", False),
        ("It opened in May [7].", False),
    ],
)
def test_a_source_must_stand_in_the_messages(text: str, known: bool) -> None:
    expected = "" if known else "it cites a source that is not there"
    assert reason(text, SOURCES, **only(citations=True)) == expected


def test_a_source_must_be_one_of_those_given() -> None:
    given = only(citations=True, sources=[4, "5"])
    assert reason("It did [4][5].", SOURCES, **given) == ""
    assert reason("It did [1].", SOURCES, **given)


def test_a_mark_can_have_a_form_of_its_own() -> None:
    messages = [HumanMessage("<doc:a-1> It did. <doc:b> It did not.")]
    own = only(citations=r"<doc:([\w-]+)>")
    assert reason("It did <doc:a-1>.", messages, **own) == ""
    assert reason("It did <doc:c>.", messages, **own)
    whole = only(citations=re.compile(r"§\d+"), sources=["§12"])
    assert reason("It did, §12.", messages, **whole) == ""
    assert reason("It did, §13.", messages, **whole)


def test_so_many_different_sources_must_be_cited() -> None:
    two = only(citations=True, min_citations=2)
    assert reason("It did [1], and [2].", SOURCES, **two) == ""
    assert reason("It did [1], and [1].", SOURCES, **two) == "it cites too few sources"
    assert reason("It did.", SOURCES, **two) == "it cites too few sources"


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ('He said: "we have never seen so many people."', True),
        ("He said: “We have NEVER\u00a0seen so many people”!", True),
        ('He said: "We have never ... so many people."', True),
        ('He said: "[People] have never seen so many people."', True),
        ('It is called "the big bridge".', True),
        ("No quotation.", True),
        ('He said: "We have never seen so few people."', False),
        ('He said: "The bridge opened in June, he said."', False),
    ],
)
def test_a_quotation_must_stand_in_the_messages(text: str, stands: bool) -> None:
    expected = "" if stands else "a quotation is not in the messages"
    assert reason(text, SOURCES, **only(quotes=True)) == expected


# Checks of one's own


def test_an_own_check_sees_messages_and_answer() -> None:
    def echoes(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
        return "it echoes" if answer.text == messages[-1].text else None

    assert reason("What is it?", checks=[echoes]) == "it echoes"
    assert reason("It is a bridge.", checks=[echoes]) == ""
    assert reason("What is it?", checks=echoes) == "it echoes"


def test_an_own_check_that_fails_raises() -> None:
    def fails(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        reason("It is 4.", checks=[fails])


def test_an_own_check_that_returns_something_else_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not bool"):
        reason("It is 4.", checks=[lambda messages, answer: True])


# Any text

EVERYTHING = AnswerChecks(
    pattern=r".*",
    schema=CITY_SCHEMA,
    citations=True,
    min_citations=1,
    quotes=True,
    min_words=2,
    max_words=30,
)


@given(st.text(), st.text())
def test_no_text_raises(question: str, text: str) -> None:
    verdict = EVERYTHING.judge([HumanMessage(question)], AIMessage(text))
    assert verdict is not None
    assert verdict.score is not None
    assert 0 <= verdict.score <= 1
    assert verdict.escalate == (verdict.score < 1)


@given(st.text(alphabet="abc,.()[]\"'“”`*_-+=/\\$%0123456789 \n{}", max_size=200))
def test_no_text_of_the_answer_is_in_a_reason(text: str) -> None:
    verdict = EVERYTHING.judge(ASKED, AIMessage(text))
    assert verdict is not None
    assert not re.search(r"[^a-z; ]", verdict.reason)


PLAIN_WORDS = ["the", "bridge", "has", "eight", "lanes", "over", "water"]


@given(st.lists(st.sampled_from(PLAIN_WORDS)))
def test_plain_words_with_an_end_never_escalate(words: list[str]) -> None:
    assert reason(f"It is {' '.join(words)} now.") == ""


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10**6,
        "(" * 10**6,
        "`" * 10**6,
        "“" * 10**6,
        '"' * 10**6,
        " " * 10**6 + "x",
        "I am " * 200_000,
        "[1" * 300_000,
        "[1-" * 300_000,
        "not " * 200_000,
        "\n```x\n" * 100_000,
        "> \n" * 200_000,
        "a.@/" * 200_000,
    ],
    ids=lambda text: text[:6],
)
def test_hostile_text_gets_a_verdict(text: str) -> None:
    checks = AnswerChecks(schema=City, citations=True, quotes=True, min_words=1)
    verdict = checks.judge([HumanMessage(text)], AIMessage(text))
    assert verdict is not None
    assert "it does not fit the schema" in verdict.reason
