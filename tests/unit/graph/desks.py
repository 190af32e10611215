"""Stand-ins that answer by what they are asked, and the forms a graph is called in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.tool import tool_call
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from pydantic import Field

from langchain_lean.graph import build_lean_graph
from langchain_lean.testing import ScriptedChatModel

HELLO = "Hello there!"
LEDGER = "What does a ledger keep?"
PARCEL = "Where is parcel 7?"
HARD = "Prove the hard theorem."
OPEN = "When do you open?"

CHEAP, MEDIUM, STRONG = "I am cheap and short.", "The page says so.", "A strong proof."
ESCALATE = "[[ESCALATE]]"
PAGE = "A ledger keeps accounts."
AT_NINE = "We open at nine."

Reply = str | AIMessage | dict[str, Any]
Call = Callable[..., Any]


def invoke(graph: Any, given: Any, config: Any = None) -> Any:
    return graph.invoke(given, config)


def ainvoke(graph: Any, given: Any, config: Any = None) -> Any:
    return asyncio.run(graph.ainvoke(given, config))


def stream(graph: Any, given: Any, config: Any = None) -> Any:
    return [*graph.stream(given, config, stream_mode="values")][-1]


def astream(graph: Any, given: Any, config: Any = None) -> Any:
    async def last() -> Any:
        values = graph.astream(given, config, stream_mode="values")
        return [state async for state in values][-1]

    return asyncio.run(last())


def batch(graph: Any, given: Any, config: Any = None) -> Any:
    return graph.batch([given], config)[0]


both = pytest.mark.parametrize("call", [invoke, ainvoke])
every_form = pytest.mark.parametrize("call", [invoke, ainvoke, stream, astream, batch])


@tool
def track(parcel: int) -> str:
    """Track a parcel."""
    return f"Parcel {parcel} is in Bergen."


class Pages(BaseRetriever):
    """A retriever that always finds the same page."""

    asked: list[str] = Field(default_factory=list)

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        self.asked.append(query)
        return [Document(PAGE)]


def classifies(messages: Sequence[BaseMessage]) -> bool:
    """Whether this is the call that says what a question needs."""
    return str(messages[0].text).startswith("Say what is needed")


def calls_tool(number: int = 1) -> AIMessage:
    call = tool_call(name="track", args={"parcel": 7}, id=f"call-{number}")
    return AIMessage("", tool_calls=[call])


def need(route: str, **more: Any) -> dict[str, Any]:
    known = {"needs_rag": route == "rag", "needs_tools": False, "faq": 0}
    return {"route": route, **known, **more}


NEEDS: Mapping[str, dict[str, Any]] = {
    HELLO: need("agent"),
    HARD: need("agent"),
    LEDGER: need("rag"),
    PARCEL: need("agent", needs_tools=True),
    "Are you open today?": need("faq", faq=1),
}


def cheap_reply(messages: Sequence[BaseMessage]) -> Reply:
    """What the cheap model says: it classifies, calls a tool once, or answers."""
    asked = str(next(m for m in reversed(messages) if m.type == "human").text)
    if classifies(messages):
        return next(n for question, n in NEEDS.items() if asked.endswith(question))
    if HARD in asked:
        return ESCALATE
    if PARCEL in asked and messages[-1].type != "tool":
        return calls_tool()
    return CHEAP


def stand_in(
    *replies: Any, name: str = "claude-sonnet-4-5", **options: Any
) -> ScriptedChatModel:
    return ScriptedChatModel(
        responses=list(replies),
        loop=True,
        model_name=name,
        provider="anthropic",
        **options,
    )


def cheap_model(*replies: Any, **options: Any) -> ScriptedChatModel:
    said = replies or (cheap_reply,)
    return stand_in(*said, name="claude-haiku-4-5", **options)


def desk(**parts: Any) -> Any:
    """A graph of stand-ins with these parts."""
    cheap = parts.pop("cheap", None) or cheap_model()
    strong = parts.pop("strong", None) or stand_in(STRONG)
    return build_lean_graph(cheap, strong, **parts)


def ask(
    call: Call, graph: Any, question: str, thread: str | None = None, **more: Any
) -> Any:
    """The state after a question."""
    config: dict[str, Any] = {"metadata": more} if more else {}
    if thread is not None:
        config["configurable"] = {"thread_id": thread}
    return call(graph, {"messages": [question]}, config)


def said(state: Any) -> str:
    return str(state["messages"][-1].text)


def shown(graph: Any, question: str, *, is_async: bool = False) -> list[str]:
    """The pieces of answers that a stream of tokens shows."""
    given = {"messages": [question]}
    if not is_async:
        pieces = [m for m, _ in graph.stream(given, stream_mode="messages")]
    else:

        async def collected() -> list[Any]:
            stream = graph.astream(given, stream_mode="messages")
            return [m async for m, _ in stream]

        pieces = asyncio.run(collected())
    return [str(m.text) for m in pieces if m.type != "tool" and m.text]
