"""The figures of a report in words: how they are written, and what is said of them."""

import shutil
from collections.abc import Iterator, Sequence
from decimal import Decimal
from io import StringIO
from itertools import accumulate, islice
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, RenderableType

from langchain_lean.accounting.entry import Totals
from langchain_lean.accounting.prices.cost import exact

if TYPE_CHECKING:
    from langchain_lean.accounting.report.data import Latency, Line, Report
    from langchain_lean.accounting.savings import LeverSaving

NOTHING_YET = (
    "Nothing has been recorded yet: give the ledger to a call with "
    'config={"callbacks": [ledger]}, or make calls inside `with track(ledger):`.'
)

LEVER_COLUMNS = ("times", "exact", "counterfactual", "against")

_CENT = Decimal("0.01")
_COLUMNS = ("calls", "input", "cached", "output", "cost")
_BASELINES_SHOWN = 3
_NOTICES_SHOWN = 5
_REMARKS = (
    ("unpriced", "unpriced"),
    ("estimated", "estimated (no usage was reported)"),
    ("failed", "failed"),
    ("blocked", "blocked"),
    ("abandoned", "abandoned"),
    ("stopped_early", "stopped early"),
    ("cache_hit", "answered from the cache"),
)


def printable(text: str) -> str:
    """A text on one line, without characters that steer a terminal or a page."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def money(amount: Decimal) -> str:
    """Dollars: cents from a dollar up, then tenths of them, then 3 significant digits.

    `$2.41`, `$0.113`, `$0.000113`.
    """
    size, places = abs(amount), 2
    if size < 1:
        size = Decimal(f"{size:.3g}")
    if 0 < size < 1:
        places = 3 if size >= _CENT else 2 - size.adjusted()
    return f"{'-' if amount < 0 else ''}${size:,.{places}f}"


def exact_money(amount: Decimal) -> str:
    """Dollars to the last digit as JSON values give them, without a dollar sign."""
    with exact():
        return f"{amount.normalize() + 0:f}"


def exact_sum(amount: Decimal, unpriced: int, count: int) -> str | None:
    """The same of a sum over some; None where no price is known for any of them."""
    return None if 0 < count <= unpriced else exact_money(amount)


def short(name: str) -> str:
    """A name without its middle, where it is wide: ids differ at their ends."""
    if sum(map(_width, name)) <= 25:
        return name
    return f"{_fitting(name, 11)}…{_fitting(name[::-1], 13)[::-1]}"


def _fitting(name: str, room: float) -> str:
    """The start of a name, as much as fits."""
    taken = accumulate(map(_width, name))
    return name[: sum(width <= room for width in taken)]


def _width(letter: str) -> float:
    """How wide a letter is where most are 1 wide, as sans-serif fonts draw it."""
    if letter in "mMW@%" or cell_len(letter) > 1:
        return 1.7
    return 1.25 if letter.isupper() else cell_len(letter)


def count(number: int) -> str:
    """A number of tokens, such as `92.1k` or `1.2M`."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= 0.99995 * size:  # so that 999,999 is 1.0M and not 1000.0k
            return f"{number / size:,.1f}{unit}"
    return str(number)


def share(part: float) -> str:
    """A share, in percent; what is not nothing or all is not written so."""
    if 0 < part < 0.005:
        return "<1 %"
    if 0.995 <= part < 1:
        return ">99 %"
    return f"{100 * part:.0f} %"


