"""Questions that a cache had no answer to, until their answers come."""

from __future__ import annotations

import threading
from collections import OrderedDict

from langchain_lean.caching.misses import Miss
from langchain_lean.caching.prompts import Asked

_MOST = 1_000  # a model that fails never answers


class Pending:
    """Keeps the newest misses of a process. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._misses: OrderedDict[str, Miss] = OrderedDict()

    def add(self, asked: Asked, miss: Miss) -> None:
        """Remember a miss."""
        with self._lock:
            self._misses[asked.id] = miss
            if len(self._misses) > _MOST:
                self._misses.popitem(last=False)

    def take(self, asked: Asked) -> Miss | None:
        """The miss of a question, which is forgotten by that."""
        with self._lock:
            return self._misses.pop(asked.id, None)

    def forget(self) -> None:
        """Have a lock of its own in a forked process."""
        self._lock = threading.Lock()
