"""A model that does something better than to fail when its budget runs out."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    BaseCallbackManager,
    CallbackManagerForChainRun,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    convert_to_messages,
)
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableParallel,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase

from langchain_lean.accounting.reporting import report_saving
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.budgets.errors import UnpricedCallError
from langchain_lean.budgets.estimates import Ask
from langchain_lean.budgets.fitting import ACTIONS, Action, Candidate, options
from langchain_lean.budgets.guard import (
    BudgetGuard,
    Demand,
    Reservation,
    Shortage,
    reserved_ahead,
)
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import note

_LEVER = "budget"
_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
_ENDED_ON_CAP = ("length", "max_tokens", "MAX_TOKENS", "max_output_tokens")
_REASONS = ("finish_reason", "stop_reason", "stopReason")
_Derive = Callable[[Any], Runnable[Any, Any]]


@dataclass(frozen=True, slots=True)
class _Call:
    """A call as it was asked for.

    Attributes:
        messages: What was to be sent.
        options: What else its caller gave.
        metadata: Whom it is for.
        run_id: The outermost run.
    """

    messages: list[BaseMessage]
    options: Mapping[str, Any]
    metadata: Mapping[str, Any]
    run_id: str


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A call as it is made.

    Attributes:
        candidate: The way it is made.
        reservation: What is reserved for it.
        asked: What it would have taken as it was asked for.
        runnable: Makes it.
    """

    candidate: Candidate
    reservation: Reservation
    asked: Demand
    runnable: Runnable[Any, Any]


