"""A cap on the steps of an agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from langchain_lean.budgets.model import BudgetedModel
from langchain_lean.middleware.handled import (
    AsyncHandler,
    Call,
    Handler,
    checked_part,
)
from langchain_lean.middleware.runs import (
    CountingMiddleware,
    counted,
    counted_in_tool,
)
from langchain_lean.routing.stepping.model import checked_final
from langchain_lean.routing.steps import StepCap


class StepCapMiddleware(CountingMiddleware):
    """Caps the model calls an agent makes for one input.

    At the cap the agent gives one last answer without tools. Calls of tools and of
    sub-agents count, also those of sub-agents that have this middleware with the same
    cap; in them the cap makes a result of the tool. Each new input begins at 0, and a
    resume goes on. The cap needs no place among the callbacks; where it has one, it
    also counts what an outer graph calls. With a `response_format` there is no last
    answer in words: the cap raises `BudgetExceededError`. For `cap.status(run_id=...)`
    and `cap.reset(run_id=...)` a run's name stands in the state under `lean_run`.

    Args:
        cap: The cap.
        final: As for `cap.model`.

    Raises:
        ConfigurationError: If something of this makes no sense.

    Example:
        ```python
        middleware = [StepCapMiddleware(StepCap(max_calls=20))]
        agent = create_agent(model, tools, middleware=middleware)
        ```
    """

    def __init__(self, cap: StepCap, *, final: bool | None = None) -> None:
        self.cap = checked_part("StepCapMiddleware", cap, StepCap)
        self.final = checked_final(final)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Handler
    ) -> ModelResponse[Any]:
        """Take a step, or give the last answer."""
        call = Call(request, handler)
        with counted(self.cap, request.state):
            answer = self._model(call).invoke(call.messages)
        return call.respond(answer)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: AsyncHandler
    ) -> ModelResponse[Any]:
        """`wrap_model_call` for asyncio."""
        call = Call(request, handler)
        with counted(self.cap, request.state):
            answer = await self._model(call).ainvoke(call.messages)
        return call.respond(answer)

    def wrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]],
    ) -> ToolMessage | Command[Any]:
        """Count what a tool calls, and make its result of a refusal."""
        with counted_in_tool(self.cap, request.state, request.runtime.config):
            return self.cap.wrap_tool_call(request, handler)

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """`wrap_tool_call` for asyncio."""
        with counted_in_tool(self.cap, request.state, request.runtime.config):
            return await self.cap.awrap_tool_call(request, handler)

    def _model(self, call: Call) -> BudgetedModel:
        model = self.cap.model(call.model, final=self.final)
        return model if call.request.response_format is None else model.without_finish()
