"""The middleware one by one and all together, with limits that nothing reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from langchain.agents.middleware import AgentMiddleware

from langchain_lean import Budget, BudgetGuard, EscalationRouter, SummaryMemory
from langchain_lean.middleware import (
    BudgetMiddleware,
    EscalationMiddleware,
    LeanCacheMiddleware,
    PromptCacheMiddleware,
    StepCapMiddleware,
    SummaryMemoryMiddleware,
    lean_middleware,
)
from langchain_lean.routing.steps import StepCap
from tests.integration.middleware.agents import STRONG, scripted
from tests.unit.caching.caches import semantic
from tests.unit.routing.ladders import Bad

Middleware = list[AgentMiddleware[Any, Any, Any]]


def guard(**options: Any) -> BudgetGuard:
    budgets = [Budget(usd="100", per="day"), Budget(calls=1_000, per="run")]
    return BudgetGuard(*budgets, **options)


def router(model: Any) -> EscalationRouter:
    """The model answers; another one would only where it says that it is bad."""
    models = {"cheap": model, "strong": scripted(name=STRONG)}
    return EscalationRouter(models, policy=Bad())


def memory(**options: Any) -> SummaryMemory:
    limits = {"max_tokens": 1_000_000, "keep_tokens": 500_000}
    return SummaryMemory(scripted(), **{**limits, **options})


def all_of(model: Any, *others: Any, **parts: Any) -> Middleware:
    """The whole stack around a model."""
    given: dict[str, Any] = {
        "memory": memory(),
        "cache": semantic(),
        "router": router(model),
        "cap": StepCap(1_000),
        "prompt_cache": PromptCacheMiddleware(),
        "guard": guard(),
        "others": others,
    }
    return lean_middleware(**{**given, **parts})


def a_budget(model: Any) -> Middleware:
    return [BudgetMiddleware(guard())]


def a_cap(model: Any) -> Middleware:
    return [StepCapMiddleware(StepCap(1_000))]


def a_router(model: Any) -> Middleware:
    return [EscalationMiddleware(router(model))]


def a_memory(model: Any) -> Middleware:
    return [SummaryMemoryMiddleware(memory())]


def a_history(model: Any) -> Middleware:
    return [SummaryMemoryMiddleware(memory(keep_history=True))]


def a_cache(model: Any) -> Middleware:
    return [LeanCacheMiddleware(semantic())]


def marks(model: Any) -> Middleware:
    return [PromptCacheMiddleware()]


STACKS: Mapping[str, Callable[[Any], Middleware]] = {
    "budget": a_budget,
    "cap": a_cap,
    "router": a_router,
    "memory": a_memory,
    "history": a_history,
    "cache": a_cache,
    "marks": marks,
    "all": all_of,
}

each_stack = pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS.keys())
