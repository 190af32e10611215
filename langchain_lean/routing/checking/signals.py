"""What a provider, or the shape of its message, says about an answer."""

from __future__ import annotations

from langchain_core.messages import AIMessage

from langchain_lean.models import ended_on_cap, finish_reasons

# As OpenAI and Azure, Bedrock, and Gemini document them.
_HELD_BACK = (
    "content_filter", "content_filtered", "guardrail_intervened", "SAFETY",
    "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
)  # fmt: skip
_REFUSED = "refusal"  # a block, a key and a reason of that name, by provider
_MEDIA = (
    "image", "image_url", "image_generation_call", "audio", "video", "file", "media",
)  # fmt: skip


def cut_short(answer: AIMessage) -> str | None:
    """Why an answer is not all there, in a few words; None if nothing says so."""
    if ended_on_cap(answer):
        return "it ended on its cap"
    if any(reason in _HELD_BACK for reason in finish_reasons(answer)):
        return "the provider held it back"
    if answer.invalid_tool_calls:
        return "a tool call cannot be read"
    return None


def reported_refusal(answer: AIMessage) -> bool:
    """Whether the provider says that the model refused."""
    if answer.additional_kwargs.get(_REFUSED) or _REFUSED in finish_reasons(answer):
        return True
    return _REFUSED in _block_types(answer)


def has_media(answer: AIMessage) -> bool:
    """Whether an answer has a picture, sound or file in it."""
    if answer.additional_kwargs.get("audio"):  # OpenAI's
        return True
    return any(kind in _MEDIA for kind in _block_types(answer))


def _block_types(answer: AIMessage) -> list[object]:
    content = answer.content
    if isinstance(content, str):
        return []
    return [
        "text" if isinstance(block, str) else block.get("type") for block in content
    ]
