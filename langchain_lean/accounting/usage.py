"""One normal form for every provider's token counts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import add, attrgetter
from typing import Any, Self

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from langchain_lean.accounting.payloads import (
    message_counts,
    message_region,
    message_tier,
    normal_counts,
    own_tier,
)
from langchain_lean.errors import UsageError

LARGEST_COUNT = 10**9
"""A call with more is taken for garbage: no provider serves a billion tokens."""

_LARGEST_SUM = 10**18  # what still fits 64 bits when sums are stored

_CACHED_MEDIA = {
    "audio_input": "audio_cache_read",
    "image_input": "image_cache_read",
    "video_input": "video_cache_read",
}
_MEDIA = _CACHED_MEDIA.keys()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TokenUsage:
    """What one or several calls used, in tokens unless said otherwise.

    `input` and `output` are totals. Every other token count is a part of one of
    them, never an addition to it.

    Attributes:
        input: All input tokens, cached ones included.
        output: All output tokens, reasoning included.
        cache_read: Part of `input` that was read from the provider's cache.
        cache_write_5m: Part of `input` written to the cache for the provider's
            default lifetime (5 minutes at Anthropic and Bedrock).
        cache_write_1h: Part of `input` written to the cache for an hour.
        audio_input: Part of `input` that was audio, cached audio included.
        audio_cache_read: Part of both `audio_input` and `cache_read`.
        image_input: Part of `input` that was images, cached images included.
        image_cache_read: Part of both `image_input` and `cache_read`.
        video_input: Part of `input` that was video, cached video included.
        video_cache_read: Part of both `video_input` and `cache_read`.
        reasoning: Part of `output` that was hidden or shown reasoning.
        audio_output: Part of `output` that was audio.
        image_output: Part of `output` that was images.
        web_searches: Searches the provider ran and bills one by one.
        file_searches: File searches the provider ran and bills one by one.
        service_tier: The tier that was billed (`flex`, `priority`, `batch`, ...).
        region: The region that was billed, where it changes the price.

    Raises:
        UsageError: If a count is not a whole number from 0 up, or the parts are
            larger than their total.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    audio_cache_read: int = 0
    image_input: int = 0
    image_cache_read: int = 0
    video_input: int = 0
    video_cache_read: int = 0
    reasoning: int = 0
    audio_output: int = 0
    image_output: int = 0
    web_searches: int = 0
    file_searches: int = 0
    service_tier: str | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        values = _values(self)
        if not set(map(type, values)) <= {int} or min(values) < 0:
            name, value = next(
                (name, value)
                for name, value in zip(COUNTS, values, strict=True)
                if type(value) is not int or value < 0
            )
            kind = (
                "negative" if type(value) is int else f"of type {type(value).__name__}"
            )
            msg = f"{name} must be a whole number from 0 up, but it is {kind}."
            raise UsageError(msg)
        if max(values) > _LARGEST_SUM:
            msg = "A count is too large to be one of tokens."
            raise UsageError(msg)
        if any(values[2:]):
            _check_parts(self)

    def __add__(self, other: Self) -> "TokenUsage":
        """Add two usages; tier and region stay only where both agree."""
        if not isinstance(other, TokenUsage):
            return NotImplemented
        sums = dict(zip(COUNTS, map(add, _values(self), _values(other)), strict=True))
        tier = self.service_tier if self.service_tier == other.service_tier else None
        region = self.region if self.region == other.region else None
        return TokenUsage(**sums, service_tier=tier, region=region)

    def __repr__(self) -> str:
        beside = {"service_tier": self.service_tier, "region": self.region}
        shown = self.counts() | {k: v for k, v in beside.items() if v is not None}
        return f"TokenUsage({', '.join(f'{k}={v!r}' for k, v in shown.items())})"

    @property
    def total(self) -> int:
        """Input plus output tokens."""
        return self.input + self.output

    def counts(self) -> dict[str, int]:
        """The counts that are not 0, by field name."""
        pairs = zip(COUNTS, _values(self), strict=True)
        return {name: value for name, value in pairs if value}

    @classmethod
    def from_message(cls, message: AIMessage) -> "TokenUsage | None":
        """Read what a provider reported for one answer.

        LangChain's `usage_metadata` comes first; where a package sets none, the
        provider's own object in `response_metadata` is read.

        Args:
            message: The answer, whole or merged from chunks.

        Returns:
            The usage, or None where the provider reported none.

        Raises:
            UsageError: If what was reported cannot be true.
        """
        counts = message_counts(message)
        if counts is None:
            return None
        return _believed(counts, message_tier(message), message_region(message))

    @classmethod
    def from_result(cls, result: LLMResult) -> "TokenUsage | None":
        """Read what a provider reported for one run of a chat model or an LLM.

        Several choices of one call (`n > 1`) carry the same total, so the first is
        read. Of several prompts sent in one call, LangChain leaves the total with
        the first run and an empty object with the others: those used nothing more.

        Args:
            result: The result as `on_llm_end` gets it.

        Returns:
            The usage, or None where the provider reported none.

        Raises:
            UsageError: If what was reported cannot be true.
        """
        first = _first(result)
        if isinstance(first, ChatGeneration) and isinstance(first.message, AIMessage):
            usage = cls.from_message(first.message)
            if usage is not None:
                return usage
        raw = (result.llm_output or {}).get("token_usage")
        if raw is None and first is not None:
            raw = (first.generation_info or {}).get("token_usage")
        if not isinstance(raw, Mapping):
            return None
        return cls() if not raw else cls.from_provider(raw)

    @classmethod
    def from_provider(cls, usage: Mapping[str, Any]) -> "TokenUsage | None":
        """Read a provider's own usage object, for calls LangChain does not see.

        OpenAI (chat, responses, embeddings), Anthropic, Bedrock Converse and
        Gemini are known by their keys.

        Args:
            usage: The decoded usage object (`usage`, or Gemini's `usageMetadata`).

        Returns:
            The usage, or None where the object holds no known count.

        Raises:
            UsageError: If what was reported cannot be true.
        """
        counts = normal_counts(usage)
        if counts is None:
            return None
        return _believed(counts, own_tier(usage), None)


