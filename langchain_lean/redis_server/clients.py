"""Clients that threads take and give back, and one for each event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, NamedTuple

from redis import exceptions

from langchain_lean.lifecycle import keep_until_exit
from langchain_lean.redis_server.scripts import Command, whole
from langchain_lean.redis_server.server import ERRORS, Server

_inherited: list[object] = []


class Opened(NamedTuple):
    """A client of an event loop.

    Attributes:
        client: The client.
        turns: Who talks to the server must have one.
        ending: Closes the client.
    """

    client: Any
    turns: asyncio.Semaphore
    ending: AsyncGenerator[None]


class Clients:
    """Clients of a server, for threads and event loops, closed with what they serve.

    Args:
        server: What they are clients of.
        tasks: How many of an event loop talk to it at a time, each on a connection of
            its own; others wait.
    """

    def __init__(self, server: Server, *, tasks: int = 100) -> None:
        self._server = server
        self._turns = min(tasks, server.connections)
        self._cluster: Any = None  # a client that threads share
        self._idle: list[Any] = []  # clients that a thread takes and gives back
        self._lock = threading.RLock()
        # A loop leaves when it ends. Weak keys would not help: clients hold their loop.
        self._loops: dict[asyncio.AbstractEventLoop, Opened] = {}
        keep_until_exit(self, early=False)

    def run(self, command: Command, **options: Any) -> Any:
        """Send a command and wait for the reply.

        Args:
            command: The command; a script that the server forgot is sent again.
            options: What redis-py's `execute_command` takes, such as `target_nodes`.

        Raises:
            StorageError: If it cannot be done.
        """
        try:
            return self._ask(command, options)
        except ERRORS as error:
            raise self._server.failure(error) from error

    async def arun(self, command: Command, **options: Any) -> Any:
        """`run` for asyncio."""
        try:
            opened = self._loops.get(asyncio.get_running_loop()) or await self._aopen()
            async with opened.turns:
                return await self._aask(opened.client, command, options)
        except ERRORS as error:
            raise self._server.failure(error) from error

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

    def _ask(self, command: Command, options: dict[str, Any]) -> Any:
        return self._ask_with(self._take() or self._open(), command, options)

    def _ask_with(self, client: Any, command: Command, options: dict[str, Any]) -> Any:
        try:
            try:
                reply = client.execute_command(*command, **options)
            except exceptions.NoScriptError:  # a new server, or one started again
                reply = client.execute_command(*whole(command), **options)
        except exceptions.ResponseError:
            self._give_back(client)
            raise
        except ERRORS:  # a cluster's client connects again by itself
            if client is not self._cluster:
                client.close()
            raise
        except BaseException:  # an interrupt: the reply may still be on its way
            self._drop(client)
            raise
        self._give_back(client)
        return reply

    def _take(self) -> Any:
        """An open client. A pool of redis-py takes as long as a command."""
        with suppress(IndexError):
            return self._idle.pop()
        return self._cluster

    def _open(self) -> Any:
        if not self._server.is_cluster():
            return self._server.client()
        with self._lock:
            self._cluster = self._cluster or self._server.cluster_client()
            return self._cluster

    def _give_back(self, client: Any) -> None:
        if client is not self._cluster:
            self._idle.append(client)

    def _drop(self, client: Any) -> None:
        if client is self._cluster:
            self._cluster = None  # and not closed: other threads may be using it
        else:
            client.close()

    async def _aask(
        self, client: Any, command: Command, options: dict[str, Any]
    ) -> Any:
        await client.initialize()  # else a cluster's does not know where
        try:
            return await client.execute_command(*command, **options)
        except exceptions.NoScriptError:
            return await client.execute_command(*whole(command), **options)

    async def _afind_out(self) -> None:
        """Ask what the server is, if that is not known."""
        await asyncio.to_thread(self._server.is_cluster)

    async def _aopen(self) -> Opened:
        await self._afind_out()
        loop = asyncio.get_running_loop()
        for other in [each for each in self._loops if each.is_closed()]:
            self._loops.pop(other, None)  # closed without a word to its generators
        if loop not in self._loops:
            client = self._server.async_client()
            turns = asyncio.Semaphore(self._turns)
            ending = self._end(client)
            self._loops[loop] = Opened(client, turns, ending)
            await anext(ending)  # now the loop knows it
        return self._loops[loop]

    async def _end(self, client: Any) -> AsyncGenerator[None]:
        """Close the client with its loop, which closes generators that wait."""
        try:
            yield
        finally:
            self._loops.pop(asyncio.get_running_loop(), None)
            await client.aclose()
