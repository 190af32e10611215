"""A call that a guard refuses is never made, and its refusal is never an answer."""

import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    ToolErrorMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableParallel
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    LeanError,
    TokenLedger,
    track,
)
from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.budgets.storage import Lease, Refusal
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.testing import ScriptedChatModel
from tests.unit.accounting.conftest import PRICES

Way = Callable[[Any, Any, Any], Awaitable[Any]]

NOTHING = Budget(calls=0, per="total")
ONE = Budget(calls=1, per="total")


class State(TypedDict, total=False):
    answer: str


class Counting(BudgetGuard):
    """Counts how often a model was about to be asked, and lets a test wait for that."""

    def __init__(self, *budgets: Budget, **options: Any) -> None:
        super().__init__(*budgets, **options)
        self.attempts = 0
        self.decided = threading.Semaphore(0)

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.attempts += 1
        try:
            super().on_chat_model_start(*args, **kwargs)
        finally:
            self.decided.release()

    def wait_for(self, calls: int) -> None:
        for _ in range(calls):
            assert self.decided.acquire(timeout=5)


@pytest.fixture
def ledger() -> Iterator[TokenLedger]:
    with TokenLedger(prices=PRICES) as ledger:
        yield ledger


def stand_in(*responses: Any, **options: Any) -> ScriptedChatModel:
    given = {"model_name": "gpt-5-mini", "provider": "openai", "loop": True, **options}
    return ScriptedChatModel(responses=list(responses) or ["Paris."], **given)


def calling(*names: str) -> AIMessage:
    calls = [
        {"name": name, "args": {}, "id": f"call_{number}"}
        for number, name in enumerate(names)
    ]
    return AIMessage("", tool_calls=calls)


def held(guard: BudgetGuard) -> list[Any]:
    return [status.held for status in guard.status()]


def with_node(node: Any, **options: Any) -> Any:
    builder: Any = StateGraph(State)
    builder.add_node("ask", node, **options)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    return builder.compile()


def asking(model: Any) -> Callable[[State], State]:
    return lambda _: {"answer": model.invoke("q").text}


def asking_async(model: Any) -> Callable[[State], Awaitable[State]]:
    async def ask(_: State) -> State:
        return {"answer": (await model.ainvoke("q")).text}

    return ask


def asked_in_a_tool(model: Any) -> Any:
    @tool
    def research() -> str:
        """Look something up."""
        return str(model.invoke("q").text)

    return research


async def gather(parts: AsyncIterator[Any], seen: list[Any]) -> None:
    async for part in parts:
        seen.append(part)  # noqa: PERF401 - what came before an error counts


async def invoke(runnable: Any, given: Any, config: Any) -> Any:
    return runnable.invoke(given, config)


async def ainvoke(runnable: Any, given: Any, config: Any) -> Any:
    return await runnable.ainvoke(given, config)


async def stream(runnable: Any, given: Any, config: Any) -> Any:
    return list(runnable.stream(given, config))


async def astream(runnable: Any, given: Any, config: Any) -> Any:
    return [chunk async for chunk in runnable.astream(given, config)]


async def batch(runnable: Any, given: Any, config: Any) -> Any:
    return runnable.batch([given, given], config)


async def abatch(runnable: Any, given: Any, config: Any) -> Any:
    return await runnable.abatch([given, given], config)


every_way = pytest.mark.parametrize(
    "way", [invoke, ainvoke, stream, astream, batch, abatch]
)
once_or_streamed = pytest.mark.parametrize("way", [invoke, ainvoke, stream, astream])
once = pytest.mark.parametrize("way", [invoke, ainvoke])
several = pytest.mark.parametrize("way", [batch, abatch])


