"""Where a ledger keeps its entries."""

import secrets

from langchain_lean.accounting.store.base import Batch, LedgerStore
from langchain_lean.accounting.store.memory import MemoryStore
from langchain_lean.accounting.store.sqlite import SQLiteStore
from langchain_lean.errors import ConfigurationError

__all__ = ["Batch", "LedgerStore", "MemoryStore", "SQLiteStore", "open_store"]


def open_store(url: str) -> LedgerStore:
    """Open the store that a URL names.

    Args:
        url: `memory://`, `sqlite:///relative.db` or `sqlite:////absolute.db`.

    Returns:
        The store.

    Raises:
        ConfigurationError: If the URL is of another kind.
        StorageError: If the file is damaged, or is no ledger.
    """
    if url == "memory://":
        return MemoryStore(secrets.token_bytes(16))
    path = url.removeprefix("sqlite:///")
    if path == url or not path:
        msg = f"A ledger is kept in 'memory://' or 'sqlite:///file.db', not in {url!r}."
        raise ConfigurationError(msg)
    return SQLiteStore(path)
