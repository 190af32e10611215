"""Telling whichever ledger listens what a cache did."""

from __future__ import annotations

from uuid import uuid4

from langchain_core.messages import AIMessage

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.reporting import report_missed, report_saving
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.caching.marks import BASELINE, LEVER, Hit


def report_hit(hit: Hit, prices: PriceBook) -> AIMessage:
    """The answer of a hit, with an id of its own, after its saving was reported."""
    exact = hit.kind == "exact"
    report_saving(
        LEVER,
        avoided=hit.avoided or TokenUsage(),
        model=hit.record.model or "",
        provider=hit.record.provider,
        kind="exact" if exact else "counterfactual",
        baseline=None if exact else BASELINE,
        seconds=hit.record.seconds,
    )
    return hit.message(prices).model_copy(update={"id": f"lean-{uuid4()}"})


def report_miss() -> None:
    """Report that the model was asked."""
    report_missed(LEVER)
