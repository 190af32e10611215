"""The contract, for a cache in Redis, and what is particular to Redis."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from langchain_lean.caching.stores import open_store
from langchain_lean.caching.stores.base import CacheStore
from langchain_lean.caching.stores.redis import RedisCacheStore
from langchain_lean.errors import ConfigurationError, StorageError
from langchain_lean.redis_server.server import Server
from tests.caching.contract import (
    EAST,
    HOSTILE,
    NORTH,
    Open,
    SharedCacheStoreContract,
    Verbs,
    item,
    towards,
)
from tests.storage.contract import Clock
from tests.storage.redis_servers import RedisServer, free_port, wait_until

PATIENT = 30.0  # seconds: what is not about time must not fail on a busy machine
ROOT = Path(__file__).parents[2]


class RedisContract(SharedCacheStoreContract):
    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def opened(self, url: str, namespace: str) -> Open:
        def opened(
            *, clock: Clock | None = None, max_entries: int = 100_000
        ) -> CacheStore:
            return RedisCacheStore(
                url,
                namespace=namespace,
                max_entries=max_entries,
                timeout=PATIENT,
                clock=clock,
            )

        return opened


class TestRedis(RedisContract):
    @pytest.fixture
    def url(self, redis_server: RedisServer) -> str:
        return redis_server.url


class TestRedisCluster(RedisContract):
    examples = 15
    partitions = 300

    @pytest.fixture
    def url(self, redis_cluster: list[RedisServer]) -> str:
        return redis_cluster[0].url

    def test_partitions_are_spread_over_the_nodes(
        self, opened: Open, redis_cluster: list[RedisServer], namespace: str
    ) -> None:
        store = opened()
        for number in range(60):
            store.put(str(number), item(vector=EAST))
        shares = [len(partitions(node, namespace)) for node in redis_cluster]
        assert sum(shares) == 60
        assert min(shares) > 5
        store.clear()
        assert [partitions(node, namespace) for node in redis_cluster] == [set()] * 3
        store.close()

    def test_any_node_can_be_named(
        self, redis_cluster: list[RedisServer], namespace: str
    ) -> None:
        for node in redis_cluster:
            with opened_at(node.url, namespace) as store:
                store.put(str(node.port), item(tags=("tag",)))
                assert store.get(str(node.port), "key") == "value"
        assert store.invalidate("tag") == 3
        store.close()

    def test_a_database_of_a_cluster_is_refused(
        self, redis_cluster: list[RedisServer], namespace: str
    ) -> None:
        url = redis_cluster[0].url.removesuffix("0") + "1"
        with (
            opened_at(url, namespace) as store,
            pytest.raises(ConfigurationError, match="no database 1"),
        ):
            store.get("p", "key")


@pytest.fixture
def namespace() -> str:
    return uuid4().hex


@contextmanager
def opened_at(url: str, namespace: str, **options: Any) -> Iterator[RedisCacheStore]:
    store = RedisCacheStore(url, namespace=namespace, **{"timeout": PATIENT, **options})
    yield store
    store.close()


@pytest.fixture
def store(redis_server: RedisServer, namespace: str) -> Iterator[RedisCacheStore]:
    with opened_at(redis_server.url, namespace) as store:
        yield store


@pytest.fixture(params=["sync", "async"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def partitions(server: RedisServer, namespace: str) -> set[str]:
    """What stands before the parts of each partition that a server has."""
    with server.client() as client:
        return {
            key.rpartition(":")[0] for key in client.scan_iter(f"{{{namespace}:*", 999)
        }


def assert_reconciled(server: RedisServer, namespace: str) -> int:
    """No item is there in part; returns how many there are."""
    total = 0
    with server.client() as client:
        for partition in partitions(server, namespace):
            answers = client.hgetall(f"{partition}:answers")
            vectors = client.execute_command(
                "VSIM", f"{partition}:vectors", "VALUES", 3, 1, 0, 0, "COUNT", 999
            )
            ends = dict(client.zrange(f"{partition}:ends", 0, -1, withscores=True))
            tags = client.hgetall(f"{partition}:tags")
            tagged = client.zrange(f"{partition}:tagged", 0, -1)
            assert len(vectors) == client.execute_command(
                "VCARD", f"{partition}:vectors"
            )
            assert set(answers) == set(vectors)
            assert set(answers) == set(client.zrange(f"{partition}:used", 0, -1))
            assert set(ends) == {k for k in answers if answers[k].lstrip("t")[0] != " "}
            assert sorted(tagged) == sorted(
                f"{tag} {key}" for key, own in tags.items() for tag in own.split()
            )
            assert set(tags) <= set(answers)
            total += len(answers)
    return total


def test_processes_killed_while_they_write_leave_no_item_in_part(
    redis_server: RedisServer, namespace: str
) -> None:
    command = [sys.executable, "-m", "tests.caching.crash_workers"]
    for _ in range(3):
        with subprocess.Popen(
            [*command, redis_server.url, namespace], cwd=ROOT, stdout=subprocess.PIPE
        ) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"begun\n"
            before = commands_done(redis_server)
            beyond = before + random.randrange(200)
            wait_until(lambda beyond=beyond: commands_done(redis_server) > beyond)
            worker.kill()
        assert assert_reconciled(redis_server, namespace) > 10


def commands_done(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.info("stats")["total_commands_processed"])


def test_a_server_killed_while_it_writes_leaves_no_item_in_part(
    own_redis: RedisServer, namespace: str
) -> None:
    command = [sys.executable, "-m", "tests.caching.crash_workers"]
    with subprocess.Popen(
        [*command, own_redis.url, namespace],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"begun\n"
        own_redis.kill()
    own_redis.start()
    assert assert_reconciled(own_redis, namespace) > 10


async def test_forgotten_scripts_are_sent_again(
    store: RedisCacheStore, redis_server: RedisServer, form: str
) -> None:
    verbs = Verbs(store, form)
    with redis_server.client() as client:
        client.script_flush()
        await verbs.put("p", item(vector=EAST))
        client.script_flush()
        assert await verbs.get("p", "key") == "value"
        client.script_flush()
        assert await verbs.near("p", EAST) == ["key"]
    await verbs.close()


async def test_a_server_that_was_started_again_is_used_at_once(
    own_redis: RedisServer, namespace: str, form: str
) -> None:
    with opened_at(own_redis.url, namespace) as store:
        verbs = Verbs(store, form)
        await verbs.put("p", item(vector=EAST, tags=("tag",)))
        own_redis.kill()
        own_redis.start()
        assert await verbs.get("p", "key") == "value"
        own_redis.kill()
        own_redis.start()
        assert await verbs.near("p", EAST) == ["key"]
        await verbs.close()


def sent(server: RedisServer, work: Callable[[], object]) -> list[str]:
    """The commands that clients send meanwhile."""
    work()  # so that the server knows the scripts
    with server.client() as client, client.monitor() as monitor:
        work()
        with server.client() as other:
            other.echo("that was all")
        commands = []
        for command in monitor.listen():
            if "that was all" in command["command"]:
                return [each for each in commands if each not in ("HELLO", "CLIENT")]
            if command["client_type"] != "lua":
                commands.append(command["command"].split()[0])
    raise AssertionError


def test_a_hit_takes_at_most_two_round_trips(
    store: RedisCacheStore, redis_server: RedisServer
) -> None:
    store.put("p", item("a", vector=EAST))
    verbs: dict[str, Callable[[], object]] = {
        "get": lambda: store.get("p", "a"),
        "nearest": lambda: store.nearest("p", EAST, 8),
        "none near": lambda: store.nearest("q", EAST, 8),
        "put": lambda: store.put("p", item("c", vector=EAST)),
    }
    assert {name: sent(redis_server, verb) for name, verb in verbs.items()} == {
        "get": ["EVALSHA"],
        "nearest": ["VSIM", "EVALSHA"],
        "none near": ["VSIM"],
        "put": ["EVALSHA"],
    }


async def test_what_the_server_evicted_a_part_of_is_not_found(
    store: RedisCacheStore, redis_server: RedisServer, namespace: str, form: str
) -> None:
    verbs = Verbs(store, form)
    parts = ("answers", "vectors", "used", "ends", "tags", "tagged")
    for part in parts:
        kept = item("key", vector=EAST, tags=("tag",), seconds=1000)
        await verbs.put(part, kept)
    with redis_server.client() as client:
        for part in parts:
            client.delete(f"{{{namespace}:{part}}}:{part}")
    assert await verbs.near("answers", EAST) == []
    assert await verbs.get("answers", "key") is None
    assert await verbs.near("vectors", EAST) == []
    for part in ("vectors", "used", "ends"):
        assert await verbs.get(part, "key") == "value"
    for part in ("tags", "tagged"):  # nobody could invalidate it any more
        assert await verbs.near(part, EAST) == []
        assert await verbs.get(part, "key") is None
    with redis_server.client() as client:
        assert client.keys(f"{{{namespace}:answers}}:*") == []
    await verbs.close()


@pytest.mark.parametrize("part", ["tags", "tagged"])
async def test_invalidation_ends_where_the_server_evicted_tags(
    store: RedisCacheStore,
    redis_server: RedisServer,
    namespace: str,
    form: str,
    part: str,
) -> None:
    verbs = Verbs(store, form)
    for number in range(25):
        await verbs.put("p", item(str(number), vector=EAST, tags=("tag",)))
    with redis_server.client() as client:
        client.delete(f"{{{namespace}:p}}:{part}")
    await verbs.invalidate("tag")
    assert await verbs.invalidate("tag") == 0
    assert await verbs.near("p", EAST) == []
    await verbs.close()


@pytest.mark.parametrize("damage", [b"garbage", b"12", b"", b" \xff\xfe"])
async def test_a_damaged_answer_hides_no_other_and_can_be_removed(
    store: RedisCacheStore,
    redis_server: RedisServer,
    namespace: str,
    form: str,
    damage: bytes,
) -> None:
    verbs = Verbs(store, form)
    for key, vector in (("bad", EAST), ("good", NORTH)):
        await verbs.put("p", item(key, vector=vector))
    with redis.Redis.from_url(redis_server.url) as client:
        client.hset(f"{{{namespace}:p}}:answers", "bad", damage)
        client.execute_command("VSETATTR", f"{{{namespace}:p}}:vectors", "bad", "{")
    assert sorted(await verbs.near("p", EAST)) == ["bad", "good"]
    assert await verbs.get("p", "bad") != "value"
    await verbs.remove("p", "bad")
    assert await verbs.near("p", EAST) == ["good"]
    await verbs.close()


async def test_a_server_without_memory_left_still_answers(
    own_redis: RedisServer, namespace: str, form: str
) -> None:
    with opened_at(own_redis.url, namespace) as store, own_redis.client() as client:
        verbs = Verbs(store, form)
        for number in range(50):
            await verbs.put("p", item(str(number), vector=EAST))
        client.config_set("maxmemory", "1mb")
        assert await verbs.get("p", "1") == "value"
        with pytest.raises(StorageError, match="memory"):
            await verbs.put("p", item("more"))
        await verbs.close()


async def test_lessons_end_if_none_come(
    store: RedisCacheStore, redis_server: RedisServer, namespace: str, form: str
) -> None:
    verbs = Verbs(store, form)
    await verbs.teach("p", ["lesson"])
    with redis_server.client() as client:
        assert 0 < client.ttl(f"{{{namespace}:p}}:lessons") <= 30 * 24 * 3600
    await verbs.close()


def test_items_whose_use_was_evicted_make_room_too(
    redis_server: RedisServer, namespace: str
) -> None:
    with (
        opened_at(redis_server.url, namespace, max_entries=3) as store,
        redis_server.client() as client,
    ):
        for key in "abc":
            store.put("p", item(key, vector=EAST))
        client.delete(f"{{{namespace}:p}}:used")
        for key in "defg":
            store.put("p", item(key, vector=EAST))
        assert len(store.nearest("p", EAST, 9)) == 3


def test_a_partition_whose_items_all_end_leaves_after_the_last(
    redis_server: RedisServer, namespace: str
) -> None:
    clock = Clock()

    def left() -> set[int]:
        """Minutes until each part leaves; -1 for those that stay."""
        with redis_server.client() as client:
            keys = client.keys(f"{{{namespace}:p}}:*")
            return {
                -1 if (ms := client.pttl(key)) < 0 else ms // 60_000 for key in keys
            }

    with opened_at(redis_server.url, namespace, clock=clock) as store:
        store.put("p", item("a", vector=EAST, seconds=7200, tags=("tag",)))
        assert left() <= {120, 121}
        store.put("p", item("b", vector=EAST, seconds=60, tags=("tag",)))
        assert left() <= {120, 121}
        store.put("p", item("c", vector=EAST, tags=("tag",)))
        assert left() == {-1}
        store.remove("p", "c")
        store.put("p", item("a", seconds=60))
        assert left() <= {1, 2}


def test_time_is_the_servers(
    store: RedisCacheStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("p", item("a", vector=EAST, seconds=3600))
    store.put("p", item("b", vector=EAST, seconds=0.001))
    monkeypatch.setattr(time, "time", lambda: 1e11)
    assert store.get("p", "a") == "value"
    wait_until(lambda: store.get("p", "b") is None)
    assert [near.key for near in store.nearest("p", EAST, 9)] == ["a"]


def test_an_end_may_be_as_far_away_as_one_likes(store: RedisCacheStore) -> None:
    for seconds in (1e9, 1e12, float("inf")):
        store.put("p", item(str(seconds), seconds=seconds))
        assert store.get("p", str(seconds)) == "value"


@pytest.mark.parametrize("where", ["redis_server", "redis_cluster"])
def test_namespaces_are_kept_apart_and_other_keys_left_alone(
    where: str, request: pytest.FixtureRequest
) -> None:
    servers = request.getfixturevalue(where)
    server = servers if isinstance(servers, RedisServer) else servers[0]
    # Another store of the package; a key like ours; one whose name is no text.
    foreign: list[Any] = ["{lean}:counter:a", "{lean:p}:other:thing", b"{lean:\xff}:x"]
    names = [*HOSTILE, "lean", "x" * 10_000, "\ud800"]
    stores = [RedisCacheStore(server.url, namespace=n, timeout=PATIENT) for n in names]
    cluster = redis.RedisCluster if where == "redis_cluster" else redis.Redis
    with cluster.from_url(server.url.removesuffix("/0")) as client:
        for key in foreign:
            client.set(key, "theirs")
        for store, own in zip(stores, names, strict=True):
            store.clear()
            store.put("p", item("key", f"of {own}", vector=EAST, tags=("tag",)))
        for store, own in zip(stores, names, strict=True):
            assert store.get("p", "key") == f"of {own}"
            assert store.invalidate("tag") == 1
            store.put("p", item(vector=EAST))
            store.clear()
            assert store.get("p", "key") is None
            store.close()
        for key in foreign:
            assert client.get(key) == b"theirs"
            client.delete(key)


def test_keys_are_short_and_plain_whatever_they_are_made_of(
    store: RedisCacheStore, redis_server: RedisServer, namespace: str
) -> None:
    for partition in ("x" * 1000, "x" * 999 + "y", "🙂" * 1000, "\ud800", "}", "*"):
        store.put(partition, item(vector=EAST, tags=(partition,), seconds=60))
        store.teach(partition, ["lesson"])
    with redis_server.client() as client:
        names = client.keys(f"{{{namespace}:*")
    assert len(names) == 6 * 7
    assert max(map(len, names)) < 200
    assert all(name.isascii() and name.isprintable() for name in names)


def test_half_a_surrogate_pair_is_kept(store: RedisCacheStore) -> None:
    half = "\ud800 half"
    store.put("p", item(half, half, label=half, vector=EAST, tags=(half,)))
    store.teach("p", [half])
    assert store.get("p", half) == half
    assert store.lessons("p") == [half]
    (near,) = store.nearest("p", EAST, 1)
    assert (near.key, near.label) == (half, half)
    assert store.invalidate(half) == 1


@pytest.mark.parametrize("options", ["protocol=2", "protocol=3", "decode_responses=1"])
async def test_options_of_redis_py_are_taken(
    redis_server: RedisServer, options: str, namespace: str, form: str
) -> None:
    with opened_at(f"{redis_server.url}?{options}", namespace) as store:
        verbs = Verbs(store, form)
        kept = item("key", "é", label="é", vector=towards(1, 2), tags=("tag",))
        await verbs.put("p", kept)
        await verbs.teach("p", ["é"])
        assert await verbs.get("p", "key") == "é"
        assert [near.label for near in await verbs.nearest("p", EAST, 3)] == ["é"]
        assert await verbs.lessons("p") == ["é"]
        assert await verbs.invalidate("tag") == 1
        await verbs.close()


def test_a_url_opens_a_store(redis_server: RedisServer, namespace: str) -> None:
    store = open_store(redis_server.url, namespace=namespace, max_entries=10)
    assert isinstance(store, RedisCacheStore)
    store.close()


def test_a_url_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot be understood") as caught:
        RedisCacheStore("redis://:pa#ss@host")
    assert "pa#ss" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("where", ["redis_server", "redis_cluster"])
def test_a_forked_process_has_connections_of_its_own(
    where: str, request: pytest.FixtureRequest, namespace: str
) -> None:
    servers = request.getfixturevalue(where)
    server = servers if isinstance(servers, RedisServer) else servers[0]
    stop = threading.Event()
    with opened_at(server.url, namespace) as store:
        store.put("p", item())

        def use() -> None:
            while not stop.is_set():
                store.get("p", "key")

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            child = os.fork()
            if child == 0:
                os._exit(0 if store.get("p", "key") == "value" else 1)
            assert store.get("p", "key") == "value"
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()


# ---- a server that fails -------------------------------------------------------------

SOON = 0.02  # seconds


class Silent:
    """A server that takes connections and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._taken: list[socket.socket] = []
        self.url = f"redis://:s3cret@127.0.0.1:{self._listener.getsockname()[1]}"

    def connections(self) -> int:
        """How many there were so far."""
        while True:
            try:
                self._taken.append(self._listener.accept()[0])
            except BlockingIOError:
                return len(self._taken)

    def close(self) -> None:
        for each in (*self._taken, self._listener):
            each.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    server = Silent()
    yield server
    server.close()


