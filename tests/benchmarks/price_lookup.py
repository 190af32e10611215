"""What one price costs in time, against the price library asked directly.

Run: python -m tests.benchmarks.price_lookup
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
from rich.console import Console
from rich.table import Table

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.usage import TokenUsage

AT = datetime(2026, 11, 20, tzinfo=UTC)
CALLS = {
    "gpt-5-mini": ("openai", 1_200, 80, 1_024),
    "claude-sonnet-4-6": ("anthropic", 12_000, 400, 10_000),
    "gemini-2.5-pro": ("google", 250_000, 900, 0),
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0": ("aws", 12_000, 400, 0),
}
ROUNDS = 7
REPEATS = 2_000


def microseconds(call: Callable[[], object]) -> float:
    """The best of several rounds, in microseconds a call."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(REPEATS):
            call()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best / REPEATS


def row(book: PriceBook, model: str) -> tuple[float, float]:
    """Microseconds a call, usage object included: ours, and the library's."""
    provider, inputs, outputs, cached = CALLS[model]

    def ours() -> Decimal:
        usage = TokenUsage(input=inputs, output=outputs, cache_read=cached)
        return book.cost(usage, model, provider, AT).total

    def theirs() -> Decimal:
        usage = genai_prices.Usage(
            input_tokens=inputs, output_tokens=outputs, cache_read_tokens=cached
        )
        return genai_prices.calc_price(
            usage, model, provider_id=provider, genai_request_timestamp=AT
        ).total_price

    assert ours() == theirs(), f"the prices of {model} differ"
    return microseconds(ours), microseconds(theirs)


def main() -> None:
    """Prints the table."""
    start = time.perf_counter()
    book = PriceBook()
    book.cost(TokenUsage(input=1), "gpt-5-mini", "openai", AT)
    first = time.perf_counter() - start
    table = Table("model", "PriceBook", "genai_prices", "times", title="µs a price")
    for model in CALLS:
        ours, theirs = row(book, model)
        table.add_row(model, f"{ours:.1f}", f"{theirs:.1f}", f"{theirs / ours:.1f}")
    console = Console()
    console.print(table)
    console.print(
        f"the first price, loading what is not imported yet: {1000 * first:.0f} ms"
    )


if __name__ == "__main__":
    main()
