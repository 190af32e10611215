"""What the routing benchmark reads: recorded answers of two models, and their costs."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage
from numpy.typing import NDArray

from langchain_lean import PriceBook, TokenCounter, TokenUsage, local_embeddings
from langchain_lean.routing.answer_checks import AnswerChecks
from langchain_lean.routing.learned import Outcome
from langchain_lean.routing.learning.features import features_of
from langchain_lean.routing.learning.vectors import unit_vectors

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LEAN_DATA", ROOT.parent / "shared" / "data"))
NAMES = ("gsm8k", "mmlu")
CHEAP, STRONG = "mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview"

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Places = NDArray[np.intp]

Curve = Callable[[Sequence[float], Sequence[bool], Sequence[bool]], tuple[Any, ...]]


def measure() -> SimpleNamespace:
    """What measure.py defines."""
    return SimpleNamespace(**runpy.run_path(str(DATA / "measure.py")))


@dataclass(frozen=True, eq=False)
class Set:
    """Recorded requests.

    Attributes:
        name: What the set is called.
        rows: The requests as they were recorded.
        embeddings: Embeds their texts.
    """

    name: str
    rows: list[dict[str, Any]]
    embeddings: Embeddings

    @classmethod
    def read(cls, name: str, embeddings: Embeddings | None = None) -> Set:
        """Read a set."""
        rows = measure().rows(f"routing/{name}.jsonl")
        return cls(name, rows, embeddings or local_embeddings())

    @property
    def answered(self) -> bool:
        """Whether the cheap model's answers were recorded."""
        return "cheap_answer" in self.rows[0]

    @cached_property
    def cheap(self) -> Flags:
        """Whether the cheap model was right."""
        return np.array([row["cheap_correct"] for row in self.rows])

    @cached_property
    def strong(self) -> Flags:
        """Whether the strong model was right."""
        return np.array([row["strong_correct"] for row in self.rows])

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """What a policy is fitted on; no more than an application could log."""
        return [
            Outcome(
                question=row["prompt"],
                answer=row.get("cheap_answer"),
                good=row["cheap_correct"],
            )
            for row in self.rows
        ]

    @cached_property
    def questions(self) -> tuple[Floats, Floats]:
        """Features and embeddings of the questions, as `LearnedPolicy` takes them."""
        return self._seen(("prompt",))

    @cached_property
    def answers(self) -> tuple[Floats, Floats]:
        """Features and embeddings of questions and answers."""
        return self._seen(("prompt", "cheap_answer"))

    @cached_property
    def lengths(self) -> Floats:
        """Characters of each question."""
        return np.array([float(len(row["prompt"])) for row in self.rows])

    @cached_property
    def checks(self) -> Floats:
        """The scores of `AnswerChecks` as it comes."""
        policy, scores = AnswerChecks(), []
        for row in self.rows:
            answer = AIMessage(row["cheap_answer"])
            verdict = policy.judge([HumanMessage(row["prompt"])], answer)
            assert verdict is not None
            assert verdict.score is not None
            scores.append(verdict.score)
        return np.array(scores)

    @cached_property
    def costs(self) -> tuple[Floats, Floats]:
        """Dollars of each request: of the cheap model, and of the strong one."""
        return self._costs(CHEAP, "cheap_answer"), self._costs(STRONG, "strong_answer")

    def _seen(self, keys: tuple[str, ...]) -> tuple[Floats, Floats]:
        texts = [tuple(row[key] for key in keys) for row in self.rows]
        flat = [text for each in texts for text in each]
        found = self.embeddings.embed_documents(flat)
        return features_of(texts), unit_vectors(found, len(texts))

    def _costs(self, model: str, key: str) -> Floats:
        """By our count of its tokens; an answer that was not recorded is one letter."""
        count, prices, costs = TokenCounter().count, PriceBook(), []
        for row in self.rows:
            output = count(row[key], model=model) if key in row else 1
            usage = TokenUsage(input=count(row["prompt"], model=model), output=output)
            costs.append(float(prices.cost(usage, model).total))
        return np.array(costs)
