"""What a policy is asked, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import run_in_executor

from langchain_lean.checks import is_finite
from langchain_lean.errors import ConfigurationError

LEVER = "routing"
"""What the router calls itself in ledgers, notes and notices."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a stronger model is needed.

    Attributes:
        escalate: Ask the next stronger model.
        score: How sure it is that the cheaper answer is good, from 0 to 1, such as a
            probability; None where the policy has no number.
        reason: Why, in a few words without anything a user or a model wrote.
        unusable: The answer cannot be shown, not even where the stronger model cannot
            be asked.

    Raises:
        ConfigurationError: If one of these is something else.
    """

    escalate: bool
    score: float | None = None
    reason: str = ""
    unusable: bool = False

    def __post_init__(self) -> None:
        if self.escalate not in (True, False):
            msg = f"escalate= of a Verdict is True or False, not {self.escalate!r:.40}."
            raise ConfigurationError(msg)
        object.__setattr__(self, "escalate", bool(self.escalate))  # numpy's, too
        if self.score is not None:
            if not is_finite(self.score) or not 0 <= self.score <= 1:
                msg = f"score= of a Verdict is from 0 to 1, not {self.score!r:.40}."
                raise ConfigurationError(msg)
            object.__setattr__(self, "score", float(self.score))
        if not isinstance(self.reason, str):
            msg = "reason= of a Verdict is a text."
            raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a cheaper model is asked.

    Attributes:
        messages: What it is sent.
        options: Options of the call, such as `stop`.
        added: What the policy added to the messages, for which no saving is claimed.
    """

    messages: Sequence[BaseMessage]
    options: Mapping[str, Any] = field(default_factory=dict)
    added: str = ""


class EscalationPolicy:
    """Says when a cheaper model is not enough.

    Two questions, each optional: `screen` before there is an answer and `judge` after
    one. A policy of your own overrides one or both. Where it calls a model or waits,
    it overrides the async form, too; by itself that runs the sync one on a thread.

    The other methods are for policies that change how a cheaper model is asked, or
    can tell from the beginning of its answer.
    """

    @property
    def name(self) -> str:
        """What it is called in a route; its class if not overridden."""
        return type(self).__name__

    @property
    def screens(self) -> bool:
        """Whether it can decide before there is an answer."""
        own, none = type(self), EscalationPolicy
        return own.screen is not none.screen or own.ascreen is not none.ascreen

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
        if type(self).screen is EscalationPolicy.screen:
            return None
        return await run_in_executor(None, self.screen, messages)

    async def ajudge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        """`judge` for asyncio."""
        return await run_in_executor(None, self.judge, messages, answer)

    def attempt(self, attempt: Attempt, model: Runnable[Any, Any]) -> Attempt:
        """How to ask a cheaper model.

        Args:
            attempt: How it would be asked.
            model: The model.
        """
        return attempt

    def peek(self, text: str) -> Verdict | None:
        """What can be said of an answer from its beginning.

        Asked while an answer is streamed, so that it can be shown, or closed, before
        its end. A verdict given here stands: `judge` is not asked any more.

        Args:
            text: What has come of it.

        Returns:
            The verdict; None where it takes more, or the whole answer.
        """
        return None

    def alone(self, model: Runnable[Any, Any]) -> Self | EscalationPolicy:
        """The policy where it has to decide before there is an answer.

        Args:
            model: The cheapest model, for one that must ask it.
        """
        return self
