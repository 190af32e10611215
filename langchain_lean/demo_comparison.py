"""Two arms of the demo side by side: what the one saves, and what it loses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.table import Table

from langchain_lean.accounting.report import words
from langchain_lean.accounting.report.tables import borderless
from langchain_lean.demo_chats import Knows, Question
from langchain_lean.demo_results import ArmResult

ROWS_EXPLAINED = (
    "right: the answer names a function or class that solves it, or what else is asked",
    "recalled: of what the user said, early in a long chat",
    "first token: from the question to the first piece of the answer that is shown",
)
"""What rows of `side_by_side` mean."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two arms that were asked the same.

    Attributes:
        naive: The arm to compare with.
        lean: The arm that is compared.
    """

    naive: ArmResult
    lean: ArmResult

    @property
    def saved(self) -> Decimal | None:
        """What the lean arm cost less, in dollars; None where a call has no price."""
        naive, lean = self.naive.report.total, self.lean.report.total
        unpriced = naive.unpriced or lean.unpriced
        return None if unpriced else naive.cost - lean.cost

    @property
    def share(self) -> float | None:
        """That as a share of what the naive arm cost; None where that is nothing."""
        cost = self.naive.report.total.cost
        return None if self.saved is None or not cost else float(self.saved / cost)

    @property
    def claimed(self) -> Decimal:
        """What the ledger of the lean arm says was saved, in dollars."""
        return self.lean.report.savings.total

    @property
    def lost(self) -> tuple[Question, ...]:
        """What the naive arm alone answers right."""
        return _right_in_the_first_alone(self.naive, self.lean)

    @property
    def gained(self) -> tuple[Question, ...]:
        """What the lean arm alone answers right."""
        return _right_in_the_first_alone(self.lean, self.naive)

    def figures(self) -> dict[str, Any]:
        """Give the figures as JSON values; dollars are exact, as text."""
        return {
            "usd": None if self.saved is None else words.exact_money(self.saved),
            "share": None if self.share is None else round(self.share, 4),
            "claimed_usd": words.exact_money(self.claimed),
            "lost": [question.text for question in self.lost],
            "gained": [question.text for question in self.gained],
        }

    def in_words(self) -> Iterator[str]:
        """Say what was saved and lost, and how far the ledger's claim is from that."""
        for arm, questions in (("naive", self.lost), ("lean", self.gained)):
            yield f"Right in the {arm} arm alone: {len(questions)}."
            yield from (f"  {question.text.splitlines()[0]}" for question in questions)
        if self.saved is None or self.share is None:
            yield "Some calls have no price, so nobody can say what was saved."
            return
        amount, share = words.money(abs(self.saved)), words.share(abs(self.share))
        compared = "less" if self.saved >= 0 else "more"
        yield f"The lean arm cost {amount} {compared} than the naive one ({share})."
        claim = words.money(self.claimed)
        if self.saved > 0:
            off = float(self.claimed / self.saved) - 1
            more = "more" if off > 0 else "less"
            claim += f", {words.share(abs(off))} {more} than that"
        yield f"Its ledger claims {claim}: it compares with whole documents and chats"
        yield "of its own, and leaves out what other answers cost."


def side_by_side(results: Sequence[ArmResult]) -> Table:
    """Give a table with a column for each arm."""
    table = borderless()
    table.add_column("arm", no_wrap=True)
    for result in results:
        table.add_column(result.name, justify="right", no_wrap=True)
    for parts in zip(*map(_parts, results), strict=True):
        names = dict.fromkeys(name for part in reversed(parts) for name in part)
        for name in names:
            table.add_row(name, *(part.get(name, "-") for part in parts))
    return table


def _parts(result: ArmResult) -> Iterator[dict[str, str]]:
    """What a ledger and the answers say, by the name of the row, part by part."""
    report, total = result.report, result.report.total
    yield {
        "calls": f"{total.calls:,}",
        "input tokens": words.count(total.usage.input),
        "output tokens": words.count(total.usage.output),
        "cost": words.cost(total),
    }
    yield {f"  {line.name}": words.cost(line.totals) for line in report.models}
    levers = {f"  {name}": words.lever_saved(n) for name, n in words.ranked(report)}
    own = {"  their own cost": words.own_cost(report)} if levers else {}
    yield {"saved by levers": words.money(report.savings.total), **levers, **own}
    counted: dict[str, Knows | None] = {
        "right": None,
        "  recalled": "user",
        "  with the tool": "tool",
    }
    found = {name: result.right(knows) for name, knows in counted.items()}
    yield {name: f"{right} of {of}" for name, (right, of) in found.items() if of}
    for part, seconds in result.latency().items():
        shares = zip(("p50", "p95"), seconds, strict=True)
        yield {f"{part}, {share}": words.duration(each) for share, each in shares}


def _right_in_the_first_alone(
    first: ArmResult, second: ArmResult
) -> tuple[Question, ...]:
    pairs = zip(first.answers, second.answers, strict=True)
    return tuple(a.question for a, b in pairs if a.right and not b.right)
