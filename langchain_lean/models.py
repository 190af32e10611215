"""Pure helpers on chat models and what is bound to them."""

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import (
    RunnableParallel,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase

from langchain_lean.errors import ConfigurationError

_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
_ENDED_ON_CAP = ("length", "max_tokens", "MAX_TOKENS", "max_output_tokens")
_REASONS = ("finish_reason", "stop_reason", "stopReason")


def chat_model_of(runnable: Any) -> tuple[BaseChatModel, dict[str, Any]]:
    """The chat model inside of a runnable, and the options bound to it.

    Raises:
        ConfigurationError: If there is none.
    """
    options: dict[str, Any] = {}
    while not isinstance(runnable, BaseChatModel):
        if isinstance(runnable, RunnableBindingBase):
            options = {**runnable.kwargs, **options}
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
    return runnable, options


def capped(model: Any, tokens: int) -> Any:
    """The model with its answers capped, in the way its class has.

    Args:
        model: A chat model, or one with something bound to it.
        tokens: The most an answer may have.

    Returns:
        A copy; the model stays as it is.
    """
    if isinstance(model, RunnableBindingBase):
        return model.model_copy(update={"bound": capped(model.bound, tokens)})
    for name in _CAPS:
        if name in getattr(type(model), "model_fields", ()):
            return model.model_copy(update={name: tokens})
    return model.bind(max_tokens=tokens)


def ended_on_cap(message: AIMessage) -> bool:
    """Whether an answer was cut because it reached its cap."""
    said = message.response_metadata
    reasons = (
        said.get(name) for name in ("finish_reason", "stop_reason", "stopReason")
    )
    return any(reason in _ENDED_ON_CAP for reason in reasons)
