"""A cache of answers that finds questions asked in other words."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from functools import cache
from typing import Any, Literal

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.embeddings import Embeddings
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
from langchain_lean.caching.checks import VETOES, Veto
from langchain_lean.caching.flights import Flights
from langchain_lean.caching.keeping import Keeping
from langchain_lean.caching.lookups import Lookups, Miss, Step, aask, ask
from langchain_lean.caching.marks import LEVER, Hit, mark_missed
from langchain_lean.caching.prompts import Asked
from langchain_lean.caching.records import message_of
from langchain_lean.caching.rules import Rules
from langchain_lean.caching.stores import CacheStore, open_store
from langchain_lean.caching.verifying import Verify
from langchain_lean.checks import checked_count, checked_number
from langchain_lean.errors import ConfigurationError
from langchain_lean.lifecycle import keep_until_exit
from langchain_lean.steps import adrive, drive

logger = logging.getLogger(__name__)

__all__ = ["SemanticCache"]


class SemanticCache(BaseCache):
    """Answers what was asked before, in the same words or in others.

    Everything but the question must be the same for an answer to be found: the model
    and its parameters, the tools, the system prompt and its examples, the tenant, the
    earlier turns. Only where there are no earlier turns, and the question is one text
    of at most 1,000 characters, is a question in other words close enough: by the
    cosine between embeddings, unless a veto finds that the two ask for something else
    (another number, date, name; one of them negated). What is embedded is that
    question alone, so a system prompt makes no two questions alike.

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
        threshold: The cosine from which a question is close enough. It depends on the
            embeddings: measure it on questions of your own, or give `max_error_rate`.
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
            a `scope`; tenants never see each other's answers. None: all share.
        vetoes: Functions of two questions that say why they differ, or None.
        verify: Has the last word on a semantic hit: a function of a `Candidate`, or a
            Runnable such as `ask_model(haiku)`.
        tool_calls: Keep answers that call tools, too.
        sampled: Keep those of a model with an explicit temperature above 0, too.
        truncated: Keep those that were cut, too.
        tags: What `invalidate(tag=...)` removes answers by.
        on_error: What to do when the store or the embeddings fail: `miss` asks the
            model, `raise` raises.
        namespace: Keeps applications apart that share a Redis.
        prices: What hits save; those of `PriceBook()` by default. The table is loaded
            at construction, which takes half a second.
        clock: Seconds since the epoch, for tests.

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
        threshold: float = 0.95,
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
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check(embeddings, verify, on_error, tenant_by)
        checked_number("threshold", threshold, 0, 1)
        checked_count("max_entries", max_entries)
        if ttl is not None:
            checked_number("ttl", ttl, 0.001)
        rules = None
        if max_error_rate is not None:
            checked_number("max_error_rate", max_error_rate, 0, 1)
            rules = Rules(max_error_rate)
        if embeddings is None:
            _say_exact_only()
        self.store = open_store(store, namespace=namespace, max_entries=max_entries)
        self.tags = _checked_tags(tags)
        self._tenant_by = tenant_by
        self._lookups = Lookups(
            store=self.store,
            embeddings=None
            if embeddings is None
            else metered(embeddings, source=LEVER),
            threshold=threshold,
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
            clock=clock,
        )
        self._pending = Pending()
        self._flights: Flights[Hit] = Flights()
        price_table()  # takes half a second, which is no time to take from a call
        keep_until_exit(self, early=False)

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
            identity: What all else depends on that the answer depends on: name it, and
                change the name when the answers should change.
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
            tags=(*self.tags, *_checked_tags(tags)),
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
            tags=(*self.tags, *_checked_tags(tags)),
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

    def invalidate(self, *, tag: str) -> int:
        """Remove all answers with a tag, of all tenants.

        An answer that is on its way at that moment may still be kept.

        Args:
            tag: The tag.

        Returns:
            How many there were.

        Raises:
            StorageError: If the store cannot be used.
        """
        return self.store.invalidate(*_checked_tags([tag]))

    async def ainvalidate(self, *, tag: str) -> int:
        """`invalidate` for asyncio."""
        return await self.store.ainvalidate(*_checked_tags([tag]))

    def clear(self, **kwargs: Any) -> None:
        """Remove everything, of all tenants.

        Raises:
            StorageError: If the store cannot be used.
        """
        self.store.clear()
        if self._lookups.rules is not None:
            self._lookups.rules.clear()

    async def aclear(self, **kwargs: Any) -> None:
        """`clear` for asyncio."""
        await self.store.aclear()
        if self._lookups.rules is not None:
            self._lookups.rules.clear()

    def close(self) -> None:
        """Let go of files and connections; the next use opens them again."""
        self.store.close()

    async def aclose(self) -> None:
        """`close` for asyncio."""
        await self.store.aclose()

    def hold(self) -> None:
        """Nothing: a fork leaves no lock of this behind that matters."""

    def release(self) -> None:
        """Nothing, as `hold`."""

    def forget(self) -> None:
        """Begin without calls under way in a forked process."""
        self._pending.forget()
        self._flights.forget()

    def _asked(self, prompt: str, llm_string: str) -> Asked | None:
        """What is asked; None where the tenant is not known for sure."""
        tenant = None
        if self._tenant_by is not None:
            tenant = scoped(self._tenant_by)
            if attributed(self._tenant_by) != tenant:
                return None  # the run is another one's
        return self._lookups.asked(prompt, llm_string, tenant)

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
        mark_missed(answers, action=miss.action, reason=miss.reason)


@cache
def _say_exact_only() -> None:
    """Say it once, and not for every cache."""
    logger.warning(
        "A SemanticCache without embeddings finds only what is asked in the same "
        "words: give it some, such as local_embeddings()."
    )


def _checked_tags(tags: Sequence[str]) -> tuple[str, ...]:
    if isinstance(tags, str) or not all(isinstance(tag, str) and tag for tag in tags):
        msg = 'Tags are a list of texts: tags=["prices"].'
        raise ConfigurationError(msg)
    return tuple(tags)


def _check(
    embeddings: object, verify: object, on_error: object, tenant_by: object
) -> None:
    """Refuse parts of another kind.

    Raises:
        ConfigurationError: If one is.
    """
    if embeddings is not None and not isinstance(embeddings, Embeddings):
        msg = (
            "SemanticCache takes embeddings, such as local_embeddings(), not "
            f"{type(embeddings).__name__}."
        )
        raise ConfigurationError(msg)
    if not (verify is None or callable(verify) or isinstance(verify, Runnable)):
        msg = "Give verify= a function of a Candidate, or ask_model(model)."
        raise ConfigurationError(msg)
    if on_error not in ("miss", "raise"):
        msg = f'on_error= is "miss" or "raise", not {on_error!r:.40}.'
        raise ConfigurationError(msg)
    if tenant_by is not None and not (isinstance(tenant_by, str) and tenant_by):
        msg = 'Give tenant_by= a key of the metadata, such as "user_id".'
        raise ConfigurationError(msg)
