"""Asking a policy, and what to make of one that fails."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.errors import GraphBubbleUp

from langchain_lean.budgets.errors import CallRefusedError
from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.verdict import EscalationPolicy, Verdict

FAILED = "the policy failed"
"""What a verdict says of a policy that failed, with the kind of error behind it."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """A question to a policy.

    Attributes:
        policy: Who is asked.
        messages: What is to be answered.
        answer: The answer, to judge it; None to screen.
    """

    policy: EscalationPolicy
    messages: Sequence[BaseMessage]
    answer: AIMessage | None = None

    def ask(self) -> object:
        """Ask it."""
        if self.answer is None:
            return self.policy.screen(self.messages)
        return self.policy.judge(self.messages, self.answer)

    async def aask(self) -> object:
        """`ask` for asyncio."""
        if self.answer is None:
            return await self.policy.ascreen(self.messages)
        return await self.policy.ajudge(self.messages, self.answer)


def opinion(asked: Opinion) -> Generator[Opinion, object, Verdict | None]:
    """What a policy says; one that fails escalates.

    Yields:
        What is to be asked of it.

    Returns:
        Its verdict; None for no opinion.

    Raises:
        ConfigurationError: If the policy was set up wrong, or gives something else.
    """
    try:
        verdict = yield asked
    except Exception as error:
        return _failure(error)
    return _checked(asked.policy, verdict)


def peeked(policy: EscalationPolicy, text: str) -> Verdict | None:
    """What a policy says of the beginning of an answer; one that fails escalates.

    Raises:
        ConfigurationError: As `opinion`.
    """
    try:
        verdict = policy.peek(text)
    except Exception as error:
        return _failure(error)
    return _checked(policy, verdict)


def _checked(policy: EscalationPolicy, verdict: object) -> Verdict | None:
    if verdict is None or isinstance(verdict, Verdict):
        return verdict
    msg = (
        f"{type(policy).__name__} returned {type(verdict).__name__}; "
        "a policy returns a Verdict, or None for no opinion."
    )
    raise ConfigurationError(msg)


def _failure(error: Exception) -> Verdict:
    """What a policy that has failed says; set up wrong or interrupted, it raises."""
    refused = isinstance(error, CallRefusedError)
    if not refused and isinstance(error, ConfigurationError | GraphBubbleUp):
        raise error
    return Verdict(True, None, f"{FAILED}: {type(error).__name__}")
