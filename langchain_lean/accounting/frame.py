"""Entries as a pandas table."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from langchain_lean.accounting.anatomy import PARTS
from langchain_lean.accounting.entry import FLAGS, LedgerEntry
from langchain_lean.accounting.usage import COUNTS
from langchain_lean.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

_FIELDS = (
    "start",
    "run_id",
    "trace_id",
    "kind",
    "model",
    "provider",
    "node",
    "agent",
    "source",
    "user_id",
    "thread_id",
    "seconds",
    "first_token_seconds",
)


_COLUMNS = (
    *_FIELDS,
    *COUNTS,
    "cost",
    "cache_saved",
    *(f"tokens_{name}" for name in PARTS),
    *FLAGS,
)


def to_pandas(entries: Iterable[LedgerEntry]) -> "pd.DataFrame":
    """Put calls into a table.

    Args:
        entries: The calls.

    Returns:
        One row for each call: its fields, its token counts, `cost` and `cache_saved`
        in dollars (floats, missing where unpriced), `tokens_system` and so on from
        its anatomy, and its flags.

    Raises:
        ConfigurationError: If pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        msg = (
            "A table needs pandas: pip install 'langchain-lean-ai[notebooks]' "
            "(or pip install pandas)."
        )
        raise ConfigurationError(msg) from None
    return pd.DataFrame([_row(entry) for entry in entries], columns=_COLUMNS)


def _row(entry: LedgerEntry) -> dict[str, object]:
    cost = entry.cost
    return {
        **{name: getattr(entry, name) for name in _FIELDS},
        **{name: getattr(entry.usage, name) for name in COUNTS},
        "cost": None if cost is None else float(cost.total),
        "cache_saved": None if cost is None else float(cost.cache_saved),
        **{f"tokens_{name}": n for name, n in entry.anatomy.parts().items()},
        **{name: getattr(entry, name) for name in FLAGS},
    }