class TestEveryWayOfCalling:
    @every_way
    async def test_a_bare_model_is_not_reached(self, way: Way) -> None:
        guard, model = BudgetGuard(NOTHING), stand_in()
        with pytest.raises(BudgetExceededError):
            await way(model, "q", {"callbacks": [guard]})
        assert model.calls == []
        assert held(guard) == [0]

    @every_way
    async def test_a_model_that_carries_the_guard_is_not_reached(
        self, way: Way
    ) -> None:
        guard = BudgetGuard(NOTHING)
        model = stand_in(callbacks=[guard])
        with pytest.raises(BudgetExceededError):
            await way(model, "q", {})
        assert model.calls == []
        assert held(guard) == [0]

    @every_way
    async def test_a_model_in_a_chain_is_not_reached(self, way: Way) -> None:
        guard, model = BudgetGuard(NOTHING), stand_in()
        prompt = ChatPromptTemplate.from_messages([("human", "{q}")])
        with pytest.raises(BudgetExceededError):
            await way(
                prompt | model | StrOutputParser(), {"q": "q"}, {"callbacks": [guard]}
            )
        assert model.calls == []
        assert held(guard) == [0]

    @once_or_streamed
    async def test_a_model_in_a_sync_graph_node_is_not_reached(self, way: Way) -> None:
        guard, model = BudgetGuard(NOTHING), stand_in()
        with pytest.raises(BudgetExceededError):
            await way(with_node(asking(model)), {}, {"callbacks": [guard]})
        assert model.calls == []
        assert held(guard) == [0]

    @pytest.mark.parametrize("way", [ainvoke, astream])
    async def test_a_model_in_an_async_graph_node_is_not_reached(
        self, way: Way
    ) -> None:
        guard, model = BudgetGuard(NOTHING), stand_in()
        with pytest.raises(BudgetExceededError):
            await way(with_node(asking_async(model)), {}, {"callbacks": [guard]})
        assert model.calls == []
        assert held(guard) == [0]

    @pytest.mark.parametrize("mode", ["messages", "updates", "values"])
    async def test_no_stream_mode_of_a_graph_shows_an_answer(self, mode: str) -> None:
        guard, model = BudgetGuard(NOTHING), stand_in()
        seen: list[Any] = []
        graph = with_node(asking_async(model))
        parts = graph.astream({}, {"callbacks": [guard]}, stream_mode=mode)
        with pytest.raises(BudgetExceededError):
            await gather(parts, seen)
        assert not [part for part in seen if part]
        assert held(guard) == [0]

    @once_or_streamed
    async def test_the_model_of_an_agent_is_not_reached(self, way: Way) -> None:
        guard, model = BudgetGuard(NOTHING), stand_in()
        agent = create_agent(model)
        with pytest.raises(BudgetExceededError):
            await way(agent, {"messages": [("human", "q")]}, {"callbacks": [guard]})
        assert model.calls == []
        assert held(guard) == [0]

    async def test_events_of_a_chain_end_with_the_refusal(self) -> None:
        guard, model = BudgetGuard(NOTHING), stand_in()
        seen: list[Any] = []
        chain = model | StrOutputParser()
        events = chain.astream_events("q", {"callbacks": [guard]})
        with pytest.raises(BudgetExceededError):
            await gather(events, seen)
        assert "on_chat_model_end" not in [event["event"] for event in seen]
        assert model.calls == []
        assert held(guard) == [0]

    @once
    async def test_a_structured_answer_is_refused_like_any_other(
        self, way: Way
    ) -> None:
        class Answer(TypedDict):
            """An answer."""

            city: str

        guard, model = BudgetGuard(NOTHING), stand_in({"city": "Paris"})
        with pytest.raises(BudgetExceededError):
            await way(model.with_structured_output(Answer), "q", {"callbacks": [guard]})
        assert model.calls == []
        assert held(guard) == [0]

    @once
    async def test_of_a_batch_the_first_is_answered_and_the_rest_are_errors(
        self, way: Way
    ) -> None:
        guard, model = BudgetGuard(ONE), stand_in()
        config: Any = {"callbacks": [guard], "max_concurrency": 1}
        if way is invoke:
            found = model.batch(["a", "b", "c"], config, return_exceptions=True)
        else:
            found = await model.abatch(["a", "b", "c"], config, return_exceptions=True)
        kinds = [type(each) for each in found]
        assert kinds == [AIMessage, BudgetExceededError, BudgetExceededError]
        assert len(model.calls) == 1
        assert held(guard) == [0]

    @once
    async def test_of_parallel_branches_of_a_chain_only_what_fits_is_asked(
        self, way: Way
    ) -> None:
        guard, model = BudgetGuard(ONE), stand_in()
        branches = RunnableParallel(a=model, b=model, c=model)
        with pytest.raises(BudgetExceededError):
            await way(branches, "q", {"callbacks": [guard]})
        assert len(model.calls) <= 1
        assert guard.status()[0].used + guard.status()[0].held <= 1

    @once
    async def test_of_parallel_tools_only_what_fits_is_asked(self, way: Way) -> None:
        guard, inner = Counting(Budget(calls=2, per="total")), stand_in()
        outer = stand_in(calling("research", "research", "research"))
        agent = create_agent(outer, [asked_in_a_tool(inner)])
        with pytest.raises(BudgetExceededError):
            await way(
                agent,
                {"messages": [("human", "q")]},
                {"callbacks": [guard]},
            )
        assert (len(outer.calls), len(inner.calls)) == (1, 1)
        assert guard.attempts == 1 + 3
        assert held(guard) == [0]

    @once
    async def test_parallel_nodes_finish_what_was_granted(self, way: Way) -> None:
        guard, model = BudgetGuard(ONE), stand_in()
        builder: Any = StateGraph(dict)
        for name in ("a", "b", "c"):
            builder.add_node(name, lambda _: [model.invoke("q"), {}][1])
            builder.add_edge(START, name)
        with pytest.raises(BudgetExceededError):
            await way(builder.compile(), {}, {"callbacks": [guard]})
        assert len(model.calls) == 1
        assert held(guard) == [0]


