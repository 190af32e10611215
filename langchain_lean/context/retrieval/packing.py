"""Sentences packed into a budget of tokens. Pure; the counter is given."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from langchain_core.documents import Document

from langchain_lean.context.retrieval.ranking import Candidate, distinct
from langchain_lean.context.retrieval.sentences import Chunk
from langchain_lean.errors import ConfigurationError
from langchain_lean.vectors import Floats

Count = Callable[[str], int]
"""How many tokens a text has."""

SEPARATOR = "\n\n"
"""What stands between two documents of a prompt, and is counted."""


_SHORTEST_REPEAT = 40  # characters
_ESTIMATES = 4  # times to correct an estimate before every sentence is counted
_MARGIN = 1.01
_SEAM = 8  # tokens by which two texts may have more together, amply


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be sent.

    Attributes:
        max_docs: Documents.
        max_doc_tokens: Tokens of each.
        max_tokens: Tokens of all together, with an empty line between two.
        min_gain: A sentence is sent if it is worth this share of the best one at least.
    """

    max_docs: int
    max_doc_tokens: int
    max_tokens: int
    min_gain: float

    def __post_init__(self) -> None:
        for name in ("max_docs", "max_doc_tokens", "max_tokens"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                msg = f"{name} must be a whole number above 0, not {value!r:.40}."
                raise ConfigurationError(msg)
        gain = self.min_gain
        if not isinstance(gain, int | float) or not 0 <= gain <= 1:
            msg = f"min_gain must be a share from 0 to 1, not {gain!r:.40}."
            raise ConfigurationError(msg)

    @property
    def most(self) -> int:
        """How many tokens a sentence may have."""
        return min(self.max_doc_tokens, self.max_tokens)


class Ranked(NamedTuple):
    """A document that was read.

    Attributes:
        candidate: The document, with its score.
        chunk: Its text.
        values: What each of its sentences is worth.
    """

    candidate: Candidate
    chunk: Chunk
    values: Floats


def send(ranked: Sequence[Ranked], limits: Limits, count: Count) -> list[Document]:
    """Cut documents down to what may be sent.

    Args:
        ranked: The documents, best first.
        limits: What may be sent.
        count: Counts tokens.

    Returns:
        The documents of which something is sent, with what was done to each in
        `metadata["lean"]`; those that repeat a better one are left out.
    """
    able: list[tuple[int, Ranked]] = []

    def chunks() -> Iterator[Chunk]:
        for rank, found in enumerate(ranked, 1):
            if _some_fits(found.chunk, limits, count):
                able.append((rank, found))
                yield found.chunk

    repeats = distinct(chunks(), limits.max_docs)
    taken = [able[position] for position in repeats]
    kept = pack(
        [found.chunk for _, found in taken],
        [found.values for _, found in taken],
        limits,
        count,
    )
    return [
        _sent(rank, found, sentences, duplicates, count)
        for (rank, found), sentences, duplicates in zip(
            taken, kept, repeats.values(), strict=True
        )
        if sentences
    ]


def _some_fits(chunk: Chunk, limits: Limits, count: Count) -> bool:
    """Whether a sentence fits; one of few characters is not counted.

    A character has four bytes at most, and a token one at least.
    """
    most = limits.most
    return any(4 * len(s) <= most or count(s.strip()) <= most for s in chunk.sentences)


def _sent(
    rank: int,
    found: Ranked,
    sentences: Sequence[int],
    duplicates: int,
    count: Count,
) -> Document:
    """A document with nothing but the sentences that are kept."""
    candidate, chunk, _ = found
    text = chunk.cut(sentences)
    done = {
        "rank": rank,
        "score": candidate.score,
        "tokens_before": count(chunk.text),
        "tokens": count(text),
        "sentences_before": len(chunk.sentences),
        "sentences": len(sentences),
        "cut": chunk.left_out(sentences),
        "duplicates": duplicates,
    }
    document = candidate.document
    metadata = {**document.metadata, "lean": done}
    return Document(page_content=text, metadata=metadata, id=document.id)


def pack(
    chunks: Sequence[Chunk],
    values: Sequence[Floats],
    limits: Limits,
    count: Count,
) -> list[list[int]]:
    """Choose the most valuable sentences that fit.

    A sentence that stands there twice is taken once; a short one, such as a brace of
    JSON or a line of code, as often as it stands there.

    Args:
        chunks: The documents.
        values: What each of their sentences is worth.
        limits: What may be sent.
        count: Counts tokens.

    Returns:
        For each document, the numbers of the sentences to send, in their order.
    """
    whole = [count(chunk.text) for chunk in chunks]
    sizes = [_estimated_sizes(c, size) for c, size in zip(chunks, whole, strict=True)]
    room = limits.max_tokens - _SEAM * len(chunks)
    if max(whole, default=0) <= limits.max_doc_tokens and sum(whole) <= room:
        sizes = [0 * each for each in sizes]
    for _ in range(_ESTIMATES):
        taken = _most_valuable(chunks, values, sizes, limits)
        kept = _by_document(taken, chunks)
        if taken and _fits(chunks, kept, limits, count):
            return kept
        sizes = _corrected(chunks, kept, sizes, count)
    sizes = [_exact_sizes(chunk, count) for chunk in chunks]
    taken = _most_valuable(chunks, values, sizes, limits)
    kept = _by_document(taken, chunks)
    while taken and not _fits(chunks, kept, limits, count):
        taken.pop()
        kept = _by_document(taken, chunks)
    return kept


def _corrected(
    chunks: Sequence[Chunk],
    kept: Sequence[Sequence[int]],
    sizes: Sequence[Floats],
    count: Count,
) -> list[Floats]:
    """Estimates that are not below what is kept of each document really has."""
    corrected = []
    for chunk, sentences, estimated in zip(chunks, kept, sizes, strict=True):
        factor = 1.0
        if sentences:
            really = count(chunk.cut(sentences))
            factor = max(1.0, really / estimated[list(sentences)].sum()) * _MARGIN
        corrected.append(estimated * factor)
    return corrected


def _by_document(
    taken: Sequence[tuple[int, int]], chunks: Sequence[Chunk]
) -> list[list[int]]:
    """For each document, the sentences that are taken, in their order."""
    kept: list[list[int]] = [[] for _ in chunks]
    for document, sentence in sorted(taken):
        kept[document].append(sentence)
    return kept


def _estimated_sizes(chunk: Chunk, whole: int) -> Floats:
    """Tokens of each sentence, from those of the whole text: few texts to count."""
    return chunk.sizes * (whole / len(chunk.text))


def _exact_sizes(chunk: Chunk, count: Count) -> Floats:
    return np.array([count(sentence.strip()) for sentence in chunk.sentences], float)


def _most_valuable(
    chunks: Sequence[Chunk],
    values: Sequence[Floats],
    sizes: Sequence[Floats],
    limits: Limits,
) -> list[tuple[int, int]]:
    """Documents and sentences that should fit together, most valuable first."""
    places = [(d, s) for d, each in enumerate(values) for s in range(len(each))]
    worth = np.concatenate([np.empty(0), *values])
    left, lefts = limits.max_tokens, [limits.max_doc_tokens] * len(chunks)
    least = 0.0
    taken: list[tuple[int, int]] = []
    seen: set[str] = set()
    for place in np.argsort(-worth, kind="stable").tolist():
        if worth[place] < least:
            break
        document, sentence = places[place]
        size = sizes[document][sentence]
        text = chunks[document].sentences[sentence].strip()
        if size > min(left, lefts[document]) or text in seen:
            continue
        least = least or limits.min_gain * worth[place]
        if len(text) >= _SHORTEST_REPEAT:
            seen.add(text)
        taken.append((document, sentence))
        lefts[document] -= size
        left -= size
    return taken


def _fits(
    chunks: Sequence[Chunk],
    kept: Sequence[Sequence[int]],
    limits: Limits,
    count: Count,
) -> bool:
    """Whether the texts as they will be sent keep the limits."""
    texts = [c.cut(sentences) for c, sentences in zip(chunks, kept, strict=True)]
    sizes = [count(text) for text in texts if text]
    if max(sizes, default=0) > limits.max_doc_tokens:
        return False
    total = sum(sizes)
    if total + _SEAM * len(sizes) <= limits.max_tokens:
        return True
    together = count(SEPARATOR.join(filter(None, texts)))
    return max(total, together) <= limits.max_tokens
