"""What a guard does while the store of its budgets cannot be reached."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from langchain_lean import Budget, BudgetGuard, TokenLedger
from langchain_lean.budgets.errors import BudgetExceededError, BudgetStoreError
from langchain_lean.budgets.reservations import OnStoreError, Reservations
from langchain_lean.budgets.storage import Claim, Counter, Lease, Refusal
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.errors import ConfigurationError, StorageError
from langchain_lean.testing import ScriptedChatModel


class Clock:
    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


class Unreliable(MemoryStorage):
    """A store that is gone for as long as a test says."""

    gone = False
    asked = 0

    def _ask(self) -> None:
        self.asked += 1
        if self.gone:
            msg = "Nobody answers."
            raise StorageError(msg)

    def _reserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        self._ask()
        return super()._reserve(wanted, seconds)

    def _settle(self, lease: Lease, amounts: Sequence[int]) -> dict[str, Counter]:
        self._ask()
        return super()._settle(lease, amounts)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Unreliable:
    return Unreliable(clock=clock)


@pytest.fixture
def model() -> ScriptedChatModel:
    return ScriptedChatModel(responses=["Yes."], loop=True, model_name="gpt-5")


def guard(store: Unreliable, clock: Clock, **options: Any) -> BudgetGuard:
    return BudgetGuard(Budget(calls=3, per="day"), store=store, clock=clock, **options)


def used(guard: BudgetGuard) -> Any:
    (status,) = guard.status()
    return status.used, status.held


async def test_by_default_calls_are_refused(
    store: Unreliable, clock: Clock, model: ScriptedChatModel
) -> None:
    ledger = TokenLedger()
    config: Any = {"callbacks": [guard(store, clock, ledger=ledger)]}
    store.gone = True
    for call in (model.invoke, lambda *a: list(model.stream(*a))):
        with pytest.raises(BudgetStoreError, match="cannot be asked: Nobody answers"):
            call("Is it?", config)
    with pytest.raises(BudgetStoreError) as caught:
        await model.ainvoke("Is it?", config)
    assert caught.value.status == 503
    assert model.calls == []
    assert [entry.blocked for entry in ledger.entries()] == [True] * 3
    store.gone = False
    model.invoke("Is it?", config)


async def test_a_budgeted_model_is_refused_too(
    store: Unreliable, clock: Clock, model: ScriptedChatModel
) -> None:
    ledger = TokenLedger()
    budgeted = guard(store, clock).model(model)
    store.gone = True
    with pytest.raises(BudgetStoreError):
        budgeted.invoke("Is it?", {"callbacks": [ledger]})
    with pytest.raises(BudgetStoreError):
        await budgeted.ainvoke("Is it?", {"callbacks": [ledger]})
    assert model.calls == []
    assert [entry.blocked for entry in ledger.entries()] == [True, True]


async def test_local_keeps_the_limit_in_each_process(
    store: Unreliable, clock: Clock, model: ScriptedChatModel
) -> None:
    store.gone = True
    replicas = [guard(store, clock, on_store_error="local") for _ in range(2)]
    for replica in replicas:
        config: Any = {"callbacks": [replica]}
        model.invoke("Is it?", config)
        await model.ainvoke("Is it?", config)
        replica.model(model).invoke("Is it?")
        with pytest.raises(BudgetExceededError):
            model.invoke("Is it?", config)
        with pytest.raises(BudgetExceededError):
            await replica.model(model).ainvoke("Is it?")
    assert len(model.calls) == 6


async def test_allow_lets_all_calls_through(
    store: Unreliable,
    clock: Clock,
    model: ScriptedChatModel,
    caplog: pytest.LogCaptureFixture,
) -> None:
    allowing = guard(store, clock, on_store_error="allow")
    store.gone = True
    for _ in range(10):
        model.invoke("Is it?", {"callbacks": [allowing]})
    await allowing.model(model).ainvoke("Is it?")
    assert len(model.calls) == 11
    assert "go on without their store" in caplog.text
    store.gone = False
    assert used(allowing) == (0, 0)


def test_what_was_used_is_told_when_the_store_is_back(
    store: Unreliable, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(_: Any) -> str:
        store.gone = True
        return "Yes."

    model = ScriptedChatModel(responses=[answer], loop=True)
    blocking = guard(store, clock)
    config: Any = {"callbacks": [blocking]}
    assert model.invoke("Is it?", config).content == "Yes."
    assert "told to its budgets later" in caplog.text
    store.gone = False
    assert used(blocking) == (0, 1)
    calm = ScriptedChatModel(responses=["Yes."])
    calm.invoke("Is it?", config)
    assert used(blocking) == (2, 0)


class Ticking:
    """A timer that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def reservations(
    store: Unreliable, clock: Clock, how: OnStoreError, timer: Ticking
) -> Reservations:
    return Reservations(store, lease=60, on_store_error=how, clock=clock, timer=timer)


