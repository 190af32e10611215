"""`langchain-lean whatif`."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from langchain_lean import TokenLedger
from langchain_lean.whatif import WhatIf, what_if
from tests.unit.cli.conftest import Run, ask

QUESTIONS = ("What is a list?", "What is a tuple?", "What is a list?")


@pytest.fixture
def with_text(tmp_path: Path) -> Path:
    return ask(tmp_path / "text.db", *QUESTIONS, keep_text=True)


@pytest.fixture
def without_text(tmp_path: Path) -> Path:
    return ask(tmp_path / "plain.db", *QUESTIONS, keep_text=False)


def test_it_says_what_what_if_says(run: Run, with_text: Path) -> None:
    with TokenLedger(f"sqlite:///{with_text}") as ledger:
        expected = what_if(ledger, cheap="claude-haiku-4-5", acceptance=0.5).to_dict()
    how = ("--cheap", "claude-haiku-4-5", "--acceptance", "0.5")
    assert run("whatif", with_text, *how, "--json").json == expected
    out = run("whatif", with_text, *how).out
    assert all(f"\n{lever['name']}  " in out for lever in expected["levers"])


def test_every_option_reaches_it(
    run: Run, with_text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def seen(ledger: TokenLedger, **options: Any) -> WhatIf:
        given.update(options)
        return WhatIf()

    monkeypatch.setattr("langchain_lean.whatif.what_if", seen)
    text = (
        "--max-docs 2 --max-doc-tokens 100 --max-tokens 150 --memory-tokens 20 "
        "--keep-tokens 0 --max-summary-tokens 6 --cheap anthropic:claude-haiku-4-5 "
        "--acceptance 0.5 --threshold 0.9 --tenant-by user_id --tool-calls "
        "--output-cap 1"
    )
    assert run("whatif", with_text, *text.split()).code == 0
    assert given == {
        "max_docs": 2,
        "max_doc_tokens": 100,
        "max_tokens": 150,
        "memory_tokens": 20,
        "keep_tokens": 0,
        "max_summary_tokens": 6,
        "cheap": ("claude-haiku-4-5", "anthropic"),
        "acceptance": 0.5,
        "threshold": 0.9,
        "tenant_by": "user_id",
        "tool_calls": True,
        "output_cap": 1,
    }


def test_the_help_names_every_option_with_its_default(run: Run) -> None:
    said = " ".join(run("whatif", "--help").out.split())
    options = inspect.signature(what_if).parameters.values()
    for option in options:
        if option.name in ("ledger", "embeddings", "on_progress"):
            continue
        flag = f"--{option.name.replace('_', '-')}"
        assert flag in said
        if type(option.default) is int:
            assert re.search(rf" {flag} N [^-]*\(default: {option.default}\)", said)


def test_without_texts_it_says_what_is_left_out(run: Run, without_text: Path) -> None:
    found = run("whatif", without_text, "--json").json
    assert "exact cache" in {lever["name"] for lever in found["levers"]}
    assert "keep_text=True" in found["missing"]["system prompt"]


def test_what_is_missing_is_asked_for_by_flags(run: Run, with_text: Path) -> None:
    missing = run("whatif", with_text, "--json").json["missing"]
    assert missing["cheap first"].endswith("give --cheap MODEL")
    known = run("whatif", with_text, "--cheap", "claude-haiku-4-5", "--json")
    assert "give --acceptance SHARE" in known.json["missing"]["cheap first"]


def test_without_the_extra_it_says_how_to_install_it(
    run: Run, with_text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_lean.embeddings.find_spec", lambda name: None)
    missing = run("whatif", with_text, "--json").json["missing"]
    install = "needs embeddings: pip install 'langchain-lean-ai[local]'"
    assert missing["semantic cache"] == install


def test_an_empty_ledger_is_no_error(run: Run, tmp_path: Path) -> None:
    ran = run("whatif", ask(tmp_path / "empty.db", keep_text=True))
    assert ran.code == 0
    assert "Nothing has been recorded yet" in ran.out


def test_a_cheap_model_may_be_named_with_its_provider(
    run: Run, with_text: Path
) -> None:
    how = ("--acceptance", "1", "--json")
    plain = run("whatif", with_text, "--cheap", "gpt-5-mini", *how)
    named = run("whatif", with_text, "--cheap", "openai:gpt-5-mini", *how)
    assert named.json == plain.json


def test_a_cheap_model_without_a_price_is_an_error_with_near_names(
    run: Run, with_text: Path
) -> None:
    ran = run("whatif", with_text, "--cheap", "claude-haiku-4-6", "--acceptance", "1")
    assert (ran.code, ran.out) == (1, "")
    assert "did you mean claude-haiku-4-5" in ran.err


@pytest.mark.parametrize(
    "wrong",
    [
        "--acceptance 0.5",
        "--cheap gpt-5-mini --acceptance 1.5",
        "--max-docs 0",
        "--max-tokens many",
        "--threshold nan",
        "--keep-tokens 4000",
        "--tenant-by team",
        "--cheap",
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(
    run: Run, with_text: Path, wrong: str
) -> None:
    ran = run("whatif", with_text, *wrong.split())
    assert (ran.code, ran.out) == (2, "")
    error = ran.err.splitlines()[-1]
    assert error.startswith("langchain-lean whatif: error: ")
    assert wrong.split()[0] in error or "--acceptance" in error
    assert "_" not in error.replace("user_id", "").replace("thread_id", "")
