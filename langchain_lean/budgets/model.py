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
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self
from uuid import UUID

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    BaseRunManager,
    CallbackManagerForChainRun,
)
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import (
    BaseMessage,
)
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_lean.budgets.demands import Demand, Reservation, Shortage
from langchain_lean.budgets.errors import CallRefusedError, UnpricedCallError
from langchain_lean.budgets.estimates import Ask
from langchain_lean.budgets.fitting import ACTIONS, Action, Candidate, options
from langchain_lean.budgets.guard import Ahead, BudgetGuard, reserved_ahead
from langchain_lean.budgets.notes import (
    Accepted,
    last_chunk,
    note_what_was_done,
    without_calls,
)
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import prompt_messages
from langchain_lean.models import (
    CAPS,
    TOOLS,
    capped,
    chat_model_of,
    without,
    without_tools,
)
from langchain_lean.own_run import OwnRun
from langchain_lean.steps import adrive, drive

_Derive = Callable[[Any], Runnable[Any, Any]]


@dataclass(frozen=True, slots=True)
class AskedCall:
    """A call as it was asked for.

    Attributes:
        messages: What was to be sent.
        options: What else its caller gave.
        metadata: Whom it is for.
        run_id: The outermost run.
        parent_id: The run it is asked in; None where it stands alone.
    """

    messages: list[BaseMessage]
    options: Mapping[str, Any]
    metadata: Mapping[str, Any]
    run_id: str
    parent_id: UUID | None


Negotiation = Generator[Demand, Reservation | Shortage, Accepted]
"""Yields what is asked of the budgets, and returns the way that was granted."""


