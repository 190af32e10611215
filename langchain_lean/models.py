"""Pure helpers on chat models and what is bound to them."""

import sys
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import (
    RunnableConfig,
    RunnableParallel,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.retry import RunnableRetry

from langchain_lean.errors import ConfigurationError

CAPS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "num_predict",
    "maxTokens",
    "max_tokens_to_sample",
)
"""What classes of models and their providers call the cap of an answer."""

TOOLS = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "tool_config",
    "toolConfig",
)
"""The options of a call that give it tools."""

_ENDED_ON_CAP = ("length", "max_tokens", "MAX_TOKENS", "max_output_tokens")
_REASONS = ("finish_reason", "stop_reason", "stopReason", "done_reason")

_MARKS_INTERNAL_CALLS = "langchain.agents.middleware.internal_call_transformer"

_SENT_AS_THEY_ARE = ("extra_body", "model_kwargs")
_SENT_ALONE = ("inferenceConfig", "inference_config")
_HOLD_THINKING = ("additional_model_request_fields", "model_kwargs")


class Bound(NamedTuple):
    """A chat model, and what is bound to it.

    Attributes:
        model: The chat model.
        options: Options of its calls.
        metadata: Metadata of its calls.
    """

    model: BaseChatModel
    options: dict[str, Any]
    metadata: dict[str, Any]


def chat_model_of(runnable: Any) -> Bound:
    """The chat model inside of a runnable, with what is bound to it.

    Raises:
        ConfigurationError: If there is none.
    """
    options: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    while not isinstance(runnable, BaseChatModel):
        if isinstance(runnable, RunnableBindingBase):
            options = {**runnable.kwargs, **options}
            metadata = {**(runnable.config.get("metadata") or {}), **metadata}
            runnable = runnable.bound
        elif isinstance(runnable, RunnableSequence):
            runnable = runnable.first
        elif isinstance(runnable, RunnableWithFallbacks):
            runnable = runnable.runnable
        elif isinstance(runnable, RunnableParallel) and runnable.steps__:
            runnable = next(iter(runnable.steps__.values()))
        else:
            msg = (
                "It takes a chat model, or one with tools bound to it, "
                f"not {type(runnable).__name__}."
            )
            raise ConfigurationError(msg)
    return Bound(runnable, options, {**metadata, **(runnable.metadata or {})})


def ls_params(model: Any) -> Mapping[str, Any]:
    """How a model calls itself in the metadata of its calls, as a ledger hears it.

    Args:
        model: A chat model, or one with something bound to it.

    Returns:
        `ls_model_name`, `ls_provider` and the like, as far as it says them.
    """
    bound = chat_model_of(model)
    return bound.model._get_ls_params(**bound.options)


def model_string(model: Any) -> str:
    """A model and its parameters, as LangChain writes it for a cache.

    Args:
        model: A chat model, or one with something bound to it.
    """
    bound = chat_model_of(model)
    return bound.model._get_llm_string(**bound.options)


def own_call(config: RunnableConfig, source: str) -> RunnableConfig:
    """The configuration of a call that a lever makes on its own behalf.

    Args:
        config: The configuration of the run it is part of.
        source: The lever, for `lc_source`.

    Returns:
        The same, marked so that a ledger knows whose cost it is and no stream of a
        graph or an agent shows the answer.
    """
    return hidden_call(config, {"lc_source": source})


def hidden_call(config: RunnableConfig, metadata: Mapping[str, Any]) -> RunnableConfig:
    """The configuration of a call whose answer no stream is to show.

    Args:
        config: The configuration of the run it is part of.
        metadata: What the call's metadata is to say, too.
    """
    # Who runs no agent has not imported it, and has no stream that would look for it.
    agents = sys.modules.get(_MARKS_INTERNAL_CALLS)
    internal = agents.internal_call_metadata() if agents else {}
    return {
        **config,
        "tags": [*(config.get("tags") or []), "nostream"],
        "metadata": {**(config.get("metadata") or {}), **internal, **metadata},
    }


