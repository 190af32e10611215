"""Counters in Redis, for any number of machines: one round trip a verb."""

from collections.abc import Callable, Sequence
from typing import Self

from langchain_lean.budgets.storage.base import Counter, Lease, Refusal, Storage
from langchain_lean.budgets.storage.redis_scripts import (
    Commands,
    counter,
    counters,
    outcome,
)
from langchain_lean.redis_server.clients import Clients
from langchain_lean.redis_server.server import Server, Use

_USE = Use(
    verb="count",
    permits="HELLO, EVAL, EVALSHA",
    oldest=7,  # older ones are no longer maintained
    needs="budgets need 7 or newer",
)


class RedisStorage(Storage):
    """Counts in Redis or in a Redis Cluster.

    The server must keep what it is given: `maxmemory-policy noeviction`, and where a
    crash may not lose even the last second, `appendonly yes`, `appendfsync always`.

    Args:
        url: `redis://[[user]:password@]host[:port][/db]`, or `rediss://` with TLS; any
            node of a cluster. Options of redis-py can follow as a query. Without them
            connecting and answering may each take 2 seconds, once more after a failure.
            A thread needs a connection while it waits; the tasks of an event loop share
            100, or `max_connections` if that is less.
        namespace: Keeps applications apart; in a cluster it lives on one shard.
        clock: Seconds since the epoch, for tests; by default the server's.

    Raises:
        ConfigurationError: If the URL cannot be understood.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "lean",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._commands = Commands(namespace, clock)
        self._clients = Clients(Server(url, _USE))

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: str = "lean",
        clock: Callable[[], float] | None = None,
    ) -> Self:
        """The store that a URL names; nothing is connected to before it is used."""
        return cls(url, namespace=namespace, clock=clock)

    def read(self, key: str) -> Counter:
        """How a counter stands; nothing where there is none."""
        return counter(self._clients.run(self._commands.read(key)))

    async def aread(self, key: str) -> Counter:
        """`read` for asyncio."""
        return counter(await self._clients.arun(self._commands.read(key)))

    def clear(self, key: str) -> None:
        """Let a counter begin anew; leases on it are forgotten, too."""
        self._clients.run(self._commands.clear(key))

    async def aclear(self, key: str) -> None:
        """`clear` for asyncio."""
        await self._clients.arun(self._commands.clear(key))

    def close(self) -> None:
        """Close the connections of threads; the next use opens them again."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._clients.aclose()

    def _reserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        return outcome(
            wanted, self._clients.run(self._commands.reserve(wanted, seconds))
        )

    async def _areserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        return outcome(
            wanted, await self._clients.arun(self._commands.reserve(wanted, seconds))
        )

    def _settle(self, lease: Lease, amounts: Sequence[int]) -> dict[str, Counter]:
        return counters(lease, self._clients.run(self._commands.settle(lease, amounts)))

    async def _asettle(
        self, lease: Lease, amounts: Sequence[int]
    ) -> dict[str, Counter]:
        return counters(
            lease, await self._clients.arun(self._commands.settle(lease, amounts))
        )
