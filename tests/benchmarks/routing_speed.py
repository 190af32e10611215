"""How long a routing decision takes, and how much of it are the embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from langchain_core.messages import AIMessage, HumanMessage
from rich.table import Table

from langchain_lean.routing.answer_checks import AnswerChecks
from langchain_lean.routing.learned import LearnedPolicy
from tests.benchmarks.retrieval_speed import TimedEmbeddings, timed
from tests.benchmarks.routing_data import Floats, Set

FITTED = 300  # rows
ALLOWED = 2.0  # milliseconds


class Times(NamedTuple):
    """Milliseconds of each decision: in all, and of the embeddings."""

    whole: Floats
    embedding: Floats

    @property
    def own(self) -> Floats:
        """Without the embeddings."""
        return self.whole - self.embedding


def decisions(data: Set) -> dict[str, Times]:
    """The time of each decision on the recorded rows, one after the other."""
    embeddings = TimedEmbeddings(data.embeddings)
    fitted = data.outcomes[:FITTED]
    asked: list[Any] = [{**outcome, "answer": None} for outcome in fitted]
    judging = LearnedPolicy.fit(fitted, embeddings=embeddings)
    screening = LearnedPolicy.fit(asked, embeddings=embeddings)
    checks = AnswerChecks()
    return {
        "AnswerChecks": times(data, embeddings, checks.judge),
        "LearnedPolicy, questions alone": times(
            data, embeddings, lambda messages, _: screening.screen(messages)
        ),
        "LearnedPolicy": times(data, embeddings, judging.judge),
    }


def times(
    data: Set, embeddings: TimedEmbeddings, decide: Callable[[Any, AIMessage], Any]
) -> Times:
    """The times of one way to decide."""
    found = []
    for row in data.rows:
        messages, answer = [HumanMessage(row["prompt"])], AIMessage(row["cheap_answer"])
        embeddings.spent = 0.0
        _, whole = timed(lambda m=messages, a=answer: decide(m, a))
        found.append((1_000 * whole, 1_000 * embeddings.spent))
    return Times(*(np.array(column) for column in zip(*found, strict=True)))


def speed_table(rows: dict[str, Times]) -> Table:
    """Medians and the slowest ones."""
    table = Table(
        "policy", "in all", "embeddings", "the rest", "its mean", "its 95 %", "at most",
        title="Milliseconds of a routing decision on GSM8K, one row after the other",
        caption="Medians, and of the rest its mean, 95th percentile and maximum.",
    )  # fmt: skip
    for name, row in rows.items():
        numbers = [
            np.median(row.whole),
            np.median(row.embedding),
            np.median(row.own),
            row.own.mean(),
            np.quantile(row.own, 0.95),
            row.own.max(),
        ]
        table.add_row(name, *(f"{number:.2f}" for number in numbers))
    return table
