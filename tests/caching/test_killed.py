"""Eight processes that share a cache and are killed at any moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.caching.killing import kill_at_random
from tests.caching.reconcile import lost_entries
from tests.storage.redis_servers import RedisServer

KILLS = 16


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_no_kill_loses_an_entry_or_troubles_a_caller(
    kind: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    url = redis_server.url if kind == "redis" else f"sqlite:///{tmp_path}/cache.db"
    kill_at_random(url, tmp_path, lambda kills: kills < KILLS, every=20)
    wrong = tmp_path / "wrong"
    assert not wrong.exists(), wrong.read_text()
    found = lost_entries(url)
    assert found.kept > 0
    assert found.lost == []
