"""`langchain-lean report`."""

import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partialmethod
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from langchain_lean import TokenLedger, TokenUsage
from langchain_lean.budgets.storage import storage_from_url
from langchain_lean.sqlite_file import SQLiteFile
from tests.unit.cli.conftest import MODEL, PROVIDER, Run

ONE = TokenUsage(input=1, output=1)


def test_it_prints_what_the_ledger_s_own_report_says(run: Run, recorded: Path) -> None:
    with TokenLedger(f"sqlite:///{recorded}") as ledger:
        said = str(ledger.report(title="Our desk"))
    assert run("report", recorded, "--title", "Our desk").out == f"{said}\n"


def test_the_url_of_a_ledger_names_it_as_well(run: Run, recorded: Path) -> None:
    assert run("report", f"sqlite:///{recorded}").out == run("report", recorded).out


def test_json_is_the_report_as_values(run: Run, recorded: Path) -> None:
    with TokenLedger(f"sqlite:///{recorded}") as ledger:
        values = ledger.report().to_dict()
    ran = run("report", recorded, "--json")
    assert ran.json == values
    assert ran.err == ""


@pytest.mark.parametrize("others_write", [False, True])
def test_a_ledger_that_may_not_be_written_is_read_all_the_same(
    run: Run, recorded: Path, monkeypatch: pytest.MonkeyPatch, others_write: bool
) -> None:
    usual = run("report", recorded).out
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with closing(sqlite3.connect(recorded)) as writer:
        if others_write:
            writer.execute("INSERT INTO feedback VALUES ('run', 1)")
        before = recorded.read_bytes()
        assert run("report", recorded).out == usual
        assert recorded.read_bytes() == before