class BudgetedModel(OwnRun):
    """Asks a model within its budgets, and adapts calls that do not fit.

    Made by `BudgetGuard.model`. A Runnable for chains and graphs of your own, not a
    chat model; for `create_agent` there is `BudgetMiddleware`. What was done to a call
    stands in its answer's `response_metadata["lean"]`, and in the ledger as a tag of
    the call, such as `lean:trim`.

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

    lever: ClassVar[str] = "budget"
    """Whom notes on answers name."""

    def __init__(
        self,
        guard: BudgetGuard,
        model: Runnable[Any, Any],
        *,
        lite: Runnable[Any, Any] | None = None,
        when_over: Sequence[Action] | None = None,
        exact: bool = False,
    ) -> None:
        if when_over is None:
            when_over = [a for a in ACTIONS if a != "downgrade" or lite is not None]
        check_actions(when_over, lite)
        self._derive: _Derive = _as_it_is
        self.guard = guard
        self.model = model
        self.lite = lite
        self.when_over = tuple(when_over)
        self.exact = exact
        self._check_models()

    @property
    def bound_model(self) -> Runnable[Any, Any]:
        """The model it asks while nothing is over budget, with what is bound to it."""
        return self._derive(self.model)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Self:
        """The same with tools bound to its models."""
        return self._derived(lambda model: model.bind_tools(tools, **kwargs))

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Self:
        """The same with answers of a schema, in the way of each of its models."""
        return self._derived(
            lambda model: model.with_structured_output(schema, **kwargs),
            structured=True,
        )

    def without_finish(self) -> Self:
        """The same without a last answer in words, for answers of a schema."""
        model = copy(self)
        model.when_over = tuple(a for a in self.when_over if a != "finish")
        return model

    def _invoke(
        self,
        given: LanguageModelInput,
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Any:
        call = self._call(given, config, run_manager, kwargs)
        attempts = _Attempts(self, call)
        while True:
            accepted = drive(attempts.negotiation, self.guard.reserve)
            with attempts.making(accepted):
                sent, watched, options = self._sent(accepted, config, kwargs)
                answer = accepted.runnable.invoke(sent, watched, **options)
                return note_what_was_done(accepted, answer)

    async def _ainvoke(
        self,
        given: LanguageModelInput,
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Any:
        call = self._call(given, config, run_manager, kwargs)
        attempts = _Attempts(self, call)
        while True:
            accepted = await adrive(attempts.negotiation, self.guard.areserve)
            with attempts.making(accepted):
                sent, watched, options = self._sent(accepted, config, kwargs)
                answer = await accepted.runnable.ainvoke(sent, watched, **options)
                return note_what_was_done(accepted, answer)

    def _stream(
        self,
        inputs: Iterator[LanguageModelInput],
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[Any]:
        call = self._call(next(inputs), config, run_manager, kwargs)
        attempts = _Attempts(self, call)
        while True:
            accepted = drive(attempts.negotiation, self.guard.reserve)
            chunks = []
            with attempts.making(accepted):
                sent, watched, options = self._sent(accepted, config, kwargs)
                for chunk in accepted.runnable.stream(sent, watched, **options):
                    chunks.append(without_calls(accepted, chunk))
                    yield chunks[-1]
                yield from last_chunk(accepted, chunks)
                return

    async def _astream(
        self,
        inputs: AsyncIterator[LanguageModelInput],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        call = self._call(await anext(inputs), config, run_manager, kwargs)
        attempts = _Attempts(self, call)
        while True:
            accepted = await adrive(attempts.negotiation, self.guard.areserve)
            chunks = []
            with attempts.making(accepted):
                sent, watched, options = self._sent(accepted, config, kwargs)
                async for chunk in accepted.runnable.astream(sent, watched, **options):
                    chunks.append(without_calls(accepted, chunk))
                    yield chunks[-1]
                for chunk in last_chunk(accepted, chunks):
                    yield chunk
                return

    def _derived(self, derive: _Derive, *, structured: bool = False) -> Self:
        if self._derive is not _as_it_is:
            msg = "Tools and a schema are bound once; bind them to guard.model(...)."
            raise ConfigurationError(msg)
        derived = copy(self)
        derived._derive = derive
        if structured:
            derived = derived.without_finish()
        try:
            derived._check_models()
        except (AttributeError, NotImplementedError) as error:
            msg = "The model takes no tools or no schema; give one that does."
            raise ConfigurationError(msg) from error
        return derived

    def _check_models(self) -> None:
        """Refuse what is no chat model.

        Raises:
            ConfigurationError: If one of the models is something else.
        """
        for model in [self.model] if self.lite is None else [self.model, self.lite]:
            chat_model_of(self._derive(model))

    def _call(
        self,
        input_: LanguageModelInput,
        config: RunnableConfig,
        run: BaseRunManager,
        options: Mapping[str, Any],
    ) -> AskedCall:
        return AskedCall(
            prompt_messages(input_),
            options,
            config.get("metadata") or {},
            self.guard.outermost_run(run.run_id),
            run.parent_run_id,
        )

    def _negotiate(self, call: AskedCall) -> Negotiation:
        """Ask for the call, then for the ways that fit into what is left.

        Yields:
            What is asked of the budgets.

        Returns:
            The way that was granted.

        Raises:
            CallRefusedError: If there is none.
        """
        candidate = Candidate(call.messages)
        ask = self._ask(call, candidate)
        try:
            return (yield from self._ways(call, candidate, self.guard.demand(ask)))
        except CallRefusedError as error:
            self.guard.report_refused(ask, error)
            raise

    def _instead(
        self, call: AskedCall, tried: Accepted, refusal: CallRefusedError
    ) -> Negotiation | None:
        """What to do where the guard refuses a part of a call; None to let it fail."""
        return None

    def _ways(
        self, call: AskedCall, candidate: Candidate, asked: Demand
    ) -> Negotiation:
        reserved = asked.estimate.usage.output
        if self.exact and asked.ask.output is None:
            candidate = replace(candidate, output=reserved // asked.ask.choices)
        outcome = yield asked
        if isinstance(outcome, Reservation):
            return self._accepted(candidate, outcome, asked)
        shortage = outcome

        def fits(candidate: Candidate) -> bool:
            try:
                demand = self.guard.demand(self._ask(call, candidate))
            except UnpricedCallError:  # the lite model's
                return False
            return demand.misfit(shortage.counters) is None

        for way in options(
            candidate,
            self.when_over,
            output=reserved // asked.ask.choices,
            lite=self.lite is not None,
            fits=fits,
        ):
            answer = yield self.guard.demand(self._ask(call, way))
            if isinstance(answer, Reservation):
                return self._accepted(way, answer, asked)
            shortage = answer
        raise outcome.error()

    def _accepted(
        self, candidate: Candidate, reservation: Reservation, asked: Demand
    ) -> Accepted:
        runnable = self._runnable(candidate)
        return Accepted(candidate, reservation, asked, runnable, self.lever)

    def _runnable(self, candidate: Candidate) -> Runnable[Any, Any]:
        """What makes a call in this way."""
        model = self.lite if candidate.lite and self.lite is not None else self.model
        if not candidate.tools:
            model = without_tools(model)
        if candidate.output is not None:
            model = capped(model, candidate.output)
        return self._derive(model) if candidate.tools else model

    def _ask(self, call: AskedCall, candidate: Candidate) -> Ask:
        """What a call asks of a model in this way."""
        model, bound, metadata = chat_model_of(self._runnable(candidate))
        options = {**bound, **self._options(candidate, call.options)}
        sent = model._get_invocation_params(**options)
        said = {**metadata, **call.metadata, **(model.metadata or {})}
        metadata = {**said, **model._get_ls_params(**options)}
        return Ask.of_call(
            prompt=candidate.messages,
            options=sent,
            metadata=metadata,
            run_id=call.run_id,
        )

    def _sent(
        self, accepted: Accepted, config: RunnableConfig, options: Mapping[str, Any]
    ) -> tuple[Sequence[BaseMessage], RunnableConfig, dict[str, Any]]:
        """The messages, configuration and options of a call."""
        candidate = accepted.candidate
        watched = self._watched(config, accepted)
        return candidate.messages, watched, self._options(candidate, options)

    def _options(
        self, candidate: Candidate, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What its caller gave a call, without what this way of making it replaces."""
        caps = () if candidate.output is None else CAPS
        return without(given, (*caps, *(() if candidate.tools else TOOLS)))

    def _watched(self, config: RunnableConfig, accepted: Accepted) -> RunnableConfig:
        """The configuration of a call: the guard sees it, tags say what was done."""
        done = [f"lean:{note.action}" for note in accepted.candidate.notes]
        watched: RunnableConfig = {**config}
        watched["tags"] = [*(config.get("tags") or []), *done]
        self.guard.watch(watched)
        return watched


