"""The usage objects providers send, each taken to the counts of `TokenUsage`.

Every dialect is one function from the provider's object to a dict of counts. Values
are passed on as they came: `TokenUsage` is the one place that refuses them.
"""

from collections.abc import Callable, Mapping
from typing import Any

Counts = dict[str, Any]

_GEMINI_MEDIA = {
    "AUDIO": "audio",
    "IMAGE": "image",
    "DOCUMENT": "image",  # Gemini bills the pages of a document as images
    "VIDEO": "video",
}


def normal_counts(usage: Mapping[str, Any]) -> Counts | None:
    """Take a provider's usage object to counts named as in `TokenUsage`.

    Args:
        usage: The decoded object.

    Returns:
        The counts, or None where the object is of no known form.
    """
    for key, read in _DIALECTS:
        if key in usage:
            return read(usage)
    return None


def _openai_chat(usage: Mapping[str, Any]) -> Counts:
    inputs = _details(usage, "prompt_tokens_details")
    outputs = _details(usage, "completion_tokens_details")
    return {
        "input": usage["prompt_tokens"],
        "output": usage.get("completion_tokens"),
        "cache_read": inputs.get("cached_tokens"),
        "cache_write_5m": inputs.get("cache_write_tokens"),
        "audio_input": inputs.get("audio_tokens"),
        "image_input": inputs.get("image_tokens"),
        "reasoning": outputs.get("reasoning_tokens"),
        "audio_output": outputs.get("audio_tokens"),
        "image_output": outputs.get("image_tokens"),
    }


def _openai_responses(usage: Mapping[str, Any]) -> Counts:
    inputs = _details(usage, "input_tokens_details")
    outputs = _details(usage, "output_tokens_details")
    return {
        "input": usage["input_tokens"],
        "output": usage.get("output_tokens"),
        "cache_read": inputs.get("cached_tokens"),
        "cache_write_5m": inputs.get("cache_write_tokens"),
        "reasoning": outputs.get("reasoning_tokens"),
    }


def _anthropic(usage: Mapping[str, Any]) -> Counts:
    """Anthropic's `input_tokens` leaves out what was read from or written to cache."""
    read = usage.get("cache_read_input_tokens")
    lifetimes = _details(usage, "cache_creation")
    hour = lifetimes.get("ephemeral_1h_input_tokens")
    minutes = lifetimes.get("ephemeral_5m_input_tokens")
    if not hour and not minutes:
        minutes = usage.get("cache_creation_input_tokens")
    return {
        "input": _sum(usage.get("input_tokens"), read, minutes, hour),
        "output": usage.get("output_tokens"),
        "cache_read": read,
        "cache_write_5m": minutes,
        "cache_write_1h": hour,
        "reasoning": _details(usage, "output_tokens_details").get("thinking_tokens"),
        "web_searches": _details(usage, "server_tool_use").get("web_search_requests"),
    }


def _converse(usage: Mapping[str, Any]) -> Counts:
    """Bedrock Converse: `inputTokens` leaves out the cached parts, as Anthropic's."""
    read = usage.get("cacheReadInputTokens")
    details = _rows(usage, "cacheDetails")
    hour = _sum(*(row.get("inputTokens") for row in details if row.get("ttl") == "1h"))
    writes = usage.get("cacheWriteInputTokens")
    minutes = writes
    if type(writes) is int and type(hour) is int:
        minutes = writes - hour
    return {
        "input": _sum(usage["inputTokens"], read, writes),
        "output": usage.get("outputTokens"),
        "cache_read": read,
        "cache_write_5m": minutes,
        "cache_write_1h": hour,
    }


def _gemini(usage: Mapping[str, Any]) -> Counts:
    """Gemini: tool results are input, thoughts are output, media stand beside text."""
    counts: Counts = {
        "input": _sum(usage["promptTokenCount"], usage.get("toolUsePromptTokenCount")),
        "output": _sum(
            usage.get("candidatesTokenCount"), usage.get("thoughtsTokenCount")
        ),
        "cache_read": usage.get("cachedContentTokenCount"),
        "reasoning": usage.get("thoughtsTokenCount"),
    }
    for key, suffix in (
        ("promptTokensDetails", "input"),
        ("cacheTokensDetails", "cache_read"),
        ("candidatesTokensDetails", "output"),
    ):
        for row in _rows(usage, key):
            medium = _GEMINI_MEDIA.get(str(row.get("modality")))
            if medium and (medium, suffix) != ("video", "output"):
                name = f"{medium}_{suffix}"
                counts[name] = _sum(counts.get(name), row.get("tokenCount"))
    return counts


_DIALECTS: tuple[tuple[str, Callable[[Mapping[str, Any]], Counts]], ...] = (
    ("prompt_tokens", _openai_chat),
    ("inputTokens", _converse),
    ("promptTokenCount", _gemini),
    ("cache_read_input_tokens", _anthropic),
    ("cache_creation_input_tokens", _anthropic),
    ("server_tool_use", _anthropic),
    ("input_tokens", _openai_responses),
)


def _details(usage: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = usage.get(key)
    return value if isinstance(value, Mapping) else {}


def _rows(usage: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    rows = usage.get(key)
    found = rows if isinstance(rows, list) else ()
    return [row for row in found if isinstance(row, Mapping)]


def _sum(*values: Any) -> Any:
    """Add whole numbers; anything else is passed on, to be refused with its reason."""
    given = [value for value in values if value]
    wrong = [value for value in given if type(value) is not int]
    return wrong[0] if wrong else sum(given)
