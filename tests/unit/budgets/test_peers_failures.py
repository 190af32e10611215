"""What went wrong with the budgets of others does not go wrong here.

The threads are litellm's, where not said otherwise. Several guards on one store stand
for the processes of several machines.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    TokenLedger,
)
from langchain_lean.budgets.storage import Storage
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.budgets.storage.sqlite import SQLiteStorage
from langchain_lean.testing import ScriptedChatModel
from tests.unit.accounting.conftest import PRICES, Clock

CAP = 1_000  # output tokens each call may give
GIVEN = 10
REPLICAS = 4

Open = Callable[[], Storage]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def shared(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Open:
    """Opens the store of one more replica."""
    if request.param == "memory":
        storage = MemoryStorage(clock=clock)
        return lambda: storage
    return lambda: SQLiteStorage(tmp_path / "budgets.db", clock=clock)


@pytest.fixture
def replicas(shared: Open, clock: Clock) -> Callable[..., list[BudgetGuard]]:
    """Makes guards of the same budgets, one for each replica."""

    def make(*budgets: Budget, count: int = REPLICAS) -> list[BudgetGuard]:
        return [
            BudgetGuard(*budgets, store=shared(), prices=PRICES, clock=clock)
            for _ in range(count)
        ]

    return make


Replicas = Callable[..., list[BudgetGuard]]


def answer(text: str = "Paris.") -> AIMessage:
    usage: Any = {
        "input_tokens": 10,
        "output_tokens": GIVEN,
        "total_tokens": 10 + GIVEN,
    }
    return AIMessage(text, usage_metadata=usage)


def stand_in(*responses: Any, **options: Any) -> ScriptedChatModel:
    given = {"model_name": "test-model", "loop": True, "max_tokens": CAP, **options}
    return ScriptedChatModel(responses=list(responses) or [answer()], **given)


def ask(model: Any, guard: BudgetGuard, **metadata: str) -> bool:
    """Whether the call was made."""
    try:
        model.invoke("q", {"callbacks": [guard], "metadata": metadata})
    except BudgetExceededError:
        return False
    return True


def in_parallel(calls: Sequence[Callable[[], bool]]) -> int:
    """Make calls at the same time; how many were made."""
    start = threading.Barrier(len(calls))

    def begin(call: Callable[[], bool]) -> bool:
        start.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return sum(pool.map(begin, calls))


class Crowd:
    """Calls at the same time; those that are made last until the rest is refused."""

    def __init__(self, *, refused: int) -> None:
        self._left = refused
        self._lock = threading.Lock()
        self._over = threading.Event()

    def reply(self, _: Any) -> AIMessage:
        self._over.wait(5)
        return answer()

    def ask(self, model: Any, guard: BudgetGuard, **metadata: str) -> bool:
        if ask(model, guard, **metadata):
            return True
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._over.set()
        return False


def state(guard: BudgetGuard, **keys: str) -> tuple[Any, Any]:
    (status,) = guard.status(**keys)
    return status.used, status.held


class TestOverspend:
    def test_parallel_calls_of_a_session_do_not_all_pass_one_check(
        self, replicas: Replicas
    ) -> None:
        """litellm#34732: the session budget was checked, and incremented later."""
        (guard,) = replicas(
            Budget(output_tokens=3 * CAP, per="thread"),
            count=1,
        )
        crowd = Crowd(refused=5)
        model = stand_in(crowd.reply)
        made = in_parallel([lambda: crowd.ask(model, guard, thread_id="s")] * 8)
        assert made == len(model.calls) == 3
        assert state(guard, thread_id="s") == (3 * GIVEN, 0)

    async def test_parallel_async_calls_do_not_all_pass_one_check(
        self, replicas: Replicas
    ) -> None:
        """litellm#34732, on one event loop."""
        (guard,) = replicas(Budget(output_tokens=3 * CAP, per="total"), count=1)
        others_refused, refused = asyncio.Event(), []

        async def wait(_: float) -> None:
            await others_refused.wait()

        model = stand_in(latency=(1.0, 0.0), asleep=wait)

        async def ask_it() -> bool:
            try:
                await model.ainvoke("q", {"callbacks": [guard]})
            except BudgetExceededError:
                refused.append(1)
                if len(refused) == 5:
                    others_refused.set()
                return False
            return True

        async with asyncio.timeout(10):
            made = await asyncio.gather(*[ask_it() for _ in range(8)])
        assert sum(made) == len(model.calls) == 3
        assert state(guard) == (3 * GIVEN, 0)

    def test_spend_is_checked_before_the_request_and_not_after_it(
        self, replicas: Replicas
    ) -> None:
        """litellm#26672: the first request over the budget always went out."""
        (guard,) = replicas(Budget(usd="0.001", per="day"), count=1)
        model = stand_in()  # may cost a cent
        assert not ask(model, guard)
        assert model.calls == []
        assert state(guard) == (0, 0)

    def test_spend_of_a_user_is_checked_before_the_request_as_well(
        self, replicas: Replicas
    ) -> None:
        """litellm#26672, for a budget of each user."""
        (guard,) = replicas(
            Budget(output_tokens=CAP + GIVEN, per="day", by="user_id"), count=1
        )
        model = stand_in()
        made = [ask(model, guard, user_id="ada") for _ in range(4)]
        assert made == [True, True, False, False]
        assert len(model.calls) == 2

    def test_replicas_do_not_each_count_for_themselves(
        self, replicas: Replicas
    ) -> None:
        """litellm#33325: spend was local to a pod, so the cap was passed by each."""
        guards = replicas(Budget(calls=6, per="day"))
        model = stand_in()
        made = [ask(model, guard) for _ in range(6) for guard in guards]
        assert sum(made) == len(model.calls) == 6
        assert {state(guard) for guard in guards} == {(6, 0)}

    def test_the_budget_is_not_multiplied_by_the_replicas(
        self, replicas: Replicas
    ) -> None:
        """litellm PR#24682: before it, the effective budget was pods × max_budget."""
        guards = replicas(Budget(output_tokens=3 * CAP, per="month"))
        crowd = Crowd(refused=9)
        model = stand_in(crowd.reply)
        calls = [lambda g=g: crowd.ask(model, g) for g in guards * 3]
        assert in_parallel(calls) == len(model.calls) == 3
        assert {state(guard) for guard in guards} == {(3 * GIVEN, 0)}

    def test_used_and_held_never_pass_the_limit(self, replicas: Replicas) -> None:
        """litellm#34732 and PR#24682 together, with every moment looked at."""
        limit = 3 * CAP
        guards = replicas(Budget(output_tokens=limit, per="total"), count=2)
        seen: list[int] = []

        def look(_: Any) -> AIMessage:
            seen.append(sum(state(guards[0])))
            return answer()

        model = stand_in(look)
        calls = [lambda guard=guard: ask(model, guard) for guard in guards * 5]
        for _ in range(3):
            in_parallel(calls)
        assert seen
        assert max(seen) <= limit


