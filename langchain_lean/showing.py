"""Showing pieces of an answer in the streams of a graph."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

_WORDS = re.compile(r"(?:\s*\S{1,20}){1,4}\s*|\s+")  # what a piece of a stream holds


def shows_tokens(config: RunnableConfig) -> bool:
    """Whether a graph is streaming tokens (`stream_mode="messages"`) to somebody.

    LangGraph's event streams (version 3) take an answer that was held back whole.

    Args:
        config: The configuration of the node.
    """
    handlers = getattr(config.get("callbacks"), "handlers", ())
    if not handlers or "nostream" in (config.get("tags") or ()):
        return False
    # LangGraph's own `push_message` looks for the same handlers; there is no public
    # way to ask whether it would reach anybody.
    from langgraph.pregel._messages import (
        StreamMessagesHandler,
        StreamMessagesHandlerV2,
    )

    return any(
        isinstance(handler, StreamMessagesHandler)
        and not isinstance(handler, StreamMessagesHandlerV2)
        for handler in handlers
    )


def show(pieces: Iterable[AIMessageChunk], config: RunnableConfig) -> None:
    """Put pieces into the stream of the graph that is running.

    Args:
        pieces: What to show.
        config: The configuration of the node, whose metadata goes with them.
    """
    from langgraph.graph.message import push_message

    token = var_child_runnable_config.set(config)
    try:
        for piece in pieces:
            message: Any = piece
            push_message(message, state_key=None)
    finally:
        var_child_runnable_config.reset(token)


def pieces(message: AIMessage) -> Iterator[AIMessageChunk]:
    """An answer in pieces of a few words; all but its text comes with the last one.

    Args:
        message: The answer, with an id.
    """
    text = message.content
    if isinstance(text, str):
        *words, last = _WORDS.findall(text) or [""]
        for part in words:
            yield AIMessageChunk(content=part, id=message.id)
        message = message.model_copy(update={"content": last})
    yield AIMessageChunk(**message.model_dump(exclude={"type"}))
