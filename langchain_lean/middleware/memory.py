"""A summarizing memory in an agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ModelRequest,
    ModelResponse,
)
from langchain_core.messages import AnyMessage, ToolMessage
from langgraph.runtime import Runtime

from langchain_lean.context.memory import SummaryMemory
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import call_ids
from langchain_lean.middleware.handled import AsyncHandler, Handler, checked_part


class MemoryState(AgentState[Any]):
    """What the memory adds to an agent's state where it keeps the history.

    Attributes:
        short_messages: What is sent instead of `messages`.
    """

    short_messages: NotRequired[list[AnyMessage]]


class SummaryMemoryMiddleware(AgentMiddleware[MemoryState, Any, Any]):
    """Keeps an agent's conversation short, before each of its model calls.

    What leaves the conversation leaves the agent's state, unless the memory was made
    with `keep_history=True`: then `messages` stays whole and the short conversation
    stands in `short_messages`. What the agent's provider reports of the last call
    counts its system prompt and tools; before the first one, only those count that are
    bound to the memory's `answer_model`.

    Args:
        memory: The memory, for `messages`.

    Raises:
        ConfigurationError: If it is no memory, or one for other keys of the state.

    Example:
        ```python
        memory = SummaryMemory(haiku, answer_model=sonnet)
        agent = create_agent(
            sonnet, tools, middleware=[SummaryMemoryMiddleware(memory)]
        )
        ```
    """

    state_schema = MemoryState

    def __init__(self, memory: SummaryMemory) -> None:
        self.memory = checked_part("SummaryMemoryMiddleware", memory, SummaryMemory)
        if memory.keys != ("messages", "short_messages"):
            msg = "Give SummaryMemoryMiddleware a memory with the usual keys."
            raise ConfigurationError(msg)

    def before_model(
        self, state: MemoryState, runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        """Shorten what has grown too long."""
        update: dict[str, Any] = self.memory.invoke(state)
        return update or None

    async def abefore_model(
        self, state: MemoryState, runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        """`before_model` for asyncio."""
        update: dict[str, Any] = await self.memory.ainvoke(state)
        return update or None

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Handler
    ) -> ModelResponse[Any]:
        """Send the short conversation, where the history stays."""
        return handler(self._request(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: AsyncHandler
    ) -> ModelResponse[Any]:
        """`wrap_model_call` for asyncio."""
        return await handler(self._request(request))

    def _request(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        if not self.memory.keeps_history:
            return request
        state: Any = request.state
        short = _answered(state["short_messages"], request.messages)
        return request.override(messages=short)


def _answered(
    short: Sequence[AnyMessage], messages: Sequence[AnyMessage]
) -> list[AnyMessage]:
    """The short conversation, with the errors an agent puts behind unreadable calls.

    Args:
        short: What is to be sent.
        messages: The whole history, in which the errors have no id yet.
    """
    errors = {
        message.tool_call_id: message
        for message in messages
        if isinstance(message, ToolMessage) and message.id is None
    }
    found: list[AnyMessage] = []
    for message in short:
        found.append(message)
        found.extend(errors[i] for i in call_ids(message) if i in errors)
    return found
