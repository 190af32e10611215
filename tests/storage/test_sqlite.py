"""The contract, for counters in a SQLite file."""

from pathlib import Path

import pytest

from tests.storage.contract import SharedStorageContract


class TestSQLiteStorage(SharedStorageContract):
    rounds = 1_600

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/quota.db"
