"""What the lean graph and the middleware add to a request, besides calls of models.

Run: python -m tests.benchmarks.graph_overhead

The whole lean graph (memory, exact cache, budgets, a cap) is compared with itself
without what can be left out, and with a graph wired by hand that makes the same calls
of models, retriever and tools. No lever fires: each question is new, the memory is
under its threshold, the budgets are large. An agent is compared with itself without
middleware. Stand-ins answer at once, and those that are compared take turns. Times are
those of the processor, so that other work on the machine does not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from statistics import median
from typing import Any

from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.messages.tool import tool_call
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from rich.console import Console
from rich.table import Table

from langchain_lean import (
    Budget,
    BudgetGuard,
    EscalationRouter,
    SemanticCache,
    StepCap,
    SummaryMemory,
)
from langchain_lean.accounting.latency import percentile
from langchain_lean.graph import build_lean_graph
from langchain_lean.graph.classify import Classification
from langchain_lean.middleware import PromptCacheMiddleware, lean_middleware
from langchain_lean.routing.policies import AnswerChecks
from langchain_lean.testing import ScriptedChatModel

ROUNDS = 200
LIMIT = 5.0  # milliseconds
ANSWER = "A ledger is a book of accounts. " * 15
SYSTEM = "You are a help desk."

Answer = Callable[[list[BaseMessage]], Any]
_numbers = count()


class Shelf(BaseRetriever):
    """Finds the same three documents, whatever is asked."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return [Document("A ledger keeps accounts. It has pages. " * 10)] * 3

    async def _aget_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return self._get_relevant_documents(query)


@tool
def look_up(topic: str) -> str:
    """Look a topic up."""
    return f"A page about {topic}."


def model(answer: Answer, name: str = "claude-haiku-4-5") -> ScriptedChatModel:
    """A stand-in that answers at once."""
    return ScriptedChatModel(
        responses=[answer], loop=True, model_name=name, provider="anthropic"
    )


def with_documents(messages: list[BaseMessage]) -> Any:
    """The answers of the cheap model where documents are needed."""
    asked_what = "needs_rag" in str(messages[0].content)
    return {"route": "rag", "needs_rag": True} if asked_what else ANSWER


def with_a_tool(messages: list[BaseMessage]) -> Any:
    """Its answers where one tool call is needed."""
    if "needs_rag" in str(messages[0].content):
        return {"route": "agent", "needs_tools": True}
    if messages[-1].type == "tool":
        return ANSWER
    call = tool_call(name="look_up", args={"topic": "ledgers"}, id="1")
    return AIMessage("", tool_calls=[call])


def by_hand(cheap: ScriptedChatModel) -> Any:
    """A plain graph with the same calls: what is needed, documents, tool, answer."""
    says = cheap.with_structured_output(Classification)
    tooled = cheap.bind_tools([look_up])
    shelf = Shelf()
    task = SystemMessage("Say route, needs_rag and needs_tools.")

    class State(MessagesState):
        need: Classification
        documents: list[Document]

    def prompt(state: Any) -> list[Any]:
        found = "\n\n".join(d.page_content for d in state["documents"])
        used = [SystemMessage(found)] if state["need"].needs_rag else []
        return [SystemMessage(SYSTEM), *used, *state["messages"]]

    def node(key: str, runnable: Any, given: Callable[[Any], Any]) -> Any:
        def run(state: Any) -> Any:
            return {key: runnable.invoke(given(state))}

        async def arun(state: Any) -> Any:
            return {key: await runnable.ainvoke(given(state))}

        return RunnableLambda(run, arun)

    builder = StateGraph(State)
    builder.add_node("classify", node("need", says, lambda s: [task, *s["messages"]]))
    asked = node("documents", shelf, lambda s: s["messages"][-1].text)
    builder.add_node("retrieve", asked)
    builder.add_node("answer", node("messages", tooled, prompt))
    builder.add_node("tools", ToolNode([look_up]))
    builder.add_edge(START, "classify")
    builder.add_edge(START, "retrieve")
    builder.add_edge(["classify", "retrieve"], "answer")
    builder.add_conditional_edges("answer", tools_condition, ["tools", END])
    builder.add_edge("tools", "answer")
    return builder.compile()


def budgets() -> BudgetGuard:
    """Two budgets that nothing passes."""
    return BudgetGuard(
        Budget(usd="1000000", per="day"), Budget(tokens=10**12, per="month")
    )


