"""Which calls were refused of late, by any guard of this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_lean.accounting.recording.events import Call

_REMEMBERED = 1_000


class Refusals:
    """Remembers the newest 1,000 calls that were refused; safe from many threads."""

    def __init__(self) -> None:
        self._runs: dict[str, None] = {}
        self._batches: deque[Mapping[str, Any]] = deque(maxlen=_REMEMBERED)

    def add(self, call: Call) -> None:
        """A call was refused, and with it all prompts of its `generate`."""
        self._runs[call.run_id] = None
        if call.batch is not None:
            self._batches.append(call.options)
        if len(self._runs) > _REMEMBERED:
            # Other threads may be at the same.
            with suppress(StopIteration, RuntimeError):
                self._runs.pop(next(iter(self._runs)), None)

    def __contains__(self, call: Call) -> bool:
        if call.run_id in self._runs:
            return True
        return call.batch is not None and any(
            call.options is options for options in list(self._batches)
        )


refused = Refusals()
"""The refusals of this process."""


def together(call: Call, other: Call) -> bool:
    """Whether two calls are prompts of one `generate`, which is sent one object."""
    return call.batch is not None and call.options is other.options
