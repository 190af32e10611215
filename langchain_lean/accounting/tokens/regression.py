"""Learning a provider's count from an estimate: pure arithmetic, constant memory.

A count is a sum of weights times features (tokens, digits, symbols, newlines, spaces,
and 1 for a call), fitted to the relative error. No weight is negative, so that more
text never counts less.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEATURES = 6
_TRIANGLE = np.triu_indices(FEATURES)
# How firmly weights are held at their prior: with a relative error of 10 %, they stray
# by about 0.45 (tokens), 1.4 (digits, symbols, newlines, spaces) and 30 (a call).
_STIFFNESS = np.diag([0.05, 0.005, 0.005, 0.005, 0.005, 0.00001])
# Chosen by hand; tests/benchmarks/token_estimates.py shows what they do.
_HUBER = 2.0
_LOUDEST = 2.5
_DEVIATIONS = 3.5
_UNFAMILIAR = 0.5
_RANGE = 4.0
_FOREIGN = 10.0
_MEMORY = 500
_SCALE_WARMUP, _SCALE_MEMORY = 3, 50
_VARIANCE = (0.005**2, 0.5**2)
_MOST_CALLS = 2**53


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of a model before it has reported anything.

    Attributes:
        factor: The provider's tokens per token of the estimate.
        scale: Relative error (one standard deviation) expected of the estimate.
        firmness: How many times harder than usual it is to move away from this.
    """

    factor: float = 1.0
    scale: float = 0.1
    firmness: float = 1.0


@dataclass(frozen=True, eq=False)
class Correction:
    """What a model's reports say about the estimate; a value, replaced when it learns.

    Attributes:
        prior: Where the weights start.
        calls: Reports learned from.
        variance: Running mean of the squared relative error, each error taken before
            the report was learned.
        gram: Weighted sum of the products of features, 6 by 6.
        moment: Weighted sum of the features times the count, 6.
    """

    prior: Prior
    calls: int
    variance: float
    gram: NDArray[np.float64]
    moment: NDArray[np.float64]
    _stiff: NDArray[np.float64] = field(init=False, repr=False)
    _weights: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pull = _STIFFNESS * self.prior.firmness
        moment = self.moment + self.prior.factor * pull[0]
        object.__setattr__(self, "_stiff", self.gram + pull)
        object.__setattr__(self, "_weights", _nonnegative(self._stiff, moment))

    @classmethod
    @functools.cache
    def start(cls, prior: Prior) -> Correction:
        """The correction of a model that has reported nothing."""
        nothing = np.zeros((FEATURES, FEATURES))
        return cls(prior, 0, prior.scale**2, nothing, nothing[0])

    def estimate(self, features: Sequence[float]) -> float:
        """The provider's count of these features.

        Kept between a quarter and four times the tokens, whatever was learned.
        """
        tokens = features[0]
        raw = float(np.asarray(features, float) @ self._weights)
        return min(max(raw, tokens / _RANGE), tokens * _RANGE)

    def margin(self, features: Sequence[float]) -> float:
        """The share to add to an estimate so that it is hardly ever too low.

        3.5 standard deviations, more for content unlike what was learned from, where
        it goes up to 50 % (and there it stands while nothing is learned).
        """
        estimate = self.estimate(features)
        if not estimate:
            return 0.0
        row = np.asarray(features, float) / estimate
        unlike = float(row @ np.linalg.solve(self._stiff, row))
        known = _DEVIATIONS * math.sqrt(self.variance)
        return min(known * math.sqrt(1 + max(unlike, 0.0)), max(known, _UNFAMILIAR))

    def learn(self, features: Sequence[float], actual: float) -> Correction:
        """This correction after one more report; itself if the report cannot be meant.

        An error beyond two standard deviations pulls no harder than one of two (Huber);
        a count ten times off is of something else. Old reports fade over 500 calls.
        """
        estimate = self.estimate(features)
        if not estimate:
            return self
        ratio = actual / estimate
        if not 1 / _FOREIGN <= ratio <= _FOREIGN:
            return self
        error = abs(ratio - 1)
        scale = math.sqrt(self.variance)
        weight = min(1.0, _HUBER * scale / error) if error else 1.0
        row = np.asarray(features, float) / estimate
        seen = min(self.calls + 1 + _SCALE_WARMUP, _SCALE_MEMORY)
        squared = min(error, _LOUDEST * scale) ** 2
        variance = self.variance + (squared - self.variance) / seen
        fade = 1 - 1 / _MEMORY
        return replace(
            self,
            calls=self.calls + 1,
            variance=min(max(variance, _VARIANCE[0]), _VARIANCE[1]),
            gram=fade * self.gram + weight * np.outer(row, row),
            moment=fade * self.moment + weight * ratio * row,
        )

    def dump(self) -> dict[str, Any]:
        """The learned part as plain JSON, about 600 bytes; the prior is not in it."""
        return {
            "calls": self.calls,
            "variance": self.variance,
            "gram": self.gram[_TRIANGLE].tolist(),
            "moment": self.moment.tolist(),
        }

    @classmethod
    def load(cls, prior: Prior, state: object) -> Correction | None:
        """The correction that `dump` wrote, or None if `state` is anything else."""
        try:
            calls, variance, gram, moment = (
                state[key]  # type: ignore[index]
                for key in ("calls", "variance", "gram", "moment")
            )
            square = np.zeros((FEATURES, FEATURES))
            square[_TRIANGLE] = np.asarray(gram, float)
            square += np.triu(square, 1).T
            vector = np.asarray(moment, float).reshape(FEATURES)
            if type(calls) is not int or not 0 < calls <= _MOST_CALLS:
                return None
            if not _VARIANCE[0] <= variance <= _VARIANCE[1]:
                return None
            if not (np.isfinite(square).all() and np.isfinite(vector).all()):
                return None
            np.linalg.cholesky(square + _STIFFNESS * prior.firmness)
            return cls(prior, calls, float(variance), square, vector)
        except (KeyError, TypeError, ValueError, OverflowError, np.linalg.LinAlgError):
            return None


def _nonnegative(
    matrix: NDArray[np.float64], moment: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least squares without negative weights: those that come out so are dropped."""
    weights = np.zeros(FEATURES)
    kept = np.arange(FEATURES)
    while kept.size:
        solved = np.linalg.solve(matrix[np.ix_(kept, kept)], moment[kept])
        if (solved >= 0).all():
            weights[kept] = solved
            break
        kept = kept[solved >= 0]
    return weights
