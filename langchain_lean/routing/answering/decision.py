"""Who answers a request: what must be asked, one thing after the other.

Pure: a generator that yields what is to be asked or shown and is sent what came of it,
so that sync, async and streaming share it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from langchain_lean.budgets.errors import BudgetExceededError
from langchain_lean.messages import tool_calls
from langchain_lean.routing.answering.held import Held, checked_answer
from langchain_lean.routing.answering.ladder import Ladder, Rung
from langchain_lean.routing.answering.route import Course, Question
from langchain_lean.routing.opinions import Opinion, opinion, peeked
from langchain_lean.routing.stepping.stopped import is_last
from langchain_lean.routing.verdict import Attempt, EscalationPolicy, Verdict

_OVER_BUDGET = "the stronger model was over budget"
_CALLS_TOOLS = "it calls tools, which is not judged"
_CAPPED = "it is the last one of a run that reached its step cap"
_NO_OPINION = "the policy had no opinion"


@dataclass(frozen=True, slots=True)
class Asking:
    """A question to a model.

    Attributes:
        rung: Who is asked.
        attempt: How.
        held: What becomes of its pieces where it is streamed.
        trial: Names an answer that may be rejected; None for one that stands.
    """

    rung: Rung
    attempt: Attempt
    held: Held
    trial: str | None = None


@dataclass(frozen=True, slots=True)
class Showing:
    """Pieces of an answer that can be shown now."""

    pieces: Sequence[AIMessageChunk]


Step: TypeAlias = Opinion | Asking | Showing


@dataclass(frozen=True, slots=True)
class Decision:
    """Whose answer stands.

    Attributes:
        place: The model, by its place in the ladder.
        answer: Its answer.
        asked: How it was asked.
        course: How it came to that.
    """

    place: int
    answer: AIMessage
    asked: Asking
    course: Course


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be answered.

    Attributes:
        ladder: Who can answer.
        policy: Who decides.
        messages: What is to be answered.
        start: Who is asked first, by the place in the ladder.
        settled: Why, if that was decided before; nothing is screened then.
    """

    ladder: Ladder
    policy: EscalationPolicy
    messages: Sequence[BaseMessage]
    start: int = 0
    settled: str | None = None

    def answered(self) -> Generator[Step, Any, Decision]:
        """Ask one model after the other until an answer stands.

        Raises:
            CallRefusedError: If no model may be asked.
            ConfigurationError: If the policy or a model gives something else.
        """
        place, course = yield from self.screened()
        return (yield from self.climbed(place, course))

    def drafted(self) -> Generator[Step, Any, tuple[int, Course, Decision | None]]:
        """Ask the model that is first, and let nobody see its answer yet.

        Returns:
            The model's place in the ladder, why it is asked, and its answer; None where
            a stronger one is to answer at once.

        Raises:
            CallRefusedError: If it may not be asked.
            ConfigurationError: As `answered`.
        """
        place, course = yield from self.screened()
        if place > self.start:
            return place, course, None
        return place, course, (yield from self._asked(place, course))

    def verified(
        self, decision: Decision
    ) -> Generator[Step, Any, tuple[Decision, Verdict | None]]:
        """Judge an answer that was drafted.

        Returns:
            The answer with what the policy said, and that.
        """
        verdict = yield from self._judged(decision)
        course = self._told(decision.course, decision.place, "judge", verdict)
        return replace(decision, course=course), verdict

    def climbed(
        self, place: int, course: Course, kept: Decision | None = None
    ) -> Generator[Step, Any, Decision]:
        """Ask one model after the other, from one on, until an answer stands.

        Args:
            place: The first to ask, by its place in the ladder.
            course: Why.
            kept: An answer of a cheaper one that was rejected, and can be shown where
                no other may be asked.

        Raises:
            CallRefusedError: If no model may be asked.
            ConfigurationError: If the policy or a model gives something else.
        """
        while True:
            try:
                decision = yield from self._asked(place, course)
            except BudgetExceededError as error:
                return (yield from self._without(place, course, kept, error))
            decision, verdict = yield from self.verified(decision)
            course = decision.course
            if verdict is None or not verdict.escalate:
                yield Showing(decision.asked.held.rest())
                return decision
            if not (verdict.unusable or decision.asked.held.rejected):
                kept = decision
            course = course.without(decision.asked.trial)
            place += 1

    def screened(self) -> Generator[Step, Any, tuple[int, Course]]:
        """Decide whom to ask first.

        Returns:
            The place in the ladder, and why.
        """
        if self.settled is not None:
            return self.start, Course(self.start, self.settled)
        verdict = yield from opinion(Opinion(self.policy, self.messages))
        course = Course(self.start, _NO_OPINION)
        if verdict is None:
            return self.start, course
        course = self._told(course, self.start, "screen", verdict)
        return self.start + verdict.escalate, course

    def _asked(self, place: int, course: Course) -> Generator[Step, Any, Decision]:
        rung = self.ladder.rungs[place]
        attempt = Attempt(self.messages)
        if rung is self.ladder.strongest:
            asked = Asking(rung, attempt, Held(None))
        else:
            attempt = self.policy.attempt(attempt, rung.model)
            held = Held(partial(peeked, self.policy))
            asked = Asking(rung, attempt, held, uuid4().hex)
        answer = checked_answer((yield asked))
        return Decision(place, answer, asked, course)

    def _judged(self, decision: Decision) -> Generator[Step, Any, Verdict | None]:
        """What the policy says of an answer; None where it stands without that."""
        asked = decision.asked
        if asked.trial is None:
            return None
        if asked.held.verdict is not None:
            return asked.held.verdict
        if tool_calls(decision.answer):
            return Verdict(False, None, _CALLS_TOOLS)
        if is_last(decision.answer):
            seen = peeked(self.policy, decision.answer.text)
            return seen if seen and seen.unusable else Verdict(False, None, _CAPPED)
        asked_of = Opinion(self.policy, self.messages, decision.answer)
        return (yield from opinion(asked_of))

    def _without(
        self,
        place: int,
        course: Course,
        kept: Decision | None,
        refusal: BudgetExceededError,
    ) -> Generator[Step, Any, Decision]:
        """Answer without a model that is over budget, and those above it.

        Raises:
            BudgetExceededError: If there is no answer yet, and no other may be asked.
        """
        course = replace(course, reason=_OVER_BUDGET, over_budget=True)
        if kept is not None:
            yield Showing(kept.asked.held.rest())
            return replace(kept, course=course.back_to(kept.asked.trial))
        for lower in reversed(range(place)):
            asked = Asking(self.ladder.rungs[lower], Attempt(self.messages), Held(None))
            try:
                answer = checked_answer((yield asked))
            except BudgetExceededError:
                continue
            return Decision(lower, answer, asked, course)
        raise refusal

    def _told(
        self, course: Course, place: int, question: Question, verdict: Verdict | None
    ) -> Course:
        if verdict is None:
            return course
        model, policy = self.ladder.rungs[place].name, self.policy.name
        return course.told(verdict, model=model, question=question, policy=policy)
