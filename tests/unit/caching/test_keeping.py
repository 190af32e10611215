"""Which answers are known to be whole."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration

from langchain_lean.caching.keeping import Keeping

KEEPING = Keeping(tool_calls=False, sampled=False, truncated=False)


@pytest.mark.parametrize(
    ("said", "streamed", "kept"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"finish_reason": "stop"}, True, True),
        ({"model_provider": "openai"}, False, False),
        ({"model_provider": "openai", "finish_reason": "stop"}, False, True),
        ({"model_provider": "openai", "status": "completed"}, False, True),
        ({"model_provider": "openai", "status": "incomplete"}, False, False),
    ],
)
def test_who_could_say_how_an_answer_ended_must_say_it(
    said: dict[str, str], streamed: bool, kept: bool
) -> None:
    answer = ChatGeneration(message=AIMessage("Hi", response_metadata=said))
    assert KEEPING.keeps([answer], streamed=streamed) is kept
