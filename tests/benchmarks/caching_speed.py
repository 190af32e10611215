"""How long a hit takes: our cache and others, by the number of entries.

Run: python -m tests.benchmarks.caching_speed [--most 10000]

Everything of a look-up counts: reading the prompt, the embedding (`local_embeddings`),
the round trips to a Redis on this machine, the answer as LangChain takes it. All
entries are in one partition. Questions are those of cache/banking77.jsonl in the folder
named by LEAN_DATA (by default ../shared/data, beside the project), with variations.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from langchain_core.embeddings import Embeddings
from rich.console import Console
from rich.table import Table

from langchain_lean import local_embeddings
from tests.benchmarks.caching_data import BANKING, questions, reworded
from tests.benchmarks.caching_ours import InAFile, in_our_memory, in_redis
from tests.benchmarks.caching_peers import (
    LangChainRedis,
    LangGraphMiddleware,
    Make,
    Peer,
    Setup,
    in_memory,
    search_server,
)

SIZES = (1_000, 10_000, 30_000, 100_000)
LOOK_UPS = 300
PROMISE = 10.0  # ms
FASTER, GROWTH = 5.0, 2.5

MAKES: tuple[Make, ...] = (
    in_redis,
    in_our_memory,
    InAFile,
    LangChainRedis,
    LangGraphMiddleware,
    in_memory,
)
SAME, OTHER = "same words", "other words"


@dataclass(frozen=True, slots=True)
class Speed:
    """How long look-ups of one kind took.

    Attributes:
        name: The cache.
        entries: How many it had.
        words: Whether the questions were those that were kept, or in other words.
        served: Share of the look-ups that were hits.
        p50: Milliseconds of half of the hits.
        p99: Milliseconds of 99 % of the hits.
    """

    name: str
    entries: int
    words: str
    served: float
    p50: float
    p99: float


def speed(peer: Peer, kept: Sequence[str], words: str) -> Speed:
    """Look some of what is kept up, in the same or in other words."""
    reword: Callable[[str], str] = reworded if words == OTHER else str
    asked = [reword(each) for each in random.Random(7).choices(kept, k=LOOK_UPS)]
    for question in asked[:10]:
        peer.look_up(question)
    hits = []
    for question in asked:
        started = time.perf_counter()
        found = peer.look_up(question)
        if found is not None:
            hits.append(1000 * (time.perf_counter() - started))
    p50, p99 = np.percentile(hits, [50, 99]) if hits else (float("nan"),) * 2
    return Speed(peer.name, len(kept), words, len(hits) / len(asked), p50, p99)


def speeds(make: Make, embeddings: Embeddings, sizes: Sequence[int]) -> list[Speed]:
    """Fill a cache step by step, and look up at each."""
    texts = questions(max(sizes))
    found = []
    with (
        search_server() as url,
        closing(make(Setup(embeddings=embeddings, url=url))) as peer,
    ):
        done = 0
        for size in sizes:
            part = range(done, size)
            peer.fill([texts[i] for i in part], [f"Answer {i}." for i in part])
            done = size
            found += [speed(peer, texts[:size], words) for words in (SAME, OTHER)]
    return found


def table(found: Sequence[Speed]) -> Table:
    """The figures, a row for each cache and number of entries."""
    shown = Table(
        "cache", "entries", "same words\np50 / p99 ms", "other words\np50 / p99 ms",
        "served", title=f"A hit, {LOOK_UPS} look-ups each",
    )  # fmt: skip
    for same, other in zip(found[::2], found[1::2], strict=True):
        cells = (f"{each.p50:.2f} / {each.p99:.2f}" for each in (same, other))
        served = f"{100 * other.served:.0f} %"
        shown.add_row(same.name, f"{same.entries:,}", *cells, served)
    return shown


def promises(found: Sequence[Speed]) -> list[str]:
    """What was promised, and whether it holds."""
    by = {(each.name, each.entries, each.words): each for each in found}
    most = max(each.entries for each in found)
    ours, theirs = "langchain_lean, Redis", "langchain-redis"
    largest = by[ours, most, OTHER]
    said = [
        _said(
            f"{theirs} takes {by[theirs, most, OTHER].p50 / largest.p50:.1f} times as "
            f"long as ours at {most:,} entries (promised: at least {FASTER:g})",
            by[theirs, most, OTHER].p50 >= FASTER * largest.p50,
        ),
        _said(
            f"ours on Redis has a p99 of {largest.p99:.1f} ms (promised: {PROMISE:g})",
            largest.p99 <= PROMISE,
        ),
    ]
    if (ours, 10_000, OTHER) in by:
        growth = largest.p50 / by[ours, 10_000, OTHER].p50
        said.append(
            _said(
                f"ours on Redis takes {growth:.2f} times as long at {most:,} as at "
                f"10,000 entries (promised: at most {GROWTH:g})",
                growth <= GROWTH,
            )
        )
    for name in ("langchain_lean, memory", "langchain_lean, SQLite"):
        under = [e for e in found if e.name == name and e.p99 <= PROMISE]
        largest_size = max((e.entries for e in under if e.words == OTHER), default=0)
        said.append(
            f"{name}: under {PROMISE:g} ms at p99 up to {largest_size:,} entries"
        )
    return said


def _said(what: str, holds: bool) -> str:
    return f"{'holds' if holds else 'FALLS SHORT'}: {what}"


def main() -> None:
    """Print the table, and what holds of the promises."""
    parser = argparse.ArgumentParser(description="How long a hit takes.")
    parser.add_argument("--most", type=int, default=max(SIZES), help="entries")
    most = parser.parse_args().most
    console = Console(width=110)
    if not BANKING.is_file():
        console.print("Skipped: no cache/banking77.jsonl in $LEAN_DATA.")
        return
    sizes = [size for size in SIZES if size <= most]
    embeddings = local_embeddings()
    found: list[Speed] = []
    for make in MAKES:
        found += speeds(make, embeddings, sizes)
        console.print(f"{found[-1].name} is measured.")
    console.print(table(found), *promises(found), sep="\n")


if __name__ == "__main__":
    main()
