"""What calls ask of the budgets, and what becomes of it: plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from langchain_lean.budgets.budget import Budget
from langchain_lean.budgets.errors import BudgetExceededError, MissingKeyError
from langchain_lean.budgets.estimates import Ask, Estimate
from langchain_lean.budgets.reservations import Grant
from langchain_lean.budgets.storage import Claim, Counter, Refusal
from langchain_lean.budgets.storage.base import LATE, MOST


@dataclass(frozen=True, slots=True)
class Part:
    """What a call asks of one budget.

    Attributes:
        budget: The budget.
        claim: What it claims of it.
        whose: The values of the budget's keys; None where the call does not say.
        now: When it asked, in seconds since the epoch.
    """

    budget: Budget
    claim: Claim
    whose: Mapping[str, str | None]
    now: float


@dataclass(frozen=True, slots=True)
class Demand:
    """What a call asks of the budgets.

    Attributes:
        ask: The call.
        estimate: What it may use.
        parts: What it asks of each budget.
        now: When it asked, in seconds since the epoch.
    """

    ask: Ask
    estimate: Estimate
    parts: tuple[Part, ...]
    now: float

    @property
    def counted(self) -> list[Claim]:
        """The claims a store decides on: one call has no past."""
        return [part.claim for part in self.parts if part.budget.per != "call"]

    def misfit(self, counters: Mapping[str, Counter]) -> Part | None:
        """The first part that does not fit into its budget.

        Args:
            counters: How the counters stand, by key.
        """
        for part in self.parts:
            taken = counters.get(part.claim.key, Counter()).taken
            if taken + part.claim.amount > part.claim.limit:
                return part
        return None


@dataclass(frozen=True, slots=True)
class Reservation:
    """A demand that was granted."""

    demand: Demand
    grant: Grant


@dataclass(frozen=True, slots=True)
class Shortage:
    """A demand that was refused.

    Attributes:
        demand: The demand.
        counters: How the counters stood, by key.
    """

    demand: Demand
    counters: Mapping[str, Counter]

    def error(self) -> BudgetExceededError:
        """What is raised for it."""
        part = self.demand.misfit(self.counters)
        if part is None:  # pragma: no cover - a store refuses what does not fit
            msg = "A store refused what fits."
            raise RuntimeError(msg)
        claim = part.claim
        return BudgetExceededError(
            part.budget,
            key=claim.key,
            limit=claim.limit,
            used=self.counters.get(claim.key, Counter()).taken,
            requested=claim.amount,
            now=self.demand.now,
        )


def make_demand(
    ask: Ask,
    estimate: Estimate,
    budgets: Iterable[Budget],
    *,
    now: float,
    lease: float,
    require_key: bool,
) -> Demand:
    """What a call asks of some budgets.

    Args:
        ask: The call.
        estimate: What it may use.
        budgets: The budgets.
        now: Seconds since the epoch.
        lease: Seconds it may take.
        require_key: Whether it must say whom it is for.

    Raises:
        MissingKeyError: If it must and does not.
    """
    parts = []
    for budget in budgets:
        whose = ask.whose(budget.keys)
        if require_key and None in whose.values():
            missing = [key for key, value in whose.items() if value is None]
            named = ", ".join(f'"{key}": ...' for key in missing)
            msg = (
                f"The call says no {' and '.join(missing)}, which a budget is by; "
                f'say it in the metadata: config={{"metadata": {{{named}}}}}.'
            )
            raise MissingKeyError(msg)
        amount = budget.amount(estimate.usage, estimate.cost)
        claim = Claim(
            budget.counter(now, whose, ask.run_id),
            amount,
            MOST if budget.limit is None else budget.limit,
            budget.lasts(now, after=lease + LATE),
            min(budget.amount(estimate.floor, estimate.floor_cost), amount),
        )
        parts.append(Part(budget, claim, whose, now))
    return Demand(ask, estimate, tuple(parts), now)


def too_large(demand: Demand) -> Shortage | None:
    """What a call lacks by itself, for which no store is asked; None for nothing."""
    single = [part for part in demand.parts if part.budget.per == "call"]
    alone = Demand(demand.ask, demand.estimate, tuple(single), demand.now)
    return None if alone.misfit({}) is None else Shortage(alone, {})


def outcome_of(demand: Demand, outcome: Grant | Refusal) -> Reservation | Shortage:
    """What a store's word means for a demand."""
    if isinstance(outcome, Refusal):
        return Shortage(demand, outcome.counters)
    return Reservation(demand, outcome)