@pytest.mark.parametrize("how", ["local", "allow"])
def test_a_store_that_failed_is_not_asked_again_for_a_second(
    store: Unreliable, clock: Clock, how: OnStoreError
) -> None:
    timer = Ticking()
    desk = reservations(store, clock, how, timer)
    claims = [Claim("key", 1, 10, None)]
    store.gone = True
    for _ in range(5):
        desk.reserve(claims)
    assert store.asked == 1
    store.gone = False
    timer.now += 1.0
    granted = desk.reserve(claims)
    assert not isinstance(granted, Refusal)
    desk.settle(granted, {"key": 1})
    assert store.read("key") == Counter(used=1, held=0)


def test_what_was_granted_locally_is_settled_locally(
    store: Unreliable, clock: Clock
) -> None:
    timer = Ticking()
    desk = reservations(store, clock, "local", timer)
    store.gone = True
    granted = desk.reserve([Claim("key", 8, 10, None)])
    assert not isinstance(granted, Refusal)
    assert isinstance(desk.reserve([Claim("key", 8, 10, None)]), Refusal)
    actuals: Mapping[str, int] = {"key": 2}
    assert desk.settle(granted, actuals) == {"key": Counter(2, 0)}
    assert not isinstance(desk.reserve([Claim("key", 8, 10, None)]), Refusal)


def test_another_word_for_it_is_refused(store: Unreliable, clock: Clock) -> None:
    with pytest.raises(ConfigurationError, match="one of block, local, allow"):
        guard(store, clock, on_store_error="ignore")


def test_a_guard_says_nothing_of_users_when_a_store_fails(
    store: Unreliable,
    clock: Clock,
    model: ScriptedChatModel,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="langchain_lean")
    budget = Budget(calls=3, per="day", by="user_id")
    blocking = BudgetGuard(budget, store=store, clock=clock)
    store.gone = True
    config: Any = {"callbacks": [blocking], "metadata": {"user_id": "ada-lovelace"}}
    with pytest.raises(BudgetStoreError) as caught:
        model.invoke("Is it?", config)
    assert "ada-lovelace" not in f"{caught.value} {caplog.text}"


def test_what_was_not_told_is_told_before_the_next_call_is_decided(
    store: Unreliable, clock: Clock
) -> None:
    def answer(_: Any) -> str:
        store.gone = True
        return "Yes."

    budget = Budget(output_tokens=1_500, per="day")
    blocking = BudgetGuard(budget, store=store, clock=clock)
    config: Any = {"callbacks": [blocking]}
    ScriptedChatModel(responses=[answer]).invoke("Is it?", config)
    store.gone = False
    ScriptedChatModel(responses=["Yes."]).invoke("Is it?", config)
    assert 0 < used(blocking)[0] < 20


def test_local_counts_on_top_of_what_was_last_seen(
    store: Unreliable, clock: Clock, model: ScriptedChatModel
) -> None:
    replica = guard(store, clock, on_store_error="local")
    config: Any = {"callbacks": [replica]}
    model.invoke("Is it?", config)
    model.invoke("Is it?", config)
    store.gone = True
    model.invoke("Is it?", config)
    with pytest.raises(BudgetExceededError) as caught:
        model.invoke("Is it?", config)
    assert caught.value.used == 3


def test_a_store_that_is_gone_is_not_read_for_warnings(
    store: Unreliable, clock: Clock, model: ScriptedChatModel
) -> None:
    reads: list[str] = []
    store.read = lambda key: reads.append(key) or Counter()  # type: ignore[method-assign, func-returns-value]
    allowing = guard(store, clock, on_store_error="allow", notify=lambda _: None)
    store.gone = True
    for _ in range(3):
        model.invoke("Is it?", {"callbacks": [allowing]})
    assert reads == []


def test_a_reset_also_lets_the_local_count_begin_anew(
    store: Unreliable, clock: Clock, model: ScriptedChatModel
) -> None:
    replica = guard(store, clock, on_store_error="local")
    config: Any = {"callbacks": [replica]}
    for _ in range(3):
        model.invoke("Is it?", config)
    replica.reset()
    store.gone = True
    model.invoke("Is it?", config)
    assert len(model.calls) == 4


def test_what_waits_outlives_an_interrupt(store: Unreliable, clock: Clock) -> None:
    desk = reservations(store, clock, "block", Ticking())
    granted = desk.reserve([Claim("key", 1, 10, None)])
    assert not isinstance(granted, Refusal)
    store.gone = True
    desk.settle(granted, {"key": 1})
    store.gone = False

    class Interrupted(BaseException):
        pass

    def interrupted(*_: Any) -> Any:
        raise Interrupted

    settle, store.settle = store.settle, interrupted  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        desk.reserve([Claim("key", 1, 10, None)])
    store.settle = settle  # type: ignore[method-assign]
    desk.close()
    assert store.read("key") == Counter(used=1, held=0)
