"""A saving is reported one way, counted once, and never breaks anything."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, CallbackManager
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda

from langchain_lean import TokenLedger, TokenUsage, report_saving, track
from langchain_lean.accounting.left_out import LeftOut
from langchain_lean.accounting.savings import caches_by_itself

Make = Callable[..., Any]
USAGE = TokenUsage(input=1000)


def save(**options: Any) -> None:
    given = {"avoided": USAGE, "model": "test-model", "baseline": "the strong model"}
    report_saving("routing", **{**given, **options})


def routing(ledger: TokenLedger) -> Any:
    return ledger.savings().levers.get("routing")


def test_a_lever_in_a_chain_reaches_the_ledger_of_the_run(ledger: TokenLedger) -> None:
    RunnableLambda(lambda _: save()).invoke(1, {"callbacks": [ledger]})
    assert routing(ledger).counterfactual == Decimal("0.001")
    assert routing(ledger).baselines == ("the strong model",)


async def test_a_lever_in_an_async_chain_reaches_it_too(ledger: TokenLedger) -> None:
    async def lever(_: int) -> None:
        save()

    await RunnableLambda(lever).ainvoke(1, {"callbacks": [ledger]})
    assert routing(ledger).count == 1


def test_given_callbacks_win(ledger: TokenLedger) -> None:
    with track() as other:
        save(callbacks=ledger)
        save(callbacks=[ledger])
        save(callbacks=CallbackManager([ledger]))
    assert routing(ledger).count == 3
    assert routing(other) is None


def test_outside_a_run_the_tracking_ledgers_are_told() -> None:
    with track() as outer, track() as inner:
        save()
    assert routing(outer).count == routing(inner).count == 1


def test_a_retriever_may_report_through_its_run_manager(ledger: TokenLedger) -> None:
    class Lean(BaseRetriever):
        def _get_relevant_documents(
            self, query: str, *, run_manager: Any
        ) -> list[Document]:
            save(callbacks=run_manager)
            return []

    Lean().invoke("q", {"callbacks": [ledger]})
    assert routing(ledger).count == 1


def test_where_nobody_listens_nothing_happens(
    caplog: pytest.LogCaptureFixture,
) -> None:
    save()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(save).result()
    assert caplog.records == []


def test_one_id_counts_once(ledger: TokenLedger) -> None:
    for _ in range(3):
        save(id="once", callbacks=ledger)
    save(callbacks=ledger)
    save(callbacks=ledger)
    assert routing(ledger).count == 3


def test_what_was_spent_in_its_place_is_subtracted(ledger: TokenLedger) -> None:
    save(spent=TokenUsage(input=400), callbacks=ledger)
    assert routing(ledger).total == Decimal("0.0006")


def test_a_saving_without_a_price_is_counted_as_unpriced(ledger: TokenLedger) -> None:
    save(model="nobody-knows", callbacks=ledger)
    assert (routing(ledger).unpriced, routing(ledger).total) == (1, 0)


@pytest.mark.parametrize(
    "wrong", [{"baseline": None}, {"kind": "guess"}, {"avoided": 7}, {"model": None}]
)
def test_what_cannot_be_a_saving_is_logged_and_not_counted(
    ledger: TokenLedger, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        save(**wrong, callbacks=ledger)
    assert routing(ledger) is None
    assert len(caplog.records) == 1


def test_async_handlers_beside_the_ledger_are_left_alone(ledger: TokenLedger) -> None:
    save(callbacks=[AsyncCallbackHandler(), ledger])
    assert routing(ledger).count == 1


def test_a_levers_own_calls_are_subtracted_under_their_source(
    ledger: TokenLedger, model: Make
) -> None:
    usage: Any = {"input_tokens": 90, "output_tokens": 1, "total_tokens": 91}
    config: Any = {"callbacks": [ledger], "metadata": {"lc_source": "summarization"}}
    model(AIMessage("short", usage_metadata=usage)).invoke("q", config)
    save(callbacks=ledger)
    savings = ledger.savings()
    assert savings.own_cost == {"summarization": Decimal("0.0001")}
    assert savings.total == Decimal("0.001") - Decimal("0.0001")


@pytest.mark.parametrize(
    ("provider", "lever", "apart"),
    [("amazon_bedrock", Decimal("0.0009"), 0), ("openai", 0, Decimal("0.0009"))],
)
def test_explicit_cache_points_are_a_lever_and_a_providers_own_cache_is_not(
    ledger: TokenLedger, provider: str, lever: Decimal, apart: Decimal
) -> None:
    usage = TokenUsage(input=1000, cache_read=1000)
    ledger.record(model="test-model", provider=provider, usage=usage)
    savings = ledger.savings()
    assert savings.exact == lever
    assert savings.provider_cache == apart
    assert ("prefix" in savings.levers) == bool(lever)


def test_writing_a_cache_that_is_never_read_is_a_loss(ledger: TokenLedger) -> None:
    usage = TokenUsage(input=1000, cache_write_5m=1000)
    ledger.record(model="test-model", provider="anthropic", usage=usage)
    assert ledger.savings().levers["prefix"].exact == Decimal("-0.00025")


@pytest.mark.parametrize("provider", ["anthropic", "bedrock_converse", "aws"])
def test_some_providers_must_be_told_what_to_cache(provider: str) -> None:
    assert not caches_by_itself(provider)
    assert caches_by_itself("openai")
    assert caches_by_itself(None)


TRUE = asdict(LeftOut(lever="memory", tokens=5, baseline="all", id="a"))


class TestLeftOut:
    """What a message says it stands for."""

    def test_it_is_read_back_from_the_message(self) -> None:
        left = LeftOut(lever="memory", tokens=500, baseline="all", id="a")
        assert LeftOut.of(HumanMessage("Notes.", additional_kwargs=left.mark())) == left

    @pytest.mark.parametrize(
        "said",
        [
            None,
            {"lever": "memory", "tokens": 5},
            {**TRUE, "tokens": True},
            {**TRUE, "tokens": 10**10},
            {**TRUE, "tokens": "5"},
            {**TRUE, "lever": ""},
            {**TRUE, "lever": 1},
            {**TRUE, "moved": -1},
            {**TRUE, "cached": 1},
        ],
    )
    def test_what_cannot_be_true_is_nothing(self, said: Any) -> None:
        message = HumanMessage("Notes.", additional_kwargs={"lean_left_out": said})
        assert LeftOut.of(message) is None

    def test_every_answered_call_counts_it_once(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        left = LeftOut(lever="memory", tokens=500, baseline="all", id="a")
        prompt = [HumanMessage("Notes.", additional_kwargs=left.mark())]
        for _ in range(3):
            model().invoke(prompt, {"callbacks": [ledger, ledger]})
        saved = ledger.savings().levers["memory"]
        assert saved.count == 3
        assert saved.baselines == ("all",)

    def test_a_mark_that_cannot_be_read_does_not_cost_the_entry(
        self, ledger: TokenLedger
    ) -> None:
        odd = HumanMessage("Hi.")
        object.__setattr__(odd, "additional_kwargs", None)
        message = AIMessage("Yes.", response_metadata={"model_name": "test-model"})
        result = LLMResult(generations=[[ChatGeneration(message=message)]])
        run = uuid4()
        ledger.on_chat_model_start({}, [[odd]], run_id=run)
        ledger.on_llm_end(result, run_id=run)
        assert ledger.totals().calls == 1

    def test_a_message_that_stands_twice_counts_once(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        left = LeftOut(lever="memory", tokens=500, baseline="all", id="a")
        notes = HumanMessage("Notes.", additional_kwargs=left.mark())
        model().invoke([notes, notes], {"callbacks": [ledger]})
        assert ledger.savings().levers["memory"].count == 1

    def test_what_was_cached_then_is_priced_so_though_the_first_call_missed(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        left = LeftOut(lever="memory", tokens=1000, baseline="all", id="a", cached=True)
        prompt = [HumanMessage("Notes.", additional_kwargs=left.mark())]
        model().invoke(prompt, {"callbacks": [ledger]})
        assert ledger.savings().levers["memory"].total == Decimal("0.0001")

    def test_what_moved_costs_the_first_call_once(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        left = LeftOut(
            lever="memory", tokens=0, baseline="all", id="a", cached=True, moved=1000
        )
        prompt = [HumanMessage("Notes.", additional_kwargs=left.mark())]
        for _ in range(3):
            model().invoke(prompt, {"callbacks": [ledger]})
        saved = ledger.savings().levers["memory"]
        assert (saved.count, saved.total) == (1, Decimal("-0.00115"))

    def test_an_answer_of_langchains_cache_counts_nothing_more(
        self, ledger: TokenLedger, model: Make
    ) -> None:
        left = LeftOut(lever="memory", tokens=500, baseline="all", id="a")
        prompt = [HumanMessage("Notes.", additional_kwargs=left.mark())]
        asked = model(cache=InMemoryCache())
        for _ in range(2):
            asked.invoke(prompt, {"callbacks": [ledger]})
        levers = ledger.savings().levers
        assert (levers["memory"].count, levers["cache"].count) == (1, 1)