class TestWhatTriesAgain:
    """How often a refused call is tried: the last row of what was found out."""

    @once
    async def test_with_retry_tries_three_times_and_is_refused_three_times(
        self, way: Way
    ) -> None:
        guard, model = Counting(NOTHING), stand_in()
        patient = model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
        with pytest.raises(BudgetExceededError):
            await way(patient, "q", {"callbacks": [guard]})
        assert guard.attempts == 3
        assert model.calls == []
        assert held(guard) == [0]

    @once
    async def test_with_fallbacks_asks_the_other_and_is_refused_again(
        self, way: Way
    ) -> None:
        guard, model, other = Counting(NOTHING), stand_in(), stand_in()
        either = model.with_fallbacks([other])
        with pytest.raises(BudgetExceededError):
            await way(either, "q", {"callbacks": [guard]})
        assert guard.attempts == 2
        assert model.calls == other.calls == []
        assert held(guard) == [0]

    @pytest.mark.parametrize("retry_on", [None, Exception])
    @once
    async def test_a_retry_policy_tries_once(self, way: Way, retry_on: Any) -> None:
        guard, model = Counting(NOTHING), stand_in()
        options = {} if retry_on is None else {"retry_on": retry_on}
        policy = RetryPolicy(initial_interval=0, jitter=False, **options)
        graph = with_node(asking(model), retry_policy=policy)
        with pytest.raises(BudgetExceededError):
            await way(graph, {}, {"callbacks": [guard]})
        assert guard.attempts == 1
        assert model.calls == []
        assert held(guard) == [0]

    @once
    async def test_the_error_handler_of_a_node_does_not_swallow_it(
        self, way: Way
    ) -> None:
        def recover(state: State, error: NodeError) -> State:
            return {"answer": "recovered"}

        guard, model = Counting(NOTHING), stand_in()
        graph = with_node(asking(model), error_handler=recover)
        with pytest.raises(BudgetExceededError):
            await way(graph, {}, {"callbacks": [guard]})
        assert guard.attempts == 1
        assert model.calls == []
        assert held(guard) == [0]

    @pytest.mark.parametrize("on_failure", ["continue", "error"])
    @once
    async def test_middleware_that_retries_models_tries_once(
        self, way: Way, on_failure: Any
    ) -> None:
        guard, model = Counting(NOTHING), stand_in()
        retry = ModelRetryMiddleware(
            max_retries=2, initial_delay=0, jitter=False, on_failure=on_failure
        )
        agent = create_agent(model, middleware=[retry])
        with pytest.raises(BudgetExceededError):
            await way(
                agent,
                {"messages": [("human", "q")]},
                {"callbacks": [guard]},
            )
        assert guard.attempts == 1
        assert model.calls == []
        assert held(guard) == [0]

    @once
    async def test_middleware_that_falls_back_asks_no_other_model(
        self, way: Way
    ) -> None:
        guard, model, other = Counting(NOTHING), stand_in(), stand_in()
        agent = create_agent(model, middleware=[ModelFallbackMiddleware(other)])
        with pytest.raises(BudgetExceededError):
            await way(
                agent,
                {"messages": [("human", "q")]},
                {"callbacks": [guard]},
            )
        assert guard.attempts == 1
        assert model.calls == other.calls == []
        assert held(guard) == [0]

    @pytest.mark.parametrize(
        "middleware",
        [
            None,
            ToolRetryMiddleware(max_retries=2, initial_delay=0, jitter=False),
            ToolErrorMiddleware(on_error=lambda error, request: "sorry"),
        ],
        ids=["none", "retry", "error"],
    )
    @once
    async def test_a_tool_that_asks_a_model_is_run_once_and_gives_no_result(
        self, way: Way, middleware: Any
    ) -> None:
        guard, inner = Counting(ONE), stand_in()
        outer = stand_in(calling("research"), "done", loop=False)
        agent = create_agent(
            outer,
            [asked_in_a_tool(inner)],
            middleware=[] if middleware is None else [middleware],
        )
        with pytest.raises(BudgetExceededError):
            await way(
                agent,
                {"messages": [("human", "q")]},
                {"callbacks": [guard]},
            )
        assert guard.attempts == 1 + 1
        assert (len(outer.calls), inner.calls) == (1, [])
        assert held(guard) == [0]

    def test_a_node_that_catches_everything_catches_the_refusal_too(self) -> None:
        guard, model = BudgetGuard(NOTHING), stand_in()

        def careless(_: State) -> State:
            try:
                return {"answer": str(model.invoke("q").text)}
            except Exception as error:
                return {"answer": type(error).__name__}

        answer = with_node(careless).invoke({}, {"callbacks": [guard]})
        assert answer == {"answer": "BudgetExceededError"}
        assert model.calls == []
        assert held(guard) == [0]


