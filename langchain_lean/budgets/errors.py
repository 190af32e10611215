"""What a guard raises, so that no retry, fallback or tool takes it for an answer.

LeanError
└── CallRefusedError           a call was refused before it was made
    ├── BudgetExceededError    it would exceed a budget
    ├── BudgetStoreError       the store of the budgets cannot be reached
    ├── MissingKeyError        it does not say whom it is for
    └── UnpricedCallError      a budget is in dollars and its model has no price

Each is a `ModelError` and a `GraphBubbleUp` as well: middleware for models and the
error handling of LangGraph let these through. `.with_retry` still tries again, and is
refused again; `.with_fallbacks` tries the fallbacks, which may fit; a node's own
`except Exception` still catches it.
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
        retry_after: Whole seconds after which a new try makes sense, for the HTTP
            header; None where waiting does not help.
    """

    status: int = 500
    retry_after: int | None = None


class BudgetExceededError(CallRefusedError):
    """A call was refused, because it would exceed a budget.

    Attributes:
        budget: The budget.
        key: The counter, without anything a user wrote.
        limit: The limit: dollars, tokens or calls.
        used: What was used and held when it was refused.
        requested: What the call was to reserve.
        resets_at: When a new window begins, in UTC; None for never.
        retry_after: Whole seconds until then; None where waiting does not help, which
            is so per call, run, thread and in total, and for a call that is larger
            than the whole budget.
        status: 413 for a budget of one call, 429 for all others.
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
        self.limit = budget.value(limit)
        self.used = budget.value(used)
        self.requested = budget.value(requested)
        self.resets_at = budget.window(now).ends
        self.status = 413 if budget.per == "call" else 429
        if self.resets_at is not None and requested <= limit:
            self.retry_after = max(1, math.ceil(self.resets_at.timestamp() - now))
        self._given = {"limit": limit, "used": used, "requested": requested, "now": now}
        super().__init__(self._sentence(limit, used, requested))

    def _sentence(self, limit: int, used: int, requested: int) -> str:
        budget = self.budget
        if requested > limit:
            return (
                f"The call may take {budget.words(requested)}, more than its whole "
                f"budget ({budget}); send less, cap its answer with max_tokens, or "
                "allow more."
            )
        until = "; waiting does not help"
        if self.resets_at is not None:
            until = f"; a new one begins at {self.resets_at:%Y-%m-%d %H:%M:%S} UTC"
        return (
            f"The budget is used up ({budget}): {budget.words(used)} used or held, and "
            f"the call may take {budget.words(requested)}{until}."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.budget, {"key": self.key, **self._given})


class BudgetStoreError(CallRefusedError, StorageError):
    """A call was refused, because the store of its budgets cannot be reached."""

    status = 503


class MissingKeyError(CallRefusedError, ConfigurationError):
    """A call was refused, because it does not say whom it is for."""

    status = 400


class UnpricedCallError(CallRefusedError, UnpricedModelError):
    """A call was refused: a budget is in dollars, and its model has no price."""

    def __init__(self, model: str, provider: str | None = None) -> None:
        super().__init__(model, provider)
        self.args = (
            f"A budget is in dollars, and no price is known for model {model!r}; give "
            "the guard one: BudgetGuard(..., prices=PriceBook().with_price("
            f'{model!r}, input="...", output="...")).',
        )


def _rebuild(
    kind: type[BudgetExceededError], budget: Budget, state: dict[str, Any]
) -> BudgetExceededError:
    return kind(budget, **state)
