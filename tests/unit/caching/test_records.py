"""Answers as they are kept: they come back as they were, and nothing else does."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from langchain_lean.caching.records import (
    CorruptRecordError,
    Record,
    from_text,
    to_text,
)

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def record(*answers: Generation) -> Record:
    return Record(
        question="Why?",
        answers=list(answers),
        model="claude-haiku-4-5",
        provider=None,
        seconds=1.5,
        stored=1_000.0,
    )


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("It is here."),
        AIMessage([{"type": "text", "text": "Hi"}], name="desk"),
        AIMessage(
            "",
            tool_calls=[tool_call(name="f", args={"a": [1]}, id="1")],
            invalid_tool_calls=[
                invalid_tool_call(name="g", args="{", id="2", error="broken")
            ],
        ),
        AIMessage(
            "Hi \ud800",
            additional_kwargs={"refusal": None},
            response_metadata={"model_name": "m", "finish_reason": "stop"},
            usage_metadata={
                "input_tokens": 3,
                "output_tokens": 2,
                "total_tokens": 5,
                "input_token_details": {"cache_read": 1},
            },
        ),
    ],
)
def test_a_message_comes_back_as_it_was(message: AIMessage) -> None:
    kept = record(ChatGeneration(message=message, generation_info={"a": 1}))
    assert from_text(to_text(kept)) == kept


class Color(Enum):
    RED = "red"


class Parsed(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    color: Color
    full_name: str = Field(alias="fullName")
    parts: set[str]
    at: timedelta
    price: Decimal


def test_what_was_read_into_a_schema_is_read_into_it_again() -> None:
    parsed = Parsed(
        color=Color.RED,
        full_name="Ada",
        parts={"a", "b"},
        at=timedelta(hours=1),
        price=Decimal("1.50"),
    )
    text = parsed.model_dump_json(by_alias=True)
    message = AIMessage(text, additional_kwargs={"parsed": parsed})
    found = from_text(to_text(record(ChatGeneration(message=message)))).message
    assert found is not None
    assert Parsed(**found.additional_kwargs["parsed"]) == parsed


def test_what_was_not_read_from_the_answer_s_text_cannot_be_written() -> None:
    class Secret(BaseModel):
        token: SecretStr

    secret = Secret(token=SecretStr("abc"))
    for text, ends in (
        ('{"token": "abc"}', True),
        ('{"token": "**"}', False),
        ("", False),
    ):
        message = AIMessage(text, additional_kwargs={"parsed": secret})
        kept = record(ChatGeneration(message=message))
        if ends:
            assert "abc" in to_text(kept)
        else:
            with pytest.raises(TypeError):
                to_text(kept)


@pytest.mark.parametrize("value", [b"abc", (1, 2), {1: 2}, {1, 2}, object()])
def test_what_would_come_back_as_something_else_cannot_be_written(
    value: object,
) -> None:
    message = AIMessage("Hi", additional_kwargs={"value": value})
    with pytest.raises(TypeError):
        to_text(record(ChatGeneration(message=message)))


def test_ids_of_a_provider_s_conversation_are_left_out() -> None:
    said = {"id": "resp_1", "model_name": "m", "created": datetime(2026, 1, 1)}
    message = AIMessage("Hi", id="1", response_metadata=said)
    found = from_text(to_text(record(ChatGeneration(message=message)))).message
    assert found is not None
    assert found.response_metadata == {
        "model_name": "m",
        "created": "2026-01-01 00:00:00",
    }


def test_several_texts_come_back_as_they_were() -> None:
    kept = record(
        Generation(text="one", generation_info={"b": 2}), Generation(text="2")
    )
    assert from_text(to_text(kept)) == kept


def test_pieces_come_back_as_a_message_without_an_id() -> None:
    chunk = AIMessageChunk("Hi", id="run-1")
    [found] = from_text(to_text(record(ChatGeneration(message=chunk)))).answers
    assert isinstance(found, ChatGeneration)
    assert type(found.message) is AIMessage
    assert found.message.id is None


def test_what_is_no_answer_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="an AIMessage"):
        to_text(record(ChatGeneration(message=HumanMessage("Hi"))))


@given(st.text() | JSON.map(json.dumps))
def test_what_is_no_record_is_corrupt(text: str) -> None:
    with pytest.raises(CorruptRecordError):
        from_text(text)


@given(st.data())
def test_a_record_that_was_tampered_with_is_an_answer_or_corrupt(data: Any) -> None:
    values = json.loads(to_text(record(ChatGeneration(message=AIMessage("Hi")))))
    place = data.draw(st.sampled_from([values, values["answers"][0]]))
    message = values["answers"][0]["message"]
    place = data.draw(st.sampled_from([values, values["answers"][0], message]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    try:
        found = from_text(json.dumps(values))
    except CorruptRecordError:
        return
    assert all(type(answer) in (Generation, ChatGeneration) for answer in found.answers)


def test_what_names_a_class_becomes_none_of_it() -> None:
    text = json.dumps(
        {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain_openai", "ChatOpenAI"],
            "kwargs": {"openai_api_base": "http://evil"},
        }
    )
    with pytest.raises(CorruptRecordError):
        from_text(text)
