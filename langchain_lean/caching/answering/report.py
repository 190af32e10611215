"""Telling whichever ledger listens what a cache did."""

from __future__ import annotations

from typing import Any

from langchain_lean.accounting.reporting import (
    areport_missed,
    areport_saving,
    report_missed,
    report_saving,
)
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.caching.asking import Step
from langchain_lean.caching.marks import BASELINE, LEVER, Hit


def reported_hit(hit: Hit) -> Step:
    """Report what a hit saved."""
    exact = hit.kind == "exact"
    saving: dict[str, Any] = {
        "avoided": hit.avoided or TokenUsage(),
        "model": hit.record.model or "",
        "provider": hit.record.provider,
        "kind": "exact" if exact else "counterfactual",
        "baseline": None if exact else BASELINE,
        "seconds": hit.record.seconds,
    }

    def report() -> None:
        report_saving(LEVER, **saving)

    async def areport() -> None:
        await areport_saving(LEVER, **saving)

    return Step(report, areport)


def reported_miss() -> Step:
    """Report that the model was asked."""
    return Step.of(report_missed, areport_missed, LEVER)
