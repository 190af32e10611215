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
class Demand:
    """What a call asks of the budgets.

    Attributes:
        ask: The call.
        estimate: What it may use.
        claims: What it claims of each budget.
        now: When it asked, in seconds since the epoch.
    """

    ask: Ask
    estimate: Estimate
    claims: tuple[tuple[Budget, Claim], ...]
    now: float

    @property
    def counted(self) -> list[Claim]:
        """The claims a store decides on: one call has no past."""
        return [claim for budget, claim in self.claims if budget.per != "call"]

    def misfit(
        self, counters: Mapping[str, Counter]
    ) -> tuple[Budget, Claim, Counter] | None:
        """The first budget that the call does not fit into.

        Args:
            counters: How the counters stand, by key.
        """
        for budget, claim in self.claims:
            counter = counters.get(claim.key, Counter())
            if counter.taken + claim.amount > claim.limit:
                return budget, claim, counter
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
        misfit = self.demand.misfit(self.counters)
        if misfit is None:  # pragma: no cover - a store refuses what does not fit
            msg = "A store refused what fits."
            raise RuntimeError(msg)
        budget, claim, counter = misfit
        return BudgetExceededError(
            budget,
            key=claim.key,
            limit=claim.limit,
            used=counter.taken,
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
    claims = []
    for budget in budgets:
        whose = ask.whose(budget.keys)
        if require_key and None in whose.values():
            missing = " and ".join(k for k, v in whose.items() if v is None)
            msg = (
                f"The call says no {missing}, by which there is a budget; put it into "
                'the metadata: config={"metadata": {...}}.'
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
        claims.append((budget, claim))
    return Demand(ask, estimate, tuple(claims), now)


def too_large(demand: Demand) -> Shortage | None:
    """What a call lacks by itself, for which no store is asked; None for nothing."""
    single = [part for part in demand.claims if part[0].per == "call"]
    alone = Demand(demand.ask, demand.estimate, tuple(single), demand.now)
    return None if alone.misfit({}) is None else Shortage(alone, {})


def outcome_of(demand: Demand, outcome: Grant | Refusal) -> Reservation | Shortage:
    """What a store's word means for a demand."""
    if isinstance(outcome, Refusal):
        return Shortage(demand, outcome.counters)
    return Reservation(demand, outcome)