class TestResuming:
    @once
    async def test_a_checkpoint_keeps_what_is_next_and_goes_on_after_a_reset(
        self, way: Way
    ) -> None:
        guard, model = BudgetGuard(ONE), stand_in("one", "two", loop=False)
        builder: Any = StateGraph(State)
        builder.add_node("first", asking(model))
        builder.add_node("second", asking(model))
        builder.add_edge(START, "first")
        builder.add_edge("first", "second")
        graph = builder.compile(checkpointer=InMemorySaver())
        config = {"callbacks": [guard], "configurable": {"thread_id": "t"}}
        with pytest.raises(BudgetExceededError):
            await way(graph, {}, config)
        assert graph.get_state(config).next == ("second",)
        assert graph.get_state(config).values == {"answer": "one"}
        guard.reset()
        assert await way(graph, None, config) == {"answer": "two"}
        assert len(model.calls) == 2
        assert held(guard) == [0]

    @once
    async def test_a_resume_without_a_reset_is_refused_again(self, way: Way) -> None:
        guard, model = BudgetGuard(NOTHING), stand_in()
        builder: Any = StateGraph(State)
        builder.add_node("ask", asking(model))
        builder.add_edge(START, "ask")
        graph = builder.compile(checkpointer=InMemorySaver())
        config = {"callbacks": [guard], "configurable": {"thread_id": "t"}}
        for given in ({}, None, None):
            with pytest.raises(BudgetExceededError):
                await way(graph, given, config)
            assert graph.get_state(config).next == ("ask",)
        assert model.calls == []
        assert held(guard) == [0]


