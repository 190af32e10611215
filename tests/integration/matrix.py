"""What a matrix of levers, places and ways of calling is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph

from langchain_lean.routing.router import RouteState
from tests.integration.middleware.agents import noted

Place = Literal["chain", "StateGraph", "create_agent"]
PLACES: tuple[Place, ...] = get_args(Place)

ASKED: Sequence[BaseMessage] = (HumanMessage("What does a ledger keep?"),)
PROMPT = ChatPromptTemplate([("placeholder", "{messages}")])


@dataclass(frozen=True)
class Seen:
    """What came of one request, or of several at once."""

    requests: int
    answers: Sequence[AIMessage] = ()
    error: Exception | None = None

    @property
    def notes(self) -> set[tuple[str, str]]:
        """What levers noted on the answers."""
        return {note for answer in self.answers for note in noted(answer)}


@dataclass(frozen=True)
class Cell:
    """An application with a lever in it, and what shows that the lever acted."""

    app: Any
    sees: Callable[[Seen], object]
    expects: object
    callbacks: Sequence[Any] = ()
    asked: Sequence[BaseMessage] = ASKED


@dataclass(frozen=True)
class Lever:
    """How a lever is put to each place, in words and in code."""

    where: dict[Place, str]
    cell: Callable[[Place], Cell]


class Levers(dict[str, Lever]):
    """Levers by name."""

    def add(
        self,
        name: str,
        *,
        chain: str,
        graph: str | None = None,
        agent: str | None = None,
    ) -> Callable[[Callable[[Place], Cell]], Callable[[Place], Cell]]:
        """Add a lever, and say how each place takes it; as a chain does if not said."""

        def added(cell: Callable[[Place], Cell]) -> Callable[[Place], Cell]:
            texts = (chain, graph or chain, agent or chain)
            self[name] = Lever(dict(zip(PLACES, texts, strict=True)), cell)
            return cell

        return added

    def table(self) -> str:
        """The levers and their places, in Markdown."""
        rows = [("lever", *PLACES), ("---",) * (len(PLACES) + 1)]
        rows += [(name, *lever.where.values()) for name, lever in self.items()]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def put(
    place: Place,
    model: Any,
    *,
    prompt: Any = PROMPT,
    answering: Any = None,
    nodes: Sequence[tuple[str, Any]] = (),
    tools: Sequence[Any] = (),
    middleware: Sequence[Any] = (),
) -> Any:
    """An application that asks a model.

    Args:
        place: What kind of application.
        model: Answers in an agent, and elsewhere where `answering` is not given.
        prompt: Makes a prompt of the messages, in a chain and in a graph.
        answering: What stands behind it.
        nodes: The nodes of a graph in their order, where they are of another kind.
        tools: An agent's tools.
        middleware: An agent's middleware.
    """
    if place == "create_agent":
        return create_agent(model, tools, middleware=middleware)
    chain = prompt | (answering or model)
    if place == "chain":
        return chain
    builder = StateGraph(RouteState)
    added = nodes or [("answer", node(chain))]
    builder.add_sequence(added)
    builder.add_edge(START, added[0][0])
    return builder.compile()


def node(chain: Any) -> Any:
    """A chain as a node of a graph."""
    return chain | RunnableLambda(lambda answer: {"messages": [answer]})
