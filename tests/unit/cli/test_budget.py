"""`langchain-lean budget`."""

import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from langchain_lean import Budget, BudgetGuard
from langchain_lean.budgets.storage import Claim, storage_from_url
from langchain_lean.testing import ScriptedChatModel
from tests.unit.cli.conftest import MODEL, PROVIDER, Ran, Run

BY_USER, MONTHLY = "calls=5 per=day by=user_id", "usd=1.00 per=total name=all"
ADA = "user_id=ada"


class Terminal(StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def quota(tmp_path: Path) -> str:
    """Where Ada has made two calls and Bob one."""
    url = f"sqlite:///{tmp_path / 'quota.db'}"
    guard = BudgetGuard(
        Budget(calls=5, per="day", by="user_id"),
        Budget(usd="1.00", per="total", name="all"),
        store=url,
    )
    model = ScriptedChatModel(
        responses=["Yes."], loop=True, model_name=MODEL, provider=PROVIDER
    )
    for user in ("ada", "bob", "ada"):
        who = {"user_id": user}
        model.invoke("Is it?", config={"callbacks": [guard], "metadata": who})
    guard.storage.close()
    return url


def calls(ran: Ran) -> list[object]:
    return [budget["used"] for budget in ran.json["budgets"]]


def status(run: Run, quota: str, *whose: str, budget: str = BY_USER) -> Ran:
    store = ("--store", quota, "--budget", budget)
    return run("budget", "status", *whose, *store, "--json")


def test_status_says_how_each_budget_stands(run: Run, quota: str) -> None:
    store = ("--store", quota, "--budget", BY_USER, "--budget", MONTHLY)
    by_user, in_total = run("budget", "status", ADA, *store, "--json").json["budgets"]
    assert by_user["limit"] == 5
    assert (by_user["used"], by_user["held"], by_user["remaining"]) == (2, 0, 3)
    assert by_user["overshoot"] == 0
    assert by_user["resets_at"].endswith("T00:00:00+00:00")
    assert in_total["name"] == "all"
    assert float(in_total["used"]) + float(in_total["remaining"]) == pytest.approx(1)
    assert in_total["resets_at"] is None


def test_status_is_a_table_for_people(run: Run, quota: str) -> None:
    out = run("budget", "status", ADA, "--store", quota, "--budget", BY_USER).out
    head, row = out.splitlines()
    names = ["budget", "used", "held", "remaining", "overshoot", "resets at"]
    assert re.split("  +", head) == names
    assert row.startswith("5 calls per day for each user_id  2 calls     -    3 calls")


def test_status_says_whose_calls_are_counted_where_nobody_was_named(
    run: Run, quota: str
) -> None:
    out = run("budget", "status", "--store", quota, "--budget", BY_USER).out
    assert "the calls that have no user_id" in out


def test_whose_may_stand_before_and_behind_the_options(run: Run, quota: str) -> None:
    store = ("--store", quota, "--budget", BY_USER, "--json")
    before = run("budget", "status", ADA, *store)
    assert calls(before) == [2]
    assert run("budget", "status", *store, ADA).out == before.out
    assert run("budget", *store, "status", ADA).out == before.out


def test_reset_lets_just_the_named_budgets_begin_anew(run: Run, quota: str) -> None:
    store = ("--store", quota, "--budget", BY_USER, "--budget", MONTHLY)
    ran = run("budget", "reset", ADA, *store, "--yes", "--json")
    assert ran.code == 0
    assert [budget["used"] for budget in ran.json["reset"]] == [2]
    assert ran.err.startswith("To reset for user_id=ada: 5 calls per day for each")
    assert "'all'" not in ran.err
    assert calls(status(run, quota, ADA)) == [0]
    assert calls(status(run, quota, "user_id=bob")) == [1]
    assert calls(status(run, quota, budget=MONTHLY)) != ["0"]


def test_reset_without_keys_is_about_the_budgets_of_all(run: Run, quota: str) -> None:
    store = ("--store", quota, "--budget", BY_USER, "--budget", MONTHLY)
    assert run("budget", "reset", *store, "--yes").code == 0
    assert calls(status(run, quota, ADA)) == [2]
    assert calls(status(run, quota, budget=MONTHLY)) == ["0"]


def test_a_reset_is_about_budgets_of_a_run_only_where_a_run_is_named(
    run: Run, quota: str
) -> None:
    per_run = "calls=5 per=run by=user_id"
    store = ("--store", quota, "--budget", BY_USER, "--budget", per_run)

    def reset(*whose: str) -> list[str]:
        ran = run("budget", "reset", *whose, *store, "--yes", "--json")
        return [budget["per"] for budget in ran.json["reset"]]

    assert reset(ADA) == ["day"]
    assert reset(ADA, "run_id=r") == ["run"]


def test_a_reset_where_nothing_is_counted_says_so(run: Run, quota: str) -> None:
    store = ("--store", quota, "--budget", BY_USER)
    ran = run("budget", "reset", "user_id=eve", *store, "--yes")
    assert ran.code == 0
    assert "(nothing is counted there)" in ran.err
    assert ran.err.endswith("Nothing was there to reset.\n")
    assert "Reset.\n" in run("budget", "reset", ADA, *store, "--yes").err


@pytest.mark.parametrize(
    "other", ["name=x", "timezone=Asia/Tokyo", "by=user_id,team", "per=hour"]
)
def test_a_typed_budget_under_which_nothing_is_counted_says_what_to_check(
    run: Run, quota: str, other: str
) -> None:
    told = dict(part.split("=") for part in (*BY_USER.split(), other))
    budget = " ".join("=".join(pair) for pair in told.items())
    asked = ("budget", "status", ADA, "--store", quota, "--budget")
    *_, note = run(*asked, budget).out.splitlines()
    assert note.startswith("Nothing is counted under ")
    assert "5 calls per " in note
    for argument in ("per", "by", "name", "timezone", "namespace"):
        assert argument in note
    assert "Nothing is counted" not in run(*asked, BY_USER).out


@pytest.mark.parametrize("budget", ["usd=1 per=call", "usd=1 per=run"])
def test_a_budget_without_a_past_to_see_needs_no_such_advice(
    run: Run, quota: str, budget: str
) -> None:
    ran = run("budget", "status", "--store", quota, "--budget", budget)
    assert (ran.code, ran.err) == (0, "")
    assert "Nothing is counted" not in ran.out


def test_what_calls_under_way_hold_is_counted(run: Run, quota: str) -> None:
    budget = Budget(calls=5, per="total")
    claim = Claim(budget.counter(0, {}), amount=1, limit=5, window=None)
    with storage_from_url(quota) as storage:
        storage.reserve([claim], lease=600)
    store = ("--store", quota, "--budget", "calls=5 per=total")
    assert "Nothing is counted" not in run("budget", "status", *store).out
    assert run("budget", "reset", *store, "--yes").err.endswith("Reset.\n")


def test_a_guard_of_an_application_needs_no_such_advice(
    run: Run, quota: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    text = "from langchain_lean import Budget, BudgetGuard\n"
    text += f"guard = BudgetGuard(Budget(calls=5, per='day'), store={quota!r})\n"
    name = app(tmp_path, "unused_app", text)
    assert (
        "Nothing is counted"
        not in run("budget", "status", "--guard", f"{name}:guard").out
    )


def test_a_file_has_no_namespaces(run: Run, quota: str) -> None:
    store = ("--store", quota, "--budget", BY_USER, "--namespace", "other")
    ran = run("budget", "status", *store)
    assert (ran.code, ran.out) == (2, "")
    assert "leave --namespace out" in ran.err


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 2), ("\n", 1, 2), ("", 1, 2)]
)
def test_reset_asks_on_a_terminal(
    run: Run,
    quota: str,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    code: int,
    left: int,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    ran = run("budget", "reset", ADA, "--store", quota, "--budget", BY_USER)
    assert (ran.code, ran.out) == (code, "")
    assert "Reset? [y/N]" in ran.err
    assert calls(status(run, quota, ADA)) == [left]


def test_reset_needs_yes_where_nobody_can_be_asked(
    run: Run, quota: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("y\n"))
    ran = run("budget", "reset", ADA, "--store", quota, "--budget", BY_USER)
    assert ran.code == 2
    assert "--yes" in ran.err
    assert calls(status(run, quota, ADA)) == [2]


@pytest.mark.parametrize(
    ("whose", "budget"), [([], BY_USER), ([ADA], "calls=5 per=day by=user_id,team")]
)
def test_a_reset_of_nothing_is_an_error(
    run: Run, quota: str, whose: list[str], budget: str
) -> None:
    store = ("--store", quota, "--budget", budget)
    ran = run("budget", "reset", *whose, *store, "--yes")
    assert (ran.code, ran.out) == (2, "")


def app(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(text)
    return name


def test_a_guard_is_found_by_its_name_in_this_folder(
    quota: str, tmp_path: Path
) -> None:
    text = (
        "from langchain_lean import Budget, BudgetGuard\n"
        "class settings:\n"
        "    guard = BudgetGuard(Budget(calls=5, per='day', by='user_id'), "
        f"store={quota!r})\n"
    )
    name = app(tmp_path, "served", text)
    command = [sys.executable, "-m", "langchain_lean", "budget", "status", ADA]
    out = subprocess.check_output(
        [*command, "--guard", f"{name}:settings.guard"], text=True, cwd=tmp_path
    )
    assert "2 calls" in out


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("x = 1", 2, "There is no 'guard' in the module"),
        ("guard = 1", 2, "no BudgetGuard but of type int"),
        ("import nowhere_at_all", 1, "No module named 'nowhere_at_all'"),
        ("raise SystemExit('bye')", 1, "SystemExit: bye."),
        ("raise ValueError('two\\nlines')", 1, "ValueError: two lines."),
    ],
)
def test_a_guard_that_is_not_there_is_one_sentence(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    text: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = app(tmp_path, f"app_{abs(hash(text))}", text)
    ran = run("budget", "status", "--guard", f"{name}:guard")
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_memory_cannot_be_looked_at(run: Run) -> None:
    ran = run("budget", "status", "--store", "memory://", "--budget", BY_USER)
    assert (ran.code, ran.out) == (2, "")
    assert "memory of its own process" in ran.err


def test_a_missing_file_is_an_error_and_is_not_made(run: Run, tmp_path: Path) -> None:
    ran = run("budget", "status", "--store", "sqlite:///no.db", "--budget", BY_USER)
    assert (ran.code, ran.out) == (1, "")
    assert not list(tmp_path.iterdir())


def test_a_ledger_is_no_file_of_budgets(run: Run, recorded: Path) -> None:
    store = ("--store", f"sqlite:///{recorded}", "--budget", BY_USER)
    ran = run("budget", "status", *store)
    assert (ran.code, ran.out) == (1, "")
    assert "no file of budgets" in ran.err


def test_a_server_that_cannot_be_reached_is_one_sentence(run: Run) -> None:
    store = ("--store", "redis://127.0.0.1:1/0", "--budget", BY_USER)
    ran = run("budget", "status", *store)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "budget",
    [
        "",
        "usd",
        "usd=1",
        "per=day",
        "usd=x per=day",
        "usd=1 per=week",
        "usd=1 tokens=2 per=day",
        "usd=1 usd=2 per=day",
        "usd=1 per=day per=month",
        "calls=1.5 per=day",
        "limit=1 per=day",
        "usd=1 per=day by=",
        "usd=1 'per=day",
        "usd=1 per=day timezone=Mars",
        "usd=1 per=day warn_at=much",
    ],
)
def test_a_budget_that_makes_no_sense_is_one_sentence(
    run: Run, quota: str, budget: str
) -> None:
    ran = run("budget", "status", "--store", quota, "--budget", budget)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1


