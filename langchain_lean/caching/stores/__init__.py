"""Where a cache keeps its answers."""

from __future__ import annotations

import time
from collections.abc import Callable

from langchain_lean.caching.stores.base import CacheStore
from langchain_lean.errors import ConfigurationError

__all__ = ["CacheStore", "open_store"]


def open_store(
    store: str | CacheStore,
    *,
    namespace: str,
    max_entries: int,
    clock: Callable[[], float] | None = None,
) -> CacheStore:
    """The store itself, or the one that a URL names; nothing is connected to yet.

    Args:
        store: `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db` or
            `redis://host:6379/0` (`rediss://` with TLS; any node of a Redis Cluster).
        namespace: Keeps applications apart that share a Redis.
        max_entries: How many answers are kept.
        clock: Seconds since the epoch, for tests.

    Raises:
        ConfigurationError: If it is anything else.
    """
    if isinstance(store, CacheStore):
        return store
    scheme, _, rest = store.partition("://") if isinstance(store, str) else ("",) * 3
    if store == "memory://":
        from langchain_lean.caching.stores.memory import MemoryCacheStore

        return MemoryCacheStore(max_entries=max_entries, clock=clock or time.time)
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        from langchain_lean.caching.stores.sqlite import SQLiteCacheStore

        path = rest[1:]
        return SQLiteCacheStore(path, max_entries=max_entries, clock=clock or time.time)
    if scheme in ("redis", "rediss") and rest:
        from langchain_lean.caching.stores.redis import RedisCacheStore

        return RedisCacheStore(
            store, namespace=namespace, max_entries=max_entries, clock=clock
        )
    named = type(store).__name__
    if isinstance(store, str):
        named = f"{scheme}://" if rest else f"{store:.40}"
        named = "that URL" if "@" in named else named  # there may be a password in it
    msg = (
        "A cache is kept in 'memory://', 'sqlite:///file.db' or "
        f"'redis://host:6379/0', not in {named!r}."
    )
    raise ConfigurationError(msg)
