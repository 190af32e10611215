"""What routing costs, against how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from langchain_lean.checks import checked_number
from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.learning.outcomes import Outcomes, rows_of
from langchain_lean.routing.learning.scoring import scored
from langchain_lean.routing.verdict import EscalationPolicy
from langchain_lean.vectors import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLUE, _GREY, _INK, _GRID = "#2f6690", "#77797c", "#333333", "#e6e6e6"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What becomes of requests at a threshold.

    Attributes:
        threshold: Requests with a score below it go to the strong model.
        cheap: The share that the cheap model answers.
        bad: The share, of all requests, that get a bad cheap answer.
        quality: The share that get a good answer.
        cost: What a request costs on average, in the unit of the costs given.
    """

    threshold: float
    cheap: float
    bad: float
    quality: float
    cost: float


def curve_points(
    policy: EscalationPolicy,
    outcomes: Outcomes,
    *,
    strong_good: float | None = None,
    costs: tuple[float, float] = (0.0, 1.0),
) -> list[CurvePoint]:
    """What becomes of outcomes at each threshold of a policy's score.

    Args:
        policy: Any whose verdicts have a score.
        outcomes: Mappings with `question`, `answer` and `good`, or a DataFrame.
        strong_good: The share of requests that the strong model answers well, where
            the outcomes have no `strong_good`.
        costs: What a request costs: of the cheap model, of the strong one. By default
            the cost is the share of requests that the strong model answers.

    Returns:
        One point for each threshold that makes a difference, from all requests cheap
        to none. A policy that judges answers pays the cheap model for each.

    Raises:
        ConfigurationError: If the outcomes cannot be read, the policy gives no scores,
            or it is not known how good the strong model is.
    """
    return _curve(policy, outcomes, strong_good, costs).points


def curve(
    policy: EscalationPolicy,
    outcomes: Outcomes,
    *,
    strong_good: float | None = None,
    costs: tuple[float, float] | None = None,
) -> Figure:
    """Plot what `curve_points` finds: cost against quality.

    Named are both models alone and the policy at its threshold, if it has one.

    Args:
        policy: Any whose verdicts have a score.
        outcomes: As in `curve_points`.
        strong_good: As in `curve_points`.
        costs: Dollars a request costs: of the cheap model, of the strong one. By
            default the cost is the share of requests that the strong model answers.

    Raises:
        ConfigurationError: As in `curve_points`, or if matplotlib is not installed.
    """
    found = _curve(policy, outcomes, strong_good, costs or (0.0, 1.0))
    label = "Dollars per request" if costs else "Requests to the strong model"
    threshold = getattr(policy, "threshold", None)
    named = dict(found.alone)
    if threshold is not None:
        point = _at(found.points, threshold)
        named[f"threshold {threshold:.2f}"] = (point.cost, point.quality)
    return _draw(found.points, named, cost_label=label)


class _Curve(NamedTuple):
    """The points of a policy, and cost and quality of the models alone."""

    points: list[CurvePoint]
    alone: dict[str, tuple[float, float]]


def _curve(
    policy: EscalationPolicy,
    outcomes: Outcomes,
    strong_good: float | None,
    costs: tuple[float, float],
) -> _Curve:
    rows = rows_of(outcomes)
    for cost in costs:
        checked_number("costs", cost, 0)
    good = np.array([row.good for row in rows])
    strong = np.array([row.strong_good for row in rows])
    if strong_good is not None:
        strong = np.full(len(rows), checked_number("strong_good", strong_good, 0, 1))
    elif None in strong:
        msg = (
            "How good is the strong model? Give strong_good in each outcome, or "
            "strong_good= as a share of all requests."
        )
        raise ConfigurationError(msg)
    scores, judged = scored(policy, rows)
    strong = strong.astype(np.float64)
    points = _points(scores, good, strong, costs, judged=judged)
    cheap, expensive = costs
    alone = {
        "cheap alone": (float(cheap), float(good.mean())),
        "strong alone": (float(expensive), float(strong.mean())),
    }
    return _Curve(points, alone)


def _points(
    scores: Floats,
    good: NDArray[np.bool_],
    strong_good: Floats,
    costs: tuple[float, float],
    *,
    judged: bool,
) -> list[CurvePoint]:
    """The points of the curve, from all requests cheap to none.

    Args:
        scores: The score of each row.
        good: Whether its cheap answer was good.
        strong_good: Whether the strong model's was, or how likely that is.
        costs: What a request costs: of the cheap model, of the strong one.
        judged: Whether the cheap model is asked before it is known who answers, and
            so is paid for every request.

    Returns:
        One for each threshold that makes a difference.
    """
    order = np.argsort(scores)
    ranked, rows = scores[order], len(scores)
    sent = np.array([0, *np.flatnonzero(np.diff(ranked)) + 1, rows])
    thresholds = np.array([0.0, *np.nextafter(ranked[sent[1:] - 1], np.inf)])
    cheap = 1 - sent / rows
    bad = _sums(~good[order])
    gained = _sums((strong_good - good)[order])
    quality = (good.sum() + gained[sent]) / rows
    paid = costs[0] * (1 if judged else cheap) + costs[1] * (1 - cheap)
    columns = (thresholds, cheap, (bad[-1] - bad[sent]) / rows, quality, paid)
    return [CurvePoint(*map(float, each)) for each in zip(*columns, strict=True)]


def _at(points: Sequence[CurvePoint], threshold: float) -> CurvePoint:
    """The point of a curve at a threshold: that of the next score above it."""
    return next((p for p in points if p.threshold >= threshold), points[-1])


def _draw(
    points: Sequence[CurvePoint],
    named: Mapping[str, tuple[float, float]],
    *,
    cost_label: str,
) -> Figure:
    """Draw a curve.

    Args:
        points: The curve.
        named: Cost and quality of points to name; the first two are joined, as what
            random routing between them gives.
        cost_label: What the cost is.

    Raises:
        ConfigurationError: If matplotlib is not installed.
    """
    from matplotlib.ticker import PercentFormatter

    from langchain_lean.accounting.report.figure import NotebookFigure

    figure = NotebookFigure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    ends = [*named.values()][:2]
    axes.plot(*zip(*ends, strict=True), ":", color=_GREY, label="random")
    line = [(point.cost, point.quality) for point in points]
    axes.plot(*zip(*line, strict=True), color=_BLUE, linewidth=2, label="the policy")
    beside = [(8, -4, "left"), (-2, -24, "right"), (0, 8, "center")]  # points
    for (name, place), (right, up, side) in zip(named.items(), beside, strict=False):
        axes.plot(*place, "o", color=_INK, markersize=5)
        axes.annotate(
            name, place, (right, up), textcoords="offset points", ha=side, color=_INK
        )
    axes.set_xlabel(cost_label)
    axes.set_ylabel("Requests with a good answer")
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
    axes.margins(x=0.05, y=0.12)
    axes.grid(color=_GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _sums(values: NDArray[np.bool_] | Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
