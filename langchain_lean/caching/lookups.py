"""Looking an answer up, and keeping one: written once, for sync and async.

Each is a generator that yields what must be asked of a store, the embeddings or a
verifier, and is sent what that gave.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.outputs import Generation
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import ensure_config

from langchain_lean.accounting.metered import embeddings_name
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.caching.checks import Veto, differs
from langchain_lean.caching.keeping import Keeping
from langchain_lean.caching.marks import LEVER, Hit
from langchain_lean.caching.prompts import (
    Asked,
    is_sampled,
    is_written_out,
    read_prompt,
)
from langchain_lean.caching.records import (
    CorruptRecordError,
    Record,
    answer_text,
    from_text,
    to_text,
)
from langchain_lean.caching.rules import Decision, Rules
from langchain_lean.caching.stores.base import CacheStore, Item, Near
from langchain_lean.caching.verifying import Candidate, Verify
from langchain_lean.errors import LeanError
from langchain_lean.models import own_call
from langchain_lean.vectors import Floats, as_vectors

logger = logging.getLogger(__name__)

inside: ContextVar[bool] = ContextVar("langchain_lean_cache_verifies", default=False)
"""A verifier is at work, whose own model calls are not to be cached."""

_TRIED = 4  # of the nearest, where the first are vetoed
_COMPARED = 3  # answers that a fresh one is compared with

_ALONE = "only the same prompt would have the same answer"
_NONE_NEAR = "no question that is close enough was asked before"
_EXPLORED = "the model is asked to compare its answer"
_REFUSED = "the verifier refused it"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is asked outside, in both forms."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]


def ask(step: Step) -> Any:
    """Take a step."""
    return step.call()


async def aask(step: Step) -> Any:
    """Take a step, for asyncio."""
    return await step.acall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """Why there is no answer, and what keeping one can use.

    Attributes:
        reason: Why, without anything a user wrote.
        vector: The question's embedding.
        near: What is nearest to it.
        decision: What was decided where answers are accepted by a learned rule.
        started: When the look-up ended, by a monotonic clock, in seconds.
    """

    reason: str
    vector: Floats | None = None
    near: Sequence[Near] = ()
    decision: Decision | None = None
    started: float = field(default_factory=time.perf_counter)

    @property
    def action(self) -> str:
        """In a word, what the cache did."""
        return "explored" if self.decision and self.decision.explored else "missed"


@dataclass(slots=True)
class Health:
    """Whether the cache works, so that a failure is not logged all the time."""

    failing: bool = False

    def works(self) -> None:
        """Take note that it does."""
        self.failing = False

    def fails(self, error: Exception) -> None:
        """Say why it does not, if it did before."""
        # Of other errors, the text may hold what a user wrote.
        why = str(error) if isinstance(error, LeanError) else type(error).__name__
        level = logging.DEBUG if self.failing else logging.WARNING
        logger.log(level, "The cache failed, and the model is asked: %s", why)
        self.failing = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """Looks answers up, and keeps them.

    Attributes:
        store: Where they are.
        embeddings: Make vectors of questions; None for exact hits only.
        threshold: The cosine from which a question is close enough.
        rules: Accept answers instead of the threshold, where an error rate was given.
        vetoes: Say of two questions why they differ.
        verify: Has the last word on a semantic hit.
        same_answer: Whether two answers say the same.
        keeping: Which answers are worth keeping.
        shared: Whether all tenants share one partition.
        prices: What an answer that need not be asked for would have cost.
        ttl: How long an answer is kept, in seconds.
        raises: Whether a store or embeddings that fail raise.
        clock: Seconds since the epoch.
        health: Whether it works.
    """

    store: CacheStore
    embeddings: Embeddings | None
    threshold: float
    rules: Rules | None
    vetoes: Sequence[Veto]
    verify: Verify | None
    same_answer: Callable[[str, str], bool]
    keeping: Keeping
    shared: bool
    prices: PriceBook
    ttl: float | None
    raises: bool
    clock: Callable[[], float]
    health: Health = field(default_factory=Health)

    def asked(self, prompt: str, llm_string: str, tenant: str | None) -> Asked | None:
        """What is asked; None where nothing may be read or written.

        Args:
            prompt: As LangChain gives it to a cache.
            llm_string: The model and its parameters.
            tenant: Whom it is for; of no account where all share.
        """
        if inside.get() or (tenant is None and not self.shared):
            return None
        if is_sampled(llm_string) and not self.keeping.sampled:
            return None
        if not is_written_out(prompt):
            return None
        return read_prompt(
            prompt,
            llm_string,
            tenant=() if self.shared or tenant is None else (tenant,),
            embeddings=""
            if self.embeddings is None
            else embeddings_name(self.embeddings),
        )

    def look_up(self, asked: Asked) -> Generator[Step, Any, Hit | Miss]:
        """Find an answer, or what there is to know about a question without one.

        Raises:
            StorageError: If the store fails, where that raises; as embeddings do.
        """
        try:
            found = yield from self._look_up(asked)
        except Exception as error:
            self._failed(error)
            return Miss(reason=f"the cache failed: {type(error).__name__}")
        self.health.works()
        return found

    def keep(
        self,
        asked: Asked,
        answers: Sequence[Generation],
        miss: Miss,
        *,
        model: str | None,
        provider: str | None,
        tags: Sequence[str],
    ) -> Generator[Step, Any, Record | None]:
        """Keep an answer, and learn from it.

        Args:
            asked: What was asked.
            answers: What the model answered.
            miss: What the look-up said.
            model: The model that answered.
            provider: Its provider.
            tags: What invalidates the answer.

        Returns:
            What is kept; None where it is not worth it, or could not be.

        Raises:
            StorageError: As `look_up`.
        """
        record = Record(
            question=asked.question or "",
            answers=answers,
            model=model,
            provider=provider,
            seconds=time.perf_counter() - miss.started,
            stored=self.clock(),
        )
        if not self.keeping.keeps(answers):
            return None
        try:
            value = to_text(record)
            label = yield from self._label(asked, record, miss)
            vector = miss.vector
            if vector is None and asked.question is not None and self.embeddings:
                # The look-up failed; without a vector nobody asks for it otherwise.
                vector = yield from _vector(self.embeddings, asked.question)
            item = Item(
                key=asked.key,
                value=value,
                label=label,
                vector=vector,
                seconds=self.ttl,
                tags=tuple(tags),
            )
            yield _step(self.store.put, self.store.aput, asked.partition, item)
        except Exception as error:
            self._failed(error)
            return None
        return record

    def _look_up(self, asked: Asked) -> Generator[Step, Any, Hit | Miss]:
        record = yield from self._record(asked.partition, asked.key)
        if record is not None:
            return self._hit(record)
        if asked.question is None or self.embeddings is None:
            return Miss(reason=_ALONE if asked.question is None else _NONE_NEAR)
        vector = yield from _vector(self.embeddings, asked.question)
        if vector is None:
            return Miss(reason=_NONE_NEAR)
        count = self.rules.neighbours if self.rules else _TRIED
        near: list[Near] = yield _step(
            self.store.nearest, self.store.anearest, asked.partition, vector, count
        )
        decision = None
        acceptable = [one for one in near if one.similarity >= self.threshold]
        if self.rules is not None:
            decision = yield from self._decide(self.rules, asked.partition, near)
            acceptable = [decision.candidate] if decision.candidate else []
        reason = _NONE_NEAR
        for candidate in acceptable:
            record = yield from self._record(asked.partition, candidate.key)
            if record is None:
                continue
            veto = differs(asked.question, record.question, self.vetoes)
            if veto is not None:
                decision, reason = None, veto
                continue
            if decision is not None and not decision.serve:
                reason = _EXPLORED if decision.explored else _NONE_NEAR
                continue
            if (yield from self._verified(asked.question, record, candidate)):
                return self._hit(record, candidate.similarity)
            decision, reason = None, _REFUSED
        return Miss(reason=reason, vector=vector, near=near, decision=decision)

    def _hit(self, record: Record, similarity: float | None = None) -> Hit:
        return Hit(
            record=record,
            kind="exact" if similarity is None else "semantic",
            similarity=1.0 if similarity is None else similarity,
            age=max(self.clock() - record.stored, 0.0),
        )

    def _record(self, partition: str, key: str) -> Generator[Step, Any, Record | None]:
        """What is kept under a key; what cannot be read is removed."""
        text = yield _step(self.store.get, self.store.aget, partition, key)
        if text is None:
            return None
        try:
            return from_text(text)
        except CorruptRecordError:
            logger.warning("An answer in the cache could not be read and is removed.")
            yield _step(self.store.remove, self.store.aremove, partition, key)
            return None

    def _decide(
        self, rules: Rules, partition: str, near: Sequence[Near]
    ) -> Generator[Step, Any, Decision]:
        if rules.wants_lessons(partition):
            store = self.store
            lessons = yield _step(store.lessons, store.alessons, partition)
            rules.restore(partition, lessons)
        return rules.decide(partition, near)

    def _verified(
        self, question: str, record: Record, near: Near
    ) -> Generator[Step, Any, bool]:
        if self.verify is None:
            return True
        candidate = Candidate(question, record.question, record.text, near.similarity)
        try:
            return bool((yield _verification(self.verify, candidate)))
        except Exception as error:
            logger.warning("The verifier failed: %s", type(error).__name__)
            return False

    def _label(
        self, asked: Asked, record: Record, miss: Miss
    ) -> Generator[Step, Any, str]:
        """The key of the first entry whose answer says the same, of those nearby.

        A learned rule learns from the comparison.
        """
        if self.rules is None:
            return asked.key
        candidate = miss.decision.candidate if miss.decision else None
        compared: set[str] = set()
        for near in [*([candidate] if candidate else []), *miss.near]:
            if near.label in compared or len(compared) == _COMPARED:
                continue
            compared.add(near.label)
            other = yield from self._record(asked.partition, near.key)
            if other is None:
                continue
            same = partial(self.same_answer, answer_text(record.answers), other.text)
            is_same = bool((yield Step(same, partial(asyncio.to_thread, same))))
            if near is candidate and miss.decision is not None:
                lesson = self.rules.learn(asked.partition, miss.decision, is_same)
                store = self.store
                yield _step(store.teach, store.ateach, asked.partition, [lesson])
            if is_same:
                return near.label
        return asked.key

    def _failed(self, error: Exception) -> None:
        """Go on without the cache, or raise."""
        if self.raises:
            raise error
        self.health.fails(error)


def _vector(
    embeddings: Embeddings, question: str
) -> Generator[Step, Any, Floats | None]:
    """The embedding of a question, of length 1; None where it has no direction."""
    given = yield _step(embeddings.embed_query, embeddings.aembed_query, question)
    [vector] = as_vectors([given], 1)
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else None


def _step(
    call: Callable[..., Any], acall: Callable[..., Awaitable[Any]], *args: Any
) -> Step:
    return Step(partial(call, *args), partial(acall, *args))


def _verification(verify: Verify, candidate: Candidate) -> Step:
    """Ask a verifier; what it calls is the cache's own call, and is not cached."""

    def call() -> Any:
        token = inside.set(True)
        try:
            if isinstance(verify, Runnable):
                return verify.invoke(candidate, own_call(ensure_config(), LEVER))
            return verify(candidate)
        finally:
            inside.reset(token)

    async def acall() -> Any:
        if not isinstance(verify, Runnable):
            return await asyncio.to_thread(call)
        token = inside.set(True)
        try:
            return await verify.ainvoke(candidate, own_call(ensure_config(), LEVER))
        finally:
            inside.reset(token)

    return Step(call, acall)
