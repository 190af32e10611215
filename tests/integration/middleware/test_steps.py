"""A cap on the steps of an agent, of its tools and of its sub-agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain.agents.middleware import (
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
)
from langchain_core.callbacks import CallbackManager
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from langchain_lean import Budget, BudgetExceededError, BudgetGuard, TokenLedger
from langchain_lean.middleware import (
    BudgetMiddleware,
    EscalationMiddleware,
    StepCapMiddleware,
    lean_middleware,
)
from langchain_lean.routing.steps import StepCap
from tests.integration.middleware.agents import (
    STRONG,
    Run,
    agent_of,
    answer,
    asked,
    both,
    calling,
    every_way,
    model_tool,
    noted,
    on_thread,
    restless,
    scripted,
    search,
    sub_agent,
    thread,
)
from tests.unit.routing.ladders import BAD, router

GAVE_UP = "I could not find it."
watched = pytest.mark.parametrize("watched", [False, True])


class Answer(BaseModel):
    """An answer."""

    place: str


@tool
def ask_user(query: str) -> str:
    """Ask the user."""
    return str(interrupt(query))


def capped(max_calls: int, **options: Any) -> StepCapMiddleware:
    return StepCapMiddleware(StepCap(max_calls, **options))


def config(middleware: StepCapMiddleware, watched: bool, **more: Any) -> Any:
    return {"callbacks": [middleware.cap] if watched else [], **more}


class TestAnAgent:
    @every_way
    @watched
    async def test_it_makes_so_many_calls_and_one_last(
        self, run: Run, watched: bool
    ) -> None:
        model, cap = restless(), capped(4)
        state = await run(agent_of(model, cap), asked(), config(cap, watched))
        assert len(model.calls) == 5
        assert answer(state).content == GAVE_UP
        assert noted(answer(state)) == [("steps", "capped")]
        assert [noted(m) for m in state["messages"][:-1]] == [[]] * 9
        assert "tools" not in model.calls[-1].kwargs

    @every_way
    async def test_one_that_is_done_before_is_left_alone(self, run: Run) -> None:
        model = scripted(calling("search"), "There.")
        state = await run(agent_of(model, capped(2)), asked())
        assert answer(state).content == "There."
        assert [noted(message) for message in state["messages"]] == [[]] * 4

    @both
    async def test_one_that_goes_round_is_asked_to_answer(self, run: Run) -> None:
        model = scripted(*[calling("search")] * 3, "So it is not there.")
        state = await run(agent_of(model, capped(20)), asked())
        assert answer(state).content == "So it is not there."
        assert noted(answer(state)) == [("steps", "looped")]

    @both
    @watched
    async def test_each_input_begins_at_nothing(self, run: Run, watched: bool) -> None:
        model, cap = restless(), capped(2)
        agent = on_thread(model, cap)
        for made in (3, 6, 9):
            await run(agent, asked(), thread(**config(cap, watched)))
            assert len(model.calls) == made

    @both
    @watched
    async def test_a_run_that_was_interrupted_goes_on(
        self, run: Run, watched: bool
    ) -> None:
        model, cap = restless("ask_user"), capped(3)
        agent = on_thread(model, cap, tools=[ask_user])
        await run(agent, asked(), thread(**config(cap, watched)))
        for _ in range(3):
            resumed: Any = Command(resume="No.")
            state = await run(agent, resumed, thread(**config(cap, watched)))
        assert answer(state).content == GAVE_UP
        assert len(model.calls) == 4

    @both
    async def test_it_goes_on_in_another_process(
        self, run: Run, tmp_path: Path
    ) -> None:
        model, saver = restless("ask_user"), InMemorySaver()

        def agent() -> Any:
            cap = capped(3, store=f"sqlite:///{tmp_path}/steps.db")
            return agent_of(model, cap, tools=[ask_user], checkpointer=saver)

        await run(agent(), asked(), thread())
        for _ in range(3):
            state = await run(agent(), Command(resume="No."), thread())
        assert answer(state).content == GAVE_UP
        assert len(model.calls) == 4

    @both
    async def test_a_summary_on_the_way_is_no_new_input(self, run: Run) -> None:
        model = restless()
        summary = SummarizationMiddleware(
            scripted("Notes.", loop=True), trigger=("messages", 4), keep=("messages", 2)
        )
        await run(agent_of(model, summary, capped(8)), asked())
        assert len(model.calls) == 9

    @both
    async def test_an_answer_of_a_schema_is_refused(self, run: Run) -> None:
        agent = agent_of(restless(), capped(2), response_format=Answer)
        with pytest.raises(BudgetExceededError, match="2 calls per run"):
            await run(agent, asked())

    @both
    async def test_one_that_is_not_final_stops_with_a_text(self, run: Run) -> None:
        model = restless()
        cap = StepCapMiddleware(StepCap(2), final=False)
        state = await run(agent_of(model, cap), asked())
        assert noted(answer(state)) == [("steps", "stopped")]
        assert len(model.calls) == 2


class TestOthersAround:
    @both
    async def test_retries_are_steps(self, run: Run) -> None:
        model = scripted(*[ConnectionError("down")] * 3, GAVE_UP)
        retry = ModelRetryMiddleware(max_retries=9, initial_delay=0, jitter=False)
        middleware = lean_middleware(cap=StepCap(3), others=[retry])
        state = await run(agent_of(model, *middleware), asked())
        assert len(model.calls) == 4
        assert noted(answer(state)) == [("steps", "capped")]

    @both
    async def test_fallbacks_are_steps(self, run: Run) -> None:
        down, spare = scripted(ConnectionError("down"), loop=True), restless()
        fallback = ModelFallbackMiddleware(spare)
        middleware = lean_middleware(cap=StepCap(4), others=[fallback])
        state = await run(agent_of(down, *middleware), asked())
        assert (len(down.calls), len(spare.calls)) == (3, 2)
        assert noted(answer(state)) == [("steps", "stopped")]

    @both
    async def test_each_model_of_a_router_is_a_step(self, run: Run) -> None:
        strong = restless(name=STRONG)
        routed = EscalationMiddleware(router(BAD, strong))
        state = await run(agent_of(strong, routed, capped(3)), asked())
        assert len(strong.calls) == 3
        assert ("steps", "capped") in noted(answer(state))

    @both
    @watched
    async def test_a_budget_behind_it_counts_the_same_calls(
        self, run: Run, watched: bool
    ) -> None:
        model = restless()
        guard = BudgetGuard(Budget(calls=100, per="total"))
        middleware = lean_middleware(cap=StepCap(3), guard=guard)
        state = await run(
            agent_of(model, *middleware),
            asked(),
            {"callbacks": [middleware[0].cap, guard] if watched else []},  # type: ignore[attr-defined]
        )
        assert answer(state).content == GAVE_UP
        assert guard.status()[0].used == len(model.calls) == 4

    @both
    async def test_a_budget_behind_it_can_end_the_run_before(self, run: Run) -> None:
        model = restless()
        guard = BudgetGuard(Budget(calls=2, per="run"))
        middleware = lean_middleware(
            cap=StepCap(3), guard=BudgetMiddleware(guard, when_over=["raise"])
        )
        with pytest.raises(BudgetExceededError) as caught:
            await run(agent_of(model, *middleware), asked())
        assert caught.value.budget is guard.budgets[0]
        assert len(model.calls) == 2


class TestTools:
    @every_way
    @watched
    async def test_a_model_that_a_tool_calls_makes_steps(
        self, run: Run, watched: bool
    ) -> None:
        inner, model, cap = scripted("Hm.", loop=True), restless("think"), capped(4)
        agent = agent_of(model, cap, tools=[model_tool(inner)])
        state = await run(agent, asked(), config(cap, watched))
        assert len(model.calls) + len(inner.calls) == 5
        assert answer(state).content == GAVE_UP

    @both
    @watched
    async def test_one_that_is_refused_makes_a_result_of_the_tool(
        self, run: Run, watched: bool
    ) -> None:
        inner, model, cap = scripted("Hm.", loop=True), restless("think"), capped(3)
        agent = agent_of(model, cap, tools=[model_tool(inner)])
        state = await run(agent, asked(), config(cap, watched))
        refused = state["messages"][-2]
        assert refused.status == "error"
        assert noted(refused) == [("steps", "stopped")]
        assert (len(inner.calls), len(model.calls)) == (1, 3)

    @every_way
    @watched
    @pytest.mark.parametrize("own", [False, True])
    async def test_a_sub_agent_stops_and_the_outer_one_answers(
        self, run: Run, watched: bool, own: bool
    ) -> None:
        inner, model, cap = restless(), restless("delegate"), capped(6)
        sub = agent_of(inner, *([cap] if own else []))
        agent = agent_of(model, cap, tools=[sub_agent(sub)])
        state = await run(agent, asked(), config(cap, watched))
        assert (len(model.calls), len(inner.calls)) == (2, 5)
        assert "reached its cap" in str(state["messages"][-2].content)
        assert answer(state).content == GAVE_UP

    @every_way
    @watched
    @pytest.mark.parametrize("own", [False, True])
    async def test_sub_agents_at_the_same_time_share_the_cap(
        self, run: Run, watched: bool, own: bool
    ) -> None:
        inner, cap = restless(), capped(10)
        model = scripted(calling(*["delegate"] * 4), "So it is not there.")
        sub = agent_of(inner, *([cap] if own else []))
        agent = agent_of(model, cap, tools=[sub_agent(sub)])
        ledger = TokenLedger()
        await run(agent, asked(), {"callbacks": [ledger, *([cap.cap] * watched)]})
        assert (len(model.calls), len(inner.calls)) == (2, 9)
        assert sum(not entry.blocked for entry in ledger.entries()) == 11

    @both
    @watched
    async def test_what_the_tools_of_a_sub_agent_call_makes_steps(
        self, run: Run, watched: bool
    ) -> None:
        deep, inner = scripted("Hm.", loop=True), restless("think")
        model, cap = restless("delegate"), capped(6)
        sub = agent_of(inner, cap, tools=[model_tool(deep)])
        agent = agent_of(model, cap, tools=[sub_agent(sub)])
        await run(agent, asked(), config(cap, watched))
        made = [len(each.calls) for each in (model, inner, deep)]
        assert made == [2, 3, 2]

    @both
    async def test_a_sub_agent_with_callbacks_of_its_own_makes_steps(
        self, run: Run
    ) -> None:
        inner, model, cap = restless(), restless("delegate"), capped(6)
        delegate = sub_agent(agent_of(inner, cap), {"callbacks": CallbackManager([])})
        await run(agent_of(model, cap, tools=[delegate]), asked())
        assert (len(model.calls), len(inner.calls)) == (2, 5)

    @both
    async def test_a_sub_agent_may_have_a_cap_of_its_own(self, run: Run) -> None:
        inner = restless()
        sub = agent_of(inner, capped(2))
        model = scripted(calling("delegate"), calling("delegate", query="b"), "Done.")
        agent = agent_of(model, capped(100), tools=[sub_agent(sub), search])
        state = await run(agent, asked())
        assert answer(state).content == "Done."
        assert [m.content for m in state["messages"] if m.type == "tool"] == [
            GAVE_UP
        ] * 2
        assert len(inner.calls) == 6


class TestAnAgentThatDoesNotBeginAtItsBeginning:
    @both
    async def test_the_calls_of_its_thread_count_together(self, run: Run) -> None:
        model = restless()
        agent = on_thread(model, StepCapMiddleware(StepCap(3)))
        said = [HumanMessage("Look."), calling("search")]
        agent.update_state(thread(), {"messages": said}, as_node="model")
        await run(agent, None, thread())
        assert len(model.calls) == 4
