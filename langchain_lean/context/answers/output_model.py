"""A binding around a chat model that does something with its answers."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Mapping,
)
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
from langchain_core.runnables.base import RunnableBindingBase
from pydantic import ConfigDict

from langchain_lean.models import TOOLS, without

_REPLACED = (*TOOLS, "response_format", "ls_structured_output_format")


class Answer(Protocol):
    """What becomes of the pieces of an answer; `done` ends the call."""

    done: bool

    def feed(self, chunk: Any) -> list[Any]:
        """Take a piece, or the whole of an answer; give what is to pass on now."""

    def rest(self) -> list[Any]:
        """What is to pass on at the end."""


class AsItIs:
    """Passes an answer on."""

    done = False

    def feed(self, chunk: Any) -> list[Any]:
        """Pass a piece on."""
        return [chunk]

    def rest(self) -> list[Any]:
        """Add nothing."""
        return []


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it is made.

    Attributes:
        sent: What is sent.
        options: With which options.
        answer: What becomes of its answer.
        streamed: Whether also `invoke` reads a stream.
    """

    sent: LanguageModelInput
    options: Mapping[str, Any]
    answer: Answer
    streamed: bool = False


class OutputModel(RunnableBindingBase[LanguageModelInput, Any]):
    """A model with something done to its answers, in every way it can be called."""

    # Without it, mypy's pydantic plugin sees `**kwargs` beside the field `kwargs`.
    model_config = ConfigDict(extra="forbid")

    def _call(self, input_: LanguageModelInput, options: Mapping[str, Any]) -> Call:
        raise NotImplementedError

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """False: LangChain cannot load it again."""
        return False

    def bind_tools(self, tools: Any, **kwargs: Any) -> Self:
        """The same with tools, bound in the way of its model."""
        return self._derived(lambda model: model.bind_tools(tools, **kwargs))

    def invoke(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Ask the model."""
        call = self._call(input, kwargs)
        if call.streamed:
            return _merged(list(self._pieces(call, config)))
        runnable, config, options = self._unbound(call, config)
        answer = runnable.invoke(call.sent, config, **options)
        return _merged([*call.answer.feed(answer), *call.answer.rest()])

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """`invoke` for asyncio."""
        call = self._call(input, kwargs)
        if call.streamed:
            return _merged([chunk async for chunk in self._apieces(call, config)])
        runnable, config, options = self._unbound(call, config)
        answer = await runnable.ainvoke(call.sent, config, **options)
        return _merged([*call.answer.feed(answer), *call.answer.rest()])

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Ask the model as a stream; an empty chunk may carry a note at its end."""
        yield from self._pieces(self._call(input, kwargs), config)

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """`stream` for asyncio."""
        async with aclosing(self._apieces(self._call(input, kwargs), config)) as pieces:
            async for piece in pieces:
                yield piece

    if not TYPE_CHECKING:
        # A binding hands these to what is bound to it; here they call the above.
        batch = Runnable.batch
        abatch = Runnable.abatch
        batch_as_completed = Runnable.batch_as_completed
        abatch_as_completed = Runnable.abatch_as_completed
        transform = Runnable.transform
        atransform = Runnable.atransform
        stream_events = Runnable.stream_events
        astream_events = Runnable.astream_events

    def _pieces(
        self, call: Call, config: RunnableConfig | None
    ) -> Generator[Any, None, None]:
        runnable, config, options = self._unbound(call, config)
        stream = runnable.stream(call.sent, config, **options)
        with closing(cast("Generator[Any]", stream)) as chunks:
            for chunk in chunks:
                yield from call.answer.feed(chunk)
                if call.answer.done:
                    break
        yield from call.answer.rest()

    async def _apieces(
        self, call: Call, config: RunnableConfig | None
    ) -> AsyncGenerator[Any, None]:
        runnable, config, options = self._unbound(call, config)
        stream = runnable.astream(call.sent, config, **options)
        async with aclosing(cast("AsyncGenerator[Any]", stream)) as chunks:
            async for chunk in chunks:
                for piece in call.answer.feed(chunk):
                    yield piece
                if call.answer.done:
                    break
        for piece in call.answer.rest():
            yield piece

    def _unbound(
        self, call: Call, config: RunnableConfig | None
    ) -> tuple[Runnable[LanguageModelInput, Any], RunnableConfig, dict[str, Any]]:
        """What is called in the end: a binding would not close its stream at once."""
        options = {**self.kwargs, **call.options}
        config, runnable = self._merge_configs(config), self.bound
        while isinstance(runnable, RunnableBinding):
            options = {**runnable.kwargs, **options}
            config, runnable = runnable._merge_configs(config), runnable.bound
        return runnable, config, options

    def _derived(self, derive: Callable[[Any], Any]) -> Self:
        return self.model_copy(update={"bound": inside(self.bound, derive)})


def inside(model: Any, derive: Callable[[Any], Any]) -> Any:
    """What is derived from the model inside of its bindings, with these around it.

    Tools and schemas that are bound there give way to those that are derived.
    """
    if isinstance(model, RunnableBindingBase):
        bound, kwargs = inside(model.bound, derive), without(model.kwargs, _REPLACED)
        return model.model_copy(update={"bound": bound, "kwargs": kwargs})
    return derive(model)


def _merged(pieces: list[Any]) -> Any:
    """The whole answer."""
    first, *others = pieces
    if not isinstance(first, AIMessageChunk):
        return first
    return message_chunk_to_message(add_ai_message_chunks(first, *others))
