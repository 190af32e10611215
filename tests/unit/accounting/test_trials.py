"""An answer that was rejected is, in the ledger, a call of whoever rejected it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

from langchain_lean import TokenLedger, track
from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.accounting.recording.events import TRIAL
from langchain_lean.accounting.reporting import report_rejected
from langchain_lean.testing import ScriptedChatModel

MODEL = ScriptedChatModel(
    responses=["So."], loop=True, model_name="gpt-5-mini", provider="openai"
)


def tried(trial: str, ledger: TokenLedger | None = None, model: Any = MODEL) -> None:
    config: Any = {"metadata": {TRIAL: trial}}
    if ledger is not None:
        config["callbacks"] = [ledger]
    model.invoke("Why?", config)


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> TokenLedger:
    where = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'lean.db'}"}
    return TokenLedger(where[request.param])


def sources(ledger: TokenLedger) -> list[str | None]:
    return [entry.source for entry in ledger.entries()]


def test_only_the_rejected_call_changes_hands(ledger: TokenLedger) -> None:
    tried("a", ledger)
    tried("b", ledger)
    report_rejected("a", source="routing", callbacks=[ledger])
    assert sorted(map(str, sources(ledger))) == ["None", "routing"]
    own, total = ledger.totals(by="source")["routing"], ledger.totals()
    assert total.calls == 2
    assert total.cost == 2 * own.cost > 0
    assert ledger.savings().own_cost == {"routing": own.cost}


def test_one_that_was_written_before_changes_hands_too(ledger: TokenLedger) -> None:
    tried("a", ledger)
    ledger.flush()
    report_rejected("a", source="routing", callbacks=[ledger])
    assert sources(ledger) == ["routing"]
    assert ledger.totals().calls == 1


def test_every_call_of_a_trial_changes_hands(ledger: TokenLedger) -> None:
    flaky = ScriptedChatModel(responses=[ConnectionError("gone"), "So."])
    tried("a", ledger, flaky.with_retry(wait_exponential_jitter=False))
    report_rejected("a", source="routing", callbacks=[ledger])
    assert sources(ledger) == ["routing", "routing"]


def test_a_trial_that_nobody_knows_changes_nothing(ledger: TokenLedger) -> None:
    tried("a", ledger)
    report_rejected("b", source="routing", callbacks=[ledger])
    assert sources(ledger) == [None]


def test_a_rejection_reaches_the_ledger_of_track() -> None:
    with track() as ledger:
        tried("a")
        report_rejected("a", source="routing")
    assert sources(ledger) == ["routing"]


async def test_a_rejection_reaches_the_ledger_of_the_run() -> None:
    async def run(_: str) -> None:
        await MODEL.ainvoke("Why?", {"metadata": {TRIAL: "a"}})
        report_rejected("a", source="routing")

    ledger = TokenLedger()
    await RunnableLambda(run).ainvoke("", {"callbacks": [ledger]})
    assert sources(ledger) == ["routing"]


@pytest.mark.parametrize("written", [False, True])
def test_an_exporter_is_told_of_each_call_once(written: bool) -> None:
    told: list[LedgerEntry] = []

    def exporter(entries: Sequence[LedgerEntry]) -> None:
        told.extend(entries)

    ledger = TokenLedger(exporters=[exporter])
    tried("a", ledger)
    if written:
        ledger.flush()
    report_rejected("a", source="routing", callbacks=[ledger])
    ledger.flush()
    assert len(told) == 1


def test_of_many_trials_the_newest_are_remembered() -> None:
    ledger = TokenLedger()
    for number in range(1_001):
        tried(str(number), ledger)
    for number in range(1_001):
        report_rejected(str(number), source="routing", callbacks=[ledger])
    by_source = ledger.totals(by="source")
    assert by_source["routing"].calls == 1_000
    assert by_source[None].calls == 1
