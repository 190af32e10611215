"""What a policy is asked, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables.config import run_in_executor


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a stronger model is needed.

    Attributes:
        escalate: Ask the next stronger model.
        score: How sure it is that the cheaper answer is good, from 0 to 1, such as a
            probability; None where the policy has no number.
        reason: Why, in a few words without anything a user or a model wrote.
    """

    escalate: bool
    score: float | None = None
    reason: str = ""


class EscalationPolicy:
    """Says when a cheaper model is not enough.

    Two questions, each optional: `screen` before there is an answer and `judge` after
    one. A policy of your own overrides one or both. Where it calls a model or waits,
    it overrides the async form, too; by itself that runs the sync one on a thread.
    """

    def screen(self, messages: Sequence[BaseMessage]) -> Verdict | None:
        """Whether to ask the stronger model at once.

        Args:
            messages: What is to be answered.

        Returns:
            The verdict; None for no opinion.
        """
        return None

    def judge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        """Whether an answer is not good enough.

        Args:
            messages: What was to be answered.
            answer: The cheaper model's answer.

        Returns:
            The verdict; None for no opinion.
        """
        return None

    async def ascreen(self, messages: Sequence[BaseMessage]) -> Verdict | None:
        """`screen` for asyncio."""
        return await run_in_executor(None, self.screen, messages)

    async def ajudge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        """`judge` for asyncio."""
        return await run_in_executor(None, self.judge, messages, answer)
