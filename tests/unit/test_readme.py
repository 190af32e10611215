"""Every example of the README and the guides runs, and every public name has one."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import langchain_lean

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}


COMMANDS = {"demo", "report", "whatif", "prices", "budget"}
STAND_INS = "from langchain_lean.testing import"
APPLICATION = (STAND_INS, "from fastapi import")
ASKED = (
    "import app, asyncio; asyncio.run(app.ask(app.Question(text='Hello', user='ada')))"
)


def snippets(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


SNIPPETS = [
    pytest.param(snippet, id=f"{name}-{number}")
    for name, text in TEXTS.items()
    for number, snippet in enumerate(snippets(text), 1)
]


def yours() -> dict[str, Any]:
    """The model, the chain and the graph of the reader: the stand-ins of the README."""
    names: dict[str, Any] = {}
    run(next(each for each in snippets(README) if each.startswith(STAND_INS)), names)
    return names


def run(snippet: str, names: dict[str, Any]) -> None:
    exec(compile(snippet, "README.md", "exec"), names)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_an_example_runs_as_it_is_written(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(snippet, yours())


@pytest.mark.parametrize("name", TEXTS)
def test_examples_run_one_after_another_as_a_reader_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = yours()
    for snippet in snippets(TEXTS[name]):
        run(snippet, names)


def test_what_an_example_says_it_prints_is_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    claims = 0
    for snippet in (each for text in TEXTS.values() for each in snippets(text)):
        said = re.findall(r"^ *print\(.*\) +# (.+)$", snippet, re.MULTILINE)
        run(snippet, yours())
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
    imported = set(re.findall(r"\b[A-Za-z_]+\b", " ".join(snippets(README))))
    assert set(langchain_lean.__all__) <= imported


def test_every_public_name_is_explained() -> None:
    explained = set(re.findall(r"\*\*`([A-Za-z_]+)`\*\*", README))
    assert set(langchain_lean.__all__) <= explained


def test_every_guide_and_notebook_is_linked() -> None:
    there = [*(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    assert {path.relative_to(ROOT).as_posix() for path in there} <= set(links(README))


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_somewhere(name: str) -> None:
    folder = ROOT if name == "README.md" else ROOT / "docs"
    for link in links(TEXTS[name]):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = folder / path if path else folder / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def links(text: str) -> list[str]:
    found = re.findall(r'\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"', text)
    return [markdown or html for markdown, html in found]


def anchors(text: str) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


def test_every_command_line_runs_as_it_is_written(tmp_path: Path) -> None:
    lines = re.findall(r"^\$ langchain-lean (.+)$", README, re.MULTILINE)
    commands = [shlex.split(line, comments=True) for line in lines]
    commands.sort(key=lambda command: command[0] != "demo")  # it makes the ledger
    assert {command[0] for command in commands} == COMMANDS
    parts = [code for code in snippets(README) if code.startswith(APPLICATION)]
    (tmp_path / "app.py").write_text("\n".join(parts), encoding="utf-8")
    in_python(["-c", ASKED], tmp_path)
    for command in commands:
        in_python(["-m", "langchain_lean", *command], tmp_path)


def in_python(arguments: list[str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (arguments, done.stderr)


def test_every_target_it_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"[`$] ?make ([\w-]+)", "\n".join(TEXTS.values())):
        assert f"\n{target}:" in makefile
