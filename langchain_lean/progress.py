"""A progress bar for long work, where a person watches."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    suppress,
)
from html import escape
from typing import Any

from rich.console import Console
from rich.progress import Progress

OnProgress = Callable[[float], object]
"""Told how much is done, from 0 to 1."""

_AFTER, _EVERY = 1.0, 0.1  # seconds


@contextmanager
def progress_bar(
    label: str,
    on_progress: OnProgress | None = None,
    *,
    timer: Callable[[], float] = time.monotonic,
) -> Iterator[OnProgress]:
    """Show how far work is, until the block ends.

    Once the work has taken a second, a bar stands in an interactive terminal (on
    standard error) or below the cell of a notebook that somebody has open. Nowhere
    else is anything shown, and a bar that cannot be drawn never ends the work.

    Args:
        label: What is being done, in a word or two.
        on_progress: Is told instead; no bar is shown then.
        timer: Seconds that only go forward.

    Yields:
        What is to be told how much is done, from 0 to 1.

    Example:
        ```python
        with progress_bar("Reading") as told:
            for number, path in enumerate(paths, 1):
                read(path)
                told(number / len(paths))
        ```
    """
    if on_progress is not None:
        yield on_progress
        return
    bar = _Bar(label, timer)
    try:
        yield bar.told
    finally:
        bar.close()


class _Bar:
    """A bar that appears when there is something to wait for."""

    def __init__(self, label: str, timer: Callable[[], float]) -> None:
        self._label, self._timer = label, timer
        self._due = timer() + _AFTER
        self._show: OnProgress | None = None
        self._shown = ExitStack()

    def told(self, done: float) -> None:
        """Show how much is done."""
        now = self._timer()
        if now < self._due:
            return
        self._due = now + _EVERY
        with suppress(Exception):
            if self._show is None:
                self._show = self._shown.enter_context(_surface(self._label))
            self._show(done)

    def close(self) -> None:
        """Take it away."""
        with suppress(Exception):
            self._shown.close()


class _Console(Console):
    """A console that falls silent where Rich would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def _surface(label: str) -> AbstractContextManager[OnProgress]:
    """What shows a bar to whoever watches, if anybody does."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    kernel = getattr(shell, "kernel", None)
    # A kernel that runs a notebook for nobody is told not to ask for input.
    if getattr(kernel, "_allow_stdin", False):
        return _in_notebook(label)
    console = _Console(stderr=True, force_jupyter=False)
    # Color can be forced where there is no terminal.
    if kernel is None and console.is_interactive and console.file.isatty():
        return _in_terminal(label, console)
    return nullcontext(lambda done: None)


@contextmanager
def _in_terminal(label: str, console: Console) -> Iterator[OnProgress]:
    # Redirected, what the application prints would go where the bar is; and a thread
    # that refreshes would tell of its own errors.
    with Progress(
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task(label, total=1.0)
        yield lambda done: progress.update(task, completed=done, refresh=True)


@contextmanager
def _in_notebook(label: str) -> Iterator[OnProgress]:
    from IPython import display as untyped

    display: Any = untyped

    def bar(done: float) -> dict[str, str]:
        html = f'{escape(label)} <progress value="{done:.3f}"></progress>'
        return {"text/plain": f"{label} {done:.0%}", "text/html": html}

    shown = display.display(bar(0.0), raw=True, display_id=True)
    try:
        yield lambda done: shown.update(bar(done), raw=True)
    finally:
        shown.update({"text/plain": "", "text/html": ""}, raw=True)
