"""Time that only passes where something waits, so that simulated delays take none."""

import asyncio
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from selectors import DefaultSelector, SelectorKey
from typing import Any


class SimulatedTime:
    """A clock, and event loops that move it on in place of waiting.

    Only waiting takes time, and what waits side by side waits once. As all runs on one
    thread, the same takes equally long each time.
    """

    def __init__(self) -> None:
        self._begun = time.time()
        self._passed = 0.0

    def clock(self) -> float:
        """Seconds since the epoch."""
        return self._begun + self._passed

    def timer(self) -> float:
        """Seconds that only go forward."""
        return self._passed

    def loop(self) -> AbstractEventLoop:
        """Make an event loop of this time."""
        return _Loop(self._wait, self.timer)

    def _wait(self, seconds: float) -> None:
        self._passed += seconds


class _Loop(asyncio.SelectorEventLoop):
    """Waits by a function, and runs on its own thread what was to run on another."""

    def __init__(
        self, wait: Callable[[float], None], timer: Callable[[], float]
    ) -> None:
        super().__init__(_Selector(wait))
        self._timer = timer

    def time(self) -> float:
        return self._timer()

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        try:
            future.set_result(copy_context().run(func, *args))
        except Exception as error:
            future.set_exception(error)
        return future


class _Selector(DefaultSelector):
    """Waits by a function for what is due, and not for files."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        super().__init__()
        self._wait = wait

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        if timeout is None:  # nothing is due: another thread is to say what is next
            return super().select(None)
        self._wait(max(timeout, 0.0))
        return super().select(0)
