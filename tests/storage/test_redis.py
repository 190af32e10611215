"""The contract, for counters in Redis, and what is particular to Redis."""

from __future__ import annotations

import asyncio
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
import redis
from redis.crc import key_slot

from langchain_lean.budgets.storage import (
    Claim,
    Counter,
    Lease,
    Storage,
    storage_from_url,
)
from langchain_lean.budgets.storage.base import MOST, new_lease
from langchain_lean.budgets.storage.redis import RedisStorage
from langchain_lean.errors import ConfigurationError, StorageError
from tests.storage.contract import (
    Clock,
    SharedStorageContract,
    claim,
    granted,
    refused,
)
from tests.storage.redis_servers import RedisServer, free_port, wait_until


class TestRedisStorage(SharedStorageContract):
    rounds = 1_600

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url


class TestRedisCluster(SharedStorageContract):
    rounds = 400
    examples = 20
    processes = 4
    reservations = 400

    @pytest.fixture(params=[0, 1, 2])
    def node(self, request: pytest.FixtureRequest) -> int:
        return int(request.param)

    @pytest.fixture
    def url(self, redis_cluster: list[RedisServer]) -> str:
        return redis_cluster[0].url

    def test_any_node_can_be_named(
        self, redis_cluster: list[RedisServer], node: int, key: str
    ) -> None:
        with storage_from_url(redis_cluster[node].url) as storage:
            lease = granted(storage.reserve([claim(key), claim(f"{key}-2")], lease=60))
            storage.settle(lease, {key: 1})
            assert storage.read(key) == Counter(1, 0)

    async def test_any_node_can_be_named_async(
        self, redis_cluster: list[RedisServer], node: int, key: str
    ) -> None:
        storage = storage_from_url(redis_cluster[node].url)
        lease = granted(await storage.areserve([claim(key)], lease=60))
        await storage.asettle(lease, {key: 1})
        assert await storage.aread(key) == Counter(1, 0)
        await storage.aclose()

    def test_a_namespace_can_move_to_another_node(
        self, redis_cluster: list[RedisServer], key: str
    ) -> None:
        namespace = uuid4().hex
        slot = key_slot(b"{%b}" % namespace.encode())
        with storage_from_url(redis_cluster[0].url, namespace=namespace) as storage:
            assert storage.read(key) == Counter()  # it knows the way now
            move(slot, redis_cluster)
            granted(storage.reserve([claim(key)], lease=60))
            assert storage.read(key) == Counter(0, 1)

    def test_a_database_of_a_cluster_is_refused(
        self, redis_cluster: list[RedisServer], key: str
    ) -> None:
        url = redis_cluster[0].url.removesuffix("0") + "1"
        with (
            storage_from_url(url) as storage,
            pytest.raises(ConfigurationError, match="no database 1"),
        ):
            storage.read(key)


def move(slot: int, nodes: list[RedisServer]) -> None:
    """Give an empty slot to another node."""
    owner = nodes.index(next(node for node in nodes if owns(node, slot)))
    target = nodes[(owner + 1) % len(nodes)]
    with target.client() as client:
        name = client.execute_command("CLUSTER MYID")
    for node in (target, nodes[owner]):
        with node.client() as client:
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", name)
    with target.client() as client:
        client.execute_command("CLUSTER BUMPEPOCH")
    for node in nodes:
        with node.client() as client:
            wait_until(lambda client=client: slot_owner(client, slot) == target.port)


def owns(node: RedisServer, slot: int) -> bool:
    with node.client() as client:
        return slot_owner(client, slot) == node.port


def slot_owner(client: Any, slot: int) -> int:
    """The port of the node that has a slot."""
    slots = client.execute_command("CLUSTER SLOTS")
    return next(int(node[1]) for first, last, node in slots if first <= slot <= last)


@pytest.fixture
def key() -> str:
    return uuid4().hex


@pytest.fixture
def namespace() -> str:
    return uuid4().hex


@pytest.fixture
def storage(redis_url: str, namespace: str) -> Iterator[Storage]:
    with storage_from_url(redis_url, namespace=namespace) as storage:
        yield storage


