"""A hit as an answer: what stands on it, and how a stream gives it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from uuid import uuid4

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.caching.records import Record
from langchain_lean.errors import UnpricedModelError, UsageError
from langchain_lean.messages import note

LEVER = "cache"
"""What the ledger and the notes on answers call this lever."""

BASELINE = "the model's answer to the question it was kept for"
"""What the saving of a semantic hit is compared with."""

HitKind = Literal["exact", "semantic"]

_REASONS = {
    "exact": "the same was asked before",
    "semantic": "a question that is close enough was asked before",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An answer that need not be asked for.

    Attributes:
        record: The answer, and what it took.
        kind: Whether the prompt is the same, or its question close enough.
        similarity: The cosine between the questions; 1 for an exact hit.
        age: How long ago the answer was kept, in seconds.
    """

    record: Record
    kind: HitKind
    similarity: float
    age: float

    @property
    def avoided(self) -> TokenUsage | None:
        """What the answer took when a model gave it; None where that is not known."""
        message = self.record.message
        if message is None:
            return None
        try:
            return TokenUsage.from_message(message)
        except UsageError:
            return None

    def answers(self, prices: PriceBook) -> list[Generation]:
        """The answers with the marks of a hit, as LangChain takes them from a cache."""
        return [self._marked(answer, prices) for answer in self.record.answers]

    def message(self, prices: PriceBook) -> AIMessage:
        """The answer with the marks of a hit, LangChain's own, and an id of its own."""
        [first, *_] = self.answers(prices)
        message = first.message if isinstance(first, ChatGeneration) else None
        if not isinstance(message, AIMessage):
            message = AIMessage(first.text)
        new: dict[str, Any] = {"id": f"lean-{uuid4()}"}
        if message.usage_metadata is not None:
            new["usage_metadata"] = {**message.usage_metadata, "total_cost": 0}
        return message.model_copy(update=new)

    def saved(self, prices: PriceBook) -> Decimal | None:
        """Dollars that the answer took; None where no price is known."""
        usage, model = self.avoided, self.record.model
        if usage is None or model is None:
            return None
        try:
            return prices.cost(usage, model, self.record.provider).total
        except UnpricedModelError:
            return None

    def _marked(self, answer: Generation, prices: PriceBook) -> Generation:
        if not isinstance(answer, ChatGeneration):
            return answer
        saved = self.saved(prices)
        metadata = dict(answer.message.response_metadata)
        # Deep: those who waited for one answer each get their own.
        message = answer.message.model_copy(
            update={"response_metadata": metadata}, deep=True
        )
        if isinstance(message, AIMessage):
            note(
                message,
                lever=LEVER,
                action="hit",
                reason=_REASONS[self.kind],
                kind=self.kind,
                similarity=round(self.similarity, 4),
                age_seconds=round(self.age, 3),
                saved_seconds=round(self.record.seconds, 3),
                baseline=BASELINE if self.kind == "semantic" else None,
                saved_usd=None if saved is None else f"{saved.normalize():f}",
            )
        return ChatGeneration(message=message, generation_info=answer.generation_info)
