"""A summarizing memory in an agent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NotRequired

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ModelRequest,
    ModelResponse,
)
from langchain_core.messages import AnyMessage
from langgraph.runtime import Runtime

from langchain_lean.context.history.summary import Summary
from langchain_lean.context.memory import SummaryMemory
from langchain_lean.errors import ConfigurationError
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
        short = state.get("short_messages")
        if short is None:  # the agent did not begin at its beginning
            return request
        return request.override(
            messages=_shortened(short, state["messages"], request.messages)
        )


def _shortened(
    short: Sequence[AnyMessage],
    whole: Sequence[AnyMessage],
    sent: Sequence[AnyMessage],
) -> list[AnyMessage]:
    """What is sent, without what has left the conversation, and with its notes.

    Args:
        short: The short conversation.
        whole: The whole one.
        sent: The whole one as it is to be sent, with what others changed in it or put
            into it.
    """
    known = {message.id for message in whole}
    notes = [message for message in short if Summary.of(message)]
    stays = {message.id for message in short if message not in notes}
    kept = [m for m in sent if m.id in stays or m.id not in known]
    ahead = {message.id for message in takewhile(lambda m: m not in notes, short)}
    head = [*takewhile(lambda message: message.id in ahead, kept)] if notes else []
    return [*head, *notes, *kept[len(head) :]]
