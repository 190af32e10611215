"""What a ledger costs: time added to a call, throughput, memory, import.

Run with `python -m tests.benchmarks.ledger_overhead`.
"""

import gc
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    ChatResult,
    LLMResult,
)
from langchain_core.utils.uuid import uuid7
from rich.console import Console
from rich.table import Table

from langchain_lean import TokenLedger, scope

USAGE = {"input_tokens": 900, "output_tokens": 40, "total_tokens": 940}
SIZES = (1, 20, 500)


class InstantModel(BaseChatModel):
    """Answers at once, so that what is measured is LangChain and the handlers."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_name": "gpt-5-mini"}

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage(
            "Yes.",
            usage_metadata=USAGE,
            response_metadata={"model_name": "gpt-5-mini", "model_provider": "openai"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        run_manager = kwargs.get("run_manager")
        for text in ("Yes", "."):
            last = text == "."
            chunk = ChatGenerationChunk(
                message=AIMessageChunk(
                    text,
                    usage_metadata=USAGE if last else None,
                    response_metadata={"model_name": "gpt-5-mini"} if last else {},
                )
            )
            if run_manager:
                run_manager.on_llm_new_token(text, chunk=chunk)
            yield chunk


class Nothing(BaseCallbackHandler):
    """The floor: a handler that does nothing where the others do something."""

    run_inline = True

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, and keep LangChain from formatting the messages as text."""


def chat(size: int) -> list[BaseMessage]:
    """A chat of short messages."""
    return [
        (HumanMessage if index % 2 == 0 else AIMessage)(
            f"Message {index}: please tell me more about it, in a sentence or two."
        )
        for index in range(size)
    ]


def microseconds(call: Callable[[], object], rounds: int) -> float:
    """Mean time of a call over some rounds."""
    started = time.perf_counter()
    for _ in range(rounds):
        call()
    return (time.perf_counter() - started) / rounds * 1e6


def streamed(model: BaseChatModel, messages: list[BaseMessage], config: Any) -> None:
    """Read a stream to its end."""
    for _ in model.stream(messages, config):
        pass


def overhead(mode: str, size: int, *, repeats: int = 15) -> dict[str, float]:
    """Microseconds that each handler adds to a call, median of paired rounds."""
    model, messages = InstantModel(), chat(size)
    rounds = {1: 300, 20: 250, 500: 60}[size]
    ledger = TokenLedger()
    handlers: dict[str, Sequence[BaseCallbackHandler]] = {
        "nothing": [Nothing()],
        "usage handler": [UsageMetadataCallbackHandler()],
        "ledger": [ledger],
    }

    def call(given: Sequence[BaseCallbackHandler]) -> Callable[[], object]:
        config: Any = {"callbacks": list(given), "metadata": {"user_id": "ada"}}
        if mode == "stream":
            return lambda: streamed(model, messages, config)
        return lambda: model.invoke(messages, config)

    calls = {name: call(given) for name, given in handlers.items()}
    for warm in calls.values():
        microseconds(warm, rounds)
    ledger.flush()
    added: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        times = {name: microseconds(each, rounds) for name, each in calls.items()}
        for name, taken in times.items():
            added[name].append(taken - times["nothing"])
    floor = microseconds(calls["nothing"], rounds)
    medians = {name: statistics.median(values) for name, values in added.items()}
    return {**medians, "nothing": floor}


def growth() -> tuple[float, float]:
    """Microseconds an `invoke` takes with an empty ledger and after 100,000 calls."""
    model, messages, ledger = InstantModel(), chat(1), TokenLedger()
    config: Any = {"callbacks": [ledger]}
    ledger.totals()

    def median() -> float:
        def call() -> object:
            return model.invoke(messages, config)

        return statistics.median(microseconds(call, 300) for _ in range(9))

    median()
    empty = median()
    feed(ledger, 100_000)
    ledger.flush()
    return empty, median()


