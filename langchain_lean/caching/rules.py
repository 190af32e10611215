"""The learned rules of a cache, one for each partition."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from langchain_lean.caching.acceptance import (
    NEIGHBOURS,
    Acceptance,
    Decision,
    Lesson,
)
from langchain_lean.caching.stores.base import Near

__all__ = ["Decision", "Rules"]

_MOST = 1_000  # partitions; what was learned of others is in the store


class Rules:
    """Decides by partition, so that no tenant teaches another's rule.

    Each process keeps the bound on its own requests, so that it holds for all together;
    what is learned is shared through the store. Safe to use from many threads.

    Args:
        max_error_rate: Wrong answers, as a share of all requests.
    """

    neighbours = NEIGHBOURS

    def __init__(self, max_error_rate: float) -> None:
        self._max_error_rate = max_error_rate
        self._lock = threading.Lock()
        self._rules: OrderedDict[str, Acceptance] = OrderedDict()

    def wants_lessons(self, partition: str) -> bool:
        """Whether a partition's lessons are still in the store alone."""
        with self._lock:
            return partition not in self._rules

    def restore(self, partition: str, lessons: Sequence[str]) -> None:
        """Learn again what others have learned of a partition."""
        with self._lock:
            rule = self._of(partition)
            rule.restore([read for text in lessons if (read := Lesson.from_text(text))])

    def decide(self, partition: str, near: Sequence[Near]) -> Decision:
        """Whether one of the nearest is to be served."""
        with self._lock:
            return self._of(partition).decide(near)

    def learn(self, partition: str, decision: Decision, same: bool) -> str:
        """Learn whether an answer was the same; gives the lesson for the store."""
        with self._lock:
            return self._of(partition).learn(decision, same).to_text()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._rules.clear()

    def forget(self) -> None:
        """Have a lock of its own in a forked process."""
        self._lock = threading.Lock()

    def _of(self, partition: str) -> Acceptance:
        rule = self._rules.get(partition)
        if rule is None:
            rule = self._rules[partition] = Acceptance(self._max_error_rate)
            if len(self._rules) > _MOST:
                self._rules.popitem(last=False)
        self._rules.move_to_end(partition)
        return rule
