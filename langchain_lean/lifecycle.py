"""What happens to files and locks when a process ends or forks."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from contextlib import suppress
from typing import Protocol


class Lasting(Protocol):
    """Something that has work left when the process ends, and locks when it forks."""

    def close(self) -> None:
        """Write what is left."""

    def hold(self) -> None:
        """Take every lock, so that no other thread holds one while a process forks."""

    def release(self) -> None:
        """Let go of the locks again."""

    def forget(self) -> None:
        """Start anew in a forked process."""


_alive: weakref.WeakSet[Lasting] = weakref.WeakSet()
_held: list[Lasting] = []
_forking = threading.RLock()  # two threads may fork at once
_finalized: set[int] = set()


class _Child:
    """Stands for this module in `multiprocessing`, which keeps a reference to it."""


_child = _Child()


def keep_until_exit(lasting: Lasting, *, early: bool) -> None:
    """Close it when the process ends, and reset it in forked ones.

    Args:
        lasting: What to look after; it may be collected before.
        early: Close it before the exit of what was made earlier, such as the metrics
            provider its exporters write to.
    """
    _alive.add(lasting)
    _close_with_multiprocessing(_child)
    if early:
        atexit.register(_close, weakref.ref(lasting))


def _close(reference: weakref.ref[Lasting]) -> None:
    lasting = reference()
    if lasting is not None:
        with suppress(Exception):  # one must not keep the others from it
            lasting.close()


@atexit.register
def _close_all() -> None:
    for lasting in list(_alive):
        _close(weakref.ref(lasting))


def _close_with_multiprocessing(_: _Child) -> None:
    """Processes of `multiprocessing` end without `atexit`, but with finalizers."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None and os.getpid() not in _finalized:
        _finalized.add(os.getpid())
        util.Finalize(None, _close_all, exitpriority=100)


def _before_fork() -> None:
    _forking.acquire()
    _held[:] = list(_alive)
    for lasting in _held:
        lasting.hold()


def _after_fork_in_parent() -> None:
    for lasting in reversed(_held):
        lasting.release()
    _held.clear()
    _forking.release()


def _after_fork_in_child() -> None:
    global _forking
    _forking = threading.RLock()
    for lasting in _held:
        lasting.forget()
    _held.clear()
    util = sys.modules.get("multiprocessing.util")
    if util is not None:  # it drops finalizers made before this moment
        util.register_after_fork(_child, _close_with_multiprocessing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
