"""Looking an answer up, and keeping one: written once, for sync and async.

Each is a generator that yields what must be asked of a store, the embeddings or a
verifier, and is sent what that gave.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.outputs import Generation

from langchain_lean.accounting.metered import embeddings_name
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.answers import same_answer as same_words
from langchain_lean.caching.asking import Step, embedding, is_bypassed, verification
from langchain_lean.caching.checks import Veto, differs
from langchain_lean.caching.health import Health, in_short
from langchain_lean.caching.keeping import Keeping
from langchain_lean.caching.marks import Hit
from langchain_lean.caching.misses import Miss
from langchain_lean.caching.prompts import (
    Asked,
    is_sampled,
    is_written_out,
    read_prompt,
    with_schemas,
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
from langchain_lean.vectors import Floats

logger = logging.getLogger(__name__)

_TRIED = 4  # of the nearest, where the first are vetoed
_COMPARED = 3  # answers that a fresh one is compared with
_SAME_WORDS_FROM = 0.5  # cosine of texts that may differ in case and punctuation only

_ALONE = "only the same prompt would have the same answer"
_NONE_NEAR = "no question that is close enough was asked before"
_EXPLORED = "the model is asked to compare its answer"
_REFUSED = "the verifier refused it"
_NO_TENANT = (
    "A call without a tenant is not cached: say whom it is for, in the metadata of the "
    "call or with scope(), under the name that tenant_by= has."
)
_NOT_WRITTEN_OUT = (
    "A call is not cached whose messages or options hold something without a form of "
    "its own, such as a Python object or a local class."
)
_NOT_IN_JSON = "An answer is not cached that holds what JSON does not, such as bytes."
_SAMPLED = (
    "A call with a temperature above 0 is not cached: give SemanticCache(sampled=True) "
    "if one of its answers is as good as another."
)


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
        timer: Seconds that only go forward.
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
    timer: Callable[[], float]
    health: Health = field(default_factory=Health)

    def asked(
        self,
        prompt: str,
        llm_string: str,
        *,
        tenant: str | None,
        tags: Sequence[str],
    ) -> Asked | None:
        """What is asked; None where nothing may be read or written.

        Args:
            prompt: As LangChain gives it to a cache.
            llm_string: The model and its parameters.
            tenant: Whom it is for; of no account where all share.
            tags: What invalidates the answer.
        """
        llm_string = with_schemas(llm_string)
        if is_bypassed(self.store):
            return None
        if not is_written_out(prompt, llm_string):
            self.health.says_once(_NOT_WRITTEN_OUT)
            return None
        if tenant is None and not self.shared:
            self.health.says_once(_NO_TENANT)
            return None
        if is_sampled(llm_string) and not self.keeping.sampled:
            self.health.says_once(_SAMPLED)
            return None
        embeddings = self.embeddings
        return read_prompt(
            prompt,
            llm_string,
            tenant=None if self.shared else tenant,
            embeddings="" if embeddings is None else embeddings_name(embeddings),
            tags=tags,
        )

    def look_up(self, asked: Asked) -> Generator[Step, Any, Hit | Miss]:
        """Find an answer, or what there is to know about a question without one.

        Raises:
            StorageError: If the store fails, where that raises; as embeddings do.
        """
        try:
            found = yield from self._look_up(asked)
        except Exception as error:
            self._failed("be read, and the model is asked", error)
            reason = f"the cache failed: {type(error).__name__}"
            return Miss(reason=reason, failed=True, started=self.timer())
        self.health.works("be read, and the model is asked")
        if isinstance(found, Miss):
            return replace(found, started=self.timer())
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
        streamed: bool = False,
    ) -> Generator[Step, Any, Record | None]:
        """Keep an answer, and learn from it.

        Args:
            asked: What was asked.
            answers: What the model answered.
            miss: What the look-up said.
            model: The model that answered.
            provider: Its provider.
            tags: What invalidates the answer, beside its tenant.
            streamed: It came in pieces.

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
            seconds=self.timer() - miss.started,
            stored=self.clock(),
        )
        if miss.failed or not self.keeping.keeps(answers, streamed=streamed):
            return None
        try:
            value = to_text(record)
        except (TypeError, ValueError):
            self.health.says_once(_NOT_IN_JSON)
            return None
        tenants = [] if asked.tenant is None else [tenant_tag(asked.tenant)]
        try:
            label = yield from self._label(asked, record, miss)
            item = Item(
                key=asked.key,
                value=value,
                label=label,
                vector=miss.vector,
                seconds=self.ttl,
                tags=(*map(own_tag, tags), *tenants),
            )
            yield Step.of(self.store.put, self.store.aput, asked.partition, item)
        except Exception as error:
            self._failed("keep an answer", error)
            return None
        self.health.works("keep an answer")
        return record

    def _look_up(self, asked: Asked) -> Generator[Step, Any, Hit | Miss]:
        record = yield from self._record(asked.partition, asked.key)
        if record is not None:
            return self._hit(record)
        question = asked.question
        if question is None or self.embeddings is None:
            return Miss(reason=_ALONE if question is None else _NONE_NEAR)
        vector = yield from embedding(self.embeddings, question)
        if vector is None:
            return Miss(reason=_NONE_NEAR)
        store, count = self.store, self.rules.neighbours if self.rules else _TRIED
        near: list[Near] = yield Step.of(
            store.nearest, store.anearest, asked.partition, vector, count
        )
        if self.rules is not None:
            return (yield from self._by_rule(self.rules, asked, question, vector, near))
        return (yield from self._by_threshold(asked, question, vector, near))

    def _by_threshold(
        self, asked: Asked, question: str, vector: Floats, near: Sequence[Near]
    ) -> Generator[Step, Any, Hit | Miss]:
        """Serve the nearest that is close enough, or in the same words."""
        reason = _NONE_NEAR
        for place, candidate in enumerate(near):
            close = candidate.similarity >= self.threshold
            if not close and (place or candidate.similarity < _SAME_WORDS_FROM):
                break
            record = yield from self._record(asked.partition, candidate.key)
            if record is None:
                continue
            if not close and not same_words(question, record.question):
                break
            reason = yield from self._refusal(question, record, candidate)
            if not reason:
                return self._hit(record, candidate.similarity)
        return Miss(reason=reason, vector=vector, near=near)

    def _by_rule(
        self,
        rules: Rules,
        asked: Asked,
        question: str,
        vector: Floats,
        near: Sequence[Near],
    ) -> Generator[Step, Any, Hit | Miss]:
        """Have the rule that was learned decide, where words are not the same."""
        record = yield from self._in_same_words(asked.partition, question, near)
        if record is not None:
            return self._hit(record, near[0].similarity)
        decision = yield from self._decide(rules, asked.partition, near)
        candidate = decision.candidate
        if candidate is not None:
            record = yield from self._record(asked.partition, candidate.key)
        if candidate is None or record is None:
            return Miss(reason=_NONE_NEAR, vector=vector, near=near)
        if not decision.serve:
            veto = differs(question, record.question, self.vetoes)
            reason = veto or (_EXPLORED if decision.explored else _NONE_NEAR)
            # What is vetoed is never served, and would teach the rule another world.
            taught = None if veto else decision
            return Miss(reason=reason, vector=vector, near=near, decision=taught)
        reason = yield from self._refusal(question, record, candidate)
        if reason:
            return Miss(reason=reason, vector=vector, near=near)
        return self._hit(record, candidate.similarity)

    def _in_same_words(
        self, partition: str, question: str, near: Sequence[Near]
    ) -> Generator[Step, Any, Record | None]:
        """The nearest, if it is the same but for white space, case and punctuation."""
        if not near or near[0].similarity < _SAME_WORDS_FROM:
            return None
        record = yield from self._record(partition, near[0].key)
        if record is None or not same_words(question, record.question):
            return None
        refused = yield from self._refusal(question, record, near[0])
        return None if refused else record

    def _refusal(
        self, question: str, record: Record, near: Near
    ) -> Generator[Step, Any, str]:
        """Why an answer that is near may not be served; empty if it may."""
        veto = differs(question, record.question, self.vetoes)
        if veto is not None or self.verify is None:
            return veto or ""
        candidate = Candidate(question, record.question, record.text, near.similarity)
        try:
            verdict = yield verification(self.store, self.verify, candidate)
        except Exception as error:
            logger.warning("The verifier failed: %s", in_short(error))
            return "the verifier failed"
        return "" if self._is_true(verdict, "verify=") else _REFUSED

    def _is_true(self, said: object, option: str) -> bool:
        """Whether a function said yes; what is no truth value is none of ours."""
        if not isinstance(said, bool | np.bool_):
            kind = type(said).__name__
            self.health.says_once(f"{option} says True or False, not {kind}.")
            return False
        return bool(said)

    def _hit(self, record: Record, similarity: float | None = None) -> Hit:
        return Hit(
            record=record,
            kind="exact" if similarity is None else "semantic",
            similarity=1.0 if similarity is None else similarity,
            age=max(self.clock() - record.stored, 0.0),
        )

    def _record(self, partition: str, key: str) -> Generator[Step, Any, Record | None]:
        """What is kept under a key; what cannot be read is removed."""
        store = self.store
        text = yield Step.of(store.get, store.aget, partition, key)
        if text is None:
            return None
        try:
            return from_text(text)
        except CorruptRecordError:
            logger.warning("An answer in the cache could not be read and is removed.")
            yield Step.of(store.remove, store.aremove, partition, key)
            return None

    def _decide(
        self, rules: Rules, partition: str, near: Sequence[Near]
    ) -> Generator[Step, Any, Decision]:
        if rules.wants_lessons(partition):
            store = self.store
            lessons = yield Step.of(store.lessons, store.alessons, partition)
            rules.restore(partition, lessons)
        return rules.decide(partition, near)

    def _label(
        self, asked: Asked, record: Record, miss: Miss
    ) -> Generator[Step, Any, str]:
        """The key of the first entry whose answer says the same, of those nearby.

        A learned rule learns from the comparison.
        """
        if self.rules is None:
            return asked.key
        candidate = miss.decision.candidate if miss.decision else None
        answer = answer_text(record.answers)
        compared: set[str] = set()
        for near in [*([candidate] if candidate else []), *miss.near]:
            if near.label in compared or len(compared) == _COMPARED:
                continue
            compared.add(near.label)
            other = yield from self._record(asked.partition, near.key)
            if other is None:
                continue
            said = yield Step.in_thread(self.same_answer, answer, other.text)
            same = self._is_true(said, "same_answer=")
            if near is candidate and miss.decision is not None:
                lesson = self.rules.learn(asked.partition, miss.decision, same)
                store = self.store
                yield Step.of(store.teach, store.ateach, asked.partition, [lesson])
            if same:
                return near.label
        return asked.key

    def _failed(self, verb: str, error: Exception) -> None:
        """Go on without the cache, or raise."""
        if self.raises:
            raise error
        self.health.fails(verb, error)


def own_tag(tag: str) -> str:
    """A tag of an application, which is never one of a tenant."""
    return f"tag:{tag}"


def tenant_tag(tenant: str) -> str:
    """What all answers of a tenant are tagged with."""
    return f"tenant:{tenant}"
