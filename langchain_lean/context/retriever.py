"""A retriever that sends few, short and right pieces of what others find."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any, Literal, Self

import numpy as np
from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
    Callbacks,
)
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, Field, PrivateAttr, ValidationError

from langchain_lean.accounting.metered import metered
from langchain_lean.accounting.reporting import report_notice, report_saving
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.context.retrieval.calls import (
    Call,
    Embed,
    Rerank,
    Retrieve,
    WrongTypeError,
)
from langchain_lean.context.retrieval.lexical import LexicalRetriever
from langchain_lean.context.retrieval.packing import Limits, Ranked, send
from langchain_lean.context.retrieval.ranking import Candidate, fuse, rank_score
from langchain_lean.context.retrieval.reading import Reading
from langchain_lean.context.retrieval.sentences import Chunk
from langchain_lean.context.retrieval.vectors import SentenceVectors
from langchain_lean.embeddings import local_embeddings
from langchain_lean.errors import ConfigurationError, LeanError
from langchain_lean.steps import adrive, drive
from langchain_lean.vectors import as_vectors

logger = logging.getLogger(__name__)

_REMEMBERED_CHUNKS = 1_000
_REMEMBERED_SENTENCES = 10_000  # 256 floats each: 20 MB
_READ_PER_SENT = 12  # characters embedded for each token of the budget: 3 times it

_RunManager = CallbackManagerForRetrieverRun | AsyncCallbackManagerForRetrieverRun


class BudgetRetriever(BaseRetriever):
    """Sends few, short and right pieces of what other retrievers find.

    The retrievers are asked side by side and their rankings fused (reciprocal ranks).
    The sentences of the best `candidates` documents are compared with the query, by
    its words and by embeddings; how near a document's best sentences are counts as much
    for its place as all retrievers together. Of the first `max_docs`, those that
    repeat a better one left out, the nearest sentences are kept, in their order, until
    the budget is full or the rest adds little.

    `metadata["lean"]` of each document says what was done: `rank` (from 1) and `score`
    among the candidates, `tokens_before` and `tokens`, `sentences_before` and
    `sentences`, `cut` (the spans of characters that were left out) and `duplicates`
    (how many documents were dropped because they repeat this one). What fails, and why
    nothing is returned, is kept by a ledger: see `TokenLedger.notices`.

    Attributes:
        retriever: Whom to ask: a retriever, or several.
        max_docs: How many documents to return at most.
        max_doc_tokens: Tokens of each, at most.
        max_tokens: Tokens of all together, at most, with an empty line between two.
        min_gain: Stop where a sentence is worth less than this share of the best one
            (0: fill the budget).
        weights: What each retriever counts; 1 each if not given.
        reranker: Orders the candidates in place of how near their sentences are.
        candidates: How many documents of the fused ranking are read.
        embeddings: Of sentences and query; without them those of the `local` extra
            where it is installed, else words alone. A ledger knows a provider's as the
            retriever's own cost.
        counter: Counts tokens.
        baseline_docs: How many whole documents were sent before; a saving is reported
            against so many of the fused ranking.
        model: The model whose input that saves; needed with `baseline_docs`.
        provider: Its provider.
        on_error: `skip` a retriever, reranker or embeddings that fail and go on with
            the rest, or `raise`. Where no retriever answers, the error is raised.

    Raises:
        ConfigurationError: If something of this makes no sense.

    Example:
        ```python
        retriever = BudgetRetriever(retriever=store.as_retriever(), max_docs=3)
        retriever = retriever.with_lexical(documents)
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    retriever: RetrieverLike | list[RetrieverLike]
    max_docs: int = Field(default=3, strict=True)
    max_doc_tokens: int = Field(default=400, strict=True)
    max_tokens: int = Field(default=1200, strict=True)
    min_gain: float = 0.05
    weights: list[float] | None = None
    reranker: BaseDocumentCompressor | None = None
    candidates: int = Field(default=20, ge=1, strict=True)
    embeddings: Embeddings | None = None
    counter: TokenCounter = Field(default_factory=TokenCounter)
    baseline_docs: int | None = Field(default=None, ge=1, strict=True)
    model: str | None = None
    provider: str | None = None
    on_error: Literal["skip", "raise"] = "skip"

    _read: Callable[[str], Chunk] = PrivateAttr(
        default_factory=lambda: lru_cache(_REMEMBERED_CHUNKS)(Chunk.of)
    )
    _vectors: SentenceVectors = PrivateAttr(
        default_factory=lambda: SentenceVectors(None, _REMEMBERED_SENTENCES)
    )

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise ConfigurationError(_in_a_sentence(error)) from None
        self._check()
        if self.embeddings is None:
            self.embeddings = _installed_embeddings()
        else:
            self.embeddings = metered(self.embeddings, source="retriever")

    def _check(self) -> None:
        self._limits()
        weights = self._weights
        if not weights:
            msg = "BudgetRetriever needs a retriever to ask: retriever=..."
            raise ConfigurationError(msg)
        fits = len(weights) == len(self._retrievers)
        if not fits or min(weights) <= 0 or not math.isfinite(sum(weights)):
            msg = "weights= takes one number above 0 for each retriever."
            raise ConfigurationError(msg)
        if self.baseline_docs is not None and not self.model:
            msg = "baseline_docs= needs the model whose input is saved: model=..."
            raise ConfigurationError(msg)

    def with_lexical(
        self, documents: Iterable[Document], *, k: int = 20, weight: float = 1.0
    ) -> Self:
        """The same with a BM25 retriever over documents beside its retrievers.

        Args:
            documents: What the other retrievers search, too.
            k: How many it finds.
            weight: What it counts.

        Raises:
            ConfigurationError: If there are no documents, or the `local` extra is not
                installed.
        """
        lexical = LexicalRetriever.of(documents, k=k)
        both = [*self._retrievers, lexical]
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            msg = "with_lexical(weight=...) takes a number above 0."
            raise ConfigurationError(msg)
        weights = [*self._weights, weight]
        added = self.model_copy(update={"retriever": both, "weights": weights})
        added._check()
        return added

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **limits: Any
    ) -> list[Document]:
        steps = self._steps(query, self._limits(**limits), run_manager)
        return drive(steps, lambda call: call.run())

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        **limits: Any,
    ) -> list[Document]:
        steps = self._steps(query, self._limits(**limits), run_manager)
        return await adrive(steps, lambda call: call.arun())

    def _steps(
        self, query: str, limits: Limits, run_manager: _RunManager
    ) -> Generator[Call, Any, list[Document]]:
        """The retrieval, without what others are asked: that is yielded."""
        if not isinstance(query, str):
            msg = f"BudgetRetriever takes the query as a text, not {_kind(query)}."
            raise ConfigurationError(msg)

        def tell(action: str, reason: str) -> None:
            report_notice(
                "retriever", action=action, reason=reason, callbacks=run_manager
            )

        callbacks = run_manager.get_child()
        answers = yield Retrieve(self._retrievers, query, callbacks)
        fused = fuse(self._rankings(answers, tell), self._weights)
        candidates = fused[: self.candidates]
        if self.reranker is not None and candidates:
            rerank = Rerank(
                self.reranker, [each.document for each in candidates], query, callbacks
            )
            candidates = yield from self._reranked(rerank, candidates, tell)
        kept: list[Document] = []
        if candidates:
            ranked = yield from self._ranked(query, candidates, limits, callbacks, tell)
            kept = send(ranked, limits, self.counter.count)
            if not kept:
                tell(
                    "returned nothing",
                    f"no sentence fits into {limits.most} tokens: "
                    "raise max_doc_tokens and max_tokens",
                )
        else:
            found = "the reranker kept no document" if fused else "nothing was found"
            tell("returned nothing", found)
        self._report_saving(fused, kept, run_manager)
        return kept

    def _rankings(
        self, answers: Sequence[Any], tell: Callable[[str, str], None]
    ) -> list[list[Document]]:
        """What the retrievers found; nothing for one that failed."""
        raised = []
        for answer, retriever in zip(answers, self._retrievers, strict=True):
            if isinstance(answer, Exception):
                self._check_skippable(answer)
                tell("skipped", f"{retriever.get_name()} failed: {_in_words(answer)}")
                if not isinstance(answer, WrongTypeError):
                    raised.append(answer)
        if raised and all(isinstance(answer, Exception) for answer in answers):
            raise raised[0]
        return [[] if isinstance(each, Exception) else each for each in answers]

    def _reranked(
        self,
        rerank: Rerank,
        candidates: list[Candidate],
        tell: Callable[[str, str], None],
    ) -> Generator[Call, Any, list[Candidate]]:
        try:
            documents = yield rerank
        except Exception as error:
            self._check_skippable(error)
            name = type(self.reranker).__name__
            tell("skipped", f"{name} failed: {_in_words(error)}")
            return candidates
        return fuse([documents], [1.0])

    def _ranked(
        self,
        query: str,
        candidates: Sequence[Candidate],
        limits: Limits,
        callbacks: Callbacks,
        tell: Callable[[str, str], None],
    ) -> Generator[Call, Any, list[Ranked]]:
        """The candidates in their last order, with what their sentences are worth."""
        chunks = [self._read(c.document.page_content) for c in candidates]
        scores = [candidate.score for candidate in candidates]
        characters = _READ_PER_SENT * limits.max_tokens
        reading = Reading.begin(query, chunks, scores, characters)
        if self.embeddings is not None and len(reading.chosen):
            embed = Embed(self.embeddings, query, reading.texts, callbacks)
            reading = yield from self._embedded(embed, reading, tell)
        near = [0.0] * len(scores) if self.reranker else reading.document_nearness()
        if self.reranker is None:
            places = sorted(range(len(near)), key=lambda place: -near[place])
            for position, place in enumerate(places):
                scores[place] += sum(self._weights) * rank_score(position)
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], -near[i]))
        values = reading.values(scores)
        return [
            Ranked(candidates[i]._replace(score=scores[i]), chunks[i], values[i])
            for i in order
        ]

    def _embedded(
        self,
        embed: Embed,
        reading: Reading,
        tell: Callable[[str, str], None],
    ) -> Generator[Call, Any, Reading]:
        remembered = self._remembered()
        known = remembered.known(embed.sentences)
        missing = [s for s in dict.fromkeys(embed.sentences) if s not in known]
        try:
            asked, found = yield replace(embed, sentences=missing)
            vectors = as_vectors([asked, *found], rows=1 + len(missing))
            fresh = dict(zip(missing, vectors[1:], strict=True))
            known.update(fresh)
            rows = np.stack([known[sentence] for sentence in embed.sentences])
            reading = reading.with_vectors(vectors[0], rows)
        except Exception as error:
            self._check_skippable(error)
            name = type(self.embeddings).__name__
            tell("read by words alone", f"{name} failed: {_in_words(error)}")
        else:
            remembered.add(fresh)
        return reading

    def _remembered(self) -> SentenceVectors:
        """What is known of the embeddings in use; a copy may have others."""
        if self._vectors.embeddings is not self.embeddings:
            self._vectors = SentenceVectors(self.embeddings, _REMEMBERED_SENTENCES)
        return self._vectors

    def _report_saving(
        self,
        fused: Sequence[Candidate],
        kept: Sequence[Document],
        run_manager: _RunManager,
    ) -> None:
        if self.baseline_docs is None or self.model is None or not kept:
            return
        count = partial(self.counter.count, model=self.model)
        before = [c.document.page_content for c in fused[: self.baseline_docs]]
        avoided = sum(map(count, before)) - sum(count(d.page_content) for d in kept)
        if avoided > 0:
            report_saving(
                "retriever",
                id=f"retriever:{run_manager.run_id}",
                avoided=TokenUsage(input=avoided),
                model=self.model,
                provider=self.provider,
                baseline=f"{self.baseline_docs} whole documents",
                callbacks=run_manager,
            )

    def _check_skippable(self, error: Exception) -> None:
        """Raise what must not be skipped: refused calls, interrupts, mistakes."""
        from langgraph.errors import GraphBubbleUp  # slow to import

        if self.on_error == "raise" or isinstance(error, (LeanError, GraphBubbleUp)):
            raise error

    def _limits(self, **given: Any) -> Limits:
        """What may be sent, by this retriever or by one call of it."""
        unknown = [name for name in given if name not in Limits.__slots__]
        if unknown:
            msg = f"A call takes {', '.join(Limits.__slots__)}, not {unknown[0]!r:.40}."
            raise ConfigurationError(msg)
        own = {name: getattr(self, name) for name in Limits.__slots__}
        return Limits(**{**own, **given})

    @property
    def _retrievers(self) -> list[RetrieverLike]:
        return self.retriever if isinstance(self.retriever, list) else [self.retriever]

    @property
    def _weights(self) -> list[float]:
        return [1.0] * len(self._retrievers) if self.weights is None else self.weights


@cache
def _installed_embeddings() -> Embeddings | None:
    """Those of the `local` extra, loaded once a process."""
    try:
        return local_embeddings()
    except ConfigurationError as error:
        logger.warning("BudgetRetriever reads by words alone. %s", error)
        return None


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, WrongTypeError) else type(error).__name__


def _in_a_sentence(error: ValidationError) -> str:
    """The first of the mistakes pydantic found."""
    first = error.errors(include_url=False)[0]
    name = first["loc"][0] if first["loc"] else "its options"
    if first["type"] == "extra_forbidden":
        takes = ", ".join(BudgetRetriever.model_fields)
        return f"BudgetRetriever has no option {name!s:.40}; it takes {takes}."
    if isinstance(first["input"], VectorStore):
        return "BudgetRetriever takes a retriever: retriever=store.as_retriever()."
    said = first["msg"][:1].lower() + first["msg"][1:]
    return f"BudgetRetriever cannot take {name}: {said}."


def _kind(value: object) -> str:
    return type(value).__name__
