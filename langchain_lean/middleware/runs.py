"""Which run the calls of an agent count to, where a guard is not told of the run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, NotRequired
from uuid import uuid4

from langchain.agents.middleware.types import (
    AgentState,
    ExtendedModelResponse,
    ModelResponse,
    PrivateStateAttr,
)
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.types import Command
from typing_extensions import TypedDict

from langchain_lean.budgets.guard import BudgetGuard, present_run
from langchain_lean.messages import last_human_index

_KEY = "lean_run"


class LeanRun(TypedDict):
    """The run that the calls for one input count to.

    Attributes:
        id: Names it.
        input: The id of the human message it is about.
    """

    id: str
    input: str | None


def _newest(earlier: LeanRun, later: LeanRun) -> LeanRun:
    """Of two the later one: several guards say the same in one step."""
    return later


class RunState(AgentState[Any]):
    """What a middleware that counts adds to an agent's state.

    Attributes:
        lean_run: The run that calls count to, which a resume goes on with.
    """

    lean_run: NotRequired[Annotated[LeanRun, PrivateStateAttr, _newest]]


def counted(
    guard: BudgetGuard, state: Mapping[str, Any]
) -> tuple[AbstractContextManager[None], LeanRun | None]:
    """Say to which run the model calls of an agent count.

    A guard among the callbacks of the run sees that by itself, and so does one inside
    of a tool that said it.

    Args:
        guard: Who counts.
        state: The agent's state.

    Returns:
        In what to make the call, and what the state is to keep, if it is new.
    """
    if guard.counted_run is not None or guard.watches(ensure_config()):
        return nullcontext(), None
    known = state.get(_KEY)
    run = _run(state)
    return guard.counting(run["id"]), None if run == known else run


def counted_in_tool(
    guard: BudgetGuard, state: Mapping[str, Any], config: RunnableConfig
) -> AbstractContextManager[None]:
    """Say to which run the calls inside of a tool count, and have the guard see them.

    Args:
        guard: Who counts.
        state: The agent's state.
        config: The configuration of the tool.

    Returns:
        In what to run the tool.
    """
    if guard.counted_run is None and guard.watches(config):
        return nullcontext()
    guard.watch(config)
    run = guard.counted_run
    run_id = _run(state)["id"] if run is None else run.id
    return guard.counting(run_id, nested=True)


def with_run(
    response: ModelResponse[Any], run: LeanRun | None
) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
    """The response, with what the state is to keep."""
    if run is None:
        return response
    return ExtendedModelResponse(response, Command(update={_KEY: run}))


def _run(state: Mapping[str, Any]) -> LeanRun:
    """The run of the newest input: the one that is known, or a new one."""
    messages = state.get("messages") or []
    index = last_human_index(messages)
    asked = messages[index].id if index >= 0 else None
    known: LeanRun | None = state.get(_KEY)
    if known and known["input"] == asked:
        return known
    return LeanRun(id=present_run() or uuid4().hex, input=asked)