def refused_entry(ledger: TokenLedger) -> LedgerEntry:
    (entry,) = ledger.entries()
    assert entry.cost is not None
    assert entry.cost.total == 0
    assert not entry.abandoned
    assert not entry.failed
    return entry


ORDERS = pytest.mark.parametrize("ledger_first", [True, False])


class TestTheLedger:
    def handlers(
        self, ledger: TokenLedger, guard: BudgetGuard, *, ledger_first: bool
    ) -> dict[str, Any]:
        return {"callbacks": [ledger, guard] if ledger_first else [guard, ledger]}

    @ORDERS
    @once_or_streamed
    async def test_a_refusal_in_a_chain_stands_there_as_blocked(
        self, way: Way, ledger: TokenLedger, ledger_first: bool
    ) -> None:
        guard = BudgetGuard(NOTHING)
        config = self.handlers(ledger, guard, ledger_first=ledger_first)
        chain = stand_in(model_name="test-model") | StrOutputParser()
        with pytest.raises(BudgetExceededError):
            await way(chain, "q", config)
        entry = refused_entry(ledger)
        assert (entry.blocked, entry.model) == (True, "test-model")
        assert held(guard) == [0]

    @pytest.mark.parametrize("ledger_first", [True])
    @several
    async def test_refusals_in_a_batch_of_a_chain_stand_there_as_blocked(
        self, way: Way, ledger: TokenLedger, ledger_first: bool
    ) -> None:
        guard = BudgetGuard(NOTHING)
        config = self.handlers(ledger, guard, ledger_first=ledger_first)
        chain = stand_in(model_name="test-model") | StrOutputParser()
        with pytest.raises(BudgetExceededError):
            await way(chain, "q", {**config, "max_concurrency": 1})
        entries = list(ledger.entries())
        assert entries
        assert all(entry.blocked for entry in entries)

    @ORDERS
    @several
    async def test_refusals_in_a_batch_of_a_chain_reach_the_ledger_of_the_guard(
        self, way: Way, ledger: TokenLedger, ledger_first: bool
    ) -> None:
        guard = BudgetGuard(NOTHING, ledger=ledger)
        config = self.handlers(ledger, guard, ledger_first=ledger_first)
        chain = stand_in(model_name="test-model") | StrOutputParser()
        with pytest.raises(BudgetExceededError):
            await way(chain, "q", {**config, "max_concurrency": 1})
        entries = list(ledger.entries())
        assert entries
        assert all(entry.blocked for entry in entries)
        assert held(guard) == [0]

    @ORDERS
    @once_or_streamed
    async def test_a_refusal_in_a_graph_stands_there_once_with_its_node(
        self, way: Way, ledger: TokenLedger, ledger_first: bool
    ) -> None:
        guard = BudgetGuard(NOTHING)
        config = self.handlers(ledger, guard, ledger_first=ledger_first)
        graph = with_node(asking(stand_in(model_name="test-model")))
        with pytest.raises(BudgetExceededError):
            await way(graph, {}, config)
        entry = refused_entry(ledger)
        assert (entry.blocked, entry.node) == (True, "ask")
        assert held(guard) == [0]

    @once
    async def test_an_async_node_tells_it_as_well(
        self, way: Way, ledger: TokenLedger
    ) -> None:
        guard = BudgetGuard(NOTHING)
        graph = with_node(asking_async(stand_in(model_name="test-model")))
        with pytest.raises(BudgetExceededError):
            await graph.ainvoke({}, {"callbacks": [guard, ledger]})
        assert refused_entry(ledger).blocked
        assert held(guard) == [0]

    @every_way
    async def test_a_bare_model_needs_the_guard_to_know_the_ledger(
        self, way: Way, ledger: TokenLedger
    ) -> None:
        guard = BudgetGuard(NOTHING, ledger=ledger)
        with pytest.raises(BudgetExceededError):
            await way(
                stand_in(model_name="test-model"), "q", {"callbacks": [ledger, guard]}
            )
        assert all(entry.blocked for entry in ledger.entries())
        if way not in (batch, abatch):
            assert refused_entry(ledger).reason == "over budget"
        assert ledger.totals().cost == 0
        assert held(guard) == [0]

    @every_way
    async def test_the_ledger_of_the_block_is_found(self, way: Way) -> None:
        guard = BudgetGuard(NOTHING)
        with track(TokenLedger(prices=PRICES)) as ledger:
            with pytest.raises(BudgetExceededError):
                await way(
                    stand_in(model_name="test-model"), "q", {"callbacks": [guard]}
                )
            entries = list(ledger.entries())
        assert entries
        assert all(entry.blocked for entry in entries)
        assert held(guard) == [0]

    @once
    async def test_a_chain_inside_of_a_block_is_told_once(self, way: Way) -> None:
        guard = BudgetGuard(NOTHING)
        chain = stand_in(model_name="test-model") | StrOutputParser()
        with track(TokenLedger(prices=PRICES)) as ledger:
            with pytest.raises(BudgetExceededError):
                await way(chain, "q", {"callbacks": [guard, ledger]})
            assert refused_entry(ledger).blocked

    @once
    async def test_every_try_of_a_retry_stands_there(
        self, way: Way, ledger: TokenLedger
    ) -> None:
        guard = BudgetGuard(NOTHING, ledger=ledger)
        patient = stand_in(model_name="test-model").with_retry(
            stop_after_attempt=3, wait_exponential_jitter=False
        )
        with pytest.raises(BudgetExceededError):
            await way(patient, "q", {"callbacks": [ledger, guard]})
        assert ledger.totals().flags == {"blocked": 3}
        assert ledger.totals().cost == 0

    @once
    async def test_what_was_made_before_is_not_blocked(
        self, way: Way, ledger: TokenLedger
    ) -> None:
        guard = BudgetGuard(ONE, ledger=ledger)
        model, config = (
            stand_in(model_name="test-model"),
            {"callbacks": [ledger, guard]},
        )
        await way(model, "q", config)
        with pytest.raises(BudgetExceededError):
            await way(model, "q", config)
        assert [entry.blocked for entry in ledger.entries()] == [False, True]

    @once
    async def test_the_refused_call_knows_its_user(
        self, way: Way, ledger: TokenLedger
    ) -> None:
        guard = BudgetGuard(Budget(calls=0, per="day", by="user_id"), ledger=ledger)
        config = {"callbacks": [guard], "metadata": {"user_id": "ada"}}
        with pytest.raises(BudgetExceededError):
            await way(stand_in(model_name="test-model"), "q", config)
        assert refused_entry(ledger).user_id == "ada"


