"""What providers and LangChain report, each taken to the counts of `TokenUsage`.

Every dialect is one function from the provider's object to a dict of counts. Values
are passed on as they came: `TokenUsage` is the one place that refuses them.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import AIMessage

from langchain_lean.accounting.model_ids import undoubled

Counts = dict[str, Any]

_TIERS = ("priority", "flex")
_TIER_KEYS = ("service_tier", "serviceTier", "usage")

_SEARCHES = {
    "web_search_call": "web_searches",
    "web_search": "web_searches",
    "file_search_call": "file_searches",
    "file_search": "file_searches",
}

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


def message_counts(message: AIMessage) -> Counts | None:
    """Take what a message carries to counts named as in `TokenUsage`.

    Args:
        message: The answer, whole or merged from chunks.

    Returns:
        The counts, or None where the provider reported none.
    """
    response = _mapping(message.response_metadata)
    reported = _mapping(message.usage_metadata)
    counts: Counts | None
    if "input_tokens" in reported:
        counts = _langchain(reported, response)
    else:
        raw = response.get("token_usage") or response.get("usage")
        counts = normal_counts(_mapping(raw))
    if counts is None:
        return None
    for name, count in _searches(message).items():
        if counts.get(name) is None:
            counts[name] = count
    return counts


def message_region(message: AIMessage) -> str | None:
    """The region that was billed for an answer, if anybody says it."""
    return _text(_mapping(message.response_metadata).get("region"))


def message_tier(message: AIMessage) -> str | None:
    """The service tier that was billed for an answer, if anybody says it."""
    response = _mapping(message.response_metadata)
    details = _mapping(_mapping(message.usage_metadata).get("input_token_details"))
    for tier in _TIERS:
        if tier in details:
            return tier
    if response.keys().isdisjoint(_TIER_KEYS):
        return None
    return own_tier(response) or own_tier(_mapping(response.get("usage")))


def own_tier(said: Mapping[str, Any]) -> str | None:
    """The tier a provider names, or the speed where Anthropic bills that instead.

    Args:
        said: A usage object, or what stands beside one.

    Returns:
        The tier in the provider's words; None where it names none.
    """
    if said.get("speed") == "fast":
        return "fast"
    value = said.get("service_tier") or said.get("serviceTier")
    text = _text(value.get("type") if isinstance(value, Mapping) else value)
    return text and undoubled(text)


def _langchain(reported: Mapping[str, Any], response: Mapping[str, Any]) -> Counts:
    """LangChain's form: totals, with provider-named parts below them."""
    inputs = _mapping(reported.get("input_token_details"))
    outputs = _mapping(reported.get("output_token_details"))
    counts = {
        "input": reported["input_tokens"],
        "output": reported.get("output_tokens"),
    }
    if not (inputs or outputs or "usage" in response):
        return counts
    prefix = next((f"{tier}_" for tier in _TIERS if tier in inputs), "")
    writes_5m = inputs.get("ephemeral_5m_input_tokens") or 0
    writes_1h = inputs.get("ephemeral_1h_input_tokens") or 0
    writes = _part(inputs, prefix, "cache_creation")
    counts |= {
        "cache_read": _part(inputs, prefix, "cache_read"),
        "cache_write_5m": writes_5m or (0 if writes_1h else writes),
        "cache_write_1h": writes_1h,
        "reasoning": _part(outputs, prefix, "reasoning"),
    }
    for medium in ("audio", "image", "video"):
        counts[f"{medium}_input"] = inputs.get(medium)
        if medium != "video":
            counts[f"{medium}_output"] = outputs.get(medium)
    raw = _mapping(response.get("usage"))
    served = _mapping(raw.get("server_tool_use"))
    counts["web_searches"] = served.get("web_search_requests")
    return counts


def _part(details: Mapping[str, Any], prefix: str, name: str) -> Any:
    return (details.get(prefix + name) if prefix else None) or details.get(name) or 0


def _searches(message: AIMessage) -> Mapping[str, int]:
    """The searches that stand in the content, for providers that do not count them.

    OpenAI never does, Anthropic does not in what LangChain keeps of a stream.
    """
    if not isinstance(message.content, list):
        return {}
    blocks = message.content
    found = (_searched(block) for block in blocks if isinstance(block, dict))
    return Counter(name for name in found if name)


def _searched(block: Mapping[str, Any]) -> str | None:
    """What a content block is billed as: a search, not the opening of what it found."""
    kind = block.get("type")
    if kind in ("server_tool_use", "server_tool_call"):
        kind = block.get("name")
    action = _mapping(block.get("action") or block.get("args")).get("type", "search")
    return _SEARCHES.get(str(kind)) if action == "search" else None


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
    return _mapping(usage.get(key))


def _rows(usage: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    rows = usage.get(key)
    found = rows if isinstance(rows, list) else ()
    return [row for row in found if isinstance(row, Mapping)]


def _sum(*values: Any) -> Any:
    """Add whole numbers; anything else is passed on, to be refused with its reason."""
    given = [value for value in values if value]
    wrong = [value for value in given if type(value) is not int]
    return wrong[0] if wrong else sum(given)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if type(value) is dict or isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    return value[:64].encode("utf-8", "replace").decode("utf-8")
