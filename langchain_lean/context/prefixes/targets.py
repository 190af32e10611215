"""The model a prompt is for, and what it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase

from langchain_lean.context.prefixes.limits import CacheRules, cache_rules
from langchain_lean.errors import ConfigurationError
from langchain_lean.models import chat_model_of, ls_params

_INVOKE_MODEL = "amazon_bedrock_chat"  # ChatBedrock, by either API of Bedrock


class Target(NamedTuple):
    """The model a prompt is for.

    Attributes:
        name: The model id.
        provider: Its provider, as LangChain names it.
        rules: What the provider caches of it; None for no marks.
        options: Options of its calls that are set already.
        reason: Why there are no rules, where there are none.
    """

    name: str
    provider: str | None
    rules: CacheRules | None
    options: Mapping[str, Any]
    reason: str = "no cache points are known for the model"


def target_of(model: Any) -> Target:
    """The model a prompt is for.

    Args:
        model: A chat model, or its name and its provider.

    Raises:
        ConfigurationError: If it is neither.
    """
    if isinstance(model, tuple):
        if [type(part) for part in model] != [str, str]:
            msg = "model= is a chat model, or a pair of its name and its provider."
            raise ConfigurationError(msg)
        name, provider = model
        return Target(name, provider, cache_rules(name, provider), {})
    first, *others = (_one(each) for each in _models(model))
    if not others:
        return first
    rules = [each.rules for each in (first, *others) if each.rules]
    forms = {(each.dialect, each.marks > 0) for each in rules}
    if len(rules) <= len(others) or len(forms) > 1:
        reason = "the model's fallbacks do not take marks of the same form"
        return first._replace(rules=None, reason=reason)
    return first._replace(rules=_met(rules))


def _met(rules: Sequence[CacheRules]) -> CacheRules:
    """What all of several models take."""
    return CacheRules(
        dialect=rules[0].dialect,
        minimum=max(each.minimum for each in rules),
        marks=min(each.marks for each in rules),
        tools=all(each.tools for each in rules),
        hour=all(each.hour for each in rules),
        exact=any(each.exact for each in rules),
    )


def _models(model: Any) -> list[Any]:
    """A model, or it and its fallbacks."""
    if isinstance(model, RunnableWithFallbacks):
        return [each for part in model.runnables for each in _models(part)]
    if isinstance(model, RunnableBindingBase) and len(_models(model.bound)) > 1:
        return _models(model.bound)
    return [model]


def _one(model: Any) -> Target:
    said = ls_params(model)
    name, provider = said.get("ls_model_name") or "", said.get("ls_provider")
    rules = cache_rules(name, provider)
    bound = chat_model_of(model)
    by_converse = getattr(bound.model, "beta_use_converse_api", False)
    if rules and bound.model._llm_type == _INVOKE_MODEL and not by_converse:
        rules = replace(rules, dialect="invoke", hour=False)
    own = getattr(bound.model, "model_kwargs", None) or {}
    said_once = getattr(bound.model, "prompt_cache_options", None)
    options = {"prompt_cache_options": said_once} if said_once else {}
    return Target(name, provider, rules, {**options, **own, **bound.options})
