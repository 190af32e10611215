"""The scores that a policy gives outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.learning.outcomes import Row
from langchain_lean.routing.learning.policy import LearnedPolicy
from langchain_lean.routing.opinions import Opinion, opinion
from langchain_lean.routing.verdict import EscalationPolicy, Verdict
from langchain_lean.steps import drive
from langchain_lean.vectors import Floats

_NEVER = -1.0  # below every threshold


def scored(policy: EscalationPolicy, rows: Sequence[Row]) -> tuple[Floats, bool]:
    """What a policy makes of outcomes.

    Args:
        policy: A policy.
        rows: The outcomes.

    Returns:
        The score of each, -1 where the policy has none, and whether they are of
        answers; else they are of questions alone.

    Raises:
        ConfigurationError: If it gives no verdict on one, no scores at all, or scores
            of both kinds.
    """
    if not isinstance(policy, EscalationPolicy):
        msg = f"A policy is an EscalationPolicy, not {type(policy).__name__}."
        raise ConfigurationError(msg)
    if isinstance(policy, LearnedPolicy):
        return policy.row_scores(rows), policy.reads_answers
    verdicts = [_verdict(policy, row) for row in rows]
    scores = [_NEVER if v.score is None else v.score for v, _ in verdicts]
    if max(scores) == _NEVER:
        msg = f"{policy.name} gives no score, without which there is no threshold."
        raise ConfigurationError(msg)
    judged = {judges for _, judges in verdicts}
    if len(judged) > 1:
        msg = f"{policy.name} judges some answers and screens others: use one of both."
        raise ConfigurationError(msg)
    return np.array(scores), judged.pop()


def _verdict(policy: EscalationPolicy, row: Row) -> tuple[Verdict, bool]:
    """The verdict on an answer, or on a question, and whether it is on an answer."""
    for answer in (row.answer, None) if row.answer is not None else (None,):
        asked = Opinion(policy, row.messages, answer)
        verdict = drive(opinion(asked), Opinion.ask)
        if verdict is not None:
            return verdict, answer is not None
    msg = f"{policy.name} has no opinion on some of the outcomes."
    raise ConfigurationError(msg)
