"""What a guard reserves for a call, and what it settles once the call has ended."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from decimal import Decimal
from typing import Any, TypedDict
from uuid import uuid4

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.caches import InMemoryCache
from langchain_core.globals import get_llm_cache, set_llm_cache
from langchain_core.language_models import BaseChatModel, FakeListLLM
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, StateGraph

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    PriceBook,
    TokenCounter,
)
from langchain_lean.budgets.guard import BudgetStatus
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.testing import ScriptedChatModel
from tests.unit.accounting.conftest import Clock

Way = Callable[[Any, Any, Any], Awaitable[Any]]

LEASE = 600.0
PRICES = (
    PriceBook()
    .with_price("test-model", input=1, output=10)
    .with_price("dear-model", input=2, output=20)
    .with_price("tiny-model", input="0.0001", output=0)
)
PROMPT = "What is the capital of France?"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guarded(clock: Clock) -> Callable[..., BudgetGuard]:
    """Makes a guard whose leases end by the clock of the test."""

    def make(*budgets: Budget, **options: Any) -> BudgetGuard:
        given = {"prices": PRICES, "lease": LEASE, "clock": clock, **options}
        return BudgetGuard(*budgets, store=MemoryStorage(clock=clock), **given)

    return make


Guarded = Callable[..., BudgetGuard]


def wide(unit: str = "tokens", **options: Any) -> Budget:
    limit: Any = 1_000 if unit == "usd" else 10**9
    return Budget(**{unit: limit, "per": "total", **options})


def stand_in(*responses: Any, **options: Any) -> ScriptedChatModel:
    given = {"model_name": "test-model", "loop": True, **options}
    return ScriptedChatModel(responses=list(responses) or ["Paris."], **given)


def answer(read: int, written: int, text: str = "Paris.", **said: Any) -> AIMessage:
    usage: Any = {
        "input_tokens": read,
        "output_tokens": written,
        "total_tokens": read + written,
    }
    return AIMessage(text, usage_metadata=usage, response_metadata=said)


def only(guard: BudgetGuard) -> BudgetStatus:
    (status,) = guard.status()
    return status


def used(guard: BudgetGuard) -> list[Any]:
    assert [status.held for status in guard.status()] == [0] * len(guard.budgets)
    return [status.used for status in guard.status()]


def count(content: Any) -> int:
    return TokenCounter().count(content, model="test-model")


def asked(text: str = PROMPT) -> int:
    return count([HumanMessage(text)])


def watched(guard: BudgetGuard, seen: list[Any]) -> Callable[[Any], str]:
    """An answer that looks what is held while it is given."""

    def reply(_: Any) -> str:
        seen.append([status.held for status in guard.status()])
        return "Paris."

    return reply


def reserved(guard: BudgetGuard, model: Callable[[Any], Any], **options: Any) -> Any:
    """What is held of the first budget during a call."""
    seen: list[Any] = []
    model(watched(guard, seen)).invoke(PROMPT, {"callbacks": [guard]}, **options)
    return seen[0][0]


async def invoke(model: Any, prompt: Any, config: Any) -> Any:
    return model.invoke(prompt, config)


async def ainvoke(model: Any, prompt: Any, config: Any) -> Any:
    return await model.ainvoke(prompt, config)


async def stream(model: Any, prompt: Any, config: Any) -> Any:
    return list(model.stream(prompt, config))


async def astream(model: Any, prompt: Any, config: Any) -> Any:
    return [chunk async for chunk in model.astream(prompt, config)]


every_way = pytest.mark.parametrize("way", [invoke, ainvoke, stream, astream])
once = pytest.mark.parametrize("way", [invoke, ainvoke])

UNITS = [wide(unit) for unit in ("usd", "tokens", "input_tokens", "output_tokens")]
EVERY_UNIT = [*UNITS, wide("calls")]


class TestWhatIsSettled:
    @every_way
    async def test_every_unit_takes_what_the_provider_reports(
        self, way: Way, guarded: Guarded
    ) -> None:
        guard = guarded(*EVERY_UNIT)
        await way(stand_in(answer(1000, 100)), PROMPT, {"callbacks": [guard]})
        assert used(guard) == [Decimal("0.002"), 1100, 1000, 100, 1]

    async def test_calls_add_up(self, guarded: Guarded) -> None:
        guard = guarded(*EVERY_UNIT)
        model = stand_in(answer(1000, 100), answer(10, 1))
        for _ in range(4):
            model.invoke(PROMPT, {"callbacks": [guard]})
        assert used(guard) == [Decimal("0.00404"), 2202 + 20, 2020, 202, 4]

    def test_dollars_are_rounded_up_to_a_nano_dollar_for_each_call(
        self, guarded: Guarded
    ) -> None:
        guard = guarded(wide("usd"))
        model = stand_in(answer(1, 1), model_name="tiny-model")
        model.invoke(PROMPT, {"callbacks": [guard]})
        assert used(guard) == [Decimal("0.000000001")]  # of a tenth
        model.invoke(PROMPT, {"callbacks": [guard]})
        assert used(guard) == [Decimal("0.000000002")]

    @every_way
    async def test_the_model_that_answered_sets_the_price(
        self, way: Way, guarded: Guarded
    ) -> None:
        guard = guarded(wide("usd"))
        model = stand_in(answer(1000, 100, model_name="dear-model"))
        await way(model, PROMPT, {"callbacks": [guard]})
        assert used(guard) == [Decimal("0.004")]

    def test_where_the_answering_model_has_no_price_the_asked_one_sets_it(
        self, guarded: Guarded
    ) -> None:
        guard = guarded(wide("usd"))
        model = stand_in(answer(1000, 100, model_name="never-heard-of"))
        model.invoke(PROMPT, {"callbacks": [guard]})
        assert used(guard) == [Decimal("0.002")]

    @pytest.mark.parametrize("broken", [False, True])
    @once
    async def test_a_provider_that_reports_nothing_is_settled_by_its_estimate(
        self, way: Way, guarded: Guarded, broken: bool
    ) -> None:
        guard = guarded(wide(), wide("calls"))
        model = stand_in(answer(0, 0) if broken else "Paris.", report_usage=broken)
        await way(model, PROMPT, {"callbacks": [guard]})
        assert used(guard) == [asked() + count("Paris."), 1]

    @pytest.mark.parametrize("way", [stream, astream])
    async def test_a_stream_that_reports_nothing_is_settled_by_its_estimate(
        self, way: Way, guarded: Guarded
    ) -> None:
        guard = guarded(wide())
        model = stand_in("one two three", stream_usage=False)
        await way(model, PROMPT, {"callbacks": [guard]})
        assert used(guard) == [asked() + count("one two three")]

    @once
    async def test_completions_are_settled_as_well(
        self, way: Way, guarded: Guarded
    ) -> None:
        guard = guarded(wide(), wide("calls"))
        model = FakeListLLM(responses=["Paris it is."])
        await way(model, PROMPT, {"callbacks": [guard]})
        tokens, calls = used(guard)
        assert calls == 1
        assert tokens == TokenCounter().count(PROMPT) + TokenCounter().count(
            "Paris it is."
        )

    def test_completions_of_several_prompts_are_settled_one_by_one(
        self, guarded: Guarded
    ) -> None:
        guard = guarded(wide("calls"))
        model = FakeListLLM(responses=["Paris it is."])
        model.generate([PROMPT] * 3, callbacks=[guard])
        assert used(guard) == [3]

    @once
    async def test_completions_are_refused_as_well(
        self, way: Way, guarded: Guarded
    ) -> None:
        guard = guarded(Budget(calls=0, per="total"))
        with pytest.raises(BudgetExceededError):
            await way(FakeListLLM(responses=["x"]), PROMPT, {"callbacks": [guard]})
        assert used(guard) == [0]

    def test_what_was_not_reserved_shows_as_overshoot(self, guarded: Guarded) -> None:
        guard = guarded(Budget(output_tokens=1100, per="total"))
        model = stand_in(answer(10, 5000))
        model.invoke(PROMPT, {"callbacks": [guard]})
        status = only(guard)
        assert (status.used, status.overshoot, status.remaining) == (5000, 3900, 0)
        with pytest.raises(BudgetExceededError):
            model.invoke(PROMPT, {"callbacks": [guard]})

    def test_overshoot_of_dollars_is_in_dollars(self, guarded: Guarded) -> None:
        guard = guarded(Budget(usd="0.02", per="total"))
        model = stand_in(answer(10_000, 5_000))
        model.invoke(PROMPT, {"callbacks": [guard]})
        assert (only(guard).used, only(guard).overshoot) == (
            Decimal("0.06"),
            Decimal("0.04"),
        )

    def test_a_call_that_spans_midnight_is_settled_on_the_day_it_began(
        self, guarded: Guarded, clock: Clock
    ) -> None:
        clock.now = 1_790_000_000.0 - 1_790_000_000.0 % 86_400 + 86_390

        def slow(_: Any) -> AIMessage:
            clock.now += 60
            return answer(1000, 100)

        guard = guarded(wide(per="day"))
        stand_in(slow).invoke(PROMPT, {"callbacks": [guard]})
        assert used(guard) == [0]
        clock.now -= 60
        assert used(guard) == [1100]


class TestFailures:
    @every_way
    async def test_a_call_that_fails_frees_everything(
        self, way: Way, guarded: Guarded
    ) -> None:
        guard = guarded(*EVERY_UNIT)
        with pytest.raises(ValueError, match="no"):
            await way(stand_in(ValueError("no")), PROMPT, {"callbacks": [guard]})
        assert used(guard) == [0, 0, 0, 0, 0]

    @once
    async def test_failures_never_use_up_a_budget(
        self, way: Way, guarded: Guarded
    ) -> None:
        guard = guarded(Budget(tokens=1100, per="total"))
        model = stand_in(*[TimeoutError("slow")] * 20, "Paris.", loop=False)
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await way(model, PROMPT, {"callbacks": [guard]})
        await way(model, PROMPT, {"callbacks": [guard]})
        assert 0 < used(guard)[0] < 100

    @pytest.mark.parametrize("way", [stream, astream])
    async def test_a_stream_that_breaks_midway_is_settled_by_what_had_come(
        self, way: Way, guarded: Guarded
    ) -> None:
        guard = guarded(wide(), wide("calls"))
        model = stand_in("one two three four five", fail_after=3)
        with pytest.raises(ConnectionError):
            await way(model, PROMPT, {"callbacks": [guard]})
        assert used(guard) == [asked() + count("one two three "), 1]

    @pytest.mark.parametrize("way", [stream, astream])
    async def test_a_stream_that_breaks_before_its_first_chunk_costs_nothing(
        self, way: Way, guarded: Guarded
    ) -> None:
        guard = guarded(wide(), wide("calls"))
        with pytest.raises(ConnectionError):
            await way(stand_in("one", fail_after=0), PROMPT, {"callbacks": [guard]})
        assert used(guard) == [0, 0]

    def test_a_stream_closed_early_is_settled_by_what_had_come(
        self, guarded: Guarded
    ) -> None:
        guard = guarded(wide(), wide("calls"))
        chunks = stand_in("one two three four").stream(PROMPT, {"callbacks": [guard]})
        next(chunks)
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]
        assert used(guard) == [asked() + count("one two "), 1]

    def test_a_loop_left_early_settles(self, guarded: Guarded) -> None:
        guard = guarded(wide())
        for _ in stand_in("one two three").stream(PROMPT, {"callbacks": [guard]}):
            break
        assert used(guard) == [asked() + count("one ")]

    async def test_an_async_loop_left_early_settles(self, guarded: Guarded) -> None:
        guard = guarded(wide())
        chunks: Any = stand_in("one two three").astream(PROMPT, {"callbacks": [guard]})
        async with aclosing(chunks):
            async for _ in chunks:
                break
        assert used(guard) == [asked() + count("one ")]

    def test_a_chain_whose_stream_is_closed_early_settles(
        self, guarded: Guarded
    ) -> None:
        guard = guarded(wide())
        chain = stand_in("one two three four") | StrOutputParser()
        chunks: Any = chain.stream(PROMPT, {"callbacks": [guard]})
        next(chunks)
        chunks.close()
        assert used(guard)[0] >= asked()

    def test_of_prompts_where_one_fails_nothing_is_held_after_the_lease(
        self, guarded: Guarded, clock: Clock
    ) -> None:
        # LangChain tells nothing of the prompts that had been answered by then.
        guard = guarded(wide("calls"), wide())
        model = stand_in("a", "b", ValueError("third"), loop=False)
        prompts: list[list[BaseMessage]] = [[HumanMessage(PROMPT)] for _ in "abc"]
        with pytest.raises(ValueError, match="third"):
            model.generate(prompts, callbacks=[guard])
        clock.now += LEASE
        assert used(guard) == [2, 2 * asked()]


@pytest.fixture
def cache() -> Iterator[None]:
    before = get_llm_cache()
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(before)


@pytest.mark.usefixtures("cache")
class TestAnswersFromACache:
    @pytest.mark.parametrize("report", [True, False])
    @once
    async def test_they_cost_nothing(
        self, way: Way, guarded: Guarded, report: bool
    ) -> None:
        guard, model = guarded(*EVERY_UNIT), stand_in(report_usage=report)
        await way(model, PROMPT, {"callbacks": [guard]})
        first = used(guard)
        for _ in range(3):
            await way(model, PROMPT, {"callbacks": [guard]})
        assert len(model.calls) == 1
        assert used(guard) == first

    def test_they_teach_nothing_of_the_length_of_answers(
        self, guarded: Guarded
    ) -> None:
        guard, model = guarded(wide("output_tokens")), stand_in(answer(10, 5))
        for _ in range(120):
            model.invoke(PROMPT, {"callbacks": [guard]})
        assert reserved(guard, stand_in, stop=["other than what is cached"]) == 1024


class Endless:
    """A provider that never answers; knows how many calls have come."""

    def __init__(self, calls: int) -> None:
        self.reached = asyncio.Event()
        self._left = calls

    async def __call__(self, seconds: float) -> None:
        self._left -= 1
        if self._left <= 0:
            self.reached.set()
        await asyncio.Event().wait()


class TestCallsThatNeverEnd:
    async def test_of_a_thousand_cancelled_calls_only_their_input_stays(
        self, guarded: Guarded, clock: Clock
    ) -> None:
        guard, endless = guarded(*EVERY_UNIT), Endless(1000)
        model = stand_in(latency=(1.0, 0.0), asleep=endless)
        tasks = [
            asyncio.create_task(model.ainvoke(PROMPT, {"callbacks": [guard]}))
            for _ in range(1000)
        ]
        await endless.reached.wait()
        for task in tasks:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in found} == {asyncio.CancelledError}
        assert guard.status()[1].held > 1000 * asked()
        clock.now += LEASE
        sent = 1000 * asked()
        assert used(guard) == [Decimal(sent) / 10**6, sent, sent, 0, 1000]

    async def test_calls_that_time_out_stay_charged_with_their_input(
        self, guarded: Guarded, clock: Clock
    ) -> None:
        guard, endless = guarded(wide()), Endless(20)
        model = stand_in(latency=(1.0, 0.0), asleep=endless)

        async def impatient() -> None:
            async with asyncio.timeout(None) as limit:
                call = asyncio.create_task(
                    model.ainvoke(PROMPT, {"callbacks": [guard]})
                )
                await endless.reached.wait()
                limit.reschedule(asyncio.get_running_loop().time())
                await call

        calls = [impatient() for _ in range(20)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in found} == {TimeoutError}
        clock.now += LEASE
        assert used(guard) == [20 * asked()]

    async def test_wait_for_leaves_nothing_held(
        self, guarded: Guarded, clock: Clock
    ) -> None:
        guard, endless = guarded(wide()), Endless(1)
        model = stand_in(latency=(1.0, 0.0), asleep=endless)
        for seconds in (0, 0.000_1, 0.01):
            call = model.ainvoke(PROMPT, {"callbacks": [guard]})
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, seconds)
        # Waits for the threads that a call was cancelled on.
        await asyncio.get_running_loop().shutdown_default_executor()
        clock.now += LEASE
        assert used(guard)[0] <= 3 * asked()

    async def test_a_cancelled_stream_is_settled_at_once(
        self, guarded: Guarded
    ) -> None:
        guard, endless = guarded(wide()), Endless(1)
        model = stand_in(latency=(1.0, 0.0), asleep=endless)
        task = asyncio.create_task(astream(model, PROMPT, {"callbacks": [guard]}))
        await endless.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert used(guard) == [asked()]

    async def test_held_amounts_refuse_others_until_the_lease_ends(
        self, guarded: Guarded, clock: Clock
    ) -> None:
        guard, endless = guarded(Budget(output_tokens=1024, per="total")), Endless(1)
        lost = stand_in(latency=(1.0, 0.0), asleep=endless)
        task = asyncio.create_task(lost.ainvoke(PROMPT, {"callbacks": [guard]}))
        await endless.reached.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(BudgetExceededError):
            stand_in().invoke(PROMPT, {"callbacks": [guard]})
        clock.now += LEASE
        stand_in().invoke(PROMPT, {"callbacks": [guard]})
        assert used(guard) == [count("Paris.")]

    @every_way
    async def test_a_call_that_ends_after_its_lease_is_settled_all_the_same(
        self, way: Way, guarded: Guarded, clock: Clock
    ) -> None:
        guard = guarded(*EVERY_UNIT)

        def slow(_: Any) -> AIMessage:
            clock.now += LEASE + 10
            assert guard.status()[1].used == asked()
            return answer(1000, 100)

        await way(stand_in(slow), PROMPT, {"callbacks": [guard]})
        assert used(guard) == [Decimal("0.002"), 1100, 1000, 100, 1]

    def test_a_call_that_fails_after_its_lease_is_freed_all_the_same(
        self, guarded: Guarded, clock: Clock
    ) -> None:
        guard = guarded(wide())

        def slow(_: Any) -> str:
            clock.now += LEASE + 10
            raise ConnectionError

        with pytest.raises(ConnectionError):
            stand_in(slow).invoke(PROMPT, {"callbacks": [guard]})
        assert used(guard) == [0]

    def test_more_than_an_hour_after_its_lease_only_its_input_stays(
        self, guarded: Guarded, clock: Clock
    ) -> None:
        guard = guarded(wide())

        def slow(_: Any) -> AIMessage:
            clock.now += LEASE + 10
            guard.status()
            clock.now += 3600
            return answer(1000, 100)

        stand_in(slow).invoke(PROMPT, {"callbacks": [guard]})
        assert used(guard) == [asked()]

    def test_a_call_that_ends_twice_is_settled_once(self, guarded: Guarded) -> None:
        guard, run_id = guarded(wide()), uuid4()
        guard.on_chat_model_start({}, [[HumanMessage(PROMPT)]], run_id=run_id)
        result: Any = Finished([ChatGeneration(message=answer(10, 5))])
        guard.on_llm_end(result, run_id=run_id)
        guard.on_llm_end(result, run_id=run_id)
        guard.on_llm_error(ValueError("late"), run_id=run_id)
        assert used(guard) == [15]

    def test_a_call_that_ends_while_lost_ones_are_dropped_is_settled(
        self, guarded: Guarded
    ) -> None:
        guard, run_id = guarded(wide()), uuid4()

        def meanwhile() -> None:
            with ThreadPoolExecutor(1) as other:
                for _ in range(256):
                    other.submit(
                        stand_in(answer(1, 1)).invoke, PROMPT, {"callbacks": [guard]}
                    ).result()

        guard.on_chat_model_start({}, [[HumanMessage(PROMPT)]], run_id=run_id)
        message = ChatGeneration(message=answer(10, 5))
        guard.on_llm_end(Finished([message], meanwhile), run_id=run_id)  # type: ignore[arg-type]
        assert used(guard) == [256 * 2 + 15]


class Finished:
    """A result that is read while something else happens."""

    llm_output = None

    def __init__(
        self, choices: list[Any], meanwhile: Callable[[], None] | None = None
    ) -> None:
        self._choices = choices
        self._meanwhile = meanwhile

    @property
    def generations(self) -> list[list[Any]]:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return [self._choices]


class TestWhatIsReserved:
    def test_the_input_is_reserved_at_its_bound(self, guarded: Guarded) -> None:
        guard = guarded(wide("input_tokens"))
        bound = TokenCounter().upper_bound([HumanMessage(PROMPT)], model="test-model")
        assert reserved(guard, stand_in) == bound > asked()

    def test_without_a_cap_1024_tokens_are_reserved_at_first(
        self, guarded: Guarded
    ) -> None:
        assert reserved(guarded(wide("output_tokens")), stand_in) == 1024

    def test_the_cap_of_a_call_is_reserved(self, guarded: Guarded) -> None:
        guard = guarded(wide("output_tokens"))
        assert reserved(guard, stand_in, max_tokens=77) == 77

    def test_the_cap_of_a_model_is_reserved(self, guarded: Guarded) -> None:
        guard = guarded(wide("output_tokens"))
        assert reserved(guard, lambda reply: stand_in(reply, max_tokens=55)) == 55

    def test_the_cap_of_a_call_comes_before_that_of_its_model(
        self, guarded: Guarded
    ) -> None:
        guard = guarded(wide("output_tokens"))
        found = reserved(
            guard, lambda reply: stand_in(reply, max_tokens=55), max_tokens=77
        )
        assert found == 77

    @pytest.mark.parametrize(("options", "held"), [({}, 2048), ({"max_tokens": 9}, 18)])
    def test_each_of_several_choices_is_reserved(
        self, guarded: Guarded, options: dict[str, Any], held: int
    ) -> None:
        assert reserved(guarded(wide("output_tokens")), stand_in, n=2, **options) == (
            held
        )

    def test_what_several_choices_used_is_settled_once(self, guarded: Guarded) -> None:
        guard = guarded(wide())
        stand_in(answer(10, 50)).invoke(PROMPT, {"callbacks": [guard]}, n=2)
        assert used(guard) == [60]

    def test_dollars_are_reserved_for_input_and_output(self, guarded: Guarded) -> None:
        guard = guarded(wide("usd"))
        bound = TokenCounter().upper_bound([HumanMessage(PROMPT)], model="test-model")
        cost = Decimal(bound * 1 + 1024 * 10) / 10**6
        assert reserved(guard, stand_in) == cost

    def test_before_a_hundred_answers_the_longest_one_is_reserved(
        self, guarded: Guarded
    ) -> None:
        guard = guarded(wide("output_tokens"))
        for written in (3000, 7):
            stand_in(answer(5, written)).invoke(PROMPT, {"callbacks": [guard]})
        assert reserved(guard, stand_in) == 3000

    def test_after_a_hundred_answers_their_99th_percentile_is_reserved(
        self, guarded: Guarded
    ) -> None:
        guard = guarded(wide("output_tokens"))
        lengths = [answer(5, written) for written in range(1, 101)]
        model = stand_in(*lengths)
        for _ in range(99):
            model.invoke(PROMPT, {"callbacks": [guard]})
        assert reserved(guard, stand_in) == 1024  # the hundredth, of few tokens
        assert reserved(guard, stand_in) == 99

    def test_one_long_answer_of_two_hundred_is_not_reserved(
        self, guarded: Guarded
    ) -> None:
        guard = guarded(wide("output_tokens"))
        model = stand_in(answer(5, 9000), *[answer(5, 40)] * 199)
        for _ in range(200):
            model.invoke(PROMPT, {"callbacks": [guard]})
        assert reserved(guard, stand_in) == 40

    def test_choices_are_learned_one_by_one(self, guarded: Guarded) -> None:
        guard = guarded(wide("output_tokens"))
        model = stand_in(answer(5, 200))
        for _ in range(100):
            model.invoke(PROMPT, {"callbacks": [guard]}, n=2)
        assert reserved(guard, stand_in) == 100

    def test_lengths_are_learned_for_each_model(self, guarded: Guarded) -> None:
        guard, model = guarded(wide("output_tokens")), stand_in(answer(5, 40))
        for _ in range(100):
            model.invoke(PROMPT, {"callbacks": [guard]})
        assert reserved(guard, stand_in) == 40
        other = reserved(guard, lambda reply: stand_in(reply, model_name="other"))
        assert other == 1024

    def test_lengths_are_learned_for_each_node(self, guarded: Guarded) -> None:
        class State(TypedDict, total=False):
            model: Any

        def ask(state: State) -> State:
            state["model"].invoke(PROMPT)
            return {}

        builder: Any = StateGraph(State)
        nodes = ["draft", "check"]
        for name in nodes:
            builder.add_node(name, ask)
        builder.add_conditional_edges(START, lambda s: s["model"].name, nodes)
        graph = builder.compile()
        guard: BudgetGuard = guarded(wide("output_tokens"))
        short = stand_in(answer(5, 40), name="draft")
        for _ in range(100):
            graph.invoke({"model": short}, {"callbacks": [guard]})
        seen: list[Any] = []
        for node in ("draft", "check"):
            looking = stand_in(watched(guard, seen), name=node)
            graph.invoke({"model": looking}, {"callbacks": [guard]})
        assert seen == [[40], [1024]]

    def test_estimated_answers_teach_nothing(self, guarded: Guarded) -> None:
        guard, model = guarded(wide("output_tokens")), stand_in(report_usage=False)
        for _ in range(100):
            model.invoke(PROMPT, {"callbacks": [guard]})
        assert reserved(guard, stand_in) == 1024


class Claude(ChatAnthropic):
    """The real class, without the network."""

    reply: Any

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage(self.reply(messages), response_metadata={"model": "x"})
        return ChatResult(generations=[ChatGeneration(message=message)])


def claude(**options: Any) -> Callable[[Any], Claude]:
    given = {"model": "claude-sonnet-4-5-20250929", "api_key": "x", **options}
    return lambda reply: Claude(reply=reply, **given)


class TestModelsThatMustSendACap:
    def test_their_own_maximum_is_not_reserved(self, guarded: Guarded) -> None:
        assert claude()(str).max_tokens == 64_000  # what is sent without a cap
        assert reserved(guarded(wide("output_tokens")), claude()) == 1024

    def test_a_cap_of_the_caller_is_reserved(self, guarded: Guarded) -> None:
        guard = guarded(wide("output_tokens"))
        assert reserved(guard, claude(max_tokens=300)) == 300

    def test_a_cap_of_one_call_is_reserved(self, guarded: Guarded) -> None:
        guard = guarded(wide("output_tokens"))
        assert reserved(guard, claude(), max_tokens=200) == 200


class Wrapper(BaseChatModel):
    """A model that asks another one, as routers and caches do."""

    inner: Any

    @property
    def _llm_type(self) -> str:
        return "wrapper"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": "test-model"}

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        config: Any = {"callbacks": run_manager.handlers}
        message = self.inner.invoke(messages, config)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        config: Any = {"callbacks": run_manager.handlers}
        message = await self.inner.ainvoke(messages, config)
        return ChatResult(generations=[ChatGeneration(message=message)])


class TestModelsThatWrapOthers:
    def test_what_was_billed_is_charged_once(self, guarded: Guarded) -> None:
        guard = guarded(*EVERY_UNIT)
        wrapper = Wrapper(inner=stand_in(answer(1000, 100)))
        wrapper.invoke(PROMPT, {"callbacks": [guard]})
        assert used(guard) == [Decimal("0.002"), 1100, 1000, 100, 1]

    async def test_in_async_both_are_charged_as_the_readme_says(
        self, guarded: Guarded
    ) -> None:
        guard = guarded(*EVERY_UNIT)
        wrapper = Wrapper(inner=stand_in(answer(1000, 100)))
        await wrapper.ainvoke(PROMPT, {"callbacks": [guard]})
        assert used(guard) == [Decimal("0.004"), 2200, 2000, 200, 2]

    @once
    async def test_where_the_inner_call_fails_all_is_freed(
        self, way: Way, guarded: Guarded
    ) -> None:
        guard = guarded(*EVERY_UNIT)
        wrapper = Wrapper(inner=stand_in(ValueError("no")))
        with pytest.raises(ValueError, match="no"):
            await way(wrapper, PROMPT, {"callbacks": [guard]})
        assert used(guard) == [0, 0, 0, 0, 0]

    @once
    async def test_where_the_inner_call_is_refused_the_outer_one_is_freed(
        self, way: Way, guarded: Guarded
    ) -> None:
        guard, inner = guarded(Budget(calls=1, per="total")), stand_in()
        with pytest.raises(BudgetExceededError):
            await way(Wrapper(inner=inner), PROMPT, {"callbacks": [guard]})
        assert inner.calls == []
        assert used(guard) == [0]
