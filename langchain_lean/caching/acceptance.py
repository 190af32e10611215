"""When the answer to another question is good enough: a rule that learns, and explores."""

from __future__ import annotations

import json
import math
import random as randoms
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from langchain_lean.caching.accepting.evidence import FEATURES, NEIGHBOURS, weighed
from langchain_lean.caching.accepting.regression import Regression
from langchain_lean.caching.stores.base import LESSONS, Near
from langchain_lean.vectors import Floats

__all__ = ["NEIGHBOURS", "Acceptance", "Decision", "Lesson"]

_FIRST_FIT = 30  # lessons
_GROWTH = 1.08  # of the lessons, until the next fit
_RECENT = 500  # requests that stand for those to come
_EXPLORED = 0.05
_AHEAD = 1 / 3
_LEAST_AHEAD = 50


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided on a request.

    Attributes:
        candidate: Whose answer would be served; None where nothing is near.
        serve: Whether it is to be served; else the model is to be asked.
        explored: Whether it would have been served, but is to be compared.
        probability: That its answer is right, as far as is known.
        features: What speaks for it; `learn` needs them.
    """

    candidate: Near | None
    serve: bool = False
    explored: bool = False
    probability: float = 0.0
    features: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a comparison taught.

    Attributes:
        label: The candidate's label.
        features: What spoke for it.
        probability: How probable it was that it was right.
        explored: Whether it would have been served.
        same: Whether it was right.
    """

    label: str
    features: tuple[float, ...]
    probability: float
    explored: bool
    same: bool

    def to_text(self) -> str:
        """As it is kept in a store: numbers and a label, nothing of a question."""
        numbers = [round(value, 5) for value in (self.probability, *self.features)]
        return json.dumps([self.label, int(self.explored), int(self.same), *numbers])

    @classmethod
    def from_text(cls, text: str) -> Lesson | None:
        """Read one back; None where another version wrote it."""
        try:
            label, explored, same, probability, *features = json.loads(text)
            numbers = tuple(map(float, features))
            known = isinstance(label, str) and len(numbers) == FEATURES
            if not known or not all(map(math.isfinite, (probability, *numbers))):
                return None
        except (ValueError, TypeError):
            return None
        return cls(label, numbers, probability, bool(explored), bool(same))


class Acceptance:
    """Decides which requests a cached answer is served for.

    Args:
        max_error_rate: Wrong answers served, as a share of all requests.
        confidence: With what probability the rate is kept.
        random: Where chance comes from.
    """

    def __init__(
        self,
        max_error_rate: float,
        *,
        confidence: float = 0.95,
        random: randoms.Random | None = None,
    ) -> None:
        self._rate = max_error_rate
        self._deviations = NormalDist().inv_cdf(confidence)
        self._random = random or randoms.Random()  # noqa: S311 - no secret
        self._lessons: deque[Lesson] = deque(maxlen=LESSONS)
        self._records: dict[str, tuple[float, float]] = {}
        self._regression: Regression | None = None
        self._next_fit = _FIRST_FIT
        self._learned = 0
        self._requests = 0
        self._recent: deque[tuple[float, ...]] = deque(maxlen=_RECENT)
        self._served: list[tuple[float, ...]] = []
        self._wrong = self._variance = 0.0
        self._gradient: Floats = np.zeros(FEATURES)

    def decide(self, near: Sequence[Near]) -> Decision:
        """Decide on a request: serve one of the nearest entries, or ask the model.

        Args:
            near: The nearest entries, the nearest first, up to `NEIGHBOURS`.
        """
        self._requests += 1
        if not near:
            return Decision(None)
        records = {label: a / (b + 1) for label, (a, b) in self._records.items()}
        candidate, features = weighed(near, records)
        self._recent.append(features)
        if self._regression is None:
            return Decision(candidate, features=features)
        row = np.array(features)
        wrong = float(self._regression.errors(row))
        allowed = wrong <= self._threshold(self._regression)
        variance = wrong * (1 - wrong)
        gradient = self._gradient + variance * row
        if allowed:
            doubt = float(gradient @ self._regression.covariance @ gradient)
            most = self._wrong + wrong
            most += self._deviations * math.sqrt(self._variance + variance + doubt)
            allowed = most <= self._rate * self._requests
        explored = allowed and self._random.random() < _EXPLORED
        if allowed and not explored:
            self._wrong += wrong
            self._variance += variance
            self._gradient = gradient
            self._served.append(features)
        return Decision(
            candidate, allowed and not explored, explored, 1 - wrong, features
        )

    def learn(self, decision: Decision, same: bool) -> Lesson:
        """Learn from the model's answer.

        Args:
            decision: What was decided; it has a candidate.
            same: Whether the model's answer says the same as the candidate's.
        """
        if decision.candidate is None:
            raise ValueError("There was no candidate to compare with.")
        lesson = Lesson(
            decision.candidate.label,
            decision.features,
            decision.probability,
            decision.explored,
            same,
        )
        self._take(lesson)
        if self._learned >= self._next_fit:
            self._fit()
        return lesson

    def restore(self, lessons: Iterable[Lesson]) -> None:
        """Learn from lessons that were kept, oldest first."""
        for lesson in lessons:
            self._take(lesson)
        if self._learned >= self._next_fit:
            self._fit()

    def _take(self, lesson: Lesson) -> None:
        self._lessons.append(lesson)
        self._learned += 1
        if lesson.probability > 0:
            p = min(max(lesson.probability, 0.02), 0.98)
            a, b = self._records.get(lesson.label, (0.0, 0.0))
            self._records[lesson.label] = (a + lesson.same - p, b + p * (1 - p))

    def _fit(self) -> None:
        features = np.array([lesson.features for lesson in self._lessons])
        wrong = np.array([not lesson.same for lesson in self._lessons], float)
        self._regression = Regression.fit(features, wrong, np.ones(len(wrong)))
        self._next_fit = math.ceil(self._learned * _GROWTH)
        if self._served:
            rows = np.array(self._served)
            errors = self._regression.errors(rows)
            spread = errors * (1 - errors)
            self._wrong, self._variance = float(errors.sum()), float(spread.sum())
            self._gradient = spread @ rows

    def _threshold(self, regression: Regression) -> float:
        rows = np.array(self._recent)
        errors = regression.errors(rows)
        order = np.argsort(errors)
        rows, errors = rows[order], errors[order]
        spread = errors * (1 - errors)
        ahead = max(_AHEAD * self._requests, _LEAST_AHEAD)
        each = ahead / len(rows)
        wrong = self._wrong + each * np.cumsum(errors)
        variance = self._variance + each * np.cumsum(spread)
        gradient = self._gradient + each * np.cumsum(spread[:, None] * rows, axis=0)
        doubt = ((gradient @ regression.covariance) * gradient).sum(axis=1)
        most = wrong + self._deviations * np.sqrt(variance + doubt)
        within = np.flatnonzero(most <= self._rate * (self._requests + ahead))
        return float(errors[within[-1]]) if len(within) else 0.0
