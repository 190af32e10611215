"""How the names of budgets are used, for mypy: never run."""

from datetime import datetime
from decimal import Decimal
from typing import assert_type

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    LeanError,
    SpendAlarm,
    TokenLedger,
)
from langchain_lean.budgets.alarms import aws_budget
from langchain_lean.budgets.alerts import Alert, sns_topic, webhook
from langchain_lean.budgets.model import BudgetedModel
from langchain_lean.budgets.status import BudgetStatus
from langchain_lean.budgets.storage import (
    Claim,
    Counter,
    Lease,
    Refusal,
    Storage,
    storage_from_url,
)


def guard(model: BaseChatModel, lite: BaseChatModel) -> None:
    guard = BudgetGuard(
        Budget(input_tokens=8_000, per="call"),
        Budget(usd="1.00", per="day", by="user_id"),
        Budget(usd=Decimal(500), per="month", by=("team", "user_id"), name="team"),
        Budget(calls=None, per="total"),
        store="redis://localhost:6379/0",
        ledger=TokenLedger(),
        notify=lambda alert: print(alert.threshold),
        on_store_error="local",
        require_key=True,
    )
    config: RunnableConfig = {"callbacks": [guard]}
    model.invoke("Hello", config)
    assert_type(guard.status(user_id="ada"), list[BudgetStatus])
    for status in guard.status():
        assert_type(status.used, Decimal | int)
        assert_type(status.remaining, Decimal | int | None)
        assert_type(status.resets_at, datetime | None)
    guard.reset(user_id="ada")
    budgeted = guard.model(model, lite=lite, when_over=["trim", "finish"], exact=True)
    assert_type(budgeted, BudgetedModel)
    assert_type(budgeted.bind_tools([]), BudgetedModel)
    chain: Runnable[str, object] = budgeted
    chain.invoke("Hello", config)


async def asynchronous(guard: BudgetGuard) -> None:
    assert_type(await guard.astatus(user_id="ada"), list[BudgetStatus])
    await guard.areset(user_id="ada")


def error(error: BudgetExceededError) -> LeanError:
    assert_type(error.budget, Budget)
    assert_type(error.status, int)
    assert_type(error.limit, Decimal | int)
    assert_type(error.retry_after, int | None)
    assert_type(error.resets_at, datetime | None)
    return error


def storage() -> Storage:
    storage = storage_from_url("sqlite:///quota.db", namespace="mine")
    outcome = storage.reserve([Claim("key", 1, 10, 60.0, floor=1)], lease=60)
    assert_type(outcome, Lease | Refusal)
    if isinstance(outcome, Lease):
        assert_type(storage.settle(outcome, {"key": 1}), dict[str, Counter])
    assert_type(storage.read("key"), Counter)
    assert_type(storage.once("key", 60), bool)
    return storage


def alarm() -> None:
    def tell(alert: Alert) -> None:
        print(alert, alert.to_dict())

    for notify in (tell, sns_topic("arn:aws:sns:eu-west-1:1:t"), webhook("https://x")):
        alarm = SpendAlarm(usd="100", per="month", at=(0.5, 1.0), notify=notify)
        assert_type(aws_budget(alarm, ["ops@example.com"]), str)
