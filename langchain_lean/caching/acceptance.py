"""When the answer to another question will do: a rule that learns, and explores."""

from __future__ import annotations

import json
import math
import random as randoms
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from langchain_lean.caching.accepting.account import Account, Belief
from langchain_lean.caching.accepting.evidence import (
    FEATURES,
    NEIGHBOURS,
    PRIOR,
    weighed,
)
from langchain_lean.caching.accepting.regression import Regression
from langchain_lean.caching.stores.base import LESSONS, Near
from langchain_lean.vectors import Floats

__all__ = ["NEIGHBOURS", "Acceptance", "Decision", "Lesson"]

# Chosen by hand on streams of tests/benchmarks/caching_acceptance.py, other than those
# it measures.
CONFIDENCE = 0.9
"""How sure to be at any one time that the allowance is kept.

Measured at the end of streams of requests, it is kept more often than that: in 98 of
100 in tests/benchmarks/caching_acceptance.py, at a rate of 2 %.
"""

_FIRST_FIT = 30  # lessons
_FIT_AGAIN = 1.04  # times as many lessons
_PLAN_AGAIN = 1.01  # times as many requests
_RECENT = 500  # requests, which those to come are thought to be like
_EXPLORED = 0.02  # of what would be served, and more the less sure it is:
_EXPLORED_AT_THRESHOLD = 0.02
_EXPECTED = 10.0  # errors as they were expected, before others are seen
_SURE = 0.02  # a probability that is nearer to 0 or 1 counts as this one


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided on a request.

    Attributes:
        candidate: Whose answer would be served; None where nothing is near.
        serve: Whether it is to be served; else the model is to be asked.
        explored: Whether it would have been served, but is to be compared.
        probability: That its answer is right, by the regression; 0 before there is one.
        features: What speaks for it.
    """

    candidate: Near | None
    serve: bool = False
    explored: bool = False
    probability: float = 0.0
    features: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the comparison with a model's answer taught.

    Attributes:
        label: The candidate's label.
        features: What spoke for it.
        probability: That it was right, as was thought before; 0 if nothing was.
        same: Whether it was right.
    """

    label: str
    features: tuple[float, ...]
    probability: float
    same: bool

    def to_text(self) -> str:
        """As a store keeps it: a label and numbers, nothing of a question."""
        numbers = [round(value, 5) for value in (self.probability, *self.features)]
        return json.dumps([self.label, int(self.same), *numbers])

    @classmethod
    def from_text(cls, text: str) -> Lesson | None:
        """Read one; None where it was written by another version, or damaged."""
        try:
            label, same, *numbers = json.loads(text)
            probability, *features = map(float, numbers)
        except (ValueError, TypeError, OverflowError):
            return None
        known = isinstance(label, str) and same in (0, 1) and 0 <= probability <= 1
        if (
            not known
            or len(features) != FEATURES
            or not all(map(math.isfinite, features))
        ):
            return None
        return cls(label, tuple(features), probability, bool(same))


