"""What a calibration found, and any policy with the threshold it set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable

from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.verdict import Attempt, EscalationPolicy, Verdict


class CalibrationError(ConfigurationError):
    """The rows cannot support the promise; the message says why and what helps."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a threshold promises, and how it was found.

    The promise: with probability `confidence` over the rows it was found on, at most
    `max_bad` of all requests like them get a bad answer of the cheap model.

    Attributes:
        threshold: The lowest score that is served by the cheap model.
        max_bad: The share promised.
        confidence: How sure that is.
        rows: How many rows it was found on.
        served: How many of them the cheap model answers.
        bad: How many of those it answers badly.
        bound: The upper confidence bound that follows for the share of bad cheap
            answers among all requests; at most `max_bad`.
    """

    threshold: float
    max_bad: float
    confidence: float
    rows: int
    served: int
    bad: int
    bound: float

    @property
    def cheap(self) -> float:
        """The share of the rows that the cheap model answers."""
        return self.served / self.rows


def decided(verdict: Verdict, threshold: float) -> Verdict:
    """A verdict by its score alone; without a score, or unusable, it escalates."""
    if verdict.unusable or verdict.score is None:
        return replace(verdict, escalate=True)
    escalate = verdict.score < threshold
    sign = "<" if escalate else ">="
    reason = f"score {verdict.score:.3f} {sign} {threshold:.3f}"
    return Verdict(escalate, verdict.score, reason)


@dataclass(frozen=True, eq=False)
class CalibratedPolicy(EscalationPolicy):
    """A policy that escalates below a threshold; made by `calibrate`.

    Attributes:
        policy: Gives the score.
        calibration: The threshold, and what it promises.
        judges: Whether the score is of answers; else it is of questions alone. The
            policy's other verdict stays as it is: it can only escalate more.
    """

    policy: EscalationPolicy
    calibration: Calibration
    judges: bool

    @property
    def name(self) -> str:
        """What it is called in a route."""
        return f"calibrated {self.policy.name}"

    @property
    def threshold(self) -> float:
        """The lowest score that is served by the cheap model."""
        return self.calibration.threshold

    @property
    def screens(self) -> bool:
        """Whether its policy can decide before there is an answer."""
        return self.policy.screens

    def screen(self, messages: Sequence[BaseMessage]) -> Verdict | None:
        """Whether to ask the stronger model at once."""
        return self._verdict(self.policy.screen(messages), own=not self.judges)

    async def ascreen(self, messages: Sequence[BaseMessage]) -> Verdict | None:
        """`screen` for asyncio."""
        return self._verdict(await self.policy.ascreen(messages), own=not self.judges)

    def judge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        """Whether an answer is not good enough."""
        return self._verdict(self.policy.judge(messages, answer), own=self.judges)

    async def ajudge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        """`judge` for asyncio."""
        verdict = await self.policy.ajudge(messages, answer)
        return self._verdict(verdict, own=self.judges)

    def attempt(self, attempt: Attempt, model: Runnable[Any, Any]) -> Attempt:
        """Ask the model in the way of the policy."""
        return self.policy.attempt(attempt, model)

    def alone(self, model: Runnable[Any, Any]) -> CalibratedPolicy:
        """The same where it has to decide before there is an answer."""
        return replace(self, policy=self.policy.alone(model))

    def _verdict(self, verdict: Verdict | None, *, own: bool) -> Verdict | None:
        if verdict is None or not own:
            return verdict
        return decided(verdict, self.threshold)
