"""How the plots of the benchmarks look, and where they are written."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, GREEN, OCHRE, PLUM, GREY = "#2f6690", "#5f8a6a", "#b07d3c", "#84648a", "#77797c"
INK, GRID = "#333333", "#e6e6e6"


def written(
    path: Path, name: str, size: tuple[float, float], fill: Callable[[Axes], None]
) -> list[Path]:
    """Draw a plot, and write it as .svg and .png.

    Args:
        path: A file, whose suffix does not matter, or a folder.
        name: What it is called in a folder.
        size: Inches across and up.
        fill: Draws it.

    Returns:
        The files.
    """
    folder = path.is_dir() or not path.suffix
    stem = path / name if folder else path.with_suffix("")
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = [stem.with_suffix(suffix) for suffix in (".svg", ".png")]
    with mpl.rc_context({"svg.hashsalt": "lean", "font.size": 10}):
        figure = Figure(figsize=size, layout="constrained")
        fill(figure.add_subplot())
        figure.savefig(files[0], metadata={"Date": None})
        figure.savefig(files[1], dpi=160)
    return files
