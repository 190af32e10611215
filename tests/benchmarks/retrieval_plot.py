"""The plot of the retrieval benchmark: sentences kept against tokens sent."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

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
from tests.benchmarks.retrieval_methods import Figures, Rows, ends, resampled

TICKS = (0.02, 0.04, 0.08, 0.15, 0.25, 0.5, 1.0, 1.5)
FIRST, LAST = 0, -1

Settings = Mapping[int | float | str, Figures]


class Style(NamedTuple):
    """How a method is drawn.

    Attributes:
        color: Of its line, its points and its name.
        line: Its line, in matplotlib's signs.
        marker: Its points.
        size: Of its points.
        point: At which of its points its name stands.
        place: Where beside that point: left, right or above.
        text: What is said of it after its name.
    """

    color: str
    line: str
    marker: str
    size: int
    point: int
    place: str
    text: str = ""


STYLES = {
    "dense": Style(OCHRE, ":", "o", 6, LAST, "right"),
    "BM25": Style(PLUM, ":", "o", 6, LAST, "right"),
    "fused": Style(GREEN, ":", "o", 6, LAST, "above"),
    "EmbeddingsFilter": Style(OCHRE, "none", "D", 10, FIRST, "right"),
    "nearest sentences": Style(GREY, "-", "none", 0, FIRST, "left"),
    "nearest, each once": Style(GREY, "-", "none", 0, FIRST, "left"),
    "random sentences": Style(GREY, "--", "none", 0, LAST, "right", " (control)"),
    "new vocabulary": Style(GREY, "--", "none", 0, LAST, "right", " (control)"),
}
PLACES: dict[str, dict[str, Any]] = {
    "left": {"xytext": (-8, 2), "ha": "right", "va": "center"},
    "right": {"xytext": (10, 0), "ha": "left", "va": "center"},
    "above": {"xytext": (0, 7), "ha": "center", "va": "bottom"},
    "above left": {"xytext": (0, 7), "ha": "right", "va": "bottom"},
}


def draw(rows: Rows, promised: Mapping[float, float], path: Path) -> list[Path]:
    """Draw the figures, and write them as .svg and .png.

    Args:
        rows: The figures.
        promised: The least that must be kept, by share of tokens.
        path: A file, whose suffix does not matter, or a folder.

    Returns:
        The files written.
    """

    def fill(axes: Axes) -> None:
        dress(axes)
        for name, style in STYLES.items():
            add(axes, name, rows[name], style)
        add_ours(axes, rows["ours"])
        add_promised(axes, promised)
        explain(axes, [*rows["fused"]])

    return written(path, "retrieval", (9, 6.4), fill)


def dress(axes: Axes) -> None:
    """Axes, their words and a quiet grid."""
    axes.set_xscale("log")
    axes.set_xlim(0.016, 2.4)
    axes.set_ylim(0, 1.04)
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
    axes.set_xlabel("Tokens sent, as a share of those of the 20 best whole documents")
    axes.set_ylabel("Share of the answer's sentences that are sent whole")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(color=GREY, labelcolor=INK)


def add(axes: Axes, name: str, settings: Settings, style: Style) -> None:
    """A method that is compared."""
    shares = [row.share.mean() for row in settings.values()]
    kept = [row.sentences.mean() for row in settings.values()]
    axes.plot(
        shares,
        kept,
        linestyle=style.line,
        linewidth=1.2,
        color=style.color,
        marker=style.marker,
        markersize=style.size,
        markerfacecolor="none" if style.line == "none" else style.color,
    )
    point = shares[style.point], kept[style.point]
    write(axes, name + style.text, point, style.place, style.color)


def add_ours(axes: Axes, settings: Settings) -> None:
    """The budget retriever, with its interval."""
    rows = [row for limit, row in settings.items() if isinstance(limit, float)]
    shares = [row.share.mean() for row in rows]
    means = [resampled(row.sentences) for row in rows]
    kept = [each[0] for each in means]
    low, high = zip(*map(ends, means), strict=True)
    axes.fill_between(shares, low, high, color=BLUE, alpha=0.12, linewidth=0)
    axes.plot(shares, kept, "-o", color=BLUE, linewidth=2.2, markersize=5)
    point = (shares[2], kept[2])
    write(axes, "BudgetRetriever", point, "above left", BLUE, weight="bold")


def add_promised(axes: Axes, promised: Mapping[float, float]) -> None:
    """What must be kept at least."""
    axes.plot([*promised], [*promised.values()], "x", color=INK, markersize=7, zorder=4)


def explain(axes: Axes, sizes: Sequence[object]) -> None:
    """What cannot be said beside a point."""
    *most, last = map(str, sizes)
    text = (
        "×  what BudgetRetriever must keep at least\n"
        "shaded: its 95 % interval over the questions\n"
        f"dots: the best {', '.join(most)} and {last} whole documents of a ranking"
    )
    axes.text(0.98, 0.04, text, transform=axes.transAxes, ha="right", color=INK)


def write(
    axes: Axes,
    text: str,
    point: tuple[float, float],
    place: str,
    color: str,
    **how: Any,
) -> None:
    """Put words beside a point."""
    axes.annotate(
        text, point, textcoords="offset points", color=color, **PLACES[place], **how
    )