def test_what_was_written_last_is_read_where_nothing_can_be_written(
    run: Run, recorded: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    with TokenLedger(f"sqlite:///{recorded}") as ledger:
        ledger.record(model=MODEL, provider=PROVIDER, usage=ONE)
        ledger.flush()
        for ending in ("", "-wal"):
            shutil.copy(f"{recorded}{ending}", kept / f"recorded.db{ending}")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    connect = sqlite3.connect

    def refused(file: object, **how: Any) -> sqlite3.Connection:
        if "mode=ro" in str(file):  # as SQLite does in a folder that is read-only
            msg = "unable to open database file"
            raise sqlite3.OperationalError(msg)
        return connect(str(file), **how)

    monkeypatch.setattr(sqlite3, "connect", refused)
    assert run("report", kept / "recorded.db", "--json").json["calls"] == 5
    assert len([*kept.iterdir()]) == 2


def test_a_ledger_that_another_process_holds_says_so_and_what_to_do(
    run: Run, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_lean.cli.ledgers._SOON", 0.0)
    monkeypatch.setattr(
        SQLiteFile, "__init__", partialmethod(SQLiteFile.__init__, wait=0.0)
    )
    with closing(sqlite3.connect(recorded)) as other:
        other.execute("BEGIN EXCLUSIVE")
        ran = run("report", recorded)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        seen = run("report", recorded)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("\n") == 1
    assert "is held by another process" in ran.err
    assert "try again" in ran.err
    assert seen.err == f"Another process holds the ledger; waiting for it.\n{ran.err}"
    assert run("report", recorded).err == ""


def test_by_adds_a_table_of_a_field_the_dearest_first(run: Run, recorded: Path) -> None:
    lines = run("report", recorded, "--by", "user_id").out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("user_id"))
    assert [line.split()[0] for line in lines[start + 1 :]] == ["ada", "bob"]


def test_by_may_be_repeated_and_days_are_the_newest_first(
    run: Run, recorded: Path
) -> None:
    by = run("report", recorded, "--by", "day", "--by", "thread_id", "--json").json[
        "by"
    ]
    assert [row["name"] for row in by["day"]] == ["2026-01-02", "2026-01-01"]
    assert [row["input_tokens"] for row in by["day"]] == [1_102, 1_100]
    assert [(row["name"], row["calls"]) for row in by["thread_id"]] == [(None, 4)]


def test_a_long_table_ends_on_how_many_more_there_are(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "many.db"
    with TokenLedger(f"sqlite:///{path}") as ledger:
        for user in range(23):
            ledger.record(model=MODEL, usage=ONE, user_id=f"user-{user}")
    ran = run("report", path, "--by", "user_id")
    assert ran.out.splitlines()[-1] == "and 3 more; --json has them all"
    rows = run("report", path, "--by", "user_id", "--json").json["by"]["user_id"]
    assert len(rows) == 23


def test_a_sum_without_a_price_is_null_in_json(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    with TokenLedger(f"sqlite:///{path}") as ledger:
        ledger.record(model="my-llm", usage=ONE)
    (row,) = run("report", path, "--by", "model", "--json").json["by"]["model"]
    assert (row["spent_usd"], row["unpriced_calls"]) == (None, 1)


def test_an_unknown_field_is_wrong_usage_that_names_those_there_are(
    run: Run, recorded: Path
) -> None:
    ran = run("report", recorded, "--by", "nonsense")
    assert (ran.code, ran.out) == (2, "")
    assert "user_id" in ran.err


def test_html_writes_the_page_and_still_prints(
    run: Run, recorded: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    ran = run("report", recorded, "--html", page)
    assert "4 calls" in ran.out
    assert ran.err == f"The page is in {page}.\n"
    assert "4 calls" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("of", ["recorded.db", "other.db", "link.db"])
def test_the_page_never_replaces_what_a_ledger_is_kept_in(
    run: Run, recorded: Path, of: str, ending: str
) -> None:
    other = recorded.with_name("other.db")
    with TokenLedger(f"sqlite:///{recorded}"), TokenLedger(f"sqlite:///{other}"):
        recorded.with_name("link.db").symlink_to(recorded)
        recorded.with_name("link.db-wal").symlink_to(f"{recorded}-wal")
        files = {p: p.read_bytes() for p in recorded.parent.iterdir()}
        ran = run("report", recorded, "--html", recorded.with_name(of + ending))
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.count("\n") == 1
        assert {p: p.read_bytes() for p in recorded.parent.iterdir()} == files


def test_a_page_may_have_any_other_name(run: Run, recorded: Path) -> None:
    for name in ("page-wal", "-wal", "recorded.db.html"):
        assert run("report", recorded, "--html", recorded.with_name(name)).code == 0


def test_a_page_that_cannot_be_written_is_one_sentence(
    run: Run, recorded: Path, tmp_path: Path
) -> None:
    ran = run("report", recorded, "--html", tmp_path / "none" / "page.html")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.endswith("cannot be used: No such file or directory.\n")


def text_file(path: Path) -> None:
    path.write_text("no database, however long this text may be made " * 100)


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE others (name)")
    connection.close()


def budgets(path: Path) -> None:
    with storage_from_url(f"sqlite:///{path}") as storage:
        storage.read("key")


def damaged(path: Path) -> None:
    with TokenLedger(f"sqlite:///{path}"):
        pass
    path.write_bytes(path.read_bytes()[:10_000])


@pytest.mark.parametrize(
    "make",
    [text_file, other_database, budgets, damaged, Path.touch, Path.mkdir],
    ids=["text", "other database", "budgets", "damaged", "empty", "folder"],
)
def test_what_is_no_ledger_is_refused_in_one_sentence(
    run: Run, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "given.db"
    make(path)
    ran = run("report", path)
    assert (ran.code, ran.out) == (1, "")
    assert str(path) in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("name", ["missing.db", "-", "memory://", "none/missing.db"])
@pytest.mark.parametrize("command", ["report", "whatif"])
def test_what_is_not_there_is_an_error_and_is_not_made(
    run: Run, tmp_path: Path, command: str, name: str
) -> None:
    ran = run(command, name)
    assert (ran.code, ran.out, ran.err) == (1, "", f"There is no ledger {name!r}.\n")
    assert not list(tmp_path.iterdir())


def test_a_ledger_that_is_being_written_can_be_read(run: Run, recorded: Path) -> None:
    enough, begun = Event(), Event()

    def write() -> None:
        with TokenLedger(f"sqlite:///{recorded}") as ledger:
            while not enough.is_set():
                ledger.record(model=MODEL, provider=PROVIDER, usage=ONE)
                ledger.flush()
                begun.set()

    writer = Thread(target=write)
    writer.start()
    try:
        assert begun.wait(60)
        seen = [run("report", recorded, "--json").json["calls"] for _ in range(3)]
    finally:
        enough.set()
        writer.join()
    assert 4 < seen[0] <= seen[1] <= seen[2]
