"""What the middleware says of arguments that make no sense."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents.middleware import ModelRetryMiddleware

from langchain_lean import (
    Budget,
    BudgetGuard,
    EscalationRouter,
    SummaryMemory,
)
from langchain_lean.errors import ConfigurationError
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
from tests.integration.middleware.agents import agent_of, asked, scripted
from tests.unit.caching.caches import semantic
from tests.unit.routing.ladders import Bad

GUARD = BudgetGuard(Budget(calls=1, per="run"))
RETRIED: Any = scripted().with_retry()


def routed(*models: Any) -> EscalationMiddleware:
    named = dict(zip("abc", models, strict=False))
    return EscalationMiddleware(EscalationRouter(named, policy=Bad()))


def remembering(**options: Any) -> SummaryMemoryMiddleware:
    return SummaryMemoryMiddleware(
        SummaryMemory(scripted(), max_tokens=100, keep_tokens=10, **options)
    )


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a budget": (
        lambda: BudgetMiddleware(GUARD.budgets[0]),  # type: ignore[arg-type]
        "is for BudgetGuard, not",
    ),
    "a cap as guard": (lambda: BudgetMiddleware(StepCap(3)), "to StepCapMiddleware"),
    "a word as list": (
        lambda: BudgetMiddleware(GUARD, when_over="drain"),  # type: ignore[arg-type]
        "takes a list",
    ),
    "an unknown word": (
        lambda: BudgetMiddleware(GUARD, when_over=["stop"]),  # type: ignore[list-item]
        "drain, not 'stop'",
    ),
    "no lite": (
        lambda: BudgetMiddleware(GUARD, when_over=["downgrade"]),
        "give lite=",
    ),
    "a lite that retries": (
        lambda: BudgetMiddleware(GUARD, lite=RETRIED, when_over=["downgrade"]),
        "give ModelRetryMiddleware",
    ),
    "a guard as cap": (lambda: StepCapMiddleware(GUARD), "is for StepCap, not"),  # type: ignore[arg-type]
    "a final that is no truth": (
        lambda: StepCapMiddleware(StepCap(3), final="yes"),  # type: ignore[arg-type]
        "final= is True, False or None",
    ),
    "a model as router": (
        lambda: EscalationMiddleware(scripted()),  # type: ignore[arg-type]
        "is for EscalationRouter, not",
    ),
    "a router with budgets": (
        lambda: routed(scripted(), GUARD.model(scripted())),
        "a router of chat models",
    ),
    "a router that retries": (
        lambda: routed(scripted(), RETRIED),
        "give ModelRetryMiddleware",
    ),
    "a model as memory": (
        lambda: SummaryMemoryMiddleware(scripted()),  # type: ignore[arg-type]
        "is for SummaryMemory, not",
    ),
    "a memory of another key": (
        lambda: remembering(messages_key="chat"),
        "the usual keys",
    ),
    "a memory with another short key": (
        lambda: remembering(keep_history=True, short_key="brief"),
        "the usual keys",
    ),
    "embeddings as cache": (
        lambda: LeanCacheMiddleware("redis://"),  # type: ignore[arg-type]
        "is for SemanticCache, not",
    ),
    "an identity that is empty": (
        lambda: LeanCacheMiddleware(semantic(), identity=""),
        "identity=",
    ),
    "tags that are a word": (
        lambda: LeanCacheMiddleware(semantic(), tags="desk"),
        "a list of texts",
    ),
    "no calls": (lambda: PromptCacheMiddleware(calls=0), "calls"),
    "no calls of a thread": (
        lambda: PromptCacheMiddleware(thread_calls=0),
        "thread_calls",
    ),
    "an unknown lifetime": (
        lambda: PromptCacheMiddleware(lifetime="1d"),  # type: ignore[arg-type]
        "lifetime",
    ),
    "a volatile that is a text": (
        lambda: PromptCacheMiddleware(volatile="now"),  # type: ignore[arg-type]
        "volatile",
    ),
    "a counter that is none": (
        lambda: PromptCacheMiddleware(counter=len),  # type: ignore[arg-type]
        "counter=",
    ),
    "prices that are none": (
        lambda: PromptCacheMiddleware(prices={"gpt": 1}),  # type: ignore[arg-type]
        "prices=",
    ),
    "a stack of something else": (
        lambda: lean_middleware(prompt_cache=True),  # type: ignore[arg-type]
        "is for PromptCacheMiddleware, not bool",
    ),
    "others that are one": (
        lambda: lean_middleware(others=ModelRetryMiddleware()),  # type: ignore[arg-type]
        "in a list",
    ),
    "others that are none": (
        lambda: lean_middleware(others=[scripted()]),  # type: ignore[list-item]
        "is for AgentMiddleware, not",
    ),
}


@pytest.mark.parametrize(("make", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_argument_is_refused_in_one_sentence(
    make: Callable[[], Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        make()
    assert str(caught.value).count(". ") == 0


def test_an_agent_s_model_that_retries_is_refused() -> None:
    agent = agent_of(RETRIED, BudgetMiddleware(GUARD), tools=[])
    with pytest.raises(ConfigurationError, match="give ModelRetryMiddleware"):
        agent.invoke(asked())


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['langchain'] = None; import langchain_lean.middleware"
    )
    done = subprocess.run(
        [sys.executable, "-c", code.format("langchain_lean.middleware")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'langchain-lean-ai[agents]'" in done.stderr
