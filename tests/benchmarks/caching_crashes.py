"""Eight processes write and read one cache and are killed at random.

Run: python -m tests.benchmarks.caching_crashes [--seconds 30]

Each answer names its tenant and its question, so that an answer of a wrong partition is
seen; every exception of a caller is written down. At the end, what is found by its key
must be what is found by nearness.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from tests.caching.killing import PROCESSES, kill_at_random
from tests.caching.reconcile import lost_entries
from tests.storage.redis_servers import RedisServer


def row(kind: str, seconds: float) -> tuple[str, ...]:
    """What came of one store."""
    with TemporaryDirectory() as name, RedisServer(Path(name) / "redis") as server:
        folder = Path(name)
        url = server.url if kind == "Redis" else f"sqlite:///{folder}/cache.db"
        until = time.monotonic() + seconds
        answers, kills = kill_at_random(
            url, folder, lambda _: time.monotonic() < until, every=60
        )
        wrong = folder / "wrong"
        troubled = wrong.read_text().count("Traceback") if wrong.exists() else 0
        found = lost_entries(url)
    figures = (answers, kills, troubled, found.kept, len(found.lost))
    return (kind, *(f"{figure:,}" for figure in figures))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Processes that are killed.")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each store")
    seconds = parser.parse_args().seconds
    shown = Table(
        "store", "answers", "kills", "wrong or failed", "entries", "lost",
        title=f"{PROCESSES} processes for {seconds:g} s",
    )  # fmt: skip
    for kind in ("SQLite", "Redis"):
        shown.add_row(*row(kind, seconds))
    Console(width=90).print(shown)


if __name__ == "__main__":
    main()
