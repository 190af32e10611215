"""The contract, for a cache in memory."""

from __future__ import annotations

import time

import pytest

from langchain_lean.caching.stores.base import CacheStore
from langchain_lean.caching.stores.memory import MemoryCacheStore
from tests.caching.contract import CacheStoreContract, Open
from tests.storage.contract import Clock


class TestMemory(CacheStoreContract):
    @pytest.fixture
    def opened(self) -> Open:
        def opened(
            *, clock: Clock | None = None, max_entries: int = 100_000
        ) -> CacheStore:
            return MemoryCacheStore(max_entries=max_entries, clock=clock or time.time)

        return opened
