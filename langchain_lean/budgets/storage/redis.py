"""Counters in Redis, for any number of machines: one round trip a verb."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Self

from redis.exceptions import NoScriptError

from langchain_lean.budgets.storage.base import Counter, Lease, Refusal, Storage
from langchain_lean.budgets.storage.redis_scripts import (
    Command,
    Commands,
    counter,
    counters,
    outcome,
    whole,
)
from langchain_lean.budgets.storage.redis_server import ERRORS, Server
from langchain_lean.lifecycle import keep_until_exit

_TASKS = 100  # of an event loop that talk to the server at a time; others wait

_inherited: list[object] = []


class _Opened(NamedTuple):
    """A client of an event loop."""

    client: Any
    turns: asyncio.Semaphore
    ending: AsyncGenerator[None]


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
        self._server = Server(url)
        self._commands = Commands(namespace, clock)
        self._cluster: Any = None  # a client that threads share
        self._idle: list[Any] = []  # clients that a thread takes and gives back
        self._lock = threading.RLock()
        # A loop leaves when it ends. Weak keys would not help: clients hold their loop.
        self._loops: dict[asyncio.AbstractEventLoop, _Opened] = {}
        keep_until_exit(self, early=False)

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
        return counter(self._run(self._commands.read(key)))

    async def aread(self, key: str) -> Counter:
        """`read` for asyncio."""
        return counter(await self._arun(self._commands.read(key)))

    def clear(self, key: str) -> None:
        """Let a counter begin anew; leases on it are forgotten, too."""
        self._run(self._commands.clear(key))

    async def aclear(self, key: str) -> None:
        """`clear` for asyncio."""
        await self._arun(self._commands.clear(key))

    def close(self) -> None:
        """Close the connections of threads; the next use opens them again."""
        with self._lock:
            clients, self._idle = [*self._idle, self._cluster], []
            self._cluster = None
        for client in clients:
            if client is not None:
                client.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        opened = self._loops.get(asyncio.get_running_loop())
        if opened is not None:
            await opened.ending.aclose()

    def hold(self) -> None:
        """Take the lock, so that no other thread holds it while the process forks."""
        self._lock.acquire()

    def release(self) -> None:
        """Let go of the lock again."""
        self._lock.release()

    def forget(self) -> None:
        """Connect anew in a forked process."""
        # Never collected: that could wait for a lock of a thread that was not forked.
        _inherited.append(self._cluster)
        self._cluster = None
        self._idle = []
        self._lock = threading.RLock()
        self._server.forget()

    def _reserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        return outcome(wanted, self._run(self._commands.reserve(wanted, seconds)))

    async def _areserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        return outcome(
            wanted, await self._arun(self._commands.reserve(wanted, seconds))
        )

    def _settle(self, lease: Lease, amounts: Sequence[int]) -> dict[str, Counter]:
        return counters(lease, self._run(self._commands.settle(lease, amounts)))

    async def _asettle(
        self, lease: Lease, amounts: Sequence[int]
    ) -> dict[str, Counter]:
        return counters(lease, await self._arun(self._commands.settle(lease, amounts)))

    def _run(self, command: Command) -> bytes:
        client = None
        try:
            client = self._cluster or self._take()
            try:
                reply: bytes = client.execute_command(*command)
            except NoScriptError:  # a new server, or one that was started again
                reply = client.execute_command(*whole(command))
        except ERRORS as error:
            self._give_back(client)
            raise self._server.failure(error) from error
        except BaseException:  # an interrupt: the reply may still be on its way
            self._drop(client)
            raise
        self._give_back(client)
        return reply

    async def _arun(self, command: Command) -> bytes:
        try:
            opened = self._loops.get(asyncio.get_running_loop()) or await self._aopen()
            async with opened.turns:
                await opened.client.initialize()  # else a cluster's does not know where
                run = opened.client.execute_command
                try:
                    reply: bytes = await run(*command)
                except NoScriptError:
                    reply = await run(*whole(command))
        except ERRORS as error:
            raise self._server.failure(error) from error
        return reply

    def _take(self) -> Any:
        """A client for one command. A pool of redis-py takes as long as the command."""
        with suppress(IndexError):
            return self._idle.pop()
        if not self._server.is_cluster():
            return self._server.client()
        with self._lock:
            self._cluster = self._cluster or self._server.cluster_client()
            return self._cluster

    def _give_back(self, client: Any) -> None:
        if client is not None and client is not self._cluster:
            self._idle.append(client)

    def _drop(self, client: Any) -> None:
        if client is self._cluster:
            self._cluster = None  # and not closed: other threads may be using it
        elif client is not None:
            client.close()

    async def _aopen(self) -> _Opened:
        await asyncio.to_thread(self._server.is_cluster)
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            client = self._server.async_client()
            turns = asyncio.Semaphore(min(_TASKS, self._server.connections))
            ending = self._end(client)
            self._loops[loop] = _Opened(client, turns, ending)
            await anext(ending)  # now the loop knows it
        return self._loops[loop]

    async def _end(self, client: Any) -> AsyncGenerator[None]:
        """Close the client with its loop, which closes generators that wait."""
        try:
            yield
        finally:
            self._loops.pop(asyncio.get_running_loop(), None)
            await client.aclose()
