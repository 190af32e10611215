"""The contract, for counters in memory."""

import os
import subprocess
import sys

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

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_process_counts_on_by_itself(self) -> None:
        code = (
            "import os\n"
            "from langchain_lean.budgets.storage import Claim, storage_from_url\n"
            "storage = storage_from_url('memory://')\n"
            "claim = Claim('key', 1, 10, None)\n"
            "storage.reserve([claim], lease=60)\n"
            "if os.fork() == 0:\n"
            "    storage.reserve([claim], lease=60)\n"
            "    os._exit(storage.read('key').held)\n"
            "print(os.waitstatus_to_exitcode(os.wait()[1]), storage.read('key').held)\n"
        )
        found = subprocess.check_output([sys.executable, "-c", code], text=True)
        assert found.split() == ["2", "1"]
