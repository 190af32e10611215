"""A process that puts until it is killed: `python -m tests.caching.crash_workers`."""

from __future__ import annotations

import itertools
import signal
import sys

from langchain_lean.caching.stores.base import Item
from langchain_lean.caching.stores.redis import RedisCacheStore
from tests.caching.contract import towards


def main(url: str, namespace: str) -> None:
    """Put, replace, remove and invalidate; say so once it has begun."""
    signal.alarm(120)  # should whoever kills it be gone
    store = RedisCacheStore(url, namespace=namespace, max_entries=30, timeout=10)
    for number in itertools.count():
        item = Item(
            key=str(number * 7 % 50),
            value=f"value of {number}",
            vector=towards(1, number % 9, number % 5),
            seconds=60 if number % 2 else None,
            tags=(str(number % 4),),
        )
        store.put(f"p{number % 3}", item)
        if number % 5 == 0:
            store.remove("p0", str(number % 50))
        if number % 20 == 0:
            store.invalidate("3")
        if number == 20:
            print("begun", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