def feed(ledger: TokenLedger, count: int) -> float:
    """Send calls through the handler itself; returns seconds."""
    prompt = [[HumanMessage("What is the capital of France?")]]
    message = AIMessage(
        "Paris.",
        usage_metadata=USAGE,
        response_metadata={"model_name": "gpt-5-mini", "model_provider": "openai"},
    )
    result = LLMResult(generations=[[ChatGeneration(message=message)]])
    metadata = {
        "ls_provider": "openai",
        "ls_model_name": "gpt-5-mini",
        "user_id": "ada",
        "langgraph_node": "answer",
    }
    run_ids = [uuid7() for _ in range(count)]  # LangChain makes them, not the ledger
    started = time.perf_counter()
    for run_id in run_ids:
        ledger.on_chat_model_start({}, prompt, run_id=run_id, metadata=metadata)
        ledger.on_llm_end(result, run_id=run_id)
    return time.perf_counter() - started


def memory(count: int) -> list[tuple[int, float]]:
    """Resident megabytes while calls go through a ledger in memory."""
    ledger, seen = TokenLedger(), []
    done = 0
    while done < count:
        feed(ledger, 100_000)
        done += 100_000
        ledger.totals()
        gc.collect()
        seen.append((done, _resident()))
    if ledger.totals().calls != count:
        message = f"{ledger.totals().calls} of {count} calls are in the totals"
        raise AssertionError(message)
    return seen


def throughput(count: int) -> float:
    """Entries a second through the handler into a SQLite file, to the last one."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = TokenLedger(f"sqlite:///{Path(folder) / 'lean.db'}")
        feed(ledger, 2_000)
        ledger.flush()
        seconds = feed(ledger, count)
        started = time.perf_counter()
        ledger.flush()
        seconds += time.perf_counter() - started
        if ledger.totals().calls != count + 2_000:
            message = "entries are missing in the file"
            raise AssertionError(message)
        ledger.close()
    return count / seconds


def import_milliseconds(statement: str, repeats: int = 9) -> float:
    """Median time to import in a fresh interpreter, less its own start."""
    code = (
        f"import time; t = time.perf_counter(); {statement}; "
        "print(time.perf_counter() - t)"
    )
    times = [
        float(subprocess.check_output([sys.executable, "-c", code]))
        for _ in range(repeats)
    ]
    return statistics.median(times) * 1000


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    """Print the tables."""
    console = Console()
    table = Table(
        title="Microseconds added to a call by a handler, median of 15 rounds"
    )
    handlers = ("nothing", "usage handler", "ledger")
    for column in ("call", "messages", "without", *handlers[1:], "limit"):
        table.add_column(column, justify="right")
    with scope(thread_id="t1"):
        for mode in ("invoke", "stream"):
            for size in SIZES:
                row = overhead(mode, size)
                figures = [f"{row[name]:.0f}" for name in handlers]
                table.add_row(mode, str(size), *figures, f"{60 + 0.3 * size:.0f}")
    console.print(table)
    console.print(
        "without: the whole call with a handler that does nothing, which the others "
        "are compared with"
    )
    empty, full = growth()
    console.print(
        f"an invoke: {empty:.0f} µs with an empty ledger, "
        f"{full:.0f} µs after 100,000 calls"
    )
    rate = statistics.median(throughput(50_000) for _ in range(3))
    console.print(f"SQLite: {rate:,.0f} entries a second (at least 20,000)")
    base = import_milliseconds(
        "from langchain_core.callbacks import BaseCallbackHandler"
    )
    ours = import_milliseconds("from langchain_lean import TokenLedger")
    console.print(
        f"import: {ours:.0f} ms, {ours - base:.0f} ms more than the callbacks of "
        "LangChain (at most 50)"
    )
    for calls, megabytes in memory(1_000_000):
        console.print(f"{calls:>9,} calls: {megabytes:,.0f} MB resident")


if __name__ == "__main__":
    main()
