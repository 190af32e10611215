"""A policy fitted to answers that were judged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Self

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage
from numpy.typing import NDArray

from langchain_lean.checks import checked_number
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import tool_calls
from langchain_lean.routing.learning.calibrated import Calibration, decided
from langchain_lean.routing.learning.features import feature_names, features_of
from langchain_lean.routing.learning.files import Stored, read, write
from langchain_lean.routing.learning.fitting import Weights, check_kinds, fit_weights
from langchain_lean.routing.learning.outcomes import (
    Outcomes,
    Row,
    answer_of,
    digest_of,
    messages_of,
    rows_of,
    texts_of,
)
from langchain_lean.routing.learning.vectors import (
    GivenEmbeddings,
    embeddings_of,
    name_of,
    same_embeddings,
    unit_vectors,
)
from langchain_lean.routing.verdict import EscalationPolicy, Verdict
from langchain_lean.vectors import Floats


@dataclass(frozen=True, eq=False)
class LearnedPolicy(EscalationPolicy):
    """Escalates where an answer is probably not good, as learned from judged ones.

    It is made by `fit` or `load`. Fitted on answers it judges answers; fitted on
    questions alone it screens questions, which tells less. It reads the last human text
    and the answer: their embeddings, and what can be seen of any text without
    understanding it, such as its length, an end that breaks off, or calculations that
    do not hold (see `QUESTION_FEATURES` and `ANSWER_FEATURES`).

    Attributes:
        weights: What was learned.
        embeddings: Embeds questions and answers; None if they are not embedded.
        threshold: The lowest score that is good enough.
        calibration: What the threshold promises, where `calibrate` has set it.
        fitted_on: Hashes of the rows it was fitted on.

    Example:
        ```python
        policy = LearnedPolicy.fit(logged_outcomes(ledger, model="claude-3-5-haiku"))
        policy = calibrate(policy, other_outcomes, max_bad=0.05)
        router = EscalationRouter({"haiku": haiku, "sonnet": sonnet}, policy=policy)
        ```
    """

    weights: Weights = field(repr=False)
    embeddings: Embeddings | None = field(repr=False)
    threshold: float
    calibration: Calibration | None
    fitted_on: NDArray[np.uint64] = field(repr=False)

    @classmethod
    def fit(
        cls,
        outcomes: Outcomes,
        *,
        embeddings: GivenEmbeddings = None,
        threshold: float = 0.5,
    ) -> Self:
        """Learn from judged answers; a few hundred are enough to begin with.

        Args:
            outcomes: Mappings with `question`, `answer` and `good`, see `Outcome`, or a
                DataFrame with these columns. Without answers it learns from questions.
                With `strong_good` in all of them, an answer is also good enough where
                the strong model's is not good: the score is then the probability that
                asking the strong model gains nothing.
            embeddings: Embed texts; those of the `local` extra if not given, or False
                to do without.
            threshold: The lowest score that is good enough; `calibrate` finds one.

        Raises:
            ConfigurationError: If the outcomes cannot be read, are too few or all
                alike, or an extra is not installed.
        """
        checked_number("threshold", threshold, 0, 1)
        rows = rows_of(outcomes)
        enough = np.array([row.good or row.strong_good is False for row in rows])
        check_kinds(enough)
        texts = [row.texts for row in rows]
        embed, found = embeddings_of(embeddings), []
        if embed is not None:
            found = embed.embed_documents([*chain.from_iterable(texts)])
        vectors = unit_vectors(found, len(rows))
        weights = fit_weights(features_of(texts), vectors, enough)
        fitted_on = np.array([digest_of(each) for each in texts], np.uint64)
        return cls(weights, embed, threshold, None, fitted_on)

    @property
    def reads_answers(self) -> bool:
        """Whether it was fitted on answers, and not on questions alone."""
        return len(self.weights.features) == len(feature_names(answers=True))

    @property
    def screens(self) -> bool:
        """Whether it can decide before there is an answer: fitted on questions."""
        return not self.reads_answers

    def score(
        self,
        question: str | Sequence[BaseMessage],
        answer: str | AIMessage | None = None,
    ) -> float:
        """The probability that the cheap answer is good.

        Args:
            question: A text, or messages of which the last human one counts.
            answer: The cheap answer; not looked at if fitted on questions alone.

        Raises:
            ConfigurationError: If the policy was fitted on answers and none is given,
                or with other embeddings.
        """
        texts = self._read(messages_of(question), answer_of(answer))
        return float(self._ask([texts])[0])

    async def ascore(
        self,
        question: str | Sequence[BaseMessage],
        answer: str | AIMessage | None = None,
    ) -> float:
        """`score` for asyncio."""
        texts = self._read(messages_of(question), answer_of(answer))
        return float((await self._aask([texts]))[0])

    def scores(self, outcomes: Outcomes) -> Floats:
        """The score of each outcome, with one call to the embeddings for all."""
        return self.row_scores(rows_of(outcomes))

    def row_scores(self, rows: Sequence[Row]) -> Floats:
        """`scores` of outcomes that were read."""
        return self._ask([self._read(row.messages, row.answer) for row in rows])

    def seen(self, rows: Sequence[Row]) -> int:
        """How many of some rows it was fitted on."""
        read = [self._read(row.messages, row.answer) for row in rows]
        digests = np.array([digest_of(texts) for texts in read], np.uint64)
        return int(np.isin(digests, self.fitted_on).sum())

    def screen(self, messages: Sequence[BaseMessage]) -> Verdict | None:
        """Whether to ask the stronger model at once, if fitted on questions."""
        if self.reads_answers:
            return None
        return self._verdict(self._ask([texts_of(messages, None)]))

    async def ascreen(self, messages: Sequence[BaseMessage]) -> Verdict | None:
        """`screen` for asyncio."""
        if self.reads_answers:
            return None
        return self._verdict(await self._aask([texts_of(messages, None)]))

    def judge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        """Whether an answer is not good enough, if fitted on answers.

        Returns:
            The verdict; None for an answer that calls tools.
        """
        if not self.reads_answers or tool_calls(answer):
            return None
        return self._verdict(self._ask([texts_of(messages, answer)]))

    async def ajudge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        """`judge` for asyncio."""
        if not self.reads_answers or tool_calls(answer):
            return None
        return self._verdict(await self._aask([texts_of(messages, answer)]))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy to a file: JSON and arrays, no pickle, no text of a row.

        Args:
            path: Where, such as `policy.npz`; what is there is replaced.
        """
        name = None if self.embeddings is None else name_of(self.embeddings)
        parts = (self.weights, name, self.threshold, self.calibration, self.fitted_on)
        write(path, Stored(*parts))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, embeddings: GivenEmbeddings = None
    ) -> Self:
        """Read a policy that `save` wrote.

        Args:
            path: The file.
            embeddings: Those it was fitted with; those of the `local` extra need not be
                given.

        Raises:
            StorageError: If the file is damaged, or of another version.
            ConfigurationError: If the embeddings are others.
        """
        stored = read(path)
        dimensions = stored.weights.embeddings.shape[1]
        embed = same_embeddings(stored.embeddings, embeddings, dimensions)
        parts = (stored.threshold, stored.calibration, stored.fitted_on)
        return cls(stored.weights, embed, *parts)

    def _read(
        self, messages: Sequence[BaseMessage], answer: AIMessage | None
    ) -> tuple[str, ...]:
        if self.reads_answers and answer is None:
            msg = "The policy was fitted on answers: give it the answer, too."
            raise ConfigurationError(msg)
        return texts_of(messages, answer if self.reads_answers else None)

    def _ask(self, texts: Sequence[tuple[str, ...]]) -> Floats:
        found: list[list[float]] = []
        if self.embeddings is not None:
            found = self.embeddings.embed_documents([*chain.from_iterable(texts)])
        return self._probabilities(texts, found)

    async def _aask(self, texts: Sequence[tuple[str, ...]]) -> Floats:
        found: list[list[float]] = []
        if self.embeddings is not None:
            flat = [*chain.from_iterable(texts)]
            found = await self.embeddings.aembed_documents(flat)
        return self._probabilities(texts, found)

    def _probabilities(
        self, texts: Sequence[tuple[str, ...]], found: Sequence[Sequence[float]]
    ) -> Floats:
        vectors = unit_vectors(found, len(texts))
        if vectors.shape[1:] != self.weights.embeddings.shape:
            msg = (
                f"The policy was fitted with embeddings of other dimensions: "
                f"{self.weights.embeddings.shape[1]}, not {vectors.shape[2]}."
            )
            raise ConfigurationError(msg)
        return self.weights.probabilities(features_of(texts), vectors)

    def _verdict(self, scores: Floats) -> Verdict:
        return decided(Verdict(False, float(scores[0])), self.threshold)
