"""LangChain's own suites for a cache, on every store, and what they do not ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from langchain_core.caches import BaseCache
from langchain_tests.integration_tests import AsyncCacheTestSuite, SyncCacheTestSuite

from langchain_lean import SemanticCache
from langchain_lean.caching.stores.base import CacheStore
from langchain_lean.caching.stores.redis import RedisCacheStore
from tests.storage.redis_servers import RedisServer
from tests.unit.caching.caches import WordEmbeddings


class OnEveryStore:
    @pytest.fixture(params=["memory", "sqlite", "redis"])
    def cache(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> Iterator[BaseCache]:
        store: str | CacheStore = "memory://"
        if request.param == "sqlite":
            store = f"sqlite:///{tmp_path}/cache.db"
        elif request.param == "redis":
            server: RedisServer = request.getfixturevalue("redis_server")
            # On a busy machine it need not answer within the usual 0.05 seconds.
            store = RedisCacheStore(server.url, namespace=uuid4().hex, timeout=30)
        cache = SemanticCache(
            WordEmbeddings(), store=store, namespace=uuid4().hex, on_error="raise"
        )
        yield cache
        cache.close()


class TestSync(OnEveryStore, SyncCacheTestSuite):
    def test_another_llm_string_misses(self, cache: BaseCache) -> None:
        prompt, generation = self.get_sample_prompt(), self.get_sample_generation()
        cache.update(prompt, self.get_sample_llm_string(), [generation])
        assert cache.lookup(prompt, "Another configuration.") is None
        assert cache.lookup(prompt, self.get_sample_llm_string()) == [generation]


class TestAsync(OnEveryStore, AsyncCacheTestSuite):
    async def test_another_llm_string_misses(self, cache: BaseCache) -> None:
        prompt, generation = self.get_sample_prompt(), self.get_sample_generation()
        await cache.aupdate(prompt, self.get_sample_llm_string(), [generation])
        assert await cache.alookup(prompt, "Another configuration.") is None
        found = await cache.alookup(prompt, self.get_sample_llm_string())
        assert found == [generation]
