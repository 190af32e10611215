"""The machine's Chromium, and what a page is like in it."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from playwright.sync_api import Page, sync_playwright

Scheme = Literal["light", "dark"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
SMALLEST = 11
"""Pixels of a letter's size."""
CONTRAST = 4.5
"""Of text from what is under it: WCAG 2.2, success criterion 1.4.3, level AA."""

_LEGIBLE = Path(__file__).with_name("legible.js").read_text(encoding="utf-8")
_ON_THIS_MACHINE = ("file:", "data:", "blob:", "about:")


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened when a page was opened.

    Attributes:
        complaints: The console's warnings and errors, and errors of scripts.
        requests: What it asked other machines for.
        illegible: What is hard to read on it, one sentence each.
        told: What the reader's own look at it returned.
    """

    complaints: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    illegible: tuple[str, ...] = ()
    told: Any = None

    @property
    def faults(self) -> tuple[str, ...]:
        """All that is wrong with it."""
        asked = (f"asked for {url}" for url in self.requests)
        return (*self.complaints, *asked, *self.illegible)


def executable() -> str | None:
    """The machine's Chromium, if it has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One headless Chromium without a network.

    Playwright leaves an event loop running in the thread that started it, so that no
    asyncio test could run there any more: it has a thread of its own here.
    """

    def __init__(self, path: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chromium")
        self._thread.submit(self._start, path).result()

    def _start(self, path: str) -> None:
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=path)

    def close(self) -> None:
        """End the browser and its thread."""
        self._thread.submit(self._stop).result()
        self._thread.shutdown()

    def _stop(self) -> None:
        self._browser.close()
        self._playwright.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def see(
        self,
        path: Path,
        *,
        width: int = 1400,
        scheme: Scheme = "light",
        within: str = "body",
        scale: float = 1,
        look: Callable[[Page], Any] = lambda page: None,
    ) -> Seen:
        """Open a page and say what it is like.

        Args:
            path: The page's file.
            width: Of the window, in pixels.
            scheme: What the reader's system prefers.
            within: A selector of what must be legible.
            scale: Pixels of the screen to one of the page.
            look: Given the page once it is there.
        """
        return self._thread.submit(
            self._see, path, width, scheme, within, scale, look
        ).result()

    def _see(
        self,
        path: Path,
        width: int,
        scheme: Scheme,
        within: str,
        scale: float,
        look: Callable[[Page], Any],
    ) -> Seen:
        complaints: list[str] = []
        requests: list[str] = []
        context = self._browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            device_scale_factor=scale,
            offline=True,
        )
        with context:
            context.on("request", lambda request: requests.append(request.url))
            page = context.new_page()
            page.on("console", lambda said: complaints.extend(_complaint(said)))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(path.absolute().as_uri(), wait_until="load")
            limits = {"within": within, "smallest": SMALLEST, "contrast": CONTRAST}
            illegible = page.evaluate(_LEGIBLE, limits)
            told = look(page)
        away = (url for url in requests if not url.startswith(_ON_THIS_MACHINE))
        return Seen(tuple(complaints), tuple(away), tuple(illegible), told)


def _complaint(said: Any) -> list[str]:
    return [f"{said.type}: {said.text}"] if said.type in ("error", "warning") else []
