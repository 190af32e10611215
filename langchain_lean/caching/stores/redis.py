"""A cache in Redis 8 vector sets, for any number of machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from langchain_lean.caching.stores.base import CacheStore, Item, Near
from langchain_lean.caching.stores.redis_limit import Breaker, LimitedClients
from langchain_lean.caching.stores.redis_scripts import Commands
from langchain_lean.redis_server.server import Server, Use
from langchain_lean.vectors import Floats

_UPKEEP = 2.0
"""Seconds a command of `invalidate` and `clear` may take, or `timeout` if that is more;
no user waits for them. To free a set of 100,000 vectors takes Redis 0.1 seconds, in
which it does nothing else."""


class RedisCacheStore(CacheStore):
    """Keeps items in Redis 8 or in a Redis Cluster, which it shards by partition.

    A server that is down or hangs holds nobody up: what is asked of it fails in time,
    and it is then left alone for a second. Where `maxmemory` is set, the server may
    evict keys of a cache: an item of which a part is gone is not found.

    Args:
        url: `redis://[[user]:password@]host[:port][/db]`, or `rediss://` with TLS; any
            node of a cluster. Options of redis-py can follow as a query.
        namespace: Keeps applications apart.
        max_entries: How many items of a partition are kept.
        timeout: Seconds a command may take, connecting included. A connection that
            takes longer opens in the background and serves later calls.
        clock: Seconds since the epoch, for tests; by default the server's.
        monotonic: Seconds that only go forward, for tests.

    Raises:
        ConfigurationError: If the URL cannot be understood.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "lean",
        max_entries: int = 100_000,
        timeout: float = 0.05,
        clock: Callable[[], float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        use = Use(
            verb="keep answers",
            permits="HELLO, COMMAND, EVAL, EVALSHA, VSIM, SCAN, UNLINK, LRANGE",
            oldest=8,
            needs="a semantic cache needs vector sets: install Redis 8 or newer (the "
            "image redis:8)",
            commands=("VADD", "VSIM"),
            seconds=timeout,
            pause=0,
            retries=0,
        )
        breaker = Breaker(monotonic)
        self._clients = LimitedClients(Server(url, use), timeout, breaker)
        upkeep = max(timeout, _UPKEEP)
        patient = Server(url, replace(use, seconds=upkeep))
        self._upkeep = LimitedClients(patient, upkeep, breaker)
        self._commands = Commands(namespace, max_entries, clock)

    def get(self, partition: str, key: str) -> str | None:
        """The value of a key, which is used by that; one round trip."""
        return self._clients.lead(self._commands.get(partition, key))

    async def aget(self, partition: str, key: str) -> str | None:
        """`get` for asyncio."""
        return await self._clients.alead(self._commands.get(partition, key))

    def nearest(self, partition: str, vector: Floats, count: int) -> list[Near]:
        """The items nearest to a vector; two round trips, one if there are none.

        Vectors are kept in 8 bits a dimension, and searched approximately.
        """
        return self._clients.lead(self._commands.nearest(partition, vector, count))

    async def anearest(self, partition: str, vector: Floats, count: int) -> list[Near]:
        """`nearest` for asyncio."""
        return await self._clients.alead(
            self._commands.nearest(partition, vector, count)
        )

    def put(self, partition: str, item: Item) -> None:
        """Keep an item: its value and its vector, both or neither."""
        self._clients.lead(self._commands.put(partition, item))

    async def aput(self, partition: str, item: Item) -> None:
        """`put` for asyncio."""
        await self._clients.alead(self._commands.put(partition, item))

    def remove(self, partition: str, key: str) -> None:
        """Remove an item, if it is there."""
        self._clients.lead(self._commands.remove(partition, key))

    async def aremove(self, partition: str, key: str) -> None:
        """`remove` for asyncio."""
        await self._clients.alead(self._commands.remove(partition, key))

    def invalidate(self, tag: str) -> int:
        """Remove all items with a tag, in all partitions.

        It takes a round trip for 1,000 keys of the server, one for each partition that
        has tags, and one for 10 items. After a failure some may be left: call it again.
        """
        nodes = self._upkeep.primaries()
        invalidate, lead = self._commands.invalidate, self._upkeep.lead
        return sum([lead(invalidate(tag), node) for node in nodes])

    async def ainvalidate(self, tag: str) -> int:
        """`invalidate` for asyncio."""
        nodes = await self._upkeep.aprimaries()
        invalidate, alead = self._commands.invalidate, self._upkeep.alead
        return sum([await alead(invalidate(tag), node) for node in nodes])

    def clear(self) -> None:
        """Remove everything of the namespace; after a failure, call it again."""
        for node in self._upkeep.primaries():
            self._upkeep.lead(self._commands.clear(), node)

    async def aclear(self) -> None:
        """`clear` for asyncio."""
        for node in await self._upkeep.aprimaries():
            await self._upkeep.alead(self._commands.clear(), node)

    def teach(self, partition: str, lessons: Sequence[str]) -> None:
        """Keep lessons of a partition; the newest `LESSONS` stay."""
        self._clients.lead(self._commands.teach(partition, lessons))

    async def ateach(self, partition: str, lessons: Sequence[str]) -> None:
        """`teach` for asyncio."""
        await self._clients.alead(self._commands.teach(partition, lessons))

    def lessons(self, partition: str) -> list[str]:
        """The lessons of a partition, oldest first."""
        return self._clients.lead(self._commands.lessons(partition))

    async def alessons(self, partition: str) -> list[str]:
        """`lessons` for asyncio."""
        return await self._clients.alead(self._commands.lessons(partition))

    def close(self) -> None:
        """Close the connections of threads; the next use opens them again."""
        for clients in (self._clients, self._upkeep):
            clients.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        for clients in (self._clients, self._upkeep):
            await clients.aclose()
