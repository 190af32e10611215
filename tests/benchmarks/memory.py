"""What a memory costs and what it forgets: ours, LangChain's, langmem's, and none.

Run: python -m tests.benchmarks.memory [--plot PATH]

A conversation is generated: 400 turns of 60 words a side, with 200 facts of one line.
Recorded agent runs are read from agents/ in the folder named by LEAN_DATA (by default
../shared/data, beside the project). Prompts are billed by the prices of Claude Sonnet
4.5 on Bedrock, with a prompt cache whose lifetime never passes. Summaries come from a
stand-in, the same for all, that repeats every fact it is shown up to a cap; in the
recorded runs it repeats identifiers.

The plot is written twice, as .svg and as .png: to PATH, or as memory.* into it where it
is a folder.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path
from statistics import mean

from langchain_core.messages import BaseMessage
from rich.console import Console
from rich.table import Column, Table

from tests.benchmarks.memory_conversation import (
    FACT,
    FACTS,
    IDENTIFIER,
    RUNS,
    TURNS,
    WORDS,
    Conversation,
    count,
    found_in,
    generated,
    recorded,
)
from tests.benchmarks.memory_methods import (
    ALWAYS,
    LIMIT,
    OURS,
    Rows,
    after_compressions,
    methods,
    played,
    together,
)
from tests.benchmarks.memory_speed import MESSAGES, checks, compression

SPARE = 1.05  # a cap's room for what stands around the facts
RUN_CAP = 400
COMPRESSIONS, LONG = 50, 4_000
RATIO = 1 / 20
SPREAD = 1.5  # times; what does not grow, on a busy machine
NEVER_SUM_UP = ("full history", "trim_messages", "ours, model=None")


def on_conversation(conversation: Conversation, cap: int) -> Rows:
    """The figures of each method on the generated conversation."""
    compared = methods(cap, count(conversation[0].new[:1]))
    return {
        name: played(conversation, method, FACT, cap)
        for name, method in compared.items()
    }


def on_runs(runs: list[Conversation]) -> Rows:
    """The figures of each method on the recorded runs."""
    compared = methods(RUN_CAP, count(runs[0][0].new[:1]))
    return {
        name: together(played(run, method, IDENTIFIER, RUN_CAP) for run in runs)
        for name, method in compared.items()
    }


def comparison(rows: Rows, title: str, known: str) -> Table:
    """What each method costs and keeps."""
    table = Table(
        Column("method", no_wrap=True), "input tokens", "from cache", "largest prompt",
        "summaries", "cache points", "without", "paid", "for summaries",
        f"{known} kept", "at the end", "refused",
        title=title,
        caption=CAPTION,
    )  # fmt: skip
    for name, row in rows.items():
        if name == OURS:
            table.add_section()
        bills = row.answers, row.summaries
        table.add_row(
            name,
            f"{row.input:,}",
            f"{sum(bill.read for bill in bills) / row.input:.0%}",
            f"{row.largest:,}",
            str(row.summaries.calls or "-"),
            f"${sum(bill.cached for bill in bills):.2f}",
            f"${sum(bill.plain for bill in bills):.2f}",
            f"${row.dollars:.2f}",
            f"${row.summaries.dollars:.2f}" if row.summaries.calls else "-",
            f"{mean(row.kept):.1%}",
            f"{mean(row.last):.1%}",
            str(row.refused),
        )
    return table


CAPTION = (
    "Dollars with cache points in every prompt, without any, and paid: the cheaper of "
    "both, for answers and summaries each. Kept: of what was said so far, on average "
    "over the calls, and in the last prompt. Refused: by OpenAI or Bedrock Converse."
)


class Promises:
    """What must hold, and whether it does."""

    def __init__(self) -> None:
        self.table = Table("what must hold", "seen", "", title="Ours")

    def add(self, promise: str, seen: str, *, holds: bool) -> None:
        """Add one."""
        self.table.add_row(promise, seen, "holds" if holds else "falls short")

    def forgetting(self, rows: Rows) -> None:
        """What must hold on the generated conversation."""
        better = rivals(rows)
        seen = ", ".join(better) or "none"
        self.add("no peer is cheaper and keeps more facts", seen, holds=not better)

    def acceptance(self, rows: Rows, where: str) -> None:
        """That no prompt is refused, with any setting."""
        refused = sum(r.refused for name, r in rows.items() if name.startswith(OURS))
        self.add(f"no prompt is refused, {where}", str(refused), holds=not refused)


def survival(cap: int, promises: Promises) -> Table:
    """Whether the first fact outlasts many compressions."""
    table = Table("method", "compressions", "first fact", title="The first fact")
    conversation = generated(turns=LONG)
    first = next(fact for call in conversation for fact in found_in(call.new, FACT))
    for name, method in methods(cap, count(conversation[0].new[:1])).items():
        if name.startswith(NEVER_SUM_UP):
            continue
        times, prompt = after_compressions(conversation, method, COMPRESSIONS, cap)
        kept = first in found_in(prompt, FACT)
        table.add_row(name, str(times), "kept" if kept else "lost")
        if name == ALWAYS:
            promises.add(
                f"the first fact is kept after {COMPRESSIONS} compressions",
                f"{'kept' if kept else 'lost'} after {times}",
                holds=kept and times == COMPRESSIONS,
            )
    return table


def speed(promises: Promises) -> Table:
    """What compressing and checking take."""
    own, theirs = compression()
    promises.add(
        f"{MESSAGES:,} messages are compressed in 1/{1 / RATIO:.0f} of the time of "
        "trim_messages, at most",
        f"1/{theirs / own:.1f}: {own / 1000:,.1f} ms, not {theirs / 1000:,.0f} ms",
        holds=own <= theirs * RATIO,
    )
    times = checks()
    shortest, *_, longest = times.values()
    promises.add(
        "a check that finds nothing to do does not grow with the conversation",
        f"{longest / shortest:.2f} times as long for {max(times) // min(times)} times "
        "as many messages",
        holds=longest <= shortest * SPREAD,
    )
    table = Table(title="Microseconds of a check that finds nothing to do")
    for size in times:
        table.add_column(f"{size:,} messages", justify="right")
    table.add_row(*(f"{each:,.0f}" for each in times.values()))
    return table


def prompt_of_all(run: Conversation) -> list[BaseMessage]:
    """The prompt of a run's last call, if all of it is sent."""
    said = [message for call in run for message in (*call.new, call.answer)]
    return said[:-1]


