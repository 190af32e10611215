"""How often a cache serves what is right, and how often what is wrong.

Run: python -m tests.benchmarks.caching_acceptance [--streams N]

Reads cache/banking77.jsonl from the folder named by LEAN_DATA (by default
../shared/data, beside the project): questions of bank customers and their intents;
questions of one intent have one answer. A stream is 3,000 questions drawn without
replacement, and a cache that is empty at its start. What the model was asked is added
to the cache; what was served is not. Compared are thresholds on the similarity of the
nearest entry, the best of them chosen in hindsight, with `max_error_rate=`, which
chooses by itself, and keeps the rate in 95 of 100 streams.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table
from threadpoolctl import threadpool_limits

from langchain_lean import local_embeddings
from langchain_lean.caching.acceptance import NEIGHBOURS, Acceptance
from langchain_lean.caching.checks import differs
from langchain_lean.caching.stores.base import Near
from tests.benchmarks.caching_data import BANKING, banking77

LENGTH = 3_000
STREAMS = 100
RATES = (0.01, 0.02, 0.05)
THRESHOLDS = tuple(round(0.72 + 0.01 * step, 2) for step in range(22))
TRIED = 4  # nearest entries, where the first are vetoed; as the cache does
KEPT = 0.95
MORE_HITS = 1.5
ALLOWED = 0.3  # milliseconds

Places = NDArray[np.intp]
Rule = tuple[str, float, bool]  # "threshold" or "rate", its value, whether with vetoes

PLAIN: list[Rule] = [("rate", rate, False) for rate in RATES]
VETOED: Rule = ("rate", 0.02, True)
FIXED: list[Rule] = [
    ("threshold", value, vetoes) for vetoes in (False, True) for value in THRESHOLDS
]
RULES: list[Rule] = [*FIXED, *PLAIN, VETOED]


class Served(NamedTuple):
    """What came of one stream.

    Attributes:
        hits: The share of all requests that was served.
        wrong: The share of all requests that was served a wrong answer.
        milliseconds: The median of a decision; 0 for thresholds.
    """

    hits: float
    wrong: float
    milliseconds: float = 0.0


class Stream:
    """Questions in a random order."""

    def __init__(self, seed: int) -> None:
        texts, intents, vectors = _rows()
        chosen = random.Random(seed).sample(range(len(texts)), LENGTH)
        self.seed = seed
        self.texts = [texts[row] for row in chosen]
        self.intents = [intents[row] for row in chosen]
        self.similarities = vectors[chosen] @ vectors[chosen].T

    def nearest(self, place: int, entries: Places, count: int) -> Places:
        """The entries nearest to a question, the nearest first."""
        distances = -self.similarities[place, entries]
        if count < len(entries):
            few = np.argpartition(distances, count - 1)[:count]
            entries, distances = entries[few], distances[few]
        return entries[np.argsort(distances, kind="stable")]

    def vetoed(self, one: int, other: int) -> bool:
        """Whether two questions are told apart."""
        return _vetoed(self.texts[one], self.texts[other])


@cache
def _rows() -> tuple[list[str], list[str], NDArray[np.float32]]:
    rows = banking77()
    texts = [row.text for row in rows]
    vectors = local_embeddings().embed_documents(texts)
    return texts, [row.intent for row in rows], np.array(vectors, dtype=np.float32)


@lru_cache(maxsize=1_000_000)
def _vetoed(one: str, other: str) -> bool:
    return differs(one, other) is not None


def fixed(stream: Stream, *, vetoes: bool) -> list[Served]:
    """Serve the nearest entry if it is near enough, for each of the thresholds."""
    cached = np.zeros((len(THRESHOLDS), LENGTH), dtype=bool)
    hits, wrong = np.zeros((2, len(THRESHOLDS)))
    for place, intent in enumerate(stream.intents):
        similarities = stream.similarities[place, :place]
        near = np.where(cached[:, :place], similarities, -1).max(axis=1, initial=-1)
        cached[:, place] = True
        for each in np.flatnonzero(near >= THRESHOLDS):
            before = np.flatnonzero(cached[each, :place])
            found = stream.nearest(place, before, TRIED if vetoes else 1)
            for entry in found[stream.similarities[place, found] >= THRESHOLDS[each]]:
                if not (vetoes and stream.vetoed(place, entry)):
                    cached[each, place] = False
                    hits[each] += 1
                    wrong[each] += stream.intents[entry] != intent
                    break
    return [Served(*each) for each in np.stack([hits, wrong], axis=1) / LENGTH]


def learned(stream: Stream, rate: float, *, vetoes: bool) -> Served:
    """Have the learned rule decide."""
    rule = Acceptance(rate, random=random.Random(stream.seed))
    hits, wrong, intents = 0, 0, stream.intents
    times = []
    entries = np.zeros(0, dtype=np.intp)
    for place, intent in enumerate(intents):
        near = [
            Near(str(entry), float(stream.similarities[place, entry]), intents[entry])
            for entry in stream.nearest(place, entries, NEIGHBOURS)
        ]
        start = time.perf_counter()
        decision = rule.decide(near)
        times.append(time.perf_counter() - start)
        candidate = decision.candidate
        right = candidate is not None and candidate.label == intent
        vetoed = vetoes and candidate and stream.vetoed(place, int(candidate.key))
        if decision.serve and not vetoed:
            hits += 1
            wrong += not right
            continue
        entries = np.append(entries, place)
        if candidate and not vetoed:
            rule.learn(decision, right)
    return Served(hits / LENGTH, wrong / LENGTH, 1_000 * float(np.median(times)))


def measured(seed: int) -> list[Served]:
    """What comes of each rule on a stream."""
    with threadpool_limits(1):  # matrices are small; threads wait for one another
        stream = Stream(seed)
        thresholds = [*fixed(stream, vetoes=False), *fixed(stream, vetoes=True)]
        rates = (*PLAIN, VETOED)
        return thresholds + [learned(stream, rate, vetoes=v) for _, rate, v in rates]


class Figures:
    """What came of a rule on all streams."""

    def __init__(self, rule: Rule, served: list[Served]) -> None:
        kind, value, vetoes = rule
        name = f"{kind} {value}" if kind == "threshold" else f"max_error_rate={value}"
        self.name = f"{name}, vetoes" if vetoes else name
        self.hits, self.wrong, self.milliseconds = np.array(served).T

    def over(self, rate: float) -> int:
        """In how many streams more was wrong."""
        return int((self.wrong > rate).sum())

    def cells(self, rate: float) -> list[str]:
        """A row of the table."""
        hits, wrong = 100 * self.hits, 100 * self.wrong
        return [
            self.name,
            f"{hits.mean():.1f} % (±{hits.std():.1f})",
            f"{wrong.mean():.2f} % (±{wrong.std():.2f})",
            f"{wrong.max():.2f} %",
            str(self.over(rate)),
        ]


def best(figures: list[Figures], rate: float) -> Figures:
    """The rule with most hits whose wrong answers are within the rate on average."""
    within = [each for each in figures if each.wrong.mean() <= rate]
    return max(within, key=lambda each: float(each.hits.mean()))


def quality(figures: dict[Rule, Figures], streams: int) -> Table:
    """Hits and wrong answers, by what is allowed."""
    table = Table(
        Column("rule", no_wrap=True), "hits", "wrong of all", "worst", "streams over",
        title=f"{streams} streams of {LENGTH:,} questions, 77 intents",
        caption="Thresholds: the best in hindsight whose wrong answers are within the "
        "rate on average. The learned rule starts with nothing, and what it explores "
        "is no hit.",
    )  # fmt: skip
    for rate in RATES:
        for vetoes in (False, True):
            group = [figures[rule] for rule in FIXED if rule[2] == vetoes]
            table.add_row(*best(group, rate).cells(rate))
        for rule in (*PLAIN, VETOED):
            if rule[1] == rate:
                table.add_row(*figures[rule].cells(rate))
        table.add_section()
    return table


def promises(figures: dict[Rule, Figures], streams: int) -> Table:
    """The table of what must hold."""
    table = Table("what must hold", "promised", "seen", "", title="Ours")

    def add(promise: str, least: str, seen: str, *, holds: bool) -> None:
        table.add_row(promise, least, seen, "holds" if holds else "falls short")

    for rule in (*PLAIN, VETOED):
        kept = 1 - figures[rule].over(rule[1]) / streams
        promise = f"{figures[rule].name}: streams that keep it"
        add(promise, f"≥ {KEPT:.0%}", f"{kept:.0%}", holds=kept >= KEPT)
    rule = PLAIN[RATES.index(0.02)]
    plain = [figures[each] for each in FIXED if not each[2]]
    ratio = figures[rule].hits.mean() / best(plain, 0.02).hits.mean()
    promise = f"{figures[rule].name}: hits, of those of the best threshold"
    add(promise, f"≥ {MORE_HITS}x", f"{ratio:.2f}x", holds=ratio >= MORE_HITS)
    taken = float(np.median(figures[rule].milliseconds))
    add(
        "a decision, median",
        f"< {ALLOWED} ms",
        f"{taken:.2f} ms",
        holds=taken < ALLOWED,
    )
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure what a cache serves.")
    parser.add_argument("--streams", type=int, default=STREAMS)
    streams = parser.parse_args().streams
    console = Console(width=120)
    if not BANKING.is_file():
        console.print("Skipped: no cache/banking77.jsonl in $LEAN_DATA.")
        return
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(measured, range(streams))
        served = list(track(found, "Streams", total=streams, console=console))
    figures = {
        rule: Figures(rule, list(each))
        for rule, each in zip(RULES, zip(*served, strict=True), strict=True)
    }
    console.print(quality(figures, streams))
    console.print(promises(figures, streams))


if __name__ == "__main__":
    main()
