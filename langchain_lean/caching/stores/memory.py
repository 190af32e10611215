"""A cache in the memory of one process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence

from langchain_lean.caching.stores.base import LESSONS, CacheStore, Item, Near
from langchain_lean.caching.stores.index import VectorIndex
from langchain_lean.vectors import Floats

_TAUGHT = 1_000  # partitions whose lessons are kept

_Place = tuple[str, str]


class MemoryCacheStore(CacheStore):
    """Keeps items until the process ends.

    Args:
        max_entries: How many items are kept, of all partitions together.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, *, max_entries: int = 100_000, clock: Callable[[], float] = time.time
    ) -> None:
        self._max_entries = max_entries
        self._clock = clock
        self._lock = threading.RLock()
        self._empty()

    def _empty(self) -> None:
        self._items: OrderedDict[_Place, tuple[Item, float | None]] = OrderedDict()
        self._indexes: dict[str, VectorIndex] = {}
        self._tagged: defaultdict[str, set[_Place]] = defaultdict(set)
        self._lessons: OrderedDict[str, deque[str]] = OrderedDict()

    def get(self, partition: str, key: str) -> str | None:
        """The value of a key, which is used by that; None where there is none."""
        place = (partition, key)
        with self._lock:
            item, ends = self._items.get(place, (None, None))
            if item is None:
                return None
            if ends is not None and ends <= self._clock():
                self._leave(place)
                return None
            self._items.move_to_end(place)
            return item.value

    def nearest(self, partition: str, vector: Floats, count: int) -> list[Near]:
        """The items of a partition nearest to a vector, the nearest first."""
        with self._lock:
            index = self._indexes.get(partition)
            while index is not None:
                near = index.nearest(vector, count)
                ended = [one.key for one in near if self._has_ended(partition, one.key)]
                if not ended:
                    return near
                for key in ended:
                    self._leave((partition, key))
        return []

    def put(self, partition: str, item: Item) -> None:
        """Keep an item: its value and its vector, both or neither."""
        place = (partition, item.key)
        ends = None if item.seconds is None else self._clock() + item.seconds
        with self._lock:
            self._leave(place)
            self._items[place] = (item, ends)
            for tag in item.tags:
                self._tagged[tag].add(place)
            if item.vector is not None:
                self._add(partition, item, item.vector)
            while len(self._items) > self._max_entries:
                self._leave(next(iter(self._items)))

    def remove(self, partition: str, key: str) -> None:
        """Remove an item, if it is there."""
        with self._lock:
            self._leave((partition, key))

    def invalidate(self, tag: str) -> int:
        """Remove all items with a tag, in all partitions."""
        with self._lock:
            places = list(self._tagged.get(tag, ()))
            for place in places:
                self._leave(place)
        return len(places)

    def clear(self) -> None:
        """Remove everything."""
        with self._lock:
            self._empty()

    def teach(self, partition: str, lessons: Sequence[str]) -> None:
        """Keep lessons of a partition; the newest `LESSONS` stay."""
        with self._lock:
            kept = self._lessons.setdefault(partition, deque(maxlen=LESSONS))
            kept.extend(lessons)
            self._lessons.move_to_end(partition)
            if len(self._lessons) > _TAUGHT:
                self._lessons.popitem(last=False)

    def lessons(self, partition: str) -> list[str]:
        """The lessons of a partition, oldest first."""
        with self._lock:
            return list(self._lessons.get(partition, ()))

    def close(self) -> None:
        """Keep everything: there is nothing else that holds it."""

    def hold(self) -> None:
        """Take the lock, so that no other thread holds it while the process forks."""
        self._lock.acquire()

    def release(self) -> None:
        """Let go of the lock again."""
        self._lock.release()

    def forget(self) -> None:
        """Have a lock of its own in a forked process."""
        self._lock = threading.RLock()

    def _has_ended(self, partition: str, key: str) -> bool:
        _, ends = self._items[partition, key]
        return ends is not None and ends <= self._clock()

    def _add(self, partition: str, item: Item, vector: Floats) -> None:
        index = self._indexes.get(partition)
        if index is None:
            index = self._indexes[partition] = VectorIndex(len(vector))
        if index.dimensions == len(vector):
            index.put(item.key, item.label, vector)

    def _leave(self, place: _Place) -> None:
        """Remove an item with all that finds it."""
        item, _ = self._items.pop(place, (None, None))
        if item is None:
            return
        partition, key = place
        for tag in item.tags:
            self._tagged[tag].discard(place)
            if not self._tagged[tag]:
                del self._tagged[tag]
        index = self._indexes.get(partition)
        if index is not None:
            index.remove(key)
            if not len(index):
                del self._indexes[partition]
