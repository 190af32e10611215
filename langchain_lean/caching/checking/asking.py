"""What a question asks for: a person, a time, a place, a reason, an amount."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_lean.caching.checking.words import word_set

_ASKED = {
    "who": "person", "whom": "person", "whose": "person", "when": "time",
    "where": "place", "why": "reason",
}  # fmt: skip
_AFTER_HOW = {"many": "amount", "much": "amount", "come": "reason", "often": "often"}
_TIMES = frozenset(("time", "day", "date", "year", "month"))
_LEADS_IN = word_set(
    """know me out ask tell wonder wondering understand and explain so hi hello"""
)


def asked_for(words: Sequence[str]) -> set[str]:
    """What the question words at the head of a clause ask for.

    "How" and "what" are open, and so is "how long", which may be "when".
    """
    found: set[str] = set()
    for place, word in enumerate(words):
        if place and words[place - 1] not in _LEADS_IN:
            continue
        after = words[place + 1] if place + 1 < len(words) else ""
        if word in _ASKED:
            found.add(_ASKED[word])
        elif word == "how" and after in _AFTER_HOW:
            found.add(_AFTER_HOW[after])
        elif word in ("what", "which") and after in _TIMES:
            found.add("time")
    return found
