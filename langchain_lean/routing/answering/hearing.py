"""Hearing the tokens of a model that has no stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig

from langchain_lean.accounting.recording.events import TRIAL
from langchain_lean.routing.answering.held import Held


class Ear(BaseCallbackHandler):
    """Feeds what a model says to whoever holds it back.

    Args:
        trial: Names the answer; calls for something else are not heard.
        held: What has come of it.
        feed: Takes a piece.
    """

    run_inline = True

    def __init__(
        self, trial: str, held: Held, feed: Callable[[BaseMessage], object]
    ) -> None:
        self._trial = trial
        self._held = held
        self._feed = feed
        self._run: UUID | None = None

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Hear the call, and forget an earlier one that was in vain."""
        said = metadata or {}
        if said.get(TRIAL) == self._trial and "lc_source" not in said:
            self._run = run_id
            self._held.restart()

    def on_llm_new_token(
        self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any
    ) -> None:
        """Hear a piece."""
        if run_id == self._run and isinstance(chunk, ChatGenerationChunk):
            self._feed(chunk.message)


def hears(config: RunnableConfig, ear: Ear) -> None:
    """Put an ear among the callbacks of a call."""
    callbacks = config.get("callbacks")
    if isinstance(callbacks, BaseCallbackManager):
        callbacks = callbacks.copy()
        callbacks.add_handler(ear, inherit=True)
        config["callbacks"] = callbacks
