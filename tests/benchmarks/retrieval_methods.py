"""What the retrieval benchmark compares: its data, and ways to choose what is sent."""

import os
import runpy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from numpy.typing import NDArray

from langchain_lean import TokenCounter, local_embeddings
from langchain_lean.context.retrieval.lexical import LexicalRetriever
from langchain_lean.context.retrieval.packing import SEPARATOR
from langchain_lean.context.retrieval.ranking import fuse
from langchain_lean.context.retriever import BudgetRetriever

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LEAN_DATA", ROOT.parent / "shared" / "data"))
DEPTH = 20
SEEDS = 20
RESAMPLES = 2_000

Floats = NDArray[np.float64]

count = TokenCounter().count


@dataclass(frozen=True)
class Question:
    """A question and what was found for it.

    Attributes:
        text: The question.
        gold: The ids of the chunks with its answer.
        wanted: The sentences that should be sent; see `gold_sentences` in measure.py.
        dense: What the embeddings find.
        lexical: What BM25 finds.
        fused: The best of both.
    """

    text: str
    gold: list[str]
    wanted: list[str]
    dense: list[Document]
    lexical: list[Document]
    fused: list[Document]

    @cached_property
    def tokens(self) -> int:
        """Tokens of the fused documents: the whole of which limits are shares."""
        return sum(count(document.page_content) for document in self.fused)

    def limit(self, share: float) -> int:
        """A share of the tokens of the fused documents."""
        return int(share * self.tokens)


def together(documents: Sequence[Document]) -> str:
    """What is sent: texts with an empty line between them."""
    return SEPARATOR.join(document.page_content for document in documents)


Send = Callable[[Question], list[Document]]
"""What is sent for a question, best first."""


class Corpus:
    """The chunks, their retrievers, and the questions."""

    def __init__(self) -> None:
        measure = SimpleNamespace(**runpy.run_path(str(DATA / "measure.py")))
        self.kept_whole = measure.kept_whole
        self.words = measure.content_words
        self.sentences = measure.sentences
        self.documents = [
            Document(row["text"], metadata={"id": row["id"]})
            for row in measure.rows("retrieval/chunks.jsonl")
        ]
        self.embeddings = local_embeddings()
        store = InMemoryVectorStore.from_documents(self.documents, self.embeddings)
        self.dense = store.as_retriever(search_kwargs={"k": DEPTH})
        self.lexical = LexicalRetriever.of(self.documents, k=DEPTH)
        texts = {each.metadata["id"]: each.page_content for each in self.documents}
        self.questions = [
            self._question(row["question"], row["gold"], wanted)
            for row in measure.rows("retrieval/questions.jsonl")
            if (wanted := measure.gold_sentences(row, texts))
        ]

    def _question(self, text: str, gold: list[str], wanted: list[str]) -> Question:
        found = [self.dense.invoke(text), self.lexical.invoke(text)]
        fused = [each.document for each in fuse(found, [1, 1])[:DEPTH]]
        return Question(text, gold, wanted, *found, fused)

    def retriever(self) -> BudgetRetriever:
        """Ours."""
        plain = BudgetRetriever(retriever=self.dense, embeddings=self.embeddings)
        return plain.with_lexical(self.documents, k=DEPTH)


class Figures(NamedTuple):
    """What came of sending, a number for each question."""

    reciprocal_rank: Floats
    tokens: Floats
    share: Floats
    chunks: Floats
    sentences: Floats


Rows = dict[str, dict[int | float | str, Figures]]
"""Figures by method and setting: so many documents, a share of tokens, or words."""


def label(setting: float | str) -> str:
    """What a setting means."""
    if isinstance(setting, str):
        return setting
    if isinstance(setting, int):
        return f"whole top {setting}"
    return f"at most {100 * setting:.0f} %"


def figures(corpus: Corpus, send: Send, share: float | None = None) -> Figures:
    """Judge what is sent; never more than a share of the fused documents' tokens."""
    rows = []
    for question in corpus.questions:
        documents = send(question)
        text = together(documents)
        tokens = count(text)
        if share is not None and tokens > question.limit(share):
            message = f"{tokens} tokens sent, {question.limit(share)} allowed"
            raise AssertionError(message)
        ids = [document.metadata["id"] for document in documents]
        first = [1 / rank for rank, id_ in enumerate(ids, 1) if id_ in question.gold]
        chunks = len({*ids} & {*question.gold}) / len({*question.gold})
        kept = corpus.kept_whole(text, question.wanted)
        share_sent = tokens / question.tokens
        rows.append((max(first, default=0.0), tokens, share_sent, chunks, kept))
    return Figures(*np.array(rows, float).T)


def resampled(values: Floats) -> Floats:
    """Means over the questions: the mean itself, then those of bootstrap samples."""
    questions = len(values)
    drawn = np.random.default_rng(0).integers(questions, size=(RESAMPLES, questions))
    means: Floats = values[np.vstack([np.arange(questions), drawn])].mean(axis=1)
    return means


def interval(means: Floats, form: str = ".2f") -> str:
    """The 95 % interval of what `resampled` gives."""
    low, high = ends(means)
    return f"{low:{form}}–{high:{form}}"