def check_actions(
    when_over: Sequence[str], lite: object, known: Sequence[str] = ACTIONS
) -> None:
    """Refuse what cannot be done with a call that does not fit.

    Args:
        when_over: What to do, in the order to try it.
        lite: The model to downgrade to, if any.
        known: What can be done.

    Raises:
        ConfigurationError: If one of it is not known, or needs a lite model.
    """
    if isinstance(when_over, str) or not isinstance(when_over, Sequence):
        given = f"{when_over!r:.40}"
        msg = f"when_over= takes a list, such as {list(known[:2])}, not {given}."
        raise ConfigurationError(msg)
    unknown = [action for action in when_over if action not in known]
    if unknown:
        msg = f"when_over= takes {', '.join(known)}, not {unknown[0]!r:.40}."
        raise ConfigurationError(msg)
    if "downgrade" in when_over and lite is None:
        msg = 'when_over=["downgrade"] takes a model to ask instead: give lite=.'
        raise ConfigurationError(msg)


def _as_it_is(model: Any) -> Runnable[Any, Any]:
    runnable: Runnable[Any, Any] = model
    return runnable


class _Attempts:
    """What is tried to make a call, until nothing of it is refused.

    Attributes:
        negotiation: Asks for the next attempt.
    """

    def __init__(self, model: BudgetedModel, call: AskedCall) -> None:
        self._model = model
        self._call = call
        self.negotiation = model._negotiate(call)

    @contextmanager
    def making(self, accepted: Accepted) -> Iterator[None]:
        """Let the guard find the reservation when the call begins.

        Where it refuses a part of the call, what the model does instead is next.
        """
        guard, reservation = self._model.guard, accepted.reservation
        ahead = Ahead(guard, [] if reservation is None else [reservation])
        # The context is this run's own.
        reserved_ahead.set((*reserved_ahead.get(), ahead))
        try:
            yield
        except Exception:
            other = None
            if ahead.refusals:
                refusal = ahead.refusals[-1]
                other = self._model._instead(self._call, accepted, refusal)
            if other is None:
                raise
            self.negotiation = other
        finally:
            while ahead.reservations:
                guard.free(ahead.reservations.pop())
