"""What is said in place of an answer where no model may be asked any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable, RunnableConfig

LOOPED = "looped"
"""What is noted on an answer that a loop of tool calls ended in."""

LEVER = "steps"
"""What notes and notices call the step cap."""


def is_last(answer: AIMessage) -> bool:
    """Whether a step cap had an answer be the last one, or stand in for it.

    One that only ended a loop is not: there are steps left.
    """
    notes = answer.response_metadata.get("lean", [])
    done = (note.get("action") for note in notes if note.get("lever") == LEVER)
    return any(action != LOOPED for action in done)


class Stopped(Runnable[Any, AIMessage]):
    """Stands in a model's place and asks nobody.

    Args:
        text: What it says, whatever it is asked.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def invoke(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Say it."""
        return AIMessage(self.text)

    async def ainvoke(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """`invoke` for asyncio."""
        return AIMessage(self.text)

    def stream(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessage]:
        """Say it in one piece."""
        yield AIMessageChunk(content=self.text)

    async def astream(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessage]:
        """`stream` for asyncio."""
        yield AIMessageChunk(content=self.text)