def test_forgotten_scripts_are_sent_again(
    storage: Storage, redis_server: RedisServer, key: str
) -> None:
    with redis_server.client() as client:
        client.script_flush()
        lease = granted(storage.reserve([claim(key)], lease=60))
        client.script_flush()
        storage.settle(lease, {key: 1})
        client.script_flush()
        assert storage.read(key) == Counter(1, 0)


async def test_forgotten_scripts_are_sent_again_async(
    redis_server: RedisServer, key: str
) -> None:
    storage = storage_from_url(redis_server.url)
    with redis_server.client() as client:
        client.script_flush()
        lease = granted(await storage.areserve([claim(key)], lease=60))
        client.script_flush()
        await storage.asettle(lease, {key: 1})
        client.script_flush()
        assert await storage.aread(key) == Counter(1, 0)
    await storage.aclose()


async def test_a_server_that_crashed_goes_on_where_it_was(
    own_redis: RedisServer, key: str
) -> None:
    with storage_from_url(own_redis.url) as storage:
        lease = granted(storage.reserve([claim(key, 6)], lease=60))
        assert await storage.aread(key) == Counter(0, 6)
        own_redis.kill()
        own_redis.start()
        storage.settle(lease, {key: 5})
        assert await storage.aread(key) == Counter(5, 0)
        await storage.aclose()


def test_a_crash_loses_nothing_that_was_granted(
    own_redis: RedisServer, key: str
) -> None:
    admitted = 0

    def reserve_until_it_fails() -> None:
        nonlocal admitted
        with storage_from_url(own_redis.url) as storage, suppress(StorageError):
            while True:
                granted(storage.reserve([claim(key, 1, MOST)], lease=600))
                admitted += 1

    thread = threading.Thread(target=reserve_until_it_fails)
    thread.start()
    wait_until(lambda: admitted > 50)
    own_redis.kill()
    thread.join()
    own_redis.start()
    with storage_from_url(own_redis.url) as storage:
        held = storage.read(key).held
    assert held in (admitted, admitted + 1)  # the last one may have lost its answer


def test_a_repeated_reservation_is_granted_once(storage: Storage, key: str) -> None:
    claims = [claim(key, 6, floor=2), claim(f"{key}-2", 10)]
    wanted = new_lease(claims, 60)
    once = granted(storage._reserve(wanted, 60))
    twice = granted(storage._reserve(wanted, 60))
    assert once == twice
    assert once.counters == twice.counters == {key: (0, 6), f"{key}-2": (0, 10)}
    assert storage.read(key) == Counter(0, 6)
    storage.settle(twice, {key: 1})
    assert storage.read(key) == Counter(1, 0)


def test_a_reservation_repeated_after_its_lease_is_granted_once(
    redis_url: str, key: str
) -> None:
    clock = Clock()
    with storage_from_url(redis_url, clock=clock) as storage:
        wanted = new_lease([claim(key, 6, floor=2)], 60)
        storage._reserve(wanted, 60)
        clock.now += 61
        lease = granted(storage._reserve(wanted, 60))
        assert storage.read(key) == Counter(2, 0)
        storage.settle(lease, {key: 5})
        assert storage.read(key) == Counter(5, 0)


def test_more_than_a_double_holds_is_counted_exactly(
    storage: Storage, key: str
) -> None:
    leases = [granted(storage.reserve([claim(key, 0)], lease=60)) for _ in range(2)]
    storage.settle(leases[0], {key: MOST})
    told = storage.settle(leases[1], {key: MOST - 1})
    assert told == {key: Counter(2 * MOST - 1, 0)}
    assert storage.read(key) == Counter(2 * MOST - 1, 0)
    assert refused(storage.reserve([claim(key, 0, MOST)], lease=60)).counters == told


