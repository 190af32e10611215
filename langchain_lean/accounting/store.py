"""Where a ledger keeps its entries: the interface, and the one in memory."""

import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from langchain_lean.accounting.entry import LedgerEntry, Step, Totals, TotalsBuilder
from langchain_lean.accounting.prices import PriceBook
from langchain_lean.accounting.savings import LeverSaving, Saving
from langchain_lean.errors import ConfigurationError

FOLDED = "(older calls)"
"""Where totals put calls whose entries are gone, for keys that were not kept."""

FOLDED_BY = ("model", "provider", "node", "source", "user_id", "day")
"""The keys by which totals stay exact after entries are gone."""

Key = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is written together.

    Attributes:
        entries: Calls; one with the `run_id` of an earlier one replaces it.
        steps: Timed parts that are no calls.
        savings: Savings; a second one of the same id is dropped.
        texts: Texts by digest, where they are kept.
        feedback: By run, whether its answer was good.
        learned: What the token counter learned, by model, as JSON.
    """

    entries: Sequence[LedgerEntry] = ()
    steps: Sequence[Step] = ()
    savings: Sequence[Saving] = ()
    texts: dict[str, str] = field(default_factory=dict)
    feedback: dict[str, bool] = field(default_factory=dict)
    learned: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        parts = (self.entries, self.steps, self.savings, self.texts, self.feedback)
        return any(parts) or bool(self.learned)


class LedgerStore(Protocol):
    """Keeps what a ledger recorded. Safe to use from many threads."""

    key: bytes
    """The secret of the digests of this store."""

    def add(self, batch: Batch) -> None:
        """Keep a batch, all of it or nothing."""

    @property
    def wants_prices(self) -> bool:
        """Whether costs should be fixed soon, though nobody has asked yet."""

    def own_prices(self, prices: PriceBook) -> PriceBook:
        """Keep prices of your own, and add those that were kept before."""

    def price(self, prices: PriceBook) -> None:
        """Fix the cost of every entry and saving that has none yet."""

    def entries(self) -> Iterator[LedgerEntry]:
        """The calls, oldest first."""

    def steps(self) -> Iterator[Step]:
        """The steps, oldest first."""

    def recent(self, limit: int) -> list[LedgerEntry]:
        """The newest calls, oldest first."""

    def recent_steps(self, limit: int) -> list[Step]:
        """The newest steps, oldest first."""

    def totals(self, by: Sequence[str]) -> dict[Key, Totals]:
        """Sums over all calls by the values of some fields."""

    def levers(self) -> dict[str, LeverSaving]:
        """What each lever saved."""

    def savings(self) -> Iterator[Saving]:
        """The savings, oldest first."""

    def text(self, digest: str) -> str | None:
        """The text of a digest, where it was kept."""

    def feedback(self) -> dict[str, bool]:
        """By run, whether its answer was good."""

    def learned(self) -> dict[str, str]:
        """What the token counter learned, by model, as JSON."""

    def close(self) -> None:
        """Let go of files; what is asked of the store later opens them again."""

    def forget(self) -> None:
        """Start anew in a forked process, whose parent goes on with its own."""


class MemoryStore:
    """Keeps the newest entries whole and folds older ones into exact totals.

    Args:
        key: The secret of the digests.
        max_entries: How many entries, steps and savings stay whole.
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
            for digest, text in batch.texts.items():
                if digest not in self._texts:
                    self._texts[digest] = text
                    self._characters += len(text)
            while self._characters > self._max_characters:
                self._characters -= len(self._texts.popitem(last=False)[1])
            self._feedback.update(batch.feedback)
            while len(self._feedback) > self._max_entries:
                self._feedback.popitem(last=False)

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

    def price(self, prices: PriceBook) -> None:
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
        """What each lever saved."""
        with self._lock:
            found = dict(self._folded_levers)
            savings = list(self._savings.values())
        for saving in savings:
            lever = found.get(saving.lever, LeverSaving())
            found[saving.lever] = lever + LeverSaving.of(saving)
        return found

    def savings(self) -> Iterator[Saving]:
        """The savings that are still whole, oldest first."""
        with self._lock:
            return iter(list(self._savings.values()))

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


def open_store(url: str) -> LedgerStore:
    """Open the store that a URL names.

    Args:
        url: `memory://`, `sqlite:///relative.db` or `sqlite:////absolute.db`.

    Returns:
        The store.

    Raises:
        ConfigurationError: If the URL is of another kind.
        StorageError: If the file is damaged, or is no ledger.
    """
    if url == "memory://":
        return MemoryStore(secrets.token_bytes(16))
    path = url.removeprefix("sqlite:///")
    if path == url or not path:
        msg = f"A ledger is kept in 'memory://' or 'sqlite:///file.db', not in {url!r}."
        raise ConfigurationError(msg)
    from langchain_lean.accounting.sqlite import SQLiteStore

    return SQLiteStore(path)