class Acceptance:
    """Decides for which requests the answer to another question is served.

    Wrong answers served stay below a share of all requests, of which those are counted
    that are decided here. Nobody says whether an answer that was served was wrong. But
    whenever the model is asked, its answer is compared with the one that would have
    been served, and a logistic regression learns from that how probably such an answer
    is wrong. Served is where that is least probable, as long as the wrong answers
    expected among all that were served, with what chance and the uncertainty of the
    regression may add, are within the allowance. So nothing is served before enough is
    known, and nothing if answers never say the same. Later, the model is still asked
    for a few of the requests that could be served, drawn by chance, so that what is
    learned does not end where serving begins; errors seen against errors expected
    correct the regression (the idea of verified caching, arXiv:2502.03771).

    Not safe to use from several threads at once.

    Args:
        max_error_rate: Wrong answers served, as a share of all requests.
        confidence: How sure to be, at any one time, that there are no more.
        random: Where chance comes from.
    """

    def __init__(
        self,
        max_error_rate: float,
        *,
        confidence: float = CONFIDENCE,
        random: randoms.Random | None = None,
    ) -> None:
        self._random = random or randoms.Random()  # noqa: S311 - no secret
        self._account = Account(max_error_rate, confidence, FEATURES)
        # No single answer is served that is less sure than this, however much of the
        # allowance is left: it is spent better once more is known.
        self._most_doubtful = math.sqrt(max_error_rate)
        self._lessons: deque[Lesson] = deque(maxlen=LESSONS)
        self._recent: deque[Floats] = deque(maxlen=_RECENT)
        self._records: dict[str, float] = {}
        self._belief: Belief | None = None
        self._threshold = 0.0
        self._learned = 0
        self._next_fit = _FIRST_FIT
        self._next_plan = 0.0

    def decide(self, near: Sequence[Near]) -> Decision:
        """Decide on a request.

        Args:
            near: The entries nearest to it, the nearest first, `NEIGHBOURS` or fewer.

        Returns:
            What to do. If it is to be served it counts as served from now on.
        """
        self._account.requests += 1
        if not near:
            return Decision(None)
        candidate, features = weighed(near, self._records)
        row = np.array(features)
        self._recent.append(row)
        if self._belief is None:
            return Decision(candidate, features=features)
        error = self._belief.errors(row)
        expected = self._belief.regression.errors(row)
        serve, explored = self._may_serve(self._belief, error, row), False
        if serve:
            chance = _EXPLORED + _EXPLORED_AT_THRESHOLD * float(error) / self._threshold
            explored = self._random.random() < chance
            serve = not explored
        if serve:
            self._account.charge(error, row)
        return Decision(candidate, serve, explored, 1 - float(expected), features)

    def learn(self, decision: Decision, same: bool) -> Lesson:
        """Learn from the model's answer to a request.

        Args:
            decision: What was decided on it: a decision with a candidate.
            same: Whether its answer says the same as the candidate's.

        Returns:
            The lesson, to be kept.

        Raises:
            ValueError: If there was no candidate.
        """
        if decision.candidate is None:
            msg = "Where there was no candidate, there is nothing to learn."
            raise ValueError(msg)
        label, features = decision.candidate.label, decision.features
        lesson = Lesson(label, features, decision.probability, same)
        self.restore([lesson])
        return lesson

    def restore(self, lessons: Iterable[Lesson]) -> None:
        """Learn from lessons that were kept, the oldest first."""
        for lesson in lessons:
            self._lessons.append(lesson)
            self._learned += 1
        if self._learned >= self._next_fit:
            self._fit()

    def _may_serve(self, belief: Belief, error: Floats, row: Floats) -> bool:
        if self._account.requests >= self._next_plan:
            threshold = self._account.threshold(belief, self._recent)
            self._threshold = min(threshold, self._most_doubtful)
            self._next_plan = self._account.requests * _PLAN_AGAIN
        return bool(error <= self._threshold) and self._account.allows(
            belief, error, row
        )

    def _fit(self) -> None:
        features = np.array([lesson.features for lesson in self._lessons])
        wrong = np.array([not lesson.same for lesson in self._lessons], float)
        expected = 1 - np.array([lesson.probability for lesson in self._lessons])
        alike = expected <= self._most_doubtful  # as what is served
        seen = _EXPECTED + wrong[alike].sum()
        ratio = seen / (_EXPECTED + expected[alike].sum())
        self._belief = Belief(Regression.fit(features, wrong, PRIOR), float(ratio))
        self._records = _records(self._lessons)
        self._account.estimate(self._belief)
        self._next_fit = math.ceil(self._learned * _FIT_AGAIN)
        self._next_plan = 0.0


def _records(lessons: Iterable[Lesson]) -> dict[str, float]:
    """How labels did against what was expected, in deviations, drawn towards 0."""
    better: defaultdict[str, float] = defaultdict(float)
    variance: defaultdict[str, float] = defaultdict(lambda: 1.0)
    for lesson in lessons:
        if lesson.probability > 0:
            expected = min(max(lesson.probability, _SURE), 1 - _SURE)
            better[lesson.label] += lesson.same - expected
            variance[lesson.label] += expected * (1 - expected)
    return {label: better[label] / variance[label] for label in better}
