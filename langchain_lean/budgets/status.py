"""How a budget stands."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from langchain_lean.budgets.budget import Budget
from langchain_lean.budgets.storage import Counter


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatus:
    """How a budget stands.

    Attributes:
        budget: The budget.
        used: What was used, in dollars, tokens or calls.
        held: What calls under way have reserved.
        remaining: What a new call could reserve; None for no limit.
        overshoot: By how much `used` is above the limit: what answers were longer
            than what had been reserved for them.
        resets_at: When a new window begins, in UTC; None for never.
    """

    budget: Budget
    used: Decimal | int
    held: Decimal | int
    remaining: Decimal | int | None
    overshoot: Decimal | int
    resets_at: datetime | None


def status_of(budget: Budget, counter: Counter, now: float) -> BudgetStatus:
    """How a budget stands whose counter stands so.

    Args:
        budget: The budget.
        counter: Its counter.
        now: Seconds since the epoch.
    """
    limit = budget.limit
    left = None if limit is None else max(limit - counter.taken, 0)
    over = 0 if limit is None else max(counter.used - limit, 0)
    return BudgetStatus(
        budget=budget,
        used=budget.value(counter.used),
        held=budget.value(counter.held),
        remaining=None if left is None else budget.value(left),
        overshoot=budget.value(over),
        resets_at=budget.window(now).ends,
    )
