"""Clients of a Redis server or cluster, and what their errors mean."""

import re
import threading
from typing import Any
from urllib.parse import urlsplit

import redis
from redis import asyncio as aioredis
from redis import exceptions
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ConstantBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from langchain_lean.errors import ConfigurationError, StorageError

ERRORS = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
"""What a client raises when a command cannot be done."""

_OPTIONS: dict[str, Any] = {
    "socket_connect_timeout": 2.0,  # seconds
    "socket_timeout": 2.0,
    "max_connections": 1_000,  # to a node of a cluster; each thread needs one
}
_BACKOFF, _RETRIES = ConstantBackoff(0.05), 1
_OLDEST = 7  # older ones are no longer maintained

# A slot that moved is noted. Otherwise, at the fifth answer that it did, a client for
# asyncio closes the connections that other tasks wait on.
_CLUSTER_OPTIONS = {**_OPTIONS, "reinitialize_steps": 0}

_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (
        exceptions.AuthenticationError,
        "refuses the user or the password: correct them in the URL",
    ),
    (
        exceptions.NoPermissionError,
        "does not let this user count: permit HELLO, EVAL, EVALSHA and what the "
        "scripts call, on the keys of the namespace",
    ),
    (
        exceptions.ReadOnlyError,
        "is a replica, which takes no writes: name the primary in the URL",
    ),
    (exceptions.OutOfMemoryError, "has no memory left: raise its maxmemory"),
    (exceptions.ClusterDownError, "is of a cluster that is down: repair it"),
    (
        exceptions.ResponseError,
        f"cannot run the scripts that count: it must be Redis {_OLDEST} or newer and "
        "have the database of the URL, and nobody else may write to the keys of the "
        "namespace",
    ),
    (
        exceptions.MaxConnectionsError,
        "is used by more threads than connections: raise max_connections in the URL",
    ),
    (
        Exception,
        "cannot be reached: start it, or correct the URL (rediss:// for TLS)",
    ),
)


class Server:
    """What a URL names, and clients of it. Nothing is connected to before it is used.

    Args:
        url: As redis-py takes it.

    Raises:
        ConfigurationError: If the URL cannot be understood.
    """

    def __init__(self, url: str) -> None:
        pool = _pool(url)
        options = pool.connection_kwargs
        self.connections: int = pool.max_connections
        self._where = f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        self._db = options.get("db", 0)
        self._url = url
        self._lock = threading.Lock()
        self._cluster: bool | None = None

    def client(self) -> Any:
        """A connected client for one thread at a time."""
        retry = Retry(_BACKOFF, _RETRIES)
        options = {**_OPTIONS, "single_connection_client": True}
        return redis.Redis.from_url(self._url, retry=retry, **options)

    def cluster_client(self) -> Any:
        """A connected client of a cluster for any number of threads."""
        retry = Retry(_BACKOFF, _RETRIES)
        return RedisCluster.from_url(self._url, retry=retry, **_CLUSTER_OPTIONS)

    def async_client(self) -> Any:
        """A client for the running event loop, after `is_cluster` was asked."""
        retry = AsyncRetry(_BACKOFF, _RETRIES)
        if self._cluster:
            kind = AsyncRedisCluster
            return kind.from_url(self._url, retry=retry, **_CLUSTER_OPTIONS)
        return aioredis.Redis.from_url(self._url, retry=retry, **_OPTIONS)

    def is_cluster(self) -> bool:
        """Whether the server is of a cluster; it is asked once.

        Raises:
            ConfigurationError: If it is, and the URL names a database.
            StorageError: If the server is too old.
        """
        with self._lock:
            if self._cluster is None:
                about = self._hello()
                self._check(about)
                self._cluster = about.get("mode") == "cluster"
            return self._cluster

    def forget(self) -> None:
        """Have a lock of its own in a forked process."""
        self._lock = threading.Lock()

    def failure(self, error: Exception) -> StorageError:
        """What an error of a client means for who uses the store."""
        advice = next(text for kind, text in _ADVICE if isinstance(error, kind))
        return StorageError(f"Redis at {self._where} {advice}.")

    def _hello(self) -> dict[str, str]:
        retry = Retry(_BACKOFF, _RETRIES)
        with redis.Redis.from_url(self._url, retry=retry, **_OPTIONS) as client:
            client.get_connection_kwargs()["db"] = 0  # a cluster knows no other
            reply = client.execute_command("HELLO")
        if not isinstance(reply, dict):  # with RESP2, a flat list
            reply = dict(zip(reply[::2], reply[1::2], strict=True))
        return {_text(key): _text(value) for key, value in reply.items()}

    def _check(self, about: dict[str, str]) -> None:
        version = about.get("version", "")
        major = re.match(r"\d+", version)
        if major and int(major[0]) < _OLDEST:
            msg = (
                f"Redis at {self._where} is of version {version}: budgets need "
                f"{_OLDEST} or newer."
            )
            raise StorageError(msg)
        if about.get("mode") == "cluster" and self._db:
            msg = (
                f"A Redis Cluster has no database {self._db}: leave it out of the URL."
            )
            raise ConfigurationError(msg)


def _pool(url: str) -> redis.ConnectionPool:
    """The pool of a URL that redis-py can make connections of."""
    try:
        database = urlsplit(url).path.strip("/")
        if database and not database.isdecimal():
            raise ValueError(database)
        pool = redis.ConnectionPool.from_url(url, **_OPTIONS)
        pool.connection_class(**pool.connection_kwargs)  # connects when it is used
    except (TypeError, ValueError, exceptions.RedisError):
        msg = (
            "The URL of Redis cannot be understood: write redis://host:6379/0 or "
            "rediss://user:password@host:6379/0, with special characters of the "
            "password as %XX, and with options that redis-py knows."
        )
        raise ConfigurationError(msg) from None  # the cause can show the password
    return pool


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
