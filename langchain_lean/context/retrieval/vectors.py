"""Embeddings of sentences that were seen before."""

from collections.abc import Iterable, Mapping

from langchain_core.embeddings import Embeddings

from langchain_lean.vectors import Floats


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
