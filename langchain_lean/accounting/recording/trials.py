"""Calls whose answers may yet be rejected by whoever asked for them."""

from collections import OrderedDict

from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.accounting.recording.events import TRIAL, Outcome, Rejected

_REMEMBERED = 1_000


class Trials:
    """Remembers the newest 1,000 trials: what was written down of their calls."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, list[LedgerEntry]] = OrderedDict()

    def note(self, outcome: Outcome, entry: LedgerEntry) -> None:
        """Remember the entry of a call, if its answer is on trial."""
        trial = outcome.call.metadata.get(TRIAL)
        if not isinstance(trial, str):
            return
        self._entries.setdefault(trial, []).append(entry)
        if len(self._entries) > _REMEMBERED:
            self._entries.popitem(last=False)

    def rejected(self, event: Rejected) -> list[LedgerEntry]:
        """The calls of a rejected answer, as made by the lever on its own behalf."""
        entries = self._entries.pop(event.trial, [])
        return [entry._replace(source=event.source) for entry in entries]
