"""A cache as two nodes of a graph and the edge between them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cached_property
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_lean.caching.answering.identity import tenant_of
from langchain_lean.caching.answering.pending import Pending
from langchain_lean.caching.answering.report import reported_hit, reported_miss
from langchain_lean.caching.asking import Step, aask, ask
from langchain_lean.caching.lookups import Lookups
from langchain_lean.caching.marks import LEVER, Hit
from langchain_lean.caching.prompts import Asked, prompt_string
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import (
    last_human_index,
    not_taken,
    state_messages,
    tool_calls,
)
from langchain_lean.node import Node
from langchain_lean.showing import pieces, show, shows_tokens
from langchain_lean.steps import adrive, drive


class CacheNodes:
    """Answers at the entry of a graph, and keeps what it answers at its end.

    Made by `SemanticCache.nodes`. What stands between may be anything that ends on an
    answer: retrieval, an agent, several models.

    Args:
        lookups: Finds answers and keeps them.
        pending: What was asked and is not answered yet.
        identity: What names that which stands between.
        tenant_by: What names the tenant; None: all share.
        tags: What invalidates the answers.
        messages_key: Where a state has its messages.
    """

    def __init__(
        self,
        lookups: Lookups,
        pending: Pending,
        identity: str,
        *,
        tenant_by: str | None,
        tags: Sequence[str],
        messages_key: str,
    ) -> None:
        self._lookups = lookups
        self._pending = pending
        self._identity = identity
        self._tenant_by = tenant_by
        self._tags = tuple(tags)
        self._messages_key = messages_key

    @cached_property
    def read(self) -> Runnable[Any, dict[str, Any]]:
        """A node that adds the answer, where there is one."""
        return Node(self._read, self._aread, name="cache")

    @cached_property
    def write(self) -> Runnable[Any, dict[str, Any]]:
        """A node that keeps the answer a state ends on."""
        return Node(self._write, self._awrite, name="keep")

    def route(self, state: Any) -> Literal["hit", "miss"]:
        """An edge behind `read`: whether it gave the answer.

        Args:
            state: The state.
        """
        messages = self._messages(state)
        return "hit" if messages and _is_hit(messages[-1]) else "miss"

    def _read(self, state: Any, config: RunnableConfig) -> dict[str, Any]:
        asked = self._asked(self._messages(state), config)
        return self._update(drive(self._found(asked), ask), config)

    async def _aread(self, state: Any, config: RunnableConfig) -> dict[str, Any]:
        asked = self._asked(self._messages(state), config)
        return self._update(await adrive(self._found(asked), aask), config)

    def _write(self, state: Any, config: RunnableConfig) -> dict[str, Any]:
        drive(self._kept(self._messages(state), config), ask)
        return {}

    async def _awrite(self, state: Any, config: RunnableConfig) -> dict[str, Any]:
        await adrive(self._kept(self._messages(state), config), aask)
        return {}

    def _found(self, asked: Asked | None) -> Generator[Step, Any, Hit | None]:
        """The answer, if there is one; else it is pending."""
        if asked is None:
            return None
        found = yield from self._lookups.look_up(asked)
        if isinstance(found, Hit):
            yield reported_hit(found)
            return found
        self._pending.add(asked, found)
        yield reported_miss()
        return None

    def _update(self, hit: Hit | None, config: RunnableConfig) -> dict[str, Any]:
        if hit is None:
            return {}
        answer = hit.message(self._lookups.prices)
        if shows_tokens(config):
            show(pieces(answer), config)
        return {self._messages_key: [answer]}

    def _kept(
        self, messages: list[BaseMessage], config: RunnableConfig
    ) -> Generator[Step, Any, None]:
        """Keep the last answer, if it is one and not the cache's own.

        One that rests on what tools said is kept only where such answers are.
        """
        end = last_human_index(messages) + 1
        asked = self._asked(messages[:end], config)
        answer = messages[-1] if messages else None
        if asked is None or not isinstance(answer, AIMessage) or _is_hit(answer):
            return
        if not self._lookups.keeping.tool_calls and any(
            map(tool_calls, messages[end:])
        ):
            return
        miss = self._pending.take(asked)
        if miss is None:  # another process has looked it up
            found = yield from self._lookups.look_up(asked)
            if isinstance(found, Hit):
                return
            miss = found
        said = answer.response_metadata
        yield from self._lookups.keep(
            asked,
            [ChatGeneration(message=answer)],
            miss,
            model=said.get("model_name") or said.get("model"),
            provider=said.get("model_provider"),
            tags=self._tags,
        )

    def _asked(
        self, messages: list[BaseMessage], config: RunnableConfig
    ) -> Asked | None:
        return self._lookups.asked(
            prompt_string(messages),
            self._identity,
            tenant=tenant_of(self._tenant_by, config.get("metadata")),
            tags=self._tags,
        )

    def _messages(self, state: Any) -> list[BaseMessage]:
        key, taker = self._messages_key, "The cache"
        messages = state_messages(state, key, taker=taker)
        if messages is None:
            raise ConfigurationError(not_taken(taker, key, state))
        return messages


def _is_hit(message: BaseMessage) -> bool:
    """Whether the cache gave an answer."""
    notes = message.response_metadata.get("lean")
    return any(
        done.get("lever") == LEVER and done.get("action") == "hit"
        for done in (notes if isinstance(notes, list) else ())
    )
