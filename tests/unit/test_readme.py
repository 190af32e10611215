"""Every example of the README runs, and every public name has one."""

import re
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph

import langchain_lean
from langchain_lean.testing import ScriptedChatModel

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def your_model() -> ScriptedChatModel:
    usage: Any = {"input_tokens": 1200, "output_tokens": 80, "total_tokens": 1280}
    message = AIMessage("A ledger is a book of accounts.", usage_metadata=usage)
    return ScriptedChatModel(
        responses=[message], loop=True, model_name="gpt-5-mini", provider="openai"
    )


def your_graph() -> Any:
    class State(TypedDict):
        question: str

    def draft(state: State) -> Any:
        return {"question": str(your_model().invoke(state["question"]).text)}

    builder: Any = StateGraph(State)
    builder.add_node("draft", draft)
    builder.add_edge(START, "draft")
    return builder.compile()


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_an_example_runs_as_it_is_written(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = your_model()
    yours = {"chain": model, "model": model, "graph": your_graph()}
    exec(compile(snippet, "README.md", "exec"), yours)


def test_what_an_example_says_it_prints_is_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    claims = 0
    for snippet in SNIPPETS:
        said = re.findall(r"^ *print\(.*\) +# (.+)$", snippet, re.MULTILINE)
        yours = {"chain": your_model(), "model": your_model(), "graph": your_graph()}
        exec(compile(snippet, "README.md", "exec"), yours)
        printed = capsys.readouterr().out
        for claim in said:
            if claim.startswith("{"):
                continue  # values are left out there
            parts = [part.strip(" )") for part in claim.split("...")]
            assert any(
                all(part in line for part in parts) if len(parts) > 1 else line == claim
                for line in printed.splitlines()
            ), f"{claim!r} is not printed: {printed!r}"
            claims += 1
    assert claims >= 4


def test_every_public_name_has_an_example() -> None:
    imported = set(re.findall(r"\b[A-Za-z_]+\b", " ".join(SNIPPETS)))
    assert set(langchain_lean.__all__) <= imported


def test_every_command_it_names_is_there() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"[`$] ?make (\w+)", README):
        assert f"\n{target}:" in makefile
