"""What the figures of a ledger have in common: how they look, and where they show."""

import textwrap
import warnings
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from langchain_lean.accounting.report.style import COLORS
from langchain_lean.errors import ConfigurationError

try:
    from matplotlib.figure import Figure
    from matplotlib.text import Text
except ImportError:
    msg = (
        "A plot needs matplotlib: pip install 'langchain-lean-ai[notebooks]' "
        "(or pip install matplotlib)."
    )
    raise ConfigurationError(msg) from None

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.container import BarContainer

_WIDTH = 8.0  # inches
_SIZE = 10  # points
_LINE = 96  # characters of that size in the width
_NO_GLYPH = r"Glyph \d+ .* missing from|Matplotlib currently does not support "


class NotebookFigure(Figure):
    """A figure that a notebook shows once, whether or not pyplot was imported.

    Pyplot knows nothing of it: no window opens, and it is gone with its last user.
    What its font has no letters for is drawn as boxes, without a warning.
    """

    def draw(self, renderer: "RendererBase") -> None:
        """Draw it, as matplotlib asks."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _NO_GLYPH, UserWarning)
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        drawn = BytesIO()
        self.savefig(drawn, format="png")
        return drawn.getvalue()


def empty_figure(said: str) -> NotebookFigure:
    """A figure that says why there is no picture."""
    figure = _figure(height=1.2)
    figure.text(0.02, 0.5, textwrap.fill(said, _LINE), va="center", fontsize=_SIZE)
    return plain(figure)


def titled_axes(
    title: str, said: str, *, height: float
) -> "tuple[NotebookFigure, Axes]":
    """A figure with one pair of axes.

    Args:
        title: What it shows.
        said: Its figures, in a line below the title.
        height: Its height in inches.
    """
    figure = _figure(height=height)
    axes = figure.add_subplot(facecolor=COLORS["surface"])
    lines = textwrap.wrap(said, _LINE)
    axes.set_title(
        title, loc="left", fontsize=13, fontweight="bold", pad=8 + 14 * len(lines)
    )
    axes.annotate(
        "\n".join(lines),
        (0, 1),
        (0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=_SIZE,
        va="bottom",
    )
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=_SIZE, labelcolor=COLORS["text"])
    return figure, axes


def legend(figure: Figure, named: "Mapping[str, Artist | BarContainer]") -> None:
    """Name what is drawn, below the picture, in as many columns as have room."""
    handles: Any = list(named.values())
    widest = max(map(len, named), default=0) + 6
    figure.legend(
        handles,
        list(named),
        loc="outside lower left",
        ncols=max(1, min(5, _LINE // widest)),
        frameon=False,
        fontsize=_SIZE,
        handlelength=1.0,
    )


def plain(figure: NotebookFigure) -> NotebookFigure:
    """Show names as they are, and readable whatever style is set."""
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_parse_math(False)
            text.set_usetex(False)
            text.set_color(COLORS["text"])
    return figure


def _figure(*, height: float) -> NotebookFigure:
    return NotebookFigure(
        figsize=(_WIDTH, height),
        layout="constrained",
        facecolor=COLORS["surface"],
    )
