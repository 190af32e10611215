"""The command line as a whole: help, exit codes, what a shell sees."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import langchain_lean
from langchain_lean import TokenLedger
from langchain_lean.budgets.storage import storage_from_url
from langchain_lean.cli import main
from tests.unit.cli.conftest import Run, ask

COMMANDS = ("demo", "report", "whatif", "prices", "budget")
OWN = COMMANDS[1:]
STYLED, COLORED = re.compile(r"\x1b\[[\d;]*m"), re.compile(r"\x1b\[(\d;)*3\d")
HEAVY = ("langchain_core", "langgraph", "numpy", "genai_prices", "rich")


@pytest.fixture
def quota_file(tmp_path: Path) -> Path:
    path = tmp_path / "q.db"
    with storage_from_url(f"sqlite:///{path}") as storage:
        storage.read("key")
    return path


def in_a_shell(
    *arguments: str | Path, **how: object
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "langchain_lean", *map(str, arguments)]
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, stderr=subprocess.PIPE, text=True, check=False, **how
    )


def test_without_a_command_it_helps(run: Run) -> None:
    ran = run()
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == run("--help").out
    for name in COMMANDS:
        assert f"\n  {name}" in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_helps_under_its_own_name(run: Run, name: str) -> None:
    ran = run(name, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"usage: langchain-lean {name}")
    assert "--json" in ran.out


@pytest.mark.parametrize("name", OWN)
def test_help_ends_on_an_example(run: Run, name: str) -> None:
    _, _, example = run(name, "--help").out.partition("\nexample:\n")
    assert example.startswith(f"  langchain-lean {name} ")


def test_the_exit_codes_stand_in_the_help(run: Run) -> None:
    assert "exit codes:\n  0  " in run("--help").out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom langchain_lean.cli import main\n"
        f"for name in ((), *[(n,) for n in {OWN!r}]): main([*name, '--help'])\n"
        f"print('loaded', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert found.splitlines()[-1] == "loaded []"


def test_the_version_is_the_package_s(run: Run) -> None:
    ran = run("--version")
    assert (ran.code, ran.out) == (0, f"langchain-lean {langchain_lean.__version__}\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["--json"], ["report"]])
def test_wrong_usage_is_told_on_stderr_with_code_2(
    run: Run, arguments: list[str]
) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "error: " in ran.err
    assert ran.err.endswith(" --help.\n")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("name", OWN)
def test_a_flag_that_is_not_there_is_one_sentence_that_leads_to_the_help(
    run: Run, name: str
) -> None:
    ran = run(name, "--nonsense")
    assert (ran.code, ran.out) == (2, "")
    assert re.fullmatch(
        rf"langchain-lean {name}: error: [^\n]+; see langchain-lean {name} --help\.\n",
        ran.err,
    )


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["prices", "gpt-5-mini"], 0),
        (["prices", "zzzz"], 1),
        (["nonsense"], 2),
        (
            [
                "budget",
                "reset",
                "--store",
                "sqlite:///q.db",
                "--budget",
                "usd=1 per=day",
            ],
            2,
        ),
    ],
)
def test_a_stream_that_is_closed_is_no_error_of_its_own(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    quota_file: Path,
    closed: str,
    asked: list[str],
    code: int,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, closed, None)
        assert main(asked) == code
        assert getattr(sys, closed) is None


def test_an_interrupt_ends_it_quietly(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "interrupted_app.py").write_text("raise KeyboardInterrupt")
    monkeypatch.setattr(sys, "path", [*sys.path])
    ran = run("budget", "status", "--guard", "interrupted_app:guard")
    assert (ran.code, ran.out, ran.err) == (128 + signal.SIGINT, "", "")


def test_a_shell_gets_the_report_and_code_0(recorded: Path) -> None:
    ran = in_a_shell("report", recorded, stdout=subprocess.PIPE)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("langchain_lean · 4 calls")


def test_a_shell_gets_code_1_and_one_sentence_where_it_failed(tmp_path: Path) -> None:
    ran = in_a_shell("report", tmp_path / "no.db", stdout=subprocess.PIPE)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"There is no ledger {str(tmp_path / 'no.db')!r}.\n"


def test_a_reader_that_is_gone_ends_it_quietly(recorded: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        ran = in_a_shell("report", recorded, "--json", stdout=write)
    finally:
        os.close(write)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, "")


def test_a_terminal_without_unicode_is_no_error(recorded: Path) -> None:
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    ran = in_a_shell("report", recorded, stdout=subprocess.PIPE, env=env)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("langchain_lean ? 4 calls")


def test_a_narrow_terminal_is_shown_every_figure(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("prices", "claude-sonnet-4-5", "--input", "5", "--at", "2026-01-31")
    plain = run(*asked).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    shown = run(*asked).out
    assert STYLED.search(shown)
    assert STYLED.sub("", shown).split() == plain.split()


def test_there_is_no_color_where_none_is_wanted(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = ask(tmp_path / "asked.db", "What is a list?", keep_text=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert COLORED.search(run("whatif", path).out)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLORED.search(run("whatif", path).out)


@pytest.mark.parametrize("flag", ["--output", "--ledger"])
@pytest.mark.parametrize("name", ["{}", "{}-wal", "{}-shm", "{}-journal"])
def test_the_demo_replaces_no_file_of_a_ledger(
    run: Run, recorded: Path, flag: str, name: str
) -> None:
    with TokenLedger(f"sqlite:///{recorded}"):
        before = {p: p.read_bytes() for p in recorded.parent.iterdir()}
        ran = run("demo", "--questions", "1", flag, name.format(recorded))
        assert (ran.code, ran.out) == (2, "")
        assert {p: p.read_bytes() for p in recorded.parent.iterdir()} == before


@pytest.mark.parametrize(
    "page", ["kept.db", "kept.db-wal", "kept-naive.db", "./kept-naive.db-shm"]
)
def test_the_demo_keeps_its_pages_out_of_its_ledgers(
    run: Run, tmp_path: Path, page: str
) -> None:
    asked = ("--questions", "1", "--ledger", "kept.db", "--output", page)
    assert run("demo", *asked).code == 2
    assert not list(tmp_path.iterdir())


def test_what_the_demo_keeps_can_be_reported_and_tried(
    run: Run, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.db"
    asked = ("--questions", "2", "--output", tmp_path / "page.html")
    assert run("demo", "--ledger", kept, *asked, "--json").code == 0
    naive = kept.with_stem("kept-naive")
    assert run("report", kept, "--json").json["levers"]
    tried = run("whatif", naive, "--json").json
    assert "top-k" in {lever["name"] for lever in tried["levers"]}
    again = run("demo", "--ledger", kept, *asked)
    assert again.code == 2
    assert "there is a" in again.err