def test_time_is_the_servers(
    storage: Storage, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted(storage.reserve([claim(key, 10)], lease=60))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert storage.read(key) == Counter(0, 10)
    monkeypatch.setattr(time, "time", lambda: 1e11)
    refused(storage.reserve([claim(key)], lease=60))
    granted(storage.reserve([claim(f"{key}-2", 8, floor=3)], lease=0.001))
    wait_until(lambda: storage.read(f"{key}-2") == Counter(3, 0))
    granted(storage.reserve([claim(f"{key}-3", 8, window=0.001)], lease=60))
    wait_until(lambda: storage.read(f"{key}-3") == Counter(0, 0))


def test_no_key_outlives_its_window_for_long(
    redis_server: RedisServer, namespace: str, key: str
) -> None:
    clock = Clock()
    names = {"new": 60.0, "moved": 60.0, "late": 7200.0, "ever": None, "turned": 60.0}
    claims = [claim(name, window=window) for name, window in names.items()]
    with (
        storage_from_url(redis_server.url, namespace=namespace, clock=clock) as storage,
        redis_server.client() as client,
    ):
        lease = granted(storage.reserve(claims, lease=30))
        storage.settle(lease, {"moved": 1})
        clock.now += 40
        granted(storage.reserve([claim("moved", window=900.0)], lease=30))
        granted(storage.reserve([claim("turned", window=None)], lease=30))
        granted(storage.reserve([claim("late")], lease=30))
        clock.now += 40
        storage.read("late")
        left = {
            tuple(name.split(":")[1:]): client.pttl(name) / 1000
            for name in client.keys(f"{{{namespace}}}:*")
        }
        forever = {name for name, seconds in left.items() if seconds < 0}
    assert {name for _, name in forever} == {"ever", "turned"}
    assert ("leases", "moved") in left
    assert ("leases", "late") in left
    for (_, name), seconds in left.items():
        if name not in ("ever", "turned"):
            window = {"new": 60, "moved": 900, "late": 86_400}[name]
            assert window - 5 < seconds <= window + 125


ODD = ["", "lean", "{", "}", "{}", "}{", "a:b", "a", "a\n", "é", "e\u0301", "🙂", "%"]
ODD += ["#", "%25", "\ud800", "x" * 10_000, "x" * 10_001]


@pytest.mark.parametrize("where", ["redis_server", "redis_cluster"])
def test_namespaces_are_kept_apart(
    where: str, request: pytest.FixtureRequest, key: str
) -> None:
    servers = request.getfixturevalue(where)
    server = servers if isinstance(servers, RedisServer) else servers[0]
    for amount, namespace in enumerate(ODD):
        with storage_from_url(server.url, namespace=namespace) as storage:
            claims = [claim(key, amount, 99), claim(f"{key}}}", amount, 99)]
            lease = granted(storage.reserve(claims, lease=60))
            storage.settle(lease, {key: amount})
    for amount, namespace in enumerate(ODD):
        with storage_from_url(server.url, namespace=namespace) as storage:
            assert storage.read(key) == Counter(amount, 0)
            assert storage.read(f"{key}}}") == Counter(0, 0)


def test_keys_are_short_whatever_they_are_made_of(
    storage: Storage, redis_server: RedisServer, namespace: str
) -> None:
    keys = ["x" * 1000, "x" * 999 + "y", "🙂" * 1000, "\ud800" * 1000, "#", "%"]
    for key in keys:
        granted(storage.reserve([claim(key, 1, 1)], lease=60))
    with redis_server.client() as client:
        names = client.keys(f"{{{namespace}}}:*")
    assert len(names) == 2 * len(keys)
    assert max(map(len, names)) < 200
    assert all(name.isascii() and name.isprintable() for name in names)


def test_a_verb_is_one_round_trip(
    storage: Storage, redis_server: RedisServer, key: str
) -> None:
    def use() -> None:
        lease = granted(storage.reserve([claim(key), claim(f"{key}-2")], lease=60))
        storage.settle(lease, {key: 1})
        storage.read(key)
        storage.clear(key)

    use()
    with redis_server.client() as client, client.monitor() as monitor:
        use()
        storage.clear("last")
        sent = []
        for command in monitor.listen():
            if command["client_type"] != "lua":
                sent.append(command["command"].split()[0])
            if "last" in command["command"]:
                break
    assert sent == ["EVALSHA"] * 5


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds clients would have waited before they tried again."""
    taken: list[float] = []

    async def pause(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr("redis.retry.sleep", taken.append)
    monkeypatch.setattr("redis.asyncio.retry.sleep", pause)
    return taken


def test_a_server_that_is_not_there_is_told_at_once(
    key: str, pauses: list[float]
) -> None:
    with (
        storage_from_url(f"redis://:s3cret@127.0.0.1:{free_port()}") as storage,
        pytest.raises(StorageError, match="cannot be reached: start it") as caught,
    ):
        storage.reserve([claim(key)], lease=60)
    assert 0 < sum(pauses) < 2
    assert "s3cret" not in str(caught.value)
    assert key not in str(caught.value)


async def test_a_server_that_is_not_there_is_told_at_once_async(
    key: str, pauses: list[float]
) -> None:
    storage = storage_from_url(f"redis://:s3cret@127.0.0.1:{free_port()}")
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        await storage.areserve([claim(key)], lease=60)
    assert 0 < sum(pauses) < 2
    assert "s3cret" not in str(caught.value)
    await storage.aclose()


async def test_a_server_that_goes_away_is_told_and_comes_back(
    own_redis: RedisServer, key: str
) -> None:
    with storage_from_url(own_redis.url) as storage:
        storage.read(key)
        await storage.aread(key)
        own_redis.kill()
        with pytest.raises(StorageError, match="cannot be reached"):
            storage.read(key)
        with pytest.raises(StorageError, match="cannot be reached"):
            await storage.aread(key)
        own_redis.start()
        assert storage.read(key) == await storage.aread(key) == Counter()
        await storage.aclose()


def test_a_server_that_says_no_is_told_with_what_to_do(
    own_redis: RedisServer, key: str
) -> None:
    with own_redis.client() as client, storage_from_url(own_redis.url) as storage:
        lease = granted(storage.reserve([claim(key)], lease=60))
        client.config_set("maxmemory", 1)
        with pytest.raises(StorageError, match="raise its maxmemory"):
            storage.reserve([claim(key)], lease=60)
        storage.settle(lease, {key: 1})
        assert storage.read(key) == Counter(1, 0)
        client.config_set("maxmemory", 0)
        client.execute_command("REPLICAOF", "127.0.0.1", free_port())
        with pytest.raises(StorageError, match="is a replica"):
            storage.reserve([claim(key)], lease=60)
        client.execute_command("REPLICAOF", "NO", "ONE")
        client.set("{lean}:counter:taken", "by someone else")
        with pytest.raises(StorageError, match="nobody else may write"):
            storage.read("taken")


def test_a_user_who_may_not_is_told(own_redis: RedisServer, key: str) -> None:
    with own_redis.client() as client:
        client.acl_setuser(
            "ada", enabled=True, passwords=["+s3cret"], categories=["+@all"]
        )
    for password, told in [("s3cret", "permit HELLO"), ("wr0ng", "the password")]:
        url = own_redis.url.replace("//", f"//ada:{password}@")
        with (
            storage_from_url(url) as storage,
            pytest.raises(StorageError, match=told) as caught,
        ):
            storage.read(key)
        assert password not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa#ss@host",
        "redis://host:port",
        "redis://host/name",
        "redis://host?socket_timeout=soon",
        "redis://host?nonsense=1",
        "redis://host?protocol=4",
        "rediss://host?ssl_cert_reqs=maybe",
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be understood") as caught:
        RedisStorage.from_url(url)
    assert "pa" not in str(caught.value).replace("password", "")


class _OldRedis(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while count := self.rfile.readline()[1:]:
            lines = [self.rfile.readline().strip() for _ in range(2 * int(count))]
            about = b"*2\r\n$7\r\nversion\r\n$5\r\n6.2.6\r\n"
            self.wfile.write(about if lines[1] == b"HELLO" else b"+OK\r\n")


def test_a_server_that_is_too_old_is_told(key: str) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _OldRedis) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"redis://127.0.0.1:{server.server_address[1]}?protocol=2"
        with (
            storage_from_url(url) as storage,
            pytest.raises(StorageError, match=r"version 6\.2\.6: budgets need 7"),
        ):
            storage.read(key)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("where", ["redis_server", "redis_cluster"])
@pytest.mark.parametrize("closed", [True, False])
def test_each_event_loop_has_connections_of_its_own(
    where: str, closed: bool, request: pytest.FixtureRequest, key: str
) -> None:
    servers = request.getfixturevalue(where)
    server = servers if isinstance(servers, RedisServer) else servers[0]
    storage = storage_from_url(server.url)

    async def use() -> None:
        claims = [Claim(key, 1, 100, None)]
        asked = [storage.areserve(claims, lease=60) for _ in range(10)]
        for lease in await asyncio.gather(*asked):
            await storage.asettle(granted(lease), {key: 1})
        if closed:
            await storage.aclose()

    for turn in range(3):
        asyncio.run(use())
        assert storage.read(key) == Counter(10 * (turn + 1), 0)
    storage.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("where", ["redis_server", "redis_cluster"])
def test_a_forked_process_has_connections_of_its_own(
    where: str, request: pytest.FixtureRequest, key: str
) -> None:
    servers = request.getfixturevalue(where)
    server = servers if isinstance(servers, RedisServer) else servers[0]
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            storage.read(key)

    with storage_from_url(server.url) as storage:
        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                told = storage.reserve([claim(key)], lease=60)
                os._exit(0 if isinstance(told, Lease) else 1)
            granted(storage.reserve([claim(f"{key}-2")], lease=60))
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        assert storage.read(key) == storage.read(f"{key}-2") == Counter(0, 10)


async def test_more_tasks_than_connections_wait_for_their_turn(
    redis_url: str, key: str
) -> None:
    storage = storage_from_url(f"{redis_url}?max_connections=3")
    asked = [storage.areserve([claim(key)], lease=600) for _ in range(200)]
    outcomes = await asyncio.gather(*asked)
    assert sum(isinstance(outcome, Lease) for outcome in outcomes) == 10
    await storage.aclose()


@pytest.mark.parametrize("options", ["protocol=2", "protocol=3", "decode_responses=1"])
def test_options_of_redis_py_are_taken(redis_url: str, options: str, key: str) -> None:
    with storage_from_url(f"{redis_url}?{options}") as storage:
        lease = granted(storage.reserve([claim(key)], lease=60))
        assert storage.settle(lease, {key: 1}) == {key: Counter(1, 0)}


def test_a_closed_store_opens_again(storage: Storage, key: str) -> None:
    granted(storage.reserve([claim(key)], lease=60))
    storage.close()
    assert storage.read(key) == Counter(0, 1)


def test_what_is_in_the_server_is_plain(
    storage: Storage, redis_server: RedisServer, namespace: str
) -> None:
    lease = granted(storage.reserve([claim("a", 6, floor=2, window=None)], lease=60))
    with redis_server.client() as client:
        counter = client.get(f"{{{namespace}}}:counter:a")
        leases = dict(
            client.zrange(f"{{{namespace}}}:leases:a", 0, -1, withscores=True)
        )
    due = leases[f"6:2:{lease.id}"]
    assert counter == f"0 6 {10**14 - 1} {due:.0f}"
    assert leases == {f"6:2:{lease.id}": due, "-": 10**14 - 1}


def test_after_an_interrupt_nobody_gets_the_answer_to_another_question(
    storage: Storage, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between a command and its reply must not leave the reply behind."""

    class Interrupted(BaseException):
        pass

    def interrupted(*_: Any, **__: Any) -> Any:
        raise Interrupted

    granted(storage.reserve([claim(key, 1)], lease=60))
    with monkeypatch.context() as patch:
        patch.setattr(redis.connection.Connection, "read_response", interrupted)
        with pytest.raises(Interrupted):
            storage.reserve([claim(f"{key}-other", 7)], lease=60)
    assert storage.read(key) == Counter(used=0, held=1)
    refused(storage.reserve([claim(key, 10)], lease=60))
    assert storage.read(key) == Counter(used=0, held=1)
