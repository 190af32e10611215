"""Scripts of agents, replayed with and without the middleware: nothing changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import pytest
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.tools import BaseTool, StructuredTool, tool
from langgraph.prebuilt.tool_node import ToolCallRequest
from pydantic import BaseModel

from langchain_lean.middleware import PromptCacheMiddleware
from langchain_lean.testing_provider import StandIn
from tests.benchmarks.memory_conversation import RUNS, Conversation, recorded
from tests.integration.middleware.agents import (
    Run,
    ainvoke,
    astream,
    both,
    calling,
    every_way,
    on_thread,
    plain,
    scripted,
    search,
    sent,
    thread,
)
from tests.integration.middleware.agents import asked as asked_for
from tests.integration.middleware.stacks import Middleware, all_of, each_stack


class Answer(BaseModel):
    """An answer."""

    place: str


def filled(place: Any, number: int = 1) -> AIMessage:
    call = {"name": "Answer", "args": {"place": place}, "id": f"answer-{number}"}
    return AIMessage("", tool_calls=[call])


@tool
def fails(query: str) -> str:
    """Fail."""
    return f"It failed: {query}"


@tool(return_direct=True)
def final(query: str) -> str:
    """Give the answer."""
    return f"It is {query}."


UNREADABLE = invalid_tool_call(name="search", args="{", id="1", error="no JSON")
TOOLS = (search, fails, final)

SCRIPTS: dict[str, tuple[Sequence[Any], dict[str, Any]]] = {
    "words": (["There."], {}),
    "steps": ([calling("search"), calling("fails"), "There."], {}),
    "at once": ([calling("search", "fails", "search"), "There."], {}),
    "words and calls": ([calling("search", text="I look."), "There."], {}),
    "a direct result": ([calling("final")], {}),
    "an unknown tool": ([calling("nothing"), "There."], {}),
    "wrong arguments": (
        [
            AIMessage("", tool_calls=[tool_call(name="search", args={}, id="1")]),
            "There.",
        ],
        {},
    ),
    "an unreadable call": (
        [AIMessage("", invalid_tool_calls=[UNREADABLE]), "There."],
        {},
    ),
    "no tools": (["There."], {"tools": []}),
    "a system prompt": (
        [calling("search"), "There."],
        {"system_prompt": "You are a porter. Be brief."},
    ),
    "a name": ([calling("search"), "There."], {"name": "porter"}),
    "a called schema": (
        [calling("search"), filled("here")],
        {"response_format": ToolStrategy(Answer)},
    ),
    "a called schema that is wrong at first": (
        [filled({"no": "text"}), filled("here", 2)],
        {"response_format": ToolStrategy(Answer)},
    ),
    "a called schema without tools": (
        [filled("here")],
        {"response_format": ToolStrategy(Answer), "tools": []},
    ),
    "a provider's schema": (
        [calling("search"), '{"place": "here"}'],
        {"response_format": ProviderStrategy(Answer)},
    ),
    "any schema": (["{}", '{"place": "here"}'][1:], {"response_format": Answer}),
}

each_script = pytest.mark.parametrize(
    ("script", "options"), SCRIPTS.values(), ids=SCRIPTS.keys()
)


async def played(
    run: Run, script: Sequence[Any], stack: Callable[[Any], Middleware], **options: Any
) -> Any:
    """What an agent says and sends in two turns, of which the script plays both."""
    model = scripted(*script, *(_again(each) for each in script))
    agent = on_thread(model, *stack(model), **{"tools": TOOLS, **options})
    for text in ("Where is it?", "And where is the other one?"):
        state = await run(agent, asked_for(text), thread())
    messages = [plain(message) for message in state["messages"]]
    prompts = [(prompt, _sorted(options)) for prompt, options in sent(model)]
    return messages, state.get("structured_response"), prompts


def _again(response: Any) -> Any:
    """The same with other ids of its calls."""
    if not isinstance(response, AIMessage):
        return response
    again = response.model_copy(deep=True)
    for call in (*again.tool_calls, *again.invalid_tool_calls):
        call["id"] = f"again-{call['id']}"
    return again


def _sorted(options: Any) -> dict[str, Any]:
    """Options with their tools in one order, which the marks put them in."""
    tools = options.get("tools") or []
    return {**options, "tools": sorted(tools, key=lambda t: str(t["function"]["name"]))}


_BARE: dict[tuple[Run, int], Any] = {}


async def played_bare(run: Run, script: Sequence[Any], options: dict[str, Any]) -> Any:
    """`played` without middleware, once for all stacks."""
    key = (run, id(script))
    if key not in _BARE:
        _BARE[key] = await played(run, script, lambda _: [], **options)
    return _BARE[key]


@each_stack
@each_script
@both
async def test_a_script_is_played_as_without_it(
    run: Run,
    script: Sequence[Any],
    options: dict[str, Any],
    stack: Callable[[Any], Middleware],
) -> None:
    bare = await played_bare(run, script, options)
    lean = await played(run, script, stack, **options)
    assert lean[0] == bare[0]
    assert lean[1] == bare[1]
    assert lean[2] == bare[2]


@each_script
@every_way
async def test_all_together_leave_a_script_alone_in_every_way(
    run: Run, script: Sequence[Any], options: dict[str, Any]
) -> None:
    bare = await played_bare(run, script, options)
    assert await played(run, script, all_of, **options) == bare


class Recorded(StandIn):
    """Gives the answers of a recorded run."""

    model_name: str = "claude-haiku-4-5"
    provider: str = "anthropic"
    run: list[Any]

    def _reply(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        given = sum(isinstance(message, AIMessage) for message in messages)
        answer: AIMessage = self.run[given].answer
        return answer


class Results(AgentMiddleware[Any, Any, Any]):
    """Gives the recorded results of tools in place of calling them."""

    def __init__(self, run: Conversation) -> None:
        results = [m for call in run for m in call.new if isinstance(m, ToolMessage)]
        self.results = {result.tool_call_id: result for result in results}

    def wrap_tool_call(self, request: ToolCallRequest, handler: Any) -> Any:
        return self.results[str(request.tool_call["id"])]

    async def awrap_tool_call(self, request: ToolCallRequest, handler: Any) -> Any:
        return self.wrap_tool_call(request, handler)


def named(name: str) -> BaseTool:
    return StructuredTool.from_function(
        lambda: "", name=name, description=name, args_schema={"type": "object"}
    )


async def replayed(
    run: Run, calls: Conversation, stack: Callable[[Any], Middleware]
) -> Any:
    """What an agent says and sends in a recorded run, one input after the other."""
    model = Recorded(run=calls)
    names = {c["name"] for call in calls for c in call.answer.tool_calls}
    [system] = [m for m in calls[0].new if m.type == "system"]
    agent = on_thread(
        model,
        *stack(model),
        Results(calls),
        tools=[*map(named, sorted(names))],
        system_prompt=system.content,
    )
    for call in calls:
        humans = [m.model_copy() for m in call.new if m.type == "human"]
        if humans:
            state = await run(agent, {"messages": humans}, thread())
    answers = [m for m in state["messages"] if m.type == "ai"]
    assert [*map(attrgetter("text"), answers)] == [call.answer.text for call in calls]
    prompts = [[(m.type, m.text) for m in call.messages] for call in model.calls]
    return [plain(message) for message in state["messages"]], prompts


@pytest.mark.evaluation_data
@pytest.mark.parametrize(("run", "first"), [(ainvoke, 0), (astream, 10)])
async def test_recorded_runs_are_played_as_without_it(run: Run, first: int) -> None:
    if not RUNS.is_file():
        pytest.skip(f"needs agents/{RUNS.name} in LEAN_DATA (looked in {RUNS.parent})")

    def lean(model: Any) -> Middleware:
        stays = PromptCacheMiddleware(volatile=re.compile("(?!)"))
        return all_of(model, prompt_cache=stays)

    for calls in map(_ended, recorded()[first::20]):
        bare = await replayed(run, calls, lambda _: [])
        assert await replayed(run, calls, lean) == bare


def _ended(calls: Conversation) -> Conversation:
    """A recorded run up to its last answer in words."""
    while calls[-1].answer.tool_calls:
        calls = calls[:-1]
    return calls
