"""What the graph is given, and could not work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from typing_extensions import is_typeddict

from langchain_lean.budgets.guard import BudgetGuard
from langchain_lean.budgets.model import BudgetedModel
from langchain_lean.caching.answering.nodes import CacheNodes
from langchain_lean.caching.cache import SemanticCache
from langchain_lean.context.memory import SummaryMemory
from langchain_lean.errors import ConfigurationError
from langchain_lean.graph.state import LeanState
from langchain_lean.models import chat_model_of
from langchain_lean.routing.policies import EscalationPolicy

_KINDS: dict[str, tuple[type, ...]] = {
    "retriever": (BaseRetriever,),
    "cache": (SemanticCache, CacheNodes),
    "memory": (SummaryMemory,),
    "guard": (BudgetGuard,),
    "faq": (Mapping, BaseRetriever),
    "verify": (EscalationPolicy,),
    "system_prompt": (str,),
}


def check_parts(
    *models: Any,
    tools: Sequence[object],
    final: object,
    state_schema: object,
    **parts: Any,
) -> None:
    """Refuse what the graph could not work with.

    Args:
        models: The models; None for one that is not given.
        tools: The tools.
        final: Who writes the last answer of a turn with tools.
        state_schema: The schema of the state.
        parts: The others, by the name of their argument; None for one not given.

    Raises:
        ConfigurationError: If something is of another kind.
    """
    for model in models:
        _check_model(model)
    for name, given in parts.items():
        if given is not None and not isinstance(given, _KINDS[name]):
            wanted = " or ".join(kind.__name__ for kind in _KINDS[name])
            raise _refused(f"{name}= is for {wanted}, not {type(given).__name__}.")
    for tool in tools:
        if not (callable(tool) or isinstance(tool, BaseTool | dict)):
            kind = type(tool).__name__
            raise _refused(f"tools= takes tools and functions, not {kind}.")
    if final not in (None, "strong"):
        raise _refused(f'final= is "strong" or None, not {final!r:.40}.')
    _check_schema(state_schema)
    _check_memory(parts["memory"])
    _check_faq(parts["faq"])


def _check_model(model: Any) -> None:
    if isinstance(model, BudgetedModel):
        msg = (
            "Give the graph the chat models themselves, a guard to guard=, and a cap "
            "to max_calls=."
        )
        raise _refused(msg)
    if model is not None and not isinstance(model, Runnable):
        kind = type(model).__name__
        raise _refused(f"cheap, medium and strong are chat models, not {kind}.")
    if model is not None:
        chat_model_of(model)


def _check_schema(schema: Any) -> None:
    wanted = get_type_hints(LeanState, include_extras=True)
    given = get_type_hints(schema, include_extras=True) if is_typeddict(schema) else {}
    if any(given.get(name) != hint for name, hint in wanted.items()):
        msg = "state_schema= takes a subclass of LeanState, with its keys as they are."
        raise _refused(msg)


def _check_memory(memory: SummaryMemory | None) -> None:
    if memory is not None and memory.keys != ("messages", "short_messages"):
        raise _refused("memory= takes a SummaryMemory with the usual keys.")


def _check_faq(faq: object) -> None:
    pairs = faq.items() if isinstance(faq, Mapping) else ()
    if not all(isinstance(text, str) and text for pair in pairs for text in pair):
        raise _refused("faq= takes questions and answers that are texts.")


def _refused(reason: str) -> ConfigurationError:
    return ConfigurationError(reason)
