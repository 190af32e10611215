"""Which models are known to take a stop sequence, and which may think first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

_OWN = ("stop", "stop_sequences", "stopSequences")
_UNSURE = (  # what makes a model think, or sends something else than our options
    "additional_model_request_fields",
    "extra_body",
    "inferenceConfig",
    "inference_config",
    "previous_response_id",
    "reasoning",
    "reasoning_effort",
    "thinking",
    "use_responses_api",
)
_CLAUDE = re.compile(
    r"(?:.*\.)?(?:anthropic\.)?claude-(?:3\b|(?:sonnet|opus|haiku)-4\b)"
)
_TAKERS = {
    "openai": re.compile(
        r"gpt-(?:3\.5-turbo|4|4-turbo|4o|4o-mini|4\.1(?:-mini|-nano)?)(?:-\d[\d-]*)?$"
    ),
    "anthropic": _CLAUDE,
    "amazon_bedrock": re.compile(f"{_CLAUDE.pattern}|(?:.*\\.)?amazon\\.nova-"),
}
"""Families of models by LangChain's name of their provider.

OpenAI's reasoning models (o1 and later, gpt-5 and later) refuse `stop`, and its
Responses API has no such parameter: https://platform.openai.com/docs/api-reference/chat/create.
Anthropic and Amazon document `stop_sequences` and `stopSequences` for these models.
"""


def may_think(model: BaseChatModel, options: Mapping[str, Any]) -> bool:
    """Whether a model may think before it answers, for which a small cap has no room.

    Args:
        model: The chat model.
        options: The options of the call.

    Returns:
        True where an option says so, and for OpenAI's models that are not known to
        answer at once.
    """
    if any(options.get(name) or getattr(model, name, None) for name in _UNSURE):
        return True
    said = model._get_ls_params(**options)
    family = _TAKERS["openai"].match(said.get("ls_model_name") or "")
    return said.get("ls_provider") == "openai" and not family


def takes_stop(model: BaseChatModel, options: Mapping[str, Any]) -> bool:
    """Whether a call can be given a stop sequence of ours.

    Args:
        model: The chat model.
        options: The options of the call.

    Returns:
        True for a family of models that is known to take one, where the call has no
        stop sequences of its own and the model does not think before it answers.
    """
    if any(options.get(name) or getattr(model, name, None) for name in _OWN):
        return False
    if may_think(model, options):
        return False
    said = model._get_ls_params(**options)
    family = _TAKERS.get(said.get("ls_provider", ""))
    return bool(family and family.match(said.get("ls_model_name") or ""))
