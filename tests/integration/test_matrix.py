"""Each lever acts in each place, whichever way the application is called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph.state import CompiledStateGraph

from langchain_lean.budgets.errors import BudgetExceededError
from tests.integration.levers import LEVERS
from tests.integration.matrix import PLACES, Cell, Place, Seen
from tests.integration.middleware.agents import MODES

GUIDE = Path(__file__).parents[2] / "docs" / "agents.md"

Way = Callable[[Any, Any, Any], Awaitable[list[Any]]]


async def invoke(app: Any, given: Any, config: Any) -> list[Any]:
    return [app.invoke(given, config)]


async def ainvoke(app: Any, given: Any, config: Any) -> list[Any]:
    return [await app.ainvoke(given, config)]


async def stream(app: Any, given: Any, config: Any) -> list[Any]:
    return [whole([*app.stream(given, config, **modes(app))])]


async def astream(app: Any, given: Any, config: Any) -> list[Any]:
    parts = app.astream(given, config, **modes(app))
    return [whole([part async for part in parts])]


async def batch(app: Any, given: Any, config: Any) -> list[Any]:
    outputs: list[Any] = app.batch([given, given], config)
    return outputs


WAYS: tuple[Way, ...] = (invoke, ainvoke, stream, astream, batch)


def modes(app: Any) -> dict[str, Any]:
    """How a graph is to stream."""
    return {"stream_mode": MODES} if isinstance(app, CompiledStateGraph) else {}


def whole(parts: list[Any]) -> Any:
    """The output that was streamed: a graph's last values, or all pieces."""
    values = [part[1] for part in parts if isinstance(part, tuple)]
    return values[-1] if values else reduce(add, parts)


def answer_of(output: Any) -> AIMessage:
    answer = output if isinstance(output, AIMessage) else output["messages"][-1]
    assert isinstance(answer, AIMessage)
    return answer


async def asked(cell: Cell, way: Way) -> Seen:
    """Make the requests of a cell."""
    requests = 2 if way is batch else 1
    given, config = {"messages": [*cell.asked]}, {"callbacks": [*cell.callbacks]}
    try:
        outputs = await way(cell.app, given, config)
    except BudgetExceededError as error:
        return Seen(requests, error=error)
    return Seen(requests, [answer_of(output) for output in outputs])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("lever", LEVERS)
async def test_a_lever_acts(lever: str, place: Place, way: Way) -> None:
    cell = LEVERS[lever].cell(place)
    seen = await asked(cell, way)
    assert cell.sees(seen) == cell.expects


def test_the_guide_says_where_each_lever_goes() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    said = text.partition("<!-- matrix -->")[2].partition("<!-- /matrix -->")[0]
    assert said.strip() == LEVERS.table()
