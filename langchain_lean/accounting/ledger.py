"""The ledger: every token and dollar of an application, as a callback handler."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self, overload
from uuid import uuid4

from langchain_lean.accounting.attribution import running_parent
from langchain_lean.accounting.recording.recorder import Recorder
from langchain_lean.lifecycle import keep_until_exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from uuid import UUID

    import pandas as pd
    from matplotlib.figure import Figure

    from langchain_lean.accounting.anatomy import Anatomy
    from langchain_lean.accounting.entry import LedgerEntry, Step, Totals
    from langchain_lean.accounting.latency import RunTiming
    from langchain_lean.accounting.notices import Notice
    from langchain_lean.accounting.prices.book import PriceBook
    from langchain_lean.accounting.recording.bookkeeper import Exporter
    from langchain_lean.accounting.recording.events import Event, Kind
    from langchain_lean.accounting.report.data import Report
    from langchain_lean.accounting.savings import Savings
    from langchain_lean.accounting.store import LedgerStore
    from langchain_lean.accounting.tokens.counter import TokenCounter
    from langchain_lean.accounting.usage import TokenUsage

_RECENT = 10_000


_MESSAGE_ID = re.compile(
    r"(?:lc_)?run-+([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-\d+)?"
)
"""The id LangChain gives an answer: the run's, with the number of the choice."""


