"""The figures of a report in words: how they are written, and what is said of them."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from langchain_lean.accounting.entry import Totals

if TYPE_CHECKING:
    from langchain_lean.accounting.report import Latency, Report

NOTHING_YET = (
    "Nothing has been recorded yet: give the ledger to a call with "
    'config={"callbacks": [ledger]}, or make calls inside `with track(ledger):`.'
)
COLUMNS = ("calls", "input", "cached", "output", "cost")
TIME_COLUMNS = ("p50", "p95", "runs")

_BASELINES_SHOWN = 3
_REMARKS = (
    ("unpriced", "unpriced"),
    ("estimated", "estimated (provider sent no usage)"),
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
    """Dollars: cents from a dollar up, three significant digits below."""
    sign, size = "-" if amount < 0 else "", abs(amount)
    if size >= 1 or not size:
        return f"{sign}${size:,.2f}"
    whole, _, digits = f"{size:.{2 - size.adjusted()}f}".rstrip("0").partition(".")
    return f"{sign}${whole}.{digits:0<2}"


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
    """What the priced calls cost, or that there is no price."""
    return money(totals.cost) if totals.cost or not totals.unpriced else "unpriced"


def beside(totals: Totals) -> str:
    """How many calls are not in a cost that others are in."""
    missing = totals.unpriced if totals.cost else 0
    return f"+ {missing:,} unpriced" if missing else ""


def cells(totals: Totals) -> tuple[str, ...]:
    """A row of the tables, in the order of `COLUMNS`."""
    usage = totals.usage
    tokens = (usage.input, usage.cache_read, usage.output)
    texts = (count(number) if number else "-" for number in tokens)
    return (f"{totals.calls:,}", *texts, cost(totals))


def times(latency: "Latency") -> tuple[str, ...]:
    """A row of the table of times, in the order of `TIME_COLUMNS`."""
    return duration(latency.p50), duration(latency.p95), f"{latency.runs:,}"


def headline(report: "Report") -> list[str]:
    """The report in a line."""
    said = [report.title, many(report.total.calls, "call")]
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
    return bool(report.savings.levers) or any(report.savings.own_cost.values())


def spent(report: "Report") -> str:
    """What was spent, as far as it is known."""
    return _known(report.total.cost, report.total.unpriced)


def without(report: "Report") -> str:
    """What would have been spent without the levers, as far as it is known."""
    return _known(report.total.cost + report.savings.total, report.total.unpriced)


def saved(report: "Report") -> str:
    """What the levers saved, and how much of it is known."""
    savings = report.savings
    whole = report.total.cost + savings.total
    parts = f"{money(savings.exact)} exact, {money(savings.counterfactual)}"
    if savings.total > 0 and whole > 0:
        parts = f"{share(float(savings.total / whole))}; {parts}"
    return f"{money(savings.total)} ({parts} counterfactual)"


def spending(report: "Report") -> list[str]:
    """What was spent and, where levers are at work, what they changed."""
    said = [f"spent {spent(report)}"]
    if levered(report):
        said.append(f"without the levers {without(report)}")
        said.append(f"saved {saved(report)}")
    return said


def levers(report: "Report") -> list[str]:
    """What every lever saved, the most first, and what they cost themselves."""
    savings = report.savings
    ranked = sorted(savings.levers.items(), key=lambda named: -named[1].total)
    said = []
    for name, lever in ranked:
        missing = f"{lever.unpriced:,} unpriced" if lever.unpriced else ""
        amount = money(lever.total) if lever.total or not missing else ""
        both = f"{amount} + {missing}" if amount and missing else amount or missing
        said.append(f"{printable(name)} {both}")
    own = sum(savings.own_cost.values(), Decimal(0))
    missing = f" and {many(report.unpriced_own, 'unpriced call')}"
    if own or report.unpriced_own:
        said.append(
            f"their own cost {money(-own)}{missing if report.unpriced_own else ''}"
        )
    return said


def baselines(report: "Report") -> list[str]:
    """What the counterfactual savings are compared with."""
    return [
        f"{printable(name)} against {against(lever.baselines)}"
        for name, lever in sorted(report.savings.levers.items())
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


def _remarks(report: "Report") -> Iterator[str]:
    flags = report.total.flags
    for name, said in _REMARKS:
        if number := flags.get(name, 0):
            yield f"{many(number, 'call') if name == 'unpriced' else number} {said}"
    if missing := sum(lever.unpriced for lever in report.savings.levers.values()):
        yield f"{many(missing, 'saving')} unpriced"


def _known(amount: Decimal, unpriced: int) -> str:
    if not unpriced:
        return money(amount)
    known = money(amount) if amount else "an unknown amount"
    return f"{known} ({many(unpriced, 'call')} unpriced)"