def budgets_of_runs() -> BudgetGuard:
    """One that has to follow all that a run does."""
    return BudgetGuard(Budget(tokens=10**12, per="run"))


def graphs(answers: Answer) -> dict[str, Any]:
    """The graphs that are compared."""
    given: dict[str, Any] = {
        "retriever": Shelf(),
        "tools": [look_up],
        "system_prompt": SYSTEM,
        "verify": AnswerChecks(),
    }
    cheap, strong = model(answers), model(answers, "claude-sonnet-4-5")
    levers = {
        "cache": SemanticCache(),
        "memory": SummaryMemory(cheap),
        "guard": budgets(),
    }
    alone = {name: {name: lever} for name, lever in levers.items()}
    alone["guard, per run"] = {"guard": budgets_of_runs()}
    lean = {
        name: build_lean_graph(cheap, strong, **given, **some)
        for name, some in {"no levers": {}, **alone, "whole lean graph": levers}.items()
    }
    return {"by hand": by_hand(cheap), **lean}


def agents(answers: Answer) -> dict[str, Any]:
    """An agent without middleware, with each alone, and with all."""
    cheap, strong = model(answers), model(answers, "claude-sonnet-4-5")
    parts: dict[str, Any] = {
        "memory": SummaryMemory(cheap),
        "cache": SemanticCache(),
        "router": EscalationRouter(
            {"haiku": cheap, "sonnet": strong}, policy=AnswerChecks()
        ),
        "cap": StepCap(),
        "prompt_cache": PromptCacheMiddleware(),
        "guard": budgets(),
    }
    stacks = {"agent": {}, **{n: {n: part} for n, part in parts.items()}, "all": parts}
    return {
        name: create_agent(
            cheap, [look_up], system_prompt=SYSTEM, middleware=lean_middleware(**some)
        )
        for name, some in stacks.items()
    }


def question() -> dict[str, Any]:
    """An input that was never asked before."""
    return {"messages": [{"role": "user", "content": f"What is in {next(_numbers)}?"}]}


async def invoke(runnable: Any) -> Any:
    """Ask, blocking."""
    return runnable.invoke(question())


async def ainvoke(runnable: Any) -> Any:
    """Ask, with asyncio."""
    return await runnable.ainvoke(question())


async def times(
    compared: Mapping[str, Any], ask: Callable[[Any], Awaitable[Any]]
) -> dict[str, list[float]]:
    """Milliseconds of each request, of all that are compared in turn."""
    found: dict[str, list[float]] = {name: [] for name in compared}
    for number in range(-20, ROUNDS):
        for name, runnable in compared.items():
            started = time.process_time()
            await ask(runnable)
            if number >= 0:
                found[name].append((time.process_time() - started) * 1e3)
    return found


async def table(
    title: str,
    compared: Mapping[str, Any],
    floors: Sequence[str],
    limited: str | None = None,
) -> Table:
    """What each adds to a request.

    Args:
        title: Of the table.
        compared: What is asked.
        floors: Those that the others are compared with.
        limited: The one that may add no more than the limit to the last of them.
    """
    over = [f"over {name}" for name in floors]
    rows = Table("", "", title=f"Milliseconds of a request: {title}")
    for column in ("median", "p95", *over):
        rows.add_column(column, justify="right")
    rows.add_column()
    for ask in (invoke, ainvoke):
        found = await times(compared, ask)
        for name, each in found.items():
            more = [median(each) - median(found[floor]) for floor in floors]
            verdict = "holds" if more[-1] <= LIMIT else "falls short"
            tail = percentile(each, 0.95) or 0.0
            rows.add_row(
                ask.__name__,
                name,
                *(f"{value:.1f}" for value in (median(each), tail)),
                *(f"{value:+.1f}" for value in more),
                verdict if name == limited else "",
            )
        rows.add_section()
    return rows


async def main() -> None:
    """Print the tables."""
    console = Console(width=100)
    for what, answers in (("documents", with_documents), ("a tool", with_a_tool)):
        floors = ("by hand", "no levers")
        console.print(await table(what, graphs(answers), floors, "whole lean graph"))
    stacks = agents(with_a_tool)
    console.print(await table("an agent, two calls and a tool", stacks, ("agent",)))
    console.print(f"Levers that do not fire may add {LIMIT:.0f} ms to a request.")


if __name__ == "__main__":
    asyncio.run(main())
