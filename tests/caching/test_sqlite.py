"""The contract, for a cache in a file, and what is particular to a file."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from langchain_lean.caching.stores import sqlite
from langchain_lean.caching.stores.base import CacheStore
from langchain_lean.caching.stores.sqlite import SQLiteCacheStore
from langchain_lean.errors import StorageError
from tests.caching.contract import (
    EAST,
    NORTH,
    Open,
    SharedCacheStoreContract,
    item,
    towards,
)
from tests.storage.contract import Clock

USUAL_WAIT = sqlite._WAIT


class TestSQLite(SharedCacheStoreContract):
    partitions = 300

    @pytest.fixture(autouse=True)
    def _patient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a busy machine a writer may wait longer for another than usual."""
        monkeypatch.setattr(sqlite, "_WAIT", 60.0)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "cache.db"

    @pytest.fixture
    def opened(self, path: Path) -> Open:
        def opened(
            *, clock: Clock | None = None, max_entries: int = 100_000
        ) -> CacheStore:
            return SQLiteCacheStore(
                path, max_entries=max_entries, clock=clock or time.time
            )

        return opened

    def test_uses_of_a_process_that_closes_count_for_the_next_one(
        self, opened: Open, clock: Clock
    ) -> None:
        first = opened(clock=clock, max_entries=2)
        for key in "ab":
            first.put("p", item(key))
        clock.now += 1
        assert first.get("p", "a") == "value"
        first.close()
        second = opened(clock=clock, max_entries=2)
        second.put("p", item("c"))
        assert second.get("p", "b") is None
        assert second.get("p", "a") == "value"
        second.close()

    def test_what_another_process_removes_hides_nothing(self, opened: Open) -> None:
        one, other = opened(), opened()
        for number in range(200):
            one.put("p", item(str(number), vector=towards(9, number), tags=("t",)))
        one.put("p", item("stays", vector=NORTH))
        assert len(other.nearest("p", EAST, 3)) == 3
        assert one.invalidate("t") == 200
        assert [near.key for near in other.nearest("p", EAST, 3)] == ["stays"]
        for store in (one, other):
            store.close()

    def test_what_others_remove_leaves_the_memory_of_a_process(
        self, opened: Open
    ) -> None:
        one, other = opened(max_entries=20), opened(max_entries=20)
        for number in range(100):
            one.put("p", item(str(number), vector=towards(1, number)))
            other.nearest("p", EAST, 1)
        found = other.nearest("p", NORTH, 100)
        assert sorted(int(near.key) for near in found) == list(range(80, 100))
        for store in (one, other):
            store.close()

    def test_a_file_that_is_held_is_not_waited_for_long(
        self, path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite, "_WAIT", USUAL_WAIT)
        store = opened()
        store.put("p", item())
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageError, match="held by another process"):
                store.put("p", item("other"))
            assert store.get("p", "key") == "value"
        store.close()

    def test_a_file_of_something_else_is_refused(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE users (name)")
        with pytest.raises(StorageError, match="no file of a cache"):
            SQLiteCacheStore(path).get("p", "key")
