"""A report as JSON values."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from langchain_lean.accounting.entry import Totals
from langchain_lean.accounting.report import words

if TYPE_CHECKING:
    from langchain_lean.accounting.report.data import Line, Report
    from langchain_lean.accounting.savings import LeverSaving


def values(report: "Report") -> dict[str, Any]:
    """What a report says, in values that JSON knows.

    Args:
        report: The report.

    Returns:
        The figures by name; dollars are exact, as text, or None where nothing in a sum
        has a price; shares go from 0 to 1.
    """
    savings, anatomy = report.savings, report.total.anatomy
    shares, missing = anatomy.shares(), words.unpriced_savings(report)
    calls, unpriced = report.total.calls, report.total.unpriced
    times = sum(lever.count for lever in savings.levers.values())
    whole = report.total.cost + savings.total
    return {
        "title": report.title,
        **_sums(report.total),
        "user_count": report.user_count,
        "cheapest_model_share": _rounded(report.cheapest),
        "without_levers_usd": words.exact_sum(whole, unpriced, calls)
        if whole >= 0
        else None,
        "saved_usd": (
            words.exact_money(savings.total) if words.saved_known(report) else None
        ),
        "saved_exact_usd": words.exact_sum(savings.exact, missing, times),
        "saved_counterfactual_usd": words.exact_sum(
            savings.counterfactual, missing, times
        ),
        "levers": [
            {"name": name, **_lever(lever)} for name, lever in savings.levers.items()
        ],
        "levers_own_cost_usd": {
            name: words.exact_money(cost) if cost or not report.unpriced_own else None
            for name, cost in savings.own_cost.items()
        },
        "levers_own_unpriced_calls": report.unpriced_own,
        "provider_cache_saved_usd": words.exact_sum(
            savings.provider_cache, unpriced, calls
        ),
        "tokens_by_part": {
            name: {"tokens": tokens, "share": _rounded(shares[name])}
            for name, tokens in anatomy.parts().items()
        },
        "models": _lines(report.models),
        "nodes": _lines(report.nodes),
        "users": _lines(report.users),
        "latency": [
            {
                "part": row.part,
                "p50_seconds": round(row.p50, 6),
                "p95_seconds": round(row.p95, 6),
                "runs": row.runs,
            }
            for row in report.latency
        ],
        "notices": [
            {**kind._asdict(), "count": count} for kind, count in report.notices.items()
        ],
    }


def _sums(totals: Totals) -> dict[str, Any]:
    usage = totals.usage
    return {
        "calls": totals.calls,
        "input_tokens": usage.input,
        "cached_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
        "spent_usd": words.exact_sum(totals.cost, totals.unpriced, totals.calls),
        "unpriced_calls": totals.unpriced,
        "model_seconds": round(totals.seconds, 6),
        "calls_by_flag": dict(totals.flags),
    }


def _lines(lines: "Iterable[Line]") -> list[dict[str, Any]]:
    return [
        {"name": line.name, "names": line.names, **_sums(line.totals)} for line in lines
    ]


def _lever(lever: "LeverSaving") -> dict[str, Any]:
    return {
        "saved_usd": words.exact_sum(lever.total, lever.unpriced, lever.count),
        "saved_exact_usd": words.exact_sum(lever.exact, lever.unpriced, lever.count),
        "saved_counterfactual_usd": words.exact_sum(
            lever.counterfactual, lever.unpriced, lever.count
        ),
        "unpriced_savings": lever.unpriced,
        "times": lever.count,
        "misses": lever.misses,
        "hit_rate": _rounded(lever.hit_rate),
        "model_seconds_saved": round(lever.seconds, 6),
        "baselines": list(lever.baselines),
    }


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