async def test_a_server_that_never_answers_is_left_alone_for_a_second(
    silent: Silent, form: str
) -> None:
    clock = Clock()
    store = RedisCacheStore(silent.url, timeout=SOON, monotonic=clock)
    verbs = Verbs(store, form)
    with pytest.raises(StorageError, match="not answer within 0") as first:
        await verbs.get("p", "secret-key")
    wait_until(lambda: settled(silent))
    before = silent.connections()
    assert before
    clock.now += 0.9
    for _ in range(3):
        with pytest.raises(StorageError) as later:
            await verbs.put("p", item())
        assert str(later.value) == str(first.value)
        with pytest.raises(StorageError):
            await verbs.invalidate("tag")
    assert silent.connections() == before
    clock.now += 0.2
    with pytest.raises(StorageError):
        await verbs.nearest("p", EAST, 3)
    assert silent.connections() > before
    assert "s3cret" not in str(first.value)
    assert "secret-key" not in str(first.value)
    await verbs.close()


def settled(silent: Silent) -> bool:
    """Whether all that connected have given up."""
    silent.connections()
    for each in silent._taken:
        each.setblocking(False)
        try:
            while each.recv(4096):
                pass
        except BlockingIOError:
            return False
    return True


async def test_a_server_that_is_not_there_is_told_and_left_alone(form: str) -> None:
    clock, port = Clock(), free_port()
    store = RedisCacheStore(f"redis://127.0.0.1:{port}", monotonic=clock, timeout=30)
    verbs = Verbs(store, form)
    with pytest.raises(StorageError, match="cannot be reached: start it"):
        await verbs.get("p", "key")
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.setblocking(False)
        with pytest.raises(StorageError, match="cannot be reached: start it"):
            await verbs.get("p", "key")
        with pytest.raises(BlockingIOError):
            listener.accept()
    await verbs.close()


