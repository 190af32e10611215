"""What happens to ledgers when the interpreter exits or the process forks."""

from __future__ import annotations

import atexit
import os
import weakref
from contextlib import suppress
from typing import Protocol

from langchain_lean.errors import StorageError


class Lasting(Protocol):
    """Something that has work left when the process ends or splits."""

    def close(self) -> None:
        """Write what is left."""

    def forget(self) -> None:
        """Start anew in a forked process."""


_alive: weakref.WeakSet[Lasting] = weakref.WeakSet()


def keep_until_exit(lasting: Lasting, *, early: bool) -> None:
    """Close it at the exit of the interpreter, and reset it in forked processes.

    Args:
        lasting: What to look after; it may be collected before.
        early: Close it before the exit of what was made earlier, such as the metrics
            provider its exporters write to.
    """
    _alive.add(lasting)
    if early:
        atexit.register(_close, weakref.ref(lasting))


def _close(reference: weakref.ref[Lasting]) -> None:
    lasting = reference()
    if lasting is not None:
        with suppress(StorageError):
            lasting.close()


@atexit.register
def _close_all() -> None:
    for lasting in list(_alive):
        _close(weakref.ref(lasting))


def _forget_all() -> None:
    for lasting in list(_alive):
        lasting.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
