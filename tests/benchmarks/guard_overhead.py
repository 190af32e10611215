"""What a guard adds to a call, counting in memory: its estimates, claims and prices.

Run with `python -m tests.benchmarks.guard_overhead`. A store that is asked over the
network adds its two round trips.
"""

import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

from langchain_lean import Budget, BudgetGuard
from tests.benchmarks.ledger_overhead import (
    SIZES,
    InstantModel,
    Nothing,
    chat,
    microseconds,
)

BUDGETS = (
    Budget(tokens=10**12, per="day"),
    Budget(usd="1000000", per="day", by="user_id"),
    Budget(input_tokens=10**6, per="call"),
    Budget(usd="1000000", per="month", name="team"),
    Budget(calls=10**9, per="run"),
    Budget(calls=10**9, per="hour"),
)
COUNTS = (1, 2, 6)
REPEATS = 9
ROUNDS = {1: 200, 20: 150, 500: 30}


def overhead(size: int) -> dict[int, float]:
    """Microseconds added by guards of so many budgets, median of paired rounds."""
    model, messages = InstantModel(), chat(size)
    configs: dict[int, Any] = {0: {"callbacks": [Nothing()]}}
    for count in COUNTS:
        configs[count] = {"callbacks": [BudgetGuard(*BUDGETS[:count])]}
    times: dict[int, list[float]] = {count: [] for count in configs}
    for config in configs.values():
        microseconds(lambda config=config: model.invoke(messages, config), ROUNDS[size])
    for _ in range(REPEATS):
        for count, config in configs.items():
            spent = microseconds(
                lambda config=config: model.invoke(messages, config), ROUNDS[size]
            )
            times[count].append(spent)
    return {
        count: statistics.median(
            own - floor for own, floor in zip(times[count], times[0], strict=True)
        )
        for count in COUNTS
    }


def main() -> None:
    """Print the table."""
    table = Table(title="Microseconds a guard adds to an invoke")
    table.add_column("messages")
    for count in COUNTS:
        table.add_column(f"{count} budget{'s' * (count > 1)}", justify="right")
    for size in SIZES:
        added = overhead(size)
        table.add_row(str(size), *(f"{added[count]:.0f}" for count in COUNTS))
    Console().print(table)


if __name__ == "__main__":
    main()
