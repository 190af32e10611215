"""A logistic regression that knows how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from langchain_lean.vectors import Floats

_FLOORS = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.12)
_STEPS = 12
_CLOSE = 1e-3  # a step after which no other is needed
_LEAST = 1e-9  # a probability


class Prior(NamedTuple):
    """What is thought of the weights beforehand: they are normal, and independent.

    Attributes:
        means: Of each weight.
        precisions: One over the variance of each.
    """

    means: Floats
    precisions: Floats


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
    def fit(cls, features: Floats, wrong: Floats, prior: Prior) -> Regression:
        """Fit a regression for each of several floors, and take the likeliest.

        The floor is what psychometrics calls a lapse rate (Wichmann and Hill,
        Perception & Psychophysics 63, 2001). Without one, probabilities would fall on
        and on where similarity rises, far beyond what was seen. Covariance and evidence
        are Laplace's approximation (Bishop, Pattern Recognition and Machine Learning,
        2006, 4.4 and 4.5).

        Args:
            features: (rows, features).
            wrong: 1 where the candidate was wrong, else 0.
            prior: What is thought beforehand.
        """
        best, most = cls.of(0.0, features, wrong, prior, prior.means)
        for floor in _FLOORS[1:]:
            fitted, evidence = cls.of(floor, features, wrong, prior, best.weights)
            if evidence > most:
                best, most = fitted, evidence
        return best

    @classmethod
    def of(
        cls, floor: float, features: Floats, wrong: Floats, prior: Prior, start: Floats
    ) -> tuple[Regression, float]:
        """Fit a regression with a given floor, by Fisher scoring.

        Args:
            floor: The floor.
            features: (rows, features).
            wrong: 1 where the candidate was wrong, else 0.
            prior: What is thought beforehand.
            start: The weights to begin with.

        Returns:
            The regression, and the logarithm of its evidence, up to a constant.
        """
        precision = np.diag(prior.precisions)
        fitted = cls(floor, start, precision)
        for _ in range(_STEPS):
            errors = fitted.errors(features)
            rise = (errors - floor) * (1 - errors) / (1 - floor)
            share = rise / (errors * (1 - errors))
            slope = features.T @ ((wrong - errors) * share)
            slope -= precision @ (fitted.weights - prior.means)
            information = (features.T * (rise * share)) @ features + precision
            covariance = np.asarray(np.linalg.inv(information), np.float64)
            step = covariance @ slope
            fitted = cls(floor, fitted.weights + step, covariance)
            if np.abs(step).max() < _CLOSE:
                break
        errors = fitted.errors(features)
        away = fitted.weights - prior.means
        evidence = np.log(np.where(wrong > 0, errors, 1 - errors)).sum()
        evidence -= away @ precision @ away / 2
        evidence += np.linalg.slogdet(fitted.covariance)[1] / 2
        return fitted, float(evidence)

    def errors(self, features: Floats) -> Floats:
        """The probability that each candidate is wrong."""
        half = features @ self.weights / 2
        logistic = (1 + np.tanh(half)) / 2  # without overflow
        errors: Floats = self.floor + (1 - self.floor) * logistic
        return np.clip(errors, _LEAST, 1 - _LEAST)
