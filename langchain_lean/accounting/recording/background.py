"""Work that is done soon, off the thread that asked for it."""

import threading
from collections.abc import Callable

_INTERVAL = 0.05
_IDLE_ROUNDS = 20


class Background:
    """Runs a piece of work every 50 ms while there is some.

    Its thread is a daemon that starts when it is woken and ends about a second after
    there was nothing left to do, so nobody has to stop it.

    Args:
        work: Does what there is to do, and says whether there was anything.
        name: Of the thread.
    """

    def __init__(self, work: Callable[[], bool], *, name: str) -> None:
        self._work = work
        self._name = name
        self.forget()

    def wake(self) -> None:
        """See to it that the work is done within 50 ms."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._start()

    def forget(self) -> None:
        """Start anew; a forked process has no threads of its parent's."""
        self._lock = threading.Lock()
        self._pause = threading.Event()
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is shutting down
            self._thread = None

    def _run(self) -> None:
        idle = 0
        while idle < _IDLE_ROUNDS:
            self._pause.wait(_INTERVAL)
            idle = 0 if self._work() else idle + 1
        self._thread = None
        if self._work():  # what came between the last round and the line above
            self.wake()