def capped(model: Any, tokens: int) -> Any:
    """The model with its answers capped, in the way its class has.

    Args:
        model: A chat model, or one with something bound to it.
        tokens: The most an answer may have.

    Returns:
        A copy; the model stays as it is.
    """
    if isinstance(model, RunnableBindingBase):
        kwargs = _capped_options(model.kwargs, tokens)
        bound = capped(model.bound, tokens)
        return model.model_copy(update={"bound": bound, "kwargs": kwargs})
    fields = getattr(type(model), "model_fields", ())
    sent = {name: getattr(model, name) for name in _SENT_AS_THEY_ARE if name in fields}
    if any(sent.values()):
        model = model.model_copy(update=_capped_options(sent, tokens))
    for name in CAPS:
        if name in fields:
            return model.model_copy(update={name: tokens})
    return model.bind(max_tokens=tokens)


def thinking_budget(runnable: Any) -> int:
    """The most tokens a model may think, where that is set; 0 where it is not.

    Args:
        runnable: A chat model, or one with something bound to it.
    """
    model, options, _ = chat_model_of(runnable)
    places = [options.get(name) for name in _HOLD_THINKING]
    places += [getattr(model, name, None) for name in _HOLD_THINKING]
    thinking = [options.get("thinking"), getattr(model, "thinking", None)]
    thinking += [each.get("thinking") for each in places if isinstance(each, Mapping)]
    budgets = (t.get("budget_tokens") for t in thinking if isinstance(t, Mapping))
    return max((b for b in budgets if isinstance(b, int)), default=0)


def without_tools(model: Any) -> Any:
    """The model without the tools that are bound to it, and with all else.

    Args:
        model: A chat model, or one with something bound to it.

    Returns:
        A copy; the model stays as it is.
    """
    if isinstance(model, RunnableBindingBase):
        kwargs = without(model.kwargs, TOOLS)
        bound = without_tools(model.bound)
        return model.model_copy(update={"bound": bound, "kwargs": kwargs})
    if isinstance(model, RunnableWithFallbacks):
        first, *others = map(without_tools, [model.runnable, *model.fallbacks])
        return model.model_copy(update={"runnable": first, "fallbacks": others})
    return chat_model_of(model).model


def tries_again(model: Any) -> bool:
    """Whether a model has retries or fallbacks around it.

    Args:
        model: A chat model, or one with something bound to it.
    """
    while isinstance(model, RunnableBindingBase):
        if isinstance(model, RunnableRetry):
            return True
        model = model.bound
    return isinstance(model, RunnableWithFallbacks)


def heard_only(model: Any) -> bool:
    """Whether a model's tokens are told to callbacks only: it has no stream.

    Args:
        model: A chat model, or one with something bound to it.
    """
    return bool(getattr(model, "heard_only", False))


def unstreamed(model: Any) -> Any:
    """The model with all of its calls in one piece, also where a graph streams.

    Args:
        model: A chat model, or one with something bound to it.

    Returns:
        A copy; the model stays as it is.
    """
    if isinstance(model, RunnableBindingBase):
        return model.model_copy(update={"bound": unstreamed(model.bound)})
    if isinstance(model, BaseChatModel):
        return model.model_copy(update={"disable_streaming": True})
    return model


def without(options: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Options without those of some names."""
    return {name: value for name, value in options.items() if name not in names}


def finish_reasons(message: AIMessage) -> list[str]:
    """Why an answer, or a piece of one, says it ended; none if it does not say."""
    said = message.response_metadata
    reasons = [said.get(name) for name in _REASONS]
    incomplete = said.get("incomplete_details")  # of OpenAI's Responses API
    if isinstance(incomplete, Mapping):
        reasons.append(incomplete.get("reason"))
    return [reason for reason in reasons if reason]


def ended_on_cap(message: AIMessage) -> bool:
    """Whether an answer was cut because it reached its cap."""
    return any(reason in _ENDED_ON_CAP for reason in finish_reasons(message))


def _capped_options(options: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """Options without caps of their own, where no field of the model caps instead."""
    kept = without(options, CAPS)
    for name, value in kept.items():
        if name in _SENT_AS_THEY_ARE and isinstance(value, Mapping):
            kept[name] = without(value, CAPS)
        elif name in _SENT_ALONE and isinstance(value, Mapping):
            kept[name] = {**without(value, CAPS), "maxTokens": tokens}
    return kept