class TestFalseBlocks:
    def test_a_cold_counter_is_not_seeded_by_every_replica(
        self, replicas: Replicas, shared: Open, clock: Clock
    ) -> None:
        """litellm#28247: N pods re-seeded a cold key by adding: N × the spend."""
        budget = Budget(calls=100, per="day")
        (first,) = replicas(budget, count=1)
        for _ in range(10):
            assert ask(stand_in(), first)
        restarted = replicas(budget)
        assert {state(guard) for guard in restarted} == {(10, 0)}
        made = in_parallel([lambda g=g: ask(stand_in(), g) for g in restarted])
        assert made == REPLICAS
        assert state(first) == (10 + REPLICAS, 0)

    def test_counters_do_not_inflate_beyond_what_was_recorded(
        self, replicas: Replicas
    ) -> None:
        """litellm#30460: 50 in Redis against 14 in the database."""
        guards = replicas(Budget(usd="100", per="total"))
        script = [answer(), ConnectionError("again"), answer(), TimeoutError("slow")]
        model = stand_in(*script)
        with TokenLedger(prices=PRICES) as ledger:
            for guard in guards * 3:
                for _ in range(4):
                    with suppress(ConnectionError, TimeoutError):
                        model.invoke("q", {"callbacks": [ledger, guard, guard]})
            total = ledger.totals().cost
        assert total > 0
        assert {state(guard) for guard in guards} == {(total, 0)}

    def test_retries_and_fallbacks_do_not_inflate_counters(
        self, replicas: Replicas
    ) -> None:
        """litellm#30460, where calls are tried again."""
        (guard,) = replicas(Budget(calls=100, per="total"), count=1)
        flaky = stand_in(ConnectionError("again"), answer(), loop=False)
        patient = flaky.with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
        patient.invoke("q", {"callbacks": [guard]})
        broken = stand_in(ValueError("down")).with_fallbacks([stand_in()])
        broken.invoke("q", {"callbacks": [guard]})
        assert state(guard) == (2, 0)

    @pytest.mark.parametrize("error", [ConnectionError, TimeoutError, ValueError])
    def test_a_failure_releases_what_was_reserved(
        self, replicas: Replicas, error: type[Exception]
    ) -> None:
        """litellm#27639: a reservation was never released on failure."""
        guards = replicas(Budget(output_tokens=CAP, per="day"))
        for guard in guards:
            with pytest.raises(error):
                stand_in(error("no")).invoke("q", {"callbacks": [guard]})
            assert state(guard) == (0, 0)
        assert ask(stand_in(), guards[0])

    async def test_a_timeout_releases_what_was_reserved_at_the_latest_with_its_lease(
        self, replicas: Replicas, clock: Clock
    ) -> None:
        """litellm#27639: nor on a timeout."""
        guards = replicas(Budget(output_tokens=CAP, per="total"))
        reached = asyncio.Event()

        async def hang(_: float) -> None:
            reached.set()
            await asyncio.Event().wait()

        model = stand_in(latency=(1.0, 0.0), asleep=hang)
        config: Any = {"callbacks": [guards[0]]}
        task = asyncio.create_task(model.ainvoke("q", config))
        await reached.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not ask(stand_in(), guards[1])
        clock.now += 600
        assert {state(guard) for guard in guards} == {(0, 0)}
        assert ask(stand_in(), guards[1])

    def test_a_crash_releases_what_was_reserved_with_its_lease(
        self, replicas: Replicas, clock: Clock
    ) -> None:
        """litellm#27639: nor by a process that dies with a call under way."""
        guards = replicas(Budget(output_tokens=CAP, per="total"), count=2)
        dead = stand_in("one two three").stream("q", {"callbacks": [guards[0]]})
        next(dead)
        assert not ask(stand_in(), guards[1])
        clock.now += 600
        assert ask(stand_in(), guards[1])
        assert state(guards[1]) == (GIVEN, 0)

    def test_one_process_under_load_refuses_nothing_that_fits(
        self, replicas: Replicas
    ) -> None:
        """litellm#36926: false blocks in a single process with one worker."""
        calls, threads = 48, 16
        budget = Budget(output_tokens=threads * CAP + calls * GIVEN, per="day")
        (guard,) = replicas(budget, count=1)
        model = stand_in()
        with ThreadPoolExecutor(threads) as pool:
            made = list(pool.map(lambda _: ask(model, guard), range(calls)))
        assert all(made)
        assert state(guard) == (calls * GIVEN, 0)

    async def test_one_event_loop_under_load_refuses_nothing_that_fits(
        self, replicas: Replicas
    ) -> None:
        """litellm#36926, with everything asynchronous at once."""
        calls = 40
        budget = Budget(output_tokens=calls * CAP, per="day")
        (guard,) = replicas(budget, count=1)
        model = stand_in()
        config: Any = {"callbacks": [guard]}
        found = await asyncio.gather(
            *[model.ainvoke("q", config) for _ in range(calls)]
        )
        assert len(found) == calls
        assert state(guard) == (calls * GIVEN, 0)

    def test_spend_of_an_earlier_window_is_forgotten(
        self, replicas: Replicas, clock: Clock
    ) -> None:
        """litellm#27735: stale spend blocked a single pod after its budget's reset."""
        (guard,) = replicas(Budget(calls=2, per="day", by="user_id"), count=1)
        model = stand_in()
        for _ in range(3):
            made = [ask(model, guard, user_id="ada") for _ in range(3)]
            assert made == [True, True, False]
            clock.now += 86_400
            assert state(guard, user_id="ada") == (0, 0)

    def test_a_reset_is_seen_by_all_replicas_at_once(self, replicas: Replicas) -> None:
        """litellm#27735, where the budget is reset by hand."""
        guards = replicas(Budget(calls=1, per="month"))
        assert ask(stand_in(), guards[0])
        assert not ask(stand_in(), guards[1])
        guards[2].reset()
        assert ask(stand_in(), guards[3])
        assert {state(guard) for guard in guards} == {(1, 0)}


