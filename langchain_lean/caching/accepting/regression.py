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
    """How probable it is that a candidate is wrong.

    Attributes:
        weights: One for each feature.
        covariance: Of the weights: how well they are known.
    """

    weights: Floats
    covariance: Floats

    @classmethod
    def fit(cls, features: Floats, wrong: Floats) -> Regression:
        """Fit by Newton's method; the covariance is Laplace's approximation.

        Weights are normal around 0 beforehand (Bishop, Pattern Recognition and Machine
        Learning, 2006, 4.5).

        Args:
            features: (rows, features).
            wrong: 1 where the candidate was wrong, else 0.
        """
        count = features.shape[1]
        prior = np.eye(count) / _PRIOR
        fitted = cls(np.zeros(count), prior)
        for _ in range(_STEPS):
            errors = fitted.errors(features)
            slope = features.T @ (wrong - errors) - prior @ fitted.weights
            spread = errors * (1 - errors)
            covariance = np.linalg.inv((features.T * spread) @ features + prior)
            step = covariance @ slope
            fitted = cls(fitted.weights + step, covariance)
            if np.abs(step).max() < _CLOSE:
                break
        return fitted

    def errors(self, features: Floats) -> Floats:
        """The probability that each candidate is wrong."""
        half = features @ self.weights / 2
        errors: Floats = (1 + np.tanh(half)) / 2  # logistic, without overflow
        return errors
