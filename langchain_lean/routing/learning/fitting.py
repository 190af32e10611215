"""From rows to weights, and from weights to probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_lean.errors import ConfigurationError
from langchain_lean.vectors import Floats

_FEWEST = 10  # rows of each kind, two in each fold

# Chosen by hand on repeated splits of the rows of tests/benchmarks/routing.py.
_PRIOR = 0.001  # variance of a weight
_LENGTH = 4.0  # of an embedding, where a feature has 1
_FARTHEST = 4.0  # deviations from the mean; what is farther off counts no more
_FOLDS = 5
_ITERATIONS = 1_000
_NOTHING = 1e-9  # a deviation that is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A logistic regression on features and embeddings, as plain arrays.

    Attributes:
        center: The mean of each feature.
        scale: The deviation of each feature.
        features: The weight of each feature in deviations from its mean.
        embeddings: The weights of the embeddings, one row for each text; with none,
            an array of 0 rows.
        bias: What is added.
    """

    center: Floats
    scale: Floats
    features: Floats
    embeddings: Floats
    bias: float

    def log_odds(self, features: Floats, embeddings: Floats) -> Floats:
        """The log odds of a good answer.

        Args:
            features: (rows, features).
            embeddings: (rows, texts, dimensions), each of length 1.

        Returns:
            One for each row.
        """
        deviations = (features - self.center) / self.scale
        clipped = np.clip(deviations, -_FARTHEST, _FARTHEST)
        flat = embeddings.reshape(len(features), self.embeddings.size)
        weighed: Floats = clipped @ self.features + flat @ self.embeddings.ravel()
        return weighed + self.bias

    def probabilities(self, features: Floats, embeddings: Floats) -> Floats:
        """The probability of a good answer; takes what `log_odds` takes."""
        half = self.log_odds(features, embeddings) / 2
        return (1 + np.tanh(half)) / 2  # the logistic function, without overflow


def check_kinds(good: NDArray[np.bool_]) -> None:
    """Check that there are enough rows of both kinds to learn from.

    Raises:
        ConfigurationError: If there are not.
    """
    kinds = int(good.sum()), int((~good).sum())
    if min(kinds) < _FEWEST:
        msg = (
            f"Learning takes {_FEWEST} good outcomes and {_FEWEST} bad ones at least, "
            f"not {kinds[0]} and {kinds[1]}: judge more answers."
        )
        raise ConfigurationError(msg)


def fit_weights(
    features: Floats, embeddings: Floats, good: NDArray[np.bool_]
) -> Weights:
    """Fit the weights, and set their scale so that they give probabilities.

    Weights are held near 0 by a strong prior, since rows are few and embeddings wide:
    then a weight is hardly more than how far good answers lie from others in its
    feature, which with few rows is the better classifier (Bickel and Levina, Bernoulli
    10, 2004). What that does to the size of the log odds is set right by a logistic
    regression on log odds of rows that were kept aside (Platt, 1999), 5 folds.

    Args:
        features: (rows, features).
        embeddings: (rows, texts, dimensions), each of length 1 or 0.
        good: Whether the answer of each row was good.

    Returns:
        The weights; the same rows in the same order give the same ones.

    Raises:
        ConfigurationError: If scikit-learn is not installed.
    """
    try:
        from sklearn.model_selection import StratifiedKFold
    except ImportError:
        msg = (
            "LearnedPolicy.fit needs the 'learn' extra: "
            "pip install 'langchain-lean-ai[learn]'."
        )
        raise ConfigurationError(msg) from None
    aside = np.zeros(len(good))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(features, good):
        weights = _shrunk(features[train], embeddings[train], good[train])
        aside[test] = weights.log_odds(features[test], embeddings[test])
    weights = _shrunk(features, embeddings, good)
    mean, deviation = float(aside.mean()), max(float(aside.std()), _NOTHING)
    platt = _regression(1.0, ((aside - mean) / deviation)[:, None], good)
    slope, bias = float(platt.coef_[0, 0]) / deviation, float(platt.intercept_[0])
    if slope <= 0:  # nothing was learned that holds on other rows
        slope, bias = 0.0, float(np.log(good.mean() / (1 - good.mean())))
    return replace(
        weights,
        features=slope * weights.features,
        embeddings=slope * weights.embeddings,
        bias=slope * (weights.bias - mean) + bias,
    )


def _shrunk(features: Floats, embeddings: Floats, good: NDArray[np.bool_]) -> Weights:
    center, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > _NOTHING, scale, 1.0)
    rows = len(features)
    means = embeddings.mean(axis=0)
    away = embeddings - means
    spread = np.sqrt((away**2).sum(axis=2).mean(axis=0))
    longer = np.where(spread > _NOTHING, _LENGTH / np.maximum(spread, _NOTHING), 0.0)
    clipped = np.clip((features - center) / scale, -_FARTHEST, _FARTHEST)
    together = np.hstack([clipped, (longer[:, None] * away).reshape(rows, -1)])
    fitted = _regression(_PRIOR, together, good)
    weights, count = fitted.coef_[0], len(center)
    directions = longer[:, None] * weights[count:].reshape(means.shape)
    bias = float(fitted.intercept_[0]) - float((directions * means).sum())
    return Weights(center, scale, weights[:count], directions, bias)


def _regression(prior: float, rows: Floats, good: NDArray[np.bool_]) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=prior, max_iter=_ITERATIONS).fit(rows, good)
