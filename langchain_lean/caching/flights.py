"""One call for all who ask the same at the same moment."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

Outcome = TypeVar("Outcome")

PATIENCE = 600.0  # seconds; whoever makes the call has time-outs of their own
STREAM_PATIENCE = 10.0  # seconds without a piece: its reader may never go on

_making: ContextVar[frozenset[int]] = ContextVar(
    "langchain_lean_flights", default=frozenset()
)
"""The flights that the running code is part of: to wait for these would be for ever."""


@dataclass(frozen=True, slots=True)
class Landing(Generic[Outcome]):
    """What came of a flight.

    Attributes:
        outcome: What others may take; None where there is nothing.
        failed: The call was broken off, and another one may do better.
    """

    outcome: Outcome | None = None
    failed: bool = False


class Flight(Generic[Outcome]):
    """A call that is under way.

    Args:
        is_async: It is made in an event loop.
        patience: How many seconds others wait for it while nothing happens.
    """

    def __init__(self, *, is_async: bool, patience: float) -> None:
        self.is_async = is_async
        self._patience = patience
        self._moved = self._began = time.monotonic()
        self._landed: Future[Landing[Outcome]] = Future()
        self._landed.set_running_or_notify_cancel()  # no waiter can cancel it

    def wait(self) -> Landing[Outcome]:
        """What came of it; nothing where to wait could keep it from going on.

        A call in an event loop needs its thread, and the threads that loop works with.
        """
        if self.is_async or _runs_in_a_loop() or id(self) in _making.get():
            return Landing()
        while (left := self._left()) > 0:
            with suppress(FutureTimeoutError):
                return self._landed.result(left)
        return Landing()

    async def await_(self) -> Landing[Outcome]:
        """`wait` for asyncio."""
        if id(self) in _making.get():
            return Landing()
        while (left := self._left()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    return await asyncio.wrap_future(self._landed)
        return Landing()

    def moves(self) -> None:
        """Note that the call goes on, so that others wait for longer."""
        self._moved = time.monotonic()

    def _left(self) -> float:
        """How many seconds it is still waited for, if nothing happens."""
        until = min(self._moved + self._patience, self._began + PATIENCE)
        return until - time.monotonic()

    def land(self, landing: Landing[Outcome]) -> None:
        """Give those who wait what came of it."""
        if not self._landed.done():
            self._landed.set_result(landing)


class Flights(Generic[Outcome]):
    """The calls of a process that are under way. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, Flight[Outcome]] = {}

    def seat(
        self, key: str, *, is_async: bool = False, streams: bool = False
    ) -> Seat[Outcome]:
        """A place in the flight of a key, to be left at the end of a `with`.

        Args:
            key: Whose flight.
            is_async: The caller is in an event loop.
            streams: The caller reads a stream.
        """
        patience = STREAM_PATIENCE if streams else PATIENCE
        return Seat(self, key, lambda: Flight(is_async=is_async, patience=patience))

    def join(
        self, key: str, make: Callable[[], Flight[Outcome]]
    ) -> tuple[Flight[Outcome], bool]:
        """The flight of a key, and whether it is the caller's to make and to land."""
        with self._lock:
            flight = self._under_way.get(key)
            if flight is not None:
                return flight, False
            flight = self._under_way[key] = make()
            return flight, True

    def land(
        self, key: str, flight: Flight[Outcome], landing: Landing[Outcome]
    ) -> None:
        """End a flight of the caller's own."""
        with self._lock:
            if self._under_way.get(key) is flight:
                del self._under_way[key]
        flight.land(landing)

    def forget(self) -> None:
        """Know of no flights in a forked process, where nobody would land them."""
        self._lock = threading.Lock()
        self._under_way = {}


class Seat(Generic[Outcome]):
    """The part of one caller in a flight.

    Attributes:
        outcome: What others may take; to be set by who makes the call.
    """

    def __init__(
        self, flights: Flights[Outcome], key: str, make: Callable[[], Flight[Outcome]]
    ) -> None:
        self.outcome: Outcome | None = None
        self._flights, self._key, self._make = flights, key, make
        self._own: Flight[Outcome] | None = None

    def join(self) -> Flight[Outcome] | None:
        """The flight to wait for; None where the caller is to make the call."""
        flight, own = self._flights.join(self._key, self._make)
        if own:
            self._own = flight
            _making.set(_making.get() | {id(flight)})  # the context is the run's own
        return None if own else flight

    def moves(self) -> None:
        """Note that the caller's own call goes on."""
        if self._own is not None:
            self._own.moves()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._own is not None:
            landing = Landing(self.outcome, failed=kind is not None)
            self._flights.land(self._key, self._own, landing)


def _runs_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
