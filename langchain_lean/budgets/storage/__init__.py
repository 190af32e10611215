"""Where budgets are counted."""

from collections.abc import Callable

from langchain_lean.budgets.storage.base import (
    Claim,
    Counter,
    Lease,
    Refusal,
    Storage,
)
from langchain_lean.errors import ConfigurationError

__all__ = [
    "Claim",
    "Counter",
    "Lease",
    "Refusal",
    "Storage",
    "open_storage",
    "storage_from_url",
]


def open_storage(store: str | Storage, namespace: str = "lean") -> Storage:
    """The store itself, or the one that a URL names.

    Raises:
        ConfigurationError: If it is neither.
    """
    if isinstance(store, Storage):
        return store
    return storage_from_url(store, namespace=namespace)


def storage_from_url(
    url: str,
    *,
    namespace: str = "lean",
    clock: Callable[[], float] | None = None,
) -> Storage:
    """Open the store that a URL names.

    Nothing is connected to before it is used.

    Args:
        url: `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`,
            `redis://host:6379/0` (`rediss://` with TLS; any node of a Redis Cluster),
            or `dynamodb://table?region=...&endpoint=...&create=true`.
        namespace: Keeps applications apart that share a server. In Redis Cluster a
            namespace lives on one shard.
        clock: Seconds since the epoch, for tests; by default the machine's, and in
            Redis the server's.

    Returns:
        The store.

    Raises:
        ConfigurationError: If it is anything else.
    """
    scheme, _, rest = url.partition("://") if isinstance(url, str) else ("", "", "")
    timed = {} if clock is None else {"clock": clock}
    if url == "memory://":
        from langchain_lean.budgets.storage.memory import MemoryStorage

        return MemoryStorage(**timed)
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        from langchain_lean.budgets.storage.sqlite import SQLiteStorage

        return SQLiteStorage(rest[1:], **timed)
    if scheme in ("redis", "rediss") and rest:
        from langchain_lean.budgets.storage.redis import RedisStorage

        return RedisStorage.from_url(url, namespace=namespace, clock=clock)
    if scheme == "dynamodb" and rest:
        from langchain_lean.budgets.storage.dynamodb import DynamoDBStorage

        return DynamoDBStorage.from_url(url, namespace=namespace, **timed)
    named = scheme if rest else type(url).__name__
    msg = (
        "Budgets are kept in 'memory://', 'sqlite:///file.db', 'redis://host:6379/0' "
        f"or 'dynamodb://table?region=...', not in {named!r}."
    )
    raise ConfigurationError(msg)
