"""What was asked, without the documents and the template it was put into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_lean.accounting.entry import MessageMark
    from langchain_lean.whatif.traffic import Call, Traffic

_ENDS = ("\n", ": ")  # of what a template has in front of a question


class Questions:
    """Prompts of a ledger without what was retrieved for them.

    A question in a template is what differs between the prompts of one kind once their
    documents are taken out.

    Args:
        traffic: What the ledger recorded, with texts.
    """

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._texts: dict[Call, str] = {}
        templated: dict[object, list[Call]] = {}
        for call in traffic.asking:
            if call.asked >= 0 and traffic.has_texts_of(call):
                mark = call.prompt[call.asked]
                whole = traffic.text(mark.digest) or ""
                bare = self.bare(call, mark)
                self._texts[call] = bare
                if bare != whole.strip():
                    templated.setdefault(_kind(call), []).append(call)
        for calls in templated.values():
            self._take_out_template(calls)

    def of(self, call: Call) -> str | None:
        """The question of a call; None where its text was not kept."""
        return self._texts.get(call)

    def bare(self, call: Call, mark: MessageMark) -> str:
        """The text of a message without the documents that stand in it."""
        text = self._traffic.text(mark.digest) or ""
        spans = [
            (start, start + len(document))
            for document in self._documents(call, mark.length)
            if (start := text.find(document)) >= 0
        ]
        pieces, end = [], 0
        for start, stop in sorted(spans):
            pieces.append(text[end:start])
            end = max(end, stop)
        return "".join([*pieces, text[end:]]).strip()

    def _documents(self, call: Call, longest: int) -> list[str]:
        """What was retrieved and can stand in a text of so many characters."""
        marks = {mark: None for found in call.retrieved for mark in found}
        fitting = (mark.digest for mark in marks if mark.length <= longest)
        return [text for each in fitting if (text := self._traffic.text(each))]

    def _take_out_template(self, calls: Sequence[Call]) -> None:
        texts = [self._texts[call] for call in calls]
        if len(set(texts)) < 2:
            return
        front = _cut_at_end(_common(texts))
        rest = [text[len(front) :] for text in texts]
        back = _common([text[::-1] for text in rest])[::-1]
        tail = len(back) - back.index("\n") if "\n" in back else 0
        for call, text in zip(calls, rest, strict=True):
            self._texts[call] = text[: len(text) - tail].strip()


def _kind(call: Call) -> object:
    entry = call.entry
    return entry.node, entry.agent, call.tools and call.tools.digest


def _common(texts: Sequence[str]) -> str:
    """What all texts begin with: what the first and last in their order do."""
    first, last = min(texts), max(texts)
    pairs = zip(first, last, strict=False)
    ends = (at for at, (one, other) in enumerate(pairs) if one != other)
    return first[: next(ends, None)]


def _cut_at_end(common: str) -> str:
    """As much of a text as ends where a template may."""
    ends = [common.rfind(end) + len(end) for end in _ENDS if end in common]
    return common[: max(ends, default=0)]
