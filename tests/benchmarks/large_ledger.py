"""How long the report of a ledger of 1,000,000 calls takes, from its SQLite file.

Run with `python -m tests.benchmarks.large_ledger [CALLS]`. The file is written first,
through the store, as a year of an application with 10,000 users would leave it: five
models, one of them without a price, and a saving with every fifth call.
"""

import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from rich.console import Console
from rich.progress import track
from rich.table import Table

from langchain_lean import PriceBook, TokenUsage
from langchain_lean.accounting.anatomy import Anatomy
from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.accounting.savings import Saving
from langchain_lean.accounting.store import Batch, SQLiteStore

CALLS = 1_000_000
AT_ONCE = 5_000
RUNS = 5
AIM = 2.0  # seconds
START = datetime(2026, 1, 1, tzinfo=UTC)
MODELS = {
    ("gpt-5-mini", "openai"): 50,
    ("claude-haiku-4-5", "anthropic"): 30,
    ("claude-sonnet-4-5", "anthropic"): 10,
    ("text-embedding-3-small", "openai"): 9,
    ("my-llm", "mine"): 1,
}
REPORT = """
import time
from langchain_lean import TokenLedger
started = time.perf_counter()
with TokenLedger({url!r}) as ledger:
    text = str(ledger.report())
print(time.perf_counter() - started)
"""


def calls(count: int, prices: PriceBook) -> Iterator[LedgerEntry]:
    """Calls at even distances over a year, with their costs."""
    chance = random.Random(1)
    names, weights = [*MODELS], [*MODELS.values()]
    for number in range(count):
        model, provider = chance.choices(names, weights)[0]
        used = TokenUsage(
            input=chance.randint(50, 4_000), output=chance.randint(5, 900)
        )
        run_id = str(UUID(int=chance.getrandbits(128)))
        yield LedgerEntry(
            run_id=run_id,
            trace_id=run_id,
            start=START + timedelta(seconds=number * 365 * 86_400 / count),
            kind="embedding" if "embedding" in model else "chat",
            model=model,
            provider=provider,
            node=chance.choice(("draft", "answer", "research", None)),
            source=chance.choice((None, None, None, "routing")),
            user_id=f"user-{chance.randrange(10_000)}",
            seconds=chance.random(),
            usage=used,
            anatomy=Anatomy(retrieved=used.input, output=used.output),
        ).priced(prices)


def saving(entry: LedgerEntry, prices: PriceBook) -> Saving:
    """What a router might have saved at a call."""
    return Saving(
        lever="routing",
        id=entry.run_id,
        avoided=entry.usage,
        model="claude-sonnet-4-5",
        provider="anthropic",
        kind="counterfactual",
        baseline="the strong model",
        at=entry.start,
    ).priced(prices)


def write(path: Path, count: int) -> float:
    """Write a ledger's file.

    Returns:
        The seconds that the store took.
    """
    prices = PriceBook()
    source = calls(count, prices)
    seconds = 0.0
    with closing(SQLiteStore(path)) as store:
        for start in track(range(0, count, AT_ONCE), "Writing", transient=True):
            entries = [next(source) for _ in range(min(AT_ONCE, count - start))]
            batch = Batch(
                entries=entries, savings=[saving(e, prices) for e in entries[::5]]
            )
            began = time.perf_counter()
            store.add(batch)
            seconds += time.perf_counter() - began
    return seconds


def seconds_of(command: list[str]) -> float:
    """The seconds a command takes from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def inside(path: Path) -> float:
    """The seconds from opening a ledger to its printed report, in a new process."""
    code = REPORT.format(url=f"sqlite:///{path}")
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def without_sums(path: Path) -> None:
    """Make of a file one that was written before sums were kept."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE entries_sums")
        connection.execute("DROP TABLE savings_sums")
        connection.execute("DROP INDEX savings_to_price")
        connection.execute("DELETE FROM meta WHERE name LIKE '%_sums'")
        connection.execute("PRAGMA user_version = 3")


def main(count: int) -> None:
    """Write the file, and time the report of it."""
    table = Table("what", "median", "slowest", title=f"a ledger of {count:,} calls")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lean.db"
        written = write(path, count)
        command = [sys.executable, "-m", "langchain_lean", "report", str(path)]
        measured = {
            "open it and print the report, in a new process": [
                inside(path) for _ in range(RUNS)
            ],
            "`langchain-lean report`, imports included": [
                seconds_of(command) for _ in range(RUNS)
            ],
        }
        without_sums(path)
        measured["the first report of a file of an older version"] = [inside(path)]
        size = path.stat().st_size / 1e6
    for name, seconds in measured.items():
        table.add_row(
            name, f"{statistics.median(seconds):.2f} s", f"{max(seconds):.2f} s"
        )
    console = Console(width=100)
    console.print(table)
    console.print(f"{size:,.0f} MB, written at {count / written:,.0f} calls a second.")
    slowest = max(measured["`langchain-lean report`, imports included"])
    verdict = "holds" if slowest < AIM else "falls short"
    console.print(f"Under {AIM:.0f} s: {verdict}.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
