"""What became of a request: who answered, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # pydantic takes no other
)
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.graph import MessagesState
from typing_extensions import TypedDict

from langchain_lean.messages import note
from langchain_lean.routing.verdict import LEVER, Verdict

_ENOUGH = "the policy found it good enough"
_NOT_ENOUGH = "the policy found it not good enough"

Question = Literal["screen", "judge"]


class RouteVerdict(TypedDict):
    """One verdict, as plain values.

    Attributes:
        model: The model it is about.
        question: `screen` before an answer, `judge` after it.
        policy: What the policy is called.
        escalate: Whether a stronger model was needed.
        score: How sure it was that the cheaper answer is good, from 0 to 1.
        reason: Why.
    """

    model: str
    question: Question
    policy: str
    escalate: bool
    score: float | None
    reason: str


class Route(TypedDict):
    """Who answers and why, as plain values that any checkpointer keeps.

    Attributes:
        model: Who answers, by the router's name for it.
        escalated: Whether that is a stronger model than the one that was asked first.
        reason: Why, in a few words.
        verdicts: What the policy said, in order.
        decision_usd: Dollars that the decision cost, as text: answers that were
            rejected, and calls that screened or judged; None where no price is known.
    """

    model: str
    escalated: bool
    reason: str
    verdicts: list[RouteVerdict]
    decision_usd: str | None


def _newest(earlier: Route, later: Route) -> Route:
    """Of two routes the later one, also where two branches write at once."""
    return later


class RouteState(MessagesState):
    """The state of a graph with a router; LangGraph drops keys that a schema lacks.

    Attributes:
        route: Who answered last, and why.
    """

    route: NotRequired[Annotated[Route, _newest]]


@dataclass(frozen=True, slots=True)
class Course:
    """What has become of a request so far.

    Attributes:
        first: Who was to be asked first, by the place in the ladder.
        reason: Why it is where it is.
        verdicts: What the policy said.
        rejected: The trials whose answers nobody sees.
        over_budget: A stronger model could not be asked.
    """

    first: int
    reason: str
    verdicts: tuple[RouteVerdict, ...] = ()
    rejected: tuple[str, ...] = ()
    over_budget: bool = False

    def told(
        self, verdict: Verdict, *, model: str, question: Question, policy: str
    ) -> Course:
        """The course after one more verdict."""
        row = RouteVerdict(
            model=model,
            question=question,
            policy=policy,
            escalate=verdict.escalate,
            score=verdict.score,
            reason=verdict.reason,
        )
        unsaid = _NOT_ENOUGH if verdict.escalate else _ENOUGH
        reason = verdict.reason or unsaid
        return replace(self, verdicts=(*self.verdicts, row), reason=reason)

    def without(self, trial: str | None) -> Course:
        """The course after an answer was rejected."""
        return replace(self, rejected=(*self.rejected, *filter(None, [trial])))

    def back_to(self, trial: str | None) -> Course:
        """The course where a rejected answer has to do after all."""
        return replace(self, rejected=tuple(t for t in self.rejected if t != trial))

    def route(self, name: str, place: int, cost: Decimal | None) -> Route:
        """What is kept of it.

        Args:
            name: Who answers.
            place: Where that stands in the ladder.
            cost: Dollars the decision cost.
        """
        return Route(
            model=name,
            escalated=place > self.first,
            reason=self.reason,
            verdicts=list(self.verdicts),
            decision_usd=None if cost is None else f"{cost.normalize():f}",
        )


def noted(
    answer: AIMessage, route: Route, *, node: str | None, over_budget: bool
) -> AIMessage:
    """The answer with its route in `response_metadata["lean"]`; a copy.

    The answer itself may stand in a cache.

    Args:
        answer: The answer.
        route: Who gave it, and why.
        node: The node of a graph it was given in.
        over_budget: A stronger model was needed and could not be asked.
    """
    metadata = dict(answer.response_metadata)
    known = answer.id or f"lean-{uuid4()}"  # no model's, which would have one
    copy = answer.model_copy(update={"response_metadata": metadata, "id": known})
    action = "escalated" if route["escalated"] else "answered"
    action = "kept" if over_budget else action
    where: dict[str, Any] = {"node": node} if node else {}
    reason = route["reason"]
    note(copy, lever=LEVER, action=action, reason=reason, route=route, **where)
    return copy


def routed_to(state: Any) -> str | None:
    """The model that the route in a graph's state names; None if there is none."""
    is_mapping = isinstance(state, Mapping)
    found = state.get("route") if is_mapping else getattr(state, "route", None)
    return found.get("model") if isinstance(found, Mapping) else None


def note_of(message: BaseMessage) -> Mapping[str, Any]:
    """What a router noted on an answer; empty if none gave it."""
    notes = message.response_metadata.get("lean")
    for done in reversed(notes if isinstance(notes, list) else []):
        if isinstance(done, Mapping) and done.get("lever") == LEVER:
            return done
    return {}
