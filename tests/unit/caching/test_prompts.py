"""What makes two prompts the same to a cache, and what keeps them apart."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call
from pydantic import BaseModel

from langchain_lean.caching.prompts import (
    Asked,
    is_sampled,
    is_written_out,
    prompt_string,
    read_prompt,
    with_schemas,
)

TEXTS = st.text(max_size=30)


def asked(
    messages: list[BaseMessage],
    llm: str = "llm",
    *,
    tenant: str | None = None,
    embeddings: str = "",
) -> Asked:
    prompt = prompt_string(messages)
    return read_prompt(prompt, llm, tenant=tenant, embeddings=embeddings)


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), min_size=2, max_size=8))
def test_partitions_are_apart_for_all_that_differ(
    given: list[tuple[str, str, str, str]],
) -> None:
    partitions = {
        asked(
            [SystemMessage(system), HumanMessage("Why?")],
            llm,
            tenant=tenant,
            embeddings=embeddings,
        ).partition
        for system, llm, tenant, embeddings in given
    }
    assert len(partitions) == len(set(given))


@given(TEXTS, TEXTS)
def test_a_tenant_is_never_the_shared_partition(tenant: str, llm: str) -> None:
    prompt = [HumanMessage("Why?")]
    assert asked(prompt, llm, tenant=tenant) != asked(prompt, llm)


@given(st.text())
def test_any_text_is_a_prompt(text: str) -> None:
    found = read_prompt(text, "llm", tenant=None, embeddings="")
    other = read_prompt(f"{text} ", "llm", tenant=None, embeddings="")
    assert found.question is None
    assert found.partition == other.partition
    assert found.key != other.key


@given(st.recursive(st.none() | st.booleans() | TEXTS, st.lists, max_leaves=10))
def test_json_that_is_no_list_of_messages_is_a_text(value: object) -> None:
    assert (
        read_prompt(json.dumps(value), "", tenant=None, embeddings="").question is None
    )


def test_what_differs_from_run_to_run_makes_no_difference() -> None:
    def chat(number: int) -> list[BaseMessage]:
        return [
            HumanMessage("Hi", id=f"human-{number}"),
            AIMessage(
                "Hello",
                id=f"run-{number}",
                response_metadata={"created": number},
                usage_metadata={
                    "input_tokens": number,
                    "output_tokens": 1,
                    "total_tokens": number + 1,
                },
            ),
            HumanMessage("Why?"),
        ]

    assert asked(chat(1)) == asked(chat(2))


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [SystemMessage("Be kind.")],
        [HumanMessage("")],
        [HumanMessage(" \n")],
        [HumanMessage("x" * 401)],
        [HumanMessage("Translate into French: We like your offer.")],
        [HumanMessage("Context\n\nWhy?")],
        [HumanMessage("Why?", name="bob")],
        [HumanMessage("Why?"), SystemMessage("Be kind.")],
        [HumanMessage("Hi"), HumanMessage("Why?")],
        [AIMessage("Hello")],
        [
            HumanMessage("Hi"),
            AIMessage("", tool_calls=[tool_call(name="f", args={}, id="1")]),
            ToolMessage("done", tool_call_id="1"),
        ],
        [HumanMessage([{"type": "image", "url": "x"}])],
        [
            HumanMessage(
                [{"type": "text", "text": "Why?"}, {"type": "image", "url": "x"}]
            )
        ],
        [HumanMessage([{"type": "text", "text": "Why?", "citations": []}])],
    ],
)
def test_only_a_single_question_in_words_can_be_compared(
    messages: list[BaseMessage],
) -> None:
    assert asked(messages).question is None


@pytest.mark.parametrize(
    "content",
    [
        "Why?",
        " Why?\n",
        ["Why?"],
        [{"type": "text", "text": "Why?"}],
        [{"type": "text", "text": "Why?", "cache_control": {"type": "ephemeral"}}],
    ],
)
def test_a_question_is_read_from_text_and_blocks(content: Any) -> None:
    assert asked([SystemMessage("Be kind."), HumanMessage(content)]).question == "Why?"


class Schema(BaseModel):
    city: str


def test_a_class_stands_in_a_key_with_its_fields() -> None:
    described = with_schemas(str([("response_format", Schema)]))
    assert '"city"' in described
    assert is_written_out("[]", described)


@pytest.mark.parametrize(
    "llm", ["<class 'nobody.Knows'>", "<class 'a.<locals>.B'>", "<O object at 0x7f>"]
)
def test_what_is_named_only_is_not_written_out(llm: str) -> None:
    assert not is_written_out("[]", with_schemas(llm))
    assert is_written_out(prompt_string([HumanMessage(llm)]), "llm")


@pytest.mark.parametrize(
    ("llm", "sampled"),
    [
        ('{"kwargs": {"temperature": 0.3}}', True),
        ("[('temperature', 1)]", True),
        ("{'inferenceConfig': {'temperature': 0.7}}", True),
        ("[('temperature', np.float64(0.7))]", True),
        ("[('temperature', Decimal('0.7'))]", True),
        ("[('temperature', '.7')]", True),
        ('{"temperature": 0}', False),
        ('{"temperature": 0.0}', False),
        ('{"temperature": null}', False),
        ("[('tools', [{'properties': {'temperature': {'type': 'number'}}}])]", False),
        ("", False),
    ],
)
def test_a_temperature_above_0_is_seen(llm: str, sampled: bool) -> None:
    assert is_sampled(llm) is sampled
