"""What a ledger keeps of a call: plain values, nothing that acts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from operator import add, attrgetter
from typing import Any, NamedTuple

from langchain_lean.accounting.anatomy import PARTS, Anatomy
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.prices.cost import Cost
from langchain_lean.accounting.recording.events import Kind, StepKind
from langchain_lean.accounting.usage import COUNTS, TokenUsage
from langchain_lean.errors import ConfigurationError, UnpricedModelError

FLAGS = (
    "cache_hit",
    "estimated",
    "unpriced",
    "failed",
    "blocked",
    "stopped_early",
    "abandoned",
)
"""The flags of a `LedgerEntry`, each counted by `Totals`."""


class MessageMark(NamedTuple):
    """What is kept of a message by default: enough to see repeats, not what it says.

    Attributes:
        role: `system`, `human`, `ai`, `tool`, or `tools` for the tool schemas.
        length: Characters of its text.
        digest: Keyed hash of its text, 16 hexadecimal digits. The key belongs to the
            ledger, so digests of two ledgers cannot be compared.
    """

    role: str
    length: int
    digest: str


class LedgerEntry(NamedTuple):
    """One call of a model.

    A named tuple, because a frozen dataclass of this size takes four times as long
    to make, and one is made for every call.

    Attributes:
        run_id: LangChain's id of the run, as text.
        start: When it began, in UTC.
        parent_id: The run it was called from, if any.
        trace_id: The outermost run it belongs to; its own id if it stands alone.
        kind: `chat`, `completion` or `embedding`.
        model: The model that answered, else the one that was asked.
        requested: The model that was asked; priced where `model` has no price.
        provider: The provider as LangChain names it.
        node: Path of graph nodes, outermost first, such as `research/draft`.
        agent: Name of the `create_agent` agent.
        source: What made the call on its own behalf (`lc_source`), such as
            `summarization`; None for calls of the application.
        user_id: Whom it was made for.
        thread_id: The conversation.
        tags: The run's tags.
        seconds: How long it took.
        first_token_seconds: Until the first token of a stream.
        usage: What was used; nothing for a cache hit or a blocked call.
        cost: What that cost; None if it could not be priced, or not yet.
        anatomy: Where its tokens went.
        messages: The prompt, message by message, and the tool schemas.
        answer: The answer.
        cache_hit: Answered from LangChain's cache.
        estimated: The provider reported no usage that can be true.
        unpriced: No price is known for the model.
        failed: It ended with an error.
        blocked: A guard refused it before it was made.
        stopped_early: The caller closed the stream.
        abandoned: It was begun and never ended, for instance because it was
            cancelled.
        reason: Why it failed, was blocked or was estimated.
    """

    run_id: str
    start: datetime
    parent_id: str | None = None
    trace_id: str = ""
    kind: Kind = "chat"
    model: str | None = None
    requested: str | None = None
    provider: str | None = None
    node: str | None = None
    agent: str | None = None
    source: str | None = None
    user_id: str | None = None
    thread_id: str | None = None
    tags: tuple[str, ...] = ()
    seconds: float = 0.0
    first_token_seconds: float | None = None
    usage: TokenUsage = TokenUsage()
    cost: Cost | None = None
    anatomy: Anatomy = Anatomy()
    messages: tuple[MessageMark, ...] = ()
    answer: MessageMark | None = None
    cache_hit: bool = False
    estimated: bool = False
    unpriced: bool = False
    failed: bool = False
    blocked: bool = False
    stopped_early: bool = False
    abandoned: bool = False
    reason: str | None = None

    def priced(self, prices: PriceBook) -> "LedgerEntry":
        """Fix its cost, once, at the price of its own date."""
        if self.cost is not None or self.unpriced:
            return self
        models = (self.model, self.requested)
        cost = price(prices, self.usage, models, self.provider, self.start)
        return self._replace(cost=cost, unpriced=cost is None)

    @property
    def day(self) -> str:
        """The day it began, in UTC, as `2026-11-22`."""
        return self.start.date().isoformat()


def price(
    prices: PriceBook,
    usage: TokenUsage,
    models: Iterable[str | None],
    provider: str | None,
    at: datetime,
) -> Cost | None:
    """What a call cost, by the first of its model's names that has a price.

    Returns:
        The cost, nothing where nothing was used; None if no name has a price.
    """
    if not usage.total and not usage.counts():
        return Cost()
    for model in models:
        if model:
            with suppress(UnpricedModelError):
                return prices.cost(usage, model, provider, at)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A timed part of a trace that is not a model call.

    Attributes:
        run_id: LangChain's id of the run, as text.
        trace_id: The outermost run it belongs to.
        kind: `run` for an outermost run itself, `retriever` or `tool`.
        name: What it is called.
        start: When it began, in UTC.
        seconds: How long it took.
        failed: It ended with an error.
        documents: What a retriever returned, in its order.
    """

    run_id: str
    trace_id: str
    kind: StepKind
    name: str
    start: datetime
    seconds: float
    failed: bool = False
    documents: tuple[MessageMark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over calls.

    Attributes:
        calls: How many.
        usage: What they used.
        cost: What the priced ones cost, in dollars.
        seconds: Time in models.
        cache_saved: Dollars the providers' prompt caches saved, part of no cost;
            `Savings` tells whose merit it was.
        anatomy: Where the tokens went.
        flags: How many calls carry each flag, by name.
    """

    calls: int = 0
    usage: TokenUsage = TokenUsage()
    cost: Decimal = Decimal(0)
    seconds: float = 0.0
    cache_saved: Decimal = Decimal(0)
    anatomy: Anatomy = Anatomy()
    flags: dict[str, int] = field(default_factory=dict)

    @classmethod
    def together(cls, parts: Iterable["Totals"]) -> "Totals":
        """The sums over several groups of calls."""
        parts = list(parts)
        flags: Counter[str] = Counter()
        for part in parts:
            flags.update(part.flags)
        counts: dict[str, Any] = _column_sums(COUNTS, (p.usage for p in parts))
        return cls(
            calls=sum(part.calls for part in parts),
            usage=TokenUsage(**counts),
            cost=sum((part.cost for part in parts), Decimal(0)),
            seconds=sum(part.seconds for part in parts),
            cache_saved=sum((part.cache_saved for part in parts), Decimal(0)),
            anatomy=Anatomy(**_column_sums(PARTS, (p.anatomy for p in parts))),
            flags=dict(flags),
        )

    @property
    def unpriced(self) -> int:
        """How many calls are not in `cost` because no price is known."""
        return self.flags.get("unpriced", 0)

    @property
    def estimated(self) -> int:
        """How many calls have estimated counts."""
        return self.flags.get("estimated", 0)


def _column_sums(names: Sequence[str], values: Iterable[object]) -> dict[str, int]:
    """The sums of some attributes, without making a value of each step."""
    rows = map(attrgetter(*names), values)
    sums = map(sum, zip(*rows, strict=True))
    return dict(zip(names, sums, strict=False))  # there may be no values


def check_fields(names: Iterable[str]) -> None:
    """Refuse a name that totals cannot be made by.

    Raises:
        ConfigurationError: If an entry has no such field.
    """
    known = {*LedgerEntry._fields, "day"} - _NO_KEYS
    unknown = sorted(set(names) - known)
    if unknown:
        msg = (
            f"There are no totals by {unknown}; use one of {', '.join(sorted(known))}."
        )
        raise ConfigurationError(msg)


_NO_KEYS = {"usage", "cost", "anatomy", "messages", "answer", "tags", "start"}


class TotalsBuilder:
    """Adds up many calls without making a `Totals` for each."""

    def __init__(self) -> None:
        self._calls = 0
        self._counts = [0] * len(COUNTS)
        self._parts = [0] * len(PARTS)
        self._flags = [0] * len(FLAGS)
        self._cost = self._cache_saved = Decimal(0)
        self._seconds = 0.0

    def add(self, entry: LedgerEntry) -> None:
        """Count one more call."""
        self._calls += 1
        self._seconds += entry.seconds
        self._counts = list(map(add, self._counts, _counts(entry.usage)))
        self._parts = list(map(add, self._parts, _parts(entry.anatomy)))
        self._flags = list(map(add, self._flags, _flags(entry)))
        if entry.cost is not None:
            self._cost += entry.cost.total
            self._cache_saved += entry.cost.cache_saved

    def merge(self, other: "TotalsBuilder") -> None:
        """Count what another has counted."""
        self._calls += other._calls
        self._seconds += other._seconds
        self._counts = list(map(add, self._counts, other._counts))
        self._parts = list(map(add, self._parts, other._parts))
        self._flags = list(map(add, self._flags, other._flags))
        self._cost += other._cost
        self._cache_saved += other._cache_saved

    def totals(self) -> Totals:
        """What was counted so far."""
        flags = zip(FLAGS, self._flags, strict=True)
        counts: dict[str, Any] = dict(zip(COUNTS, self._counts, strict=True))
        return Totals(
            calls=self._calls,
            usage=TokenUsage(**counts),
            cost=self._cost,
            seconds=self._seconds,
            cache_saved=self._cache_saved,
            anatomy=Anatomy(**dict(zip(PARTS, self._parts, strict=True))),
            flags={name: count for name, count in flags if count},
        )


_counts = attrgetter(*COUNTS)
_parts = attrgetter(*PARTS)
_flags = attrgetter(*FLAGS)
