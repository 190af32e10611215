"""Two arms of the demo side by side: what the one saves, and what it loses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.table import Table

from langchain_lean.accounting.report import words
from langchain_lean.demo_arms import ArmResult, exact
from langchain_lean.demo_data import Question

COLUMNS_EXPLAINED = (
    "right: the answer names a function or class that solves it, or what the user said",
    "recalled: those of what the user said, early in a long chat",
)
"""What columns of `side_by_side` mean."""

_COLUMNS = (
    "calls",
    "input",
    "output",
    "cost",
    "right",
    "recalled",
    "answered in (p50)",
)


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
            "usd": None if self.saved is None else exact(self.saved),
            "share": None if self.share is None else round(self.share, 4),
            "claimed_usd": exact(self.claimed),
            "lost": [question.text for question in self.lost],
            "gained": [question.text for question in self.gained],
        }

    def in_words(self) -> Iterator[str]:
        """Say what was saved and lost, and how far the ledger's claim is from that."""
        lost, gained = len(self.lost), len(self.gained)
        yield f"Right in the naive arm alone: {lost}; in the lean arm alone: {gained}."
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
    """Give a table with a row for each arm."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("arm")
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(*_row(result))
    return table


def _row(result: ArmResult) -> tuple[str, ...]:
    total = result.report.total
    return (
        result.name,
        f"{total.calls:,}",
        words.count(total.usage.input),
        words.count(total.usage.output),
        words.cost(total),
        f"{result.right} of {len(result.answers)}",
        f"{result.recalled} of {result.to_recall}" if result.to_recall else "-",
        words.duration(result.seconds),
    )


def _right_in_the_first_alone(
    first: ArmResult, second: ArmResult
) -> tuple[Question, ...]:
    pairs = zip(first.answers, second.answers, strict=True)
    return tuple(a.question for a, b in pairs if a.right and not b.right)
