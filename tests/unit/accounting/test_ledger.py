"""The ledger is right where LangChain's own usage handler is not."""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, TypedDict
from uuid import uuid4

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import (
    UsageMetadataCallbackHandler,
    get_usage_metadata_callback,
)
from langchain_core.documents import Document
from langchain_core.language_models import (
    BaseChatModel,
    FakeListLLM,
    FakeMessagesListChatModel,
)
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    ChatResult,
    LLMResult,
)
from langchain_core.runnables import RunnableLambda
from langchain_openai import OpenAIEmbeddings
from langgraph.graph import END, START, StateGraph

from langchain_lean import (
    MeteredEmbeddings,
    TokenLedger,
    TokenUsage,
    UnpricedModelError,
    local_embeddings,
    track,
)
from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.accounting.reporting import report_blocked
from langchain_lean.errors import ConfigurationError, UsageError
from tests.unit.accounting.conftest import PRICES, Clock

Make = Callable[..., Any]

USAGE = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
COST = Decimal("0.002")  # 1000 at $1 and 100 at $10 a million


def answer(text: str = "Paris.", **usage: Any) -> AIMessage:
    return AIMessage(text, usage_metadata={**USAGE, **usage})


def only(ledger: TokenLedger) -> LedgerEntry:
    (entry,) = ledger.entries()
    return entry


