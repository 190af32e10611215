"""A logistic regression that knows how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from langchain_lean.vectors import Floats

_PRIOR = 1.0  # variance of a weight; features are of the order of 1
_STEPS = 25
_CLOSE = 1e-4  # a step after which no other is needed


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """Weights, and their posterior covariance.

    Attributes:
        weights: One for each feature.
        covariance: Theirs, by Laplace's approximation.
    """

    weights: Floats
    covariance: Floats

    @classmethod
    def fit(cls, features: Floats, wrong: Floats, counts: Floats) -> Regression:
        """Fit by Newton's method, with a normal prior around 0.

        Args:
            features: (rows, features).
            wrong: 1 where the outcome was wrong, else 0.
            counts: For how many rows each one stands.
        """
        weights = np.zeros(features.shape[1])
        prior = np.eye(len(weights)) / _PRIOR
        for _ in range(_STEPS):
            found = cls(weights, prior).errors(features)
            spread = counts * found * (1 - found)
            slope = features.T @ (counts * (wrong - found)) - weights / _PRIOR
            covariance = np.linalg.inv((features.T * spread) @ features + prior)
            step = covariance @ slope
            weights = weights + step
            if np.abs(step).max() < _CLOSE:
                break
        return cls(weights, covariance)

    def errors(self, features: Floats) -> Floats:
        """The probability that each row is wrong."""
        # The logistic function, without overflow.
        probabilities: Floats = (1 + np.tanh(features @ self.weights / 2)) / 2
        return probabilities
