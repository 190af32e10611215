"""What a cap on an agent's steps saves and what it loses, on recorded agent runs.

Run: python -m tests.benchmarks.step_caps

The runs are read from agents/ in the folder named by LEAN_DATA (by default
../shared/data, beside the project). Each is played once without a cap and once with
each: a graph asks a stand-in, which gives the recorded answers, and then brings what
was recorded next, results of tools or the next words of the user, until the recording
or the cap ends it. The whole conversation is one input. A success counts as lost where
the cap ended its run. Tokens are counted as for Claude; the last answer's are among
them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from rich.console import Console
from rich.table import Column, Table

from langchain_lean.budgets import finish
from langchain_lean.routing.stepping.loops import goes_round
from langchain_lean.routing.steps import StepCap
from langchain_lean.testing_provider import StandIn
from tests.benchmarks.memory_conversation import MODEL, RUNS, Conversation, recorded

CAPS = (None, 25, 20, 15, 12)
REPEAT = 3
LONGEST = 1_000  # supersteps, more than any run has


class Recorded(StandIn):
    """Gives the answers of a recorded run, or a last one if asked for it."""

    model_name: str = MODEL
    run: list[Any]

    def _reply(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        if messages[-1].content == finish.INSTRUCTION:
            return AIMessage("This is as far as it got.")
        answer: AIMessage = self.run[_answers(messages)].answer
        return answer


@dataclass(frozen=True)
class Played:
    """How a run went.

    Attributes:
        calls: Calls of the model.
        tokens: What they sent.
        capped: The cap ended it.
    """

    calls: int
    tokens: int
    capped: bool


def played(run: Conversation, max_calls: int | None) -> Played:
    """Play a recorded run in a graph, with a cap or without one."""
    model, cap = Recorded(run=run), StepCap(max_calls or 0, repeat=REPEAT)
    asked = model if max_calls is None else cap.model(model)

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [asked.invoke(state["messages"])]}

    def bring(state: MessagesState) -> dict[str, Any]:
        return {"messages": run[_answers(state["messages"])].new}

    def ends(state: MessagesState) -> bool:
        messages = state["messages"]
        return _is_capped(messages[-1]) or _answers(messages) == len(run)

    graph = StateGraph(MessagesState)
    graph.add_node("bring", bring)
    graph.add_node("ask", ask)
    graph.add_edge(START, "bring")
    graph.add_edge("bring", "ask")
    graph.add_conditional_edges("ask", ends, {True: END, False: "bring"})
    config: Any = {"recursion_limit": LONGEST}
    if max_calls is not None:
        config["callbacks"] = [cap]
    messages = graph.compile().invoke({"messages": []}, config)["messages"]
    usages = [m.usage_metadata for m in messages if isinstance(m, AIMessage)]
    tokens = sum(usage["input_tokens"] for usage in usages if usage)
    return Played(len(model.calls), tokens, _is_capped(messages[-1]))


def step_caps() -> Table:
    """The table: what each cap leaves of tokens and successes."""
    runs, good = recorded(), [*_successes()]
    whole = [played(run, None) for run in runs]
    names = (
        "cap",
        "calls",
        "most in a run",
        "input tokens",
        "successes",
        "of all runs",
    )
    table = Table(
        *(Column(name, justify="right") for name in names),
        title=f"{len(runs)} recorded agent runs under a step cap",
        caption=_looped(runs),
    )
    for max_calls in CAPS:
        capped = [played(run, max_calls) for run in runs] if max_calls else whole
        kept = sum(g and not each.capped for g, each in zip(good, capped, strict=True))
        tokens = sum(p.tokens for p in capped) / sum(p.tokens for p in whole)
        table.add_row(
            f"{max_calls} + 1" if max_calls else "none",
            f"{sum(p.calls for p in capped):,}",
            f"{max(p.calls for p in capped)}",
            f"{tokens:.1%}",
            f"{kept / sum(good):.1%}",
            f"{kept / len(runs):.1%}",
        )
    return table


def _successes() -> Iterator[bool]:
    """Of each recorded run, whether it did what it was to do."""
    with RUNS.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["reward"] == 1


def _looped(runs: list[Conversation]) -> str:
    """How many runs the loop check would have ended."""
    looped = sum(any(goes_round(said, REPEAT) for said in _said(run)) for run in runs)
    return f"{looped} runs called the same tools {REPEAT} times in a row"


def _said(run: Conversation) -> Iterator[list[BaseMessage]]:
    """The chat before each answer of a run."""
    messages: list[BaseMessage] = []
    for call in run:
        messages.extend(call.new)
        yield messages
        messages.append(call.answer)


def _answers(messages: list[BaseMessage]) -> int:
    return sum(isinstance(message, AIMessage) for message in messages)


def _is_capped(message: BaseMessage) -> bool:
    notes = message.response_metadata.get("lean", [])
    return any(note["lever"] == "steps" for note in notes)


def main() -> None:
    """Print the table."""
    console = Console()
    if RUNS.is_file():
        console.print(step_caps())
    else:
        console.print("Skipped: no agents/airline_runs.jsonl in $LEAN_DATA.")


if __name__ == "__main__":
    main()
