"""How middleware for agents is used, for mypy: never run."""

from typing import Any, assert_type

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRetryMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool

from langchain_lean import (
    BudgetGuard,
    EscalationRouter,
    SemanticCache,
    StepCap,
    SummaryMemory,
)
from langchain_lean.middleware import (
    BudgetMiddleware,
    EscalationMiddleware,
    LeanCacheMiddleware,
    PromptCacheMiddleware,
    StepCapMiddleware,
    SummaryMemoryMiddleware,
    WhenOver,
    lean_middleware,
)


def budgets(guard: BudgetGuard, haiku: BaseChatModel) -> None:
    when_over: list[WhenOver] = ["trim", "shorten", "downgrade", "finish", "drain"]
    BudgetMiddleware(guard, lite=haiku, when_over=when_over, exact=True)
    BudgetMiddleware(guard, when_over=("finish", "drain"))
    BudgetMiddleware(guard, when_over=["stop"])  # type: ignore[list-item]
    BudgetMiddleware("memory://")  # type: ignore[arg-type]


def one_by_one(
    sonnet: BaseChatModel,
    tools: list[BaseTool],
    *,
    guard: BudgetGuard,
    cap: StepCap,
    router: EscalationRouter,
    cache: SemanticCache,
    memory: SummaryMemory,
) -> None:
    create_agent(
        sonnet,
        tools,
        middleware=[
            SummaryMemoryMiddleware(memory),
            LeanCacheMiddleware(cache, identity="desk", tags=["prices"]),
            EscalationMiddleware(router),
            StepCapMiddleware(cap, final=True),
            ModelRetryMiddleware(),
            PromptCacheMiddleware(calls=200, thread_calls=4, lifetime="1h"),
            BudgetMiddleware(guard),
        ],
    )
    create_agent(sonnet, tools, middleware=[BudgetMiddleware(guard)])
    PromptCacheMiddleware(lifetime="1d")  # type: ignore[arg-type]


def together(
    sonnet: BaseChatModel,
    tools: list[BaseTool],
    *,
    guard: BudgetGuard,
    cap: StepCap,
    router: EscalationRouter,
    cache: SemanticCache,
    memory: SummaryMemory,
) -> None:
    middleware = lean_middleware(
        memory=memory,
        cache=LeanCacheMiddleware(cache),
        router=router,
        cap=cap,
        others=[ModelRetryMiddleware()],
        prompt_cache=PromptCacheMiddleware(),
        guard=BudgetMiddleware(guard, exact=True),
    )
    assert_type(middleware, list[AgentMiddleware[Any, Any, Any]])
    agent = create_agent(sonnet, tools, middleware=middleware)
    agent.invoke({"messages": [{"role": "user", "content": "Hi."}]})
    lean_middleware(cap=20)  # type: ignore[arg-type]
