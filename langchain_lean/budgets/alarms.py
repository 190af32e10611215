"""Alarms on what is spent: of this package, and AWS's own."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from langchain_lean.accounting.prices.book import Dollars, PriceBook
from langchain_lean.accounting.recording.events import Event, Outcome
from langchain_lean.accounting.recording.recorder import Recorder
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.budgets.alerts import Notify, Watch, notifier
from langchain_lean.budgets.budget import Budget, Per
from langchain_lean.budgets.demands import Part, make_demand
from langchain_lean.budgets.estimates import Ask, Estimate, Estimator
from langchain_lean.budgets.storage import (
    Counter,
    Lease,
    Refusal,
    Storage,
    open_storage,
)
from langchain_lean.errors import ConfigurationError, LeanError, StorageError
from langchain_lean.lifecycle import keep_until_exit

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
        name: What it is called. An alarm without a name begins anew when its amount or
            its shares are changed.
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
        named = name or f"alarm of ${usd} at {_short(self.at)}"
        self.budget = Budget(usd=usd, per=per, by=by, name=named, timezone=timezone)
        self._counted = Budget(usd=None, per=per, by=by, name=named, timezone=timezone)
        if per in ("call", "run", "thread"):
            msg = "An alarm is per minute, hour, day, month or total."
            raise ConfigurationError(msg)
        self.storage = open_storage(store, namespace)
        self._watch = Watch(self.storage, notifier(notify), clock)
        self._uncounted: deque[tuple[Part, Lease | None]] = deque(
            maxlen=_MOST_UNCOUNTED
        )
        self._estimator = Estimator(counter or TokenCounter(), prices or PriceBook())
        keep_until_exit(self, early=False)

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
        self._uncounted.extend((part, None) for part in demand.parts)
        self._add()

    def _add(self) -> None:
        """Count what was spent, and what could not be counted before."""
        while self._uncounted:
            try:
                part, lease = self._uncounted.popleft()
            except IndexError:  # another thread was faster
                return
            key, amount = part.claim.key, part.claim.amount
            try:
                if lease is None:
                    outcome = self.storage.reserve([part.claim], lease=_COUNTING)
                    if isinstance(outcome, Refusal):  # beyond what can be counted
                        continue
                    lease = outcome
                told = self.storage.settle(lease, {key: amount})
            except BaseException as error:
                self._uncounted.appendleft((part, lease))
                if not isinstance(error, StorageError):
                    raise
                self._warn_once(str(error))
                return
            self._tell(part, told)

    def _tell(self, part: Part, told: Mapping[str, Counter]) -> None:
        with suppress(StorageError):
            counter = told.get(part.claim.key) or self.storage.read(part.claim.key)
            self._watch.check(replace(part, budget=self.budget), counter.used, self.at)

    def close(self) -> None:
        """Count what could not be counted before."""
        self._add()

    def hold(self) -> None:
        """Take every lock, so that no other thread holds one while a process forks."""
        self._estimator.lengths.hold()
        self._estimator.counter.hold()

    def release(self) -> None:
        """Let go of the locks again."""
        self._estimator.counter.release()
        self._estimator.lengths.release()

    def forget(self) -> None:
        """Leave what is under way to the parent, in a forked process."""
        self._forget_calls()
        self._uncounted.clear()
        self._estimator.lengths.forget()
        self._estimator.counter.forget()


def _short(shares: Sequence[float]) -> str:
    told = ", ".join(f"{share:g}" for share in shares)
    return told if len(told) < 60 else hashlib.sha256(told.encode()).hexdigest()[:12]


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