class Waiting(MemoryStorage):
    """Lets every reservation wait for something that a test controls."""

    def __init__(self, wait: Callable[[], object]) -> None:
        super().__init__()
        self.reserved = 0
        self._wait = wait

    def _reserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        self._wait()
        self.reserved += 1
        return super()._reserve(wanted, seconds)


def together(count: int) -> Callable[[], None]:
    """Waits until so many threads wait, or for a moment where so many never do."""
    barrier = threading.Barrier(count)

    def wait() -> None:
        with suppress(threading.BrokenBarrierError):
            barrier.wait(0.3)

    return wait


def prompts(count: int) -> list[list[BaseMessage]]:
    return [[HumanMessage("q")] for _ in range(count)]


class TestNothingIsLeftHeld:
    @pytest.mark.parametrize("way", [invoke, stream, batch])
    async def test_a_guard_given_twice_reserves_once(self, way: Way) -> None:
        guard, model = BudgetGuard(Budget(calls=2, per="total")), stand_in()
        await way(model, "q", {"callbacks": [guard, guard]})
        (status,) = guard.status()
        assert (status.used, status.held) == (len(model.calls), 0)

    @pytest.mark.parametrize("way", [ainvoke, astream])
    async def test_a_guard_given_twice_to_an_async_call_reserves_once(
        self, way: Way
    ) -> None:
        storage = Waiting(together(2))
        guard = BudgetGuard(Budget(calls=9, per="total"), store=storage)
        await way(stand_in(), "q", {"callbacks": [guard, guard]})
        (status,) = guard.status()
        assert (status.used, status.held, storage.reserved) == (1, 0, 1)

    @pytest.mark.parametrize("refusing_first", [True, False])
    @pytest.mark.parametrize("way", [invoke, stream])
    async def test_of_two_guards_the_one_that_granted_frees_it(
        self, way: Way, refusing_first: bool
    ) -> None:
        granting = BudgetGuard(Budget(tokens=10**6, per="total"))
        refusing, model = BudgetGuard(NOTHING), stand_in()
        guards = [refusing, granting] if refusing_first else [granting, refusing]
        with pytest.raises(BudgetExceededError):
            await way(model, "q", {"callbacks": guards})
        assert model.calls == []
        (status,) = granting.status()
        assert (status.used, status.held) == (0, 0)

    @pytest.mark.parametrize("way", [ainvoke, astream])
    async def test_of_two_guards_of_an_async_call_one_that_granted_frees_it(
        self, way: Way
    ) -> None:
        granting = Counting(Budget(tokens=10**6, per="total"))
        storage = Waiting(lambda: granting.wait_for(1))
        refusing, model = BudgetGuard(NOTHING, store=storage), stand_in()
        with pytest.raises(BudgetExceededError):
            await way(model, "q", {"callbacks": [granting, refusing]})
        assert model.calls == []
        assert held(granting) == [0]

    @pytest.mark.parametrize("way", [ainvoke, astream])
    async def test_of_two_guards_of_an_async_call_one_that_grants_late_frees_it(
        self, way: Way
    ) -> None:
        refused = threading.Event()
        storage = Waiting(lambda: refused.wait(5))
        granting = Counting(Budget(tokens=10**6, per="total"), store=storage)
        refusing, model = BudgetGuard(NOTHING), stand_in()
        with pytest.raises(BudgetExceededError):
            await way(model, "q", {"callbacks": [granting, refusing]})
        refused.set()
        granting.wait_for(1)
        assert model.calls == []
        assert held(granting) == [0]

    def test_of_three_prompts_the_first_two_are_freed(self) -> None:
        guard, model = BudgetGuard(Budget(calls=2, per="total")), stand_in()
        with pytest.raises(BudgetExceededError):
            model.generate(prompts(3), callbacks=[guard])
        assert model.calls == []
        (status,) = guard.status()
        assert (status.used, status.held) == (0, 0)

    async def test_of_three_async_prompts_the_first_two_are_freed(self) -> None:
        storage = Waiting(together(3))
        guard = Counting(Budget(calls=2, per="total"), store=storage)
        model = stand_in()
        with pytest.raises(BudgetExceededError):
            await model.agenerate(prompts(3), callbacks=[guard])
        guard.wait_for(3)
        assert model.calls == []
        (status,) = guard.status()
        assert (status.used, status.held) == (0, 0)

    def test_of_three_prompts_another_guard_frees_the_first_two_as_well(self) -> None:
        granting = BudgetGuard(Budget(tokens=10**6, per="total"))
        refusing, model = BudgetGuard(Budget(calls=2, per="total")), stand_in()
        with pytest.raises(BudgetExceededError):
            model.generate(prompts(3), callbacks=[granting, refusing])
        assert held(refusing) == [0]
        assert held(granting) == [0]

    def test_a_refused_set_of_prompts_does_not_confuse_the_next(self) -> None:
        guard, model = BudgetGuard(Budget(calls=2, per="total")), stand_in()
        for _ in range(2):
            model.invoke("q", {"callbacks": [guard]})
        with pytest.raises(BudgetExceededError):  # at the first prompt
            model.generate(prompts(3), callbacks=[guard])
        guard.reset()
        with pytest.raises(BudgetExceededError):  # at the third
            model.generate(prompts(3), callbacks=[guard])
        assert held(guard) == [0]

    def test_prompts_that_all_fit_are_charged_one_by_one(self) -> None:
        guard, model = BudgetGuard(Budget(calls=3, per="total")), stand_in()
        model.generate(prompts(3), callbacks=[guard])
        (status,) = guard.status()
        assert (status.used, status.held) == (3, 0)

    @once
    async def test_of_several_budgets_that_do_not_all_fit_none_holds_anything(
        self, way: Way
    ) -> None:
        wide = Budget(tokens=10**6, per="total")
        guard, model = BudgetGuard(wide, NOTHING), stand_in()
        with pytest.raises(BudgetExceededError):
            await way(model, "q", {"callbacks": [guard]})
        assert held(guard) == [0, 0]
        assert [status.used for status in guard.status()] == [0, 0]

    @once
    async def test_a_refused_call_leaves_room_for_a_smaller_one(self, way: Way) -> None:
        guard, model = BudgetGuard(Budget(tokens=200, per="total")), stand_in()
        config = {"callbacks": [guard]}
        with pytest.raises(BudgetExceededError):
            await way(model.bind(max_tokens=500), "q", config)
        await way(model.bind(max_tokens=50), "q", config)
        assert len(model.calls) == 1
        assert held(guard) == [0]

    def test_a_thousand_refusals_leave_nothing_in_memory(self) -> None:
        guard, model = BudgetGuard(NOTHING), stand_in()

        def ours() -> int:
            gc.collect()
            kinds = (type(each) for each in gc.get_objects())
            return sum(
                str(kind.__module__).startswith("langchain_lean") for kind in kinds
            )

        before = ours()
        for _ in range(1000):
            with suppress(BudgetExceededError):
                model.invoke("q", {"callbacks": [guard]})
        assert ours() - before < 100


