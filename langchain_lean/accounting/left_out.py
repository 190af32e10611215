"""What messages say they stand for, and what that spares the calls they go with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.accounting.savings import Saving, caches_by_itself
from langchain_lean.accounting.usage import LARGEST_COUNT, TokenUsage

_LEFT_OUT = "lean_left_out"
_CACHED_FROM = 1_024  # tokens; the documented minimum of OpenAI


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What a message says it spares every prompt it stands in.

    A ledger counts it with each call that was answered to such a prompt, and with no
    other: whoever leaves messages out does not know what becomes of the rest.

    Attributes:
        lever: Who left it out.
        tokens: How many input tokens; negative where what stands in their place has
            more.
        baseline: What the prompt is compared with.
        id: Of the occasion on which it was left out.
        cached: Whether the provider had the longer prompt in its cache then.
        moved: Tokens of what stayed and has a new place, where the provider's cache
            does not know it: a cost of the first call, once for each occasion.
    """

    lever: str
    tokens: int
    baseline: str
    id: str
    cached: bool = False
    moved: int = 0

    def mark(self) -> dict[str, Any]:
        """What to put into the `additional_kwargs` of the message."""
        return {_LEFT_OUT: asdict(self)}

    @classmethod
    def of(cls, message: BaseMessage) -> LeftOut | None:
        """What a message says; None if it is nothing, or cannot be true."""
        said = message.additional_kwargs.get(_LEFT_OUT)
        if not isinstance(said, dict) or said.keys() != {f.name for f in fields(cls)}:
            return None
        texts = (said["lever"], said["baseline"], said["id"])
        named = all(isinstance(text, str) and text for text in texts)
        counted = _is_count(said["tokens"]) and _is_count(said["moved"])
        known = named and counted and isinstance(said["cached"], bool)
        return cls(**said) if known and said["moved"] >= 0 else None


def _is_count(tokens: object) -> bool:
    return type(tokens) is int and abs(tokens) <= LARGEST_COUNT


def spared(prompt: Sequence[BaseMessage], call: LedgerEntry) -> Iterator[Saving]:
    """What the messages of a prompt say they spared the call, and what that cost it.

    Args:
        prompt: The messages.
        call: The call that was answered.
    """
    found = {(left.lever, left.id): left for left in map(LeftOut.of, prompt) if left}
    for left in found.values():
        reported = None if call.estimated else call.usage
        whole = call.usage.input + left.tokens
        cached = left.cached or would_be_cached(reported, whole, call.provider)
        amount = abs(left.tokens)
        tokens = TokenUsage(input=amount, cache_read=amount if cached else 0)
        if left.tokens > 0:
            yield _saving(left, call, call.run_id, avoided=tokens)
        elif left.tokens < 0:
            yield _saving(left, call, call.run_id, spent=tokens)
        if left.cached and left.moved:
            moved = left.moved
            read = TokenUsage(input=moved, cache_read=moved)
            written = TokenUsage(input=moved, cache_write_5m=moved)
            yield _saving(left, call, "moved", avoided=read, spent=written)


def _saving(
    left: LeftOut,
    call: LedgerEntry,
    what: str,
    *,
    avoided: TokenUsage = TokenUsage(),
    spent: TokenUsage = TokenUsage(),
) -> Saving:
    return Saving(
        lever=left.lever,
        id=f"{left.lever}:{left.id}:{what}",
        avoided=avoided,
        spent=spent,
        model=call.model or "",
        provider=call.provider,
        baseline=left.baseline,
        at=call.start,
    )


def would_be_cached(usage: TokenUsage | None, whole: int, provider: str | None) -> bool:
    """Whether a longer prompt would have been read from the provider's cache.

    Args:
        usage: What a call with a shorter prompt reports. Where nothing is reported the
            answer is yes, as then the least is saved.
        whole: Input tokens of the longer prompt. What was too short to be cached says
            nothing of it, at a provider that caches by itself.
        provider: The provider.
    """
    if usage is None:
        return True
    if usage.input < _CACHED_FROM and caches_by_itself(provider):
        return whole >= _CACHED_FROM
    return bool(usage.cache_read or usage.cache_write_5m or usage.cache_write_1h)
