"""A guard: what it is made of, what it costs, and how its budgets stand."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    PriceBook,
    TokenCounter,
    TokenLedger,
    UnpricedModelError,
)
from langchain_lean.budgets.errors import UnpricedCallError
from langchain_lean.budgets.storage import Counter, Lease, Refusal
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ScriptedChatModel

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


class Counting(MemoryStorage):
    """Counts how often it is asked."""

    asked = 0

    def _reserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        self.asked += 1
        return super()._reserve(wanted, seconds)

    def _settle(self, lease: Lease, amounts: Sequence[int]) -> dict[str, Counter]:
        self.asked += 1
        return super()._settle(lease, amounts)

    def read(self, key: str) -> Counter:
        self.asked += 1
        return super().read(key)


def reporting(read: int, written: int, **options: Any) -> ScriptedChatModel:
    """A model whose provider reports these counts."""
    usage: Any = {
        "input_tokens": read,
        "output_tokens": written,
        "total_tokens": read + written,
    }
    message = AIMessage("Yes.", usage_metadata=usage)
    named = {"model_name": "gpt-5-mini", "provider": "openai"} | options
    return ScriptedChatModel(responses=[message], loop=True, **named)


MANY = (
    Budget(input_tokens=8_000, per="call"),
    Budget(usd="1.00", per="day", by="user_id"),
    Budget(usd="500", per="month", name="team"),
    Budget(tokens=10**6, per="hour"),
    Budget(calls=20, per="run"),
    Budget(calls=10**6, per="total"),
)


@pytest.mark.parametrize("count", [1, 2, 6])
async def test_a_call_takes_two_round_trips_however_many_budgets(count: int) -> None:
    store, model = Counting(), reporting(10, 5)
    guard = BudgetGuard(*MANY[-count:], store=store, notify=lambda _: None)
    config: Any = {"callbacks": [guard]}
    budgeted = guard.model(model)
    calls = [
        lambda: model.invoke("Hi", config),
        lambda: list(model.stream("Hi", config)),
        lambda: budgeted.invoke("Hi", config),
    ]
    for call in calls:
        store.asked = 0
        call()
        assert store.asked == 2
    for acall in (model.ainvoke, budgeted.ainvoke):
        store.asked = 0
        await acall("Hi", config)
        assert store.asked == 2


def test_a_limit_of_one_call_asks_no_store() -> None:
    store = Counting()
    guard = BudgetGuard(MANY[0], store=store)
    reporting(10, 5).invoke("Hi", {"callbacks": [guard]})
    with pytest.raises(BudgetExceededError) as caught:
        reporting(10, 5).invoke("Hi " * 9_000, {"callbacks": [guard]})
    assert store.asked == 0
    assert caught.value.status == 413


def test_the_status_is_in_the_words_of_the_budget() -> None:
    guard = BudgetGuard(*MANY[:3], Budget(calls=None, per="day"), clock=lambda: NOW)
    config: Any = {"callbacks": [guard], "metadata": {"user_id": "ada"}}
    reporting(1_000, 200).invoke("Hi", config)
    call, day, month, calls = guard.status(user_id="ada")
    assert (call.used, call.remaining, call.resets_at) == (0, 8_000, None)
    spent = Decimal("0.00065")
    assert (day.used, day.held, day.remaining) == (spent, 0, Decimal(1) - spent)
    assert day.resets_at == datetime(2026, 11, 23, tzinfo=UTC)
    assert (month.used, month.overshoot) == (spent, 0)
    assert (calls.used, calls.remaining) == (1, None)


async def test_the_async_forms_say_and_do_the_same() -> None:
    guard = BudgetGuard(*MANY[:3])
    config: Any = {"callbacks": [guard], "metadata": {"user_id": "ada"}}
    await reporting(1_000, 200).ainvoke("Hi", config)
    assert await guard.astatus(user_id="ada") == guard.status(user_id="ada")
    await guard.areset(user_id="ada")
    await guard.areset()
    assert [status.used for status in guard.status(user_id="ada")] == [0, 0, 0]


def test_a_reset_lets_one_user_begin_anew() -> None:
    guard = BudgetGuard(Budget(calls=1, per="day", by="user_id"))
    model = reporting(10, 5)
    for user in ("ada", "bob"):
        model.invoke("Hi", {"callbacks": [guard], "metadata": {"user_id": user}})
    guard.reset(user_id="ada")
    model.invoke("Hi", {"callbacks": [guard], "metadata": {"user_id": "ada"}})
    with pytest.raises(BudgetExceededError):
        model.invoke("Hi", {"callbacks": [guard], "metadata": {"user_id": "bob"}})


def test_a_reset_of_one_user_leaves_shared_budgets_alone() -> None:
    guard = BudgetGuard(
        Budget(calls=9, per="day", by="user_id"),
        Budget(calls=9, per="month", name="team"),
        Budget(calls=9, per="day", by=("user_id", "team")),
    )
    config: Any = {"callbacks": [guard], "metadata": {"user_id": "ada", "team": "red"}}
    reporting(10, 5).invoke("Hi", config)

    def used() -> list[Any]:
        return [status.used for status in guard.status(user_id="ada", team="red")]

    guard.reset(user_id="ada")
    assert used() == [0, 1, 1]
    guard.reset()
    assert used() == [0, 0, 1]
    guard.reset(user_id="ada", team="red")
    assert used() == [0, 0, 0]


@pytest.mark.parametrize("verb", ["status", "reset"])
def test_asking_by_a_key_that_no_budget_has_is_refused(verb: str) -> None:
    guard = BudgetGuard(Budget(calls=1, per="day", by="user_id"))
    with pytest.raises(ConfigurationError, match="No budget is by team; they are by"):
        getattr(guard, verb)(team="red")


def test_the_window_ends_by_the_clock_of_the_guard() -> None:
    now = [NOW]
    guard = BudgetGuard(
        Budget(calls=1, per="minute"),
        store=MemoryStorage(clock=lambda: now[0]),
        clock=lambda: now[0],
    )
    model, config = reporting(10, 5), {"callbacks": [guard]}
    model.invoke("Hi", config)  # type: ignore[arg-type]
    with pytest.raises(BudgetExceededError) as caught:
        model.invoke("Hi", config)  # type: ignore[arg-type]
    assert caught.value.retry_after == 60
    now[0] += 60
    model.invoke("Hi", config)  # type: ignore[arg-type]


def test_a_call_that_ends_in_the_next_window_is_charged_where_it_began() -> None:
    now = [NOW]

    def answer(_: Any) -> str:
        now[0] += 3_600
        return "Yes."

    store = MemoryStorage(clock=lambda: now[0])
    budget = Budget(calls=5, per="hour")
    guard = BudgetGuard(budget, store=store, lease=7_200, clock=lambda: now[0])
    model = ScriptedChatModel(responses=[answer])
    model.invoke("Hi", {"callbacks": [guard]})
    assert guard.status()[0].used == 0
    assert store.read(budget.counter(NOW, {})) == Counter(used=1, held=0)


def test_a_model_without_a_price_is_refused_by_a_budget_in_dollars() -> None:
    ledger = TokenLedger()
    guard = BudgetGuard(Budget(usd="1", per="day"), ledger=ledger)
    model = reporting(10, 5, model_name="mine", provider="own")
    own_price = r"prices=PriceBook\(\)\.with_price\('mine'"
    with pytest.raises(UnpricedCallError, match=own_price):
        model.invoke("Hi", {"callbacks": [guard]})
    with pytest.raises(UnpricedModelError):
        guard.model(model).invoke("Hi")
    assert model.calls == []
    assert [entry.blocked for entry in ledger.entries()] == [True, True]
    tokens = BudgetGuard(Budget(tokens=5_000, per="day"))
    model.invoke("Hi", {"callbacks": [tokens]})


def test_prices_of_your_own_count() -> None:
    prices = PriceBook().with_price("mine", input="1", output="2")
    guard = BudgetGuard(Budget(usd="1", per="day"), prices=prices)
    model = reporting(1_000, 500, model_name="mine", provider="own")
    model.invoke("Hi", {"callbacks": [guard]})
    assert guard.status()[0].used == Decimal("0.002")


def test_the_ledger_s_prices_and_counter_are_used() -> None:
    prices = PriceBook().with_price("mine", input="1", output="2")
    ledger = TokenLedger(prices=prices)
    guard = BudgetGuard(Budget(usd="1", per="day"), ledger=ledger)
    model = reporting(1_000, 500, model_name="mine", provider="own")
    model.invoke("Hi", {"callbacks": [ledger, guard]})
    assert guard.status()[0].used == ledger.totals().cost == Decimal("0.002")


def test_what_providers_report_makes_the_next_bound_narrower() -> None:
    counter = TokenCounter()
    guard = BudgetGuard(Budget(tokens=10**6, per="day"), counter=counter)
    model = ScriptedChatModel(responses=["Yes."], loop=True, model_name="other")
    before = counter.upper_bound("A word. " * 50, model="other")
    for count in range(40):
        model.invoke("A word. " * (10 + count), {"callbacks": [guard]})
    assert counter.upper_bound("A word. " * 50, model="other") < before


@pytest.mark.parametrize(
    ("budgets", "options", "says"),
    [
        ((), {}, "A guard takes budgets"),
        (("1 dollar",), {}, "A guard takes budgets"),
        ((MANY[1], MANY[1]), {}, "count the same"),
        ((MANY[1], Budget(usd="2", per="day", by="user_id")), {}, "count the same"),
        ((MANY[1],), {"lease": 0}, "lease= is a number of seconds"),
        ((MANY[1],), {"store": "postgres://host"}, "not in 'postgres'"),
        ((MANY[1],), {"store": None}, "Budgets are kept in"),
        ((MANY[1],), {"notify": 3}, "notify= takes"),
        ((MANY[1],), {"notify": asyncio.sleep}, "notify= takes a plain function"),
        ((MANY[1],), {"ledger": "sqlite:///lean.db"}, "ledger= takes a TokenLedger"),
    ],
)
def test_what_makes_no_sense_is_refused(
    budgets: tuple[Any, ...], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        BudgetGuard(*budgets, **options)


def test_a_name_tells_budgets_apart() -> None:
    other = Budget(usd="0.50", per="day", by="user_id", name="soft")
    assert len(BudgetGuard(MANY[1], other).budgets) == 2


def test_a_password_in_a_url_is_not_said() -> None:
    with pytest.raises(ConfigurationError) as caught:
        BudgetGuard(MANY[1], store="mongodb://user:hunter2@host")
    assert "hunter2" not in str(caught.value)


def test_a_copied_guard_is_the_same_guard() -> None:
    guard = BudgetGuard(MANY[1])
    assert copy.deepcopy(guard) is guard
    assert "MemoryStorage" in repr(guard)


def test_nothing_is_kept_of_calls_that_ended() -> None:
    guard = BudgetGuard(Budget(calls=None, per="day"))
    model = reporting(10, 5)
    for _ in range(600):
        model.invoke("Hi", {"callbacks": [guard]})
    assert (guard._open, guard._calls) == ({}, {})
