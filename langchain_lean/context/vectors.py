"""Embeddings of sentences that were seen before."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Numbers, in one row or in several."""


class SentenceVectors:
    """Remembers the embeddings of the newest sentences; safe from many threads.

    Args:
        most: How many to remember; up to twice as many stay, the newest always.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._young: dict[str, Floats] = {}
        self._old: dict[str, Floats] = {}

    def known(self, sentences: Iterable[str]) -> dict[str, Floats]:
        """The embeddings that are remembered, by sentence."""
        young, old = self._young, self._old
        found = {}
        for sentence in sentences:
            vector = young.get(sentence)
            if vector is None:
                vector = old.get(sentence)
            if vector is not None:
                found[sentence] = vector
        return found

    def add(self, vectors: Mapping[str, Floats]) -> None:
        """Remember embeddings."""
        if len(self._young) + len(vectors) > self._most:
            self._young, self._old = {}, self._young
        self._young.update(vectors)


def as_vectors(values: Sequence[Sequence[float]], rows: int) -> Floats:
    """Embeddings as an array, one row each.

    Raises:
        ValueError: If there are not as many as there should be, or they are no finite
            numbers of one length.
    """
    vectors = np.asarray(values, np.float64)
    if vectors.ndim != 2 or len(vectors) != rows or not np.isfinite(vectors).all():
        msg = "The embeddings are not one finite vector for each text."
        raise ValueError(msg)
    return vectors