class TokenLedger(Recorder):
    """Accounts for every call it is given to as a callback, or tracks.

    Safe from many threads and across forks. Nothing it does can break a chain: what
    it cannot take down, it logs once. By default it keeps of each message its role,
    length and a keyed hash, not its text.

    Args:
        store: `memory://`, `sqlite:///file.db` (relative), `sqlite:////file.db`
            (absolute), or a `LedgerStore`. A file may be written by several
            processes; a killed one loses at most its last 100 ms, somewhat more only
            where it makes thousands of calls a second.
        prices: Prices; prices of your own are kept in the ledger's file.
        counter: Estimates what providers do not report; learns from what they do.
        keep_text: Also keep messages, tool schemas, documents and answers.
        abandon_after: Seconds after which a call that has not ended is taken to be
            abandoned; sooner where the run or the asyncio task it belongs to has
            ended, or the ledger is closed.
        exporters: Told of every call, see `langchain_lean.accounting.export`.
        clock: Seconds since the epoch.
        timer: Seconds that only go forward.

    Raises:
        ConfigurationError: If the store is named in a way that is not known.
        StorageError: If the file is damaged, or is no ledger.

    Example:
        ```python
        ledger = TokenLedger()
        chain.invoke(question, config={"callbacks": [ledger]})
        print(ledger.report())
        ```
    """

    def __init__(
        self,
        store: str | LedgerStore = "memory://",
        *,
        prices: PriceBook | None = None,
        counter: TokenCounter | None = None,
        keep_text: bool = False,
        abandon_after: float = 3600.0,
        exporters: Sequence[Exporter] = (),
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        # Loaded here, so that importing the ledger costs what a callback costs.
        from langchain_lean.accounting.recording.bookkeeper import Bookkeeper

        super().__init__(abandon_after=abandon_after, clock=clock, timer=timer)
        self._books = Bookkeeper(
            store,
            prices=prices,
            counter=counter,
            keep_text=keep_text,
            exporters=tuple(exporters),
            sweep=lambda closing: self._abandoned_calls(closing=closing),
            forget=self._forget_calls,
            warn=self._warn_once,
        )
        self.store: LedgerStore = self._books.store
        self.prices: PriceBook = self._books.prices
        self.counter: TokenCounter = self._books.counter
        keep_until_exit(self._books, early=bool(exporters))

    def __repr__(self) -> str:
        """Name the kind of store, without asking it."""
        return f"TokenLedger({type(self.store).__name__})"

    def _repr_html_(self) -> str:
        """The sums and the newest calls, as a notebook shows them."""
        from langchain_lean.accounting.report.newest import fragment

        return fragment(self)

    def entries(self) -> Iterator[LedgerEntry]:
        """The calls, oldest first, those that never ended included.

        In memory the newest 100,000 are kept one by one; a file keeps all.
        """
        self._books.settle()
        return self.store.entries()

    @overload
    def totals(self, by: None = None) -> Totals: ...
    @overload
    def totals(self, by: str) -> dict[str | None, Totals]: ...
    @overload
    def totals(self, by: tuple[str, ...]) -> dict[tuple[str | None, ...], Totals]: ...
    def totals(self, by: str | tuple[str, ...] | None = None) -> Any:
        """Sums over all calls.

        Args:
            by: A field of `LedgerEntry` (`model`, `node`, `user_id`, `day`, ...) or
                several; none for one sum over everything. In memory, calls older
                than the newest 100,000 are known by model, provider, node, source,
                user and day, and stand under `(older calls)` for other fields.

        Returns:
            The sums by value (None for calls that have none), by tuple of values, or
            the one sum.

        Raises:
            ConfigurationError: If there is no such field.
        """
        from langchain_lean.accounting.entry import Totals, check_fields
        from langchain_lean.accounting.prices.cost import exact

        names = () if by is None else (by,) if isinstance(by, str) else tuple(by)
        check_fields(names)
        self._books.settle()
        with exact():
            found = self.store.totals(names)
        if by is None:
            return found.get((), Totals())
        if isinstance(by, str):
            return {key[0]: totals for key, totals in found.items()}
        return found

    def anatomy(self) -> Anatomy:
        """Where all tokens went; `.shares()` gives the shares."""
        return self.totals().anatomy

    def savings(self) -> Savings:
        """What every lever saved, and what the levers themselves cost."""
        from langchain_lean.accounting.prices.cost import exact
        from langchain_lean.accounting.savings import Savings

        self._books.settle()
        with exact():
            by_source = self.store.totals(("source",))
            by_provider = self.store.totals(("provider",))
            return Savings.of(
                self.store.levers(),
                cached={key[0]: t.cache_saved for key, t in by_provider.items()},
                own_cost={
                    key[0]: t.cost for key, t in by_source.items() if key[0] is not None
                },
            )

    def notices(self) -> Iterator[Notice]:
        """What levers did, or could not do, that an answer may be worse for.

        Oldest first; in memory the newest 100,000 are kept, in a file all.
        """
        self._books.settle()
        return self.store.notices()

    def timings(self) -> list[RunTiming]:
        """Where the time of the newest runs went, from the newest 10,000 calls."""
        from langchain_lean.accounting.latency import timings

        self._books.settle()
        return timings(self.store.recent(_RECENT), self.store.recent_steps(_RECENT))

    def steps(self) -> Iterator[Step]:
        """The runs, retrievals and tools, oldest first."""
        self._books.settle()
        return self.store.steps()

    def report(self, *, title: str = "langchain_lean") -> Report:
        """The whole picture: print it, or write it as HTML.

        Args:
            title: What it is headed with.
        """
        from langchain_lean.accounting.report.data import make_report

        return make_report(self, title=title)

    def plot(
        self, kind: Literal["anatomy", "timeline", "savings", "latency"] = "anatomy"
    ) -> Figure:
        """Draw a picture of the calls; a notebook shows it, a script may save it.

        Args:
            kind: `anatomy` is where the tokens go, by model; `timeline` what was spent
                over time, by model (tokens where nothing has a price), with the calls
                that failed or were refused; `savings` what each lever saved, and what
                levers cost; `latency` how long each part of the newest runs took.

        Returns:
            A figure with one pair of axes, in the colors of the report. Pyplot knows
            nothing of it: nothing pops up, and there is nothing to close.

        Raises:
            ConfigurationError: If matplotlib is not installed, or there is no such
                kind.

        Example:
            ```python
            ledger.plot("timeline").savefig("timeline.png")
            ```
        """
        from langchain_lean.accounting.report.plots import plot

        return plot(self, kind)

    def to_pandas(self) -> pd.DataFrame:
        """The calls as a table, one row each.

        Raises:
            ConfigurationError: If pandas is not installed.
        """
        from langchain_lean.accounting.frame import to_pandas

        return to_pandas(self.entries())

    def text(self, digest: str) -> str | None:
        """The text of a message mark, if this ledger keeps texts."""
        self._books.settle()
        return self.store.text(digest)

    def feedback(self, run_id: UUID | str, *, good: bool) -> None:
        """Keep whether an answer was good.

        Args:
            run_id: The run of the call, or of the chain that answered: the `run_id` of
                an entry, the one given in a configuration, or the `id` of an answer
                that LangChain made of it (`lc_run--...`). One that no run has is kept,
                and nobody asks for it.
            good: The verdict; a later one replaces an earlier one.
        """
        made_of_run = _MESSAGE_ID.fullmatch(str(run_id))
        run = made_of_run[1] if made_of_run else str(run_id)
        self._books.judge(run, good=good)

    def feedbacks(self) -> dict[str, bool]:
        """By run, whether its answer was good."""
        self._books.settle()
        return self.store.feedback()

    def record(
        self,
        *,
        model: str,
        usage: TokenUsage | Mapping[str, Any],
        provider: str | None = None,
        kind: Kind = "chat",
        source: str | None = None,
        user_id: str | None = None,
        thread_id: str | None = None,
        tags: Sequence[str] = (),
        seconds: float = 0.0,
        at: datetime | None = None,
        estimated: bool = False,
    ) -> LedgerEntry:
        """Write down a call that no callback sees.

        Args:
            model: The model that was used.
            usage: What it used; a provider's own usage object is read as
                `TokenUsage.from_provider` reads it.
            provider: The provider as LangChain names it.
            kind: `chat`, `completion` or `embedding`.
            source: What made the call on its own behalf, if not the application.
            user_id: Whom it was for; else as for every call.
            thread_id: The conversation; else as for every call.
            tags: Tags.
            seconds: How long it took.
            at: When it began; now if not given. Naive times are UTC.
            estimated: The usage is an estimate.

        Returns:
            The entry, not yet priced.

        Raises:
            UsageError: If the usage cannot be true.
            ConfigurationError: If a mapping is no usage object of a known provider.
        """
        from langchain_lean.accounting.recording.calls import by_hand

        run_id, parent = uuid4(), running_parent()
        entry = by_hand(
            run_id,
            trace_id=self._trace_id(run_id, parent),
            parent_id=parent,
            model=model,
            usage=usage,
            provider=provider,
            kind=kind,
            source=source,
            user_id=user_id,
            thread_id=thread_id,
            tags=tags,
            seconds=seconds,
            start=_utc(at or datetime.fromtimestamp(self.clock(), UTC)),
            estimated=estimated,
        )
        self._books.take(entry)
        return entry

    def _received(self, event: Event) -> None:
        """Take what has ended; it is in the store within 50 ms."""
        self._books.take(event)

    def flush(self) -> None:
        """Write, price, learn from and export all there is.

        Raises:
            StorageError: If the store cannot be written.
        """
        self._books.flush()

    def close(self) -> None:
        """Write what is left and let go of the file; a later use opens it again.

        Calls that are still under way are taken for abandoned.
        """
        self._books.close()

    def __enter__(self) -> Self:
        """Use the ledger and close it at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the ledger."""
        self.close()

    def __deepcopy__(self, memo: object) -> Self:
        """Stay one ledger, also where a model that carries it is copied."""
        return self


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


@contextmanager
def track(
    ledger: TokenLedger | None = None, *, all_threads: bool = False
) -> Iterator[TokenLedger]:
    """Account for every call inside the block, without passing a callback to any.

    Blocks may be nested: an outer ledger sees what an inner one sees.

    Args:
        ledger: The ledger to use; a new one in memory if not given.
        all_threads: Also see calls in threads that do not carry the context of this
            one, such as those of a plain `ThreadPoolExecutor`, whoever started them.

    Yields:
        The ledger.

    Example:
        ```python
        with track() as ledger:
            graph.invoke(state)
        print(ledger.report())
        ```
    """
    from langchain_lean.accounting.tracking import attached

    ledger = ledger or TokenLedger()
    with attached(ledger, all_threads=all_threads):
        yield ledger
