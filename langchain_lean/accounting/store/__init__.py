"""Where a ledger keeps its entries."""

import secrets

from langchain_lean.accounting.store.base import Batch, LedgerStore
from langchain_lean.accounting.store.memory import MemoryStore
from langchain_lean.accounting.store.sqlite import SQLiteStore
from langchain_lean.errors import ConfigurationError

__all__ = ["Batch", "LedgerStore", "MemoryStore", "SQLiteStore", "open_store"]


def open_store(store: str | LedgerStore) -> LedgerStore:
    """Open the store that a URL names.

    Args:
        store: `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, or a
            store, which is taken as it is.

    Returns:
        The store.

    Raises:
        ConfigurationError: If it is anything else.
        StorageError: If the file is damaged, or is no ledger.
    """
    if not isinstance(store, str):
        if hasattr(store, "own_prices"):
            return store
    elif store == "memory://":
        return MemoryStore(secrets.token_bytes(16))
    elif store.startswith("sqlite:///") and store != "sqlite:///":
        return SQLiteStore(store.removeprefix("sqlite:///"))
    msg = (
        f"A ledger is kept in 'memory://' or 'sqlite:///file.db', not in {store!r:.80}."
    )
    raise ConfigurationError(msg)
