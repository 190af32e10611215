"""How many wrong answers were served by now, as far as is known, and may be yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from langchain_lean.caching.accepting.regression import Regression
from langchain_lean.vectors import Floats

_AHEAD = 0.5  # of the requests so far: for how many the allowance is planned
_LEAST_AHEAD = 50
_ESTIMATED_ANEW = 10_000  # served requests; older ones are as they were last estimated


class Spent(NamedTuple):
    """Wrong answers among requests that were served, or several such sums in rows.

    Attributes:
        wrong: How many are expected.
        variance: The variance of their number, if the probabilities are right.
        gradient: What they change by with the weights of the regression.
    """

    wrong: Floats
    variance: Floats
    gradient: Floats

    def plus(self, other: Spent, times: float = 1.0) -> Spent:
        """Both together, the other one several times."""
        return Spent(
            self.wrong + times * other.wrong,
            self.variance + times * other.variance,
            self.gradient + times * other.gradient,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """What is known of errors.

    Attributes:
        regression: How probable they are.
        ratio: How many were seen for one that it had led to expect.
    """

    regression: Regression
    ratio: float

    def errors(self, rows: Floats) -> Floats:
        """The probability that each candidate is wrong."""
        return np.minimum(self.ratio * self.regression.errors(rows), 1.0)

    def most(self, spent: Spent, deviations: float) -> Floats:
        """How many wrong answers there are at most.

        Two things are uncertain: what chance did, and what the weights are. Both are
        taken as normal; the latter changes all probabilities at once (delta method).

        Args:
            spent: What was served.
            deviations: How sure to be, in standard deviations.
        """
        covariance = self.regression.covariance
        doubt = ((spent.gradient @ covariance) * spent.gradient).sum(axis=-1)
        most: Floats = spent.wrong + deviations * np.sqrt(spent.variance + doubt)
        return most


def each(errors: Floats, rows: Floats) -> Spent:
    """What each row comes to if it is served, by the probability that it is wrong.

    The gradient is that of a regression without a floor, which is steeper: the floor
    is not known exactly, either.
    """
    spread = errors * (1 - errors)
    return Spent(errors, spread, spread[..., None] * rows)


class Account:
    """Keeps what was served within the allowance: a share of all requests.

    What was served is estimated anew, all of it, whenever more is known.

    Args:
        rate: Wrong answers, as a share of all requests.
        confidence: How sure to be that there are no more.
        features: How many numbers describe a candidate.
    """

    def __init__(self, rate: float, confidence: float, features: int) -> None:
        self.requests = 0
        self._rate = rate
        self._deviations = NormalDist().inv_cdf(confidence)
        self._rows = np.zeros((0, features))
        self._new: list[Floats] = []
        nothing = Spent(np.zeros(()), np.zeros(()), np.zeros(features))
        self._settled = self._spent = nothing

    def estimate(self, belief: Belief) -> None:
        """Estimate anew what was served."""
        self._rows = np.vstack([self._rows, *self._new])
        self._new = []
        found = each(belief.errors(self._rows), self._rows)
        sums = Spent(*(part.sum(axis=0) for part in found))
        self._spent = self._settled.plus(sums)
        if len(self._rows) > _ESTIMATED_ANEW:
            self._settled, self._rows = self._spent, self._rows[:0]

    def allows(self, belief: Belief, error: Floats, row: Floats) -> bool:
        """Whether the allowance is kept if another request is served."""
        spent = self._spent.plus(each(error, row))
        allowed = self._rate * self.requests
        return bool(belief.most(spent, self._deviations) <= allowed)

    def charge(self, error: Floats, row: Floats) -> None:
        """Another request is served."""
        self._spent = self._spent.plus(each(error, row))
        self._new.append(row)

    def threshold(self, belief: Belief, recent: Sequence[Floats]) -> float:
        """The highest error probability to serve at, so that the allowance lasts.

        The allowance buys most where all that is served is less probably wrong than all
        that is not. So one threshold is sought with which it will not be exceeded after
        so many more requests, if they are like the recent ones.

        Args:
            belief: What is known of errors.
            recent: What described the candidates of recent requests.
        """
        rows = np.array(recent)
        errors = belief.errors(rows)
        order = np.argsort(errors)
        ahead = max(_AHEAD * self.requests, _LEAST_AHEAD)
        sums = each(errors[order], rows[order])
        sums = Spent(*(np.cumsum(part, axis=0) for part in sums))
        spent = self._spent.plus(sums, ahead / len(rows))
        allowed = self._rate * (self.requests + ahead)
        within = np.flatnonzero(belief.most(spent, self._deviations) <= allowed)
        return float(errors[order[within[-1]]]) if len(within) else 0.0
