"""What a cache knows of this process alone, and not of one that is forked from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from langchain_lean.lifecycle import keep_until_exit


class Forgetful(Protocol):
    """Something that begins anew in a forked process."""

    def forget(self) -> None:
        """Begin anew."""


class AtFork:
    """Has parts begin anew in forked processes, for as long as it lives.

    Args:
        parts: What begins anew; nothing of it keeps a thread for long.
    """

    def __init__(self, parts: Sequence[Forgetful]) -> None:
        self._parts = parts
        keep_until_exit(self, early=False)

    def close(self) -> None:
        """Nothing is left to do when the process ends."""

    def hold(self) -> None:
        """Nothing is locked for long."""

    def release(self) -> None:
        """Nothing was held."""

    def forget(self) -> None:
        """Begin anew in a forked process."""
        for part in self._parts:
            part.forget()
