"""What a budget costs: reservations settled per second, by store.

Run with `python -m tests.benchmarks.budget_storage`. Redis is compared with what a
counter without any promise needs there: a GET, and an INCRBY of what was used.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import redis
from rich.console import Console
from rich.table import Table

from langchain_lean.budgets.storage import Claim, Lease, Storage, storage_from_url
from langchain_lean.budgets.storage.base import MOST
from tests.storage.redis_servers import RedisServer

DAY = 86_400.0
THREADS = (1, 8)
REPEATS = 9
SECONDS = 0.4  # of one measurement
REFERENCE = "Redis, GET and INCRBY"
PROMISED = 0.6  # of the reference, for Redis with one claim

Pair = Callable[[], object]


def reserve_and_settle(storage: Storage, claims: int) -> Pair:
    """A call's life in a store."""
    stem = uuid4().hex
    wanted = [Claim(f"{stem}-{n}", 900, MOST, DAY, 600) for n in range(claims)]
    used = {claim.key: 750 for claim in wanted}

    def pair() -> None:
        lease = storage.reserve(wanted, lease=60)
        if not isinstance(lease, Lease):
            raise AssertionError(lease)
        storage.settle(lease, used)

    return pair


def get_and_increment(client: "redis.Redis") -> Pair:
    """The same without limits that hold, leases or windows."""
    key = uuid4().hex

    def pair() -> None:
        client.get(key)
        client.incrby(key, 750)

    return pair


def rate(pair: Pair, threads: int) -> float:
    """Pairs per second of some threads together."""
    ends = time.perf_counter() + SECONDS

    def work() -> int:
        done = 0
        while time.perf_counter() < ends:
            pair()
            done += 1
        return done

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        works = [pool.submit(work) for _ in range(threads)]
        done = sum(each.result() for each in works)
    return done / (time.perf_counter() - started)


def measure(pairs: dict[str, Pair], threads: int) -> dict[str, list[float]]:
    """Rates by name. The machine's speed drifts, so that all take turns."""
    rates: dict[str, list[float]] = {name: [] for name in pairs}
    for pair in pairs.values():
        pair()
    for _ in range(REPEATS):
        for name, pair in pairs.items():
            rates[name].append(rate(pair, threads))
    return rates


@contextmanager
def dynamodb(console: Console) -> Iterator[Storage | None]:
    """A table of moto's server, where there is one."""
    needed = ("langchain_lean.budgets.storage.dynamodb", "moto", "flask_cors")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        console.print(f"DynamoDB is left out: {missing[0]} is not installed")
        yield None
        return
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    command = [sys.executable, "-m", "tests.storage.moto_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline()) if server.stdout else 0
            where = f"region=eu-west-1&endpoint=http://127.0.0.1:{port}"
            with storage_from_url(f"dynamodb://lean?{where}&create=true") as storage:
                yield storage
        finally:
            server.terminate()


def main() -> None:
    """Print the table."""
    console = Console()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(RedisServer(folder / "redis"))
        stores = {
            "memory": storage_from_url("memory://"),
            "SQLite": storage_from_url(f"sqlite:///{folder}/quota.db"),
            "Redis": storage_from_url(server.url),
            "DynamoDB (moto)": stack.enter_context(dynamodb(console)),
        }
        client = stack.enter_context(redis.Redis.from_url(server.url))
        pairs = {REFERENCE: get_and_increment(client)}
        for name, storage in stores.items():
            if storage is not None:
                stack.enter_context(storage)
                for claims in (1, 3):
                    label = f"{name}, {claims} claim{'s' * (claims > 1)}"
                    pairs[label] = reserve_and_settle(storage, claims)
        console.print(table({n: measure(pairs, n) for n in THREADS}))
    console.print(
        f"of reference: the median of {REPEATS} rounds, each beside its own {REFERENCE}"
        f"; Redis with one claim promises {PROMISED}"
    )


def table(measured: dict[int, dict[str, list[float]]]) -> Table:
    """Medians by number of threads."""
    shown = Table(title="Reservations settled per second")
    shown.add_column("store")
    for threads in measured:
        shown.add_column(f"{threads} thread{'s' * (threads > 1)}", justify="right")
        shown.add_column("of reference", justify="right")
    for name in measured[THREADS[0]]:
        row = [name]
        for rates in measured.values():
            beside = zip(rates[name], rates[REFERENCE], strict=True)
            ratio = statistics.median(own / other for own, other in beside)
            row += [f"{statistics.median(rates[name]):,.0f}", f"{ratio:.2f}"]
        shown.add_row(*row)
    return shown


if __name__ == "__main__":
    main()
