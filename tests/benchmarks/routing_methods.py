"""What the routing benchmark compares, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from langchain_lean.routing.learning.fitting import fit_weights
from tests.benchmarks.routing_data import Flags, Floats, Places, Set, measure

SEEDS = 20
FIT = {"gsm8k": 0.5, "mmlu": 1_500}  # a share of the rows, or rows
LEVELS = (50, 80)  # per cent of the gap between the models
GRID = np.linspace(0, 1, 201)

Score = Callable[[Set, Places, int], Floats]
"""How badly each row of a set needs the strong model, after fitting to some of them."""


@dataclass(frozen=True)
class Method:
    """A way to route.

    Attributes:
        score: What it is.
        judges: It sees the cheap answer, which is paid for every request.
    """

    score: Score
    judges: bool = False


def by_chance(data: Set, fit: Places, seed: int) -> Floats:
    """At random."""
    return np.random.default_rng(1_000 + seed).random(len(data.rows))


def by_length(data: Set, fit: Places, seed: int) -> Floats:
    """Long questions first."""
    return data.lengths


def by_checks(data: Set, fit: Places, seed: int) -> Floats:
    """By the share of checks that failed, then by length."""
    return 1 - data.checks + 1e-9 * data.lengths


def learned(seen: str, *, gain: bool = False, embedded: bool = True) -> Score:
    """As `LearnedPolicy` does it.

    Args:
        seen: `questions`, or `answers` with them.
        gain: It is told how good the strong answers were, too.
        embedded: Texts are embedded.
    """

    def score(data: Set, fit: Places, seed: int) -> Floats:
        features, vectors = getattr(data, seen)
        vectors = vectors if embedded else vectors[:, :0, :0]
        good = data.cheap | ~data.strong if gain else data.cheap
        weights = fit_weights(features[fit], vectors[fit], good[fit])
        return 1 - weights.probabilities(features, vectors)

    return score


METHODS: dict[str, dict[str, Method]] = {
    "gsm8k": {
        "random": Method(by_chance),
        "question length": Method(by_length),
        "LearnedPolicy, questions alone": Method(learned("questions")),
        "AnswerChecks": Method(by_checks, judges=True),
        "LearnedPolicy, embeddings=False": Method(
            learned("answers", embedded=False), judges=True
        ),
        "LearnedPolicy": Method(learned("answers"), judges=True),
    },
    "mmlu": {
        "random": Method(by_chance),
        "question length": Method(by_length),
        "LearnedPolicy": Method(learned("questions")),
        "LearnedPolicy, strong_good known": Method(learned("questions", gain=True)),
    },
}


class Figures(NamedTuple):
    """What came of a method, a number for each seed.

    Attributes:
        area: APGR.
        calls: CPT(50) and CPT(80), by column.
        dollars: What 1,000 requests cost at those points, by column.
        gap: The share of the gap recovered, at each share of strong calls of `GRID`.
    """

    area: Floats
    calls: Floats
    dollars: Floats
    gap: Floats


def splits(data: Set) -> Iterator[tuple[int, Places, Places]]:
    """For each seed, the rows to fit to and the rows to test on."""
    size = FIT[data.name]
    count = int(size * len(data.rows)) if size < 1 else int(size)
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(data.rows))
        yield seed, order[:count], order[count:]


def figures(data: Set, method: Method) -> Figures:
    """Fit and test a method with each seed."""
    routing_curve, found = measure().routing_curve, []
    for seed, fit, test in splits(data):
        scores = method.score(data, fit, seed)[test]
        cheap, strong = data.cheap[test], data.strong[test]
        area, *calls = routing_curve(scores, cheap.tolist(), strong.tolist())
        order = np.argsort(-scores, kind="stable")
        costs = [each[test][order] for each in data.costs]
        sent = [round(share * len(test) / 100) for share in calls]
        dollars = [spent(*costs, count, judges=method.judges) for count in sent]
        found.append((area, calls, dollars, recovered(order, cheap, strong)))
    return Figures(*(np.array(column) for column in zip(*found, strict=True)))


def spent(cheap: Floats, strong: Floats, sent: int, *, judges: bool) -> float:
    """Dollars of 1,000 requests, of which the first go to the strong model."""
    paid = cheap.sum() if judges else cheap[sent:].sum()
    return float(1_000 * (paid + strong[:sent].sum()) / len(cheap))


def recovered(order: Places, cheap: Flags, strong: Flags) -> Floats:
    """The share of the gap recovered, at each share of strong calls of `GRID`."""
    gains = strong[order].astype(float) - cheap[order]
    gap = np.concatenate([[0.0], np.cumsum(gains)]) / gains.sum()
    return np.interp(GRID, np.linspace(0, 1, len(gap)), gap)
