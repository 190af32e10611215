"""A cap on the model calls of an agent."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from langchain_core.messages import AIMessage, ToolMessage

from langchain_lean.accounting.attribution import attributed
from langchain_lean.accounting.recording.reading import is_cache_hit
from langchain_lean.accounting.reporting import report_notice
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.budgets.budget import Budget
from langchain_lean.budgets.demands import Demand, Reservation, make_demand
from langchain_lean.budgets.errors import BudgetExceededError
from langchain_lean.budgets.estimates import Ask, Estimate
from langchain_lean.budgets.guard import BudgetGuard
from langchain_lean.budgets.reservations import Grant, OnStoreError
from langchain_lean.budgets.status import BudgetStatus
from langchain_lean.budgets.storage import Claim, Storage
from langchain_lean.budgets.storage.base import LATE, MOST
from langchain_lean.checks import checked_count
from langchain_lean.errors import StorageError
from langchain_lean.messages import note
from langchain_lean.routing.stepping.inputs import Inputs
from langchain_lean.routing.stepping.places import Places, goes_on, is_graph
from langchain_lean.routing.stepping.stopped import LEVER

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable
    from langgraph.prebuilt.tool_node import ToolCallRequest

    from langchain_lean.accounting.ledger import TokenLedger
    from langchain_lean.accounting.recording.events import Outcome, StepKind
    from langchain_lean.routing.stepping.model import StepModel

_Result = TypeVar("_Result")

_ONE_STEP = Estimate(usage=TokenUsage())  # whatever it sends


class StepCap(BudgetGuard):
    """Lets a run make so many model calls, and then one last answer.

    A callback handler, given to the run. It is a budget of calls for each run: every
    call that is made is counted before it begins, also one that fails, in retries,
    fallbacks, sub-agents, parallel branches and in other levers. Answers of LangChain's
    cache are not.

    Each new input begins at 0. A run that goes on where it stopped, with `None` or
    `Command(resume=...)` and a `thread_id`, goes on counting; on another machine it
    does so with a store that both use.

    When the cap is reached, `cap.model(...)` in the outermost graph gives one last
    answer without tools. In a sub-agent it ends that one with a fixed text, and so it
    does where the last answer was given. A model of which the cap was not told raises
    `BudgetExceededError`; inside of tools, `wrap_tool_call` makes a result of that.

    Args:
        max_calls: The calls a run may make before its last answer; 0 for none. Of 104
            recorded runs of an airline's agent (tau-bench), 20 cut off 13, none of
            which had succeeded.
        repeat: After how many answers in a row with the same tool calls a model is
            asked to answer without tools; None for never. In none of those runs were
            there two.
        store: As for `BudgetGuard`; one that processes share where a run may go on in
            another one.
        name: Tells caps apart that share a store and count the same runs.
        ledger: As for `BudgetGuard`.
        on_store_error: As for `BudgetGuard`.
        lease: Seconds a call may take.
        namespace: Keeps applications apart that share a server.
        clock: Seconds since the epoch.

    Raises:
        ConfigurationError: If something of this makes no sense.

    Example:
        ```python
        cap = StepCap(max_calls=20)
        model = cap.model(sonnet.bind_tools(tools))  # in the agent's node
        graph.invoke(question, {"callbacks": [cap]})
        ```
    """

    def __init__(
        self,
        max_calls: int = 20,
        *,
        repeat: int | None = 3,
        store: str | Storage = "memory://",
        name: str = "steps",
        ledger: TokenLedger | None = None,
        on_store_error: OnStoreError = "block",
        lease: float = 600.0,
        namespace: str = "lean",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.max_calls = checked_count("max_calls", max_calls, 0)
        self.repeat = None if repeat is None else checked_count("repeat", repeat, 2)
        super().__init__(
            Budget(calls=max_calls, per="run", name=name, warn_at=None),
            store=store,
            ledger=ledger,
            on_store_error=on_store_error,
            lease=lease,
            namespace=namespace,
            clock=clock,
        )
        self.places = Places()
        # The last answer is one call more on the same counter, and only one of a run.
        self._past_the_cap = (
            Budget(calls=max_calls + 1, per="run", name=name),
            Budget(calls=1, per="run", name=f"{name}: last answers"),
        )
        self._inputs = Inputs(self._reservations, f"{name}: inputs", clock)

    def __repr__(self) -> str:
        """Name the numbers and the kind of store."""
        store = type(self.storage).__name__
        return f"StepCap({self.max_calls}, repeat={self.repeat}, store={store})"

    @property
    def reached(self) -> str:
        """What is said where the cap is reached."""
        return f"the run reached its cap of {self.budgets[0].words(self.max_calls)}"

    @property
    def stopped(self) -> str:
        """What stands in an answer's place where no model is asked."""
        return f"Stopped, because {self.reached}: this was not answered."

    def model(  # type: ignore[override] # a cap has other options than other budgets
        self, model: Runnable[Any, Any], *, final: bool | None = None
    ) -> StepModel:
        """A model that answers in place of failing when the cap is reached.

        Args:
            model: A chat model, or one with tools bound to it.
            final: Whether it may give the one last answer, which is capped at 256
                tokens; by default where it is asked in the outermost graph. True for a
                graph that is a node of another one and answers the user by itself.

        Raises:
            ConfigurationError: If it is no chat model.
        """
        from langchain_lean.routing.stepping.model import StepModel

        return StepModel(self, model, final=final)

    def wrap_tool_call(
        self,
        request: ToolCallRequest,
        execute: Callable[[ToolCallRequest], _Result],
    ) -> _Result | ToolMessage:
        """Make a tool's result of a refusal by this cap, so that the agent goes on.

        For sub-agents whose models the cap was not told of:
        `ToolNode(tools, wrap_tool_call=cap.wrap_tool_call)`, and for asyncio
        `awrap_tool_call=cap.awrap_tool_call`.

        Args:
            request: The tool call.
            execute: Runs the tool.

        Returns:
            What the tool returned, or an error that says that the cap was reached.
        """
        try:
            return execute(request)
        except BudgetExceededError as error:
            return self._result(request, error)

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        execute: Callable[[ToolCallRequest], Awaitable[_Result]],
    ) -> _Result | ToolMessage:
        """`wrap_tool_call` for asyncio."""
        try:
            return await execute(request)
        except BudgetExceededError as error:
            return self._result(request, error)

    def refused(self, error: BaseException) -> bool:
        """Whether an error is the refusal of a call by this cap, and no other guard."""
        return (
            isinstance(error, BudgetExceededError) and error.budget is self.budgets[0]
        )

    def status(
        self, *, run_id: str = "", thread_id: str | None = None, **keys: str
    ) -> list[BudgetStatus]:
        """How many calls a run has made.

        Args:
            run_id: The outermost run.
            thread_id: The thread whose newest input is asked for, instead.
            keys: None; a cap is by nothing.

        Returns:
            One status; the last answer stands in it as `overshoot`.

        Raises:
            StorageError: If the store cannot be reached.
        """
        if thread_id is not None:
            run_id = self._inputs.newest(str(thread_id))
        return super().status(run_id=run_id, **keys)

    async def astatus(
        self, *, run_id: str = "", thread_id: str | None = None, **keys: str
    ) -> list[BudgetStatus]:
        """`status` for asyncio."""
        if thread_id is not None:
            run_id = await self._inputs.anewest(str(thread_id))
        return await super().astatus(run_id=run_id, **keys)

    def reset(
        self, *, run_id: str = "", thread_id: str | None = None, **keys: str
    ) -> None:
        """Let a run begin anew at 0, such as one that was refused and is to go on.

        Args:
            run_id: As for `status`.
            thread_id: As for `status`.
            keys: None; a cap is by nothing.

        Raises:
            StorageError: If the store cannot be reached.
        """
        if thread_id is not None:
            run_id = self._inputs.newest(str(thread_id))
        super().reset(run_id=run_id, **keys)

    async def areset(
        self, *, run_id: str = "", thread_id: str | None = None, **keys: str
    ) -> None:
        """`reset` for asyncio."""
        if thread_id is not None:
            run_id = await self._inputs.anewest(str(thread_id))
        await super().areset(run_id=run_id, **keys)

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        """Note a chain or graph node, and which input of its thread a run is about.

        Raises:
            BudgetStoreError: If the store cannot be reached and that blocks.
        """
        super().on_chain_start(serialized, inputs, run_id=run_id, **kwargs)
        run, metadata = self.outermost_run(run_id), kwargs.get("metadata")
        if self._inputs.numbered(run) or not is_graph(metadata):
            return
        thread = attributed("thread_id", metadata)
        if thread is not None:
            before = self._made(run)
            self._inputs.begin(run, thread, goes_on=goes_on(inputs))
            if before and self._inputs.numbered(run):
                # Of a run that goes on, they leave it its last answer.
                left = max(self.max_calls - self._made(run), 0)
                self._carry(min(before, left) if goes_on(inputs) else before, run)

    @contextmanager
    def counting(self, run_id: str, *, nested: bool = False) -> Iterator[None]:
        """Count the calls inside to a run that the cap did not see begin.

        Args:
            run_id: Names the run, which may rest and go on in another process.
            nested: Whether the calls are made inside of a tool of that run.
        """
        self._inputs.name(run_id)
        with super().counting(run_id, nested=nested):
            yield

    def sees(self, run_id: UUID | None) -> bool:
        """Whether it knows to which run the calls below a run count."""
        return self.counted_run is not None or run_id in self.places

    def nested(self, run_id: UUID | None) -> bool:
        """Whether the calls below a run are part of a sub-graph or a tool."""
        counted = self.counted_run
        return self.places.nested(run_id) if counted is None else counted.nested

    def demand(self, ask: Ask) -> Demand:
        """What a call asks of the cap: one step, whatever it sends."""
        return self._demand(ask, self.budgets)

    def last_demand(self, ask: Ask) -> Demand:
        """What the one answer past the cap asks for."""
        return self._demand(ask, self._past_the_cap)

    def _made(self, run: str) -> int:
        """How many calls a run has made so far, if it was counted before."""
        made = 0
        if run in self._inputs:
            key = self._counter_of(self._inputs.name_of(run))
            with suppress(StorageError):  # the next call meets it, and says so
                made = self.storage.read(key).taken
        return made

    def _carry(self, made: int, run: str) -> None:
        """Count calls that a run made before its graph on the counter it has now."""
        budget, key = self.budgets[0], self._counter_of(self._inputs.name_of(run))
        rests = self._lease + self._inputs.rests(run)
        window = budget.lasts(self.clock(), after=rests + LATE)
        grant = self._reservations.reserve([Claim(key, made, MOST, window, made)])
        if isinstance(grant, Grant):
            self._reservations.settle(grant, {key: made})

    def _counter_of(self, name: str) -> str:
        return self.budgets[0].counter(self.clock(), {}, name)

    def _demand(self, ask: Ask, budgets: tuple[Budget, ...]) -> Demand:
        name = self._inputs.fixed_name_of(ask.run_id)
        demand = make_demand(
            replace(ask, run_id=name),
            _ONE_STEP,
            budgets,
            now=self.clock(),
            lease=self._lease + self._inputs.rests(ask.run_id),
            require_key=False,
        )
        return replace(demand, ask=ask)

    def _settle(self, reservation: Reservation, outcome: Outcome) -> None:
        """Count a call that was made, whether it failed or not."""
        made = not is_cache_hit(outcome.message)
        parts = reservation.demand.parts if made else ()
        actuals = {part.claim.key: part.claim.amount for part in parts}
        self._reservations.settle(reservation.grant, actuals)

    def _enter(
        self,
        kind: StepKind | None,
        run_id: UUID,
        parent_run_id: UUID | None,
        serialized: Mapping[str, Any] | None,
        given: Mapping[str, Any],
    ) -> None:
        super()._enter(kind, run_id, parent_run_id, serialized, given)
        tool = kind == "tool"
        self.places.enter(run_id, parent_run_id, given.get("tags"), tool=tool)

    def _leave(
        self, run_id: UUID, *, failed: bool = False, documents: tuple[str, ...] = ()
    ) -> None:
        super()._leave(run_id, failed=failed, documents=documents)
        self.places.leave(run_id)

    def _counters(
        self, now: float, run_id: str, keys: Mapping[str, str]
    ) -> list[tuple[Budget, str]]:
        return super()._counters(now, self._inputs.name_of(run_id), keys)

    def _to_reset(self, run_id: str, keys: Mapping[str, str]) -> list[str]:
        name = self._inputs.name_of(run_id)
        last = self._past_the_cap[1].counter(self.clock(), {}, name)
        return [*super()._to_reset(run_id, keys), last]

    def _result(
        self, request: ToolCallRequest, error: BudgetExceededError
    ) -> ToolMessage:
        """The result of a tool that a refusal by this cap ended; others are raised."""
        if not self.refused(error):
            raise error
        report_notice(LEVER, action="stopped", reason=self.reached)
        said = AIMessage(self.stopped)
        note(said, lever=LEVER, action="stopped", reason=self.reached)
        return ToolMessage(
            self.stopped,
            name=request.tool_call["name"],
            tool_call_id=request.tool_call["id"],
            status="error",
            response_metadata=said.response_metadata,
        )
