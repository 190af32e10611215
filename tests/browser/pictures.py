"""The pictures of the README: `python -m tests.browser.pictures` writes them anew.

They show what the demo's lean arm spends: stand-ins priced as real models.
"""

import sys
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Page

from langchain_lean import demo
from tests.browser.chromium import Chromium, Scheme, executable

FOLDER = Path(__file__).parents[2] / "docs"
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
WIDTH = 1120
SCALE = 2
COLORS = 256
SECTIONS = 3
"""How many are in the picture; a reader who wants them all opens a report."""


def main() -> int:
    """Write a picture for each scheme.

    Returns:
        The exit code: 0, or 1 where there is no Chromium.
    """
    path = executable()
    if path is None:
        sys.stderr.write("Pictures are taken with Chromium, and there is none here.\n")
        return 1
    with TemporaryDirectory() as folder, Chromium(path) as chromium:
        page = Path(folder) / "report.html"
        with redirect_stdout(StringIO()):
            demo.main(["--arm", "lean", "--output", str(page)])
        for scheme in SCHEMES:
            seen = chromium.see(
                page, width=WIDTH, scheme=scheme, scale=SCALE, look=_top
            )
            _write(FOLDER / f"report-{scheme}.png", seen.told)
    return 0


def _top(page: Page) -> bytes:
    """The report down to the line above the first section that is left out."""
    box = page.locator("section").nth(SECTIONS).bounding_box()
    assert box is not None
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": box["y"]}
    return page.screenshot(clip=clip, full_page=True)


def _write(path: Path, png: bytes) -> None:
    """Write a picture in few colors, which takes a third of the space."""
    path.parent.mkdir(exist_ok=True)
    picture = Image.open(BytesIO(png)).convert("RGB")
    picture.quantize(COLORS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    sys.stdout.write(f"{path.name}: {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    sys.exit(main())
