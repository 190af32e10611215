"""A model that answers in place of failing when its run has no steps left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.runnables import (
    RunnableParallel,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase

from langchain_lean.accounting.reporting import report_notice
from langchain_lean.budgets import finish
from langchain_lean.budgets.demands import Demand, Reservation, Shortage
from langchain_lean.budgets.fitting import Candidate, Note
from langchain_lean.budgets.model import AskedCall, BudgetedModel, Negotiation
from langchain_lean.budgets.notes import Accepted
from langchain_lean.errors import ConfigurationError
from langchain_lean.models import TOOLS, chat_model_of, thinking_budget
from langchain_lean.routing.stepping.loops import goes_round
from langchain_lean.routing.stepping.plain import added
from langchain_lean.routing.stepping.stopped import LEVER, LOOPED, Stopped
from langchain_lean.stop_sequences import may_think

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseRunManager
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable, RunnableConfig

    from langchain_lean.budgets.errors import CallRefusedError
    from langchain_lean.routing.steps import StepCap

_LAST = "capped"
_NODE = "langgraph_checkpoint_ns"  # in the metadata of what a graph's node calls


class StepModel(BudgetedModel):
    """Asks a model as long as its run has steps left; made by `StepCap.model`.

    A Runnable for chains and graphs of your own, not a chat model. What was done to an
    answer stands in its `response_metadata["lean"]` under the lever `steps`, and in the
    ledger as a notice: `capped` is the one last answer without tools, `stopped` a fixed
    text for which no model was asked, `looped` an answer without tools because the same
    tool calls came again and again. Where a schema is bound, a call that does not fit
    raises instead.

    Args:
        cap: Counts the steps.
        model: The chat model, or one with tools bound to it.
        final: Whether it may give the one last answer; None for only where it is asked
            in the outermost graph.

    Raises:
        ConfigurationError: If it is no chat model. Calls raise it where they are part
            of a run that the cap does not see.
    """

    lever: ClassVar[str] = LEVER
    guard: StepCap

    def __init__(
        self, cap: StepCap, model: Runnable[Any, Any], *, final: bool | None = None
    ) -> None:
        if isinstance(model, BudgetedModel):
            msg = (
                "The models of guards and caps do not stand in each other; give the "
                "chat model to one, and the other to the callbacks of the run."
            )
            raise ConfigurationError(msg)
        if not _is_model(model):
            msg = (
                "Put the cap around the chat model itself, and a schema or a parser "
                "behind it: cap.model(model).with_structured_output(...)."
            )
            raise ConfigurationError(msg)
        super().__init__(cap, model, when_over=["finish"])
        self.final = checked_final(final)

    def _call(
        self,
        input_: LanguageModelInput,
        config: RunnableConfig,
        run: BaseRunManager,
        options: Mapping[str, Any],
    ) -> AskedCall:
        call = super()._call(input_, config, run, options)
        alone = run.parent_run_id is None and _NODE not in call.metadata
        if not alone and not self.guard.sees(run.parent_run_id):
            msg = (
                "The step cap does not see this run, so it cannot count its calls; "
                'give it to the run: graph.invoke(..., {"callbacks": [cap]}); '
                "in create_agent, take StepCapMiddleware."
            )
            raise ConfigurationError(msg)
        return call

    @property
    def _answers(self) -> bool:
        """Whether there is an answer without tools: not where a schema is bound."""
        return "finish" in self.when_over

    def _ways(
        self, call: AskedCall, candidate: Candidate, asked: Demand
    ) -> Negotiation:
        outcome = yield asked
        if isinstance(outcome, Shortage):
            if not self._answers:
                raise outcome.error()
            return (yield from self._capped(call, asked))
        if self._answers and self._loops(call):
            reason = f"the same tool calls came {self.guard.repeat} times in a row"
            candidate = self._finishing(call, Note(LOOPED, reason))
        return self._accepted(candidate, outcome, asked)

    def _instead(
        self, call: AskedCall, tried: Accepted, refusal: CallRefusedError
    ) -> Negotiation | None:
        """The last answer, where a retry or a fallback found no step left."""
        if not (self._answers and self.guard.refused(refusal)):
            return None
        was_last = any(note.action == _LAST for note in tried.candidate.notes)
        return self._capped(call, tried.asked, may_answer=not was_last)

    def _capped(
        self, call: AskedCall, asked: Demand, *, may_answer: bool = True
    ) -> Negotiation:
        """Give the last answer of the run, or say that there is none any more."""
        if may_answer and self._may_answer(call):
            outcome = yield self.guard.last_demand(asked.ask)
            if isinstance(outcome, Reservation):
                note = Note(_LAST, self.guard.reached)
                last = self._finishing(call, note, self._last_output(call, asked))
                return self._accepted(last, outcome, asked)
        note = Note("stopped", self.guard.reached)
        self._tell(note)
        candidate = Candidate(call.messages, notes=(note,))
        return Accepted(candidate, None, asked, Stopped(self.guard.stopped), self.lever)

    def _last_output(self, call: AskedCall, asked: Demand) -> int | None:
        """The cap of the last answer; None for what the call has by itself."""
        output = min(finish.OUTPUT, asked.ask.output or finish.OUTPUT)
        if thinking := thinking_budget(self.model):
            return output + thinking  # it has to be less than the cap
        model, bound, _ = chat_model_of(self.model)
        return None if may_think(model, {**bound, **call.options}) else output

    def _may_answer(self, call: AskedCall) -> bool:
        """Whether a call is made in the outermost graph, or the user says it may."""
        if self.final is not None:
            return self.final
        return not self.guard.nested(call.parent_id)

    def _loops(self, call: AskedCall) -> bool:
        """Whether a call with tools comes after the same tool calls again and again."""
        repeat = self.guard.repeat
        if repeat is None or not goes_round(call.messages, repeat):
            return False
        _, bound, _ = chat_model_of(self._derive(self.model))
        return any(name in TOOLS for name in (*bound, *call.options))

    def _finishing(
        self, call: AskedCall, note: Note, output: int | None = None
    ) -> Candidate:
        """The call as one answer without tools."""
        self._tell(note)
        messages: Sequence[BaseMessage] = call.messages
        if note.action == _LAST:  # nobody is asked after it
            messages = added.get().taken_from(messages)
        return Candidate(finish.finishing(messages), output, tools=False, notes=(note,))

    def _runnable(self, candidate: Candidate) -> Runnable[Any, Any]:
        runnable = super()._runnable(candidate)
        last = any(note.action == _LAST for note in candidate.notes)
        return added.get().unbound(runnable) if last else runnable

    def _options(
        self, candidate: Candidate, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        options = super()._options(candidate, given)
        last = any(note.action == _LAST for note in candidate.notes)
        return added.get().kept(options) if last else options

    def _tell(self, note: Note) -> None:
        report_notice(self.lever, action=note.action, reason=note.detail)


def checked_final(final: bool | None) -> bool | None:
    """Whether a model may give the last answer; None for where it is outermost.

    Raises:
        ConfigurationError: If it is something else.
    """
    if final not in (True, False, None):
        msg = f"final= is True, False or None, not {final!r:.40}."
        raise ConfigurationError(msg)
    return final


def _is_model(model: Any) -> bool:
    """Whether what is inside of bindings and fallbacks is not a chain, or a schema."""
    while True:
        if isinstance(model, RunnableBindingBase):
            model = model.bound
        elif isinstance(model, RunnableWithFallbacks):
            model = model.runnable
        else:
            return not isinstance(model, RunnableSequence | RunnableParallel)
