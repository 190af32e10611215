"""What a ledger expects of a store."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypeVar

from langchain_lean.accounting.entry import LedgerEntry, Step, Totals
from langchain_lean.accounting.notices import Notice, NoticeKind
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.savings import LeverSaving, Missed, Saving

Key = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is written together.

    Attributes:
        entries: Calls; one with the `run_id` of an earlier one replaces it.
        steps: Timed parts that are no calls.
        savings: Savings; a second one of the same id is dropped.
        notices: Notices; a second one of the same id is dropped.
        missed: Where levers could save nothing; the same.
        texts: Texts by digest, where they are kept.
        feedback: By run, whether its answer was good.
        learned: What the token counter learned, by model, as JSON.
    """

    entries: Sequence[LedgerEntry] = ()
    steps: Sequence[Step] = ()
    savings: Sequence[Saving] = ()
    notices: Sequence[Notice] = ()
    missed: Sequence[Missed] = ()
    texts: dict[str, str] = field(default_factory=dict)
    feedback: dict[str, bool] = field(default_factory=dict)
    learned: dict[str, str] = field(default_factory=dict)

    @classmethod
    def merged(cls, batches: "Sequence[Batch]") -> "Batch":
        """Several batches as one, in their order."""
        if len(batches) == 1:
            return batches[0]
        together = cls(
            entries=[entry for batch in batches for entry in batch.entries],
            steps=[step for batch in batches for step in batch.steps],
            savings=[saving for batch in batches for saving in batch.savings],
            notices=[notice for batch in batches for notice in batch.notices],
            missed=[miss for batch in batches for miss in batch.missed],
        )
        for batch in batches:
            together.texts.update(batch.texts)
            together.feedback.update(batch.feedback)
            together.learned.update(batch.learned)
        return together

    def cleaned(self) -> "Batch":
        """The same with texts that any file can hold.

        What is neither text nor number becomes text; half a surrogate pair, which has
        no UTF-8, becomes a question mark.
        """
        return replace(
            self,
            entries=[
                entry._replace(
                    **{name: _plain(getattr(entry, name)) for name in _TEXTS},
                    tags=tuple(str(_plain(tag)) for tag in entry.tags),
                )
                for entry in self.entries
            ],
            steps=[replace(step, name=str(_plain(step.name))) for step in self.steps],
            savings=[_cleaned(saving, _SAVING_TEXTS) for saving in self.savings],
            notices=[_cleaned(notice, _NOTICE_TEXTS) for notice in self.notices],
            missed=[_cleaned(miss, ("lever", "id")) for miss in self.missed],
            texts={digest: str(_plain(text)) for digest, text in self.texts.items()},
            feedback={str(_plain(k)): bool(v) for k, v in self.feedback.items()},
        )

    def __bool__(self) -> bool:
        return any(getattr(self, part.name) for part in fields(self))


_TEXTS = (
    "model",
    "requested",
    "provider",
    "node",
    "agent",
    "source",
    "user_id",
    "thread_id",
    "reason",
)
_SAVING_TEXTS = ("id", "lever", "model", "provider", "spent_model", "baseline")
_NOTICE_TEXTS = ("id", "lever", "action", "reason", "run_id")

Reported = TypeVar("Reported", Saving, Notice, Missed)


def _cleaned(item: Reported, texts: Sequence[str]) -> Reported:
    return replace(item, **{name: _plain(getattr(item, name)) for name in texts})


def _plain(value: Any) -> Any:
    if value is None or type(value) in (int, float, bool):
        return value
    return str(value).encode("utf-8", "replace").decode("utf-8")


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

    def price(
        self, prices: PriceBook, *, stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Fix the cost of every entry and saving that has none yet.

        Args:
            prices: What they cost.
            stop: Asked now and then whether to leave the rest for later.
        """

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
        """What each lever saved, and how often it could save nothing."""

    def savings(self) -> Iterator[Saving]:
        """The savings, oldest first."""

    def notices(self) -> Iterator[Notice]:
        """The notices, oldest first."""

    def noticed(self) -> dict[NoticeKind, int]:
        """How often each kind of notice was told."""

    def text(self, digest: str) -> str | None:
        """The text of a digest, where it was kept."""

    def feedback(self) -> dict[str, bool]:
        """By run, whether its answer was good."""

    def learned(self) -> dict[str, str]:
        """What the token counter learned, by model, as JSON."""

    def close(self) -> None:
        """Let go of files; what is asked of the store later opens them again."""

    def hold(self) -> None:
        """Take the locks, so that no other thread holds one while a process forks."""

    def release(self) -> None:
        """Let go of the locks again."""

    def forget(self) -> None:
        """Start anew in a forked process, whose parent goes on with its own."""
