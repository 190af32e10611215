"""Budgets in an agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import ToolMessage
from langchain_core.runnables import Runnable
from langgraph.errors import GraphDrained
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import get_runtime
from langgraph.types import Command

from langchain_lean.budgets.errors import BudgetExceededError
from langchain_lean.budgets.fitting import ACTIONS, Action
from langchain_lean.budgets.guard import BudgetGuard
from langchain_lean.budgets.model import BudgetedModel, check_actions
from langchain_lean.errors import ConfigurationError
from langchain_lean.middleware.handled import (
    AsyncHandler,
    Call,
    Handler,
    asked_model,
    checked_part,
)
from langchain_lean.middleware.runs import (
    CountingMiddleware,
    counted,
    counted_in_tool,
)
from langchain_lean.routing.steps import StepCap

_DRAIN = "drain"

WhenOver = Action | Literal["drain"]
"""What to do with a call that does not fit."""


class BudgetMiddleware(CountingMiddleware):
    """Keeps an agent's model calls within budgets.

    Give it last, so that it is the innermost and sees every retry and fallback of the
    others. What tools call is kept within the budgets, too, and raises where it does
    not fit. The guard needs no place among the callbacks; where it has one, nothing is
    counted twice, and what other levers call for themselves, such as summaries and
    grades, is within the budgets, too.

    Args:
        guard: The budgets.
        lite: The model to ask instead where `when_over` says `downgrade`; of the same
            provider where `PromptCacheMiddleware` marks prompts.
        when_over: What to do with a call that does not fit, in the order to try it: the
            words of `guard.model`, and at last `drain`, which ends the run with
            LangGraph's `GraphDrained` in place of an error: its checkpoint is kept, and
            `agent.invoke(None, config)` goes on when there is budget again. Where
            nothing helps, `BudgetExceededError` is raised: against a budget of calls
            `drain` alone does. With a `response_format` there is no `finish`.
        exact: Cap answers at what is reserved for them, so that no budget is passed.

    Raises:
        ConfigurationError: If something of this makes no sense.

    Example:
        ```python
        guard = BudgetGuard(Budget(usd="1.00", per="day", by="user_id"))
        agent = create_agent(model, tools, middleware=[BudgetMiddleware(guard)])
        ```
    """

    def __init__(
        self,
        guard: BudgetGuard,
        *,
        lite: Runnable[Any, Any] | None = None,
        when_over: Sequence[WhenOver] = ("finish",),
        exact: bool = False,
    ) -> None:
        self.guard = checked_part("BudgetMiddleware", guard, BudgetGuard)
        if isinstance(guard, StepCap):
            msg = "Give a StepCap to StepCapMiddleware."
            raise ConfigurationError(msg)
        check_actions(when_over, lite, (*ACTIONS, _DRAIN))
        if lite is not None:
            asked_model(lite)
        self.lite = lite
        self.when_over = tuple(when_over)
        self.exact = exact

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Handler
    ) -> ModelResponse[Any]:
        """Ask the model within the budgets."""
        call = Call(request, handler)
        with self._draining(), counted(self.guard, request.state):
            answer = self._model(call).invoke(call.messages)
        return call.respond(answer)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: AsyncHandler
    ) -> ModelResponse[Any]:
        """`wrap_model_call` for asyncio."""
        call = Call(request, handler)
        with self._draining(), counted(self.guard, request.state):
            answer = await self._model(call).ainvoke(call.messages)
        return call.respond(answer)

    def wrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]],
    ) -> ToolMessage | Command[Any]:
        """Keep what a tool calls within the budgets."""
        config = request.runtime.config
        with self._draining(), counted_in_tool(self.guard, request.state, config):
            return handler(request)

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """`wrap_tool_call` for asyncio."""
        config = request.runtime.config
        with self._draining(), counted_in_tool(self.guard, request.state, config):
            return await handler(request)

    def _model(self, call: Call) -> BudgetedModel:
        actions: Any = [action for action in self.when_over if action != _DRAIN]
        lite = None if self.lite is None else call.on(self.lite)
        model = self.guard.model(
            call.model, lite=lite, when_over=actions, exact=self.exact
        )
        return model if call.request.response_format is None else model.without_finish()

    @contextmanager
    def _draining(self) -> Iterator[None]:
        """End the run in a way that can be gone on with, where that is wanted.

        Raises:
            GraphDrained: In place of a refusal.
        """
        try:
            yield
        except BudgetExceededError as error:
            control = get_runtime().control
            own = any(error.budget is budget for budget in self.guard.budgets)
            if _DRAIN not in self.when_over or not own or control is None:
                raise
            control.request_drain(str(error))  # for branches at the same time
            raise GraphDrained(str(error)) from error
