"""One request on its way: asks models and policies, shows, and says what came of it."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from langchain_lean.accounting.recording.events import TRIAL
from langchain_lean.accounting.reporting import (
    report_notice,
    report_rejected,
)
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.messages import tool_calls
from langchain_lean.models import heard_only, hidden_call, own_call, tries_again
from langchain_lean.routing.answering.costs import ANSWERS, Answering, Costs
from langchain_lean.routing.answering.decision import (
    Asking,
    Decision,
    Request,
    Showing,
    Step,
)
from langchain_lean.routing.answering.draft import (
    Draft,
    course_of,
    decision_of,
    drafted,
    final,
    finished,
    judged,
    less,
    skipped,
    total,
    used_by,
)
from langchain_lean.routing.answering.hearing import Ear, hears
from langchain_lean.routing.answering.held import as_chunk
from langchain_lean.routing.answering.route import Route, noted
from langchain_lean.routing.answering.saving import report_cheaper
from langchain_lean.routing.opinions import FAILED, Opinion
from langchain_lean.routing.stepping.plain import NOTHING, Added, added
from langchain_lean.routing.verdict import LEVER
from langchain_lean.showing import show, shows_tokens

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Run:
    """One request on its way.

    Attributes:
        request: What is to be answered.
        config: The configuration of the run, with `costs` among its callbacks.
        costs: Takes down what its calls use.
        counter: Counts tokens.
        options: Options of the calls that answer.
        streams: Somebody reads the pieces.
        shows: A graph shows tokens to somebody.
        trials: The answers on trial that were asked for.
        answer: The answer, in the end.
        route: Who gave it, and why.
        draft: An answer that other nodes have, or will get; None where there is none.
    """

    request: Request
    config: RunnableConfig
    costs: Costs
    counter: TokenCounter
    options: Mapping[str, Any]
    streams: bool
    shows: bool = field(init=False)
    trials: list[str] = field(default_factory=list, init=False)
    answer: AIMessage = field(init=False)
    route: Route = field(init=False)
    draft: Draft | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        callbacks: Any = self.config.get("callbacks")
        if isinstance(callbacks, BaseCallbackManager):
            callbacks.add_handler(self.costs, inherit=True)
        self.shows = shows_tokens(self.config)

    def answering(self) -> Generator[Step, Any, None]:
        """What is to be asked and shown until an answer stands."""
        yield from self._ended(self.request.answered())

    def drafting(self) -> Generator[Step, Any, None]:
        """What is to be asked until there is a draft; what calls tools is final."""
        place, course, decision = yield from self._surely(self.request.drafted())
        name = self.request.ladder.names[place]
        if decision is None:
            self.draft = skipped(name, course, self.costs.decision(()))
            return
        calls = tool_calls(decision.answer)
        draft = drafted(decision, name, self.costs)
        if calls or decision.asked.held.verdict is not None:
            draft = yield from self._verified(decision, draft)
        if calls:
            yield Showing(decision.asked.held.rest())
            self._settle(replace(decision, course=course_of(draft)))
            draft = final(self.answer, name, draft["reason"], shown=True)
        self.draft = draft

    def verifying(self, draft: Draft) -> Generator[Step, Any, None]:
        """What is to be asked until a draft has its verdict."""
        if draft["trial"] is not None:
            self.trials.append(draft["trial"])
        decision = decision_of(draft, self.request)
        if decision is not None and draft["status"] == "drafted":
            draft = yield from self._surely(self._verified(decision, draft))
        self.draft = draft

    @property
    def given_draft(self) -> Draft:
        """The draft, behind what makes one."""
        if self.draft is None:  # pragma: no cover - it is asked behind that alone
            msg = "There is no draft."
            raise RuntimeError(msg)
        return self.draft

    def _verified(
        self, decision: Decision, draft: Draft
    ) -> Generator[Step, Any, Draft]:
        before = self.costs.decision(())
        decision, verdict = yield from self.request.verified(decision)
        spent = less(self.costs.decision(()), before)
        return judged(draft, decision.course, verdict, spent)

    def finishing(self, draft: Draft) -> Generator[Step, Any, None]:
        """What is to be asked and shown until an answer stands in place of a draft."""
        self.draft = draft
        if draft["trial"] is not None:
            self.trials.append(draft["trial"])
        yield from self._ended(finished(draft, self.request, shows=self.shows))

    def _ended(
        self, steps: Generator[Step, Any, Decision]
    ) -> Generator[Step, Any, None]:
        """Take steps until an answer stands, and say what became of it."""
        decision = yield from self._surely(steps)
        self._settle(decision)
        yield Showing([self._last(decision)])

    def _surely(
        self, steps: Generator[Step, Any, _Result]
    ) -> Generator[Step, Any, _Result]:
        """Take steps; where they fail, nobody sees any of the answers on trial."""
        try:
            return (yield from steps)
        except Exception:
            for trial in self.trials:
                report_rejected(trial, source=LEVER)
            raise

    def _last(self, decision: Decision) -> AIMessageChunk:
        """The last piece: the note, or all of an answer that nobody has streamed."""
        asked = decision.asked
        if self.shows and asked.trial is not None and asked.held.empty:
            return as_chunk(self.answer)
        said = {"lean": self.answer.response_metadata["lean"][-1:]}
        return AIMessageChunk(content="", id=self.answer.id, response_metadata=said)

    def screening(self) -> Generator[Step, Any, None]:
        """What is to be asked until it is decided who is to answer."""
        place, course = yield from self.request.screened()
        name = self.request.ladder.names[place]
        self.route = course.route(name, place, self.costs.decision(()))

    def pieces(self, steps: Generator[Step, Any, None]) -> Iterator[AIMessageChunk]:
        """Take the steps; give the pieces of the answer as they can be shown."""
        given: Any = None
        error: Exception | None = None
        while (step := _next(steps, given, error)) is not None:
            given = error = None
            try:
                if isinstance(step, Opinion):
                    with self._own_calls():
                        given = step.ask()
                elif isinstance(step, Showing):
                    yield from self._shown(step.pieces)
                elif self._is_streamed(step):
                    yield from self._stream(step)
                    given = step.held.message()
                else:
                    given = step.rung.model.invoke(
                        step.attempt.messages, self._config(step), **self._options(step)
                    )
            except Exception as problem:
                error = problem

    async def apieces(
        self, steps: Generator[Step, Any, None]
    ) -> AsyncIterator[AIMessageChunk]:
        """`pieces` for asyncio."""
        given: Any = None
        error: Exception | None = None
        while (step := _next(steps, given, error)) is not None:
            given = error = None
            try:
                if isinstance(step, Opinion):
                    with self._own_calls():
                        given = await step.aask()
                elif isinstance(step, Showing):
                    for piece in self._shown(step.pieces):
                        yield piece
                elif self._is_streamed(step):
                    async with aclosing(self._astream(step)) as pieces:
                        async for piece in pieces:
                            yield piece
                    given = step.held.message()
                else:
                    given = await step.rung.model.ainvoke(
                        step.attempt.messages, self._config(step), **self._options(step)
                    )
            except Exception as problem:
                error = problem

    def _stream(self, asked: Asking) -> Iterator[AIMessageChunk]:
        stream = asked.rung.model.stream(
            asked.attempt.messages, self._config(asked), **self._options(asked)
        )
        with closing(cast("Generator[Any]", stream)) as chunks:
            for chunk in chunks:
                yield from self._fed(asked, chunk)
                if asked.held.rejected:
                    break

    async def _astream(self, asked: Asking) -> AsyncGenerator[AIMessageChunk, None]:
        stream = asked.rung.model.astream(
            asked.attempt.messages, self._config(asked), **self._options(asked)
        )
        async with aclosing(cast("AsyncGenerator[Any]", stream)) as chunks:
            async for chunk in chunks:
                for piece in self._fed(asked, chunk):
                    yield piece
                if asked.held.rejected:
                    break

    @contextmanager
    def _own_calls(self) -> Iterator[None]:
        """Have what a policy calls be a part of this run, on the router's own behalf.

        A model that answers must not find this in its context: what is bound to one
        takes over what the context's run says of itself.
        """
        token = var_child_runnable_config.set(own_call(self.config, LEVER))
        plain = added.set(NOTHING)
        try:
            yield
        finally:
            added.reset(plain)
            var_child_runnable_config.reset(token)

    def _fed(self, asked: Asking, chunk: object) -> Iterator[AIMessageChunk]:
        pieces = asked.held.feed(chunk)
        # A graph shows the pieces of an answer that is not on trial by itself.
        return iter(pieces) if asked.trial is None else self._shown(pieces)

    def _shown(self, pieces: Sequence[AIMessageChunk]) -> Iterator[AIMessageChunk]:
        if self.shows:
            show(pieces, self.config)
        return iter(pieces)

    def _is_streamed(self, asked: Asking) -> bool:
        model = asked.rung.model
        if self.streams or not self.shows or asked.trial is None:
            return self.streams
        # A stream is not tried again.
        return not (tries_again(model) or heard_only(model))

    def _config(self, asked: Asking) -> RunnableConfig:
        said = {ANSWERS: asked.rung.name}
        added.set(Added(asked.attempt.added, asked.attempt.options))
        if asked.trial is not None:
            self.trials.append(asked.trial)
            config = hidden_call(self.config, {**said, TRIAL: asked.trial})
            if self.shows and heard_only(asked.rung.model):
                hears(config, Ear(asked.trial, asked.held, partial(self._fed, asked)))
            return config
        metadata = {**(self.config.get("metadata") or {}), **said}
        return {**self.config, "metadata": metadata}

    def _options(self, asked: Asking) -> dict[str, Any]:
        return {**asked.attempt.options, **self.options}

    def _settle(self, decision: Decision) -> None:
        """Say on the answer who gave it and why, and to a ledger what that saved."""
        course, rung = decision.course, decision.asked.rung
        for rejected in course.rejected:
            report_rejected(rejected, source=LEVER)
        for verdict in course.verdicts:
            if FAILED in verdict["reason"]:
                reason = verdict["reason"]
                report_notice(LEVER, action="escalated", reason=reason)
        if course.over_budget:
            report_notice(LEVER, action="kept", reason=course.reason)
        elif (trial := decision.asked.trial) is not None:
            spent = self.costs.answer(trial) or self._drafted(trial)
            strongest = self.request.ladder.strongest
            report_cheaper(decision.asked, spent, strongest, self.counter)
        cost = self._decision_cost(course.rejected)
        self.route = course.route(rung.name, decision.place, cost)
        self.answer = noted(
            decision.answer,
            self.route,
            node=node_of(self.config),
            over_budget=course.over_budget,
        )

    def _decision_cost(self, rejected: Sequence[str]) -> Decimal | None:
        cost = self.costs.decision(rejected)
        if self.draft is None:
            return cost
        earlier = [self.draft["decision_usd"]]
        if self.draft["trial"] in rejected:
            earlier.append(self.draft["answer_usd"])
        return total(earlier, cost)

    def _drafted(self, trial: str) -> dict[Answering, TokenUsage]:
        """What an answer used that was drafted in another node."""
        found = self.draft is not None and self.draft["trial"] == trial
        return used_by(self.draft) if self.draft is not None and found else {}


def node_of(config: RunnableConfig) -> str | None:
    """The node of a graph that a configuration is of."""
    node = (config.get("metadata") or {}).get("langgraph_node")
    return node if isinstance(node, str) else None


def _next(
    steps: Generator[Step, Any, None], given: Any, error: Exception | None
) -> Step | None:
    """Tell the steps what came of the last one; what is next, or None at the end."""
    try:
        return steps.send(given) if error is None else steps.throw(error)
    except StopIteration:
        return None
