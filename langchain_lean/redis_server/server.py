"""What a URL of Redis names, and what the errors of its clients mean."""

from __future__ import annotations

import re
import threading
from dataclasses import asdict, dataclass
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

_SECONDS = 2.0
_CONNECTIONS = 1_000  # to a node of a cluster; each thread needs one
_RETRIES = 1

_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (
        exceptions.AuthenticationError,
        "refuses the user or the password: correct them in the URL",
    ),
    (
        exceptions.NoPermissionError,
        "does not let this user {verb}: permit {permits} and what the scripts call, on "
        "the keys of the namespace",
    ),
    (
        exceptions.ReadOnlyError,
        "is a replica, which takes no writes: name the primary in the URL",
    ),
    (exceptions.OutOfMemoryError, "has no memory left: raise its maxmemory"),
    (exceptions.ClusterDownError, "is of a cluster that is down: repair it"),
    (
        exceptions.ResponseError,
        "cannot run the scripts that {verb}: it must be Redis {oldest} or newer and "
        "have the database of the URL, and nobody else may write to the keys of the "
        "namespace",
    ),
    (
        exceptions.MaxConnectionsError,
        "is used by more threads than connections: raise max_connections in the URL",
    ),
    (
        exceptions.TimeoutError,
        "does not answer within {seconds:g} seconds: see whether it is up and near, or "
        "correct the URL (rediss:// for TLS)",
    ),
    (
        Exception,
        "cannot be reached: start it, or correct the URL (rediss:// for TLS)",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a server is used for, and what it must be able to do.

    Attributes:
        verb: What it is used to do, such as "count".
        permits: The commands a user must be permitted, beside those in scripts.
        oldest: The oldest version that will do; such as 7.
        needs: What is said to users of a server that will not do.
        commands: Which it must know.
        seconds: How long an answer may take for which a thread waits. Those for tasks
            may take 2 at least: a busy event loop reads them late.
        pause: Seconds before a command is tried again.
        retries: How often a thread tries a command again on its connection. Others try
            once more: a pool or a cluster does not know what was closed meanwhile.
    """

    verb: str
    permits: str
    oldest: int
    needs: str
    commands: tuple[str, ...] = ()
    seconds: float = _SECONDS
    pause: float = 0.05
    retries: int = _RETRIES


class Server:
    """What a URL names, and clients of it. Nothing is connected to before it is used.

    Args:
        url: As redis-py takes it; what it says goes before what `use` says.
        use: What the server is for.

    Raises:
        ConfigurationError: If the URL cannot be understood.
    """

    def __init__(self, url: str, use: Use) -> None:
        self._options: dict[str, Any] = {
            "socket_connect_timeout": _SECONDS,
            "socket_timeout": use.seconds,
            "max_connections": _CONNECTIONS,
        }
        pool = _pool(url, self._options)
        options = pool.connection_kwargs
        self.connections: int = pool.max_connections
        self._where = f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        self._db = options.get("db", 0)
        self._url = url
        self._use = use
        self._lock = threading.Lock()
        self._cluster: bool | None = None

    def client(self) -> Any:
        """A connected client for one thread at a time."""
        options = {**self._options, "single_connection_client": True}
        retry = Retry(ConstantBackoff(self._use.pause), self._use.retries)
        return redis.Redis.from_url(self._url, retry=retry, **options)

    def cluster_client(self) -> Any:
        """A connected client of a cluster for any number of threads."""
        retry = Retry(ConstantBackoff(self._use.pause), _RETRIES)
        return RedisCluster.from_url(self._url, retry=retry, **self._cluster_options())

    def async_client(self) -> Any:
        """A client for the running event loop, after `is_cluster` was asked."""
        kind = AsyncRedisCluster if self._cluster else aioredis.Redis
        options = self._cluster_options() if self._cluster else {**self._options}
        options["socket_timeout"] = max(self._use.seconds, _SECONDS)
        options["retry"] = AsyncRetry(ConstantBackoff(self._use.pause), _RETRIES)
        return kind.from_url(self._url, **options)

    def is_cluster(self) -> bool:
        """Whether the server is of a cluster; it is asked once.

        Raises:
            ConfigurationError: If it is, and the URL names a database.
            StorageError: If the server is too old or lacks a command.
        """
        with self._lock:
            if self._cluster is None:
                self._cluster = self._ask() == "cluster"
            return self._cluster

    def forget(self) -> None:
        """Have a lock of its own in a forked process."""
        self._lock = threading.Lock()

    def failure(self, error: Exception) -> StorageError:
        """What an error of a client means for who uses the store."""
        if isinstance(error, TimeoutError):  # Python's, which is another
            error = exceptions.TimeoutError()
        advice = next(text for kind, text in _ADVICE if isinstance(error, kind))
        told = advice.format(**asdict(self._use))
        return StorageError(f"Redis at {self._where} {told}.")

    def _cluster_options(self) -> dict[str, Any]:
        # A slot that moved is noted. Otherwise, at the fifth answer that it did, a
        # client for asyncio closes the connections that other tasks wait on.
        return {**self._options, "reinitialize_steps": 0}

    def _ask(self) -> str:
        """In which mode the server runs, if it will do."""
        retry = Retry(ConstantBackoff(self._use.pause), _RETRIES)
        with redis.Redis.from_url(self._url, retry=retry, **self._options) as client:
            client.get_connection_kwargs()["db"] = 0  # a cluster knows no other
            reply = client.execute_command("HELLO")
            known: list[Any] = []
            if self._use.commands:
                known = client.execute_command("COMMAND INFO", *self._use.commands)
        if not isinstance(reply, dict):  # with RESP2, a flat list
            reply = dict(zip(reply[::2], reply[1::2], strict=True))
        about = {_text(key): _text(value) for key, value in reply.items()}
        self._check(about, all(known))
        return about.get("mode", "")

    def _check(self, about: dict[str, str], able: bool) -> None:
        version = about.get("version", "")
        major = re.match(r"\d+", version)
        if not able or (major and int(major[0]) < self._use.oldest):
            msg = f"Redis at {self._where} is of version {version}: {self._use.needs}."
            raise StorageError(msg)
        if about.get("mode") == "cluster" and self._db:
            msg = (
                f"A Redis Cluster has no database {self._db}: leave it out of the URL."
            )
            raise ConfigurationError(msg)


def _pool(url: str, options: dict[str, Any]) -> redis.ConnectionPool:
    """The pool of a URL that redis-py can make connections of."""
    try:
        database = urlsplit(url).path.strip("/")
        if database and not database.isdecimal():
            raise ValueError(database)
        pool = redis.ConnectionPool.from_url(url, **options)
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
