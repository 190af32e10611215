"""Finding the threshold that keeps a promise."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from langchain_lean.checks import checked_number
from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.combined import CombinedPolicy
from langchain_lean.routing.learning.bound import (
    fewest_rows,
    lowest_cut,
    most_bad,
    upper_bound,
)
from langchain_lean.routing.learning.calibrated import (
    CalibratedPolicy,
    Calibration,
    CalibrationError,
)
from langchain_lean.routing.learning.outcomes import Outcomes, Row, rows_of
from langchain_lean.routing.learning.policy import LearnedPolicy
from langchain_lean.routing.learning.scoring import scored
from langchain_lean.routing.verdict import EscalationPolicy
from langchain_lean.vectors import Floats

logger = logging.getLogger(__name__)

_LEAST = 1e-6  # of all requests


@overload
def calibrate(
    policy: LearnedPolicy,
    outcomes: Outcomes,
    *,
    max_bad: float = ...,
    confidence: float = ...,
) -> LearnedPolicy: ...
@overload
def calibrate(
    policy: EscalationPolicy,
    outcomes: Outcomes,
    *,
    max_bad: float = ...,
    confidence: float = ...,
) -> LearnedPolicy | CalibratedPolicy: ...
def calibrate(
    policy: EscalationPolicy,
    outcomes: Outcomes,
    *,
    max_bad: float = 0.05,
    confidence: float = 0.95,
) -> LearnedPolicy | CalibratedPolicy:
    """Set the threshold of a policy so that few requests get a bad cheap answer.

    The promise: of all requests like the outcomes, at most `max_bad` get a bad answer
    of the cheap model, with probability `confidence` over the outcomes. It is exact for
    any policy and any number of outcomes; see `lowest_cut`. It takes outcomes that are
    drawn like the requests to come, one by one: not chosen, not the newest of something
    that changes, and not those the policy was fitted on.

    Args:
        policy: Any whose verdicts have a score. Where it has none, as where it fails,
            the request goes to the stronger model.
        outcomes: Mappings with `question`, `answer` and `good`, or a DataFrame. With
            answers, the policy judges them (or screens, if it does not judge);
            without, it screens questions.
        max_bad: The share of all requests.
        confidence: How sure to be of it.

    Returns:
        The policy with the lowest threshold that keeps the promise: a `LearnedPolicy`
        as such, another one wrapped. Its `calibration` says what was found.

    Raises:
        CalibrationError: If these outcomes cannot support the promise.
        ConfigurationError: If the policy gives no scores, was fitted on all of the
            outcomes, is a combined one, or something else makes no sense.
    """
    for option, value in (("max_bad", max_bad), ("confidence", confidence)):
        if checked_number(option, value, 0, 1) in (0, 1):
            msg = f"{option}= lies between 0 and 1, not at {value}."
            raise ConfigurationError(msg)
    if max_bad < _LEAST:
        msg = f"max_bad= is at least {_LEAST}: nobody has judged answers for less."
        raise ConfigurationError(msg)
    if isinstance(policy, CombinedPolicy):
        msg = (
            "A score says nothing of which part of a combined policy escalates: "
            "calibrate one policy, and combine it then, "
            "any_of(AnswerChecks(), calibrate(policy, outcomes))."
        )
        raise ConfigurationError(msg)
    rows = rows_of(outcomes)
    _check_unseen(policy, rows)
    allowed = most_bad(len(rows), max_bad, confidence)
    if allowed < 0:
        raise _too_few(len(rows), max_bad, confidence)
    scores, judges = scored(policy, rows)
    good = np.array([row.good for row in rows])
    cut = lowest_cut(scores, good, allowed)
    if not cut.served:
        raise _all_alike(scores, good, allowed)
    bound = upper_bound(cut.bad, len(rows), confidence)
    found = Calibration(
        cut.threshold, max_bad, confidence, len(rows), cut.served, cut.bad, bound
    )
    if isinstance(policy, LearnedPolicy):
        return replace(policy, threshold=cut.threshold, calibration=found)
    return CalibratedPolicy(policy, found, judges)


def _check_unseen(policy: EscalationPolicy, rows: Sequence[Row]) -> None:
    """Raise where a policy was fitted on all of the rows, and warn of some.

    Requests that repeat are rows like others; the same rows given twice are not.
    """
    while isinstance(policy, CalibratedPolicy):
        policy = policy.policy
    seen = policy.seen(rows) if isinstance(policy, LearnedPolicy) else 0
    if seen == len(rows):
        msg = (
            f"The policy was fitted on all of the {seen} outcomes, of which it knows "
            "too much: calibrate on others."
        )
        raise ConfigurationError(msg)
    if seen:
        logger.warning(
            "The policy was fitted on %d of the %d outcomes: the promise holds only if "
            "these are requests that came again, and were drawn anew.",
            seen,
            len(rows),
        )


def _too_few(rows: int, max_bad: float, confidence: float) -> CalibrationError:
    fewest = fewest_rows(max_bad, confidence)
    return CalibrationError(
        f"To promise at most {max_bad:.3g} bad with confidence {confidence:.3g} takes "
        f"{fewest} outcomes at the very least, not {rows}: judge more answers, or "
        "promise less."
    )


def _all_alike(
    scores: Floats, good: NDArray[np.bool_], allowed: int
) -> CalibrationError:
    highest = scores == scores.max()
    bad = int((highest & ~good).sum())
    return CalibrationError(
        f"No threshold can be promised: of the {int(highest.sum())} outcomes with the "
        f"highest score {bad} are bad, where {allowed} may be; judge more answers, or "
        "take a policy that tells bad ones better."
    )
