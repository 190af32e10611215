"""The Redis servers of the budgets' tests."""

from __future__ import annotations

from tests.storage.conftest import own_redis, redis_cluster, redis_server

__all__ = ["own_redis", "redis_cluster", "redis_server"]
