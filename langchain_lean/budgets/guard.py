"""The guard: a callback handler that refuses calls before they break a budget."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackManager

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.recording.events import Call, Event, Outcome
from langchain_lean.accounting.recording.recorder import Recorder, recorders
from langchain_lean.accounting.recording.wrappers import drop
from langchain_lean.accounting.reporting import report_blocked
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.budgets.alerts import Notify, Watch, notifier
from langchain_lean.budgets.budget import Budget
from langchain_lean.budgets.demands import (
    Demand,
    Reservation,
    Shortage,
    make_demand,
    outcome_of,
    too_large,
)
from langchain_lean.budgets.errors import BudgetExceededError, CallRefusedError
from langchain_lean.budgets.estimates import Ask, Estimator
from langchain_lean.budgets.refusals import refused, together
from langchain_lean.budgets.reservations import OnStoreError, Reservations
from langchain_lean.budgets.status import BudgetStatus, status_of
from langchain_lean.budgets.storage import Counter, Storage, open_storage
from langchain_lean.budgets.storage.base import check_seconds
from langchain_lean.errors import ConfigurationError, StorageError
from langchain_lean.lifecycle import keep_until_exit

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable, RunnableConfig

    from langchain_lean.accounting.ledger import TokenLedger
    from langchain_lean.budgets.fitting import Action
    from langchain_lean.budgets.model import BudgetedModel

_REASON = "over budget"
_SWEPT = 256  # calls after which those that will never end are dropped


@dataclass(frozen=True, slots=True)
class Ahead:
    """What was reserved for a call before it begins, by whoever makes it.

    Attributes:
        guard: Who reserved it.
        reservations: The reservation, until the call takes it.
        refusals: Why a part of the call, such as a retry, was refused.
    """

    guard: BudgetGuard
    reservations: list[Reservation]
    refusals: list[CallRefusedError] = field(default_factory=list)


reserved_ahead: ContextVar[tuple[Ahead, ...]] = ContextVar(
    "langchain_lean_reserved_ahead", default=()
)
"""What was reserved for the next call of this context; the newest is the last."""


@dataclass(frozen=True, slots=True)
class CountedRun:
    """The run that the calls of a context count to, where a guard cannot see that.

    Attributes:
        guard: Whose count it is.
        id: Names the run.
        nested: Whether the calls are made inside of a tool of that run.
    """

    guard: BudgetGuard
    id: str
    nested: bool = False


_counted_runs: ContextVar[tuple[CountedRun, ...]] = ContextVar(
    "langchain_lean_counted_runs", default=()
)


class BudgetGuard(Recorder):
    """Keeps calls within budgets: reserves before each, settles after it.

    A callback handler for models, chains, graphs and agents. A call that does not fit
    is never made: `BudgetExceededError` is raised in its place. Give all budgets to one
    guard: it decides on all of them in one step.

    Args:
        budgets: What may be spent; a call must fit into all.
        store: `memory://` for this process alone, `sqlite:///file.db` for one machine,
            `redis://host:6379/0` or `dynamodb://table?region=...` for several; or a
            `Storage`.
        ledger: Told of refused calls. Inside `track()`, in a chain or graph, and where
            it stands before the guard among the callbacks, a ledger is found without.
        prices: What models cost; the ledger's prices if not given.
        counter: Estimates what calls send, and learns from their answers; the ledger's
            if not given.
        notify: Told when `warn_at` of a budget is used, on the thread of the call that
            does it: a function of an `Alert`, an SNS topic's ARN, or a webhook's URL.
        on_store_error: What to do when the store cannot be reached: `block` refuses
            calls; `local` lets each process keep the limits by itself, on top of what
            it last saw, so that the bound is the limit times the processes; `allow`
            lets all calls through.
        require_key: Refuse calls that do not say whom they are for, where a budget is
            `by` somebody. Otherwise all such calls share a counter.
        lease: Seconds a call may take. After that what it reserved is freed, except
            for its input; should it end after all within an hour, it is settled.
        namespace: Keeps applications apart that share a server.
        clock: Seconds since the epoch.

    Raises:
        ConfigurationError: If something of this makes no sense. Calls raise what stands
            in `langchain_lean.budgets.errors`, each a `CallRefusedError`.

    Example:
        ```python
        guard = BudgetGuard(Budget(usd="1.00", per="day", by="user_id"))
        chain.invoke(question, config={"callbacks": [guard]})
        ```
    """

    raise_error = True
    # Inline, a handler that raises leaves a coroutine behind that nobody awaits.
    run_inline = False

    def __init__(
        self,
        *budgets: Budget,
        store: str | Storage = "memory://",
        ledger: TokenLedger | None = None,
        prices: PriceBook | None = None,
        counter: TokenCounter | None = None,
        notify: Notify | str | None = None,
        on_store_error: OnStoreError = "block",
        require_key: bool = False,
        lease: float = 600.0,
        namespace: str = "lean",
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_seconds("lease=", lease)
        _check_ledger(ledger)
        super().__init__(abandon_after=lease, clock=clock, timer=time.perf_counter)
        self.budgets = _checked(budgets)
        self.storage = open_storage(store, namespace)
        self.ledger = ledger
        self.require_key = require_key
        self._lease = lease
        self._reservations = Reservations(
            self.storage, lease=lease, on_store_error=on_store_error, clock=clock
        )
        self._estimator = Estimator(
            counter or (ledger.counter if ledger else TokenCounter()),
            _prices(budgets, prices or (ledger.prices if ledger else None)),
            must_price=any(b.unit == "usd" and b.limit is not None for b in budgets),
        )
        self._learns_input = counter is not None or ledger is None
        self._told = None if notify is None else notifier(notify)
        self._watch = Watch(self.storage, self._told, clock)
        self._open: dict[str, Reservation | None] = {}  # None while it is asked for
        self._lost: set[str] = set()
        self._admitted = 0
        self._lock = threading.RLock()
        counter = self._estimator.counter
        # The ledger looks after a counter of its own.
        own = () if ledger is not None and counter is ledger.counter else (counter,)
        self._locks = (self._estimator.lengths, *own)
        keep_until_exit(self, early=False)

    @property
    def ignore_chain(self) -> bool:
        """Whether chains need not be followed: no budget is of the run they are of."""
        return not any(budget.per == "run" for budget in self.budgets)

    @property
    def ignore_agent(self) -> bool:
        """The same of tools."""
        return self.ignore_chain

    @property
    def ignore_retriever(self) -> bool:
        """The same of retrievers."""
        return self.ignore_chain

    @property
    def ignore_custom_event(self) -> bool:
        """Savings and refusals are for ledgers."""
        return True

    def __repr__(self) -> str:
        """Name the budgets and the kind of store."""
        budgets = ", ".join(map(repr, self.budgets))
        return f"BudgetGuard({budgets}, store={type(self.storage).__name__})"

    def close(self) -> None:
        """Tell the store what it could not be told before."""
        self._reservations.close()

    def hold(self) -> None:
        """Take every lock, so that no other thread holds one while a process forks."""
        for lock in self._locks:
            lock.hold()
        self._lock.acquire()

    def release(self) -> None:
        """Let go of the locks again."""
        self._lock.release()
        for lock in reversed(self._locks):
            lock.release()

    def forget(self) -> None:
        """Leave the calls under way to the parent, in a forked process."""
        self._lock = threading.RLock()
        self._open = {}
        self._forget_calls()
        self._reservations.forget()
        for lock in self._locks:
            lock.forget()

    def __deepcopy__(self, memo: object) -> BudgetGuard:
        """Stay one guard, also where a model that carries it is copied."""
        return self

    def model(
        self,
        model: Runnable[Any, Any],
        *,
        lite: Runnable[Any, Any] | None = None,
        when_over: Sequence[Action] | None = None,
        exact: bool = False,
    ) -> BudgetedModel:
        """A model that adapts calls that do not fit, for chains and graphs of your own.

        Args:
            model: A chat model, or one with tools bound to it.
            lite: The model to ask in place of it where it does not fit.
            when_over: What to do, in the order to try it: `trim` (leave the oldest
                turns out), `shorten` (cap the answer), `downgrade` (ask `lite`),
                `finish` (one short last answer without tools, of 256 tokens), `raise`.
                All of them if not given. An answer is not capped below 64 tokens, and
                against a budget of calls nothing helps.
            exact: Cap answers at what is reserved for them, so that no budget is
                passed.

        Raises:
            ConfigurationError: If something of this makes no sense.
        """
        from langchain_lean.budgets.model import BudgetedModel

        return BudgetedModel(self, model, lite=lite, when_over=when_over, exact=exact)

    def status(self, *, run_id: str = "", **keys: str) -> list[BudgetStatus]:
        """How the budgets stand.

        Args:
            run_id: The outermost run, for budgets of each run.
            keys: Whose budgets: the values of `by`, such as `user_id="ada"`, and
                `thread_id` for budgets of each thread.

        Returns:
            One for each budget, in their order; one of each call has no past.

        Raises:
            ConfigurationError: If no budget is by such a key.
            StorageError: If the store cannot be reached.
        """
        now = self.clock()
        counters = self._counters(now, run_id, keys)
        return [
            status_of(budget, self.storage.read(key) if key else Counter(), now)
            for budget, key in counters
        ]

    async def astatus(self, *, run_id: str = "", **keys: str) -> list[BudgetStatus]:
        """`status` for asyncio."""
        now = self.clock()
        counters = self._counters(now, run_id, keys)
        return [
            status_of(budget, await self.storage.aread(key) if key else Counter(), now)
            for budget, key in counters
        ]

    def reset(self, *, run_id: str = "", **keys: str) -> None:
        """Let budgets begin anew in their present window.

        Only the budgets that are by just these keys: `reset(user_id="ada")` leaves the
        budgets that everybody shares alone, and `reset()` those of each user.

        Args:
            run_id: As for `status`.
            keys: As for `status`.

        Raises:
            ConfigurationError: If no budget is by such a key.
            StorageError: If the store cannot be reached.
        """
        for key in self._to_reset(run_id, keys):
            self._reservations.clear(key)

    async def areset(self, *, run_id: str = "", **keys: str) -> None:
        """`reset` for asyncio."""
        for key in self._to_reset(run_id, keys):
            await self._reservations.aclear(key)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        """Reserve what a call may use, or refuse it.

        Raises:
            CallRefusedError: If the call may not be made.
        """
        super().on_chat_model_start(serialized, messages, run_id=run_id, **kwargs)
        self._admit(run_id)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        """Reserve what a call may use, or refuse it.

        Raises:
            CallRefusedError: If the call may not be made.
        """
        super().on_llm_start(serialized, prompts, run_id=run_id, **kwargs)
        self._admit(run_id)

    def demand(self, ask: Ask) -> Demand:
        """What a call asks of the budgets.

        Raises:
            CallRefusedError: If it has no price, or does not say whom it is for.
        """
        now = self.clock()
        return make_demand(
            ask,
            self._estimator.estimate(ask, now),
            self.budgets,
            now=now,
            lease=self._lease,
            require_key=self.require_key,
        )

    def reserve(self, demand: Demand) -> Reservation | Shortage:
        """Hold what a call may use of all budgets, or of none.

        Raises:
            BudgetStoreError: If the store cannot be reached and that blocks.
        """
        if (small := too_large(demand)) is not None:
            return small
        outcome = outcome_of(demand, self._reservations.reserve(demand.counted))
        if isinstance(outcome, Shortage):
            self._warn(demand, outcome.counters)
        return outcome

    async def areserve(self, demand: Demand) -> Reservation | Shortage:
        """`reserve` for asyncio."""
        if (small := too_large(demand)) is not None:
            return small
        granted = await self._reservations.areserve(demand.counted)
        outcome = outcome_of(demand, granted)
        if isinstance(outcome, Shortage) and self._told is not None:
            await asyncio.to_thread(self._warn, demand, outcome.counters)
        return outcome

    def free(self, reservation: Reservation) -> None:
        """Free what was reserved for a call that is not made."""
        self._reservations.settle(reservation.grant, {})

    def report_refused(
        self,
        ask: Ask,
        error: CallRefusedError,
        *,
        run_id: UUID | None = None,
        parent_run_id: UUID | None = None,
    ) -> None:
        """Have a call that was refused stand in the ledger as blocked.

        Args:
            ask: The call.
            error: Why it was refused.
            run_id: Its run, if it had begun.
            parent_run_id: The run it was called from.
        """
        report = partial(
            report_blocked,
            run_id or uuid4(),
            reason=_REASON if isinstance(error, BudgetExceededError) else str(error),
            model=ask.model,
            provider=ask.provider,
            metadata=ask.metadata,
            parent_run_id=parent_run_id,
        )
        report()
        if self.ledger is not None:
            report(callbacks=[self.ledger])

    def outermost_run(self, run_id: UUID) -> str:
        """The outermost run that a run belongs to, as far as the guard saw it begin."""
        counted = self.counted_run
        return self._trace_id(run_id, run_id) if counted is None else counted.id

    def watch(self, config: RunnableConfig) -> None:
        """See the calls of a run: stand among the callbacks of its configuration."""
        callbacks = config.get("callbacks")
        if isinstance(callbacks, BaseCallbackManager):
            if not self.watches(config):
                callbacks.add_handler(self, inherit=True)
        else:
            config["callbacks"] = [*(callbacks or ()), self]

    def watches(self, config: RunnableConfig) -> bool:
        """Whether it stands among the callbacks of a configuration."""
        callbacks: Any = config.get("callbacks")
        handlers = getattr(callbacks, "handlers", callbacks) or ()
        return any(
            h is self or getattr(h, "stands_for", None) is self for h in handlers
        )

    @property
    def counted_run(self) -> CountedRun | None:
        """The run that the calls of this context count to, where somebody said it."""
        runs = _counted_runs.get()
        return next((run for run in reversed(runs) if run.guard is self), None)

    @contextmanager
    def counting(self, run_id: str, *, nested: bool = False) -> Iterator[None]:
        """Count the calls inside to a run that the guard did not see begin.

        Args:
            run_id: Names the run.
            nested: Whether the calls are made inside of a tool of that run.
        """
        run = CountedRun(self, run_id, nested)
        token = _counted_runs.set((*_counted_runs.get(), run))
        try:
            yield
        finally:
            _counted_runs.reset(token)

    def _admit(self, run_id: UUID) -> None:
        """Reserve for a call that has begun, once, or refuse it."""
        call = self._calls.get(run_id)
        if call is None:
            msg = "The call is refused, because the guard could not read it."
            raise CallRefusedError(msg)
        with self._lock:
            if call.run_id in self._open:
                return  # the guard was given twice
            self._open[call.run_id] = None
        try:
            outcome = self._take_ahead() or self.reserve(self.demand(self._ask(call)))
            if isinstance(outcome, Shortage):
                raise outcome.error()
        except CallRefusedError as error:
            self._refuse(run_id, call, error)
            raise
        self._open[call.run_id] = outcome
        if call in refused:  # by another thread, before this one had reserved
            self._drop(call)
        self._admitted += 1
        if self._admitted % _SWEPT == 0:
            self._forget_lost()

    @property
    def _ahead(self) -> Ahead | None:
        """What this guard reserved for the call of this context, if anything."""
        known = reserved_ahead.get()
        return next((ahead for ahead in reversed(known) if ahead.guard is self), None)

    def _ask(self, call: Call) -> Ask:
        """What a call asks of the budgets."""
        counted = self.counted_run
        ask = Ask.of(call)
        return ask if counted is None else replace(ask, run_id=counted.id)

    def _take_ahead(self) -> Reservation | None:
        """The reservation made ahead for this call; for a retry there is none left."""
        if ahead := self._ahead:
            with suppress(IndexError):
                return ahead.reservations.pop()
        return None

    def _refuse(self, run_id: UUID, call: Call, error: CallRefusedError) -> None:
        """Undo what was begun for a call that is not made, and report it."""
        refused.add(call)
        if ahead := self._ahead:
            ahead.refusals.append(error)
        parent = UUID(call.parent_id) if call.parent_id else None
        self.report_refused(Ask.of(call), error, run_id=run_id, parent_run_id=parent)
        for recorder in recorders():
            if isinstance(recorder, BudgetGuard):
                recorder._drop(call)

    def _drop(self, gone: Call) -> None:
        """Free what was reserved for a call, and for others of its `generate`."""
        runs = [gone.run_id]
        for run_id, call in self._calls.copy().items():
            if call.run_id == gone.run_id or together(call, gone):
                self._calls.pop(run_id, None)
                runs.append(call.run_id)
                if call.nest is not None:
                    drop(call.nest)
        for name in runs:
            reservation = self._open.pop(name, None)
            if reservation is not None:
                self.free(reservation)

    def _received(self, event: Event) -> None:
        """Settle a call that has ended."""
        if isinstance(event, Outcome):
            reservation = self._open.pop(event.call.run_id, None)
            if reservation is not None:
                self._settle(reservation, event)

    def _passed_on(self, call: Call) -> None:
        """Free what was reserved for a model that only wraps another one."""
        reservation = self._open.pop(call.run_id, None)
        if reservation is not None:
            self.free(reservation)

    def _settle(self, reservation: Reservation, outcome: Outcome) -> None:
        demand, grant = reservation.demand, reservation.grant
        spent = self._estimator.spent(outcome, self.clock())
        # A model whose answer has no price costs what was reserved for it.
        cost = demand.estimate.cost if spent.cost is None else spent.cost
        actuals = {}
        for part in demand.parts if spent.made else ():
            if part.budget.per != "call":
                actuals[part.claim.key] = part.budget.amount(spent.usage, cost)
        counters = self._reservations.settle(grant, actuals)
        if spent.made and spent.reported:
            learns = self._learns_input
            self._estimator.learn(demand.ask, spent.usage, count_input=learns)
        if counters is not None:
            self._warn(demand, counters)

    def _warn(self, demand: Demand, counters: Mapping[str, Counter]) -> None:
        """Tell of budgets that run out; a store that did not say is asked."""
        for part in () if self._told is None else demand.parts:
            share = part.budget.warn_at
            if share is None or part.budget.limit is None or part.budget.per == "call":
                continue
            key = part.claim.key
            try:
                counter = counters.get(key) or self.storage.read(key)
            except StorageError:
                continue
            self._watch.check(part, counter.used, (share,))

    def _forget_lost(self) -> None:
        """Drop calls that never ended; their leases end by themselves."""
        self._abandoned_calls()
        under_way = {call.run_id for call in self._calls.copy().values()}
        lost = set(self._open.copy()) - under_way
        for run_id in lost & self._lost:  # one that was not lost before may be ending
            self._open.pop(run_id, None)
        self._lost = lost

    def _to_reset(self, run_id: str, keys: Mapping[str, str]) -> list[str]:
        """The counters of the budgets that are by just these keys."""
        return [
            each
            for budget, key in self._counters(self.clock(), run_id, keys)
            if key
            and set(budget.keys) == set(keys)
            and (budget.per == "run") == bool(run_id)
            for each in (key, self._watch.forget(key, budget.warn_at))
        ]

    def _counters(
        self, now: float, run_id: str, keys: Mapping[str, str]
    ) -> list[tuple[Budget, str]]:
        """The counters of somebody's budgets; an empty key for those of a call."""
        whose = {k: None if v is None else str(v) for k, v in keys.items()}
        known = {key for budget in self.budgets for key in budget.keys}
        if unknown := sorted(set(keys) - known):
            msg = (
                f"No budget is by {' or '.join(unknown)}; "
                f"they are by {', '.join(sorted(known)) or 'nothing'}."
            )
            raise ConfigurationError(msg)
        return [
            (budget, "" if budget.per == "call" else budget.counter(now, whose, run_id))
            for budget in self.budgets
        ]


