"""A Runnable whose every call is a run of its own, in all four forms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig


class OwnRun(Runnable[Any, Any]):
    """What a Runnable does around its work: it begins a run, and ends it.

    A subclass does the work in `_invoke`, `_ainvoke`, `_stream` and `_astream`, which
    are given the manager of the run and the configuration of what they call.
    """

    def invoke(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call it."""
        return self._call_with_config(self._invoke, input, config, **kwargs)

    async def ainvoke(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """`invoke` for asyncio."""
        return await self._acall_with_config(self._ainvoke, input, config, **kwargs)

    def stream(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Call it as a stream; what it notes comes with a last empty chunk."""
        yield from self._transform_stream_with_config(
            iter([input]), self._stream, config, **kwargs
        )

    async def astream(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """`stream` for asyncio."""

        async def only() -> AsyncIterator[Any]:
            yield input

        async for chunk in self._atransform_stream_with_config(
            only(), self._astream, config, **kwargs
        ):
            yield chunk

    @abstractmethod
    def _invoke(
        self, given: Any, run_manager: Any, config: RunnableConfig, **kwargs: Any
    ) -> Any: ...

    @abstractmethod
    async def _ainvoke(
        self, given: Any, run_manager: Any, config: RunnableConfig, **kwargs: Any
    ) -> Any: ...

    @abstractmethod
    def _stream(
        self,
        inputs: Iterator[Any],
        run_manager: Any,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[Any]: ...

    @abstractmethod
    def _astream(
        self,
        inputs: AsyncIterator[Any],
        run_manager: Any,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[Any]: ...


class NodeRun(OwnRun):
    """An `OwnRun` that takes a prompt as a model does, or a state as a node does."""

    def stream(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Answer a prompt as a stream; what is noted comes with a last empty chunk.

        A state is answered in one piece; a graph streams what its node shows.
        """
        if is_prompt(input):
            yield from super().stream(input, config, **kwargs)
        else:
            yield self.invoke(input, config, **kwargs)

    async def astream(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """`stream` for asyncio."""
        if not is_prompt(input):
            yield await self.ainvoke(input, config, **kwargs)
            return
        async for chunk in super().astream(input, config, **kwargs):
            yield chunk


def is_prompt(given: Any) -> bool:
    """Whether something is what a chat model takes, and no state of a graph."""
    return isinstance(given, str | PromptValue | Sequence)
