"""Interrupts, forks and the garbage collector come at any moment."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from langchain_lean import Budget, BudgetGuard
from langchain_lean.budgets.storage import Claim, Counter, Lease, storage_from_url
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.sqlite_file import SQLiteFile
from langchain_lean.testing import ScriptedChatModel

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def model() -> ScriptedChatModel:
    return ScriptedChatModel(responses=["One two three four five."], loop=True)


def test_a_stream_that_is_collected_while_the_store_is_busy_is_settled() -> None:
    """The collector runs wherever something is made, also inside of the lock."""
    abandoned: list[Any] = []

    class Collecting(MemoryStorage):
        def _sweep(self, now: float) -> None:
            while abandoned:
                abandoned.pop().close()

    guard = BudgetGuard(Budget(calls=None, per="day"), store=Collecting())
    config: Any = {"callbacks": [guard]}
    for _ in range(3):
        stream = model().stream("Count.", config)
        next(stream)
        abandoned.append(stream)
        model().invoke("Count.", config)
    (status,) = guard.status()
    assert (status.used, status.held) == (6, 0)


@pytest.mark.parametrize("store", ["memory://", "sqlite:///quota.db"])
def test_streams_that_nobody_closes_are_settled_by_the_collector(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    guard = BudgetGuard(Budget(calls=None, per="day"), store=store)
    config: Any = {"callbacks": [guard]}

    def abandon() -> None:
        stream = model().stream("Count.", config)
        next(stream)
        cycle: list[Any] = [stream]
        cycle.append(cycle)

    before = gc.get_threshold()
    gc.set_threshold(50)
    try:
        for _ in range(40):
            abandon()
            model().invoke("Count.", config)
    finally:
        gc.set_threshold(*before)
    gc.collect()
    model().invoke("Count.", config)
    (status,) = guard.status()
    assert (status.used, status.held) == (81, 0)


class Interrupted(BaseException):
    """As Ctrl-C."""


def test_an_interrupt_leaves_counters_in_memory_whole() -> None:
    now = [1_795_000_000.0]

    def clock() -> float:
        if interrupt:
            interrupt.clear()
            raise Interrupted
        return now[0]

    interrupt: list[bool] = []
    storage = MemoryStorage(clock=clock)
    claims = [Claim("key", 3, 10, None)]
    lease = storage.reserve(claims, lease=60)
    assert isinstance(lease, Lease)
    interrupt.append(True)
    with pytest.raises(Interrupted):
        storage.settle(lease, {"key": 3})
    assert storage.read("key") == Counter(used=0, held=3)
    storage.settle(lease, {"key": 3})
    assert storage.read("key") == Counter(used=3, held=0)


def test_an_interrupt_leaves_no_transaction_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/quota.db"
    storage = storage_from_url(url)
    claims = [Claim("key", 1, 10, None)]
    storage.reserve(claims, lease=60)
    file: SQLiteFile = storage._file  # type: ignore[attr-defined]
    connection = file._connection
    assert isinstance(connection, sqlite3.Connection)
    connection.execute("BEGIN IMMEDIATE")  # as an interrupt just after it leaves it
    assert isinstance(storage.reserve(claims, lease=60), Lease)
    assert storage_from_url(url).read("key") == Counter(used=0, held=2)


@forks
def test_a_fork_while_other_threads_call_hangs_nobody(tmp_path: Path) -> None:
    code = """
import faulthandler, os, sys, threading
from langchain_lean import Budget, BudgetGuard
from langchain_core.language_models import FakeListChatModel
guard = BudgetGuard(Budget(calls=None, per="day"), store=sys.argv[1])
model = FakeListChatModel(responses=["Yes."])
config = {"callbacks": [guard]}
model.invoke("Is it?", config)  # Python itself hangs if it forks while it imports
done = threading.Event()
def call():
    while not done.is_set():
        model.invoke("Is it?", config)
threads = [threading.Thread(target=call) for _ in range(3)]
for thread in threads:
    thread.start()
children = []
for _ in range(10):
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(20, exit=True)
        model.invoke("Is it?", config)
        os._exit(0)
    children.append(child)
codes = [os.waitpid(child, 0)[1] for child in children]
done.set()
for thread in threads:
    thread.join()
print(codes, guard.status()[0].held)
"""
    for store in ("memory://", f"sqlite:///{tmp_path}/quota.db"):
        command = [sys.executable, "-c", code, store]
        found = subprocess.check_output(command, text=True, timeout=60)
        assert found.strip() == f"{[0] * 10} 0"


@forks
def test_a_forked_process_does_not_settle_the_calls_of_its_parent(
    tmp_path: Path,
) -> None:
    code = """
import os, sys
from langchain_lean import Budget, BudgetGuard
from langchain_lean.testing import ScriptedChatModel
guard = BudgetGuard(Budget(output_tokens=None, per="day"), store=sys.argv[1])
model = ScriptedChatModel(responses=["word " * 500], model_name="gpt-5")
stream = model.stream("Count.", {"callbacks": [guard]})
next(stream)
if os.fork() == 0:
    sys.exit(0)
os.wait()
for chunk in stream:
    last = chunk.usage_metadata or {}
print(guard.status()[0].used)
"""
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/quota.db"]
    found = subprocess.check_output(command, text=True, timeout=60)
    assert int(found) > 400


def test_a_call_the_process_before_a_fork_made_is_unknown_after_it() -> None:
    guard = BudgetGuard(Budget(calls=None, per="day"))
    from uuid import uuid4

    guard.on_chat_model_start({}, [[HumanMessage("Hi")]], run_id=uuid4())
    guard.forget()
    assert not guard._open
    assert not guard._calls


def test_many_streams_found_in_one_collection_are_all_settled() -> None:
    abandoned: list[Any] = []

    class Collecting(MemoryStorage):
        def _sweep(self, now: float) -> None:
            while abandoned:
                abandoned.pop().close()

    guard = BudgetGuard(
        Budget(calls=None, per="day"), store=Collecting(), notify=lambda _: None
    )
    config: Any = {"callbacks": [guard]}
    opened = [model().stream("Count.", config) for _ in range(400)]
    for stream in opened:
        next(stream)
    abandoned.extend(opened)
    model().invoke("Count.", config)
    (status,) = guard.status()
    assert (status.used, status.held) == (401, 0)