def _checked(budgets: Sequence[Budget]) -> tuple[Budget, ...]:
    if not budgets or not all(isinstance(budget, Budget) for budget in budgets):
        msg = (
            "A guard takes budgets, one after the other: "
            'BudgetGuard(Budget(usd="1.00", per="day"), ...).'
        )
        raise ConfigurationError(msg)
    known = set()
    for budget in budgets:
        counts = (budget.unit, budget.per, budget.keys, budget.name, budget.timezone)
        if counts in known:
            msg = f"Two budgets would count the same ({budget}); give one a name."
            raise ConfigurationError(msg)
        known.add(counts)
    return tuple(budgets)


def _check_ledger(ledger: object) -> None:
    """Refuse what is no ledger.

    Raises:
        ConfigurationError: If it is something else.
    """
    if ledger is not None and not isinstance(ledger, Recorder):
        msg = f"ledger= takes a TokenLedger, not {type(ledger).__name__}."
        raise ConfigurationError(msg)


def _prices(budgets: Iterable[Budget], given: PriceBook | None) -> PriceBook | None:
    """The prices, loaded, if any budget needs them."""
    if all(budget.unit != "usd" for budget in budgets):
        return None
    from langchain_lean.accounting.prices.table import price_table

    price_table()  # takes half a second, which is no time to take from a call
    return given or PriceBook()
