"""Vectors of one partition in memory, compared one by one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from langchain_lean.caching.stores.base import Near
from langchain_lean.vectors import Floats

_FIRST = 4  # rows: a user of many may have one question


class VectorIndex:
    """Finds what is nearest among vectors of length 1. Not safe from many threads.

    Attributes:
        dimensions: How many numbers a vector has.
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._rows: NDArray[np.float32] = np.empty((_FIRST, dimensions), np.float32)
        self._keys: list[str] = []
        self._labels: list[str] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self) -> list[str]:
        """The keys of all vectors."""
        return list(self._keys)

    def put(self, key: str, label: str, vector: Floats) -> None:
        """Add a vector, in place of an earlier one of its key."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self._keys)
            self._keys.append(key)
            self._labels.append(label)
            self._grow()
        self._labels[place] = label
        self._rows[place] = vector

    def remove(self, key: str) -> None:
        """Remove a vector, if it is there; the last one takes its place."""
        place = self._places.pop(key, None)
        if place is None:
            return
        last_key, last_label = self._keys.pop(), self._labels.pop()
        if place < len(self._keys):
            self._rows[place] = self._rows[len(self._keys)]
            self._keys[place], self._labels[place] = last_key, last_label
            self._places[last_key] = place

    def nearest(self, vector: Floats, count: int) -> list[Near]:
        """What is nearest to a vector, the nearest first."""
        size = len(self._keys)
        if not size or len(vector) != self.dimensions:
            return []
        # Row by row, on this thread: the other threads of a product have to be woken,
        # which takes longer than their help is worth where processors are busy.
        similarities = np.vecdot(self._rows[:size], vector.astype(np.float32))
        if count < size:
            best = np.argpartition(similarities, size - count)[size - count :]
        else:
            best = np.arange(size)
        # By key where two are equally near, so that it is always the same.
        ranked = sorted((-float(similarities[i]), self._keys[i], i) for i in best)
        return [Near(key, -less, self._labels[i]) for less, key, i in ranked]

    def _grow(self) -> None:
        if len(self._keys) > len(self._rows):
            more = np.empty_like(self._rows)
            self._rows = np.concatenate([self._rows, more])
