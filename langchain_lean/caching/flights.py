"""One call for all who ask the same at the same moment."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, Self, TypeVar

Outcome = TypeVar("Outcome")

_PATIENCE = 30.0  # seconds; whoever streams may stop reading and never come back


class Flight(Generic[Outcome]):
    """A call that is under way."""

    def __init__(self) -> None:
        self._landed: Future[Outcome | None] = Future()
        self._landed.set_running_or_notify_cancel()  # no waiter can cancel it

    def wait(self) -> Outcome | None:
        """What came of it; None where nothing did that others can take."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            return None  # to wait here could keep the call itself from going on
        try:
            return self._landed.result(_PATIENCE)
        except FutureTimeoutError:
            return None

    async def await_(self) -> Outcome | None:
        """`wait` for asyncio."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.wrap_future(self._landed)
        except TimeoutError:
            return None

    def land(self, outcome: Outcome | None) -> None:
        """Give those who wait what came of it."""
        if not self._landed.done():
            self._landed.set_result(outcome)


class Flights(Generic[Outcome]):
    """The calls of a process that are under way. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, Flight[Outcome]] = {}

    def seat(self, key: str) -> Seat[Outcome]:
        """A place in the flight of a key, to be left at the end of a `with`."""
        return Seat(self, key)

    def join(self, key: str) -> tuple[Flight[Outcome], bool]:
        """The flight of a key, and whether it is the caller's to make and to land."""
        with self._lock:
            flight = self._under_way.get(key)
            if flight is not None:
                return flight, False
            flight = self._under_way[key] = Flight()
            return flight, True

    def land(self, key: str, flight: Flight[Outcome], outcome: Outcome | None) -> None:
        """End a flight of the caller's own."""
        with self._lock:
            if self._under_way.get(key) is flight:
                del self._under_way[key]
        flight.land(outcome)

    def forget(self) -> None:
        """Know of no flights in a forked process, where nobody would land them."""
        self._lock = threading.Lock()
        self._under_way = {}


class Seat(Generic[Outcome]):
    """The part of one caller in a flight.

    Attributes:
        outcome: What others may take; to be set by who makes the call.
    """

    def __init__(self, flights: Flights[Outcome], key: str) -> None:
        self.outcome: Outcome | None = None
        self._flights, self._key = flights, key
        self._own: Flight[Outcome] | None = None

    def join(self) -> Flight[Outcome] | None:
        """The flight to wait for; None where the caller is to make the call."""
        flight, own = self._flights.join(self._key)
        if own:
            self._own = flight
        return None if own else flight

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._own is not None:
            self._flights.land(self._key, self._own, self.outcome)