def ends(means: Floats) -> tuple[float, float]:
    """The ends of the 95 % interval of what `resampled` gives."""
    low, high = np.percentile(means[1:], [2.5, 97.5])
    return float(low), float(high)


def ours(retriever: BudgetRetriever, share: float, **limits: Any) -> Send:
    """A budget retriever with nothing but a limit on all tokens."""

    def send(question: Question) -> list[Document]:
        limit = question.limit(share)
        given = {"max_docs": DEPTH, "max_doc_tokens": limit, "max_tokens": limit}
        return retriever.invoke(question.text, **given, **limits)

    return send


def embeddings_filter(k: int, embeddings: Embeddings) -> BaseDocumentCompressor:
    """What langchain-classic has for this."""
    with warnings.catch_warnings():
        text = "`langchain-community` is being sunset"
        warnings.filterwarnings("ignore", text, DeprecationWarning)
        from langchain_classic.retrievers.document_compressors import EmbeddingsFilter

        return EmbeddingsFilter(embeddings=embeddings, k=k)


class Pool:
    """The sentences of a question's fused documents, and orders to take them in."""

    def __init__(self, corpus: Corpus, question: Question) -> None:
        self.question = question
        self._embeddings = corpus.embeddings
        pairs = [
            (owner, sentence)
            for owner, document in enumerate(question.fused)
            for sentence in corpus.sentences(document.page_content)
        ]
        self.owners = [owner for owner, _ in pairs]
        self.texts = [sentence for _, sentence in pairs]
        self.sizes = [count(text) + 1 for text in self.texts]  # and a line break
        self.words = [corpus.words(text) for text in self.texts]

    @cached_property
    def nearest(self) -> Sequence[int]:
        """By nothing but the cosine of their embeddings and the question's."""
        asked = np.array(self._embeddings.embed_query(self.question.text))
        cosines = np.array(self._embeddings.embed_documents(self.texts)) @ asked
        order: list[int] = np.argsort(-cosines, kind="stable").tolist()
        return order

    @cached_property
    def nearest_once(self) -> Sequence[int]:
        """The same without sentences that repeat a nearer one."""
        first: dict[str, int] = {}
        for index in self.nearest:
            first.setdefault(self.texts[index], index)
        return [*first.values()]

    @cached_property
    def new_words(self) -> Sequence[int]:
        """Each adds most words that no other had before, by token: blind to the query.

        What a sentence adds only falls, so that the first one which still adds what it
        did when it was put into the heap adds most of all.
        """
        heap = [
            (-len(words) / size, index)
            for index, (words, size) in enumerate(
                zip(self.words, self.sizes, strict=True)
            )
        ]
        heapify(heap)
        order: list[int] = []
        covered: set[str] = set()
        while heap:
            before, index = heappop(heap)
            now = -len(self.words[index] - covered) / self.sizes[index]
            if now == 0:
                continue
            if now > before:
                heappush(heap, (now, index))
                continue
            order.append(index)
            covered |= self.words[index]
        return order

    def shuffled(self, seed: int) -> Sequence[int]:
        """By chance."""
        order: list[int] = (
            np.random.default_rng(seed).permutation(len(self.texts)).tolist()
        )
        return order

    def filled(self, order: Sequence[int], share: float) -> list[Document]:
        """Take sentences in an order, those that fit."""
        limit = self.question.limit(share)
        left, taken = limit, []
        for index in order:
            if self.sizes[index] <= left:
                left -= self.sizes[index]
                taken.append(index)
        documents = self._documents(taken)
        while count(together(documents)) > limit:
            taken.pop()
            documents = self._documents(taken)
        return documents

    def _documents(self, taken: Sequence[int]) -> list[Document]:
        """What remains of the fused documents, in their order."""
        lines: dict[int, list[str]] = {}
        for index in sorted(taken):
            lines.setdefault(self.owners[index], []).append(self.texts[index])
        fused = self.question.fused
        return [
            Document("\n".join(lines[owner]), metadata=fused[owner].metadata)
            for owner in sorted(lines)
        ]


class Choices:
    """Plain choices of sentences inside the fused documents."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._pools = {each.text: Pool(corpus, each) for each in corpus.questions}

    def nearest(self, share: float) -> Figures:
        """The sentences nearest to the question."""
        return self._figures(lambda pool: pool.nearest, share)

    def nearest_once(self, share: float) -> Figures:
        """The same, without repeating any."""
        return self._figures(lambda pool: pool.nearest_once, share)

    def new_words(self, share: float) -> Figures:
        """The sentences with most new words."""
        return self._figures(lambda pool: pool.new_words, share)

    def random(self, share: float) -> Figures:
        """Sentences by chance; each question's mean over some seeds."""

        def seeded(seed: int) -> Figures:
            return self._figures(lambda pool: pool.shuffled(seed), share)

        return Figures(*np.mean([seeded(seed) for seed in range(SEEDS)], axis=0))

    def _figures(self, order: Callable[[Pool], Sequence[int]], share: float) -> Figures:
        def send(question: Question) -> list[Document]:
            pool = self._pools[question.text]
            return pool.filled(order(pool), share)

        return figures(self._corpus, send, share)
