"""A model that is asked only where the cache has no answer."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from typing import Any, Self, cast

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
)
from langchain_core.messages import AIMessage, BaseMessage, message_chunk_to_message
from langchain_core.messages.ai import AIMessageChunk, add_ai_message_chunks
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_lean.caching.answering.identity import Identity, beside, tenant_of
from langchain_lean.caching.answering.report import reported_hit, reported_miss
from langchain_lean.caching.asking import Step, aask, ask, bypass
from langchain_lean.caching.flights import Flights, Landing, Seat
from langchain_lean.caching.lookups import Lookups
from langchain_lean.caching.marks import Hit
from langchain_lean.caching.misses import Miss
from langchain_lean.caching.prompts import Asked, prompt_string
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import not_taken, prompt_messages, state_messages
from langchain_lean.own_run import NodeRun, is_prompt
from langchain_lean.showing import pieces, show, shows_tokens
from langchain_lean.steps import adrive, drive

_REMEMBERS = (
    "A graph with a checkpointer of its own is not cached in a thread, whose turns the "
    "cache does not see: put the cache inside of it, with cache.nodes(...)."
)
_WAITS = 2  # for others who ask the same, before one goes alone


@dataclass(frozen=True, slots=True)
class _Call:
    """A call as it was asked for.

    Attributes:
        given: What the caller gave.
        sent: What is sent to the model.
        messages: The messages in it.
        asked: What that is to the cache; None where it is to be left alone.
        config: The configuration of the run.
    """

    given: Any
    sent: Any
    messages: Sequence[BaseMessage]
    asked: Asked | None
    config: RunnableConfig


class CachedModel(NodeRun):
    """Gives answers that were given before, and asks a model for all others.

    Made by `SemanticCache.model`. In a chain it takes and gives what a chat model does;
    as a node of a graph it takes a state with messages and gives an update. It works in
    streams, too, where LangChain itself never asks a cache: an answer that was kept
    comes in pieces of a few words. Who asks the same while it is being answered waits
    for that answer.

    Args:
        lookups: Finds answers and keeps them.
        identity: Who is asked when there is none.
        flights: The calls under way.
        tenant_by: What names the tenant in the metadata of a call; None: all share.
        tags: What invalidates the answers.
        messages_key: Where a state has its messages.
    """

    def __init__(
        self,
        lookups: Lookups,
        identity: Identity,
        flights: Flights[Hit],
        *,
        tenant_by: str | None,
        tags: Sequence[str],
        messages_key: str,
    ) -> None:
        self._lookups = lookups
        self._identity = identity
        self._flights = flights
        self._tenant_by = tenant_by
        self._tags = tuple(tags)
        self._messages_key = messages_key

    @property
    def model(self) -> Runnable[Any, Any]:
        """Who is asked where the cache has no answer."""
        return self._identity.model

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Self:
        """The same with tools bound to its model."""
        return self._with(self._identity.with_tools(tools, kwargs), self._lookups)

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """Answers of a schema, in the way of its model; those are kept, too.

        Args:
            schema: What a chat model's `with_structured_output` takes.
            kwargs: More of that; not `include_raw`.

        Raises:
            ConfigurationError: If the model has no such answers, or another form.
        """
        identity, parser = self._identity.with_schema(schema, kwargs)
        keeping = replace(self._lookups.keeping, tool_calls=True)  # some models call it
        return self._with(identity, replace(self._lookups, keeping=keeping)) | parser

    def _invoke(
        self,
        given: Any,
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Any:
        call = self._call(given, config, kwargs)
        if call.asked is None:
            return self._result(call, self.model.invoke(call.sent, config, **kwargs))
        with self._flights.seat(call.asked.id) as seat:
            found = drive(self._found(call.asked, seat), ask)
            if isinstance(found, Hit):
                return self._replayed(call, found)
            self._go_alone()
            answer = self.model.invoke(call.sent, config, **kwargs)
            drive(self._kept(call.asked, found, answer, seat), ask)
        return self._result(call, self._marked(answer, found))

    async def _ainvoke(
        self,
        given: Any,
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Any:
        call = self._call(given, config, kwargs)
        if call.asked is None:
            answer = await self.model.ainvoke(call.sent, config, **kwargs)
            return self._result(call, answer)
        with self._flights.seat(call.asked.id, is_async=True) as seat:
            found = await adrive(self._found(call.asked, seat), aask)
            if isinstance(found, Hit):
                return self._replayed(call, found)
            self._go_alone()
            answer = await self.model.ainvoke(call.sent, config, **kwargs)
            await adrive(self._kept(call.asked, found, answer, seat), aask)
        return self._result(call, self._marked(answer, found))

    def _stream(
        self,
        inputs: Iterator[Any],
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[Any]:
        given = next(inputs)
        if self._identity.is_graph:  # whose pieces are updates
            yield self._invoke(given, run_manager, config, **kwargs)
            return
        call = self._call(given, config, kwargs)
        if call.asked is None:
            yield from self.model.stream(call.sent, config, **kwargs)
            return
        with self._flights.seat(call.asked.id, streams=True) as seat:
            found = drive(self._found(call.asked, seat), ask)
            if isinstance(found, Hit):
                yield from self._pieces(call, found)
                return
            self._go_alone()
            chunks = []
            stream = self.model.stream(call.sent, config, **kwargs)
            with closing(cast("Generator[Any]", stream)) as parts:
                for chunk in parts:
                    chunks.append(chunk)
                    seat.moves()
                    yield chunk
            answer = _whole(chunks)
            drive(self._kept(call.asked, found, answer, seat, chunks), ask)
            yield from _last_chunk(chunks, found)

    async def _astream(
        self,
        inputs: AsyncIterator[Any],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        given = await anext(inputs)
        if self._identity.is_graph:
            yield await self._ainvoke(given, run_manager, config, **kwargs)
            return
        call = self._call(given, config, kwargs)
        if call.asked is None:
            async for chunk in self.model.astream(call.sent, config, **kwargs):
                yield chunk
            return
        with self._flights.seat(call.asked.id, is_async=True, streams=True) as seat:
            found = await adrive(self._found(call.asked, seat), aask)
            if isinstance(found, Hit):
                for piece in self._pieces(call, found):
                    yield piece
                return
            self._go_alone()
            chunks = []
            stream = self.model.astream(call.sent, config, **kwargs)
            async with aclosing(cast("AsyncGenerator[Any]", stream)) as parts:
                async for chunk in parts:
                    chunks.append(chunk)
                    seat.moves()
                    yield chunk
            answer = _whole(chunks)
            await adrive(self._kept(call.asked, found, answer, seat, chunks), aask)
            for chunk in _last_chunk(chunks, found):
                yield chunk

    def _with(self, identity: Identity, lookups: Lookups) -> Self:
        return type(self)(
            lookups,
            identity,
            self._flights,
            tenant_by=self._tenant_by,
            tags=self._tags,
            messages_key=self._messages_key,
        )

    def _call(
        self, given: Any, config: RunnableConfig, options: Mapping[str, Any]
    ) -> _Call:
        key = self._messages_key
        messages = self._messages(given)
        identity = self._identity
        asked = self._lookups.asked(
            prompt_string(messages),
            identity.llm_string(options, beside(given, key)),
            tenant=tenant_of(self._tenant_by, config.get("metadata")),
            tags=self._tags,
        )
        if asked is not None and identity.remembers(config):
            self._lookups.health.says_once(_REMEMBERS)
            asked = None
        sent = identity.sent(given, messages, key)
        return _Call(given, sent, messages, asked, config)

    def _messages(self, given: Any) -> list[BaseMessage]:
        """The messages of a prompt or a state, in any form that LangChain takes."""
        key, taker = self._messages_key, "The cached model"
        if not is_prompt(given):
            found: Any = given.get(key) if isinstance(given, Mapping) else None
            loose = isinstance(found, str | tuple | list) and bool(found)
            if not loose or isinstance(found[0], BaseMessage):
                found = state_messages(given, key, taker=taker)
            if found is None:
                raise ConfigurationError(not_taken(taker, key, given))
            given = found
        return prompt_messages(given)

    def _go_alone(self) -> None:
        """Keep the cache out of the call of a model that also has it inside."""
        if not self._identity.takes_state:
            bypass(self._lookups.store)  # the context is the run's own

    def _found(self, asked: Asked, seat: Seat[Hit]) -> Generator[Step, Any, Hit | Miss]:
        """An answer that was kept, or that another call is just getting."""
        for _ in range(_WAITS):
            flight = seat.join()
            if flight is None:
                break
            landing: Landing[Hit] = yield Step(flight.wait, flight.await_)
            if landing.outcome is not None:
                yield reported_hit(landing.outcome)
                return landing.outcome
            if not landing.failed:
                break
        found = yield from self._lookups.look_up(asked)
        if isinstance(found, Hit):
            seat.outcome = _for_others(found)
            yield reported_hit(found)
        return found

    def _kept(
        self,
        asked: Asked,
        miss: Miss,
        given: Any,
        seat: Seat[Hit],
        chunks: Sequence[Any] = (),
    ) -> Generator[Step, Any, None]:
        answer = self._answer_in(given)
        if answer is None:  # a graph that was interrupted
            return
        model, provider = self._identity.answered_by(answer)
        record = yield from self._lookups.keep(
            asked,
            [ChatGeneration(message=answer)],
            miss,
            model=model,
            provider=provider,
            tags=self._tags,
            streamed=any(isinstance(chunk, AIMessageChunk) for chunk in chunks),
        )
        if record is not None:
            hit = Hit(record=record, kind="exact", similarity=1.0, age=0.0)
            seat.outcome = _for_others(hit)
        yield reported_miss()

    def _replayed(self, call: _Call, hit: Hit) -> Any:
        answer = hit.message(self._lookups.prices)
        if shows_tokens(call.config):
            show(pieces(answer), call.config)
        if self._identity.takes_state and isinstance(call.given, Mapping):
            return {**call.given, self._messages_key: [*call.messages, answer]}
        return self._result(call, answer)

    def _pieces(self, call: _Call, hit: Hit) -> Iterator[AIMessageChunk]:
        shows = shows_tokens(call.config)
        for piece in pieces(hit.message(self._lookups.prices)):
            if shows:
                show([piece], call.config)
            yield piece

    def _result(self, call: _Call, answer: Any) -> Any:
        """What is given back: to a prompt the answer, to a state an update."""
        if is_prompt(call.given):
            return self._answer_in(answer) or answer
        return answer if isinstance(answer, Mapping) else {self._messages_key: [answer]}

    def _marked(self, given: Any, miss: Miss) -> Any:
        """What a model or a graph gave, with why the cache did not: a copy."""
        answer = self._answer_in(given)
        if answer is None:
            return given
        metadata = dict(answer.response_metadata)
        answer = answer.model_copy(update={"response_metadata": metadata})
        miss.mark(answer)
        if not isinstance(given, Mapping):
            return answer
        *before, _ = given[self._messages_key]
        return {**given, self._messages_key: [*before, answer]}

    def _answer_in(self, given: Any) -> AIMessage | None:
        """The answer in what a model or a graph gave; None if a graph gave none."""
        if isinstance(given, Mapping):
            [*_, last] = given.get(self._messages_key) or [None]
            ended = "__interrupt__" not in given and isinstance(last, AIMessage)
            return last if ended else None
        if isinstance(given, AIMessage):
            return given
        msg = (
            "What is cached answers with messages, not "
            f"{type(given).__name__}; put a parser behind the cached model."
        )
        raise ConfigurationError(msg)


def _for_others(hit: Hit) -> Hit:
    """What those get who have waited for it, and so were spared no time."""
    return replace(hit, record=replace(hit.record, seconds=0.0))


def _last_chunk(chunks: Sequence[Any], miss: Miss) -> Iterator[AIMessageChunk]:
    """The empty piece that says why the cache had no answer."""
    if chunks and isinstance(chunks[-1], AIMessageChunk):
        last = AIMessageChunk(content="", id=chunks[-1].id)
        miss.mark(last)
        yield last


def _whole(chunks: Sequence[Any]) -> Any:
    """The answer of which these are the pieces."""
    if not chunks or not all(isinstance(chunk, AIMessageChunk) for chunk in chunks):
        return chunks[-1] if chunks else None
    whole: BaseMessage = add_ai_message_chunks(chunks[0], *chunks[1:])
    return message_chunk_to_message(whole)
