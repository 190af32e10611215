"""How many bad answers may be served, by what was seen on rows kept aside.

All of it is exact for rows drawn like the requests to come, independently; nothing is
assumed of the scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_lean.vectors import Floats

_HALVINGS = 50  # of 1; what is left is rounding


def upper_bound(bad: int, rows: int, confidence: float) -> float:
    """The largest share that so few bad ones among so many rows leave possible.

    One-sided and exact (Clopper and Pearson, Biometrika 26, 1934): the share at which
    as few or fewer would be seen with probability 1 - confidence.

    Args:
        bad: How many were bad.
        rows: Of how many.
        confidence: How sure to be, from 0 to 1.

    Returns:
        The bound; the true share lies above it in at most 1 - confidence of cases.
    """
    if bad >= rows:
        return 1.0
    allowed = math.log1p(-confidence)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        if _log_at_most(bad, rows, share)[-1] > allowed:
            low = share
        else:
            high = share
    return high


def most_bad(rows: int, max_bad: float, confidence: float) -> int:
    """How many bad ones may be among so many rows for the bound to hold.

    Args:
        rows: How many rows there are.
        max_bad: The share that must not be exceeded.
        confidence: How sure to be.

    Returns:
        The largest number whose `upper_bound` is at most `max_bad`; -1 if not even none
        is few enough.
    """
    within = _log_at_most(rows, rows, max_bad) <= math.log1p(-confidence)
    return int(np.count_nonzero(within)) - 1


def fewest_rows(max_bad: float, confidence: float) -> int:
    """How many rows it takes at least, where none of them is bad."""
    rows = max(1, math.floor(math.log1p(-confidence) / math.log1p(-max_bad)))
    while most_bad(rows, max_bad, confidence) < 0:
        rows += 1
    return rows


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a score is high enough.

    Attributes:
        threshold: The lowest score that is served.
        served: How many of the rows have it.
        bad: How many of those are bad.
    """

    threshold: float
    served: int
    bad: int


def lowest_cut(scores: Floats, good: NDArray[np.bool_], allowed: int) -> Cut:
    """The lowest threshold with at most so many bad rows at or above it.

    What is bad at or above a threshold can only grow as the threshold falls. So this is
    fixed-sequence testing (Angelopoulos et al., Learn then Test, arXiv:2110.01052) of
    all real thresholds, from the highest down: of each, the hypothesis that more than
    `max_bad` of all requests are bad and score at least that, by the exact binomial
    test, until one cannot be rejected. It is also the upper confidence bound of Bates
    et al. (Risk-Controlling Prediction Sets, arXiv:2101.02703). The sequence is the
    whole line and does not depend on the rows; only the counts change, and only at
    their scores. A threshold that is too low is reached only if the first true
    hypothesis of the sequence is rejected. Where that stands is fixed by the requests,
    so one binomial count decides, and trying many thresholds costs nothing. Rows with
    equal scores are served together or not at all.

    Args:
        scores: The scores of the rows.
        good: Whether the answer of each was good.
        allowed: How many bad rows may be served, see `most_bad`.

    Returns:
        The cut; its threshold is just above the score of the first bad row that is too
        many, or 0 if none is. Scores lie from 0 to 1.
    """
    ranked = np.sort(scores[~good])[::-1]
    threshold = 0.0
    if len(ranked) > allowed:
        threshold = float(np.nextafter(ranked[allowed], np.inf))
    served = scores >= threshold
    return Cut(threshold, int(served.sum()), int((served & ~good).sum()))


def _log_at_most(most: int, rows: int, share: float) -> Floats:
    """Logarithms of the probabilities of at most 0, 1, ... `most` out of `rows`."""
    counts = np.arange(1, most + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((rows - counts + 1) / counts))])
    odds = math.log(share) - math.log1p(-share)
    exact = ways + odds * np.arange(most + 1) + rows * math.log1p(-share)
    return np.logaddexp.accumulate(exact)
