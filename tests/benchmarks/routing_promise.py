"""Whether the thresholds that `calibrate` finds keep their promise, in many draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage
from rich.table import Table

from langchain_lean.routing.learned import CalibrationError, calibrate
from langchain_lean.routing.verdict import EscalationPolicy, Verdict
from tests.benchmarks.routing_data import Floats, Set
from tests.benchmarks.routing_methods import Score, by_chance, by_checks, learned

ROWS = 200  # to fit, and as many others to calibrate
DRAWS = 200
MAX_BAD, CONFIDENCE = 0.05, 0.95

COMPARED: dict[str, Score] = {
    "random": by_chance,
    "AnswerChecks, then length": by_checks,
    "LearnedPolicy": learned("answers"),
}


@dataclass(frozen=True)
class Known(EscalationPolicy):
    """A policy whose scores are known beforehand, by question."""

    scores: dict[str, float]

    def judge(self, messages: Sequence[BaseMessage], answer: AIMessage) -> Verdict:
        """Look up the score."""
        return Verdict(False, self.scores[str(messages[0].content)])


class Draws(NamedTuple):
    """What came of each draw.

    Attributes:
        cheap: The share of requests served cheap; 0 where nothing could be promised.
        bad: The share of all requests that got a bad cheap answer.
        refused: Whether nothing could be promised.
    """

    cheap: Floats
    bad: Floats
    refused: Floats

    @property
    def kept(self) -> float:
        """The share of draws in which the promise was kept."""
        return float((self.bad <= MAX_BAD).mean())


def draws(data: Set, score: Score) -> Draws:
    """Fit on some rows, calibrate on others, look at all that were not fitted to."""
    found = []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(data.rows))
        fit, kept, rest = order[:ROWS], order[ROWS : 2 * ROWS], order[ROWS:]
        needs = score(data, fit, draw)
        good = (needs.max() - needs) / np.ptp(needs)
        prompts = [row["prompt"] for row in data.rows]
        policy = Known(dict(zip(prompts, map(float, good), strict=True)))
        outcomes = [data.outcomes[place] for place in kept]
        try:
            calibrated = calibrate(
                policy, outcomes, max_bad=MAX_BAD, confidence=CONFIDENCE
            )
        except CalibrationError:
            found.append((0.0, 0.0, 1.0))
            continue
        served = good[rest] >= calibrated.threshold
        bad = served & ~data.cheap[rest]
        found.append((float(served.mean()), float(bad.mean()), 0.0))
    return Draws(*(np.array(column) for column in zip(*found, strict=True)))


def promise_table(rows: dict[str, Draws]) -> Table:
    """What the thresholds of each score came to."""
    table = Table(
        "score", "served cheap", "bad cheap answers", "promise kept", "refused",
        title=f"calibrate(max_bad={MAX_BAD}, confidence={CONFIDENCE}): fitted on "
        f"{ROWS} rows, calibrated on {ROWS} others, {DRAWS} draws",
        caption="Shares of all requests not fitted to (± over the draws), of draws.",
    )  # fmt: skip
    for name, row in rows.items():
        table.add_row(
            name,
            f"{row.cheap.mean():.1%} (±{row.cheap.std():.1%})",
            f"{row.bad.mean():.1%} (±{row.bad.std():.1%})",
            f"{row.kept:.1%}",
            f"{row.refused.mean():.1%}",
        )
    return table
