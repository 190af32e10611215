"""Nodes and edges of a graph, as functions of its state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.config import ensure_config


class Node(Runnable[Any, Any]):
    """Two functions of a state, called as they are, whose second argument is `config`.

    LangGraph begins a run for each node; a `RunnableLambda` would begin another one
    inside of it, and a plain function one for each edge, of which every callback of the
    graph would be told.

    Args:
        run: Takes the state and the configuration.
        arun: The same for asyncio; None where `run` waits for nothing.
        name: What it is called.
    """

    def __init__(
        self,
        run: Callable[[Any, RunnableConfig], Any],
        arun: Callable[[Any, RunnableConfig], Awaitable[Any]] | None = None,
        *,
        name: str,
    ) -> None:
        self._run = run
        self._arun = arun
        self.name = name

    def invoke(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call the function."""
        config = ensure_config(config)
        if _in_a_run(config):
            return self._run(input, config)
        return RunnableLambda(self._run, name=self.name).invoke(input, config)

    async def ainvoke(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """`invoke` for asyncio."""
        config = ensure_config(config)
        if self._arun is None:
            return self._run(input, config)
        if _in_a_run(config):
            return await self._arun(input, config)
        alone = RunnableLambda(self._run, self._arun, name=self.name)
        return await alone.ainvoke(input, config)


def _in_a_run(config: RunnableConfig) -> bool:
    """Whether a configuration is of a run, such as a node's; alone, it begins one."""
    return isinstance(config.get("callbacks"), BaseCallbackManager)


def edge(choose: Callable[[Any], str | list[str]]) -> Node:
    """A conditional edge.

    Args:
        choose: Says of a state what comes next.
    """
    return Node(lambda state, _: choose(state), name=choose.__name__)
