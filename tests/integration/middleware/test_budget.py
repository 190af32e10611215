"""Budgets in an agent: what is done with calls that do not fit, and what counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain_core.messages import AIMessage
from pydantic import BaseModel, Field

from langchain_lean import Budget, BudgetExceededError, BudgetGuard, TokenLedger
from langchain_lean.budgets.finish import INSTRUCTION
from langchain_lean.middleware import BudgetMiddleware, EscalationMiddleware
from tests.integration.middleware.agents import (
    STRONG,
    Run,
    agent_of,
    answer,
    asked,
    both,
    calling,
    every_way,
    noted,
    on_thread,
    restless,
    scripted,
    thread,
    used,
)
from tests.unit.routing.ladders import BAD, router

LONG = "Monday is when it comes. " * 40


class Answer(BaseModel):
    """An answer."""

    place: str


def of_tokens(tokens: int, **options: Any) -> BudgetGuard:
    return BudgetGuard(Budget(tokens=tokens, per="total"), **options)


def of_calls(calls: int, per: Any = "run", **options: Any) -> BudgetGuard:
    return BudgetGuard(Budget(calls=calls, per=per), **options)


def retrying(**options: Any) -> ModelRetryMiddleware:
    return ModelRetryMiddleware(max_retries=5, initial_delay=0, jitter=False, **options)


def lean(state: dict[str, Any]) -> list[tuple[str, str]]:
    return noted(answer(state))


class TestACallThatDoesNotFit:
    @every_way
    async def test_an_agent_finishes_by_default(self, run: Run) -> None:
        def told(messages: Sequence[Any]) -> AIMessage:
            done = messages[-1].content == INSTRUCTION
            return AIMessage("As far as I know.") if done else calling("search")

        model = scripted(told, loop=True)
        ledger = TokenLedger()
        agent = agent_of(model, BudgetMiddleware(of_tokens(4_000)))
        state = await run(agent, asked(), {"callbacks": [ledger]})
        assert answer(state).content == "As far as I know."
        assert lean(state) == [("budget", "finish")]
        assert "tools" not in model.calls[-1].kwargs
        assert all("tools" in call.kwargs for call in model.calls[:-1])
        assert ledger.totals().usage.total <= 4_000

    @both
    async def test_old_turns_are_left_out(self, run: Run) -> None:
        model = scripted("Fine.", loop=True)
        guard = BudgetGuard(Budget(input_tokens=900, per="call"))
        agent = on_thread(model, BudgetMiddleware(guard, when_over=["trim"]), tools=[])
        for number in range(4):
            state = await run(agent, asked(f"{number} {LONG}"), thread())
        assert lean(state) == [("budget", "trim")]
        assert len(state["messages"]) == 8  # only what is sent is shorter
        assert len(model.calls[-1].messages) < 7

    @both
    async def test_the_answer_is_made_shorter(self, run: Run) -> None:
        model = scripted(LONG)
        agent = agent_of(
            model, BudgetMiddleware(of_tokens(150), when_over=["shorten"]), tools=[]
        )
        state = await run(agent, asked())
        assert ("budget", "shorten") in lean(state)
        assert answer(state).response_metadata["finish_reason"] == "length"

    @both
    async def test_a_cheaper_model_takes_over_with_the_tools(self, run: Run) -> None:
        strong, lite = scripted(name=STRONG), scripted(calling("search"), "There.")
        guard = BudgetGuard(Budget(usd="0.01", per="total"))
        agent = agent_of(
            strong, BudgetMiddleware(guard, lite=lite, when_over=["downgrade"])
        )
        state = await run(agent, asked())
        assert answer(state).content == "There."
        assert lean(state) == [("budget", "downgrade")]
        assert (len(strong.calls), len(lite.calls)) == (0, 2)
        assert all("tools" in call.kwargs for call in lite.calls)

    @both
    async def test_exact_answers_never_pass_the_budget(self, run: Run) -> None:
        overshoots = []
        for exact in (False, True):
            guard = of_tokens(1_100)
            middleware = BudgetMiddleware(guard, exact=exact)
            await run(agent_of(scripted(LONG * 10), middleware, tools=[]), asked())
            overshoots.append(guard.status()[0].overshoot)
        assert overshoots[0] > 0
        assert overshoots[1] == 0

    @every_way
    async def test_it_is_refused_where_nothing_is_to_be_done(self, run: Run) -> None:
        ledger = TokenLedger()
        guard = of_calls(2)
        model = restless()
        agent = agent_of(model, BudgetMiddleware(guard, when_over=["raise"]))
        with pytest.raises(BudgetExceededError, match="2 calls per run"):
            await run(agent, asked(), {"callbacks": [ledger]})
        assert len(model.calls) == 2
        *made, refused = ledger.entries()
        assert [entry.blocked for entry in made] == [False, False]
        assert refused.blocked
        assert refused.node == "model"

    @both
    async def test_an_answer_of_a_schema_is_refused_and_never_put_in_words(
        self, run: Run
    ) -> None:
        model = scripted(calling("search"), loop=True)
        middleware = BudgetMiddleware(of_tokens(4_000))
        agent = agent_of(model, middleware, response_format=Answer)
        with pytest.raises(BudgetExceededError):
            await run(agent, asked())
        assert all(call.kwargs["tools"] for call in model.calls)

    @both
    async def test_a_long_schema_counts_before_the_call(self, run: Run) -> None:
        class Long(BaseModel):
            place: str = Field(description="Where it is. " * 2_000)

        model = scripted(loop=True)
        guard = BudgetGuard(Budget(input_tokens=2_000, per="call"))
        agent = agent_of(model, BudgetMiddleware(guard), response_format=Long)
        with pytest.raises(BudgetExceededError):
            await run(agent, asked())
        assert model.calls == []

    @both
    async def test_a_router_around_it_keeps_the_cheaper_answer(self, run: Run) -> None:
        strong = scripted(name=STRONG)
        guard = BudgetGuard(Budget(usd="0.01", per="total"))
        routed = router(BAD, strong)
        agent = agent_of(
            strong,
            EscalationMiddleware(routed),
            BudgetMiddleware(guard, when_over=["raise"]),
            tools=[],
        )
        state = await run(agent, asked())
        assert answer(state).content == BAD
        assert lean(state) == [("routing", "kept")]
        assert strong.calls == []


class TestRetriesAndFallbacks:
    @both
    async def test_each_retry_is_reserved(self, run: Run) -> None:
        guard = of_calls(100, per="total")
        held: list[Any] = []

        def fails(messages: Sequence[Any]) -> AIMessage:
            held.append(guard.status()[0].held)
            raise ConnectionError("down")

        agent = agent_of(
            scripted(fails, loop=True), retrying(), BudgetMiddleware(guard)
        )
        await run(agent, asked())
        assert held == [1] * 6
        assert guard.status()[0].held == 0

    @both
    async def test_a_refusal_is_not_retried(self, run: Run) -> None:
        model = restless()
        guard = of_calls(1)
        middleware = BudgetMiddleware(guard, when_over=["raise"])
        ledger = TokenLedger()
        with pytest.raises(BudgetExceededError):
            await run(
                agent_of(model, retrying(), middleware),
                asked(),
                {"callbacks": [ledger]},
            )
        assert [entry.blocked for entry in ledger.entries()] == [False, True]

    @both
    async def test_a_fallback_is_within_the_budget(self, run: Run) -> None:
        down, spare = scripted(ConnectionError("down"), loop=True), restless()
        guard = of_calls(3)
        agent = agent_of(
            down,
            ModelFallbackMiddleware(spare),
            BudgetMiddleware(guard, when_over=["raise"]),
        )
        with pytest.raises(BudgetExceededError):
            await run(agent, asked())
        assert len(spare.calls) == 3

    @both
    async def test_a_model_with_fallbacks_of_its_own_keeps_them(self, run: Run) -> None:
        model = scripted(ConnectionError("down")).with_fallbacks([scripted("Spare.")])
        guard = of_calls(3, per="total")
        state = await run(agent_of(model, BudgetMiddleware(guard)), asked())
        assert answer(state).content == "Spare."
        assert used(guard) == 1

    @both
    async def test_models_that_are_asked_in_one_step_count_to_one_run(
        self, run: Run
    ) -> None:
        strong = scripted("Because.", name=STRONG)
        guard = of_calls(1)
        agent = agent_of(
            strong,
            EscalationMiddleware(router(BAD, strong)),
            BudgetMiddleware(guard, when_over=["raise"]),
            tools=[],
        )
        state = await run(agent, asked())
        assert lean(state) == [("routing", "kept")]
        assert strong.calls == []
