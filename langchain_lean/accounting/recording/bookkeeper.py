"""From the events of a recorder to entries in a store, off the threads of the calls."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from langchain_lean.accounting.entry import LedgerEntry, Step
from langchain_lean.accounting.left_out import spared
from langchain_lean.accounting.notices import Notice
from langchain_lean.accounting.prices import table as price_table
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.prices.cost import exact
from langchain_lean.accounting.recording.background import Background
from langchain_lean.accounting.recording.calls import bare_entry, to_entry
from langchain_lean.accounting.recording.events import (
    Finished,
    Outcome,
    Rejected,
)
from langchain_lean.accounting.recording.fingerprints import Fingerprints
from langchain_lean.accounting.recording.reading import (
    Reading,
    from_cache,
    read_usage,
)
from langchain_lean.accounting.recording.trials import Trials
from langchain_lean.accounting.savings import Missed, Saving
from langchain_lean.accounting.store import Batch, LedgerStore, open_store
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.errors import StorageError

if TYPE_CHECKING:
    from langchain_lean.accounting.recording.events import Event

Exporter = Callable[[Sequence[LedgerEntry]], None]
"""Told of new calls, priced, some at a time."""

Priceable = TypeVar("Priceable", LedgerEntry, Saving)

_INBOX = 256
_BACKLOG = 16  # events up to which a caller leaves them to the writer
_LATE = 0.05  # seconds after which a caller helps the writer
_OBSERVATIONS = 64
_LEARNING_SECONDS = 0.0005  # of every 50 ms: enough to learn from 100 calls a second
_UNWRITTEN = 2_000


class Bookkeeper:
    """Writes down what a recorder takes, and lets the counter learn from it.

    Two threads live while there is work. The writer keeps up with the calls: within
    50 ms an event is in the store. The learner does what may take long: it loads the
    price data, fixes costs, feeds the counter, tells the exporters.

    Args:
        store: Where entries go, or the URL of that.
        prices: What they cost; see `prices` for the prices in use.
        counter: Estimates, and learns.
        keep_text: Also keep texts.
        exporters: Told of every priced call.
        sweep: Gives the calls that have turned out to be abandoned; told whether the
            ledger is being closed.
        forget: Drops the calls under way, in a forked process.
        warn: Told once of what cannot be done.
    """

    def __init__(
        self,
        store: str | LedgerStore,
        *,
        prices: PriceBook | None,
        counter: TokenCounter | None,
        keep_text: bool,
        exporters: Sequence[Exporter],
        sweep: "Callable[[bool], Iterable[Event]]",
        forget: Callable[[], None],
        warn: Callable[[str], None],
    ) -> None:
        self.store = open_store(store)
        self.prices = self.store.own_prices(prices or PriceBook())
        self.counter = counter or TokenCounter()
        self._exporters = exporters
        self._sweep = sweep
        self._forget_calls = forget
        self._warn = warn
        self._texts: dict[str, str] = {}
        keep = self._texts.__setitem__ if keep_text else None
        self._fingerprints = Fingerprints(self.store.key, keep=keep)
        self._inbox: deque[Event | LedgerEntry] = deque()
        self._feedback: dict[str, bool] = {}
        self._observations: deque[tuple[Outcome, int]] = deque(maxlen=_OBSERVATIONS)
        self._unwritten: deque[Batch] = deque()
        self._unexported: deque[LedgerEntry] = deque()
        self._told: set[str] = set()
        self._trials = Trials()
        self._learned_since = False
        self._collected = time.perf_counter()
        self._collecting = threading.RLock()
        self._lock = threading.RLock()
        self._exporting = threading.RLock()
        self._writer = Background(self._write_soon, name="lean-ledger-writer")
        self._learner = Background(self._learn_soon, name="lean-ledger-learner")
        self._restore()

    def take(self, event: "Event | LedgerEntry") -> None:
        """Take one event; it is in the store within 50 ms."""
        self._inbox.append(event)
        self._writer.wake()
        # The caller helps where it is too fast for the writer, but it never waits
        # for another thread, nor for a file.
        waiting = len(self._inbox)
        late = time.perf_counter() - self._collected > _LATE
        behind = waiting > _INBOX or (waiting > _BACKLOG and late)
        if behind and self._collecting.acquire(blocking=False):
            try:
                self._collect()
            finally:
                self._collecting.release()

    def judge(self, run_id: str, *, good: bool) -> None:
        """Take a verdict on an answer."""
        self._feedback[run_id] = good
        self._writer.wake()

    def settle(self) -> None:
        """Write everything and fix every cost, so that it can be read."""
        self._write()
        with exact():
            self.store.price(self.prices)

    def flush(self) -> None:
        """Write, price, learn and export all there is.

        Raises:
            StorageError: If the store cannot be written.
        """
        self.settle()
        while self._observations:
            self._observe()
        self._save_learning()
        self._export()

    def close(self) -> None:
        """Write what is left; leave costs that would need the price data loaded.

        Calls under way are taken for abandoned: nobody will ask for them again.
        """
        self._inbox.extend(self._sweep(True))
        if self._exporters or price_table.loaded():
            self.flush()
        else:
            self._write()
            self._save_learning()
        self.store.close()

    def hold(self) -> None:
        """Take every lock, in the order in which the work takes them."""
        for lock in (self._exporting, self._collecting, self._lock):
            lock.acquire()
        self.store.hold()
        self.counter.hold()

    def release(self) -> None:
        """Let go of the locks again."""
        self.counter.release()
        self.store.release()
        for lock in (self._lock, self._collecting, self._exporting):
            lock.release()

    def forget(self) -> None:
        """Start anew in a forked process: what is not written is its parent's."""
        self._forget_calls()
        self._collecting = threading.RLock()
        self._lock = threading.RLock()
        self._exporting = threading.RLock()
        for queue in (self._inbox, self._observations, self._unwritten):
            queue.clear()
        self._unexported.clear()
        self._feedback.clear()
        self._writer.forget()
        self._learner.forget()
        self.store.forget()
        self.counter.forget()

    def _write_soon(self) -> bool:
        try:
            return self._write()
        except StorageError as error:
            self._warn(str(error))
        except Exception as error:
            self._warn(f"It could not be written down: {type(error).__name__}")
        return False

    def _write(self) -> bool:
        with self._collecting:
            self._inbox.extend(self._sweep(False))
            self._collect()
        with self._lock:
            waiting = list(self._unwritten)
            busy = bool(waiting)
            if waiting:
                self._store(Batch.merged(waiting))
            for _ in waiting:
                self._unwritten.popleft()
        if self._observations or self._exporters or self.store.wants_prices:
            self._learner.wake()
        return busy

    def _collect(self) -> None:
        """Turn what came into a batch that waits to be written."""
        self._collected = time.perf_counter()
        batch = self._batch()
        if len(self._unwritten) >= _UNWRITTEN:
            self._warn("The store has failed for long; calls are lost.")
        elif batch:
            self._unwritten.append(batch)

    def _store(self, batch: Batch) -> None:
        """Write a batch; what no file can hold does not keep the rest from it."""
        try:
            self.store.add(batch)
        except StorageError:
            raise  # it may go better the next time
        except Exception as error:
            self._warn(f"A batch had to be cleaned: {type(error).__name__}")
            self._store_cleaned(batch.cleaned())

    def _store_cleaned(self, batch: Batch) -> None:
        try:
            self.store.add(batch)
        except StorageError:
            raise
        except Exception as error:
            self._warn(f"A batch could not be kept: {type(error).__name__}")

    def _batch(self) -> Batch:
        batch, again = self._drained()
        if price_table.loaded():
            again = [self._priced(entry) for entry in again]
            batch = replace(
                batch,
                entries=[self._priced(entry) for entry in batch.entries],
                savings=[self._priced(saving) for saving in batch.savings],
            )
        if self._exporters:
            self._unexported.extend(self._not_told_before(batch.entries))
        texts, feedback = dict(self._texts), dict(self._feedback)
        self._texts.clear()
        for run_id in feedback:
            self._feedback.pop(run_id, None)
        entries = [*batch.entries, *again]
        return replace(batch, entries=entries, texts=texts, feedback=feedback)

    def _drained(self) -> tuple[Batch, list[LedgerEntry]]:
        """What came, by kind, and what came before and is another lever's now."""
        entries: list[LedgerEntry] = []
        rejected: dict[str, LedgerEntry] = {}
        steps: list[Step] = []
        savings: list[Saving] = []
        missed: list[Missed] = []
        notices: list[Notice] = []
        for _ in range(len(self._inbox)):
            event = self._inbox.popleft()
            try:
                if isinstance(event, Outcome):
                    entries.append(self._account(event, savings, missed))
                elif isinstance(event, LedgerEntry):
                    entries.append(event)
                elif isinstance(event, Saving):
                    savings.append(event)
                elif isinstance(event, Missed):
                    missed.append(event)
                elif isinstance(event, Notice):
                    notices.append(event)
                elif isinstance(event, Rejected):
                    found = self._trials.rejected(event)
                    rejected.update((entry.run_id, entry) for entry in found)
                else:
                    steps.append(self._step(event))
            except Exception as error:
                self._warn(f"An event was lost: {type(error).__name__}")
        entries = [rejected.pop(entry.run_id, entry) for entry in entries]
        batch = Batch(
            entries=entries,
            steps=steps,
            savings=savings,
            missed=missed,
            notices=notices,
        )
        return batch, [*rejected.values()]

    def _priced(self, item: Priceable) -> Priceable:
        try:
            return item.priced(self.prices)
        except Exception as error:
            self._warn(f"A call could not be priced: {type(error).__name__}")
            return item

    def _not_told_before(self, entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
        """Leave out calls that were told as abandoned and have ended after all.

        A counter cannot take back what it was told first.
        """
        fresh = [entry for entry in entries if entry.run_id not in self._told]
        self._told.update(entry.run_id for entry in fresh if entry.abandoned)
        return fresh

    def _account(
        self, outcome: Outcome, savings: list[Saving], missed: list[Missed]
    ) -> LedgerEntry:
        prices = self.prices if price_table.loaded() else None
        try:
            reading = read_usage(outcome, self.counter)
            entry = to_entry(outcome, reading, self._fingerprints, prices)
        except Exception as error:
            problem = f"{type(error).__name__} on reading it"
            reading = Reading(estimated=True, problem=problem)
            entry = bare_entry(outcome, reading)
        if reading.problem:
            self._warn(f"The provider's usage was refused: {reading.problem}")
        self._trials.note(outcome, entry)
        said = from_cache(outcome.message)
        if reading.avoided is not None and entry.model is not None:
            savings.append(
                Saving(
                    lever="cache",
                    id=f"cache:{entry.run_id}",
                    avoided=reading.avoided,
                    model=entry.model,
                    provider=entry.provider,
                    kind="counterfactual" if said.baseline else "exact",
                    baseline=said.baseline,
                    seconds=said.seconds,
                    at=entry.start,
                )
            )
        elif said.missed and not entry.failed:
            missed.append(Missed("cache", f"cache:{entry.run_id}"))
        savings += self._spared(outcome, entry)
        if reading.usage.input and not reading.estimated and entry.kind == "chat":
            self._observations.append((outcome, reading.usage.input))
        return entry

    def _spared(self, outcome: Outcome, entry: LedgerEntry) -> list[Saving]:
        prompt = outcome.call.prompt
        if isinstance(prompt, str) or not _answered(entry):
            return []
        try:
            return list(spared(prompt, entry))
        except Exception as error:
            self._warn(f"A saving could not be read: {type(error).__name__}")
            return []

    def _step(self, finished: Finished) -> Step:
        mark = self._fingerprints.text
        run = finished.run
        return Step(
            run_id=finished.run_id,
            trace_id=run.trace.id,
            kind=run.kind or "run",
            name=run.name,
            start=datetime.fromtimestamp(run.start, UTC),
            seconds=finished.seconds,
            failed=finished.failed,
            documents=tuple(mark("document", text) for text in finished.documents),
        )

    def _learn_soon(self) -> bool:
        try:
            busy = bool(self._observations)
            until = time.perf_counter() + _LEARNING_SECONDS
            while self._observations:
                self._observe()
                if time.perf_counter() > until:
                    break
            if self.store.wants_prices:
                self.store.price(self.prices, stop=lambda: bool(self._unwritten))
            self._export()
            if not busy:
                self._save_learning()
        except StorageError as error:
            self._warn(str(error))
        except Exception as error:
            self._warn(f"It could not be written down: {type(error).__name__}")
        return False
        return busy

    def _observe(self) -> None:
        try:
            outcome, actual = self._observations.popleft()
        except IndexError:  # another thread took the last one
            return
        call = outcome.call
        try:
            if call.model:
                self.counter.observe(call.prompt, call.model, actual, tools=call.tools)
                self._learned_since = True
        except Exception as error:  # an odd tool or message teaches nothing
            self._warn(f"A call could not be learned from: {type(error).__name__}")

    def _export(self) -> None:
        with self._exporting:
            while self._unexported:
                count = len(self._unexported)
                some = [self._unexported.popleft() for _ in range(count)]
                priced = [entry.priced(self.prices) for entry in some]
                for exporter in self._exporters:
                    self._tell(exporter, priced)

    def _tell(self, exporter: Exporter, entries: Sequence[LedgerEntry]) -> None:
        try:
            exporter(entries)
        except Exception as error:
            self._warn(f"An exporter failed: {type(error).__name__}: {error}")

    def _save_learning(self) -> None:
        """Write what was learned; of two processes, the one with more calls wins."""
        if self._learned_since:
            self._learned_since = False
            self._restore()
            rows = self.counter.learned().items()
            learned = {model: json.dumps(state) for model, state in rows}
            self.store.add(Batch(learned=learned))

    def _restore(self) -> None:
        for model, text in self.store.learned().items():
            with suppress(ValueError, TypeError):
                self.counter.restore({model: json.loads(text)})


def _answered(entry: LedgerEntry) -> bool:
    """Whether a provider was asked and answered, and it is known which."""
    unasked = entry.cache_hit or entry.blocked or entry.failed or entry.abandoned
    return entry.model is not None and not unasked
