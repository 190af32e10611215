"""What a router adds to a request, besides the calls of models.

Run: python -m tests.benchmarks.routing_overhead

Compared are a router whose cheap answer stands and a node that calls the cheap model
itself, in a graph of one node; prompts have 1, 20 and 500 messages. Times are the
median of many requests, one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from rich.console import Console
from rich.table import Table

from langchain_lean import EscalationRouter
from langchain_lean.routing.policies import AnswerChecks, EscalationPolicy, SelfScreen
from langchain_lean.testing import ScriptedChatModel

ROUNDS = 300
LIMIT = 2_000  # microseconds
SIZES = (1, 20, 500)
ANSWER = "A ledger is a book of accounts. " * 15

POLICIES: dict[str, EscalationPolicy] = {
    "no opinion": EscalationPolicy(),
    "AnswerChecks": AnswerChecks(),
    "SelfScreen": SelfScreen(),
}


def model(name: str) -> ScriptedChatModel:
    """A stand-in that answers at once, with its usage given."""
    usage: Any = {"input_tokens": 100, "output_tokens": 100, "total_tokens": 200}
    answer = AIMessage(ANSWER, usage_metadata=usage)
    return ScriptedChatModel(
        responses=[answer], loop=True, model_name=name, provider="anthropic"
    )


def graph(node: Any) -> Any:
    """A graph of one node."""
    builder = StateGraph(MessagesState)
    builder.add_node("answer", node)
    builder.add_edge(START, "answer")
    return builder.compile()


def chat(size: int) -> list[BaseMessage]:
    """A conversation that ends on a question."""
    return [
        (AIMessage if index % 2 else HumanMessage)(f"What is in ledger {index}?")
        for index in range(size if size % 2 else size + 1)
    ]


def timed(call: Callable[[], object]) -> float:
    """Microseconds of a call, the median of many."""
    for _ in range(20):
        call()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return median(times) * 1e6


def added(policy: EscalationPolicy, size: int) -> float:
    """Microseconds that a router adds to a request."""
    cheap = model("claude-haiku-4-5")
    models = {"haiku": cheap, "sonnet": model("claude-sonnet-4-5")}
    routed = graph(EscalationRouter(models, policy=policy))
    plain = graph(lambda state: {"messages": [cheap.invoke(state["messages"])]})
    state = {"messages": chat(size)}
    return timed(lambda: routed.invoke(state)) - timed(lambda: plain.invoke(state))


def table() -> Table:
    """What each policy adds."""
    sizes = [f"{size} message{'s' * (size > 1)}" for size in SIZES]
    rows = Table("policy", *sizes, "", title="Microseconds that a router adds")
    for name, policy in POLICIES.items():
        times = [added(policy, size) for size in SIZES]
        holds = "holds" if max(times) < LIMIT else "falls short"
        rows.add_row(name, *(f"{each:,.0f}" for each in times), holds)
    rows.caption = f"A routing decision takes less than {LIMIT:,} microseconds."
    return rows


def main() -> None:
    """Print the table."""
    Console(width=100).print(table())


if __name__ == "__main__":
    main()