def duration(seconds: float) -> str:
    """A time, in the unit that suits it."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms" if seconds >= 0.0005 else "<1 ms"
    if seconds < 120:
        return f"{seconds:.{0 if seconds >= 9.95 else 1}f} s"
    size, unit = (60, "min") if seconds < 7200 else (3600, "h")
    return f"{seconds / size:,.1f} {unit}"


def many(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def cost(totals: Totals) -> str:
    """What the priced calls cost, and how many calls are not in it."""
    return _sum(totals.cost, totals.unpriced)


def table(what: str, lines: Sequence["Line"]) -> list[tuple[str, ...]]:
    """Calls, tokens and cost of every line, under a row of names.

    A cost that leaves calls out says so in a last column of its own, without a name.
    """
    rows: list[tuple[str, ...]] = [(what, *_COLUMNS, "")]
    for line in lines:
        totals, usage = line.totals, line.totals.usage
        tokens = (usage.input, usage.cache_read, usage.output)
        amount, *rest = cost(totals).split(" ", 1)
        figures = (f"{totals.calls:,}", *(count(n) if n else "-" for n in tokens))
        rows.append((line.name, *figures, amount, *(rest or [""])))
    return rows if any(row[-1] for row in rows) else [row[:-1] for row in rows]


def times(latency: Sequence["Latency"]) -> list[tuple[str, ...]]:
    """The parts of a run, under a row of names."""
    return [
        ("latency", "p50", "p95", "runs"),
        *(
            (row.part, duration(row.p50), duration(row.p95), f"{row.runs:,}")
            for row in latency
        ),
    ]


def headline(report: "Report") -> list[str]:
    """The report in a line."""
    said = [printable(report.title), many(report.total.calls, "call")]
    if report.user_count:
        said.append(many(report.user_count, "user"))
    if report.total.seconds:
        said.append(f"{duration(report.total.seconds)} in models")
    if report.cheapest is not None:
        which = "cheapest priced model" if report.total.unpriced else "cheapest model"
        said.append(f"{share(report.cheapest)} answered by the {which}")
    return said


def levered(report: "Report") -> bool:
    """Whether levers saved or cost anything."""
    savings = report.savings
    return bool(savings.levers or report.unpriced_own or any(savings.own_cost.values()))


def spent(report: "Report") -> tuple[str, str]:
    """What was spent, and what is not in it."""
    return _known(report.total.cost, report.total)


def without(report: "Report") -> tuple[str, str]:
    """What would have been spent without the levers, and what is not in it."""
    amount = report.total.cost + report.savings.total
    if amount < 0:
        return "unknown", "the levers lost more than was spent"
    return _known(amount, report.total)


def saved(report: "Report") -> tuple[str, str]:
    """What the levers saved, their own cost taken off, and how it is known."""
    savings = report.savings
    if not saved_known(report):
        return "unknown", ""
    whole = report.total.cost + savings.total
    kinds = f"{money(savings.exact)} exact, {money(savings.counterfactual)}"
    comparable = 0 < savings.total <= whole and not report.total.unpriced
    ratio = share(float(savings.total / whole)) if comparable else ""
    parts = f"{ratio}; {kinds}" if ratio else kinds
    return money(savings.total), f"{parts} counterfactual"


def saved_known(report: "Report") -> bool:
    """Whether anything that levers saved or cost has a price, or nothing lacks one."""
    savings = report.savings
    amounts = (savings.exact, savings.counterfactual, *savings.own_cost.values())
    return any(amounts) or not (unpriced_savings(report) or report.unpriced_own)


def unpriced_savings(report: "Report") -> int:
    """How many savings are in no sum."""
    return sum(lever.unpriced for lever in report.savings.levers.values())


def spending(report: "Report") -> list[str]:
    """What was spent and, where levers are at work, what they changed."""
    said = [f"spent {_noted(spent(report))}"]
    if levered(report):
        said.append(f"without the levers {_noted(without(report))}")
        said.append(f"saved {_noted(saved(report))}")
    return said


def ranked(report: "Report") -> list[tuple[str, "LeverSaving"]]:
    """The levers by name, what saved most first."""
    levers = sorted(report.savings.levers.items(), key=lambda named: -named[1].total)
    return [(printable(name), lever) for name, lever in levers]


def lever_saved(lever: "LeverSaving") -> str:
    """What a lever saved, and how often that has no price."""
    return _sum(lever.total, lever.unpriced)


def lever_cells(lever: "LeverSaving") -> tuple[str, ...]:
    """A row of the table of levers, in the order of `LEVER_COLUMNS`."""
    missing = f" ({lever.unpriced:,} unpriced)" if lever.unpriced else ""
    kinds = (lever.exact, lever.counterfactual)
    amounts = (money(amount) if amount else "-" for amount in kinds)
    times = f"{lever.count:,}" if lever.count else "-"
    return (f"{times}{missing}", *amounts, against(lever.baselines))


def hit_rates(report: "Report") -> list[str]:
    """How often levers that tell of misses answered, and the time that saved."""
    return [
        f"{name} answered {share(lever.hit_rate)} of {lever.count + lever.misses:,}"
        f" requests, {duration(lever.seconds)} of models saved"
        for name, lever in ranked(report)
        if lever.hit_rate is not None
    ]


def own_cost(report: "Report") -> str:
    """What the levers' own calls cost; empty if there were none."""
    own = sum(report.savings.own_cost.values(), Decimal(0))
    return _sum(-own, report.unpriced_own) if own or report.unpriced_own else ""


