"""Killing processes that share a cache, at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.storage.redis_servers import wait_until

PROCESSES = 8
ROOT = Path(__file__).parents[2]


def kill_at_random(
    url: str, folder: Path, goes_on: Callable[[int], bool], *, every: int
) -> tuple[int, int]:
    """Have processes ask a cache, and kill one of them again and again.

    Args:
        url: Where the cache is.
        folder: Where the processes note what they do.
        goes_on: Whether to kill another one, after so many.
        every: How many answers there are between two kills.

    Returns:
        How many answers there were, and how many kills.
    """
    chance = random.Random()
    made, kills = folder / "made", 0
    command = [sys.executable, "-m", "tests.caching.killed_workers", url, str(folder)]
    with subprocess.Popen(
        [*command, str(PROCESSES)], cwd=ROOT, stdout=subprocess.PIPE
    ) as nursery:
        assert nursery.stdout is not None
        alive = {int(pid) for pid in nursery.stdout.readline().split()}
        while goes_on(kills):
            reached = size(made) + chance.randrange(2 * every)
            wait_until(lambda reached=reached: size(made) >= reached)
            victim = chance.choice(sorted(alive))
            os.kill(victim, signal.SIGKILL)
            kills += 1
            alive.discard(victim)
            alive.add(int(nursery.stdout.readline()))
        (folder / "stop").touch()
        assert nursery.wait(120) == 0
    return size(made), kills


def size(file: Path) -> int:
    """How long a file is; 0 where there is none yet."""
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0
