"""Telling people when money runs out: once for each threshold, by whoever sees it."""

from __future__ import annotations

import json
import logging
import math
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from inspect import iscoroutinefunction
from typing import Any

from langchain_lean.budgets.budget import Budget
from langchain_lean.budgets.demands import Part
from langchain_lean.budgets.storage import (
    Claim,
    Refusal,
    Storage,
)
from langchain_lean.budgets.storage.base import LATE
from langchain_lean.errors import ConfigurationError, StorageError

logger = logging.getLogger(__name__)

_TELLING = 60.0  # seconds in which a notification is delivered or tried again
_PATIENCE = 10.0  # seconds for a webhook to answer
_MOST_TOLD = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Much of a budget is used.

    Attributes:
        budget: The budget.
        threshold: The share that was reached.
        used: What is used: dollars, tokens or calls.
        limit: All there is.
        whose: By key, whose budget it is, such as `{"user_id": "ada"}`; None where the
            calls did not say. Empty for a budget that all share.
        window: The window, such as `2026-11`; empty for none.
        resets_at: When a new one begins, in UTC; None for never.
    """

    budget: Budget
    threshold: float
    used: Decimal | int
    limit: Decimal | int
    whose: Mapping[str, str | None]
    window: str
    resets_at: datetime | None

    def __str__(self) -> str:
        used = self.budget.said(self.used)
        return f"{self.threshold:.0%} of a budget is used: {used} of {self.budget}."

    def to_dict(self) -> dict[str, Any]:
        """The alert as plain JSON values."""
        return {
            "message": str(self),
            "budget": str(self.budget),
            "threshold": self.threshold,
            "used": str(self.used),
            "limit": str(self.limit),
            "unit": self.budget.unit,
            "whose": dict(self.whose),
            "window": self.window,
            "resets_at": self.resets_at.isoformat() if self.resets_at else None,
        }


Notify = Callable[[Alert], object]
"""Tells somebody of an alert; raises where it could not."""


class Watch:
    """Tells once when a counter reaches a share of its limit.

    At least once, and normally once for each share and window, whoever sees it: the
    one who claims the news tells it and then confirms. If it dies in between, the claim
    ends after a minute and the next one tells.

    Args:
        storage: Where the claims stand.
        notify: Tells; None for nobody.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, storage: Storage, notify: Notify | None, clock: Callable[[], float]
    ) -> None:
        self._storage = storage
        self._notify = notify
        self._clock = clock
        self._told: dict[str, float] = {}

    def check(self, part: Part, used: int, shares: Sequence[float]) -> None:
        """Tell of every share that is reached; never raises.

        Args:
            part: The budget, its counter and whose it is.
            used: How the counter stands.
            shares: The shares to tell of.
        """
        limit = part.budget.limit
        if self._notify is None or limit is None:
            return
        for share in shares:
            if used >= max(math.ceil(Fraction(str(share)) * limit), 1):
                try:
                    self._tell_once(part, used, share)
                except StorageError as error:
                    logger.warning("An alert waits for its store: %s", error)

    def _tell_once(self, part: Part, used: int, share: float) -> None:
        now = self._clock()
        news = _news(part.claim.key, share)
        if now < self._told.get(news, 0.0):
            return
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told[news] = now + _TELLING
        window = part.budget.lasts(part.now, after=LATE)
        outcome = self._storage.reserve([Claim(news, 1, 1, window)], lease=_TELLING)
        if isinstance(outcome, Refusal):
            return  # it was told, or somebody is at it
        if self._delivered(_alert(part, used, share)):
            self._storage.settle(outcome, {news: 1})

    def forget(self, key: str, share: float | None) -> str:
        """The counter of what was told of another one, to be cleared with it."""
        news = _news(key, share or 0.0)
        self._told.pop(news, None)
        return news

    def _delivered(self, alert: Alert) -> bool:
        try:
            if self._notify is not None:
                self._notify(alert)
        except Exception as error:
            logger.warning(
                "An alert of the budget %s could not be told (%s); it is tried again "
                "with the next call after a minute.",
                alert.budget,
                type(error).__name__,
            )
            return False
        return True


def _news(key: str, share: float) -> str:
    return f"{key}/told/{share:g}"


def _alert(part: Part, used: int, share: float) -> Alert:
    budget = part.budget
    window = budget.window(part.now)
    return Alert(
        budget=budget,
        threshold=share,
        used=budget.value(used),
        limit=budget.value(budget.limit or 0),
        whose=part.whose,
        window=window.name,
        resets_at=window.ends,
    )


def notifier(target: Notify | str) -> Notify:
    """What tells a target.

    Args:
        target: A function of an `Alert`, the ARN of an SNS topic, or the URL of a
            webhook, which gets `Alert.to_dict()` as JSON.

    Raises:
        ConfigurationError: If it is anything else.
    """
    if isinstance(target, str):
        if target.startswith("arn:") and ":sns:" in target:
            return sns_topic(target)
        if target.startswith(("http://", "https://")):
            return webhook(target)
    elif callable(target) and not _is_async(target):
        return target
    msg = (
        "notify= takes a plain function, the ARN of an SNS topic or the URL of a "
        f"webhook, not {target!r:.60}."
    )
    raise ConfigurationError(msg)


def _is_async(target: object) -> bool:
    called = getattr(target, "__call__", None)  # noqa: B004 - of an object of a class
    return iscoroutinefunction(target) or iscoroutinefunction(called)


def webhook(url: str) -> Notify:
    """Posts alerts to a URL as JSON.

    Args:
        url: Where to; answers other than 2xx count as not delivered.
    """

    def post(alert: Alert) -> None:
        request = urllib.request.Request(  # noqa: S310 - http(s), as the user wrote it
            url,
            data=json.dumps(alert.to_dict()).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_PATIENCE):  # noqa: S310
            pass

    return post


def sns_topic(arn: str, *, client: Any = None) -> Notify:
    """Publishes alerts to an SNS topic.

    Args:
        arn: The topic's ARN, whose region is used.
        client: A boto3 client of SNS; one is made at the first alert if not given.
    """

    def publish(alert: Alert) -> None:
        nonlocal client
        if client is None:
            from boto3.session import Session

            client = Session().client("sns", region_name=arn.split(":")[3])
        body = json.dumps(alert.to_dict())
        client.publish(TopicArn=arn, Subject="A budget runs out", Message=body)

    return publish