def levers(report: "Report") -> list[str]:
    """What every lever saved, the most first, and what they cost themselves."""
    said = [f"{name} {lever_saved(lever)}" for name, lever in ranked(report)]
    own = own_cost(report)
    return [*said, f"their own cost {own}"] if own else said


def baselines(report: "Report") -> list[str]:
    """What the counterfactual savings are compared with."""
    return [
        f"{name} against {against(lever.baselines)}"
        for name, lever in ranked(report)
        if lever.baselines
    ]


def against(baselines: tuple[str, ...]) -> str:
    """The first few baselines of a lever."""
    named = ", ".join(map(printable, baselines[:_BASELINES_SHOWN]))
    more = len(baselines) - _BASELINES_SHOWN
    return f"{named} and {more:,} more" if more > 0 else named


def provider_cache(report: "Report") -> list[str]:
    """What the provider's own cache saved, which is no lever's merit."""
    amount = report.savings.provider_cache
    if amount < 0:
        return [f"the provider's own cache cost {money(-amount)} more than it saved"]
    return [f"the provider's own cache saved {money(amount)}"] if amount else []


def anatomy(report: "Report") -> list[str]:
    """Where the tokens go."""
    shares = report.total.anatomy.shares().items()
    said = [f"{name} {share(part)}" for name, part in shares if part]
    return ["where the tokens go ", *said] if said else []


def remarks(report: "Report") -> list[str]:
    """What to know about the calls behind the figures."""
    return list(_remarks(report))


def notices(report: "Report") -> list[str]:
    """What levers did that an answer may be worse for, a line for each kind."""
    said = [
        printable(f"{kind.lever}: {kind.action} {number:,} × ({kind.reason})")
        for kind, number in islice(report.notices.items(), _NOTICES_SHOWN)
    ]
    more = len(report.notices) - _NOTICES_SHOWN
    return [*said, f"and {many(more, 'more kind')}"] if more > 0 else said


def _remarks(report: "Report") -> Iterator[str]:
    flags = report.total.flags
    for name, said in _REMARKS:
        if number := flags.get(name, 0):
            yield f"{many(number, 'call') if name == 'unpriced' else number} {said}"
    if missing := unpriced_savings(report):
        yield f"{many(missing, 'saving')} unpriced"


def _known(amount: Decimal, total: "Totals") -> tuple[str, str]:
    if not total.unpriced:
        return money(amount), ""
    known = total.unpriced < total.calls or amount
    remark = f"{many(total.unpriced, 'call')} unpriced"
    return money(amount) if known else "unknown", remark


def _noted(said: tuple[str, str]) -> str:
    return f"{said[0]} ({said[1]})" if said[1] else said[0]


def _sum(amount: Decimal, unpriced: int) -> str:
    if not unpriced:
        return money(amount)
    return f"{money(amount)} + {unpriced:,} unpriced" if amount else "unpriced"


def as_text(report: RenderableType, *, narrowest: int) -> str:
    """What a report shows in a terminal, without colors.

    Args:
        report: What is shown.
        narrowest: Its columns, where the terminal has fewer.
    """
    console = Console(
        file=StringIO(),
        width=max(narrowest, shutil.get_terminal_size().columns),
        force_terminal=False,
        force_jupyter=False,
        legacy_windows=False,
    )
    with console.capture() as printed:
        console.print(report)
    return "\n".join(line.rstrip() for line in printed.get().splitlines())
