"""All levers of an agent, in the order in which they work together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from langchain.agents.middleware.types import AgentMiddleware

from langchain_lean.budgets.guard import BudgetGuard
from langchain_lean.caching.cache import SemanticCache
from langchain_lean.context.memory import SummaryMemory
from langchain_lean.errors import ConfigurationError
from langchain_lean.middleware.budget import BudgetMiddleware
from langchain_lean.middleware.cache import LeanCacheMiddleware
from langchain_lean.middleware.escalation import EscalationMiddleware
from langchain_lean.middleware.handled import checked_part
from langchain_lean.middleware.memory import SummaryMemoryMiddleware
from langchain_lean.middleware.prefix import PromptCacheMiddleware
from langchain_lean.middleware.steps import StepCapMiddleware
from langchain_lean.routing.router import EscalationRouter
from langchain_lean.routing.steps import StepCap

_Middleware = AgentMiddleware[Any, Any, Any]
_Part = TypeVar("_Part")


def lean_middleware(
    *,
    memory: SummaryMemory | SummaryMemoryMiddleware | None = None,
    others: Sequence[_Middleware] = (),
    cache: SemanticCache | LeanCacheMiddleware | None = None,
    router: EscalationRouter | EscalationMiddleware | None = None,
    cap: StepCap | StepCapMiddleware | None = None,
    prompt_cache: PromptCacheMiddleware | None = None,
    guard: BudgetGuard | BudgetMiddleware | None = None,
) -> list[_Middleware]:
    """The levers that are given, in the order for `create_agent(middleware=...)`.

    The memory shortens what all others look at. Retries and fallbacks stand around the
    rest, so that the cache never keeps what stands in for an answer, and each of their
    calls is counted, marked for the provider's cache and within the budgets. What the
    cache has costs nothing else. The router asks its models, and each call is a step of
    the cap.

    Args:
        memory: A part, or its middleware with options.
        others: Middleware of others that asks again, such as `ModelRetryMiddleware` or
            `ModelFallbackMiddleware` (which changes nothing where a router answers).
        cache: As `memory`.
        router: The same; a cache that is given as a part tells its models apart.
        cap: The same.
        prompt_cache: Marks prompts for the provider's cache.
        guard: A part, or its middleware with options.

    Raises:
        ConfigurationError: If one of them is something else.
    """
    steered = router.router if isinstance(router, EscalationMiddleware) else router

    def caching(part: Any) -> LeanCacheMiddleware:
        name = getattr(steered, "identity", None)
        return LeanCacheMiddleware(part, identity=name)

    def marking(part: Any) -> PromptCacheMiddleware:
        return checked_part("prompt_cache=", part, PromptCacheMiddleware)

    if not isinstance(others, Sequence):
        msg = f"Give lean_middleware others= in a list, not {type(others).__name__}."
        raise ConfigurationError(msg)
    return [
        *_made(memory, SummaryMemoryMiddleware, SummaryMemoryMiddleware),
        *(checked_part("others=", other, AgentMiddleware) for other in others),
        *_made(cache, LeanCacheMiddleware, caching),
        *_made(router, EscalationMiddleware, EscalationMiddleware),
        *_made(cap, StepCapMiddleware, StepCapMiddleware),
        *_made(prompt_cache, PromptCacheMiddleware, marking),
        *_made(guard, BudgetMiddleware, BudgetMiddleware),
    ]


def _made(
    given: Any, kind: type[_Middleware], make: Callable[[Any], _Middleware]
) -> list[_Middleware]:
    """The middleware of a part, if one is given."""
    if given is None:
        return []
    return [given if isinstance(given, kind) else make(given)]
