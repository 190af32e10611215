"""The plot of the memory benchmark: facts kept against dollars."""

from pathlib import Path
from statistics import mean
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from tests.benchmarks.memory_methods import OURS, Figures, Rows
from tests.benchmarks.plots import BLUE, GREY, GRID, INK, written

TITLE = "400 turns with 200 facts, Claude Sonnet 4.5 on Bedrock with its prompt cache"
REFUSED = "hollow: Bedrock would refuse some of its prompts"
TOP = 1.12  # room for the names of those that keep everything


class Place(NamedTuple):
    """Where a method's name stands beside its point.

    Attributes:
        across: Points to the right.
        up: Points above.
        side: The end of the name that is nearest to the point.
    """

    across: int
    up: int
    side: str


BESIDE = Place(9, 0, "left")
PLACES = {
    "SummarizationNode": Place(-9, 0, "right"),
    "SummarizationNode, fitted": Place(-9, 12, "right"),
    "ours": Place(0, 18, "center"),
    "ours, always=True": Place(0, -18, "left"),
    "SummarizationMiddleware": Place(11, 6, "left"),
}


def draw(rows: Rows, path: Path) -> list[Path]:
    """Draw the figures, and write them as .svg and .png.

    Args:
        rows: The figures.
        path: A file, whose suffix does not matter, or a folder.

    Returns:
        The files written.
    """

    def fill(axes: Axes) -> None:
        dress(axes, max(row.dollars for row in rows.values()))
        for name, row in rows.items():
            add(axes, name, row)
        axes.set_title(TITLE, loc="left", color=INK)
        axes.text(0.98, 0.03, REFUSED, transform=axes.transAxes, ha="right", color=INK)

    return written(path, "memory", (9, 6), fill)


def dress(axes: Axes, dollars: float) -> None:
    """Axes, their words and a quiet grid."""
    axes.set_xlim(0, dollars * 1.25)
    axes.set_ylim(0, TOP)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"${x:g}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
    axes.set_xlabel("Dollars for the whole conversation, summaries included")
    axes.set_ylabel("Facts said so far that are in the prompt, mean over all turns")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(color=GREY, labelcolor=INK)


def add(axes: Axes, name: str, row: Figures) -> None:
    """A method's point and name."""
    point = row.dollars, mean(row.kept)
    color = BLUE if name.startswith(OURS) else GREY
    edge, fill = (color, "white") if row.refused else ("white", color)
    place = PLACES.get(name, BESIDE)
    axes.plot(*point, "o", color=fill, markeredgecolor=edge, markersize=9)
    axes.annotate(
        name,
        point,
        xytext=place[:2],
        textcoords="offset points",
        ha=place.side,
        va="center",
        color=color,
        weight="bold" if name == OURS else "normal",
    )
