"""What the entries near to a request say for serving the answer of one of them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from langchain_lean.caching.stores.base import Near

NEIGHBOURS = 16
"""How many entries are looked at, the nearest."""

FEATURES = 6
"""How many numbers describe a candidate."""

_SHARPNESS = 20.0  # a vote is e times another one where the cosine is 0.05 higher
_FEW = 0.1  # of a vote, so that odds are finite
_MEAN_OF = 3  # entries, of which the similarity is averaged
_NEAREST = 8  # entries, of which the share is taken
_FARTHER = 0.05  # how far beyond the last one an entry is thought that was not found


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

    Each votes for its label, the more the nearer it is: the kernel estimate of the
    posterior of each label.

    Args:
        near: The nearest entries, the nearest first; at least one.
        records: How labels did before, by label: above 0 if better than was expected.
    """
    closest = near[0].similarity
    votes: defaultdict[str, float] = defaultdict(float)
    for one in near:
        votes[one.label] += math.exp(_SHARPNESS * (one.similarity - closest))
    label = max(votes, key=votes.__getitem__)
    own = [one.similarity for one in near if one.label == label]
    others = [one.similarity for one in near if one.label != label]
    unseen = [near[-1].similarity - _FARTHER] * _MEAN_OF
    margin = sum((own + unseen)[:_MEAN_OF]) - sum((others + unseen)[:_MEAN_OF])
    rest = sum(votes.values()) - votes[label]
    features = (
        1.0,
        5 * own[0] - 2.5,
        math.log((votes[label] + _FEW) / (rest + _FEW)),
        4 * sum(one.label == label for one in near[:_NEAREST]) / _NEAREST - 2,
        5 * margin / _MEAN_OF,
        records.get(label, 0.0),
    )
    return Evidence(next(one for one in near if one.label == label), features)
