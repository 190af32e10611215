"""The contract, for counters in memory."""

import pytest

from langchain_lean.budgets.storage import Storage, storage_from_url
from tests.storage.contract import Clock, Open, StorageContract


class TestMemoryStorage(StorageContract):
    rounds = 8_000
    examples = 200

    @pytest.fixture
    def opened(self) -> Open:
        def opened(clock: Clock | None = None) -> Storage:
            return storage_from_url("memory://", clock=clock)

        return opened
