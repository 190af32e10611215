"""How long a budget retriever works on chunks it sees first, and on those it knows."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from rich.table import Table

from langchain_lean import TokenCounter
from langchain_lean.context.retriever import BudgetRetriever
from tests.benchmarks.retrieval_methods import (
    DEPTH,
    Corpus,
    Question,
    embeddings_filter,
)

CHARACTERS = 3_700  # of a chunk, the mean of the data
ROUNDS = 3
LIMITS: dict[str, dict[str, int]] = {
    "by default": {},
    "max_docs=20, max_tokens=3000": {"max_docs": 20, "max_tokens": 3_000},
}
PHASES = ("first time", "same question again", "another question")


class TimedEmbeddings(Embeddings):
    """Embeddings that note how long they take."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self.spent = 0.0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts."""
        vectors, spent = timed(lambda: self._embeddings.embed_documents(texts))
        self.spent += spent
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed one text."""
        vector, spent = timed(lambda: self._embeddings.embed_query(text))
        self.spent += spent
        return vector


class FixedRetriever(BaseRetriever):
    """Finds the same documents for every query, and notes how long that takes."""

    documents: list[Document]
    spent: float = 0.0

    def invoke(self, *args: Any, **kwargs: Any) -> list[Document]:
        """Find them."""
        documents, spent = timed(
            lambda: super(FixedRetriever, self).invoke(*args, **kwargs)
        )
        self.spent += spent
        return documents

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return self.documents


class Times(NamedTuple):
    """Seconds: ours in all and its parts, and EmbeddingsFilter's on the same chunks."""

    total: float
    embedding: float
    inner: float
    own: float
    theirs: float
    their_embedding: float


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and the seconds it takes."""
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


def chunks(texts: Sequence[str]) -> Iterator[str]:
    """Texts of equal length; one that is too short is filled up with the next ones."""
    text = ""
    for each in texts:
        text = f"{text}\n\n{each}" if text else each
        if len(text) >= CHARACTERS:
            yield text[:CHARACTERS]
            text = ""


def chunks_for(corpus: Corpus, question: Question) -> list[Document]:
    """Chunks of what is found for a question and, where that is short, of the rest."""
    found = [document.page_content for document in question.fused]
    rest = [d.page_content for d in corpus.documents if d.page_content not in found]
    return [Document(text) for text in islice(chunks(found + rest), DEPTH)]


def phases(
    corpus: Corpus, question: Question, other: Question, limits: dict[str, int]
) -> list[Times]:
    """The times of a retriever that has seen nothing, and then asked again."""
    documents = chunks_for(corpus, question)
    inner = FixedRetriever(documents=documents)
    mine, theirs = (TimedEmbeddings(corpus.embeddings) for _ in range(2))
    counter = TokenCounter()
    counter.base  # noqa: B018 - loads the encoding
    retriever = BudgetRetriever(
        retriever=inner, embeddings=mine, counter=counter, **limits
    )
    classic = embeddings_filter(retriever.max_docs, theirs)
    seen = []
    for asked in (question.text, question.text, other.text):
        mine.spent = theirs.spent = inner.spent = 0.0
        _, total = timed(lambda asked=asked: retriever.invoke(asked))
        _, their_total = timed(
            lambda asked=asked: classic.compress_documents(documents, asked)
        )
        own = total - mine.spent - inner.spent
        times = (total, mine.spent, inner.spent, own, their_total, theirs.spent)
        seen.append(Times(*times))
    return seen


def measured(corpus: Corpus, limits: dict[str, int]) -> list[list[Times]]:
    """The times of each phase, with the chunks of every question."""
    questions = corpus.questions
    phases(corpus, questions[0], questions[1], limits)  # warms up
    runs = [
        phases(corpus, question, questions[index - 1], limits)
        for _ in range(ROUNDS)
        for index, question in enumerate(questions)
    ]
    return [list(each) for each in zip(*runs, strict=True)]


def speed_table(corpus: Corpus) -> Table:
    """Medians by limits and phase."""
    samples = ROUNDS * len(corpus.questions)
    table = Table(
        "limits", "chunks", "ours", "embedding", "inner", "our own work", "allowed",
        "EmbeddingsFilter", "its embedding", "ours/its",
        title=f"Milliseconds for {DEPTH} chunks of {CHARACTERS:,} characters, "
        f"medians of {samples} runs",
        caption="Allowed: for our own work. Ours must take no longer than its in all.",
    )  # fmt: skip
    for name, limits in LIMITS.items():
        table.add_section()
        for phase, runs in zip(PHASES, measured(corpus, limits), strict=True):
            medians = Times(*map(statistics.median, zip(*runs, strict=True)))
            own = [f"{1000 * value:.2f}" for value in medians[:4]]
            theirs = [f"{1000 * value:.1f}" for value in medians[4:]]
            ratio = statistics.median(run.total / run.theirs for run in runs)
            allowed = "5" if phase == PHASES[0] else "1"
            table.add_row(name, phase, *own, allowed, *theirs, f"{ratio:.2f}")
            name = ""
    return table
