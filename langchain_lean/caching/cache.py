"""A cache of answers that finds questions asked in other words."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseLanguageModel
from langchain_core.outputs import Generation
from langchain_core.runnables import Runnable

from langchain_lean.accounting.attribution import attributed, scoped
from langchain_lean.accounting.metered import metered
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.prices.table import price_table
from langchain_lean.answers import same_answer as says_the_same
from langchain_lean.caching.answering.identity import Identity
from langchain_lean.caching.answering.model import CachedModel
from langchain_lean.caching.answering.nodes import CacheNodes
from langchain_lean.caching.answering.pending import Pending
from langchain_lean.caching.asking import Step, aask, ask
from langchain_lean.caching.at_fork import AtFork, Forgetful
from langchain_lean.caching.checks import VETOES, Veto
from langchain_lean.caching.flights import Flights
from langchain_lean.caching.keeping import Keeping
from langchain_lean.caching.lookups import Lookups, own_tag, tenant_tag
from langchain_lean.caching.marks import LEVER, Hit
from langchain_lean.caching.misses import Miss
from langchain_lean.caching.prompts import Asked
from langchain_lean.caching.records import message_of
from langchain_lean.caching.rules import Rules
from langchain_lean.caching.stores import CacheStore, open_store
from langchain_lean.caching.verifying import Verify
from langchain_lean.checks import checked_count, checked_number
from langchain_lean.errors import ConfigurationError
from langchain_lean.steps import adrive, drive

logger = logging.getLogger(__name__)

__all__ = ["SemanticCache"]

_THRESHOLD = 0.95  # the bench for it: python -m tests.benchmarks.caching_acceptance
_LEAST_RATE = 0.0001


class SemanticCache(BaseCache):
    """Answers what was asked before, in the same words or in others.

    Everything but the question must be the same for an answer to be found: the model
    and its parameters, the tools, the system prompt and its examples, the tenant, the
    earlier turns. Only a question that opens a conversation is close enough in other
    words: by the cosine between embeddings, unless a veto finds that the two ask for
    something else (another number, date, name; one of them negated). What is embedded
    is the last human text alone, so a system prompt makes no two questions alike. That
    text must be the question: one of more than 400 characters, with line breaks, or
    with something behind a colon is taken for a document or instructions with one, and
    found in the same words only. So put instructions and context into the system
    message, or around the cache.

    It is used in three ways:

    - `set_llm_cache(SemanticCache(...))`, or `cache=` of a chat model: LangChain asks
      it before every call, but never in a stream;
    - `cache.model(llm)`: in a chain or as a node of a graph, in streams, too; those who
      ask the same at the same time make one call;
    - `cache.nodes("support desk")`: two nodes around whatever else a graph does.

    A hit says so in `response_metadata["lean"]`: its kind, similarity, age, and what it
    saved. Answers are not kept that call tools, come from a model with an explicit
    temperature above 0, were cut, or were changed by a budget.

    Args:
        embeddings: Make vectors of questions, such as `local_embeddings()`. None: only
            what is asked in the same words is found.
        store: `memory://`, `sqlite:///cache.db` for the processes of a machine, or
            `redis://host:6379/0` (Redis 8, with vector sets) for many; or a store.
        threshold: The cosine from which a question is close enough, 0.95 if not given.
            It depends on the embeddings: look at the `similarity` of hits and misses,
            or give `max_error_rate`. The nearest question is close enough at any
            threshold if it is equal but for white space, case and punctuation.
        max_error_rate: Learn what to accept instead, so that wrong answers stay below
            this share of all requests, with 95 % confidence. The model goes on being
            asked now and then, to compare its answer with the kept one.
        same_answer: Says whether two answers say the same; by default whether they are
            equal but for white space, case and punctuation. Models word their answers
            differently each time: have them compared by what matters to you.
        ttl: Seconds for which an answer is kept; None: as long as there is room.
        max_entries: How many answers are kept; those used least recently leave. In
            Redis that is the limit of each tenant and system prompt.
        tenant_by: What names the tenant in a call's metadata, such as `user_id`, or in
            a `scope`; tenants never see each other's answers, and a call without one
            is not cached. None: all share.
        vetoes: Functions of two questions that say why they differ, or None.
        verify: Has the last word on a semantic hit: a function of a `Candidate`, or a
            Runnable such as `ask_model(haiku)`.
        tool_calls: Keep answers that call tools, too, and in `nodes` those that rest on
            what tools said.
        sampled: Keep those of a model with an explicit temperature above 0, too.
        truncated: Keep those that were cut, too.
        tags: What `invalidate(tag=...)` removes answers by.
        on_error: What to do when the store or the embeddings fail: `miss` asks the
            model, `raise` raises.
        namespace: Keeps applications apart that share a Redis.
        prices: What hits save; those of `PriceBook()` by default. The table is loaded
            at construction, which takes half a second.
        clock: Seconds since the epoch, for tests.
        timer: Seconds that only go forward, by which a model takes the time that a hit
            saves.

    Raises:
        ConfigurationError: If something of this makes no sense.

    Example:
        ```python
        cache = SemanticCache(local_embeddings(), store="sqlite:///cache.db")
        chain = prompt | cache.model(llm)
        ```
    """

    def __init__(
        self,
        embeddings: Embeddings | None = None,
        *,
        store: str | CacheStore = "memory://",
        threshold: float | None = None,
        max_error_rate: float | None = None,
        same_answer: Callable[[str, str], bool] = says_the_same,
        ttl: float | None = None,
        max_entries: int = 100_000,
        tenant_by: str | None = None,
        vetoes: Sequence[Veto] = VETOES,
        verify: Verify | None = None,
        tool_calls: bool = False,
        sampled: bool = False,
        truncated: bool = False,
        tags: Sequence[str] = (),
        on_error: Literal["miss", "raise"] = "miss",
        namespace: str = "lean",
        prices: PriceBook | None = None,
        clock: Callable[[], float] | None = None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        _check(embeddings, verify, on_error, tenant_by)
        _check_vetoes(vetoes)
        checked_count("max_entries", max_entries)
        if ttl is not None:
            checked_number("ttl", ttl, 0.001)
        rules = _rules(max_error_rate, threshold, embeddings)
        if embeddings is None:
            _say_exact_only()
        self.store = open_store(
            store, namespace=namespace, max_entries=max_entries, clock=clock
        )
        self.tags = checked_tags(tags)
        self._tenant_by = tenant_by
        self._lookups = Lookups(
            store=self.store,
            embeddings=None
            if embeddings is None
            else metered(embeddings, source=LEVER),
            threshold=_THRESHOLD if threshold is None else threshold,
            rules=rules,
            vetoes=tuple(vetoes),
            verify=verify,
            same_answer=same_answer,
            keeping=Keeping(
                tool_calls=tool_calls, sampled=sampled, truncated=truncated
            ),
            shared=tenant_by is None,
            prices=prices or PriceBook(),
            ttl=ttl,
            raises=on_error == "raise",
            clock=clock or time.time,
            timer=timer,
        )
        self._pending = Pending()
        self._flights: Flights[Hit] = Flights()
        price_table()  # takes half a second, which is no time to take from a call
        parts: list[Forgetful] = [self._pending, self._flights]
        self._at_fork = AtFork(parts if rules is None else [*parts, rules])

    def model(
        self,
        model: Runnable[Any, Any],
        *,
        identity: str | None = None,
        tags: Sequence[str] = (),
        messages_key: str = "messages",
    ) -> CachedModel:
        """A model that is asked only where there is no answer; streams, too.

        Args:
            model: A chat model, with tools bound to it or not, or `guard.model(...)`;
                or anything else that answers with a message, such as a router or a
                graph, with an `identity`.
            identity: What else the answers depend on, such as a version of the
                documents or a router's models: change it when the answers should
                change. What else stands in a state is part of the key, a
                `configurable` is not. A hit gives a graph's state back with the answer,
                and nothing else that the graph would have added.
            tags: What invalidates its answers, beside the cache's own tags.
            messages_key: Where a state has its messages.

        Raises:
            ConfigurationError: If it is no model, or has no identity.
        """
        return CachedModel(
            self._lookups,
            Identity.of(model, identity),
            self._flights,
            tenant_by=self._tenant_by,
            tags=(*self.tags, *checked_tags(tags)),
            messages_key=messages_key,
        )

    def nodes(
        self,
        identity: str,
        *,
        tags: Sequence[str] = (),
        messages_key: str = "messages",
    ) -> CacheNodes:
        """Nodes that answer at the entry of a graph and keep the answer at its end.

        The messages decide alone: no other key of the state does, and no
        `configurable`.

        Args:
            identity: What names that which stands between; see `model`.
            tags: What invalidates the answers, beside the cache's own tags.
            messages_key: Where a state has its messages.

        Raises:
            ConfigurationError: If the identity is no text.

        Example:
            ```python
            nodes = cache.nodes("help desk, May")
            graph.add_node("cache", nodes.read)
            graph.add_node("keep", nodes.write)
            graph.add_conditional_edges(
                "cache", nodes.route, {"hit": END, "miss": "retrieve"}
            )
            ```
        """
        if not isinstance(identity, str) or not identity:
            msg = "Give nodes() a text that changes whenever answers would."
            raise ConfigurationError(msg)
        return CacheNodes(
            self._lookups,
            self._pending,
            identity,
            tenant_by=self._tenant_by,
            tags=(*self.tags, *checked_tags(tags)),
            messages_key=messages_key,
        )

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The answers to a prompt; None where there are none. LangChain calls it."""
        asked = self._asked(prompt, llm_string)
        if asked is None:
            return None
        return self._answers(asked, drive(self._lookups.look_up(asked), ask))

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """`lookup` for asyncio."""
        asked = self._asked(prompt, llm_string)
        if asked is None:
            return None
        found = await adrive(self._lookups.look_up(asked), aask)
        return self._answers(asked, found)

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep what a model answered. LangChain calls it."""
        asked = self._asked(prompt, llm_string)
        if asked is not None:
            drive(self._keeping(asked, return_val), ask)

    async def aupdate(
        self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE
    ) -> None:
        """`update` for asyncio."""
        asked = self._asked(prompt, llm_string)
        if asked is not None:
            await adrive(self._keeping(asked, return_val), aask)

    def invalidate(self, tag: str | None = None, *, tenant: str | None = None) -> int:
        """Remove all answers with a tag, or all of a tenant.

        An answer that is on its way at that moment may still be kept.

        Args:
            tag: The tag, of all tenants.
            tenant: The tenant, as `tenant_by` names it.

        Returns:
            How many there were.

        Raises:
            ConfigurationError: If it is neither or both.
            StorageError: If the store cannot be used.
        """
        return self.store.invalidate(_one_of(tag, tenant))

    async def ainvalidate(
        self, tag: str | None = None, *, tenant: str | None = None
    ) -> int:
        """`invalidate` for asyncio."""
        return await self.store.ainvalidate(_one_of(tag, tenant))

    def clear(self, **kwargs: Any) -> None:
        """Remove everything, of all tenants.

        Args:
            kwargs: None is known; LangChain's signature has them.

        Raises:
            ConfigurationError: If something is to stay.
            StorageError: If the store cannot be used.
        """
        _check_all_of_it(kwargs)
        self.store.clear()
        if self._lookups.rules is not None:
            self._lookups.rules.clear()

    async def aclear(self, **kwargs: Any) -> None:
        """`clear` for asyncio."""
        _check_all_of_it(kwargs)
        await self.store.aclear()
        if self._lookups.rules is not None:
            self._lookups.rules.clear()

    def close(self) -> None:
        """Let go of files and connections; the next use opens them again."""
        self.store.close()

    async def aclose(self) -> None:
        """`close` for asyncio."""
        await self.store.aclose()

    def _asked(self, prompt: str, llm_string: str) -> Asked | None:
        """What is asked; None where the tenant is not known for sure."""
        tenant = None
        if self._tenant_by is not None:
            tenant = scoped(self._tenant_by)
            if attributed(self._tenant_by) != tenant:
                return None  # the run is another one's
        return self._lookups.asked(prompt, llm_string, tenant=tenant, tags=self.tags)

    def _answers(self, asked: Asked, found: Hit | Miss) -> list[Generation] | None:
        if isinstance(found, Hit):
            return found.answers(self._lookups.prices)
        self._pending.add(asked, found)
        return None

    def _keeping(
        self, asked: Asked, answers: Sequence[Generation]
    ) -> Generator[Step, Any, None]:
        """Keep an answer that was looked up before, here or elsewhere."""
        miss = self._pending.take(asked)
        if miss is None:
            found = yield from self._lookups.look_up(asked)
            if isinstance(found, Hit):
                return
            miss = found
        message = message_of(answers)
        said = message.response_metadata if message else {}
        yield from self._lookups.keep(
            asked,
            answers,
            miss,
            model=said.get("model_name") or said.get("model"),
            provider=said.get("model_provider"),
            tags=self.tags,
        )
        if message is not None:
            miss.mark(message)


@cache
def _say_exact_only() -> None:
    """Say it once, and not for every cache."""
    logger.warning(
        "A SemanticCache without embeddings finds only what is asked in the same "
        "words: give it some, such as local_embeddings()."
    )


def _rules(
    max_error_rate: float | None, threshold: float | None, embeddings: object
) -> Rules | None:
    """The rules to learn; None where a threshold decides.

    Raises:
        ConfigurationError: If both are given, or something of it makes no sense.
    """
    if threshold is not None:
        checked_number("threshold", threshold, 0, 1)
    if max_error_rate is None:
        return None
    if threshold is not None or embeddings is None:
        msg = (
            "With max_error_rate=, what is close enough is learned: give it "
            "embeddings, and no threshold=."
        )
        raise ConfigurationError(msg)
    return Rules(checked_number("max_error_rate", max_error_rate, _LEAST_RATE, 1))


def checked_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags, as they are kept.

    Raises:
        ConfigurationError: If they are no list of texts.
    """
    if isinstance(tags, str) or not all(isinstance(tag, str) and tag for tag in tags):
        msg = 'Tags are a list of texts: tags=["prices"].'
        raise ConfigurationError(msg)
    return tuple(tags)


