"""What the entries near to a request say for serving the answer of one of them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from langchain_lean.caching.accepting.regression import Prior
from langchain_lean.caching.stores.base import Near

NEIGHBOURS = 16
"""How many entries are looked at, the nearest."""

FEATURES = 8
"""How many numbers describe a candidate."""

# All that speaks for a candidate is thought to count alike, before it is known better;
# of the level of similarity and of density, which are those of the embeddings and of
# the traffic, nothing is thought.
_COUNTS = -0.6
PRIOR = Prior(
    means=np.array([0.0, *[_COUNTS] * 5, 0.0, _COUNTS]),
    precisions=np.array([1.0, *[16.0] * 7]),
)
"""What is thought of the weights of these numbers, where errors are predicted."""

_SHARPNESS = 20.0  # a vote is e times another one where the cosine is 0.05 higher
_FEW = 0.1  # of a vote, so that odds are finite
_AVERAGED = 3  # entries, of their similarities
_NEAREST = 8  # entries, of which the share is taken
_FARTHER = 0.05  # an entry that was not found is so far behind the last one


class Evidence(NamedTuple):
    """The candidate, and what speaks for it.

    Attributes:
        candidate: The nearest entry of the label that has most votes.
        features: Numbers of the order of 1, the first of them 1.
    """

    candidate: Near
    features: tuple[float, ...]


def weighed(near: Sequence[Near], records: Mapping[str, float]) -> Evidence:
    """Have the nearest entries vote.

    Each votes for its label, the more the nearer it is: a kernel estimate of how
    probable each label is.

    Args:
        near: The nearest entries, the nearest first; at least one.
        records: How labels did before: above 0 where better than was expected.
    """
    closest, last = near[0].similarity, near[-1].similarity
    votes: defaultdict[str, float] = defaultdict(float)
    for one in near:
        votes[one.label] += math.exp(_SHARPNESS * (one.similarity - closest))
    label = max(votes, key=votes.__getitem__)
    others = sum(votes.values()) - votes[label]
    odds = math.log((votes[label] + _FEW) / (others + _FEW))
    theirs = [one for one in near if one.label == label]
    against = [one for one in near if one.label != label]
    margin = _mean(theirs, last) - _mean(against, last)
    share = sum(one.label == label for one in near[:_NEAREST]) / _NEAREST
    similarity = 5 * theirs[0].similarity - 2.5
    density = closest - near[min(_NEAREST, len(near) - 1)].similarity
    features = (
        1.0,
        similarity,
        odds,
        similarity * odds / 2,
        2 * share - 1,
        5 * margin,
        5 * density,
        records.get(label, 0.0),
    )
    return Evidence(theirs[0], features)


def _mean(entries: Sequence[Near], last: float) -> float:
    """The mean similarity of the first few, as if there were enough."""
    found = [one.similarity for one in entries[:_AVERAGED]]
    return (sum(found) + (_AVERAGED - len(found)) * (last - _FARTHER)) / _AVERAGED
