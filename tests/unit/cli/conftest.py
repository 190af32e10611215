"""What the tests of the command line share: ledgers on disk, and a way to run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from langchain_lean import TokenLedger, TokenUsage
from langchain_lean.cli import main
from langchain_lean.testing import ScriptedChatModel

MODEL, PROVIDER = "claude-sonnet-4-5", "anthropic"
DAYS = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Run:
    """Runs a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str | Path) -> Ran:
        code = main([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    return run_it


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A ledger of Ada's and Bob's calls on two days; Ada's cost more."""
    path = tmp_path / "recorded.db"
    with TokenLedger(f"sqlite:///{path}") as ledger:
        for day, at in enumerate(DAYS):
            for user, tokens in (("bob", 100), ("ada", 1_000)):
                ledger.record(
                    model=MODEL,
                    provider=PROVIDER,
                    usage=TokenUsage(input=tokens + day, output=10),
                    user_id=user,
                    at=at,
                )
    return path


def ask(path: Path, *questions: str, keep_text: bool) -> Path:
    """Have a stand-in answer questions, and a ledger record that."""
    model = ScriptedChatModel(
        responses=["An answer."], loop=True, model_name=MODEL, provider=PROVIDER
    )
    with TokenLedger(f"sqlite:///{path}", keep_text=keep_text) as ledger:
        for question in questions:
            prompt = [SystemMessage("You help."), HumanMessage(question)]
            model.invoke(prompt, config={"callbacks": [ledger]})
    return path
