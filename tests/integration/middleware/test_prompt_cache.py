"""A prefix that stays in the provider's cache, in an agent."""

from __future__ import annotations

import re
from typing import Any

import pytest
from langchain.agents.structured_output import ToolStrategy
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_lean.middleware import PromptCacheMiddleware
from langchain_lean.testing import ScriptedChatModel
from tests.integration.conftest import CLAUDE
from tests.integration.middleware.agents import (
    Run,
    agent_of,
    answer,
    asked,
    both,
    calling,
    on_thread,
    plain,
    search,
    thread,
)

RULES = "Be kind to whoever asks, and never give out what others have booked. " * 200
NOW = "The current time is 15:00:01."
MARK = {
    "anthropic": "cache_control",
    "amazon_bedrock": "cachePoint",
    "openai": "prompt_cache_breakpoint",
}


class Answer(BaseModel):
    """An answer."""

    place: str


@tool
def archive(query: str) -> str:
    """Look into the archive."""
    return f"Nothing about {query}."


def model_of(provider: str, *responses: Any) -> ScriptedChatModel:
    names = {"openai": "gpt-5.6", "amazon_bedrock": CLAUDE}
    return ScriptedChatModel(
        responses=[*responses],
        model_name=names.get(provider, "claude-sonnet-4-5"),
        provider=provider,
    )


def agent(model: Any, prompt: str = RULES, **options: Any) -> Any:
    given = {"tools": [search, archive], **options}
    return agent_of(
        model, PromptCacheMiddleware(calls=10), system_prompt=prompt, **given
    )


@both
@pytest.mark.parametrize("provider", MARK)
async def test_a_long_prompt_has_the_provider_s_marks(run: Run, provider: str) -> None:
    model = model_of(provider, calling("search"), "There.")
    state = await run(agent(model), asked())
    assert answer(state).content == "There."
    for call in model.calls:
        assert MARK[provider] in str([plain(m) for m in call.messages])
    assert MARK[provider] not in str(state)


@both
@pytest.mark.parametrize("provider", MARK)
async def test_a_short_prompt_has_none(run: Run, provider: str) -> None:
    model = model_of(provider, "There.")
    await run(agent(model, "Be kind."), asked())
    assert MARK[provider] not in str(model.calls)
    assert model.calls[0].messages[0].content == "Be kind."


@both
async def test_a_model_whose_marks_nobody_knows_has_none(run: Run) -> None:
    model = model_of("another one", "There.")
    await run(agent(model), asked())
    assert model.calls[0].messages[0].content == RULES


@both
async def test_the_time_stands_behind_the_question(run: Run) -> None:
    model = model_of("anthropic", "There.")
    await run(agent(model, f"{RULES}\n{NOW}"), asked())
    system, question = model.calls[0].messages
    assert NOW not in str(system.content)
    assert question.text.startswith("Where is it?")
    assert NOW in question.text


@both
async def test_what_changes_can_be_said(run: Run) -> None:
    model = model_of("anthropic", "There.")
    middleware = PromptCacheMiddleware(volatile=re.compile("^Ticket"))
    agent = agent_of(model, middleware, system_prompt="Be kind.\nTicket 17.")
    await run(agent, asked())
    assert [m.text for m in model.calls[0].messages] == [
        "Be kind.\n",
        "Where is it?\n\nTicket 17.",
    ]


@both
async def test_tools_come_in_one_order(run: Run) -> None:
    orders = []
    for tools in ([search, archive], [archive, search]):
        model = model_of("anthropic", calling("archive"), "There.")
        await run(agent(model, tools=tools), asked())
        orders += [
            [t["function"]["name"] for t in c.kwargs["tools"]] for c in model.calls
        ]
    assert orders == [["archive", "search"]] * 4


@both
async def test_the_history_of_a_thread_stays_without_marks(run: Run) -> None:
    model = model_of("anthropic", "There.", "Still there.")
    middleware = PromptCacheMiddleware(calls=10)
    asks = on_thread(model, middleware, system_prompt=f"{RULES}\n{NOW}")
    for _ in range(2):
        state = await run(asks, asked(), thread())
    assert [message.content for message in state["messages"]] == [
        "Where is it?",
        "There.",
        "Where is it?",
        "Still there.",
    ]
    assert str(model.calls[1]).count("cache_control") > 1


@both
async def test_marks_are_for_as_long_and_as_many_calls_as_it_says(run: Run) -> None:
    marks = []
    for options in ({}, {"lifetime": "1h"}, {"thread_calls": 1}):
        model = model_of("anthropic", "There.", "Still there.")
        middleware = PromptCacheMiddleware(calls=10, **options)
        asks = on_thread(model, middleware, system_prompt=RULES)
        for _ in range(2):
            await run(asks, asked(), thread())
        sent = str(model.calls[1])
        marks.append((sent.count("cache_control"), "'ttl': '1h'" in sent))
    assert marks == [(2, False), (2, True), (1, False)]


@both
async def test_a_schema_that_is_called_is_offered_with_the_tools(run: Run) -> None:
    call = {"name": "Answer", "args": {"place": "here"}, "id": "1"}
    filled = calling().model_copy(update={"tool_calls": [call]})
    model = model_of("anthropic", filled)
    state = await run(agent(model, response_format=ToolStrategy(Answer)), asked())
    assert state["structured_response"] == Answer(place="here")
    names = [t["function"]["name"] for t in model.calls[0].kwargs["tools"]]
    assert names == ["archive", "search", "Answer"]
