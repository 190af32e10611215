"""A logistic regression that knows how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from langchain_lean.vectors import Floats

_FLOORS = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.12)
_PRIOR = 1.0  # variance of a weight; features are of the order of 1
_STEPS = 12
_CLOSE = 1e-3  # a step after which no other is needed
_LEAST = 1e-9  # a probability


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """How probable it is that a candidate is wrong.

    Attributes:
        floor: The probability where nothing speaks against it: not every answer to the
            same question is the same.
        weights: One for each feature.
        covariance: Of the weights: how well they are known.
    """

    floor: float
    weights: Floats
    covariance: Floats

    @classmethod
    def fit(cls, features: Floats, wrong: Floats) -> Regression:
        """Fit a regression for each of several floors, and take the likeliest.

        The floor is what psychometrics calls a lapse rate (Wichmann and Hill,
        Perception & Psychophysics 63, 2001). Without one, probabilities would fall on
        and on where similarity rises, far beyond what was seen. Weights are normal
        around 0 beforehand; covariance and evidence are Laplace's approximation
        (Bishop, Pattern Recognition and Machine Learning, 2006, 4.4 and 4.5).

        Args:
            features: (rows, features).
            wrong: 1 where the candidate was wrong, else 0.
        """
        best, most = cls.of(0.0, features, wrong)
        for floor in _FLOORS[1:]:
            fitted, evidence = cls.of(floor, features, wrong, best.weights)
            if evidence > most:
                best, most = fitted, evidence
        return best

    @classmethod
    def of(
        cls,
        floor: float,
        features: Floats,
        wrong: Floats,
        weights: Floats | None = None,
    ) -> tuple[Regression, float]:
        """Fit a regression with a given floor, by Fisher scoring.

        Args:
            floor: The floor.
            features: (rows, features).
            wrong: 1 where the candidate was wrong, else 0.
            weights: Where to begin.

        Returns:
            The regression, and the logarithm of its evidence, up to a constant.
        """
        prior = np.eye(features.shape[1]) / _PRIOR
        start = np.zeros(len(prior)) if weights is None else weights
        fitted = cls(floor, start, prior)
        for _ in range(_STEPS):
            errors = fitted.errors(features)
            rise = (errors - floor) * (1 - errors) / (1 - floor)
            share = rise / (errors * (1 - errors))
            slope = features.T @ ((wrong - errors) * share) - prior @ fitted.weights
            information = (features.T * (rise * share)) @ features + prior
            covariance = np.asarray(np.linalg.inv(information), np.float64)
            step = covariance @ slope
            fitted = cls(floor, fitted.weights + step, covariance)
            if np.abs(step).max() < _CLOSE:
                break
        errors = fitted.errors(features)
        evidence = np.log(np.where(wrong > 0, errors, 1 - errors)).sum()
        evidence -= fitted.weights @ prior @ fitted.weights / 2
        evidence += np.linalg.slogdet(fitted.covariance)[1] / 2
        return fitted, float(evidence)

    def errors(self, features: Floats) -> Floats:
        """The probability that each candidate is wrong."""
        half = features @ self.weights / 2
        logistic = (1 + np.tanh(half)) / 2  # without overflow
        errors: Floats = self.floor + (1 - self.floor) * logistic
        return np.clip(errors, _LEAST, 1 - _LEAST)
