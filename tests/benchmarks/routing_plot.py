"""The plot of the routing benchmark: quality recovered against strong calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from tests.benchmarks.plots import (
    BLUE,
    GREEN,
    GREY,
    GRID,
    INK,
    OCHRE,
    PLUM,
    written,
)
from tests.benchmarks.routing_methods import GRID as SHARES
from tests.benchmarks.routing_methods import LEVELS, Figures


class Style(NamedTuple):
    """How a method is drawn."""

    color: str
    line: str = "-"
    width: float = 1.4


OURS = "LearnedPolicy"
STYLES = {
    OURS: Style(BLUE, width=2.4),
    "AnswerChecks": Style(GREEN),
    "LearnedPolicy, questions alone": Style(PLUM),
    "question length": Style(OCHRE),
    "random": Style(GREY, line="--"),
}
LEVEL_SHARES = [level / 100 for level in LEVELS]


def draw(
    rows: Mapping[str, Figures],
    published: Mapping[str, Sequence[float]],
    path: Path,
) -> list[Path]:
    """Draw the curves of GSM8K, and write them as .svg and .png.

    Args:
        rows: The figures by method.
        published: CPT(50) and CPT(80) of others, by name.
        path: A file, whose suffix does not matter, or a folder.

    Returns:
        The files written.
    """

    def fill(axes: Axes) -> None:
        dress(axes)
        for name, style in STYLES.items():
            add(axes, name, rows[name], style)
        label = "RouteLLM's four routers, as published; they see no answer"
        for calls in published.values():
            shares = [share / 100 for share in calls]
            axes.plot(shares, LEVEL_SHARES, "x", color=INK, label=label)
            label = ""
        axes.legend(frameon=False, loc="lower right", labelcolor=INK)

    return written(path, "routing", (8, 5.6), fill)


def dress(axes: Axes) -> None:
    """Axes, their words and a quiet grid."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, 0, " %"))
    axes.set_xlabel("Requests that the strong model answers")
    axes.set_ylabel("Of the gap in quality between the models, recovered")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(color=GREY, labelcolor=INK)


def add(axes: Axes, name: str, row: Figures, style: Style) -> None:
    """The mean curve of a method, and of ours what the seeds differ by."""
    mean, spread = row.gap.mean(axis=0), row.gap.std(axis=0)
    axes.plot(
        SHARES, mean, style.line, color=style.color, linewidth=style.width, label=name
    )
    if name == OURS:
        low, high = mean - spread, mean + spread
        axes.fill_between(SHARES, low, high, color=style.color, alpha=0.12, linewidth=0)
