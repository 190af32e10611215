"""A ledger's store in memory."""

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from langchain_lean.accounting.entry import LedgerEntry, Step, Totals, TotalsBuilder
from langchain_lean.accounting.notices import Notice, NoticeKind
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.savings import LeverSaving, Saving
from langchain_lean.accounting.store.base import Batch, Key

FOLDED = "(older calls)"
"""Where totals put calls whose entries are gone, for keys that were not kept."""

FOLDED_BY = ("model", "provider", "node", "source", "user_id", "day")
"""The keys by which totals stay exact after entries are gone."""


_MOST_FOLDED = 50_000  # sums of about 1 kB; beyond them users stand together


class MemoryStore:
    """Keeps the newest entries whole and folds older ones into exact totals.

    Args:
        key: The secret of the digests.
        max_entries: How many entries, steps, savings and notices stay whole.
        max_marks: How many message marks stay in all; chats of hundreds of messages
            fold sooner.
        max_characters: How much text stays, where texts are kept.
    """

    def __init__(
        self,
        key: bytes,
        *,
        max_entries: int = 100_000,
        max_marks: int = 5_000_000,
        max_characters: int = 200_000_000,
    ) -> None:
        self.key = key
        self._max_entries = max_entries
        self._max_marks = max_marks
        self._max_characters = max_characters
        self.forget()

    def hold(self) -> None:
        """Take the lock, so that no other thread holds it while the process forks."""
        self._lock.acquire()

    def release(self) -> None:
        """Let go of the lock again."""
        self._lock.release()

    def forget(self) -> None:
        """Begin empty, as in a forked process; the parent keeps what it recorded."""
        self._lock = threading.RLock()
        self._entries: OrderedDict[str, LedgerEntry] = OrderedDict()
        self._unpriced: set[str] = set()
        self._marks = 0
        self._folded: dict[Key, TotalsBuilder] = {}
        self._steps: deque[Step] = deque(maxlen=self._max_entries)
        self._savings: OrderedDict[str, Saving] = OrderedDict()
        self._unpriced_savings: set[str] = set()
        self._folded_levers: dict[str, LeverSaving] = {}
        self._missed: Counter[str] = Counter()
        self._missed_ids: OrderedDict[str, None] = OrderedDict()
        self._notices: OrderedDict[str, Notice] = OrderedDict()
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._characters = 0
        self._feedback: OrderedDict[str, bool] = OrderedDict()

    def add(self, batch: Batch) -> None:
        """Keep a batch."""
        with self._lock:
            for entry in batch.entries:
                old = self._entries.pop(entry.run_id, None)
                self._marks += len(entry.messages) - len(old.messages if old else ())
                self._entries[entry.run_id] = entry
                if entry.cost is None and not entry.unpriced:
                    self._unpriced.add(entry.run_id)
            self._steps.extend(batch.steps)
            for saving in batch.savings:
                if self._savings.setdefault(saving.id, saving) is saving:
                    self._unpriced_savings.add(saving.id)
            for miss in batch.missed:
                if miss.id not in self._missed_ids:
                    self._missed_ids[miss.id] = None
                    self._missed[miss.lever] += 1
            for notice in batch.notices:
                self._notices.setdefault(notice.id, notice)
            self._feedback.update(batch.feedback)
            for kept in (self._notices, self._feedback, self._missed_ids):
                while len(kept) > self._max_entries:
                    kept.popitem(last=False)
            self._add_texts(batch.texts)

    def _add_texts(self, texts: Mapping[str, str]) -> None:
        for digest, text in texts.items():
            if digest not in self._texts:
                self._texts[digest] = text
                self._characters += len(text)
        while self._characters > self._max_characters:
            self._characters -= len(self._texts.popitem(last=False)[1])

    @property
    def wants_prices(self) -> bool:
        """Whether there is something to fold, which needs a cost."""
        return (
            len(self._entries) > self._max_entries
            or len(self._savings) > self._max_entries
            or (self._marks > self._max_marks and len(self._entries) > 1)
        )

    def own_prices(self, prices: PriceBook) -> PriceBook:
        """Nothing was kept before."""
        return prices

    def price(
        self, prices: PriceBook, *, stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Fix costs, then fold what is too much."""
        with self._lock:
            for run_id in self._unpriced:
                self._entries[run_id] = self._entries[run_id].priced(prices)
            self._unpriced.clear()
            for saving_id in self._unpriced_savings:
                self._savings[saving_id] = self._savings[saving_id].priced(prices)
            self._unpriced_savings.clear()
            while self.wants_prices:
                self._fold()

    def _fold(self) -> None:
        if len(self._savings) > self._max_entries:
            saving = self._savings.popitem(last=False)[1]
            lever = self._folded_levers.get(saving.lever, LeverSaving())
            self._folded_levers[saving.lever] = lever + LeverSaving.of(saving)
            return
        entry = self._entries.popitem(last=False)[1]
        self._marks -= len(entry.messages)
        key = tuple(getattr(entry, name) for name in FOLDED_BY)
        if key not in self._folded and len(self._folded) >= _MOST_FOLDED:
            key = tuple(
                FOLDED if name == "user_id" else value
                for name, value in zip(FOLDED_BY, key, strict=True)
            )
        self._folded.setdefault(key, TotalsBuilder()).add(entry)

    def entries(self) -> Iterator[LedgerEntry]:
        """The calls that are still whole, oldest first."""
        with self._lock:
            return iter(list(self._entries.values()))

    def steps(self) -> Iterator[Step]:
        """The steps that are still kept, oldest first."""
        with self._lock:
            return iter(list(self._steps))

    def recent(self, limit: int) -> list[LedgerEntry]:
        """The newest calls, oldest first."""
        with self._lock:
            newest = islice(reversed(self._entries.values()), limit)
            return list(newest)[::-1]

    def recent_steps(self, limit: int) -> list[Step]:
        """The newest steps, oldest first."""
        with self._lock:
            return list(islice(reversed(self._steps), limit))[::-1]

    def totals(self, by: Sequence[str]) -> dict[Key, Totals]:
        """Sums over all calls, those that are folded included."""
        found: dict[Key, TotalsBuilder] = {}
        with self._lock:
            for folded_key, folded in self._folded.items():
                values = dict(zip(FOLDED_BY, folded_key, strict=True))
                key = tuple(values.get(name, FOLDED) for name in by)
                found.setdefault(key, TotalsBuilder()).merge(folded)
            for entry in self._entries.values():
                key = tuple(getattr(entry, name) for name in by)
                found.setdefault(key, TotalsBuilder()).add(entry)
        return {key: builder.totals() for key, builder in found.items()}

    def levers(self) -> dict[str, LeverSaving]:
        """What each lever saved, and how often it could save nothing."""
        with self._lock:
            found = dict(self._folded_levers)
            savings = list(self._savings.values())
            missed = dict(self._missed)
        for name, misses in missed.items():
            found[name] = found.get(name, LeverSaving()) + LeverSaving(misses=misses)
        for saving in savings:
            lever = found.get(saving.lever, LeverSaving())
            found[saving.lever] = lever + LeverSaving.of(saving)
        return found

    def savings(self) -> Iterator[Saving]:
        """The savings that are still whole, oldest first."""
        with self._lock:
            return iter(list(self._savings.values()))

    def notices(self) -> Iterator[Notice]:
        """The notices that are still kept, oldest first."""
        with self._lock:
            return iter(list(self._notices.values()))

    def noticed(self) -> dict[NoticeKind, int]:
        """How often each kind of notice was told, among the newest."""
        return Counter(notice.kind for notice in self.notices())

    def text(self, digest: str) -> str | None:
        """The text of a digest, where it was kept."""
        return self._texts.get(digest)

    def feedback(self) -> dict[str, bool]:
        """By run, whether its answer was good."""
        with self._lock:
            return dict(self._feedback)

    def learned(self) -> dict[str, str]:
        """Nothing: the counter itself is all the memory there is."""
        return {}

    def close(self) -> None:
        """Keep everything: there is no file to let go of."""
