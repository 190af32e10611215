"""How near every sentence of some documents is to a query.

Two signals are mixed in equal parts: the query's words in a sentence (BM25), and the
angle between their embeddings. Both are taken relative to the best sentence. Pure
arithmetic; whoever reads embeds in between: `Reading.begin`, one call, `with_vectors`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from langchain_lean.context.retrieval.sentences import Chunk, query_terms
from langchain_lean.vectors import Floats

_SATURATION, _LENGTH = 1.2, 0.75  # k1 and b of BM25 (Robertson and Zaragoza, 2009)
_NEIGHBOUR = 0.25  # of its nearness a sentence lends to the ones beside it
_RANK_POWER = 2  # a document's rank weighs more than in its fused score alone
_PRIOR = 8  # sentences at the origin, so that few sentences are hardly centred


@dataclass(frozen=True, eq=False)
class Sentences:
    """The sentences of some documents in a row. Arrays have a number for each.

    Attributes:
        chunks: The documents; none of them blank.
    """

    chunks: Sequence[Chunk]

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """Where each document's sentences begin, and where the last one's end."""
        counts = [len(chunk.sentences) for chunk in self.chunks]
        return np.cumsum([0, *counts], dtype=np.intp)

    @cached_property
    def owners(self) -> NDArray[np.intp]:
        """Which document each is of."""
        return np.repeat(np.arange(len(self.chunks)), np.diff(self.starts))

    @cached_property
    def sizes(self) -> Floats:
        """How many characters each has."""
        return np.concatenate([chunk.sizes for chunk in self.chunks])

    def texts(self, chosen: Iterable[int]) -> list[str]:
        """Some of them, without the white space around them."""
        every = [*chain.from_iterable(chunk.sentences for chunk in self.chunks)]
        return [every[index].strip() for index in chosen]

    def smoothed(self, values: Floats) -> Floats:
        """Values with a share of those of the sentences beside each."""
        smoothed = values.copy()
        beside = self.owners[1:] == self.owners[:-1]
        smoothed[1:] += _NEIGHBOUR * values[:-1] * beside
        smoothed[:-1] += _NEIGHBOUR * values[1:] * beside
        return smoothed

    def word_nearness(self, terms: Sequence[str]) -> Floats:
        """How near each is to some terms: BM25, every term counted once."""
        pairs = [chunk.matches(terms) for chunk in self.chunks]
        count = len(self.owners)
        which = np.array([*chain.from_iterable(numbers for numbers, _ in pairs)], int)
        if not len(which):
            return np.zeros(count)
        where = np.array([*chain.from_iterable(places for _, places in pairs)], int)
        where += np.repeat(self.starts[:-1], [len(places) for _, places in pairs])
        spread = np.bincount(which, minlength=len(terms))
        rarity = np.log1p((count - spread + 0.5) / (spread + 0.5))
        longer = 1 - _LENGTH + _LENGTH * self.sizes / self.sizes.mean()
        damped = (_SATURATION + 1) / (1 + _SATURATION * longer)
        weights = rarity[which] * damped[where]
        return np.asarray(np.bincount(where, weights, count), np.float64)


@dataclass(frozen=True, eq=False)
class Reading:
    """Sentences read for a query.

    Attributes:
        sentences: The sentences.
        words: How near each is by its words, from 0 to 1.
        chosen: Those to embed: the ones that may matter.
        vectors: How near those are by their embeddings, from 0 to 1; 0 for the others.
    """

    sentences: Sentences
    words: Floats
    chosen: NDArray[np.intp]
    vectors: Floats | None = None

    @classmethod
    def begin(
        cls,
        query: str,
        chunks: Sequence[Chunk],
        scores: Sequence[float],
        characters: int,
    ) -> "Reading":
        """Look for the query's words, and choose what to embed.

        Args:
            query: What is asked.
            chunks: The texts of the documents.
            scores: The documents' scores.
            characters: How much text to embed at most.
        """
        sentences = Sentences(chunks)
        terms = query_terms(query)
        if not terms:  # there is nothing to be near to
            return cls(sentences, np.zeros(len(sentences.owners)), np.empty(0, np.intp))
        words = _relative(sentences.word_nearness(terms))
        likely = sentences.smoothed(words) + _worth(scores)[sentences.owners]
        order = np.argsort(-likely, kind="stable")
        fits = np.cumsum(sentences.sizes[order]) <= characters
        return cls(sentences, words, np.sort(order[fits]))

    @property
    def texts(self) -> list[str]:
        """The sentences to embed."""
        return self.sentences.texts(self.chosen.tolist())

    def with_vectors(self, query: Floats, vectors: Floats) -> "Reading":
        """The same with the embeddings of the query and of `texts`.

        What all sentences have in common is taken off first: averaged word vectors
        share a direction that says nothing about a query (Mu and Viswanath, 2018).
        """
        common = vectors.sum(axis=0) / (len(vectors) + _PRIOR)
        rest, asked = vectors - common, query - common
        lengths = np.sqrt(np.einsum("ij,ij->i", rest, rest) * (asked @ asked))
        near = np.zeros(len(self.words))
        near[self.chosen] = np.maximum(rest @ asked / np.maximum(lengths, 1e-12), 0)
        return replace(self, vectors=_relative(near))

    @cached_property
    def nearness(self) -> Floats:
        """How near each sentence is, its neighbours considered."""
        if self.vectors is None:
            return self.sentences.smoothed(self.words)
        return self.sentences.smoothed((self.words + self.vectors) / 2)

    def document_nearness(self) -> list[float]:
        """How near each document is: as near as its nearest sentence."""
        near = np.maximum.reduceat(self.nearness, self.sentences.starts[:-1])
        return [float(value) for value in near]

    def values(self, scores: Sequence[float]) -> list[Floats]:
        """What each sentence is worth to an answer: its nearness times its document's.

        Args:
            scores: The documents' scores, in their order.

        Returns:
            An array for each document. Where no sentence is near, those of the best
            document are worth most.
        """
        shares = _worth(scores)[self.sentences.owners]
        values = self.nearness * shares
        if not values.any():
            values = shares
        starts = self.sentences.starts.tolist()
        return [values[start:end] for start, end in pairwise(starts)]


def _worth(scores: Sequence[float]) -> Floats:
    """What the rank of each document is worth, the best being 1."""
    return _relative(np.asarray(scores, np.float64)) ** _RANK_POWER


def _relative(values: Floats) -> Floats:
    """Values relative to the largest, which becomes 1."""
    largest = values.max(initial=0.0)
    return values / largest if largest else values
