"""How good routing is on recorded answers, and what it costs.

Run: python -m tests.benchmarks.routing [--plot PATH]

Reads routing/ and measure.py, which defines the figures, from the folder named by
LEAN_DATA (by default ../shared/data, beside the project): answers of Mixtral-8x7B and
GPT-4 as RouteLLM recorded them. Of GSM8K half of the rows are fitted to and the other
half is tested on, of MMLU 1,500 and the rest; figures are means over 20 seeds, with
their deviation. The plot is written twice, as .svg and as .png: to PATH, or as
routing.* into it where it is a folder.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Column, Table
from threadpoolctl import threadpool_limits

from langchain_lean.routing.learned import LearnedPolicy
from tests.benchmarks.routing_data import DATA, NAMES, Floats, Set
from tests.benchmarks.routing_methods import (
    FIT,
    LEVELS,
    METHODS,
    SEEDS,
    Figures,
    figures,
    learned,
    splits,
)
from tests.benchmarks.routing_promise import (
    COMPARED,
    CONFIDENCE,
    Draws,
    draws,
    promise_table,
)
from tests.benchmarks.routing_speed import ALLOWED, Times, decisions, speed_table

# CPT(50), CPT(80) and APGR of RouteLLM's routers, arXiv:2406.18665v4, with the training
# data that served them best: the arena's, and answers a judge graded (GSM8K) or that
# are known (MMLU).
PUBLISHED = {
    "gsm8k": {
        "RouteLLM, BERT": (44.76, 79.09, 0.531),
        "RouteLLM, causal LLM": (33.64, 63.26, 0.622),
        "RouteLLM, matrix factorization": (38.82, 72.62, 0.565),
        "RouteLLM, similarity-weighted": (41.21, 72.20, 0.568),
    },
    "mmlu": {
        "RouteLLM, BERT": (41.30, 72.20, 0.572),
        "RouteLLM, causal LLM": (35.49, 70.31, 0.600),
        "RouteLLM, matrix factorization": (35.46, 71.40, 0.597),
        "RouteLLM, similarity-weighted": (35.40, 71.55, 0.603),
    },
}
LEAST_AREA = {"gsm8k": 0.67, "mmlu": 0.62}
MOST_CALLS = 26.0
LEAST_CHEAP = 0.1

Rows = dict[str, Figures]


def quality(data: Set, rows: Rows) -> Table:
    """How much of the gap each method recovers with how many strong calls."""
    size = FIT[data.name]
    fitted = f"{size:.0%}" if size < 1 else f"{size:,}"
    table = Table(
        Column("method", no_wrap=True), "APGR", "CPT(50)", "CPT(80)",
        "cheap at 50 %", "strong calls saved, 50 %", "80 %",
        title=f"{data.name.upper()}: {len(data.rows):,} rows, fitted to {fitted} of "
        f"them, {SEEDS} seeds",
        caption=QUALITY,
    )  # fmt: skip
    chance = rows["random"].calls.mean(axis=0)
    for name, row in rows.items():
        calls = row.calls.mean(axis=0)
        table.add_row(
            name,
            spread(row.area, ".3f"),
            *(spread(column, ".1f") for column in row.calls.T),
            f"{100 - calls[0]:.1f} %",
            *(f"{ratio:.2f}x" for ratio in chance / calls),
        )
    table.add_section()
    for name, (*shares, area) in PUBLISHED[data.name].items():
        ratios = [
            f"{chance / share:.2f}x"
            for chance, share in zip(LEVELS, shares, strict=True)
        ]
        cells = [f"{share:.1f}" for share in shares]
        table.add_row(name, f"{area:.3f}", *cells, f"{100 - shares[0]:.1f} %", *ratios)
    return table


QUALITY = (
    "CPT(x): % of strong calls to recover x % of the gap between the models. Cheap at "
    "50 %: requests that the cheap model then answers. Saved: strong calls of random "
    "routing at that quality, by ours (RouteLLM's cost ratio). RouteLLM's routers see "
    "no answer; figures as published, on the whole sets."
)


def money(data: Set, rows: Rows) -> Table:
    """What requests cost at the quality of CPT(50) and CPT(80)."""
    cheap, strong = (1_000 * each.mean() for each in data.costs)
    table = Table(
        Column("method", no_wrap=True), "at 50 %", "at 80 %",
        "of random's, 50 %", "80 %",
        title=f"{data.name.upper()}: dollars per 1,000 requests at part of the gap",
        caption=f"The cheap model alone ${cheap:.3f}, the strong one alone "
        f"${strong:.3f}: recorded texts by our count of tokens, our price table"
        f"{'' if data.answered else '; answers as one token'}. Methods that see the "
        "answer pay the cheap model for every request.",
    )  # fmt: skip
    chance = rows["random"].dollars.mean(axis=0)
    for name, row in rows.items():
        dollars = row.dollars.mean(axis=0)
        shares = [f"{share:.0%}" for share in dollars / chance]
        table.add_row(name, *(spread(c, ".3f") for c in row.dollars.T), *shares)
    return table


def spread(values: Floats, form: str) -> str:
    """A mean, and the deviation over the seeds."""
    return f"{values.mean():{form}} (±{values.std():{form}})"


class Promises:
    """What must hold, and whether it does."""

    def __init__(self) -> None:
        self.table = Table("what must hold", "promised", "seen", "", title="Ours")

    def add(self, promise: str, least: str, seen: str, *, holds: bool) -> None:
        """Add one."""
        verdict = "holds" if holds else "falls short"
        self.table.add_row(promise, least, seen, verdict)


def promises(rows: dict[str, Rows], kept: Draws, speed: dict[str, Times]) -> Table:
    """The table of what must hold."""
    found = Promises()
    for name, least in LEAST_AREA.items():
        area = rows[name]["LearnedPolicy"].area.mean()
        promise = f"{name.upper()}: APGR of LearnedPolicy"
        found.add(promise, f"≥ {least}", f"{area:.3f}", holds=area >= least)
    calls = rows["gsm8k"]["LearnedPolicy"].calls[:, 0].mean()
    promise = "GSM8K: CPT(50) of LearnedPolicy"
    most = f"≤ {MOST_CALLS:g} %"
    found.add(promise, most, f"{calls:.1f} %", holds=calls <= MOST_CALLS)
    promise = "calibrate: draws that keep the promise"
    holds = kept.kept >= CONFIDENCE
    found.add(promise, f"≥ {CONFIDENCE:.0%}", f"{kept.kept:.1%}", holds=holds)
    cheap = kept.cheap.mean()
    promise = "calibrate: requests served cheap"
    found.add(
        promise, f"≥ {LEAST_CHEAP:.0%}", f"{cheap:.1%}", holds=cheap >= LEAST_CHEAP
    )
    own = float(np.median(speed["LearnedPolicy"].own))
    promise = "a decision without embeddings, median"
    found.add(promise, f"< {ALLOWED:g} ms", f"{own:.2f} ms", holds=own < ALLOWED)
    return found.table


def check_shortcut(data: Set) -> None:
    """The benchmark fits to features it has read once; that is what `fit` does."""
    seed, fit, test = next(splits(data))
    policy = LearnedPolicy.fit([data.outcomes[place] for place in fit])
    scores = policy.scores([data.outcomes[place] for place in test])
    seen = "answers" if data.answered else "questions"
    expected = 1 - learned(seen)(data, fit, seed)[test]
    np.testing.assert_allclose(scores, expected, atol=1e-9)


def plot(rows: Rows, path: Path, console: Console) -> None:
    """Draw the plot, where that is possible."""
    if find_spec("matplotlib") is None:
        console.print("The plot is left out: matplotlib is not installed.")
        return
    from tests.benchmarks.routing_plot import draw

    published = {name: row[:2] for name, row in PUBLISHED["gsm8k"].items()}
    files = " and ".join(map(str, draw(rows, published, path)))
    console.print(f"The plot is in {files}.")


def main() -> None:
    """Print the tables and draw the plot."""
    parser = argparse.ArgumentParser(description="Measure the learned policy.")
    parser.add_argument("--plot", type=Path, default=Path("lean-routing.svg"))
    arguments = parser.parse_args()
    console = Console(width=160)
    if not all((DATA / "routing" / f"{name}.jsonl").is_file() for name in NAMES):
        console.print("Skipped: no routing/*.jsonl in $LEAN_DATA.")
        return
    with threadpool_limits(1):  # fits are small; threads wait for one another
        measured(console, arguments.plot)


def measured(console: Console, path: Path) -> None:
    """Measure all of it."""
    sets = {name: Set.read(name) for name in NAMES}
    rows: dict[str, Rows] = {}
    for name, data in sets.items():
        check_shortcut(data)
        methods = METHODS[name].items()
        rows[name] = {each: figures(data, method) for each, method in methods}
        console.print(quality(data, rows[name]))
        console.print(money(data, rows[name]))
    kept = {name: draws(sets["gsm8k"], score) for name, score in COMPARED.items()}
    console.print(promise_table(kept))
    speed = decisions(sets["gsm8k"])
    console.print(speed_table(speed))
    plot(rows["gsm8k"], path, console)
    console.print(promises(rows, kept["LearnedPolicy"], speed))


if __name__ == "__main__":
    main()
