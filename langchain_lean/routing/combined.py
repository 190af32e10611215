"""Several policies as one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Self

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable

from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.opinions import Opinion, opinion
from langchain_lean.routing.verdict import Attempt, EscalationPolicy, Verdict
from langchain_lean.steps import adrive, drive


class CombinedPolicy(EscalationPolicy):
    """Asks several policies, in their order, until one of them decides.

    Made by `any_of` and `all_of`.

    Attributes:
        policies: Which.
        deciding: Whether one that escalates decides (`any_of`), or one that does not
            (`all_of`).
    """

    def __init__(self, policies: Sequence[EscalationPolicy], *, deciding: bool) -> None:
        self.policies = tuple(policies)
        self.deciding = deciding

    @property
    def name(self) -> str:
        """What it is made of."""
        maker = "any_of" if self.deciding else "all_of"
        return f"{maker}({', '.join(policy.name for policy in self.policies)})"

    @property
    def screens(self) -> bool:
        """Whether one of them can decide before there is an answer."""
        return any(policy.screens for policy in self.policies)

    def screen(self, messages: Sequence[BaseMessage]) -> Verdict | None:
        """Ask them before there is an answer."""
        return drive(self._asked(messages), Opinion.ask)

    async def ascreen(self, messages: Sequence[BaseMessage]) -> Verdict | None:
        """`screen` for asyncio."""
        return await adrive(self._asked(messages), Opinion.aask)

    def judge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        """Ask them about an answer."""
        return drive(self._asked(messages, answer), Opinion.ask)

    async def ajudge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        """`judge` for asyncio."""
        return await adrive(self._asked(messages, answer), Opinion.aask)

    def attempt(self, attempt: Attempt, model: Runnable[Any, Any]) -> Attempt:
        """Ask the model in the way of all of them."""
        for policy in self.policies:
            attempt = policy.attempt(attempt, model)
        return attempt

    def peek(self, text: str) -> Verdict | None:
        """What they say of the beginning of an answer."""
        said = [policy.peek(text) for policy in self.policies]
        known = [verdict for verdict in said if verdict is not None]
        for verdict in known:
            if verdict.unusable or verdict.escalate == self.deciding:
                return self._together([verdict])
        return self._together(known) if len(known) == len(said) else None

    def alone(self, model: Runnable[Any, Any]) -> Self:
        """The same where they have to decide before there is an answer."""
        parts = [policy.alone(model) for policy in self.policies]
        return type(self)(parts, deciding=self.deciding)

    def _asked(
        self, messages: Sequence[BaseMessage], answer: AIMessage | None = None
    ) -> Generator[Opinion, object, Verdict | None]:
        if answer is not None and (early := self._unusable(answer.text)):
            return early
        known: list[Verdict] = []
        for policy in self.policies:
            verdict = yield from opinion(Opinion(policy, messages, answer))
            if verdict is not None:
                known.append(verdict)
                if verdict.unusable or verdict.escalate == self.deciding:
                    break
        return self._together(known) if known else None

    def _unusable(self, text: str) -> Verdict | None:
        """What can be seen of an answer that nobody may be shown, whoever decides."""
        said = (policy.peek(text) for policy in self.policies)
        return next((v for v in said if v is not None and v.unusable), None)

    def _together(self, verdicts: Sequence[Verdict]) -> Verdict:
        """What the verdicts come to, the last one being the one that decides if any."""
        last = verdicts[-1]
        if last.unusable:
            return last
        decisive = [last] if last.escalate == self.deciding else verdicts
        scores = [v.score for v in verdicts if v.score is not None]
        worst_or_best = min if self.deciding else max
        return Verdict(
            last.escalate,
            worst_or_best(scores) if scores else None,
            "; ".join(filter(None, (verdict.reason for verdict in decisive))),
        )


def any_of(*policies: EscalationPolicy) -> CombinedPolicy:
    """Escalates if any of the policies does; the first that does is the last asked.

    Its score is the lowest. One that fails escalates.

    Args:
        policies: Two or more, those that cost nothing first.

    Raises:
        ConfigurationError: If there are fewer, or one is none.
    """
    return CombinedPolicy(_checked("any_of", policies), deciding=True)


def all_of(*policies: EscalationPolicy) -> CombinedPolicy:
    """Escalates only if all of the policies do; the first that does not decides.

    Its score is the highest. One that fails escalates, and the next one is asked.

    Args:
        policies: Two or more, those that cost nothing first.

    Raises:
        ConfigurationError: If there are fewer, or one is none.
    """
    return CombinedPolicy(_checked("all_of", policies), deciding=False)


def _checked(
    name: str, policies: Sequence[EscalationPolicy]
) -> Sequence[EscalationPolicy]:
    others = [p for p in policies if not isinstance(p, EscalationPolicy)]
    if len(policies) < 2 or others:
        found = type(others[0]).__name__ if others else f"{len(policies)} of them"
        msg = f"{name}() takes two policies or more, not {found}."
        raise ConfigurationError(msg)
    return policies