def _one_of(tag: str | None, tenant: str | None) -> str:
    """The tag in the store of one or the other."""
    if isinstance(tag, str) and tag and tenant is None:
        return own_tag(tag)
    if tag is None and tenant is not None and str(tenant):
        return tenant_tag(str(tenant))
    msg = 'Say what to remove: invalidate(tag="prices") or invalidate(tenant="ada").'
    raise ConfigurationError(msg)


def _check_all_of_it(options: Mapping[str, Any]) -> None:
    if options:
        msg = (
            "clear() removes everything: for a part of it there is "
            'invalidate(tag="prices") and invalidate(tenant="ada").'
        )
        raise ConfigurationError(msg)


def _check_vetoes(vetoes: object) -> None:
    if not isinstance(vetoes, Sequence) or not all(map(callable, vetoes)):
        msg = (
            "Give vetoes= functions of two questions, such as (*VETOES, mine); () for "
            "none."
        )
        raise ConfigurationError(msg)


def _check(
    embeddings: object, verify: object, on_error: object, tenant_by: object
) -> None:
    """Refuse parts of another kind.

    Raises:
        ConfigurationError: If one is.
    """
    if embeddings is not None and not isinstance(embeddings, Embeddings):
        msg = (
            "SemanticCache takes embeddings, such as what local_embeddings() gives, "
            f"not {type(embeddings).__name__}."
        )
        raise ConfigurationError(msg)
    model = isinstance(verify, BaseLanguageModel)
    if model or not (callable(verify) or isinstance(verify, Runnable | None)):
        msg = "Give verify= a function of a Candidate, or ask_model(model)."
        raise ConfigurationError(msg)
    if on_error not in ("miss", "raise"):
        msg = f'on_error= is "miss" or "raise", not {on_error!r:.40}.'
        raise ConfigurationError(msg)
    if tenant_by is not None and not (isinstance(tenant_by, str) and tenant_by):
        msg = 'Give tenant_by= a key of the metadata, such as "user_id".'
        raise ConfigurationError(msg)