def rivals(rows: Rows) -> list[str]:
    """The peers that are both cheaper than ours and keep more, in all or at the end."""
    mine = rows[OURS]
    return [
        name
        for name, row in rows.items()
        if not name.startswith(OURS)
        and row.dollars < mine.dollars
        and (mean(row.kept) > mean(mine.kept) or mean(row.last) > mean(mine.last))
    ]


def plot(rows: Rows, path: Path, console: Console) -> None:
    """Draw the plot, where that is possible."""
    if find_spec("matplotlib") is None:
        console.print("The plot is left out: matplotlib is not installed.")
        return
    from tests.benchmarks.memory_plot import draw

    written = " and ".join(map(str, draw(rows, path)))
    console.print(f"The plot is in {written}.")


def main() -> None:
    """Print the tables and draw the plot."""
    parser = argparse.ArgumentParser(
        description="What memories cost and keep, on a generated conversation and on "
        "the recorded runs in $LEAN_DATA."
    )
    parser.add_argument(
        "--plot",
        type=Path,
        default=Path("lean-memory.svg"),
        help="where to draw dollars against facts, as .svg and as .png",
    )
    arguments = parser.parse_args()
    console, promises = Console(width=175), Promises()

    conversation = generated()
    facts = [*found_in([m for call in conversation for m in call.new], FACT)]
    cap = int(SPARE * count("\n".join(facts)))
    rows = on_conversation(conversation, cap)
    title = f"{TURNS} turns of {WORDS} words a side with {FACTS} facts"
    console.print(comparison(rows, f"{title}, summaries of {cap:,} tokens", "facts"))
    promises.forgetting(rows)
    promises.acceptance(rows, "generated conversation")
    plot(rows, arguments.plot, console)
    if RUNS.is_file():
        runs = recorded()
        rows = on_runs(runs)
        long = sum(count(prompt_of_all(run)) > LIMIT for run in runs)
        title = (
            f"{len(runs)} recorded agent runs, {long} of them above {LIMIT:,} tokens"
        )
        title = f"{title}, summaries of {RUN_CAP} tokens"
        console.print(comparison(rows, title, "identifiers"))
        promises.acceptance(rows, "recorded runs")
    else:
        console.print("Skipped: no agents/airline_runs.jsonl in $LEAN_DATA.")
    console.print(survival(cap, promises))
    console.print(speed(promises))
    console.print(promises.table)


if __name__ == "__main__":
    main()
