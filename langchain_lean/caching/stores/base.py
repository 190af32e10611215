"""What a cache expects of a store: answers by partition, found by key or by nearness.

A store knows nothing of what it keeps: values are text, keys and partitions digests.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_lean.vectors import Floats

LESSONS = 2_000
"""How many lessons of a partition are kept, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What is put into a store.

    Attributes:
        key: Its key in the partition; an item of the same key is replaced.
        value: What is kept.
        label: Comes back with `Near`, without the value.
        vector: Where it is found by nearness, of length 1; None: by its key alone.
        seconds: How long it is kept; None: until others need its place.
        tags: `invalidate` removes it by any of these.
    """

    key: str
    value: str
    label: str = ""
    vector: Floats | None = None
    seconds: float | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Near:
    """An item near to a vector.

    Attributes:
        key: Its key.
        similarity: The cosine between the two, from -1 to 1.
        label: Its label.
    """

    key: str
    similarity: float
    label: str


class CacheStore(ABC):
    """Keeps items in partitions. Safe to use from many threads.

    Nothing of one partition is ever found from another. What has ended is not found.
    Where there is no place left, the items that were used least recently leave.
    """

    @abstractmethod
    def get(self, partition: str, key: str) -> str | None:
        """The value of a key, which is used by that; None where there is none.

        Raises:
            StorageError: As all others do, if the store cannot be used.
        """

    @abstractmethod
    def nearest(self, partition: str, vector: Floats, count: int) -> list[Near]:
        """The items of a partition nearest to a vector, the nearest first.

        Args:
            partition: Where to look.
            vector: Of length 1. A partition whose vectors have another number of
                dimensions has nothing that is near.
            count: How many, at most.
        """

    @abstractmethod
    def put(self, partition: str, item: Item) -> None:
        """Keep an item: its value and its vector, both or neither.

        A vector of another number of dimensions than the partition's is left out.
        """

    @abstractmethod
    def remove(self, partition: str, key: str) -> None:
        """Remove an item, if it is there."""

    @abstractmethod
    def invalidate(self, tag: str) -> int:
        """Remove all items with a tag, in all partitions.

        Returns:
            How many there were.
        """

    @abstractmethod
    def clear(self) -> None:
        """Remove everything."""

    @abstractmethod
    def teach(self, partition: str, lessons: Sequence[str]) -> None:
        """Keep lessons of a partition; the newest `LESSONS` stay."""

    @abstractmethod
    def lessons(self, partition: str) -> list[str]:
        """The lessons of a partition, oldest first."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; the next use opens them again."""

    async def aget(self, partition: str, key: str) -> str | None:
        """`get` for asyncio."""
        return await asyncio.to_thread(self.get, partition, key)

    async def anearest(self, partition: str, vector: Floats, count: int) -> list[Near]:
        """`nearest` for asyncio."""
        return await asyncio.to_thread(self.nearest, partition, vector, count)

    async def aput(self, partition: str, item: Item) -> None:
        """`put` for asyncio."""
        await asyncio.to_thread(self.put, partition, item)

    async def aremove(self, partition: str, key: str) -> None:
        """`remove` for asyncio."""
        await asyncio.to_thread(self.remove, partition, key)

    async def ainvalidate(self, tag: str) -> int:
        """`invalidate` for asyncio."""
        return await asyncio.to_thread(self.invalidate, tag)

    async def aclear(self) -> None:
        """`clear` for asyncio."""
        await asyncio.to_thread(self.clear)

    async def ateach(self, partition: str, lessons: Sequence[str]) -> None:
        """`teach` for asyncio."""
        await asyncio.to_thread(self.teach, partition, lessons)

    async def alessons(self, partition: str) -> list[str]:
        """`lessons` for asyncio."""
        return await asyncio.to_thread(self.lessons, partition)

    async def aclose(self) -> None:
        """`close` for asyncio."""
        await asyncio.to_thread(self.close)
