"""Which questions have another one near to them: the only ones a cache can answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from langchain_lean.vectors import as_vectors

_NEAR = 0.9  # a cosine below what a cache takes for the same, if it is told nothing
_ROUNDED = 1e-4
_AT_ONCE = 1_000  # rows compared with all others in one product


class Known(Embeddings):
    """The embeddings of some questions, asked for at once and only once.

    Attributes:
        questions: The questions.
    """

    def __init__(self, embeddings: Embeddings, questions: Sequence[str]) -> None:
        self.questions = questions
        self._vectors = embeddings.embed_documents([*questions])
        self._places = {text: place for place, text in enumerate(questions)}

    def embed_query(self, text: str) -> list[float]:
        """The embedding of one of the questions."""
        return self._vectors[self._places[text]]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The embeddings of some of the questions."""
        return [self.embed_query(text) for text in texts]

    def near_another(self, threshold: float | None) -> set[str]:
        """The questions that are near to another one, or in the same letters.

        Args:
            threshold: The cosine from which a question is near enough.
        """
        letters = Counter(map(_letters, self.questions))
        found = {each for each in self.questions if letters[_letters(each)] > 1}
        least = min(_NEAR, _NEAR if threshold is None else threshold) - _ROUNDED
        vectors = self._units()
        for start in range(0, len(self.questions), _AT_ONCE):
            rows = vectors[start : start + _AT_ONCE] @ vectors.T
            others = (rows >= least).sum(axis=1) > 1  # each is near to itself
            places = (start + np.flatnonzero(others)).tolist()
            found.update(self.questions[place] for place in places)
        return found

    def _units(self) -> NDArray[np.float32]:
        """The vectors in length 1; 0 for one without direction."""
        if not self.questions:
            return np.empty((0, 1), np.float32)
        vectors = as_vectors(self._vectors, len(self.questions)).astype(np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
