"""A prompt against the one before it: how far they are equal, and what that costs."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.context.prefixes.limits import CacheRules
from langchain_lean.context.prefixes.parts import Part

_KEPT = 300  # seconds; what providers promise where nothing else is asked for
_KEPT_LONG = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How far a prompt is equal to the one before it, in bytes.

    Attributes:
        size: All bytes of the prompt.
        common: Those it begins with as the one before did.
        behind: Those behind the first change that stood in the one before, too.
        part: Which part has the first change; None where nothing changed: one of the
            two only goes on where the other ends.
        index: The number of this part among the tools or among the messages.
        offset: The first changed byte of this part.
    """

    size: int
    common: int
    behind: int = 0
    part: Part | None = None
    index: int = 0
    offset: int = 0


def compare(before: Sequence[Part], now: Sequence[Part]) -> Comparison:
    """Compare a prompt with the one before it.

    Args:
        before: The parts of the one before.
        now: The parts of the prompt.
    """
    size = sum(len(part.data) for part in now)
    common = 0
    for at, (old, new) in enumerate(zip(before, now, strict=False)):
        if old == new:
            common += len(new.data)
            continue
        named = (old.kind, old.name) == (new.kind, new.name)
        offset = _equal(old.data, new.data) if named else 0
        common += offset
        last_of_old = named and offset == len(old.data) and at == len(before) - 1
        last_of_new = named and offset == len(new.data) and at == len(now) - 1
        if last_of_old or last_of_new:
            break
        # A tool that is gone shows as a message in its place.
        part = old if (old.kind, new.kind) == ("tool", "message") else new
        tools = sum(each.kind == "tool" for each in now)
        return Comparison(
            size=size,
            common=common,
            behind=_behind(before[at:], now[at:], offset),
            part=part,
            index=at if part.kind == "tool" else at - tools,
            offset=offset,
        )
    return Comparison(size=size, common=common)


def is_next_question(compared: Comparison, before: Sequence[Part]) -> bool:
    """Whether a prompt differs only in the newest turn of the one before it.

    That is its last human message and what follows.
    """
    if compared.part is None or compared.part.kind == "tool":
        return False
    roles = [part.name for part in before if part.kind == "message"]
    return (
        "human" in roles[: compared.index + 1]
        and "human" not in (roles[compared.index + 1 :])
    )


def lost_tokens(
    compared: Comparison,
    usage: TokenUsage,
    before: TokenUsage,
    *,
    seconds: float,
    hour: bool,
    rules: CacheRules | None,
) -> int:
    """The tokens a change kept from being read from the provider's cache.

    They stood in the prompt before, but behind the first byte that changed. None where
    it is not known that the provider still had them: they were never cached, too short
    a prefix, or too long ago.

    Args:
        compared: What changed.
        usage: What the call used.
        before: What the call before used.
        seconds: How long that was ago.
        hour: Whether it was cached for an hour.
        rules: What the provider caches; None for nothing known.
    """
    if rules is None or seconds > (_KEPT_LONG if hour else _KEPT):
        return 0
    common = in_tokens(compared.common, compared, usage)
    lost = in_tokens(compared.behind, compared, usage)
    if common + lost < rules.minimum:
        return 0
    if rules.marks:  # else it caches all of a prompt, unasked
        lost = min(lost, _cached(before) - common)
    return max(min(lost, usage.input - usage.cache_read), 0)


def was_untold(usage: TokenUsage, rules: CacheRules | None) -> bool:
    """Whether a prompt that was long enough was not cached, for want of cache points.

    OpenAI caches without being told to.
    """
    if rules is None or rules.dialect == "openai":
        return False
    return usage.input >= rules.minimum and not _cached(usage)


def had_it_been_read(usage: TokenUsage, tokens: int) -> TokenUsage:
    """The input of a call with so many more tokens read from the cache.

    Tokens that were written to it are taken first.
    """
    five = min(tokens, usage.cache_write_5m)
    hour = min(tokens - five, usage.cache_write_1h)
    return TokenUsage(
        input=usage.input,
        cache_read=usage.cache_read + tokens,
        cache_write_5m=usage.cache_write_5m - five,
        cache_write_1h=usage.cache_write_1h - hour,
        service_tier=usage.service_tier,
        region=usage.region,
    )


def in_tokens(size: int, compared: Comparison, usage: TokenUsage) -> int:
    """Bytes of a prompt in tokens, scaled by length to what the provider counted."""
    return size * usage.input // compared.size if compared.size else 0


def _cached(usage: TokenUsage) -> int:
    return usage.cache_read + usage.cache_write_5m + usage.cache_write_1h


def _equal(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    size = min(len(one), len(other))
    ends = range(1, size + 1)
    return bisect_left(ends, True, key=lambda end: one[:end] != other[:end])


def _behind(before: Sequence[Part], now: Sequence[Part], offset: int) -> int:
    """The bytes of parts that stood there before, too; of the changed one its end."""
    left = Counter(before)
    old, new = before[0], now[0]
    found = -offset if left[new] else 0  # that much of it is in front of the change
    for part in now:
        if left[part]:
            left[part] -= 1
            found += len(part.data)
    changed = left[old] > 0 and new not in before
    if changed and (old.kind, old.name) == (new.kind, new.name):
        found += _equal(old.data[offset:][::-1], new.data[offset:][::-1])
    return found
