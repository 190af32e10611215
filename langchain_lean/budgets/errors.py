"""What a guard raises, so that no retry, fallback or tool takes it for an answer.

LeanError
└── CallRefusedError           a call was refused before it was made
    ├── BudgetExceededError    it would exceed a budget
    ├── BudgetStoreError       the store of the budgets cannot be reached
    ├── MissingKeyError        it does not say whom it is for
    └── UnpricedCallError      a budget is in dollars and its model has no price

Each is a `ModelError` and a `GraphBubbleUp` as well: middleware for models and the
error handling of LangGraph let these through. `.with_retry` still tries again, and is
refused again; a node's own `except Exception` still catches it.
"""

import math
from typing import Any

from langchain_core.exceptions import ModelError
from langgraph.errors import GraphBubbleUp

from langchain_lean.budgets.budget import Budget
from langchain_lean.errors import (
    ConfigurationError,
    LeanError,
    StorageError,
    UnpricedModelError,
)


class CallRefusedError(LeanError, ModelError, GraphBubbleUp):
    """A call was refused before it was made.

    Attributes:
        status: The HTTP status that fits.
    """

    status = 500


class BudgetExceededError(CallRefusedError):
    """A call was refused, because it would exceed a budget.

    Attributes:
        budget: The budget.
        key: The counter, without anything a user wrote.
        limit: The limit, in tokens, calls or nano-dollars.
        used: What was used and held when it was refused.
        requested: What the call was to reserve.
        resets_at: When a new window begins, in UTC; None where waiting does not help.
        retry_after: Whole seconds until then, for the HTTP header; None likewise.
        status: The HTTP status that fits: 413 where the call itself is too large, 429
            where too much was used before.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        key: str,
        limit: int,
        used: int,
        requested: int,
        now: float,
    ) -> None:
        self.budget = budget
        self.key = key
        self.limit = limit
        self.used = used
        self.requested = requested
        self.resets_at = budget.window(now).ends
        self.status = 413 if budget.per == "call" else 429
        self.retry_after: int | None = None
        if self.resets_at is not None:
            self.retry_after = max(1, math.ceil(self.resets_at.timestamp() - now))
        self._now = now
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        asked, budget = self.budget.words(self.requested), self.budget
        if budget.per == "call":
            return (
                f"The call may take {asked}, and its budget is {budget}; "
                "send less or allow more."
            )
        taken = self.budget.words(self.used)
        until = "; it does not begin anew by itself"
        if self.resets_at is not None:
            until = f"; a new one begins at {self.resets_at:%Y-%m-%d %H:%M:%S} UTC"
        return (
            f"The budget is used up ({budget}): {taken} used or held, and the call "
            f"may take {asked}{until}."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        values = ("key", "limit", "used", "requested")
        state = {name: getattr(self, name) for name in values} | {"now": self._now}
        return _rebuild, (type(self), self.budget, state)


class BudgetStoreError(CallRefusedError, StorageError):
    """A call was refused, because the store of its budgets cannot be reached."""

    status = 503


class MissingKeyError(CallRefusedError, ConfigurationError):
    """A call was refused, because it does not say whom it is for."""

    status = 400


class UnpricedCallError(CallRefusedError, UnpricedModelError):
    """A call was refused: a budget is in dollars, and its model has no price."""


def _rebuild(
    kind: type[BudgetExceededError], budget: Budget, state: dict[str, Any]
) -> BudgetExceededError:
    return kind(budget, **state)