class BudgetedModel(Runnable[LanguageModelInput, Any]):
    """Asks a model within its budgets, and adapts calls that do not fit.

    Made by `BudgetGuard.model`. A Runnable for chains and graphs of your own, not a
    chat model: `create_agent` takes `BudgetMiddleware`. What was done to a call stands
    in its answer's `response_metadata["lean"]`, and in the ledger as a tag of the call.

    Args:
        guard: Keeps the budgets; added to the callbacks of every call.
        model: The chat model, or one with tools bound to it.
        lite: The model to ask in place of it where it does not fit.
        when_over: What to do with a call that does not fit, in the order to try it.
            If nothing helps, the error is raised.
        exact: Cap answers at what is reserved for them, so that no budget is passed.

    Raises:
        ConfigurationError: If something of this makes no sense.
    """

    def __init__(
        self,
        guard: BudgetGuard,
        model: Runnable[Any, Any],
        *,
        lite: Runnable[Any, Any] | None = None,
        when_over: Sequence[Action] | None = None,
        exact: bool = False,
        _derive: _Derive | None = None,
    ) -> None:
        if when_over is None:
            when_over = [a for a in ACTIONS if a != "downgrade" or lite is not None]
        unknown = [action for action in when_over if action not in ACTIONS]
        if unknown:
            msg = f"when_over= takes {', '.join(ACTIONS)}, not {unknown[0]!r:.40}."
            raise ConfigurationError(msg)
        if "downgrade" in when_over and lite is None:
            msg = (
                "To downgrade takes a model to ask instead: guard.model(..., lite=...)."
            )
            raise ConfigurationError(msg)
        self._derive = _derive or _as_it_is
        for each in (model, lite):
            if each is not None:
                _chat_model(self._derive(each))
        self.guard = guard
        self.model = model
        self.lite = lite
        self.when_over = tuple(when_over)
        self.exact = exact

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> BudgetedModel:
        """The same with tools bound to its models."""
        return self._derived(lambda model: model.bind_tools(tools, **kwargs))

    def with_structured_output(self, schema: Any, **kwargs: Any) -> BudgetedModel:
        """The same with answers of a schema, in the way of each of its models."""
        return self._derived(
            lambda model: model.with_structured_output(schema, **kwargs),
            structured=True,
        )

    def invoke(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Ask the model, or what its budgets leave of it.

        Raises:
            CallRefusedError: If the call may not be made in any way.
        """
        return self._call_with_config(self._invoke, input, config, **kwargs)

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """`invoke` for asyncio."""
        return await self._acall_with_config(self._ainvoke, input, config, **kwargs)

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Ask the model as a stream; notes come with a last empty chunk."""
        yield from self._transform_stream_with_config(
            iter([input]), self._stream, config, **kwargs
        )

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """`stream` for asyncio."""

        async def only() -> AsyncIterator[LanguageModelInput]:
            yield input

        async for chunk in self._atransform_stream_with_config(
            only(), self._astream, config, **kwargs
        ):
            yield chunk

    def _invoke(
        self,
        input_: LanguageModelInput,
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Any:
        call = self._call(input_, config, run_manager.run_id, kwargs)
        accepted = _drive(self._negotiate(call), self.guard)
        with _reserved(self.guard, accepted):
            sent = accepted.candidate.messages
            config = self._watched(config, accepted)
            answer = accepted.runnable.invoke(sent, config, **kwargs)
        _finish(accepted, answer)
        return answer

    async def _ainvoke(
        self,
        input_: LanguageModelInput,
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Any:
        call = self._call(input_, config, run_manager.run_id, kwargs)
        accepted = await _adrive(self._negotiate(call), self.guard)
        with _reserved(self.guard, accepted):
            sent = accepted.candidate.messages
            config = self._watched(config, accepted)
            answer = await accepted.runnable.ainvoke(sent, config, **kwargs)
        _finish(accepted, answer)
        return answer

    def _stream(
        self,
        inputs: Iterator[LanguageModelInput],
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[Any]:
        call = self._call(next(inputs), config, run_manager.run_id, kwargs)
        accepted = _drive(self._negotiate(call), self.guard)
        chunks = []
        with _reserved(self.guard, accepted):
            sent = accepted.candidate.messages
            config = self._watched(config, accepted)
            for chunk in accepted.runnable.stream(sent, config, **kwargs):
                chunks.append(chunk)
                yield chunk
        yield from _last_chunk(accepted, chunks)

    async def _astream(
        self,
        inputs: AsyncIterator[LanguageModelInput],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        call = self._call(await anext(inputs), config, run_manager.run_id, kwargs)
        accepted = await _adrive(self._negotiate(call), self.guard)
        chunks = []
        with _reserved(self.guard, accepted):
            sent = accepted.candidate.messages
            config = self._watched(config, accepted)
            async for chunk in accepted.runnable.astream(sent, config, **kwargs):
                chunks.append(chunk)
                yield chunk
        for chunk in _last_chunk(accepted, chunks):
            yield chunk

    def _derived(self, derive: _Derive, *, structured: bool = False) -> BudgetedModel:
        if self._derive is not _as_it_is:
            msg = "Tools and a schema are bound once; bind them to guard.model(...)."
            raise ConfigurationError(msg)
        actions = [a for a in self.when_over if not (structured and a == "finish")]
        return BudgetedModel(
            self.guard,
            self.model,
            lite=self.lite,
            when_over=actions,
            exact=self.exact,
            _derive=derive,
        )

    def _call(
        self,
        input_: LanguageModelInput,
        config: RunnableConfig,
        run_id: UUID,
        options: Mapping[str, Any],
    ) -> _Call:
        metadata = config.get("metadata") or {}
        outermost = self.guard.outermost_run(run_id)
        return _Call(_messages(input_), options, metadata, outermost)

    def _negotiate(
        self, call: _Call
    ) -> Generator[Demand, Reservation | Shortage, _Accepted]:
        """Ask for the call, then for the ways that fit into what is left.

        Yields:
            What is asked of the budgets.

        Returns:
            The way that was granted.

        Raises:
            BudgetExceededError: If there is none.
        """
        candidate = Candidate(call.messages)
        asked = self._demand(call, candidate)
        reserved = asked.estimate.usage.output
        if self.exact and asked.ask.output is None:
            candidate = replace(candidate, output=reserved // asked.ask.choices)
        outcome = yield asked
        if isinstance(outcome, Reservation):
            return self._accepted(candidate, outcome, asked)
        shortage = outcome

        def fits(candidate: Candidate) -> bool:
            try:
                demand = self._demand(call, candidate)
            except UnpricedCallError:  # the lite model's
                return False
            return demand.misfit(shortage.counters) is None

        for way in options(
            candidate,
            self.when_over,
            output=reserved,
            lite=self.lite is not None,
            fits=fits,
        ):
            answer = yield self._demand(call, way)
            if isinstance(answer, Reservation):
                return self._accepted(way, answer, asked)
            shortage = answer
        error = outcome.error()
        self.guard.report_refused(asked.ask, error)
        raise error

    def _accepted(
        self, candidate: Candidate, reservation: Reservation, asked: Demand
    ) -> _Accepted:
        return _Accepted(candidate, reservation, asked, self._runnable(candidate))

    def _runnable(self, candidate: Candidate) -> Runnable[Any, Any]:
        """What makes a call in this way."""
        model = self.lite if candidate.lite and self.lite is not None else self.model
        if not candidate.tools:
            model = _chat_model(model)[0]
        if candidate.output is not None:
            model = _capped(model, candidate.output)
        return self._derive(model) if candidate.tools else model

    def _demand(self, call: _Call, candidate: Candidate) -> Demand:
        """What a call asks of the budgets in this way."""
        model, bound = _chat_model(self._runnable(candidate))
        options = {**bound, **call.options}
        sent = model._get_invocation_params(**options)
        metadata = {**call.metadata, **model._get_ls_params(**options)}
        ask = Ask.of_call(
            prompt=candidate.messages,
            options=sent,
            metadata=metadata,
            run_id=call.run_id,
        )
        return self.guard.demand(ask)

    def _watched(self, config: RunnableConfig, accepted: _Accepted) -> RunnableConfig:
        """The configuration of a call: the guard sees it, tags say what was done."""
        callbacks = config.get("callbacks")
        if isinstance(callbacks, BaseCallbackManager):
            if self.guard not in callbacks.handlers:
                callbacks.add_handler(self.guard, inherit=True)
        else:
            callbacks = [*(callbacks or ()), self.guard]
        done = [f"lean:{note.action}" for note in accepted.candidate.notes]
        tags = [*(config.get("tags") or []), *done]
        return {**config, "callbacks": callbacks, "tags": tags}


def _as_it_is(model: Any) -> Runnable[Any, Any]:
    runnable: Runnable[Any, Any] = model
    return runnable


def _drive(
    steps: Generator[Demand, Reservation | Shortage, _Accepted], guard: BudgetGuard
) -> _Accepted:
    try:
        demand = next(steps)
        while True:
            demand = steps.send(guard.reserve(demand))
    except StopIteration as done:
        accepted: _Accepted = done.value
        return accepted


async def _adrive(
    steps: Generator[Demand, Reservation | Shortage, _Accepted], guard: BudgetGuard
) -> _Accepted:
    try:
        demand = next(steps)
        while True:
            demand = steps.send(await guard.areserve(demand))
    except StopIteration as done:
        accepted: _Accepted = done.value
        return accepted


@contextmanager
def _reserved(guard: BudgetGuard, accepted: _Accepted) -> Iterator[None]:
    """Let the guard find the reservation when the call begins."""
    ahead = [(guard, accepted.reservation)]
    reserved_ahead.set(ahead)  # the context is this run's own
    try:
        yield
    finally:
        for _, unused in ahead:
            guard.release(unused)
        ahead.clear()


def _messages(input_: LanguageModelInput) -> list[BaseMessage]:
    if isinstance(input_, PromptValue):
        return input_.to_messages()
    return convert_to_messages([input_] if isinstance(input_, str) else input_)


def _chat_model(runnable: Any) -> tuple[BaseChatModel, dict[str, Any]]:
    """The chat model inside of a runnable, and the options bound to it.

    Raises:
        ConfigurationError: If there is none.
    """
    options: dict[str, Any] = {}
    while not isinstance(runnable, BaseChatModel):
        if isinstance(runnable, RunnableBindingBase):
            options = {**runnable.kwargs, **options}
            runnable = runnable.bound
        elif isinstance(runnable, RunnableSequence):
            runnable = runnable.first
        elif isinstance(runnable, RunnableWithFallbacks):
            runnable = runnable.runnable
        elif isinstance(runnable, RunnableParallel) and runnable.steps__:
            runnable = next(iter(runnable.steps__.values()))
        else:
            msg = (
                "guard.model(...) takes a chat model, or one with tools bound to it, "
                f"not {type(runnable).__name__}."
            )
            raise ConfigurationError(msg)
    return runnable, options


def _capped(model: Any, tokens: int) -> Any:
    """The model with its answers capped, in the way its class has."""
    if isinstance(model, RunnableBindingBase):
        return model.model_copy(update={"bound": _capped(model.bound, tokens)})
    for name in _CAPS:
        if name in getattr(type(model), "model_fields", ()):
            return model.model_copy(update={name: tokens})
    return model.bind(max_tokens=tokens)


def _finish(accepted: _Accepted, answer: Any) -> None:
    """Say on an answer what was done, and report what that saved."""
    message = answer.get("raw") if isinstance(answer, dict) else answer
    if not isinstance(message, AIMessage):
        return
    candidate = accepted.candidate
    for done in candidate.notes:
        note(message, lever=_LEVER, action=done.action, reason=done.detail)
    if candidate.output is not None and _ended_on_cap(message):
        reason = f"the answer ended at {candidate.output:,} tokens"
        note(message, lever=_LEVER, action="shortened", reason=reason)
    if candidate.notes:
        _report_saving(accepted, message)


def _last_chunk(accepted: _Accepted, chunks: list[Any]) -> Iterator[AIMessageChunk]:
    """The empty chunk that carries what was done to a streamed answer."""
    if accepted.candidate.output is None and not accepted.candidate.notes:
        return
    if not chunks or not all(isinstance(chunk, AIMessageChunk) for chunk in chunks):
        return
    whole = add_ai_message_chunks(chunks[0], *chunks[1:])
    before = whole.response_metadata.get("lean", [])
    _finish(accepted, whole)
    notes = whole.response_metadata.get("lean", [])[len(before) :]
    if notes:
        yield AIMessageChunk(content="", id=whole.id, response_metadata={"lean": notes})


def _ended_on_cap(message: AIMessage) -> bool:
    said = message.response_metadata
    reasons = (
        said.get(name) for name in ("finish_reason", "stop_reason", "stopReason")
    )
    return any(reason in _ENDED_ON_CAP for reason in reasons)


def _report_saving(accepted: _Accepted, answer: AIMessage) -> None:
    """Report what trimming and downgrading saved; a capped answer's rest is unknown."""
    asked, made = accepted.asked, accepted.reservation.demand
    left_out = asked.estimate.floor.input - made.estimate.floor.input
    usage = TokenUsage.from_message(answer)
    if accepted.candidate.lite and usage is not None:
        report_saving(
            _LEVER,
            avoided=TokenUsage(
                input=usage.input + max(left_out, 0), output=usage.output
            ),
            model=asked.ask.model or "",
            provider=asked.ask.provider,
            spent=usage,
            spent_model=made.ask.model,
            baseline=f"the call as it was asked of {asked.ask.model}",
        )
    elif left_out > 0:
        report_saving(
            _LEVER,
            avoided=TokenUsage(input=left_out),
            model=asked.ask.model or "",
            provider=asked.ask.provider,
            baseline="all turns of the chat",
        )
