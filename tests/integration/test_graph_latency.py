"""What does not depend on each other in the lean graph runs at the same time.

The parts meet at a barrier: one that came alone would wait for the others in vain.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.tool import tool_call
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import StructuredTool

from langchain_lean import SummaryMemory, TokenLedger
from langchain_lean.graph import build_lean_graph
from langchain_lean.routing.policies import EscalationPolicy
from langchain_lean.testing import ScriptedChatModel

SECONDS = 10  # after which a part that waits alone gives up
DOCUMENTS = {"route": "rag", "needs_rag": True}
TOOLS = {"route": "agent", "needs_tools": True}


class Meeting:
    """Where several parts wait for each other, in threads or in tasks."""

    def __init__(self, parties: int) -> None:
        self._threads = threading.Barrier(parties)
        self._tasks = asyncio.Barrier(parties)
        self.came: list[object] = []

    def wait(self, *_: object) -> None:
        self._threads.wait(SECONDS)
        self.came.append(self)

    async def await_(self, *_: object) -> None:
        async with asyncio.timeout(SECONDS):
            await self._tasks.wait()
        self.came.append(self)


class Searching(BaseRetriever):
    """A retriever that comes to a meeting before it finds anything."""

    meeting: Any

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        self.meeting.wait()
        return [Document("A ledger keeps accounts.")]

    async def _aget_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        await self.meeting.await_()
        return [Document("A ledger keeps accounts.")]


def model(*responses: Any, meeting: Meeting | None = None) -> ScriptedChatModel:
    """A stand-in that comes to a meeting before each answer, if there is one."""
    waits: dict[str, Any] = {}
    if meeting is not None:
        waits = {"sleep": meeting.wait, "asleep": meeting.await_, "latency": (1, 0)}
    return ScriptedChatModel(responses=[*responses], loop=True, **waits)


async def invoke(graph: Any, given: Any, config: Any = None) -> Any:
    return graph.invoke(given, config)


async def ainvoke(graph: Any, given: Any, config: Any = None) -> Any:
    return await graph.ainvoke(given, config)


both = pytest.mark.parametrize("run", [invoke, ainvoke])
Run = Callable[..., Awaitable[Any]]


@both
async def test_retrieval_runs_beside_the_classification(run: Run) -> None:
    meeting = Meeting(2)
    graph = build_lean_graph(
        model(DOCUMENTS, meeting=meeting),
        model("The strong answer."),
        medium=model("An answer."),
        retriever=Searching(meeting=meeting),
        verify=EscalationPolicy(),
    )
    state = await run(graph, {"messages": ["What does a ledger keep?"]})
    assert state["messages"][-1].text == "An answer."
    assert len(meeting.came) == 2


@both
async def test_the_memory_runs_beside_both(run: Run) -> None:
    meeting = Meeting(3)
    graph = build_lean_graph(
        model(DOCUMENTS, meeting=meeting),
        model("The strong answer."),
        medium=model("An answer."),
        retriever=Searching(meeting=meeting),
        memory=SummaryMemory(
            model("Notes.", meeting=meeting),
            max_tokens=500,
            keep_tokens=100,
            always=True,
        ),
        verify=EscalationPolicy(),
    )
    turns = [HumanMessage("What is it? " * 100), AIMessage("A ledger. " * 100)] * 3
    state = await run(graph, {"messages": [*turns, "What does a ledger keep?"]})
    assert state["messages"][-1].text == "An answer."
    assert len(state["messages"]) < len(turns)  # notes were taken
    assert len(meeting.came) == 3


@both
async def test_tools_that_are_called_together_run_side_by_side(run: Run) -> None:
    meeting = Meeting(2)

    def look_up(topic: str) -> str:
        meeting.wait()
        return f"About {topic}."

    async def alook_up(topic: str) -> str:
        await meeting.await_()
        return f"About {topic}."

    looking = StructuredTool.from_function(
        look_up, alook_up, name="look_up", description="Look something up."
    )
    calls = [
        tool_call(name="look_up", args={"topic": topic}, id=topic)
        for topic in ("ledgers", "budgets")
    ]
    graph = build_lean_graph(
        model(AIMessage("", tool_calls=calls), "An answer."),
        model("The strong answer."),
        tools=[looking],
        verify=EscalationPolicy(),
    )
    state = await run(graph, {"messages": ["What are they?"]})
    assert [m.text for m in state["messages"] if m.type == "tool"] == [
        "About ledgers.",
        "About budgets.",
    ]
    assert len(meeting.came) == 2


@both
async def test_a_ledger_tells_how_long_a_request_took_while_nothing_was_at_work(
    run: Run,
) -> None:
    now = [1_790_000_000.0]

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    async def apass_by(seconds: float) -> None:
        now[0] += seconds

    ledger = TokenLedger(clock=lambda: now[0], timer=lambda: now[0])
    slow = {"latency": (2.0, 0.0), "sleep": pass_by, "asleep": apass_by}
    graph = build_lean_graph(
        ScriptedChatModel(responses=["An answer."], loop=True, **slow),
        model("The strong answer."),
        verify=PassesBy(pass_by),
    )
    await run(graph, {"messages": ["Why?"]}, {"callbacks": [ledger]})
    (timing,) = ledger.timings()
    assert (timing.generation, timing.waiting, timing.total) == (2, 3, 5)


class PassesBy(EscalationPolicy):
    """Takes its time to judge."""

    def __init__(self, pass_by: Callable[[float], None]) -> None:
        self._pass_by = pass_by

    def judge(self, messages: Any, answer: AIMessage) -> None:
        self._pass_by(3.0)
