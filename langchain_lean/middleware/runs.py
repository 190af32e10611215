"""Which run the calls of an agent count to, where a guard is not told of the run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, NotRequired
from uuid import uuid4

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    PrivateStateAttr,
)
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.runtime import Runtime

from langchain_lean.budgets.guard import BudgetGuard
from langchain_lean.messages import last_human_index

_KEY = "lean_run"


class RunState(AgentState[Any]):
    """What a middleware that counts adds to an agent's state.

    Attributes:
        lean_run: Names the run that calls count to, which a resume goes on with.
    """

    lean_run: NotRequired[Annotated[str, PrivateStateAttr]]


class CountingMiddleware(AgentMiddleware[RunState, Any, Any]):
    """A middleware that counts the calls of each input of an agent together."""

    state_schema = RunState

    def before_agent(self, state: RunState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Begin to count anew; a run that goes on does not come here."""
        return {_KEY: uuid4().hex}


def counted(
    guard: BudgetGuard, state: Mapping[str, Any]
) -> AbstractContextManager[None]:
    """Say to which run the model calls of an agent count.

    A guard among the callbacks sees that by itself, and inside of a tool it is told.

    Args:
        guard: Who counts.
        state: The agent's state.

    Returns:
        In what to make the call.
    """
    if guard.watches(ensure_config()):
        return nullcontext()
    return guard.counting(_run(state, ensure_config()))


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
    run = guard.counted_run
    if run is None and guard.watches(config):
        return nullcontext()
    guard.watch(config)
    run_id = _run(state, config) if run is None else run.id
    return guard.counting(run_id, nested=True)


def _run(state: Mapping[str, Any], config: RunnableConfig) -> str:
    """The run of the newest input.

    Where the agent did not begin at its beginning, such as after `update_state`, that
    is the thread, or else the question.
    """
    known: str | None = state.get(_KEY)
    thread: str | None = (config.get("configurable") or {}).get("thread_id")
    if known or thread:
        return known or str(thread)
    messages = state.get("messages") or []
    asked = last_human_index(messages)
    return (messages[asked].id if asked >= 0 else None) or uuid4().hex