class TestOtherRefusals:
    @pytest.mark.parametrize(
        "options",
        [
            {"budget": Budget(usd=1, per="day"), "model_name": "no-price"},
            {"budget": Budget(calls=9, per="day", by="user_id"), "require_key": True},
        ],
        ids=["no price", "no user"],
    )
    @once_or_streamed
    async def test_what_cannot_be_decided_is_refused(
        self, way: Way, options: dict[str, Any], ledger: TokenLedger
    ) -> None:
        guard = BudgetGuard(
            options["budget"],
            ledger=ledger,
            require_key=options.get("require_key", False),
        )
        model = stand_in(model_name=options.get("model_name", "gpt-5-mini"))
        with pytest.raises(LeanError):
            await way(model, "q", {"callbacks": [ledger, guard]})
        assert model.calls == []
        (entry,) = ledger.entries()
        assert entry.blocked
        assert held(guard) == [0]

    def test_a_runnable_with_a_guard_bound_to_it_is_guarded(self) -> None:
        guard, model = BudgetGuard(NOTHING), stand_in()
        bound: Runnable[Any, Any] = model.with_config(callbacks=[guard])
        with pytest.raises(BudgetExceededError):
            bound.invoke("q")
        assert model.calls == []


def test_the_guard_of_a_chain_sees_the_calls_of_its_steps_only_once() -> None:
    guard = BudgetGuard(Budget(calls=9, per="total"))
    model = stand_in(callbacks=[guard])
    chain = model | StrOutputParser()
    chain.invoke("q", {"callbacks": [guard]})
    (status,) = guard.status()
    assert (status.used, status.held) == (1, 0)
