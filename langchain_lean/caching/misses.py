"""A question that the cache has no answer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import AIMessage

from langchain_lean.caching.marks import LEVER
from langchain_lean.caching.rules import Decision
from langchain_lean.caching.stores.base import Near
from langchain_lean.messages import note
from langchain_lean.vectors import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """Why there is no answer, and what keeping one can use.

    Attributes:
        reason: Why, without anything a user wrote.
        vector: The question's embedding.
        near: What is nearest to it.
        decision: What was decided where answers are accepted by a learned rule.
        failed: The cache itself failed, and is not asked to keep anything.
        started: When the look-up ended, in seconds of the cache's timer.
    """

    reason: str
    vector: Floats | None = None
    near: Sequence[Near] = ()
    decision: Decision | None = None
    failed: bool = False
    started: float = 0.0

    def mark(self, message: AIMessage) -> None:
        """Say on a fresh answer that the cache had none, and why.

        A ledger reads it there.
        """
        explored = self.decision is not None and self.decision.explored
        nearest = round(self.near[0].similarity, 4) if self.near else None
        note(
            message,
            lever=LEVER,
            action="explored" if explored else "missed",
            reason=self.reason,
            similarity=nearest,
        )
