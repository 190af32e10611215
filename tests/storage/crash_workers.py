"""Processes that spend until they are killed: `python -m tests.storage.crash_workers`.

They share one budget of calls. Each call that reaches the model leaves a byte in its
process's file, which outlives the process.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from langchain_lean import Budget, BudgetGuard
from langchain_lean.budgets.errors import BudgetExceededError, BudgetStoreError
from langchain_lean.budgets.storage import Storage
from langchain_lean.testing import ScriptedChatModel

LEASE = 600.0


def shared_guard(url: str | Storage, limit: int) -> BudgetGuard:
    """The guard as every process makes it."""
    budget = Budget(calls=limit, per="total")
    return BudgetGuard(budget, store=url, lease=LEASE)


def spend(url: str, limit: int, made: Path) -> None:
    """Call a model until the budget is used up."""
    guard = shared_guard(url, limit)
    file = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def answer(_: Any) -> str:
        os.write(file, b".")
        return "Yes."

    model = ScriptedChatModel(responses=[answer], loop=True)
    while True:
        try:
            model.invoke("Is it?", {"callbacks": [guard]})
        except BudgetStoreError:
            continue  # the server is away
        except BudgetExceededError:
            return


def main(url: str, limit: str, folder: str, processes: str) -> None:
    """Fork the processes, print their ids, and wait for them."""
    # What a first call imports takes half a second: once, not in every process.
    model = ScriptedChatModel(responses=["Yes."])
    model.invoke("Is it?", {"callbacks": [shared_guard("memory://", 1)]})
    pids = []
    for number in range(int(processes)):
        pid = os.fork()
        if not pid:
            signal.alarm(120)  # should whoever kills it be gone
            os.close(2)
            spend(url, int(limit), Path(folder) / f"{number}.made")
            os._exit(0)
        pids.append(pid)
    print(*pids, flush=True)
    for _ in pids:
        os.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