async def test_after_the_pause_one_call_tries_and_all_follow(
    own_redis: RedisServer, namespace: str, form: str
) -> None:
    clock = Clock()
    with opened_at(own_redis.url, namespace, monotonic=clock) as store:
        verbs = Verbs(store, form)
        await verbs.put("p", item())
        own_redis.kill()
        with pytest.raises(StorageError, match="cannot be reached"):
            await verbs.get("p", "key")
        own_redis.start()
        with pytest.raises(StorageError, match="cannot be reached"):
            await verbs.get("p", "key")
        clock.now += 1
        assert await verbs.get("p", "key") == "value"
        assert await verbs.get("p", "key") == "value"
        await verbs.close()


async def test_while_one_call_tries_others_fail_at_once(
    silent: Silent, form: str
) -> None:
    clock = Clock()
    store = RedisCacheStore(silent.url, timeout=SOON, monotonic=clock)
    verbs = Verbs(store, form)
    with pytest.raises(StorageError):
        await verbs.get("p", "key")
    clock.now += 1
    wait_until(lambda: settled(silent))
    before = silent.connections()

    async def ask() -> None:
        with pytest.raises(StorageError):
            await verbs.get("p", "key")

    if form == "async":
        await asyncio.gather(*[ask() for _ in range(20)])
    else:
        threads = [
            threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wait_until(lambda: settled(silent))
    assert silent.connections() - before <= 2  # one call, and once more
    await verbs.close()


async def test_a_server_that_hangs_is_given_up_and_taken_up_again(
    own_redis: RedisServer, namespace: str, form: str
) -> None:
    clock = Clock()
    with opened_at(own_redis.url, namespace) as patient:
        patient.put("p", item(vector=EAST))
    with own_redis.client() as client:
        process = int(client.info("server")["process_id"])
    with opened_at(own_redis.url, namespace, timeout=0.5, monotonic=clock) as store:
        verbs = Verbs(store, form)
        assert await verbs.get("p", "key") == "value"
        os.kill(process, signal.SIGSTOP)
        try:
            with pytest.raises(StorageError, match="does not answer within"):
                await verbs.get("p", "key")
        finally:
            os.kill(process, signal.SIGCONT)
        clock.now += 1
        assert await verbs.get("p", "key") == "value"
        assert await verbs.near("p", EAST) == ["key"]
        await verbs.close()


def test_a_connection_that_opens_late_serves_the_next_call(
    redis_server: RedisServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, go_on, opened = Clock(), threading.Event(), []
    connect = Server.client

    def slowly(server: Server) -> Any:
        assert go_on.wait(PATIENT)
        opened.append(connect(server))
        return opened[-1]

    monkeypatch.setattr(Server, "client", slowly)
    with opened_at(redis_server.url, namespace, monotonic=clock, timeout=0.5) as store:
        with pytest.raises(StorageError, match="does not answer within"):
            store.put("p", item())
        go_on.set()
        clock.now += 1
        wait_until(lambda: len(opened) == 1)
        wait_until(lambda: answers(store))
        assert store.get("p", "key") == "value"  # it was put in the background
        assert len(opened) == 1


def answers(store: CacheStore) -> bool:
    return store.get("p", "key") is not None


def test_an_answer_that_came_too_late_is_not_the_answer_to_another_question(
    own_redis: RedisServer, namespace: str
) -> None:
    clock = Clock()
    with opened_at(own_redis.url, namespace, timeout=0.5, monotonic=clock) as store:
        for key in ("a", "b"):
            store.put("p", item(key, f"value of {key}"))
        with own_redis.client() as client:
            process = int(client.info("server")["process_id"])
        os.kill(process, signal.SIGSTOP)
        try:
            with pytest.raises(StorageError):
                store.get("p", "a")
        finally:
            os.kill(process, signal.SIGCONT)
        clock.now += 1
        assert store.get("p", "b") == "value of b"


def test_a_command_the_server_refuses_does_not_stop_others(
    own_redis: RedisServer, namespace: str
) -> None:
    with (
        own_redis.client() as client,
        opened_at(own_redis.url, namespace, monotonic=Clock()) as store,
    ):
        store.put("p", item("a"))
        client.config_set("maxmemory", 1)
        with pytest.raises(StorageError, match="raise its maxmemory"):
            store.put("p", item("b"))
        client.config_set("maxmemory", 0)
        client.set(f"{{{namespace}:taken}}:answers", "by someone else")
        with pytest.raises(StorageError, match="nobody else may write"):
            store.get("taken", "a")
        client.execute_command("REPLICAOF", "127.0.0.1", free_port())
        with pytest.raises(StorageError, match="is a replica"):
            store.put("p", item("b"))
        client.execute_command("REPLICAOF", "NO", "ONE")
        assert store.get("p", "a") == "value"


def test_a_user_who_may_not_is_told(own_redis: RedisServer, namespace: str) -> None:
    with own_redis.client() as client:
        client.acl_setuser(
            "ada", enabled=True, passwords=["+s3cret"], categories=["+@all"]
        )
    for password, told in [("s3cret", "permit HELLO"), ("wr0ng", "the password")]:
        url = own_redis.url.replace("//", f"//ada:{password}@")
        with (
            opened_at(url, namespace) as store,
            pytest.raises(StorageError, match=told) as caught,
        ):
            store.get("p", "key")
        assert password not in str(caught.value)


class _Server(socketserver.StreamRequestHandler):
    """Answers as a server without vector sets does."""

    version = b"7.4.2"

    def handle(self) -> None:
        while count := self.rfile.readline()[1:]:
            words = [self.rfile.readline().strip() for _ in range(2 * int(count))][1::2]
            if words[0] == b"HELLO":
                length = len(self.version)
                about = b"*2\r\n$7\r\nversion\r\n$%d\r\n%b\r\n"
                self.wfile.write(about % (length, self.version))
            elif words[0] == b"COMMAND":
                self.wfile.write(b"*2\r\n*-1\r\n*-1\r\n")
            else:
                self.wfile.write(b"+OK\r\n")


class _Valkey(_Server):
    version = b"9.0.0"


@pytest.mark.parametrize("kind", [_Server, _Valkey])
async def test_a_server_without_vector_sets_is_told_with_what_to_install(
    kind: type[_Server], form: str
) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"redis://127.0.0.1:{server.server_address[1]}?protocol=2"
        verbs = Verbs(RedisCacheStore(url, timeout=PATIENT), form)
        version = kind.version.decode().replace(".", r"\.")
        with pytest.raises(StorageError, match=rf"{version}.*install Redis 8"):
            await verbs.get("p", "key")
        await verbs.close()
        server.shutdown()
        thread.join()


async def test_no_more_tasks_talk_than_connections_are_allowed(
    redis_server: RedisServer, namespace: str
) -> None:
    url = f"{redis_server.url}?max_connections=3"
    with opened_at(url, namespace) as store:
        await store.aput("p", item(vector=NORTH))
        asked = [store.aget("p", "key") for _ in range(200)]
        assert await asyncio.gather(*asked) == ["value"] * 200
        await store.aclose()


def test_after_an_interrupt_nobody_gets_the_answer_to_another_question(
    store: RedisCacheStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between a command and its reply must not leave the reply behind."""

    class Interrupted(BaseException):
        pass

    def interrupted(*_: Any, **__: Any) -> Any:
        raise Interrupted

    for key in ("a", "b"):
        store.put("p", item(key, f"value of {key}"))
    with monkeypatch.context() as patch:
        patch.setattr(redis.connection.Connection, "read_response", interrupted)
        with pytest.raises(Interrupted):
            store.get("p", "a")
    assert store.get("p", "b") == "value of b"


async def test_a_cancelled_task_leaves_no_answer_to_another_question(
    store: RedisCacheStore,
) -> None:
    for key in ("a", "b"):
        await store.aput("p", item(key, f"value of {key}"))
    for _ in range(20):
        task = asyncio.create_task(store.aget("p", "a"))
        for _ in range(random.randrange(6)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await store.aget("p", "b") == "value of b"
    await store.aclose()
