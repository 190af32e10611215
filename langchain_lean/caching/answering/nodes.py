"""A cache as two nodes of a graph and the edge between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from langchain_lean.accounting.attribution import attributed
from langchain_lean.caching.answering.pending import Pending
from langchain_lean.caching.answering.report import report_hit, report_miss
from langchain_lean.caching.asking import aask, ask
from langchain_lean.caching.lookups import Lookups
from langchain_lean.caching.marks import LEVER, Hit, pieces
from langchain_lean.caching.misses import Miss
from langchain_lean.caching.prompts import Asked, prompt_string
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import last_human_index, not_taken, state_messages
from langchain_lean.showing import show, shows_tokens
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
        return RunnableLambda(self._read, self._aread, name="cache")

    @cached_property
    def write(self) -> Runnable[Any, dict[str, Any]]:
        """A node that keeps the answer a state ends on."""
        return RunnableLambda(self._write, self._awrite, name="keep")

    def route(self, state: Any) -> Literal["hit", "miss"]:
        """An edge behind `read`: whether it gave the answer.

        Args:
            state: The state.
        """
        messages = self._messages(state)
        notes = messages[-1].response_metadata.get("lean") if messages else None
        hit = any(
            done.get("lever") == LEVER and done.get("action") == "hit"
            for done in (notes if isinstance(notes, list) else ())
        )
        return "hit" if hit else "miss"

    def _read(self, state: Any, config: RunnableConfig) -> dict[str, Any]:
        asked = self._asked(self._messages(state), config)
        if asked is None:
            return {}
        return self._update(asked, drive(self._lookups.look_up(asked), ask), config)

    async def _aread(self, state: Any, config: RunnableConfig) -> dict[str, Any]:
        asked = self._asked(self._messages(state), config)
        if asked is None:
            return {}
        found = await adrive(self._lookups.look_up(asked), aask)
        return self._update(asked, found, config)

    def _write(self, state: Any, config: RunnableConfig) -> dict[str, Any]:
        steps = self._keeping(self._messages(state), config)
        if steps is not None:
            drive(steps, ask)
        return {}

    async def _awrite(self, state: Any, config: RunnableConfig) -> dict[str, Any]:
        steps = self._keeping(self._messages(state), config)
        if steps is not None:
            await adrive(steps, aask)
        return {}

    def _update(
        self, asked: Asked, found: Hit | Miss, config: RunnableConfig
    ) -> dict[str, Any]:
        if isinstance(found, Miss):
            self._pending.add(asked, found)
            report_miss()
            return {}
        answer = report_hit(found, self._lookups.prices)
        if shows_tokens(config):
            show(pieces(answer), config)
        return {self._messages_key: [answer]}

    def _keeping(self, messages: list[BaseMessage], config: RunnableConfig) -> Any:
        """The steps that keep the last answer; None where there is none to keep."""
        asked = self._asked(messages[: last_human_index(messages) + 1], config)
        answer = messages[-1] if messages else None
        if asked is None or not isinstance(answer, AIMessage):
            return None
        miss = self._pending.take(asked)
        if miss is None:
            return None
        said = answer.response_metadata
        return self._lookups.keep(
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
        prompt = prompt_string(messages)
        tenant = self._tenant_by and attributed(self._tenant_by, config.get("metadata"))
        return self._lookups.asked(prompt, self._identity, tenant)

    def _messages(self, state: Any) -> list[BaseMessage]:
        key, taker = self._messages_key, "The cache"
        messages = state_messages(state, key, taker=taker)
        if messages is None:
            raise ConfigurationError(not_taken(taker, key, state))
        return messages
