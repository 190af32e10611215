"""Rankings of several retrievers made one."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from langchain_core.documents import Document

from langchain_lean.context.retrieval.sentences import Chunk

RANK_OFFSET = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""

_NEW = 0.1  # share of a text's words, at most, that stands in sentences of its own
_FEW_WORDS = 20
_TELLING = frozenset(
    """
    not no never none neither nor nothing nobody without except unless only hardly
    barely almost former
    """.split()  # noqa: SIM905 - a list of words, not of strings
)
"""Words that turn what a sentence says into something else."""


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
            first is kept; blank texts are left out.
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

    Left out is a text whose sentences stand in a better one, white space and the stops
    at their end aside. A tenth of it may be sentences that say a little more or less
    there: a plain word, no number, no name, no negation.

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
    if not _may_repeat(chunk.vocabulary, better.vocabulary):
        return False
    new = [words for words in chunk.said if words not in better.said]
    if sum(map(len, new)) > _NEW * sum(map(len, chunk.said)):
        return False
    old = [words for words in better.said if words not in chunk.said]
    return all(any(_nearly_same(n, o) for o in old) for n in new)


def _may_repeat(some: frozenset[str], better: frozenset[str]) -> bool:
    """A quick look: whether most of a longer text's words stand in the other."""
    return len(some) < _FEW_WORDS or len(some & better) >= len(some) / 2


def _nearly_same(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one of two sentences only says a little more than the other."""
    return _says_a_little_more(one, other) or _says_a_little_more(other, one)


def _says_a_little_more(new: tuple[str, ...], old: tuple[str, ...]) -> bool:
    """Whether a sentence is another one with some plain words put in."""
    rest = iter(old)
    awaited = next(rest, None)
    added = []
    for word in new:
        if word == awaited:
            awaited = next(rest, None)
        else:
            added.append(word)
    return awaited is None and all(map(_is_plain, added))


def _is_plain(word: str) -> bool:
    """Whether a word is no number and no name, and turns nothing around."""
    return word.isascii() and word.isalpha() and word.islower() and word not in _TELLING
