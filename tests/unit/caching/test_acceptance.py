"""The learned rule: it serves what is probably right, and keeps its rate."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_lean.caching.acceptance import (
    NEIGHBOURS,
    Acceptance,
    Decision,
    Lesson,
)
from langchain_lean.caching.accepting.account import Account, Belief
from langchain_lean.caching.accepting.evidence import FEATURES, weighed
from langchain_lean.caching.accepting.regression import Prior, Regression
from langchain_lean.caching.stores.base import Near

similarities = st.floats(-1, 1)
near_lists = st.lists(
    st.builds(Near, st.text(max_size=3), similarities, st.sampled_from("abc")),
    max_size=NEIGHBOURS,
).map(lambda near: sorted(near, key=lambda one: -one.similarity))


class Traffic:
    """Requests about a few intents that lie more or less apart, and a cache."""

    def __init__(self, seed: int, *, intents: int = 12, noise: float = 0.8) -> None:
        self._chance = np.random.default_rng(seed)
        self._centers = self._unit(self._chance.normal(size=(intents, 16)))
        self._noise = noise
        self._vectors = np.zeros((0, 16))
        self._labels: list[str] = []

    @staticmethod
    def _unit(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def request(self) -> tuple[str, np.ndarray]:
        intent = int(self._chance.integers(len(self._centers)))
        noise = self._noise * self._unit(self._chance.normal(size=16))
        return str(intent), self._unit(self._centers[intent] + noise)

    def near(self, vector: np.ndarray) -> list[Near]:
        cosines = self._vectors @ vector
        nearest = np.argsort(-cosines)[:NEIGHBOURS]
        return [Near(str(i), float(cosines[i]), self._labels[i]) for i in nearest]

    def add(self, intent: str, vector: np.ndarray) -> None:
        self._vectors = np.vstack([self._vectors, vector])
        self._labels.append(intent)

    def run(
        self,
        rule: Acceptance,
        count: int,
        same: Callable[[bool], bool] = bool,
    ) -> list[tuple[Decision, bool]]:
        """Decisions, and whether the candidate was right."""
        seen = []
        for _ in range(count):
            intent, vector = self.request()
            decision = rule.decide(self.near(vector))
            candidate = decision.candidate
            right = same(candidate is not None and candidate.label == intent)
            seen.append((decision, right))
            if not decision.serve:
                self.add(intent, vector)
                if candidate:
                    rule.learn(decision, right)
        return seen


def rule(rate: float = 0.05, seed: int = 0) -> Acceptance:
    return Acceptance(rate, random=random.Random(seed))


def hits(seen: list[tuple[Decision, bool]]) -> int:
    return sum(decision.serve for decision, _ in seen)


def wrong(seen: list[tuple[Decision, bool]]) -> int:
    return sum(decision.serve and not right for decision, right in seen)


def test_where_nothing_is_near_there_is_nothing_to_serve() -> None:
    assert rule().decide([]) == Decision(None)


def test_nothing_is_served_before_anything_was_learned() -> None:
    cautious = rule(rate=1.0)
    near = [Near("a", 1.0, "a")]
    assert not any(cautious.decide(near).serve for _ in range(50))


def test_what_is_clear_is_soon_served() -> None:
    seen = Traffic(1, noise=0.4).run(rule(), 1_000)
    assert hits(seen[500:]) > 350


def test_where_answers_never_say_the_same_nothing_is_served() -> None:
    seen = Traffic(2).run(rule(), 600, same=lambda _: False)
    assert hits(seen) == 0


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_the_rate_is_kept_in_nearly_all_streams(rate: float) -> None:
    count = 600
    over = 0
    for seed in range(12):
        seen = Traffic(seed, noise=1.2).run(rule(rate, seed), count)
        over += wrong(seen) > rate * count
    assert over <= 1


def test_the_rate_is_kept_where_the_same_question_gets_other_answers() -> None:
    chance = random.Random(3)
    seen = Traffic(3, noise=0.4).run(
        rule(0.02), 1_500, same=lambda right: right and chance.random() > 0.1
    )
    assert wrong(seen) <= 0.02 * 1_500


def test_a_higher_rate_serves_more() -> None:
    low, high = (Traffic(4, noise=1.0).run(rule(r), 800) for r in (0.01, 0.1))
    assert 0 < hits(low) < hits(high)


def test_a_rate_of_0_serves_nothing() -> None:
    assert hits(Traffic(5, noise=0.4).run(rule(0.0), 400)) == 0


def test_exploring_never_ends_and_takes_little() -> None:
    seen = Traffic(6, noise=0.4).run(rule(), 1_500)
    late = [decision for decision, _ in seen[700:]]
    explored = sum(decision.explored for decision in late)
    assert 0 < explored < 0.1 * len(late)


def test_what_is_explored_is_not_served() -> None:
    decisions = [decision for decision, _ in Traffic(7, noise=0.4).run(rule(), 800)]
    assert not any(decision.serve and decision.explored for decision in decisions)


def test_the_same_chance_makes_the_same_decisions() -> None:
    one, other = (Traffic(8).run(rule(seed=5), 400) for _ in range(2))
    assert one == other


def test_there_is_nothing_to_learn_without_a_candidate() -> None:
    with pytest.raises(ValueError, match="no candidate"):
        rule().learn(Decision(None), True)


def test_what_was_learned_is_known_after_a_restart() -> None:
    first, traffic = rule(), Traffic(9, noise=0.4)
    seen = traffic.run(first, 600)
    lessons = [
        Lesson(d.candidate.label, d.features, d.probability, right)
        for d, right in seen
        if d.candidate and not d.serve
    ]
    second = rule()
    second.restore(lessons)
    kept, fresh = traffic.run(second, 200), traffic.run(rule(), 200)
    assert hits(kept) > hits(fresh)
    assert kept[0][0].probability > 0


def test_after_a_restart_the_allowance_is_earned_again() -> None:
    first, traffic = rule(0.02), Traffic(10, noise=0.4)
    lessons = [
        Lesson("a", d.features, d.probability, right)
        for d, right in traffic.run(first, 400)
        if d.candidate and not d.serve
    ]
    second = rule(0.02)
    second.restore(lessons)
    assert hits(traffic.run(second, 1)) == 0


lessons = st.builds(
    Lesson,
    st.text(),
    st.tuples(*[st.floats(-100, 100).map(lambda x: round(x, 5))] * FEATURES),
    st.floats(0, 1).map(lambda x: round(x, 5)),
    st.booleans(),
)


@given(lessons)
def test_a_lesson_reads_back_from_its_text(lesson: Lesson) -> None:
    assert Lesson.from_text(lesson.to_text()) == lesson


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "7",
        "[]",
        json.dumps(["a", 1, 0.5]),
        json.dumps(["a", 1, 0.5, *[0.0] * (FEATURES + 1)]),
        json.dumps(["a", 2, 0.5, *[0.0] * FEATURES]),
        json.dumps(["a", 1, 1.5, *[0.0] * FEATURES]),
        json.dumps(["a", 1, math.nan, *[0.0] * FEATURES]),
        json.dumps([7, 1, 0.5, *[0.0] * FEATURES]),
        json.dumps(["a", 1, 0.5, *[math.inf] * FEATURES]),
        json.dumps(["a", 1, 0.5, *["x"] * FEATURES]),
    ],
)
def test_a_damaged_lesson_is_no_lesson(text: str) -> None:
    assert Lesson.from_text(text) is None


@given(st.text())
def test_any_text_may_be_read_as_a_lesson(text: str) -> None:
    Lesson.from_text(text)


@given(near_lists)
def test_any_neighbours_can_be_decided_on(near: list[Near]) -> None:
    decision = rule().decide(near)
    assert (decision.candidate is None) == (not near)
    assert decision.candidate is None or decision.candidate in near
    assert all(map(math.isfinite, decision.features))


def test_the_answer_most_neighbours_share_is_the_candidate() -> None:
    near = [
        Near("a", 0.80, "one"),
        *[Near(f"b{i}", 0.79, "other") for i in range(5)],
    ]
    assert weighed(near, {}).candidate.key == "b0"


def test_neighbours_far_behind_do_not_outvote_a_near_one() -> None:
    near = [Near("a", 0.95, "one"), *[Near(f"b{i}", 0.5, "other") for i in range(15)]]
    assert weighed(near, {}).candidate.key == "a"


def test_a_label_that_disappointed_is_trusted_less() -> None:
    lessons = []
    chance = random.Random(11)
    near = [Near("a", 0.9, "good"), Near("b", 0.6, "bad")]
    features = weighed(near, {}).features
    for _ in range(300):
        lessons.append(Lesson("good", features, 0.7, chance.random() < 0.95))
        lessons.append(Lesson("bad", features, 0.7, chance.random() < 0.45))
    told = rule()
    told.restore(lessons)
    good = told.decide([Near("a", 0.9, "good"), Near("b", 0.6, "bad")])
    bad = told.decide([Near("a", 0.9, "bad"), Near("b", 0.6, "good")])
    assert good.features[:-1] == bad.features[:-1]
    assert good.features[-1] > 0 > bad.features[-1]


def drawn(weights: list[float], floor: float, rows: int) -> tuple[np.ndarray, ...]:
    chance = np.random.default_rng(12)
    features = np.column_stack([np.ones(rows), chance.normal(size=rows)])
    errors = floor + (1 - floor) / (1 + np.exp(-features @ weights))
    return features, (chance.random(rows) < errors).astype(float)


def fitted_to(features: np.ndarray, wrong: np.ndarray) -> Regression:
    count = features.shape[1]
    return Regression.fit(features, wrong, Prior(np.zeros(count), np.ones(count)))


def test_the_regression_finds_the_weights_that_were_there() -> None:
    fitted = fitted_to(*drawn([-1.0, -2.0], 0.0, 4_000))
    assert fitted.weights == pytest.approx([-1.0, -2.0], abs=0.2)
    assert fitted.floor < 0.02


def test_the_regression_finds_the_floor_that_was_there() -> None:
    fitted = fitted_to(*drawn([-1.0, -2.0], 0.08, 4_000))
    assert 0.04 <= fitted.floor <= 0.12


def test_without_rows_the_weights_are_as_they_were_thought() -> None:
    prior = Prior(np.array([1.0, -2.0]), np.array([4.0, 9.0]))
    fitted = Regression.fit(np.zeros((0, 2)), np.zeros(0), prior)
    assert fitted.weights == pytest.approx(prior.means)
    assert np.diag(fitted.covariance) == pytest.approx(1 / prior.precisions)


def test_few_rows_leave_the_weights_uncertain() -> None:
    few, many = (fitted_to(*drawn([-1.0, -2.0], 0.0, rows)) for rows in (30, 3_000))
    assert np.diag(few.covariance).min() > np.diag(many.covariance).max()


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_outcomes_of_one_kind_can_be_fitted_to(outcome: float) -> None:
    features = np.ones((50, 3))
    errors = fitted_to(features, np.full(50, outcome)).errors(features)
    assert abs(errors - outcome).max() < 0.2


def belief(error: float) -> Belief:
    """One by which every row of a single 1 is wrong with a probability."""
    weights = np.array([math.log(error / (1 - error))])
    return Belief(Regression(0.0, weights, np.zeros((1, 1))), 1.0)


@given(st.floats(0.001, 0.2), st.floats(0.001, 0.5), st.integers(1, 2_000))
def test_the_account_never_expects_more_wrong_answers_than_are_allowed(
    rate: float, error: float, requests: int
) -> None:
    account, known, row = Account(rate, 0.95, 1), belief(error), np.ones(1)
    served = 0
    for _ in range(requests):
        account.requests += 1
        errors = known.errors(row)
        if account.allows(known, errors, row):
            account.charge(errors, row)
            served += 1
    assert served * error <= rate * requests


def test_what_was_served_is_estimated_anew_when_more_is_known() -> None:
    account, row = Account(0.1, 0.95, 1), np.ones(1)
    account.requests = 1_000
    for _ in range(500):
        account.charge(belief(0.01).errors(row), row)
    assert account.allows(belief(0.01), np.float64(0.01), row)
    account.estimate(belief(0.3))
    assert not account.allows(belief(0.3), np.float64(0.3), row)


def test_what_was_served_long_ago_keeps_counting() -> None:
    account, row, known = Account(0.1, 0.95, 1), np.ones(1), belief(0.1)
    account.requests = 11_000
    for _ in range(10_500):
        account.charge(known.errors(row), row)
    for _ in range(2):
        account.estimate(known)
    assert not account.allows(known, np.float64(0.1), row)


def test_the_threshold_rises_with_the_allowance() -> None:
    recent = [np.array([x]) for x in np.linspace(-4, 0, 200)]
    known = Belief(Regression(0.0, np.ones(1), np.zeros((1, 1))), 1.0)
    thresholds = []
    for rate in (0.0, 0.01, 0.05, 1.0):
        account = Account(rate, 0.95, 1)
        account.requests = 500
        thresholds.append(account.threshold(known, recent))
    assert thresholds[0] == 0
    assert thresholds == sorted(set(thresholds))