COUNTS: tuple[str, ...] = tuple(
    field.name for field in fields(TokenUsage) if field.type is int
)
"""The names of the counting fields of `TokenUsage`, `input` and `output` first."""

_values = attrgetter(*COUNTS)


def _believed(
    counts: Mapping[str, Any], tier: str | None, region: str | None
) -> TokenUsage:
    """What one call used, if it can be true."""
    given = {name: value for name, value in counts.items() if value}
    if not _MEDIA.isdisjoint(given):
        _mend_overlap(given)
    usage = TokenUsage(**given, service_tier=tier, region=region)
    if max(given.values(), default=0) > LARGEST_COUNT:
        msg = f"A call with a count above {LARGEST_COUNT} is not a provider's."
        raise UsageError(msg)
    return usage


def _mend_overlap(counts: dict[str, Any]) -> None:
    """Take cached media to be the least that makes the parts of the input fit.

    OpenAI never reports them, Gemini not always.
    """
    if any(type(value) is not int for value in counts.values()):
        return
    part = Counter(counts)
    cached = part["cache_read"] + part["cache_write_5m"] + part["cache_write_1h"]
    excess = cached + sum(part[medium] for medium in _MEDIA) - part["input"]
    excess -= sum(part[name] for name in _CACHED_MEDIA.values())
    for medium, name in _CACHED_MEDIA.items():
        more = min(excess, part[medium] - part[name])
        if more > 0:
            counts[name] = part[name] + more
            excess -= more


def _check_parts(usage: TokenUsage) -> None:
    cached = usage.cache_read + usage.cache_write_5m + usage.cache_write_1h
    media = usage.audio_input + usage.image_input + usage.video_input
    both = usage.audio_cache_read + usage.image_cache_read + usage.video_cache_read
    wrong = (
        both > usage.cache_read
        or any(
            getattr(usage, f"{medium}_cache_read") > getattr(usage, f"{medium}_input")
            for medium in ("audio", "image", "video")
        )
        or cached + media - both > usage.input
    )
    if wrong:
        msg = (
            f"The cached and media parts of the input are larger than its total of "
            f"{usage.input} tokens."
        )
        raise UsageError(msg)
    shown = usage.audio_output + usage.image_output
    if max(usage.reasoning, shown) > usage.output:
        msg = f"The parts of the output are larger than its {usage.output} tokens."
        raise UsageError(msg)


def _first(result: LLMResult) -> Any:
    choices = result.generations[0] if result.generations else []
    return choices[0] if choices else None
