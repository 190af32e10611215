"""A logistic regression that knows how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from langchain_lean.vectors import Floats

_PRIOR = 1.0  # variance of a weight; features are of the order of 1
FLOORS = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08)
PEN = 0.0
_STEPS = 12
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
    floor: float = 0.0

    @classmethod
    def fit(cls, features: Floats, wrong: Floats) -> Regression:
        best, most = None, -np.inf
        start = np.zeros(features.shape[1])
        for floor in FLOORS:
            one = cls._fit(features, wrong, floor, start)
            start = one.weights
            p = one.errors(features)
            like = float(np.log(np.where(wrong > 0, p, 1 - p)).sum()) - one.weights @ one.weights / (2*_PRIOR) + .5*np.linalg.slogdet(one.covariance)[1] - floor*PEN
            if like > most:
                best, most = one, like
        return best

    @classmethod
    def _fit(cls, features, wrong, floor, start):
        count = features.shape[1]
        prior = np.eye(count) / _PRIOR
        fitted = cls(start, prior, floor)
        for _ in range(_STEPS):
            errors = np.clip(fitted.errors(features), 1e-9, 1 - 1e-9)
            rise = (errors - floor) * (1 - errors) / (1 - floor)
            var = errors * (1 - errors)
            slope = features.T @ ((wrong - errors) * rise / var) - prior @ fitted.weights
            covariance = np.linalg.inv((features.T * (rise**2 / var)) @ features + prior)
            step = covariance @ slope
            fitted = cls(fitted.weights + step, covariance, floor)
            if np.abs(step).max() < _CLOSE:
                break
        return fitted

    def errors(self, features: Floats) -> Floats:
        """The probability that each candidate is wrong."""
        half = features @ self.weights / 2
        errors: Floats = (1 + np.tanh(half)) / 2  # logistic, without overflow
        return self.floor + (1 - self.floor) * errors
