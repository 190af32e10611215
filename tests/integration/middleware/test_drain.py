"""An agent over budget that stops in a way that can be gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain.agents.middleware import ModelRetryMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphDrained
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    StepCap,
    TokenLedger,
)
from langchain_lean.middleware import BudgetMiddleware, lean_middleware
from tests.integration.middleware.agents import (
    Run,
    agent_of,
    answer,
    asked,
    both,
    calling,
    every_way,
    model_tool,
    on_thread,
    restless,
    scripted,
    search,
    sub_agent,
    thread,
    used,
)


def of_calls(calls: int, per: Any = "thread", **options: Any) -> BudgetGuard:
    return BudgetGuard(Budget(calls=calls, per=per), **options)


def draining(guard: BudgetGuard, *before: Any) -> BudgetMiddleware:
    return BudgetMiddleware(guard, when_over=[*before, "drain"])


def steps(count: int) -> list[Any]:
    return [*(calling("search", query=f"{n}") for n in range(count)), "There."]


class TestOverBudget:
    @every_way
    async def test_a_long_run_rests_and_goes_on_after_a_reset(self, run: Run) -> None:
        model, guard = scripted(*steps(4)), of_calls(2)
        agent = on_thread(model, draining(guard))
        with pytest.raises(GraphDrained, match="2 calls per thread"):
            await run(agent, asked(), thread())
        assert agent.get_state(thread()).next == ("model",)
        guard.reset(thread_id="t")
        with pytest.raises(GraphDrained):
            await run(agent, None, thread())
        guard.reset(thread_id="t")
        state = await run(agent, None, thread())
        assert answer(state).content == "There."
        assert len(state["messages"]) == 10
        assert len(model.calls) == 5

    @both
    async def test_it_goes_on_under_a_higher_limit_in_another_process(
        self, run: Run, tmp_path: Path
    ) -> None:
        model, saver = scripted(*steps(3)), InMemorySaver()
        store = f"sqlite:///{tmp_path}/quota.db"

        def agent(limit: int) -> Any:
            middleware = draining(of_calls(limit, store=store))
            return agent_of(model, middleware, checkpointer=saver)

        with pytest.raises(GraphDrained):
            await run(agent(2), asked(), thread())
        with pytest.raises(GraphDrained):
            await run(agent(3), None, thread())
        state = await run(agent(4), None, thread())
        assert answer(state).content == "There."
        assert len(model.calls) == 4

    @both
    async def test_a_run_that_goes_on_is_still_the_same_run(
        self, run: Run, tmp_path: Path
    ) -> None:
        model, saver = restless(), InMemorySaver()
        store = f"sqlite:///{tmp_path}/quota.db"
        for limit, made in ((2, 2), (5, 5), (5, 5)):
            guard = of_calls(limit, "run", store=store)
            agent = agent_of(model, draining(guard), checkpointer=saver)
            given = asked() if limit == 2 else None
            with pytest.raises(GraphDrained):
                await run(agent, given, thread())
            assert len(model.calls) == made

    @both
    async def test_it_is_the_last_thing_that_is_tried(self, run: Run) -> None:
        guard = BudgetGuard(Budget(tokens=4_000, per="total"))
        agent = on_thread(restless(), draining(guard, "finish"))
        state = await run(agent, asked(), thread())
        assert answer(state).content == "I could not find it."
        spent = BudgetGuard(Budget(tokens=100, per="total"))
        agent = on_thread(restless(), draining(spent, "finish"))
        with pytest.raises(GraphDrained):
            await run(agent, asked(), thread())

    @both
    async def test_the_refused_call_is_in_the_ledger(self, run: Run) -> None:
        ledger = TokenLedger()
        agent = on_thread(restless(), draining(of_calls(1)))
        with pytest.raises(GraphDrained):
            await run(agent, asked(), thread(callbacks=[ledger]))
        assert [entry.blocked for entry in ledger.entries()] == [False, True]

    @both
    async def test_retries_leave_it_alone(self, run: Run) -> None:
        model = restless()
        retry = ModelRetryMiddleware(max_retries=3, initial_delay=0, jitter=False)
        agent = on_thread(model, retry, draining(of_calls(1)))
        ledger = TokenLedger()
        with pytest.raises(GraphDrained):
            await run(agent, asked(), thread(callbacks=[ledger]))
        assert [entry.blocked for entry in ledger.entries()] == [False, True]

    @both
    async def test_a_budget_of_another_guard_still_raises(self, run: Run) -> None:
        other = of_calls(1, "total")
        agent = on_thread(restless(), draining(of_calls(100)))
        with pytest.raises(BudgetExceededError, match="1 call in total"):
            await run(agent, asked(), thread(callbacks=[other]))


class TestInTools:
    @both
    @pytest.mark.parametrize("own", [False, True])
    async def test_a_sub_agent_drains_the_run_around_it(
        self, run: Run, own: bool
    ) -> None:
        guard = of_calls(2, "total")
        inner, model = scripted(*steps(2)), scripted(calling("delegate"), "Done.")
        sub = agent_of(inner, *([draining(guard)] if own else []))
        agent = on_thread(model, draining(guard), tools=[sub_agent(sub)])
        with pytest.raises(GraphDrained):
            await run(agent, asked(), thread())
        assert agent.get_state(thread()).next == ("tools",)
        guard.reset()
        with pytest.raises(GraphDrained):
            await run(agent, None, thread())
        guard.reset()
        state = await run(agent, None, thread())
        assert answer(state).content == "Done."
        assert [m.content for m in state["messages"]][-2] == "There."
        assert (len(model.calls), len(inner.calls)) == (2, 3)

    @both
    async def test_a_tool_at_the_same_time_is_not_called_again(self, run: Run) -> None:
        found: list[str] = []

        @tool
        def look(query: str) -> str:
            """Look."""
            found.append(query)
            return "There."

        guard, inner = of_calls(1, "total"), scripted("Hm.")
        model = scripted(calling("look", "think"), "Done.")
        agent = on_thread(model, draining(guard), tools=[look, model_tool(inner)])
        with pytest.raises(GraphDrained):
            await run(agent, asked(), thread())
        guard.reset()
        with pytest.raises(GraphDrained):
            await run(agent, None, thread())
        guard.reset()
        state = await run(agent, None, thread())
        assert answer(state).content == "Done."
        assert [m.content for m in state["messages"][2:4]] == ["There.", "Hm."]
        assert (found, len(inner.calls), len(model.calls)) == (["it"], 1, 2)

    @both
    async def test_a_cap_still_makes_a_result_of_its_own_refusal(
        self, run: Run
    ) -> None:
        guard, inner = of_calls(100), scripted("Hm.", loop=True)
        middleware = lean_middleware(cap=StepCap(3), guard=draining(guard))
        agent = on_thread(restless("think"), *middleware, tools=[model_tool(inner)])
        state = await run(agent, asked(), thread())
        assert answer(state).content == "I could not find it."
        assert "reached its cap" in str(state["messages"][-2].content)


class TestWithoutARunToRest:
    @both
    async def test_an_agent_that_keeps_nothing_is_drained_too(self, run: Run) -> None:
        guard = of_calls(1, "run")
        with pytest.raises(GraphDrained):
            await run(agent_of(restless(), draining(guard)), asked())

    @both
    async def test_an_agent_that_is_a_node_drains_its_graph(self, run: Run) -> None:
        guard = of_calls(2)
        model = scripted(*steps(2))
        graph = StateGraph(MessagesState)
        graph.add_node("sub", agent_of(model, draining(guard)))
        graph.add_edge(START, "sub")
        agent = graph.compile(checkpointer=InMemorySaver())
        with pytest.raises(GraphDrained):
            await run(agent, asked(), thread())
        guard.reset(thread_id="t")
        state = await run(agent, None, thread())
        assert answer(state).content == "There."
        assert len(model.calls) == 3

    @both
    async def test_an_interrupt_on_the_way_changes_nothing(self, run: Run) -> None:
        @tool
        def ask_user(query: str) -> str:
            """Ask the user."""
            return str(interrupt(query))

        guard = of_calls(1, "run")
        model = scripted(calling("ask_user"), "Done.")
        agent = on_thread(model, draining(guard), tools=[ask_user, search])
        await run(agent, asked(), thread())
        with pytest.raises(GraphDrained):
            await run(agent, Command(resume="Here."), thread())
        run_id = agent.get_state(thread()).values["lean_run"]
        assert guard.status(run_id=run_id)[0].used == 1
        guard.reset(run_id=run_id)
        state = await run(agent, None, thread())
        assert answer(state).content == "Done."
        assert state["messages"][-2].content == "Here."
        assert used(guard, run_id=run_id) == 1
