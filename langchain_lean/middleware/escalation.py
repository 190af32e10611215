"""Cheap-first routing in an agent."""

from __future__ import annotations

from typing import Any

from langchain.agents.middleware.types import (
    AgentMiddleware,
    ModelRequest,
    ModelResponse,
)

from langchain_lean.budgets.model import BudgetedModel
from langchain_lean.errors import ConfigurationError
from langchain_lean.middleware.handled import (
    AsyncHandler,
    Call,
    Handler,
    asked_model,
    checked_part,
)
from langchain_lean.routing.router import EscalationRouter


class EscalationMiddleware(AgentMiddleware[Any, Any, Any]):
    """Has an agent ask a cheap model first, and a stronger one when it must.

    The models of the router answer, not the agent's own; give the agent the strongest.
    Tool calls are not judged, and the model that took a step goes on with the turn.
    Where an answer calls for a stronger model nobody sees it; with
    `stream_mode="messages"` an accepted one is shown token by token. Answers of a
    `ToolStrategy` are tool calls, and so not judged.

    Args:
        router: The models, cheapest first, and the policy. Budgets have a middleware
            of their own.

    Raises:
        ConfigurationError: If it is no router, or one around `guard.model(...)`.

    Example:
        ```python
        router = EscalationRouter(
            {"haiku": haiku, "sonnet": sonnet}, policy=SelfScreen()
        )
        agent = create_agent(sonnet, tools, middleware=[EscalationMiddleware(router)])
        ```
    """

    def __init__(self, router: EscalationRouter) -> None:
        checked_part("EscalationMiddleware", router, EscalationRouter)
        if any(isinstance(m, BudgetedModel) for m in router.models.values()):
            msg = (
                "Give EscalationMiddleware a router of chat models, and the budgets or "
                "the cap to a middleware of their own behind it."
            )
            raise ConfigurationError(msg)
        for model in router.models.values():
            asked_model(model)
        self.router = router

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Handler
    ) -> ModelResponse[Any]:
        """Ask the models of the router, one after the other."""
        call = Call(request, handler)
        return call.respond(self.router.through(call.on).invoke(call.messages))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: AsyncHandler
    ) -> ModelResponse[Any]:
        """`wrap_model_call` for asyncio."""
        call = Call(request, handler)
        return call.respond(await self.router.through(call.on).ainvoke(call.messages))
