"""What calls would have cost with a cheaper model in front, or shorter answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from langchain_lean.accounting.report import words
from langchain_lean.whatif.costs import Change, Kept, Left, Most, State

if TYPE_CHECKING:
    from langchain_lean.accounting.ledger import TokenLedger
    from langchain_lean.whatif.traffic import Call, Model, Traffic

CHEAP_FIRST, OUTPUT_CAP = "cheap first", "output cap"

_LEVER = "routing"  # what a ledger calls it
_USUAL = 0.95  # share of the answers that a cap leaves as they are


@dataclass(frozen=True, kw_only=True, eq=False)
class Repriced(Change):
    """Changes what the tokens of calls cost.

    Attributes:
        prices: By call, what it costs then, as a share of what it did cost.
    """

    prices: Mapping[Call, Decimal]

    def leaves(self, state: State) -> dict[Call, Left]:
        """What it leaves of the calls that it changes."""
        left = ((call, state[call], price) for call, price in self.prices.items())
        return {c: each._replace(price=price) for c, each, price in left if each.made}


def cheap_first(
    traffic: Traffic, cheap: Model, acceptance: float, *, looked_at: int = 0
) -> Repriced:
    """Ask a cheap model first, and the recorded one where that is not good enough.

    Args:
        traffic: What was recorded.
        cheap: The cheap model.
        acceptance: The share of its answers that are good enough, from 0 to 1.
        looked_at: How many answers of a router that share was seen on.

    Raises:
        UnpricedModelError: If no price is known for it.
    """
    prices = {}
    again = 1 - Decimal(str(acceptance))
    for call in traffic.asking:
        cost, entry = call.entry.cost, call.entry
        if cost is None or not cost.total:
            continue
        usage = replace(entry.usage, service_tier=None, region=None)
        draft = traffic.prices.cost(usage, *cheap, entry.start).total
        share = draft / cost.total + again
        if share < 1:
            prices[call] = share
    return Repriced(
        name=CHEAP_FIRST,
        prices=prices,
        sure="assumed",
        assumption=f"{cheap[0]} answers first with as many tokens, and "
        f"{words.share(acceptance)} of its answers are good enough.",
        details=(f"as seen on {looked_at:,} answers",) if looked_at else (),
    )


def seen_acceptance(ledger: TokenLedger) -> tuple[float, int] | None:
    """The share of cheap answers that a router accepted, and how many there were.

    All answers of the cheap models count, so that the share is not too high where
    these have other work, too.
    """
    saved = [s for s in ledger.store.savings() if s.lever == _LEVER and s.spent.total]
    cheap = {saving.spent_model for saving in saved}
    asked = sum(
        totals.calls
        for (model, source), totals in ledger.totals(by=("model", "source")).items()
        if model in cheap and source in (None, _LEVER)
    )
    return (len(saved) / max(asked, len(saved)), asked) if saved else None


def output_cap(traffic: Traffic, cap: int | None) -> Kept:
    """End answers at a number of tokens.

    Args:
        traffic: What was recorded.
        cap: The number; what 95 % of the answers have at most if not given.
    """
    sizes = sorted(call.entry.usage.output for call in traffic.asking)
    usual = sizes[min(int(_USUAL * len(sizes)), len(sizes) - 1)] if sizes else 1
    limit = max(usual, 1) if cap is None else cap
    most: dict[Call, Most] = {
        c: {"output": limit} for c in traffic.asking if c.entry.usage.output > limit
    }
    return Kept(
        name=OUTPUT_CAP,
        most=most,
        sure="assumed",
        assumption=f"Nobody needs what answers say after {limit:,} tokens.",
    )
