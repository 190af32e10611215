"""Agents over stand-ins, the ways to run them, and what is the same of two runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import BaseTool, StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_lean import BudgetGuard
from langchain_lean.budgets.finish import INSTRUCTION
from langchain_lean.testing import ScriptedChatModel

Run = Callable[..., Awaitable[dict[str, Any]]]

CHEAP, STRONG = "claude-haiku-4-5", "claude-sonnet-4-5"
MODES = ["messages", "updates", "values"]


async def invoke(agent: Any, given: Any, config: Any = None, **options: Any) -> Any:
    return agent.invoke(given, config, **options)


async def ainvoke(agent: Any, given: Any, config: Any = None, **options: Any) -> Any:
    return await agent.ainvoke(given, config, **options)


async def stream(agent: Any, given: Any, config: Any = None, **options: Any) -> Any:
    parts = [*agent.stream(given, config, stream_mode=MODES, **options)]
    return [state for mode, state in parts if mode == "values"][-1]


async def astream(agent: Any, given: Any, config: Any = None, **options: Any) -> Any:
    stream = agent.astream(given, config, stream_mode=MODES, **options)
    return [state async for mode, state in stream if mode == "values"][-1]


async def batch(agent: Any, given: Any, config: Any = None, **options: Any) -> Any:
    return agent.batch([given], config, **options)[0]


async def abatch(agent: Any, given: Any, config: Any = None, **options: Any) -> Any:
    return (await agent.abatch([given], config, **options))[0]


every_way = pytest.mark.parametrize(
    "run", [invoke, ainvoke, stream, astream, batch, abatch]
)
both = pytest.mark.parametrize("run", [invoke, ainvoke])


async def parts(agent: Any, given: Any, config: Any = None) -> list[Any]:
    """What `stream_mode="messages"` shows, with the metadata."""
    return [*agent.stream(given, config, stream_mode="messages")]


async def aparts(agent: Any, given: Any, config: Any = None) -> list[Any]:
    """`parts` for asyncio."""
    stream = agent.astream(given, config, stream_mode="messages")
    return [part async for part in stream]


both_streams = pytest.mark.parametrize("parts", [parts, aparts])


def asked(text: str = "Where is it?", **options: Any) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)], **options}


def calling(*names: str, text: str = "", query: str = "it") -> AIMessage:
    """An answer that calls tools, all at once."""
    calls = [
        tool_call(name=name, args={"query": query}, id=f"{name}-{query}-{place}")
        for place, name in enumerate(names)
    ]
    return AIMessage(text, tool_calls=calls)


def scripted(*responses: Any, name: str = CHEAP, **options: Any) -> ScriptedChatModel:
    return ScriptedChatModel(
        responses=[*responses], model_name=name, provider="anthropic", **options
    )


def restless(called: str = "search", **options: Any) -> ScriptedChatModel:
    """Calls a tool each time, and answers only where it is told to."""
    numbers = count(1)

    def answer(messages: Sequence[BaseMessage]) -> AIMessage:
        if messages[-1].content == INSTRUCTION:
            return AIMessage("I could not find it.")
        return calling(called, query=f"{next(numbers)}")

    return scripted(answer, loop=True, **options)


@tool
def search(query: str) -> str:
    """Search."""
    return f"Nothing about {query}."


def sub_agent(agent: Any, config: Any = None, name: str = "delegate") -> BaseTool:
    """A tool that asks an agent."""

    def ask(query: str) -> str:
        return str(agent.invoke(asked(query), config)["messages"][-1].content)

    async def aask(query: str) -> str:
        state = await agent.ainvoke(asked(query), config)
        return str(state["messages"][-1].content)

    return StructuredTool.from_function(ask, aask, name=name, description="Delegate.")


def model_tool(model: BaseChatModel, name: str = "think") -> BaseTool:
    """A tool that asks a model by itself."""

    def ask(query: str) -> str:
        return str(model.invoke(query).content)

    async def aask(query: str) -> str:
        return str((await model.ainvoke(query)).content)

    return StructuredTool.from_function(ask, aask, name=name, description="Think.")


def agent_of(
    model: Any,
    *middleware: AgentMiddleware[Any, Any, Any],
    tools: Sequence[Any] = (search,),
    **options: Any,
) -> Any:
    return create_agent(model, list(tools), middleware=middleware, **options)


def on_thread(model: Any, *middleware: Any, **options: Any) -> Any:
    """An agent with a checkpointer."""
    return agent_of(model, *middleware, checkpointer=InMemorySaver(), **options)


def thread(name: str = "t", **config: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": name}, **config}


def noted(message: BaseMessage) -> list[tuple[str, str]]:
    """What levers did to an answer."""
    notes = message.response_metadata.get("lean", [])
    return [(note["lever"], note["action"]) for note in notes]


def answer(state: dict[str, Any]) -> BaseMessage:
    last: BaseMessage = state["messages"][-1]
    return last


def used(guard: BudgetGuard, **keys: str) -> Any:
    """What is used of the guard's first budget."""
    return guard.status(**keys)[0].used


def sent(model: ScriptedChatModel) -> list[Any]:
    """The prompts and options a model was sent, without ids."""
    return [([plain(m) for m in call.messages], call.kwargs) for call in model.calls]


def plain(message: BaseMessage) -> dict[str, Any]:
    """A message without its id and what levers noted on it."""
    values = message.model_dump(exclude={"id"})
    values["response_metadata"].pop("lean", None)
    return values
