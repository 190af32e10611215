"""Which documents of retrievers stand in prompts, and which prompt had them first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from langchain_lean.whatif.costs import Most
    from langchain_lean.whatif.traffic import Call, Traffic


class Document(NamedTuple):
    """A retrieved document that stands whole in a message.

    Attributes:
        text: The document.
        place: The best one it had in a retrieval, from 0.
        first: The call that was sent this message first.
    """

    text: str
    place: int
    first: Call


class Standing:
    """The documents in the prompts of a ledger.

    A message keeps the documents it was sent with, so that those of earlier turns are
    known wherever a thread sends them again.

    Args:
        traffic: What the ledger recorded, with texts.
    """

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._carried: dict[str, tuple[Document, ...]] = {}
        searched: set[tuple[str, str]] = set()
        for call in traffic.asking:
            if call.retrieved and traffic.has_texts_of(call):
                places = self._places(call)
                for mark in call.prompt:
                    key = (mark.digest, call.entry.trace_id)
                    if mark.digest not in self._carried and key not in searched:
                        searched.add(key)
                        self._search(call, mark.digest, places)

    def given(self, call: Call) -> list[str]:
        """The documents that were first sent with a call, the best ones first."""
        found = (d for m in call.prompt for d in self._carried.get(m.digest, ()))
        places = {each.text: each.place for each in found if each.first is call}
        return sorted(places, key=places.__getitem__)

    def most(self, call: Call, share: Callable[[Document], float]) -> Most:
        """How many tokens a call has at most, where documents get shorter.

        Args:
            call: The call.
            share: What is left of a document, from 0 to 1.

        Returns:
            The tokens of the documents that were retrieved for it, and of its history,
            in which earlier ones stand; nothing where no document does.
        """
        parts = call.entry.anatomy
        of_its_own = {*self._places(call)} if parts.retrieved else set()
        whole = kept = gone = 0.0
        earlier = False
        for mark in call.prompt:
            for document in self._carried.get(mark.digest, ()):
                size, left = len(document.text), share(document)
                if document.text in of_its_own:
                    whole, kept = whole + size, kept + size * left
                else:
                    earlier, gone = True, gone + size * (1 - left)
        most: Most = (
            {"retrieved": round(parts.retrieved * kept / whole)} if whole else {}
        )
        if earlier:
            spared = round(gone * call.tokens_a_character)
            most["history"] = max(parts.history - spared, 0)
        return most

    def firsts(self) -> list[Call]:
        """The calls that were given documents, each document with its first call."""
        carried = self._carried.values()
        return list(dict.fromkeys(each.first for found in carried for each in found))

    def _places(self, call: Call) -> dict[str, int]:
        """The documents of the trace of a call, and the best place of each."""
        places: dict[str, int] = {}
        for retrieval in call.retrieved:
            for place, mark in enumerate(retrieval):
                if text := self._traffic.text(mark.digest):
                    places[text] = min(place, places.get(text, place))
        return places

    def _search(self, call: Call, digest: str, places: dict[str, int]) -> None:
        text = self._traffic.text(digest) or ""
        found = (Document(d, place, call) for d, place in places.items() if d in text)
        if documents := tuple(found):
            self._carried[digest] = documents
