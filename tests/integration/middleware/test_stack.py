"""All levers together: their order, interrupts, many agents, and real clients."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
)
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from langchain_lean import Budget, BudgetGuard, TokenLedger
from langchain_lean.middleware import (
    BudgetMiddleware,
    LeanCacheMiddleware,
    PromptCacheMiddleware,
    SummaryMemoryMiddleware,
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
    noted,
    on_thread,
    restless,
    scripted,
    search,
    sub_agent,
    thread,
)
from tests.integration.middleware.stacks import (
    Middleware,
    all_of,
    each_stack,
    guard,
    memory,
)
from tests.unit.caching.caches import semantic


@tool
def ask_user(query: str) -> str:
    """Ask the user."""
    return str(interrupt(query))


class TestTheOrder:
    def test_what_asks_again_stands_around_all_but_the_memory(self) -> None:
        retry = ModelRetryMiddleware()
        assert [each.name for each in all_of(scripted(), retry)] == [
            "SummaryMemoryMiddleware",
            "ModelRetryMiddleware",
            "LeanCacheMiddleware",
            "EscalationMiddleware",
            "StepCapMiddleware",
            "PromptCacheMiddleware",
            "BudgetMiddleware",
        ]

    @both
    async def test_what_others_hide_stays_hidden(self, run: Run) -> None:
        model = scripted("Fine.", loop=True)
        hides = PIIMiddleware("email", strategy="redact")
        kept = memory(keep_history=True)
        stack = lean_middleware(memory=kept, others=[hides])
        agent = create_agent(model, middleware=stack)
        await run(agent, asked("Write to ada@example.com."))
        assert "ada@" not in str(model.calls[-1].messages)

    @both
    async def test_an_outage_is_not_kept_as_the_answer(self, run: Run) -> None:
        down = ConnectionError("down")
        model = scripted(down, down, down, "It is here.", "It is here.")
        retry = ModelRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)
        stack = lean_middleware(cache=semantic(), others=[retry])
        agent = create_agent(model, middleware=stack)
        assert "failed" in answer(await run(agent, asked())).text
        assert answer(await run(agent, asked())).text == "It is here."

    def test_what_is_not_given_is_left_out(self) -> None:
        assert lean_middleware() == []
        [only] = lean_middleware(cap=StepCap(3))
        assert only.name == "StepCapMiddleware"

    def test_a_middleware_with_options_is_taken_as_it_is(self) -> None:
        given: dict[str, Any] = {
            "memory": SummaryMemoryMiddleware(memory()),
            "cache": LeanCacheMiddleware(semantic(), tags=["desk"]),
            "prompt_cache": PromptCacheMiddleware(calls=9),
            "guard": BudgetMiddleware(guard(), exact=True),
        }
        assert lean_middleware(**given) == [*given.values()]

    @each_stack
    def test_an_agent_can_be_drawn(self, stack: Callable[[Any], Middleware]) -> None:
        model = scripted()
        drawn = agent_of(model, *stack(model)).get_graph().draw_mermaid()
        assert "model" in drawn
        assert "tools" in drawn


class TestTheState:
    @each_stack
    @both
    async def test_nothing_is_added_to_what_an_agent_gives_back(
        self, run: Run, stack: Callable[[Any], Middleware]
    ) -> None:
        model = scripted(calling("search"), "There.")
        state = await run(agent_of(model, *stack(model)), asked())
        assert set(state) - {"short_messages"} == {"messages"}

    @both
    async def test_an_agent_can_go_on_with_a_thread_from_before(self, run: Run) -> None:
        model = scripted(calling("ask_user"), calling("search"), "There.")
        saver = InMemorySaver()
        options: Any = {"tools": [search, ask_user], "checkpointer": saver}
        await run(agent_of(model, **options), asked(), thread())
        resumed: Any = Command(resume="Here.")
        agent = agent_of(model, *all_of(model), **options)
        state = await run(agent, resumed, thread())
        assert answer(state).content == "There."


class TestInterrupts:
    @every_way
    async def test_a_tool_that_asks_its_user_goes_on(self, run: Run) -> None:
        model = scripted(calling("search", "ask_user"), "Thanks.")
        agent = on_thread(model, *all_of(model), tools=[search, ask_user])
        state = await run(agent, asked(), thread())
        assert agent.get_state(thread()).next == ("tools",)
        state = await run(agent, Command(resume="Here."), thread())
        assert [m.content for m in state["messages"][2:]] == [
            "Nothing about it.",
            "Here.",
            "Thanks.",
        ]
        assert len(model.calls) == 2

    @every_way
    @pytest.mark.parametrize("decision", ["approve", "reject"])
    async def test_a_call_that_a_human_decides_on_goes_on(
        self, run: Run, decision: str
    ) -> None:
        model = scripted(calling("search"), "Thanks.")
        human = HumanInTheLoopMiddleware(interrupt_on={"search": True})
        agent = on_thread(model, human, *all_of(model))
        await run(agent, asked(), thread())
        resumed: Any = Command(resume={"decisions": [{"type": decision}]})
        state = await run(agent, resumed, thread())
        assert answer(state).content == "Thanks."
        found = state["messages"][-2].content
        assert (found == "Nothing about it.") == (decision == "approve")

    @both
    async def test_a_sub_agent_that_asks_its_user_goes_on_and_counts_on(
        self, run: Run
    ) -> None:
        cap, inner = StepCap(3), restless("ask_user")
        model = scripted(calling("delegate"), "Enough.")
        sub = agent_of(inner, *all_of(inner, cap=cap), tools=[ask_user])
        agent = on_thread(model, *all_of(model, cap=cap), tools=[sub_agent(sub)])
        await run(agent, asked(), thread())
        for _ in range(2):
            state = await run(agent, Command(resume="No."), thread())
        assert (len(model.calls), len(inner.calls)) == (2, 2)
        assert "reached its cap" in str(state["messages"][-2].content)
        assert answer(state).content == "Enough."

    @both
    async def test_a_run_that_failed_goes_on(self, run: Run) -> None:
        model = scripted(calling("search"), ConnectionError("down"), "There.")
        agent = on_thread(model, *all_of(model))
        with pytest.raises(ConnectionError):
            await run(agent, asked(), thread())
        state = await run(agent, None, thread())
        assert answer(state).content == "There."
        assert len(state["messages"]) == 4


class TestManyAtOnce:
    def test_agents_share_middleware_over_threads(self) -> None:
        guarded = BudgetGuard(
            Budget(calls=100, per="total"), Budget(calls=3, per="run")
        )
        stack = lean_middleware(
            cap=StepCap(2), guard=BudgetMiddleware(guarded, when_over=["raise"])
        )
        agents = [agent_of(restless(), *stack) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            states = [*pool.map(lambda agent: agent.invoke(asked()), agents)]
        assert [noted(answer(state)) for state in states] == [[("steps", "capped")]] * 8
        assert guarded.status()[0].used == 24

    @both
    async def test_a_stack_can_stand_around_an_agent_and_its_sub_agent(
        self, run: Run
    ) -> None:
        inner = scripted(calling("search"), "Found.")
        model = scripted(calling("delegate"), "There.")
        parts: dict[str, Any] = {"cap": StepCap(4), "guard": guard()}
        sub = agent_of(inner, *all_of(inner, **parts))
        agent = agent_of(model, *all_of(model, **parts), tools=[sub_agent(sub)])
        ledger = TokenLedger()
        state = await run(agent, asked(), {"callbacks": [ledger]})
        assert answer(state).content == "There."
        assert state["messages"][-2].content == "Found."
        assert ledger.totals().calls == 4

    @both
    async def test_a_budget_holds_for_all_levers_at_once(self, run: Run) -> None:
        model = restless()
        tight = BudgetGuard(Budget(usd="0.01", per="run"))
        agent = agent_of(model, *all_of(model, guard=tight))
        ledger = TokenLedger()
        state = await run(agent, asked(), {"callbacks": [ledger]})
        assert answer(state).content == "I could not find it."
        assert ("budget", "finish") in noted(answer(state))
        assert ledger.totals().cost <= Decimal("0.01")

    @both
    async def test_the_agent_s_model_is_not_asked_behind_a_router(
        self, run: Run
    ) -> None:
        cheap, own = scripted("There."), scripted(name=STRONG)
        state = await run(agent_of(own, *all_of(cheap)), asked())
        assert answer(state).content == "There."
        assert own.calls == []
