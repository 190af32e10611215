"""Alarms on what is spent: of this package, and AWS's own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from langchain_lean.accounting.prices.book import Dollars, PriceBook
from langchain_lean.accounting.recording.events import Event, Outcome
from langchain_lean.accounting.recording.recorder import Recorder
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.budgets.alerts import Notify, Watch, notifier
from langchain_lean.budgets.budget import Budget, Per
from langchain_lean.budgets.demands import Part, make_demand
from langchain_lean.budgets.estimates import Ask, Estimate, Estimator
from langchain_lean.budgets.storage import Refusal, Storage, open_storage
from langchain_lean.errors import ConfigurationError, LeanError, StorageError

_AWS_UNITS = {"day": "DAILY", "month": "MONTHLY"}
_MOST_ALERTS = 5  # of one AWS budget
_COUNTING = 60.0  # seconds
_MOST_UNCOUNTED = 10_000


class SpendAlarm(Recorder):
    """Tells when spending reaches shares of an amount; it stops nothing.

    A callback handler like the ledger. It counts what calls cost after they are made,
    and tells at least once, normally once for each share and window over all
    processes that share the store, on the thread of the call that reaches the share.
    Calls of models without a price are not counted, which is logged once for each.

    Args:
        usd: The amount, as for `Budget`.
        per: `minute`, `hour`, `day`, `month` or `total`.
        at: The shares of it to tell of.
        notify: A function of an `Alert`, an SNS topic's ARN or a webhook's URL.
        by: Who has an amount of their own, as for `Budget`.
        name: What it is called. An alarm without a name begins anew when its amount is
            changed.
        timezone: Where days begin.
        store: As for `BudgetGuard`; by default in memory, where an amount begins anew
            with the process.
        namespace: As for `BudgetGuard`.
        prices: What models cost; your own go in here.
        counter: Estimates what providers do not report.
        clock: Seconds since the epoch.

    Raises:
        ConfigurationError: If something of this makes no sense.

    Example:
        ```python
        alarm = SpendAlarm(usd="100", per="month", notify="https://example.com/hook")
        chain.invoke(question, config={"callbacks": [alarm]})
        ```
    """

    run_inline = False

    def __init__(
        self,
        *,
        usd: Dollars,
        per: Per,
        at: Sequence[float] = (0.5, 0.8, 1.0),
        notify: Notify | str,
        by: str | tuple[str, ...] = (),
        name: str | None = None,
        timezone: str = "UTC",
        store: str | Storage = "memory://",
        namespace: str = "lean",
        prices: PriceBook | None = None,
        counter: TokenCounter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(abandon_after=600.0, clock=clock, timer=time.perf_counter)
        self.at = _shares(at)
        # Two alarms on the same calls must not count on one counter.
        shares = ", ".join(f"{share:.0%}" for share in self.at)
        named = name or f"alarm at {shares} of ${usd}"
        self.budget = Budget(usd=usd, per=per, by=by, name=named, timezone=timezone)
        self._counted = Budget(usd=None, per=per, by=by, name=named, timezone=timezone)
        if per in ("call", "run", "thread"):
            msg = "An alarm is per minute, hour, day, month or total."
            raise ConfigurationError(msg)
        self.storage = open_storage(store, namespace)
        self._watch = Watch(self.storage, notifier(notify), clock)
        self._uncounted: deque[Part] = deque(maxlen=_MOST_UNCOUNTED)
        self._estimator = Estimator(counter or TokenCounter(), prices or PriceBook())

    def _received(self, event: Event) -> None:
        """Count what a call cost, and what abandoned ones did."""
        if isinstance(event, Outcome):
            for outcome in [event, *self._abandoned_calls()]:
                if isinstance(outcome, Outcome):
                    self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        now, ask = self.clock(), Ask.of(outcome.call)
        spent = self._estimator.spent(outcome, now)
        if spent.cost is None:
            self._warn_once(
                f"no price is known for {ask.model!r}, so it is not counted; give the "
                "alarm one with prices=PriceBook().with_price(...)"
            )
            return
        demand = make_demand(
            ask,
            Estimate(usage=spent.usage, cost=spent.cost, floor_cost=spent.cost),
            [self._counted],
            now=now,
            lease=_COUNTING,
            require_key=False,
        )
        self._uncounted.extend(demand.parts)
        self._add()

    def _add(self) -> None:
        """Count what was spent, and what could not be counted before."""
        while self._uncounted:
            with suppress(IndexError):  # another thread may be at the same
                part = self._uncounted.popleft()
                try:
                    used = self._added(part)
                except StorageError as error:
                    self._uncounted.appendleft(part)
                    self._warn_once(str(error))
                    return
                told = Part(self.budget, part.claim, part.whose)
                self._watch.check(told, used, self.at)

    def _added(self, part: Part) -> int:
        key, amount = part.claim.key, part.claim.amount
        lease = self.storage.reserve([part.claim], lease=_COUNTING)
        if isinstance(lease, Refusal):  # beyond what can be counted
            return lease.counters[key].used
        told = self.storage.settle(lease, {key: amount})
        return (told.get(key) or self.storage.read(key)).used


def _shares(at: Sequence[float]) -> tuple[float, ...]:
    try:
        shares = tuple(sorted(at))
        if shares and all(0 < share <= 10 for share in shares):
            return shares
    except TypeError:
        pass
    msg = "at= takes shares above 0, such as (0.5, 0.8, 1.0)."
    raise ConfigurationError(msg)


def aws_budget(
    alarm: SpendAlarm,
    subscribers: Sequence[str],
    *,
    services: Sequence[str] = ("Amazon Bedrock",),
    account_id: str | None = None,
    client: Any = None,
) -> str:
    """Create the AWS Budget that matches an alarm, with its alerts.

    AWS sees what it bills, hours later; the alarm sees what is spent, at once. A budget
    of the same name is replaced.

    Args:
        alarm: One per day or month, of one amount for all.
        subscribers: E-mail addresses (10 at most), and the ARN of one SNS topic.
        services: The AWS services whose bill counts; none for all.
        account_id: The account; the caller's own if not given.
        client: A boto3 client of AWS Budgets; one is made if not given.

    Returns:
        The name of the budget.

    Raises:
        ConfigurationError: If AWS has no such budget.
        LeanError: If AWS refuses it.
    """
    from boto3.session import Session
    from botocore.exceptions import BotoCoreError, ClientError

    wanted = _aws_budget(alarm, subscribers, services)
    name: str = wanted["Budget"]["BudgetName"]
    try:
        client = client or Session().client("budgets", region_name="us-east-1")
        if account_id is None:
            sts = Session().client("sts", region_name="us-east-1")
            account_id = str(sts.get_caller_identity()["Account"])
        try:
            client.create_budget(AccountId=account_id, **wanted)
        except client.exceptions.DuplicateRecordException:
            client.delete_budget(AccountId=account_id, BudgetName=name)
            client.create_budget(AccountId=account_id, **wanted)
    except (BotoCoreError, ClientError) as error:
        msg = f"The AWS Budget could not be created: {error}"
        raise LeanError(msg) from error
    return name


def _aws_budget(
    alarm: SpendAlarm, subscribers: Sequence[str], services: Sequence[str]
) -> dict[str, Any]:
    """What AWS is asked for: the budget, and its alerts."""
    amount, unit = alarm.budget.limit, _AWS_UNITS.get(alarm.budget.per)
    fits = amount and unit and not alarm.budget.by and len(alarm.at) <= _MOST_ALERTS
    if not fits or not subscribers:
        msg = (
            "AWS has budgets of an amount per day or month for a whole account, with "
            f"up to {_MOST_ALERTS} alerts and somebody to tell."
        )
        raise ConfigurationError(msg)
    budget: dict[str, Any] = {
        "BudgetName": f"langchain_lean {alarm.budget.name} per {alarm.budget.per}",
        "BudgetLimit": {"Amount": f"{alarm.budget.value(amount or 0)}", "Unit": "USD"},
        "TimeUnit": unit,
        "BudgetType": "COST",
    }
    if services:
        budget["CostFilters"] = {"Service": list(services)}
    people = [
        {
            "SubscriptionType": "SNS" if who.startswith("arn:") else "EMAIL",
            "Address": who,
        }
        for who in subscribers
    ]
    notification: dict[str, Any] = {
        "NotificationType": "ACTUAL",
        "ComparisonOperator": "GREATER_THAN",
        "ThresholdType": "PERCENTAGE",
    }
    alerts = [
        {
            "Notification": notification | {"Threshold": round(share * 100, 6)},
            "Subscribers": people,
        }
        for share in alarm.at
    ]
    return {"Budget": budget, "NotificationsWithSubscribers": alerts}
