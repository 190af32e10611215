"""An answer on its way from one node of a graph to the next, as plain values."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Literal

from langchain_core.messages import AIMessage
from typing_extensions import TypedDict

from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.routing.answering.costs import Answering, Costs
from langchain_lean.routing.answering.decision import (
    Asking,
    Decision,
    Request,
    Showing,
    Step,
)
from langchain_lean.routing.answering.held import Held
from langchain_lean.routing.answering.route import Course, RouteVerdict
from langchain_lean.routing.verdict import Attempt, Verdict
from langchain_lean.showing import pieces

DraftStatus = Literal["drafted", "accepted", "rejected", "unusable", "skipped", "final"]

_WENT_ON = "it answered the step before"


class Spent(TypedDict):
    """What a model used for a draft.

    Attributes:
        model: The model, as it calls itself.
        provider: Its provider, as LangChain names it.
        usage: The fields of a `TokenUsage`.
    """

    model: str
    provider: str | None
    usage: dict[str, Any]


class Draft(TypedDict):
    """An answer that is not given yet, as plain values that any checkpointer keeps.

    Attributes:
        answer: The answer; None where a stronger model is to answer at once.
        model: Who drafted it, or is to answer, by the router's name for it.
        status: `drafted` is to be judged; `accepted` and `rejected` were; `unusable`
            cannot be shown in any case; `skipped` has no answer; `final` stands as it
            is, such as one that calls tools.
        trial: Names its call, for ledgers.
        shown: Whether a stream has shown it.
        first: Who was to be asked first, by the place in the ladder.
        reason: Why it is where it is.
        verdicts: What the policy said.
        spent: What its call used.
        answer_usd: Dollars that its call cost, as text; None where nobody knows.
        decision_usd: Dollars that deciding cost so far.
    """

    answer: AIMessage | None
    model: str
    status: DraftStatus
    trial: str | None
    shown: bool
    first: int
    reason: str
    verdicts: list[RouteVerdict]
    spent: list[Spent]
    answer_usd: str | None
    decision_usd: str | None


def drafted(decision: Decision, name: str, costs: Costs) -> Draft:
    """The draft of an answer that was just given."""
    trial, course = decision.asked.trial, decision.course
    deciding = costs.decision(())
    used = {} if trial is None else costs.answer(trial)
    return Draft(
        answer=decision.answer,
        model=name,
        status="drafted",
        trial=trial,
        shown=decision.asked.held.shown,
        first=course.first,
        reason=course.reason,
        verdicts=list(course.verdicts),
        spent=[
            Spent(model=who.model, provider=who.provider, usage=asdict(usage))
            for who, usage in used.items()
        ],
        answer_usd=_text(less(costs.decision({trial} if trial else ()), deciding)),
        decision_usd=_text(deciding),
    )


def skipped(name: str, course: Course, deciding: Decimal | None) -> Draft:
    """What stands in a draft's place where a stronger model is to answer."""
    return Draft(
        answer=None,
        model=name,
        status="skipped",
        trial=None,
        shown=False,
        first=course.first,
        reason=course.reason,
        verdicts=list(course.verdicts),
        spent=[],
        answer_usd="0",
        decision_usd=_text(deciding),
    )


def final(answer: AIMessage, name: str, reason: str, *, shown: bool = False) -> Draft:
    """An answer that stands as it is."""
    return {
        **skipped(name, Course(0, reason), Decimal(0)),
        "answer": answer,
        "status": "final",
        "shown": shown,
    }


def going_on(name: str, place: int) -> Draft:
    """What stands in a draft's place where a model goes on with its turn."""
    return skipped(name, Course(place, _WENT_ON), Decimal(0))


def judged(
    draft: Draft, course: Course, verdict: Verdict | None, deciding: Decimal | None
) -> Draft:
    """A draft with what the policy said of it."""
    status: DraftStatus = "accepted"
    if verdict is not None and verdict.escalate:
        status = "unusable" if verdict.unusable else "rejected"
    cost = total([draft["decision_usd"]], deciding)
    return {
        **draft,
        "status": status,
        "reason": course.reason,
        "verdicts": list(course.verdicts),
        "decision_usd": _text(cost),
    }


def decision_of(
    draft: Draft, request: Request, *, shows: bool = False
) -> Decision | None:
    """The answer of a draft as the one it was; None where there is none.

    Args:
        draft: The draft.
        request: What is to be answered.
        shows: Whether its pieces are to be shown.
    """
    answer = draft["answer"]
    if answer is None:
        return None
    rung = request.ladder.rungs[request.ladder.names.index(draft["model"])]
    attempt = request.policy.attempt(Attempt(request.messages), rung.model)
    held = Held.of(pieces(answer) if shows else (), shown=draft["shown"])
    asked = Asking(rung, attempt, held, draft["trial"])
    return Decision(_place(draft, request), answer, asked, course_of(draft))


def finished(
    draft: Draft, request: Request, *, shows: bool
) -> Generator[Step, Any, Decision]:
    """Give the draft where it was accepted, or ask a stronger model.

    Args:
        draft: The draft, with its verdict.
        request: What is to be answered.
        shows: Whether its pieces are to be shown.
    """
    decision, course = decision_of(draft, request, shows=shows), course_of(draft)
    if decision is None:
        return (yield from request.climbed(_place(draft, request), course))
    if draft["status"] in ("rejected", "unusable"):
        kept = decision if draft["status"] == "rejected" else None
        course = course.without(draft["trial"])
        return (yield from request.climbed(decision.place + 1, course, kept))
    yield Showing(decision.asked.held.rest())
    return decision


def course_of(draft: Draft) -> Course:
    """How it came to a draft."""
    return Course(draft["first"], draft["reason"], tuple(draft["verdicts"]))


def used_by(draft: Draft) -> dict[Answering, TokenUsage]:
    """What the call of a draft used, by the model that answered and its provider."""
    return {
        Answering(spent["model"], spent["provider"]): TokenUsage(**spent["usage"])
        for spent in draft["spent"]
    }


def total(texts: Sequence[str | None], more: Decimal | None) -> Decimal | None:
    """The sum of dollars as text and some more; None where one is not known."""
    if more is None or None in texts:
        return None
    return sum((Decimal(text) for text in texts if text is not None), more)


def _place(draft: Draft, request: Request) -> int:
    return request.ladder.names.index(draft["model"])


def less(cost: Decimal | None, part: Decimal | None) -> Decimal | None:
    """What is left of a cost; None where one of both is not known."""
    return None if cost is None or part is None else cost - part


def _text(cost: Decimal | None) -> str | None:
    return None if cost is None else f"{cost.normalize():f}"