def sub_agents(
    model: ScriptedChatModel, *, parallel: int, rounds: int = 1
) -> tuple[Any, ScriptedChatModel]:
    """An agent whose tool asks another agent, several at a time."""

    @tool
    def look() -> str:
        """Look."""
        return "seen"

    inner = create_agent(model, [look])

    @tool
    def delegate() -> str:
        """Have another agent do it."""
        return str(inner.invoke({"messages": [("human", "q")]})["messages"][-1].text)

    turn = AIMessage("", tool_calls=[call("delegate", n) for n in range(parallel)])
    outer = ScriptedChatModel(responses=[*[turn] * rounds, "done"])
    return create_agent(outer, [delegate]), outer


def call(name: str, number: int) -> Any:
    return {"name": name, "args": {}, "id": f"call_{number}", "type": "tool_call"}


def looking(_: Any) -> AIMessage:
    """An agent that never ends by itself."""
    return AIMessage("", tool_calls=[call("look", 0)])


def in_thread(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    return lambda *given: asyncio.to_thread(function, *given)


class TestStepLimits:
    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_parallel_sub_agents_share_the_limit_of_the_run(
        self, asynchronous: bool
    ) -> None:
        """deepagentsjs PR#842, #646: a run limit of 3 made 10 calls, or crashed."""
        guard = BudgetGuard(Budget(calls=3, per="run"))
        model = ScriptedChatModel(responses=[looking], loop=True)
        agent, outer = sub_agents(model, parallel=4)
        given, config = {"messages": [("human", "q")]}, {"callbacks": [guard]}
        run = agent.ainvoke if asynchronous else in_thread(agent.invoke)
        with pytest.raises(BudgetExceededError) as refused:
            await run(given, config)
        assert len(outer.calls) + len(model.calls) == 3
        assert (refused.value.limit, refused.value.budget.per) == (3, "run")

    def test_a_sub_agent_does_not_reset_the_limit_of_its_parent(self) -> None:
        """deepagentsjs#646: each sub-agent reset the parent's budget."""
        guard = BudgetGuard(Budget(calls=6, per="run"))
        model = ScriptedChatModel(responses=["done"], loop=True)
        agent, outer = sub_agents(model, parallel=1, rounds=9)
        with pytest.raises(BudgetExceededError):
            agent.invoke({"messages": [("human", "q")]}, {"callbacks": [guard]})
        assert (len(outer.calls), len(model.calls)) == (3, 3)

    def test_the_limit_reaches_sub_agents_that_are_called_without_a_configuration(
        self,
    ) -> None:
        """deepagents#1698: recursion_limit was not passed on to sub-agents."""
        guard = BudgetGuard(Budget(calls=20, per="run"))
        model = ScriptedChatModel(responses=[looking], loop=True)
        agent, outer = sub_agents(model, parallel=1)
        with pytest.raises(BudgetExceededError):
            agent.invoke({"messages": [("human", "q")]}, {"callbacks": [guard]})
        assert (len(outer.calls), len(model.calls)) == (1, 19)

    def test_every_run_has_the_whole_limit(self) -> None:
        """deepagentsjs#646: what one run used is nothing to the next."""
        guard = BudgetGuard(Budget(calls=3, per="run"))
        for _ in range(5):
            model = ScriptedChatModel(responses=["done"], loop=True)
            agent, outer = sub_agents(model, parallel=1)
            agent.invoke({"messages": [("human", "q")]}, {"callbacks": [guard]})
            assert (len(outer.calls), len(model.calls)) == (2, 1)

    def test_runs_at_the_same_time_do_not_share_their_limit(self) -> None:
        """deepagentsjs#646, in parallel."""
        guard = BudgetGuard(Budget(calls=3, per="run"))
        models = [ScriptedChatModel(responses=[looking], loop=True) for _ in range(4)]
        # Made before the threads: pydantic changes the process's warning filters
        # while a tool is made, which is not safe in several threads.
        agents = [sub_agents(model, parallel=2) for model in models]

        def run(number: int) -> int:
            agent, outer = agents[number]
            with pytest.raises(BudgetExceededError):
                agent.invoke({"messages": [("human", "q")]}, {"callbacks": [guard]})
            return len(outer.calls) + len(models[number].calls)

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(run, range(4))) == [3, 3, 3, 3]