class TestOneCall:
    def test_tokens_cost_model_and_user_stand_in_one_entry(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        config = {"callbacks": [ledger], "metadata": {"user_id": "ada"}, "tags": ["x"]}
        model(answer()).invoke("What is the capital of France?", config)
        entry = only(ledger)
        assert entry.usage == TokenUsage(input=1000, output=100)
        assert entry.cost is not None
        assert entry.cost.total == COST
        assert (entry.model, entry.user_id, entry.tags) == ("test-model", "ada", ("x",))
        assert not entry.estimated

    async def test_all_ways_of_calling_count_the_same(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        config = {"callbacks": [ledger]}
        stand_in = model(answer())
        stand_in.invoke("q", config)
        await stand_in.ainvoke("q", config)
        list(stand_in.stream("q", config))
        _ = [chunk async for chunk in stand_in.astream("q", config)]
        stand_in.batch(["q", "q"], config)
        await stand_in.abatch(["q", "q"], config)
        totals = ledger.totals()
        assert totals.calls == 8
        assert totals.usage == TokenUsage(input=8000, output=800)
        assert totals.cost == 8 * COST

    def test_a_stream_knows_when_its_first_token_came(
        self, ledger: TokenLedger, model: Make, clock: Clock
    ) -> None:
        stream = model(answer("One two three.")).stream("q", {"callbacks": [ledger]})
        clock.now += 2
        next(stream)
        clock.now += 3
        list(stream)
        entry = only(ledger)
        assert (entry.first_token_seconds, entry.seconds) == (2.0, 5.0) or (
            entry.first_token_seconds,
            entry.seconds,
        ) == (0.0, 3.0)


class TestWhereTheBuiltInHandlerIsWrong:
    def test_an_answer_without_a_model_name_is_counted(
        self, ledger: TokenLedger
    ) -> None:
        nameless = GenericFakeChatModel(messages=iter([answer()]))
        built_in = UsageMetadataCallbackHandler()
        nameless.invoke("q", {"callbacks": [ledger, built_in]})
        assert built_in.usage_metadata == {}
        assert only(ledger).usage == TokenUsage(input=1000, output=100)
        assert only(ledger).unpriced

    def test_a_cache_hit_costs_nothing_and_shows_what_it_saved(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        built_in = UsageMetadataCallbackHandler()
        cached = model(answer(), cache=InMemoryCache())
        for _ in range(3):
            cached.invoke("q", {"callbacks": [ledger, built_in]})
        assert built_in.usage_metadata["test-model"]["input_tokens"] == 3000
        totals = ledger.totals()
        assert (totals.calls, totals.flags["cache_hit"]) == (3, 2)
        assert totals.usage == TokenUsage(input=1000, output=100)
        assert totals.cost == COST
        saved = ledger.savings().levers["cache"]
        assert (saved.count, saved.exact, saved.counterfactual) == (2, 2 * COST, 0)

    def test_a_cache_hit_that_carries_no_tokens_claims_no_saving(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        cached = model("Paris.", cache=InMemoryCache(), report_usage=False)
        for _ in range(2):
            cached.invoke("q", {"callbacks": [ledger]})
        first, second = ledger.entries()
        assert first.estimated
        assert second.cache_hit
        assert second.usage == TokenUsage()
        assert ledger.savings().levers == {}

    def test_a_stream_the_caller_breaks_off_is_estimated(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        built_in = UsageMetadataCallbackHandler()
        config = {"callbacks": [ledger, built_in]}
        stream = model(answer("one two three four five six")).stream(
            "a question", config
        )
        for _ in range(3):
            next(stream)
        stream.close()
        assert built_in.usage_metadata == {}
        entry = only(ledger)
        assert entry.stopped_early
        assert entry.estimated
        assert not entry.failed
        assert entry.usage.input > 2
        assert 1 <= entry.usage.output <= 6

    def test_a_stream_that_breaks_is_estimated_and_failed(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        broken = model(answer("one two three four five"), fail_after=3)
        with pytest.raises(ConnectionError):
            list(broken.stream("a question", {"callbacks": [ledger]}))
        entry = only(ledger)
        assert (entry.failed, entry.estimated) == (True, True)
        assert entry.reason == "ConnectionError"
        assert entry.usage.input > 0
        assert entry.usage.output > 0
        assert ledger.totals().cost > 0

    def test_a_call_that_fails_without_an_answer_costs_nothing(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        with pytest.raises(ValueError, match="no"):
            model(ValueError("no")).invoke("q", {"callbacks": [ledger]})
        entry = only(ledger)
        assert (entry.failed, entry.estimated) == (True, False)
        assert entry.usage == TokenUsage()
        assert not entry.unpriced

    async def test_a_cancelled_call_is_abandoned_once_its_run_has_ended(
        self, ledger: TokenLedger
    ) -> None:
        async def ask(question: str) -> str:
            slow = SlowModel(limit=limit)
            return str((await slow.ainvoke(question)).content)

        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(None) as limit:
                await RunnableLambda(ask).ainvoke("q", {"callbacks": [ledger]})
        entry = only(ledger)
        assert (entry.abandoned, entry.estimated, entry.failed) == (True, True, False)
        assert entry.usage.input > 0
        assert entry.usage.output == 0

    async def test_a_cancelled_call_alone_is_abandoned_after_a_while(
        self, ledger: TokenLedger, clock: Clock
    ) -> None:
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(None) as limit:
                await SlowModel(limit=limit).ainvoke("q", {"callbacks": [ledger]})
        assert list(ledger.entries()) == []
        clock.now += ledger.abandon_after + 1
        assert only(ledger).abandoned

    async def test_a_cancelled_call_alone_is_abandoned_once_its_task_has_ended(
        self, ledger: TokenLedger
    ) -> None:
        async def request() -> None:
            async with asyncio.timeout(None) as limit:
                await SlowModel(limit=limit).ainvoke("q", {"callbacks": [ledger]})

        (error,) = await asyncio.gather(request(), return_exceptions=True)
        assert isinstance(error, TimeoutError)
        assert only(ledger).abandoned

    def test_what_is_under_way_when_a_ledger_is_closed_is_abandoned(
        self, ledger: TokenLedger
    ) -> None:
        ledger.on_chat_model_start({}, [[HumanMessage("q")]], run_id=uuid4())
        assert list(ledger.entries()) == []
        ledger.close()
        assert only(ledger).abandoned

    def test_a_call_that_ends_after_all_is_no_longer_abandoned(
        self, ledger: TokenLedger, clock: Clock
    ) -> None:
        run_id = uuid4()
        ledger.on_chat_model_start({}, [[HumanMessage("q")]], run_id=run_id)
        clock.now += ledger.abandon_after + 1
        assert only(ledger).abandoned
        ledger.on_llm_end(result(answer()), run_id=run_id)
        assert not only(ledger).abandoned
        assert only(ledger).usage.input == 1000

    def test_exporters_are_told_once_of_a_call_that_ends_after_all(
        self, clock: Clock
    ) -> None:
        told: list[LedgerEntry] = []
        ledger = TokenLedger(exporters=[told.extend], clock=clock, timer=clock)
        run_id = uuid4()
        ledger.on_chat_model_start({}, [[HumanMessage("q")]], run_id=run_id)
        clock.now += ledger.abandon_after + 1
        ledger.flush()
        ledger.on_llm_end(result(answer()), run_id=run_id)
        ledger.flush()
        assert [entry.abandoned for entry in told] == [True]

    async def test_a_stream_read_by_another_task_is_not_abandoned(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        stream = model("one two three").astream("q", {"callbacks": [ledger]})
        await asyncio.create_task(anext(stream))
        assert list(ledger.entries()) == []
        _ = [chunk async for chunk in stream]
        assert not only(ledger).abandoned

    def test_of_several_prompts_where_one_fails_none_is_lost(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        stand_in = model(answer(), answer(), ValueError("third"), loop=False)
        built_in = UsageMetadataCallbackHandler()
        prompts: list[list[BaseMessage]] = [[HumanMessage(text)] for text in "abc"]
        with pytest.raises(ValueError, match="third"):
            stand_in.generate(prompts, callbacks=[ledger, built_in])
        assert built_in.usage_metadata == {}
        entries = list(ledger.entries())
        assert sorted((e.abandoned, e.failed) for e in entries) == [
            (False, True),
            (True, False),
            (True, False),
        ]
        assert all(e.usage.input > 0 for e in entries if e.abandoned)

    async def test_of_several_async_prompts_the_answered_ones_are_whole(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        stand_in = model(answer(), answer(), ValueError("third"), loop=False)
        prompts: list[list[BaseMessage]] = [[HumanMessage(text)] for text in "abc"]
        with pytest.raises(ValueError, match="third"):
            await stand_in.agenerate(prompts, callbacks=[ledger])
        totals = ledger.totals()
        assert totals.flags == {"failed": 1}
        assert totals.usage.input == 2000

    def test_a_handler_given_twice_counts_once(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        built_in = UsageMetadataCallbackHandler()
        handlers = [ledger, ledger, built_in, built_in]
        model(answer()).invoke("q", {"callbacks": handlers})
        assert built_in.usage_metadata["test-model"]["input_tokens"] == 2000
        assert only(ledger).usage.input == 1000

    def test_plain_threads_are_seen_when_asked(self, model: Make) -> None:
        with (
            track(TokenLedger(prices=PRICES), all_threads=True) as ledger,
            ThreadPoolExecutor(4) as pool,
        ):
            list(pool.map(lambda _: model(answer()).invoke("q"), range(8)))
        assert ledger.totals().calls == 8

    def test_a_model_that_wraps_another_counts_what_was_billed_once(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        wrapper = Wrapper(inner=model(answer(), loop=True))
        with get_usage_metadata_callback() as built_in, track(ledger):
            wrapper.invoke("q")
        assert built_in.usage_metadata["test-model"]["input_tokens"] == 2000
        assert ledger.totals().calls == 1
        assert ledger.totals().usage.input == 1000
        assert ledger.totals().cost == COST

    def test_a_wrapper_that_streams_is_counted_once(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        wrapper = Wrapper(inner=model(answer("One two.")))
        with track(ledger):
            list(wrapper.stream("q"))
        assert ledger.totals().calls == 1
        assert ledger.totals().usage.input == 1000

    async def test_a_server_that_gives_every_answer_one_id_is_counted_in_full(
        self, ledger: TokenLedger
    ) -> None:
        runs = [uuid4(), uuid4()]
        for run_id in runs:
            ledger.on_chat_model_start({}, [[HumanMessage("q")]], run_id=run_id)
        for run_id, text in zip(reversed(runs), ("Paris.", "Rome."), strict=True):
            message = answer(text)
            message.id = "always-the-same"
            ledger.on_llm_end(result(message), run_id=run_id)
        assert ledger.totals().usage.input == 2000

    def test_a_wrapper_that_copies_the_message_is_counted_once(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        class Copier(Wrapper):
            def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
                message = self.inner.invoke(messages).model_copy()
                return ChatResult(generations=[ChatGeneration(message=message)])

        with track(ledger):
            Copier(inner=model(answer())).invoke("q")
        assert ledger.totals().usage.input == 1000

    async def test_equal_answers_at_the_same_time_are_all_counted(
        self, ledger: TokenLedger
    ) -> None:
        class OneId(SlowModel):
            async def _agenerate(self, messages: Any, *a: Any, **kw: Any) -> ChatResult:
                await asyncio.sleep(0.02 if messages[0].content == "first" else 0)
                message = answer()
                message.id = "always-the-same"
                return ChatResult(generations=[ChatGeneration(message=message)])

        config: Any = {"callbacks": [ledger]}
        calls = [OneId().ainvoke(text, config) for text in ("first", "b", "c", "d")]
        await asyncio.gather(*calls)
        assert ledger.totals().usage.input == 4000

    async def test_an_async_wrapper_that_asks_twice_is_counted_twice_not_thrice(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        class Escalating(Wrapper):
            async def _agenerate(self, messages: Any, *a: Any, **k: Any) -> ChatResult:
                await self.inner.ainvoke(messages)
                message = await self.inner.ainvoke(messages)
                return ChatResult(generations=[ChatGeneration(message=message)])

        inner = model(answer("unsure"), answer("sure"))
        with track(ledger), track(TokenLedger(prices=PRICES)) as second:
            await Escalating(inner=inner).ainvoke("q")
        assert ledger.totals().calls == second.totals().calls == 2

    def test_a_stream_left_open_gathers_nothing(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        config: Any = {"callbacks": [ledger]}
        stream = model("one two three").stream("q", config)
        next(stream)
        for _ in range(50):
            model(answer()).invoke("q", config)
        (call,) = ledger._calls.values()
        assert call.nest is not None
        assert len(call.nest.answers) < 10
        stream.close()
        assert ledger.totals().calls == 51

    def test_equal_texts_with_other_tool_calls_are_two_answers(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        def calling(name: str) -> AIMessage:
            call = {"name": name, "args": {}, "id": "1"}
            return AIMessage("", id="same", tool_calls=[call], usage_metadata=USAGE)

        class Planner(Wrapper):
            def _generate(self, messages: Any, *a: Any, **k: Any) -> ChatResult:
                self.inner.invoke(messages)
                return ChatResult(generations=[ChatGeneration(message=calling("b"))])

        with track(ledger):
            Planner(inner=model(calling("a"))).invoke("q")
        assert ledger.totals().calls == 2

    def test_a_stand_in_that_returns_one_message_again_and_again_is_counted(
        self, ledger: TokenLedger
    ) -> None:
        fake = FakeMessagesListChatModel(responses=[answer()])
        for _ in range(3):
            fake.invoke("q", {"callbacks": [ledger]})
        assert ledger.totals().usage.input == 3000

    def test_retries_and_fallbacks_count_every_try(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        flaky = model(ConnectionError("again"), answer(), loop=False).with_retry(
            wait_exponential_jitter=False, stop_after_attempt=2
        )
        broken = model(ValueError("down")).with_fallbacks([model(answer())])
        flaky.invoke("q", {"callbacks": [ledger]})
        broken.invoke("q", {"callbacks": [ledger]})
        totals = ledger.totals()
        assert (totals.calls, totals.flags["failed"]) == (4, 2)
        assert totals.usage.input == 2000

    def test_choices_of_one_call_are_counted_once(self, ledger: TokenLedger) -> None:
        run_id = uuid4()
        ledger.on_chat_model_start({}, [[HumanMessage("q")]], run_id=run_id)
        choices = [ChatGeneration(message=answer()) for _ in range(3)]
        ledger.on_llm_end(LLMResult(generations=[choices]), run_id=run_id)
        assert only(ledger).usage == TokenUsage(input=1000, output=100)

    def test_a_plain_language_model_is_counted(self, ledger: TokenLedger) -> None:
        FakeListLLM(responses=["Paris."]).invoke("capital?", {"callbacks": [ledger]})
        entry = only(ledger)
        assert (entry.kind, entry.estimated) == ("completion", True)
        assert entry.usage.input > 0
        assert entry.usage.output > 0

    async def test_embeddings_are_counted(self, ledger: TokenLedger) -> None:
        embeddings = MeteredEmbeddings(local_embeddings(), ledger, model="test-model")
        assert len(embeddings.embed_query("one two three")) == 256
        assert len(embeddings.embed_documents(["one", "two"])) == 2
        await embeddings.aembed_query("one two three")
        await embeddings.aembed_documents(["one", "two"])
        totals = ledger.totals(by="kind")
        assert totals["embedding"].calls == 4
        assert totals["embedding"].usage == TokenUsage(input=3 + 2 + 3 + 2)
        assert totals["embedding"].cost == Decimal("0.00001")

    def test_embeddings_find_the_ledger_of_the_chain_they_run_in(
        self, ledger: TokenLedger
    ) -> None:
        embeddings = MeteredEmbeddings(local_embeddings(), ledger)
        config: Any = {"callbacks": [ledger], "metadata": {"user_id": "ada"}}
        with track(ledger):
            RunnableLambda(embeddings.embed_query).invoke("one", config)
        RunnableLambda(MeteredEmbeddings(local_embeddings()).embed_query).invoke(
            "one", config
        )
        assert ledger.totals(by="user_id")["ada"].calls == 2

    def test_embeddings_of_a_provider_have_its_prices(
        self, ledger: TokenLedger
    ) -> None:
        inner = OpenAIEmbeddings(model="text-embedding-3-small", api_key="none")
        embeddings = MeteredEmbeddings(inner, ledger)
        assert (embeddings.model, embeddings.provider) == (
            "text-embedding-3-small",
            "openai",
        )
        cost = ledger.prices.cost(TokenUsage(input=10**6), embeddings.model, "openai")
        assert cost.total == Decimal("0.02")

    def test_embeddings_find_the_tracking_ledger(self) -> None:
        with track() as outer, track() as inner:
            MeteredEmbeddings(local_embeddings()).embed_query("one two three")
        assert outer.totals().calls == inner.totals().calls == 1


class TestBlockedCalls:
    @pytest.mark.parametrize("seen", ["start", "no start", "start too late"])
    def test_a_blocked_call_stands_once(self, ledger: TokenLedger, seen: str) -> None:
        run_id = uuid4()

        def start() -> None:
            ledger.on_chat_model_start(
                {},
                [[HumanMessage("q")]],
                run_id=run_id,
                metadata={"ls_model_name": "test-model", "user_id": "ada"},
            )

        if seen == "start":
            start()
        for _ in range(2):
            report_blocked(
                run_id,
                reason="budget",
                model="test-model",
                metadata={"user_id": "ada"},
                callbacks=ledger,
            )
        if seen == "start too late":
            start()
        entry = only(ledger)
        assert (entry.blocked, entry.reason, entry.model) == (
            True,
            "budget",
            "test-model",
        )
        assert entry.user_id == "ada"
        assert ledger.totals().cost == 0

    def test_without_callbacks_the_tracking_ledger_is_told(self) -> None:
        with track() as ledger:
            report_blocked(uuid4(), reason="budget", model="test-model")
        assert ledger.totals().flags == {"blocked": 1}

    def test_where_nobody_listens_nothing_happens(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        report_blocked(uuid4(), reason="budget")
        assert caplog.records == []


class TestBadReports:
    @pytest.mark.parametrize(
        "usage",
        [
            {"input_tokens": -5, "output_tokens": 1, "total_tokens": -4},
            {"input_tokens": 1.5, "output_tokens": 1, "total_tokens": 2},
            {"input_tokens": "many", "output_tokens": 1, "total_tokens": 2},
            {"input_tokens": True, "output_tokens": 1, "total_tokens": 2},
            {"input_tokens": float("nan"), "output_tokens": 1, "total_tokens": 2},
            {"input_tokens": 10**30, "output_tokens": 1, "total_tokens": 2},
            {
                "input_tokens": 5,
                "output_tokens": 1,
                "total_tokens": 6,
                "input_token_details": {"cache_read": 50},
            },
        ],
    )
    def test_what_cannot_be_true_is_estimated_and_logged_once(
        self,
        ledger: TokenLedger,
        usage: dict[str, Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        message = answer()
        message.usage_metadata = usage  # type: ignore[assignment]
        for _ in range(3):
            run_id = uuid4()
            ledger.on_chat_model_start({}, [[HumanMessage("hello")]], run_id=run_id)
            ledger.on_llm_end(result(message), run_id=run_id)
        totals = ledger.totals()
        assert totals.flags["estimated"] == 3
        assert 3 <= totals.usage.input <= 60
        assert len(caplog.records) == 1
        assert all(entry.reason for entry in ledger.entries())

    @pytest.mark.parametrize(
        ("usage", "input_is", "output_is"),
        [
            ({"input_tokens": None, "output_tokens": 1}, None, 1),
            ({"input_tokens": 5000, "output_tokens": None}, 5000, None),
            ({"input_tokens": 5000}, 5000, None),
            ({"output_tokens": 7}, None, 7),
        ],
    )
    def test_a_count_that_is_missing_is_estimated(
        self,
        ledger: TokenLedger,
        usage: dict[str, Any],
        input_is: int | None,
        output_is: int | None,
    ) -> None:
        message = answer("a long answer " * 50)
        message.usage_metadata = usage  # type: ignore[assignment]
        run_id = uuid4()
        prompt: list[BaseMessage] = [HumanMessage("a very long prompt " * 100)]
        ledger.on_chat_model_start({}, [prompt], run_id=run_id)
        ledger.on_llm_end(result(message), run_id=run_id)
        entry = only(ledger)
        assert entry.estimated
        assert entry.usage.input == input_is or entry.usage.input > 100
        assert entry.usage.output == output_is or entry.usage.output > 50

    def test_one_kind_of_nonsense_is_logged_once(
        self, ledger: TokenLedger, caplog: pytest.LogCaptureFixture
    ) -> None:
        for wrong in range(-1, -50, -1):
            message = answer()
            message.usage_metadata = {**USAGE, "input_tokens": wrong}  # type: ignore[typeddict-item]
            run_id = uuid4()
            ledger.on_chat_model_start({}, [[HumanMessage("q")]], run_id=run_id)
            ledger.on_llm_end(result(message), run_id=run_id)
        ledger.flush()
        assert len(caplog.records) == 1

    def test_what_a_provider_sends_is_not_quoted(
        self, ledger: TokenLedger, caplog: pytest.LogCaptureFixture
    ) -> None:
        message = answer()
        message.usage_metadata = {**USAGE, "input_tokens": "TOP SECRET"}  # type: ignore[typeddict-item]
        run_id = uuid4()
        ledger.on_chat_model_start({}, [[HumanMessage("q")]], run_id=run_id)
        ledger.on_llm_end(result(message), run_id=run_id)
        assert "SECRET" not in str(only(ledger).reason) + caplog.text

    @pytest.mark.parametrize(
        "odd", [{"provider": 5}, {"model": ["x"]}, {"user_id": 5}, {"source": ["a"]}]
    )
    def test_odd_names_become_texts_and_harm_no_other_call(
        self, ledger: TokenLedger, odd: dict[str, Any]
    ) -> None:
        ledger.record(model="test-model", usage=TokenUsage(input=1000, output=100))
        ledger.record(**{"model": "test-model", "usage": TokenUsage(input=1), **odd})
        assert ledger.totals().calls == 2
        assert ledger.totals().cost >= COST
        assert str(ledger.report())

    @pytest.mark.parametrize(
        "odd", [{"at": datetime.max}, {"at": datetime(1, 1, 1)}, {"kind": "song"}]
    )
    def test_what_no_call_can_be_is_refused(
        self, ledger: TokenLedger, odd: dict[str, Any]
    ) -> None:
        with pytest.raises(ConfigurationError):
            ledger.record(model="m", usage=TokenUsage(input=1), **odd)

    def test_a_usage_beyond_any_call_is_refused(self, ledger: TokenLedger) -> None:
        with pytest.raises(UsageError):
            ledger.record(model="test-model", usage=TokenUsage(input=10**18))

    def test_a_message_of_a_strange_type_is_marked(self, ledger: TokenLedger) -> None:
        run_id = uuid4()
        strange: Any = [BaseMessage(content="x", type="my : type")]
        ledger.on_chat_model_start({}, [strange], run_id=run_id)
        ledger.on_llm_end(result(answer()), run_id=run_id)
        assert only(ledger).messages[0].role == "mytype"

    def test_a_tool_nobody_can_read_stops_nothing(self, ledger: TokenLedger) -> None:
        for message in (answer(), AIMessage("Yes.")):
            run_id = uuid4()
            ledger.on_chat_model_start(
                {},
                [[HumanMessage("a question")]],
                run_id=run_id,
                invocation_params={"tools": [object()], "model": "test-model"},
            )
            ledger.on_llm_end(result(message), run_id=run_id)
        ledger.flush()
        assert [entry.estimated for entry in ledger.entries()] == [False, True]
        assert all(entry.usage.input > 0 for entry in ledger.entries())

    def test_costs_are_exact_in_any_decimal_context(self, ledger: TokenLedger) -> None:
        for _ in range(3):
            ledger.record(
                model="test-model", usage=TokenUsage(input=123_457, output=10_001)
            )
        with localcontext(prec=3):
            ledger.totals()
        assert ledger.totals().cost == 3 * Decimal("0.223467")

    def test_a_model_without_a_price_is_said_to_be_unpriced(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        config = {"callbacks": [ledger]}
        model(answer(), model_name="my-own").invoke("q", config)
        model(answer()).invoke("q", config)
        totals = ledger.totals()
        assert (totals.unpriced, totals.cost) == (1, COST)
        with pytest.raises(UnpricedModelError):
            ledger.prices.cost(TokenUsage(input=1), "my-own")


class TestTotals:
    def test_totals_are_made_by_any_field(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        for user, name in (("ada", "test-model"), ("bob", "test-model"), ("bob", "x")):
            config = {"callbacks": [ledger], "metadata": {"user_id": user}}
            model(answer(), model_name=name).invoke("q", config)
        assert {k: t.calls for k, t in ledger.totals(by="user_id").items()} == {
            "ada": 1,
            "bob": 2,
        }
        by_both = ledger.totals(by=("user_id", "model"))
        assert by_both[("bob", "x")].unpriced == 1
        assert sum(t.calls for t in by_both.values()) == ledger.totals().calls == 3

    def test_an_unknown_field_is_refused_with_the_known_ones(
        self, ledger: TokenLedger
    ) -> None:
        with pytest.raises(ConfigurationError, match="user_id"):
            ledger.totals(by="customer")

    def test_an_empty_ledger_has_totals_of_nothing(self, ledger: TokenLedger) -> None:
        assert ledger.totals().calls == 0
        assert ledger.totals(by="model") == {}


class TestGraphs:
    class State(TypedDict):
        messages: list[Any]

    def graph(self, node: Callable[..., Any], **options: Any) -> Any:
        builder: Any = StateGraph(self.State, **options)
        builder.add_node("draft", node)
        builder.add_edge(START, "draft")
        builder.add_edge("draft", END)
        return builder.compile()

    def test_calls_know_their_node_and_those_of_sub_graphs_their_path(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        def ask(state: Any) -> Any:
            return {"messages": [model(answer()).invoke("q")]}

        inner = self.graph(ask)
        outer: Any = StateGraph(self.State)
        outer.add_node("research", inner)
        outer.add_edge(START, "research")
        outer.compile().invoke({"messages": []}, {"callbacks": [ledger]})
        inner.invoke({"messages": []}, {"callbacks": [ledger]})
        assert set(ledger.totals(by="node")) == {"research/draft", "draft"}

    async def test_the_user_is_found_in_the_configurable_and_in_the_context(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        class Context(TypedDict):
            user_id: str

        def ask(state: Any) -> Any:
            return {"messages": [model(answer()).invoke("q")]}

        graph = self.graph(ask, context_schema=Context)
        config: Any = {"callbacks": [ledger], "configurable": {"user_id": "ada"}}
        graph.invoke({"messages": []}, config)
        await graph.ainvoke(
            {"messages": []}, {"callbacks": [ledger]}, context={"user_id": "bob"}
        )
        assert set(ledger.totals(by="user_id")) == {"ada", "bob"}

    def test_a_graph_under_track_needs_no_callbacks(self, model: Make) -> None:
        def ask(state: Any) -> Any:
            return {"messages": [model(answer()).invoke("q")]}

        with track(TokenLedger(prices=PRICES)) as ledger:
            self.graph(ask).invoke({"messages": []})
        assert ledger.totals(by="node")["draft"].cost == COST


class TestRecording:
    def test_what_no_callback_sees_is_recorded_by_hand(
        self, ledger: TokenLedger
    ) -> None:
        ledger.record(model="test-model", usage=TokenUsage(input=1000, output=100))
        ledger.record(
            model="test-model",
            usage={"prompt_tokens": 1000, "completion_tokens": 100},
            user_id="ada",
        )
        assert ledger.totals().cost == 2 * COST
        assert ledger.totals(by="user_id")["ada"].calls == 1

    def test_what_is_recorded_inside_a_run_belongs_to_it(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        def work(_: int) -> None:
            model(answer()).invoke("q")
            ledger.record(model="test-model", usage=TokenUsage(input=1))

        RunnableLambda(work).invoke(1, {"callbacks": [ledger]})
        called, recorded = ledger.entries()
        assert called.trace_id == recorded.trace_id
        assert called.parent_id == recorded.parent_id is not None
        assert len(ledger.timings()) == 1

    @pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
    def test_a_duration_that_cannot_be_is_refused(
        self, ledger: TokenLedger, seconds: float
    ) -> None:
        with pytest.raises(ConfigurationError, match="seconds"):
            ledger.record(model="m", usage=TokenUsage(input=1), seconds=seconds)

    def test_an_unknown_usage_object_is_refused(self, ledger: TokenLedger) -> None:
        with pytest.raises(ConfigurationError, match="TokenUsage"):
            ledger.record(model="test-model", usage={"units": 3})

    def test_feedback_is_kept_by_run(self, ledger: TokenLedger, model: Make) -> None:
        model(answer()).invoke("q", {"callbacks": [ledger]})
        run_id = only(ledger).run_id
        ledger.feedback(run_id, good=True)
        ledger.feedback("other", good=False)
        assert ledger.feedbacks() == {run_id: True, "other": False}

    def test_feedback_takes_the_id_of_an_answer(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        said = model(answer("So.")).invoke("q", {"callbacks": [ledger]})
        ledger.feedback(str(said.id), good=True)
        assert ledger.feedbacks() == {only(ledger).run_id: True}

    def test_texts_are_kept_only_when_asked(self, model: Make) -> None:
        for keep in (False, True):
            ledger = TokenLedger(keep_text=keep)
            model(answer("secret answer")).invoke("secret", {"callbacks": [ledger]})
            entry = only(ledger)
            assert entry.answer is not None
            texts = {
                ledger.text(mark.digest) for mark in (*entry.messages, entry.answer)
            }
            assert texts == ({"secret", "secret answer"} if keep else {None})

    def test_without_text_nothing_of_it_is_in_memory(self, model: Make) -> None:
        ledger = TokenLedger()
        secret = "xyzzy" + str(uuid4())
        model(answer()).invoke(secret, {"callbacks": [ledger]})
        ledger.flush()
        gc.collect()
        kept = [value for value in gc.get_objects() if isinstance(value, LedgerEntry)]
        assert kept
        assert not [entry for entry in kept if secret in repr(entry)]

    def test_equal_messages_have_equal_marks_in_one_ledger_only(
        self, model: Make
    ) -> None:
        ledgers = TokenLedger(), TokenLedger()
        stand_in = model(answer())
        for _ in range(2):
            stand_in.invoke("same", {"callbacks": list(ledgers)})
        marks = [[e.messages[0] for e in ledger.entries()] for ledger in ledgers]
        assert marks[0][0] == marks[0][1]
        assert marks[1][0] == marks[1][1]
        assert marks[0][0].digest != marks[1][0].digest
        assert marks[0][0].length == marks[1][0].length == 4

    def test_the_counter_learns_from_what_is_reported(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        text = "How many tokens does a provider count in a text such as this one?"
        before = ledger.counter.count([HumanMessage(text)], model="test-model")
        for _ in range(60):
            usage = {"input_tokens": before * 2, "output_tokens": 1, "total_tokens": 0}
            model(answer(**usage)).invoke(text, {"callbacks": [ledger]})
            ledger.flush()
        after = ledger.counter.count([HumanMessage(text)], model="test-model")
        assert after > 1.5 * before

    def test_calls_from_many_threads_are_all_there(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        barrier = threading.Barrier(8)
        stand_in = model(answer())

        def ask() -> None:
            barrier.wait()
            for _ in range(50):
                stand_in.invoke("q", {"callbacks": [ledger]})

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ledger.totals().calls == 400
        assert ledger.totals().usage.input == 400_000

    def test_a_model_that_carries_a_ledger_can_be_copied(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        copied = model(answer(), callbacks=[ledger]).model_copy(deep=True)
        copied.invoke("q")
        assert ledger.totals().calls == 1

    def test_an_empty_table_has_all_columns(self, ledger: TokenLedger) -> None:
        frame = ledger.to_pandas()
        assert len(frame) == 0
        assert {"cost", "cache_read", "reasoning", "tokens_system"} <= {*frame.columns}

    def test_a_table_has_a_row_for_each_call(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        model(answer()).invoke("q", {"callbacks": [ledger]})
        frame = ledger.to_pandas()
        assert len(frame) == 1
        assert frame.loc[0, "cost"] == pytest.approx(0.002)
        assert frame.loc[0, "input"] == 1000

    def test_a_table_without_pandas_says_what_to_install(
        self, ledger: TokenLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ConfigurationError, match="pip install"):
            ledger.to_pandas()


class TestTimings:
    def test_what_a_retriever_asks_and_embeds_is_a_part_of_its_time(
        self, ledger: TokenLedger, clock: Clock
    ) -> None:
        outer, inner = uuid4(), uuid4()
        ledger.on_retriever_start({}, "q", run_id=outer)
        ledger.on_retriever_start({}, "q", run_id=inner, parent_run_id=outer)
        clock.now += 2
        ledger.on_retriever_end([Document("found")], run_id=inner)
        clock.now += 1
        ledger.on_retriever_end([Document("sent")], run_id=outer)
        (timing,) = ledger.timings()
        assert timing.retrieval == 3

    def test_a_retriever_that_returns_no_documents_has_ended_too(
        self, ledger: TokenLedger
    ) -> None:
        found: Any
        for found in (None, 5, ["text"], "text"):
            run = uuid4()
            ledger.on_retriever_start({}, "q", run_id=run)
            ledger.on_retriever_end(found, run_id=run)
        assert [step.documents for step in ledger.steps()] == [()] * 4

    def test_embeddings_count_as_retrieval_where_no_retriever_was_seen(
        self, ledger: TokenLedger
    ) -> None:
        ledger.record(model="e", usage=TokenUsage(input=1), kind="embedding", seconds=2)
        (timing,) = ledger.timings()
        assert timing.retrieval == 2

    def test_times_are_split_by_what_a_run_did(
        self, ledger: TokenLedger, clock: Clock
    ) -> None:
        root, call, tool, search = uuid4(), uuid4(), uuid4(), uuid4()
        ledger.on_chain_start({}, {}, run_id=root, name="agent")
        ledger.on_retriever_start({}, "q", run_id=search, parent_run_id=root)
        clock.now += 1
        ledger.on_retriever_end([], run_id=search)
        ledger.on_chat_model_start(
            {}, [[HumanMessage("q")]], run_id=call, parent_run_id=root
        )
        clock.now += 2
        ledger.on_llm_new_token("P", run_id=call)
        clock.now += 4
        ledger.on_llm_end(result(answer()), run_id=call)
        ledger.on_tool_start({"name": "look"}, "q", run_id=tool, parent_run_id=root)
        clock.now += 8
        ledger.on_tool_error(ValueError(), run_id=tool)
        ledger.on_chain_end({}, run_id=root)
        (timing,) = ledger.timings()
        assert timing.total == 15
        assert (timing.retrieval, timing.first_token) == (1, 2)
        assert (timing.generation, timing.tools, timing.waiting) == (4, 8, 0)
        assert [(s.kind, s.failed) for s in ledger.steps()] == [
            ("retriever", False),
            ("tool", True),
            ("run", False),
        ]

    def test_waiting_is_the_time_of_a_run_in_which_none_of_its_parts_was_at_work(
        self, ledger: TokenLedger, clock: Clock
    ) -> None:
        root, search, call, tool = uuid4(), uuid4(), uuid4(), uuid4()
        ledger.on_chain_start({}, {}, run_id=root, name="graph")
        clock.now += 1
        ledger.on_retriever_start({}, "q", run_id=search, parent_run_id=root)
        clock.now += 2
        ledger.on_chat_model_start(
            {}, [[HumanMessage("q")]], run_id=call, parent_run_id=root
        )
        clock.now += 4
        ledger.on_retriever_end([], run_id=search)
        clock.now += 8
        ledger.on_llm_end(result(answer()), run_id=call)
        clock.now += 16
        ledger.on_tool_start({"name": "look"}, "q", run_id=tool, parent_run_id=root)
        clock.now += 32
        ledger.on_tool_end("found", run_id=tool)
        clock.now += 64
        ledger.on_chain_end({}, run_id=root)
        (timing,) = ledger.timings()
        assert (timing.total, timing.waiting) == (127, 1 + 16 + 64)

    def test_a_call_that_stands_alone_waits_for_nothing(
        self, ledger: TokenLedger, clock: Clock
    ) -> None:
        call = uuid4()
        ledger.on_chat_model_start({}, [[HumanMessage("q")]], run_id=call)
        clock.now += 0.1
        ledger.on_llm_end(result(answer()), run_id=call)
        (timing,) = ledger.timings()
        assert timing.waiting == 0

    def test_what_a_run_waited_is_unknown_where_no_call_of_it_or_no_end_was_seen(
        self, ledger: TokenLedger, clock: Clock
    ) -> None:
        idle, open_, call = uuid4(), uuid4(), uuid4()
        ledger.on_chain_start({}, {}, run_id=idle)
        ledger.on_chain_start({}, {}, run_id=open_)
        ledger.on_chat_model_start(
            {}, [[HumanMessage("q")]], run_id=call, parent_run_id=open_
        )
        clock.now += 1
        ledger.on_llm_end(result(answer()), run_id=call)
        ledger.on_chain_end({}, run_id=idle)
        waited = {t.trace_id: t.waiting for t in ledger.timings()}
        assert waited == {str(idle): None, str(open_): None}


def result(message: AIMessage) -> LLMResult:
    return LLMResult(generations=[[ChatGeneration(message=message)]])


class SlowModel(BaseChatModel):
    """Never answers; the time that is left for it ends as soon as it is asked."""

    limit: Any = None

    @property
    def _llm_type(self) -> str:
        return "slow"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self.limit.reschedule(0)
        await asyncio.Event().wait()
        raise AssertionError


class Wrapper(BaseChatModel):
    """A model that calls another one, as gateways and routers do."""

    inner: BaseChatModel

    @property
    def _llm_type(self) -> str:
        return "wrapper"

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        message = self.inner.invoke(messages)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        for chunk in self.inner.stream(messages):
            yield ChatGenerationChunk(message=chunk)
