"""Rankings of several retrievers made one."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from langchain_core.documents import Document

from langchain_lean.context.sentences import Chunk

RANK_OFFSET = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""

_SAME = 0.9  # share of a text's probes that stand in another one


class Candidate(NamedTuple):
    """A document that may be sent.

    Attributes:
        document: As a retriever or reranker gave it.
        score: Its fused score; higher is better.
    """

    document: Document
    score: float


def rank_score(position: int) -> float:
    """What a position of a ranking, from 0, is worth."""
    return 1 / (RANK_OFFSET + 1 + position)


def fuse(
    rankings: Sequence[Sequence[Document]], weights: Sequence[float]
) -> list[Candidate]:
    """Fuse rankings by reciprocal rank.

    Args:
        rankings: Documents, best first. Equal texts are one document, of which the
            first is kept; texts without a word are left out.
        weights: What each ranking counts.

    Returns:
        The documents, best first; those of equal score as they came.
    """
    scores: dict[str, float] = {}
    documents: dict[str, Document] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for position, document in enumerate(_worded(ranking)):
            text = document.page_content
            documents.setdefault(text, document)
            scores[text] = scores.get(text, 0.0) + weight * rank_score(position)
    order = sorted(scores, key=lambda text: -scores[text])
    return [Candidate(documents[text], scores[text]) for text in order]


def _worded(ranking: Sequence[Document]) -> Iterable[Document]:
    """The documents that are not blank, the first of each text."""
    seen: set[str] = set()
    for document in ranking:
        text = document.page_content
        if text not in seen and not text.isspace() and text:
            seen.add(text)
            yield document


def distinct(chunks: Iterable[Chunk], limit: int) -> dict[int, int]:
    """The first texts that each say something of their own.

    Left out is a text of which 90 % stands in a better one, by sequences of three
    words, and all numbers do.

    Args:
        chunks: Texts, best first.
        limit: How many to take at most.

    Returns:
        For each position taken, how many later texts repeat it.
    """
    taken: list[tuple[int, Chunk]] = []
    repeats: dict[int, int] = {}
    for position, chunk in enumerate(chunks):
        same = (index for index, better in taken if _repeats(chunk, better))
        index = next(same, None)
        if index is not None:
            repeats[index] += 1
        elif len(taken) < limit:
            taken.append((position, chunk))
            repeats[position] = 0
        else:
            break
    return repeats


def _repeats(chunk: Chunk, better: Chunk) -> bool:
    may_miss = int((1 - _SAME) * len(chunk.probes))
    missed = (probe for probe in chunk.probes if probe not in better.normal)
    if next(islice(missed, may_miss, None), None) is not None:
        return False
    return chunk.numbers <= better.numbers