def test_a_budget_takes_all_arguments_of_a_budget(run: Run, quota: str) -> None:
    told = (
        "tokens=none per=thread by=user_id,team name=x timezone=Asia/Tokyo warn_at=none"
    )
    whose = (ADA, "team=a", "thread_id=t")
    (budget,) = status(run, quota, *whose, budget=told).json["budgets"]
    assert budget["limit"] is budget["remaining"] is None
    assert budget["by"] == ["user_id", "team", "thread_id"]


@pytest.mark.parametrize(
    "wrong",
    [
        ["status"],
        ["delete", "--store", "sqlite:///x.db", "--budget", BY_USER],
        ["status", "--store", "sqlite:///x.db"],
        ["status", "--store", "nowhere", "--budget", BY_USER],
        ["status", "--guard", "a:b", "--store", "sqlite:///x.db"],
        ["status", "--guard", "a:b", "--budget", BY_USER],
        ["status", "--guard", "app"],
        ["status", "ada", "--store", "sqlite:///x.db", "--budget", BY_USER],
        ["status", ADA, ADA, "--store", "sqlite:///x.db", "--budget", BY_USER],
    ],
)
def test_wrong_usage_has_code_2(run: Run, wrong: list[str]) -> None:
    ran = run("budget", *wrong)
    assert (ran.code, ran.out) == (2, "")


def test_a_key_that_no_budget_is_by_is_wrong_usage(run: Run, quota: str) -> None:
    ran = status(run, quota, "team=a")
    assert (ran.code, ran.out) == (2, "")
    assert "they are by user_id" in ran.err
