"""Which calls of an agent and its tools count to a budget, and to whose."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.types import Command, interrupt

from langchain_lean import Budget, BudgetExceededError, BudgetGuard
from langchain_lean.middleware import BudgetMiddleware
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


@tool
def ask_user(query: str) -> str:
    """Ask the user."""
    return str(interrupt(query))


def of_calls(calls: int, per: Any = "run", **options: Any) -> BudgetGuard:
    return BudgetGuard(Budget(calls=calls, per=per), **options)


class TestRuns:
    @every_way
    async def test_a_budget_of_each_run_counts_its_steps(self, run: Run) -> None:
        model = restless()
        agent = agent_of(model, BudgetMiddleware(of_calls(4), when_over=["raise"]))
        with pytest.raises(BudgetExceededError):
            await run(agent, asked())
        assert len(model.calls) == 4

    @both
    async def test_each_input_begins_anew(self, run: Run) -> None:
        model = scripted(calling("search"), "There.", loop=True)
        middleware = BudgetMiddleware(of_calls(2), when_over=["raise"])
        agent = on_thread(model, middleware)
        for _ in range(3):
            state = await run(agent, asked(), thread())
        assert answer(state).content == "There."
        assert len(model.calls) == 6

    @both
    async def test_the_same_message_again_begins_anew(self, run: Run) -> None:
        model = scripted("There.", loop=True)
        middleware = BudgetMiddleware(of_calls(1), when_over=["raise"])
        agent = on_thread(model, middleware, tools=[])
        given = {"messages": [{"role": "user", "content": "Where?", "id": "1"}]}
        for name in ("ada", "bob", "ada"):
            await run(agent, given, thread(name))
        assert len(model.calls) == 3

    @both
    async def test_a_resume_goes_on(self, run: Run) -> None:
        model = restless("ask_user")
        middleware = BudgetMiddleware(of_calls(3), when_over=["raise"])
        agent = on_thread(model, middleware, tools=[ask_user])
        await run(agent, asked(), thread())
        for _ in range(2):
            await run(agent, Command(resume="No."), thread())
        with pytest.raises(BudgetExceededError):
            await run(agent, Command(resume="No."), thread())
        assert len(model.calls) == 3

    @both
    async def test_two_runs_at_once_do_not_count_together(self, run: Run) -> None:
        model = scripted("There.", loop=True)
        middleware = BudgetMiddleware(of_calls(1), when_over=["raise"])
        agent = agent_of(model, middleware, tools=[])
        assert len(agent.batch([asked()] * 4)) == 4
        assert len(model.calls) == 4
        await run(agent, asked())

    @both
    async def test_a_guard_among_the_callbacks_counts_nothing_twice(
        self, run: Run
    ) -> None:
        inner = scripted("Hm.", loop=True)
        model = scripted(calling("think"), calling("search"), "There.")
        guard = of_calls(100, per="total")
        agent = agent_of(
            model, BudgetMiddleware(guard), tools=[search, model_tool(inner)]
        )
        await run(agent, asked(), {"callbacks": [guard]})
        assert used(guard) == 4

    @both
    async def test_threads_have_budgets_of_their_own(self, run: Run) -> None:
        model = scripted("There.", loop=True)
        guard = of_calls(1, per="thread")
        agent = on_thread(model, BudgetMiddleware(guard, when_over=["raise"]), tools=[])
        await run(agent, asked(), thread("one"))
        await run(agent, asked(), thread("two"))
        with pytest.raises(BudgetExceededError):
            await run(agent, asked(), thread("one"))
        assert used(guard, thread_id="one") == used(guard, thread_id="two") == 1


class TestUsers:
    def guard(self) -> BudgetGuard:
        return BudgetGuard(Budget(calls=1, per="day", by="user_id"))

    @both
    async def test_metadata_says_who_pays(self, run: Run) -> None:
        guard = self.guard()
        middleware = BudgetMiddleware(guard, when_over=["raise"])
        agent = agent_of(scripted("There.", loop=True), middleware, tools=[])
        await run(agent, asked(), {"metadata": {"user_id": "ada"}})
        await run(agent, asked(), {"metadata": {"user_id": "bob"}})
        with pytest.raises(BudgetExceededError):
            await run(agent, asked(), {"metadata": {"user_id": "ada"}})
        assert used(guard, user_id="bob") == 1

    @both
    async def test_the_context_says_who_pays(self, run: Run) -> None:
        guard = self.guard()
        middleware = BudgetMiddleware(guard, when_over=["raise"])
        agent = agent_of(
            scripted("There.", loop=True), middleware, tools=[], context_schema=dict
        )
        await run(agent, asked(), context={"user_id": "ada"})
        with pytest.raises(BudgetExceededError):
            await run(agent, asked(), context={"user_id": "ada"})
        assert used(guard, user_id="ada") == 1


class TestTools:
    @every_way
    async def test_a_model_that_a_tool_calls_is_within_the_budget(
        self, run: Run
    ) -> None:
        inner = scripted("Hm.", loop=True)
        middleware = BudgetMiddleware(of_calls(3), when_over=["raise"])
        agent = agent_of(restless("think"), middleware, tools=[model_tool(inner)])
        with pytest.raises(BudgetExceededError):
            await run(agent, asked())
        assert len(inner.calls) == 1

    @both
    @pytest.mark.parametrize("own", [False, True])
    async def test_a_sub_agent_is_within_the_budget_and_counted_once(
        self, run: Run, own: bool
    ) -> None:
        inner = scripted(calling("search"), "Found.")
        guard = of_calls(100)
        middleware = BudgetMiddleware(guard)
        sub = agent_of(inner, *([middleware] if own else []))
        model = scripted(calling("delegate"), "There.")
        total = of_calls(100, per="total")
        agent = agent_of(model, middleware, tools=[sub_agent(sub)])
        await run(agent, asked(), {"callbacks": [total]})
        assert used(total) == 4
        limited = BudgetMiddleware(of_calls(3), when_over=["raise"])
        inner, model = restless(), restless("delegate")
        sub = agent_of(inner, *([limited] if own else []))
        agent = agent_of(model, limited, tools=[sub_agent(sub)])
        with pytest.raises(BudgetExceededError):
            await run(agent, asked())
        assert (len(model.calls), len(inner.calls)) == (1, 2)

    @both
    async def test_a_sub_agent_may_have_a_budget_of_each_of_its_runs(
        self, run: Run
    ) -> None:
        inner = scripted(calling("search"), "Found.", loop=True)
        own = BudgetMiddleware(of_calls(2), when_over=["raise"])
        model = scripted(calling("delegate"), calling("delegate", query="b"), "There.")
        agent = agent_of(
            model,
            BudgetMiddleware(of_calls(100)),
            tools=[sub_agent(agent_of(inner, own))],
        )
        state = await run(agent, asked())
        assert answer(state).content == "There."
        assert len(inner.calls) == 4

    @both
    async def test_tools_at_the_same_time_share_the_budget(self, run: Run) -> None:
        inner = scripted("Hm.", loop=True)
        model = scripted(calling("think", "think", "think"), "There.")
        middleware = BudgetMiddleware(of_calls(3), when_over=["raise"])
        agent = agent_of(model, middleware, tools=[model_tool(inner)])
        with pytest.raises(BudgetExceededError):
            await run(agent, asked())
        assert len(inner.calls) == 2
