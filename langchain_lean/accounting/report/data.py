"""What a ledger has to say: its figures in one place."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult

from langchain_lean.accounting.entry import Totals
from langchain_lean.accounting.latency import RunTiming, percentile
from langchain_lean.accounting.notices import NoticeKind
from langchain_lean.accounting.report import words
from langchain_lean.accounting.savings import Savings
from langchain_lean.accounting.store.memory import FOLDED

if TYPE_CHECKING:
    from langchain_lean.accounting.ledger import TokenLedger

Groups = Mapping[tuple[str | None, ...], Totals]

_SHOWN = 10
_NOT_OWN = (None, FOLDED)
_NARROWEST = 80
_TIMES: tuple[tuple[str, Callable[[RunTiming], float | None]], ...] = (
    ("whole run", attrgetter("total")),
    ("first token", attrgetter("first_token")),
    ("generation", attrgetter("generation")),
    ("retrieval", attrgetter("retrieval")),
    ("tools", attrgetter("tools")),
    ("waiting", attrgetter("waiting")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The sums of one model, node or user, or of all those not shown by themselves.

    Attributes:
        name: What it is called, in printable characters.
        totals: Its sums.
        names: How many models, nodes or users it stands for.
    """

    name: str
    totals: Totals
    names: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long one part of the newest runs took, in seconds.

    Attributes:
        part: `whole run`, `first token`, `generation`, `retrieval`, `tools` or
            `waiting` (none of them was at work).
        p50: Half of the runs took no longer.
        p95: 95 % of the runs took no longer.
        runs: In how many runs that part was seen.
    """

    part: str
    p50: float
    p95: float
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an application spent, saved and waited for.

    `print` shows it as tables, `rich.print` in color, a notebook as HTML with plots.

    Attributes:
        title: What stands at its head.
        total: The sums over all calls.
        models: By model, the dearest first.
        nodes: By graph node, the ten dearest and the rest; empty if there are none.
        users: By user, the same way.
        user_count: How many users there are.
        cheapest: Share of the application's chat calls that were answered by the
            model that cost least per token, from 0 to 1; None unless two or more are
            priced and differ.
        savings: What every lever saved, and cost.
        unpriced_own: How many of the levers' own calls are not in their cost.
        latency: The parts of the newest runs that were timed.
        notices: What levers did that an answer may be worse for, and how often, the
            most frequent first.
    """

    title: str = "langchain_lean"
    total: Totals = field(default_factory=Totals)
    models: tuple[Line, ...] = ()
    nodes: tuple[Line, ...] = ()
    users: tuple[Line, ...] = ()
    user_count: int = 0
    cheapest: float | None = None
    savings: Savings = field(default_factory=Savings)
    unpriced_own: int = 0
    latency: tuple[Latency, ...] = ()
    notices: Mapping[NoticeKind, int] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing was recorded."""
        return not (self.total.calls or self.savings.levers or self.notices)

    def __str__(self) -> str:
        return words.as_text(self, narrowest=_NARROWEST)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Show it as tables, in color where the console has any."""
        from langchain_lean.accounting.report.tables import tables

        yield from tables(self, options.max_width)

    def _repr_html_(self) -> str:
        from langchain_lean.accounting.report.html import fragment

        return fragment(self)

    def to_html(self) -> str:
        """A page that needs nothing else: no scripts, nothing from elsewhere."""
        from langchain_lean.accounting.report.html import page

        return page(self)

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values: dollars exact, as text, shares from 0 to 1.

        Dollars are None where nothing in a sum has a price; what else it lacks is
        counted beside it, as in `unpriced_calls`.

        Lines and levers have the names of the tables; `names` is how many a line
        stands for. Users, nodes and models are given as far as the report shows them.
        """
        from langchain_lean.accounting.report.values import values

        return values(self)

    def write_html(self, path: str | PathLike[str]) -> None:
        """Write the page of `to_html` into a file.

        Args:
            path: The file, replaced if it exists.

        Raises:
            OSError: If the file cannot be written.
        """
        Path(path).write_text(self.to_html(), encoding="utf-8")


def make_report(
    ledger: "TokenLedger", *, title: str = "langchain_lean", timed: bool = True
) -> Report:
    """Read a ledger, by its sums only, however many calls it holds.

    Args:
        ledger: The ledger.
        title: What stands at the head of the report.
        timed: Also read the newest runs, for `latency`.

    Returns:
        The report as of now.
    """
    groups = ledger.totals(by=("model", "kind", "source"))
    users = ledger.totals(by="user_id")
    own = (t.unpriced for (_, _, source), t in groups.items() if source not in _NOT_OWN)
    models = defaultdict(list)
    for (model, _, _), totals in groups.items():
        models[model].append(totals)
    return Report(
        title=title,
        total=Totals.together(groups.values()),
        models=_lines(
            {m: Totals.together(ts) for m, ts in models.items()}, "(unknown)"
        ),
        nodes=_dearest(ledger.totals(by="node"), "(no node)"),
        users=_dearest(users, "(nobody)"),
        user_count=len(users.keys() - {None}),
        cheapest=_cheapest(groups),
        savings=ledger.savings(),
        unpriced_own=sum(own),
        latency=tuple(_latency(ledger.timings())) if timed else (),
        notices=_most_frequent(ledger.store.noticed()),
    )


def _lines(groups: Mapping[str | None, Totals], nameless: str) -> tuple[Line, ...]:
    """The dearest first; what has no price goes by its tokens, last."""
    lines = (
        Line(name=words.printable(name or nameless), totals=totals)
        for name, totals in groups.items()
    )
    return tuple(
        sorted(lines, key=lambda x: (-x.totals.cost, -x.totals.usage.total, x.name))
    )


def _dearest(groups: Mapping[str | None, Totals], nameless: str) -> tuple[Line, ...]:
    if not groups.keys() - {None}:
        return ()
    lines = _lines(groups, nameless)
    if len(lines) <= _SHOWN + 1:
        return lines
    rest = lines[_SHOWN:]
    others = Totals.together(line.totals for line in rest)
    more = Line(name=f"({len(rest):,} more)", totals=others, names=len(rest))
    return (*lines[:_SHOWN], more)


def _cheapest(groups: Groups) -> float | None:
    if any(kind == FOLDED for _, kind, _ in groups):
        return None  # what kind the older calls were is not known any more
    chats = {
        model: totals
        for (model, kind, source), totals in groups.items()
        if kind == "chat" and source is None
    }
    answered = {model: _answered(totals) for model, totals in chats.items()}
    rates = {
        model: totals.cost / totals.usage.total
        for model, totals in chats.items()
        if answered[model] and totals.usage.total and not totals.unpriced
    }
    if len(set(rates.values())) < 2:
        return None
    least = min(rates.values())
    cheap = sum(answered[model] for model, rate in rates.items() if rate == least)
    return cheap / sum(answered.values())


def _answered(totals: Totals) -> int:
    unanswered = ("failed", "blocked", "abandoned", "cache_hit")
    return totals.calls - sum(totals.flags.get(flag, 0) for flag in unanswered)


def _most_frequent(noticed: Mapping[NoticeKind, int]) -> dict[NoticeKind, int]:
    return dict(sorted(noticed.items(), key=lambda told: (-told[1], told[0])))


def _latency(timings: Sequence[RunTiming]) -> Iterator[Latency]:
    for part, read in _TIMES:
        seen = [seconds for timing in timings if (seconds := read(timing))]
        p50, p95 = percentile(seen, 0.5), percentile(seen, 0.95)
        if p50 is not None and p95 is not None:
            yield Latency(part=part, p50=p50, p95=p95, runs=len(seen))
