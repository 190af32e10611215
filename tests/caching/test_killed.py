"""Eight processes that share a cache and are killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.caching.reconcile import lost_entries
from tests.storage.redis_servers import RedisServer, wait_until

PROCESSES = 8
KILLS = 24
ROOT = Path(__file__).parents[2]


def kill_at_random(url: str, folder: Path, kills: int, *, every: int = 40) -> int:
    """Have processes ask, kill one after each so many answers; how many they got."""
    chance = random.Random()
    made = folder / "made"
    command = [sys.executable, "-m", "tests.caching.killed_workers", url, str(folder)]
    with subprocess.Popen(
        [*command, str(PROCESSES)], cwd=ROOT, stdout=subprocess.PIPE
    ) as nursery:
        assert nursery.stdout is not None
        alive = {int(pid) for pid in nursery.stdout.readline().split()}
        for number in range(kills):
            reached = (number + 1) * every
            wait_until(lambda reached=reached: size(made) >= reached)
            victim = chance.choice(sorted(alive))
            os.kill(victim, signal.SIGKILL)
            alive.discard(victim)
            alive.add(int(nursery.stdout.readline()))
        (folder / "stop").touch()
        assert nursery.wait(120) == 0
    return size(made)


def size(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_no_kill_loses_an_entry_or_troubles_a_caller(
    kind: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    url = redis_server.url if kind == "redis" else f"sqlite:///{tmp_path}/cache.db"
    answers = kill_at_random(url, tmp_path, KILLS)
    wrong = tmp_path / "wrong"
    assert not wrong.exists(), wrong.read_text()
    assert answers >= KILLS
    found = lost_entries(url)
    assert found.kept > 0
    assert found.lost == []
