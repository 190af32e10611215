"""Embeddings of sentences that were seen before."""

import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Numbers, in one row or in several."""


_WRONG = "The embeddings are not one finite vector for each text."


class SentenceVectors:
    """Remembers the embeddings of the newest sentences; safe from many threads.

    Args:
        embeddings: Where they are from; of others nothing is known.
        most: How many to remember; up to twice as many stay, the newest always.
    """

    def __init__(self, embeddings: Embeddings | None, most: int) -> None:
        self.embeddings = embeddings
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
    try:
        # Three times as fast as numpy is on lists of lists.
        pack = struct.Struct(f"{len(values[0])}d").pack
        packed = b"".join([pack(*row) for row in values])
        vectors = np.frombuffer(packed).reshape(len(values), -1)
    except (struct.error, TypeError, IndexError, ValueError):
        raise ValueError(_WRONG) from None
    if len(vectors) != rows or not np.isfinite(vectors).all():
        raise ValueError(_WRONG)
    return vectors
