"""Processes killed at any moment, and a server that crashes in between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from langchain_lean import BudgetExceededError, BudgetGuard
from langchain_lean.budgets.storage import storage_from_url
from langchain_lean.testing import ScriptedChatModel
from tests.storage.crash_workers import LEASE, shared_guard
from tests.storage.redis_servers import durable_server, wait_until

PROCESSES = 20
LIMIT = 1_500
ROOT = Path(__file__).parents[2]


def spend_the_rest(guard: BudgetGuard) -> int:
    """How many calls the budget still allows."""
    model = ScriptedChatModel(responses=["Yes."], loop=True)
    with suppress(BudgetExceededError):
        for _ in range(LIMIT + 1):
            model.invoke("Is it?", {"callbacks": [guard]})
    return len(model.calls)


def test_no_crash_of_processes_or_of_the_server_breaks_a_budget(
    tmp_path: Path,
) -> None:
    """20 processes die by SIGKILL and Redis is killed and started again meanwhile."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    moments = sorted(chance.randrange(LIMIT * 9 // 10) for _ in range(PROCESSES))
    crash = chance.randrange(5, PROCESSES - 5)

    def made() -> int:
        return sum(file.stat().st_size for file in tmp_path.glob("*.made"))

    with durable_server(tmp_path / "redis") as server:
        arguments = map(str, (server.url, LIMIT, tmp_path, PROCESSES))
        command = [sys.executable, "-m", "tests.storage.crash_workers", *arguments]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as workers:
            assert workers.stdout is not None
            pids = [int(pid) for pid in workers.stdout.readline().split()]
            chance.shuffle(pids)
            for number, (pid, moment) in enumerate(zip(pids, moments, strict=True)):
                wait_until(lambda moment=moment: made() >= moment)
                if number == crash:
                    server.kill()
                    server.start()
                os.kill(pid, signal.SIGKILL)
        by_the_dead = made()

        guard = shared_guard(server.url, LIMIT)
        (status,) = guard.status()
        assert by_the_dead <= int(status.used) + int(status.held) <= LIMIT
        assert by_the_dead + spend_the_rest(guard) <= LIMIT

        later = storage_from_url(server.url, clock=lambda: time.time() + LEASE + 1)
        (status,) = shared_guard(later, LIMIT).status()
        assert (status.used, status.held) == (LIMIT, 0)
