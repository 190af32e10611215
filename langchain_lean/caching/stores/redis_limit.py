"""Clients that give up soon, and leave a server alone that has failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from redis import exceptions

from langchain_lean.caching.stores.redis_scripts import Talk
from langchain_lean.errors import StorageError
from langchain_lean.redis_server.clients import Clients
from langchain_lean.redis_server.scripts import Command
from langchain_lean.redis_server.server import ERRORS, Server

PAUSE = 1.0
"""Seconds for which a server that failed is left alone."""

# To connect takes redis-py a millisecond or two, in which a process does little else.
_THREADS = 32  # that open connections, or talk to a cluster
_TASKS = 16  # of an event loop that talk to the server at a time

T = TypeVar("T")

_inherited: list[object] = []


class Breaker:
    """Fails calls at once after one has failed; after a pause, one tries again.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: str | None = None
        self._until = 0.0

    def check(self) -> None:
        """Pass, or fail as the last call did.

        Raises:
            StorageError: If the server is to be left alone.
        """
        told = self._told
        if told is None:
            return
        now = self._clock()
        if now < self._until:
            raise StorageError(told)
        self._until = now + PAUSE  # others wait for what becomes of this call

    def failed(self, error: StorageError) -> None:
        """Leave the server alone."""
        self._until = self._clock() + PAUSE
        self._told = str(error)

    def worked(self) -> None:
        """Let all calls pass."""
        self._told = None


class LimitedClients(Clients):
    """Clients whose users wait for a moment only.

    What takes longer goes on in the background, so that a connection that took long to
    open serves the next call.

    Args:
        server: What they are clients of.
        seconds: How long a command may take, connecting included.
        breaker: Whether the server is left alone.
    """

    def __init__(self, server: Server, seconds: float, breaker: Breaker) -> None:
        super().__init__(server, tasks=_TASKS)
        self._seconds = seconds
        self._breaker = breaker
        self._background = ThreadPoolExecutor(_THREADS, "lean-redis")
        self._found: Future[bool] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def run(self, command: Command, **options: Any) -> Any:
        """Send a command and wait for the reply, not for long."""
        with self._watched():
            started = time.monotonic()
            client = None if self._cluster is not None else self._take()
            if client is not None:
                try:
                    return self._ask_with(client, command, options)
                except exceptions.ConnectionError:  # closed, and so are all others
                    self.close()
                except exceptions.TimeoutError:  # perhaps cut off, and so are others
                    self.close()
                    raise
            left = self._seconds - (time.monotonic() - started)
            return self._in_background(left, self._ask, command, options)

    async def arun(self, command: Command, **options: Any) -> Any:
        """`run` for asyncio."""
        opened = self._loops.get(asyncio.get_running_loop())
        if opened is None:
            with self._watched():
                opened = await self._in_time(self._aopen())
        async with opened.turns:
            with self._watched():
                return await self._in_time(self._aask(opened.client, command, options))

    def lead(self, talk: Talk[T], node: Any = None) -> T:
        """Lead a talk to its end; where it scans, with one node of a cluster.

        Raises:
            StorageError: If a command cannot be done and the talk cannot do without.
        """
        answer = partial(next, talk)
        try:
            while True:
                command = answer()
                try:
                    reply = self.run(command, **_to(node, command))
                    answer = partial(talk.send, reply)
                except StorageError as error:
                    answer = partial(talk.throw, error)
        except StopIteration as end:
            outcome: T = end.value
            return outcome

    async def alead(self, talk: Talk[T], node: Any = None) -> T:
        """`lead` for asyncio."""
        answer = partial(next, talk)
        try:
            while True:
                command = answer()
                try:
                    reply = await self.arun(command, **_to(node, command))
                    answer = partial(talk.send, reply)
                except StorageError as error:
                    answer = partial(talk.throw, error)
        except StopIteration as end:
            outcome: T = end.value
            return outcome

    def primaries(self) -> list[Any]:
        """The primaries of a cluster; otherwise one None, which is the server."""
        with self._watched():
            return self._in_background(self._seconds, self._primaries)

    async def aprimaries(self) -> list[Any]:
        """`primaries` for asyncio."""
        with self._watched():
            return await self._in_time(self._aprimaries())

    def forget(self) -> None:
        """Connect anew in a forked process."""
        super().forget()
        _inherited.append(self._background)
        self._background = ThreadPoolExecutor(_THREADS, "lean-redis")
        self._found = None
        self._tasks = set()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Do it unless the server is left alone, and see what becomes of it."""
        self._breaker.check()
        try:
            yield
        except exceptions.ResponseError as error:  # there is a server
            self._breaker.worked()
            raise self._server.failure(error) from error
        except ERRORS as error:
            failure = self._server.failure(error)
            self._breaker.failed(failure)
            raise failure from error
        except StorageError as error:  # what is there will not do
            self._breaker.failed(error)
            raise
        self._breaker.worked()

    def _in_background(self, left: float, work: Callable[..., T], *args: Any) -> T:
        until = time.monotonic() + left
        self._finding_out().result(left)
        return self._submit(work, *args).result(until - time.monotonic())

    def _finding_out(self) -> Future[bool]:
        """Asking what the server is, which may take seconds: one call for all."""
        with self._lock:
            found = self._found
            if found is None or (found.done() and found.exception() is not None):
                found = self._found = self._submit(self._server.is_cluster)
            return found

    def _submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        try:
            return self._background.submit(work, *args)
        except RuntimeError as error:
            msg = "Redis is not asked anything more: the process is ending."
            raise StorageError(msg) from error

    async def _afind_out(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._finding_out()))

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # a loop keeps no hold of its tasks
        task.add_done_callback(self._done)
        loop, waited = asyncio.get_running_loop(), False
        while not task.done():
            due = loop.time() + self._seconds
            await asyncio.wait({task}, timeout=self._seconds)
            # Where the loop itself was busy, the reply may be there and not yet read.
            if not task.done() and (waited or loop.time() - due < self._seconds / 4):
                raise TimeoutError
            waited = True
        return task.result()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # else asyncio complains that nobody asked

    def _primaries(self) -> list[Any]:
        if not self._server.is_cluster():
            return [None]
        cluster = self._open()
        return list(cluster.get_primaries())

    async def _aprimaries(self) -> list[Any]:
        opened = await self._aopen()
        if not self._server.is_cluster():
            return [None]
        await opened.client.initialize()
        return list(opened.client.get_primaries())


def _to(node: Any, command: Command) -> dict[str, Any]:
    """The options of redis-py that send a command where it belongs."""
    scans = node is not None and command[0] == "SCAN"
    return {"target_nodes": node} if scans else {}
