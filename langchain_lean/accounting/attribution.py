"""Whom a call is for: read from wherever an application says it."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

_scope: ContextVar[Mapping[str, str]] = ContextVar("langchain_lean_scope")


@contextmanager
def scope(**values: str) -> Iterator[None]:
    """Say whom the calls inside are for, where no metadata says it.

    Args:
        values: A ledger keeps `user_id` and `thread_id`; an inner scope adds to an
            outer one.

    Example:
        ```python
        with scope(user_id="ada"):
            model.invoke("Hello")
        ```
    """
    token = _scope.set({**_scope.get({}), **values})
    try:
        yield
    finally:
        _scope.reset(token)


def attributed(key: str, metadata: Mapping[str, Any] | None = None) -> str | None:
    """Look up whom the running call is for.

    Asked in this order, the first that knows: the call's metadata, the running
    configuration's metadata and `configurable`, the graph's runtime context, the
    enclosing `scope`.

    Args:
        key: Such as `user_id` or `thread_id`.
        metadata: The metadata the call's callbacks were given.

    Returns:
        The value as text, or None where nobody says.
    """
    found = _said(metadata, key)
    if found is None and (config := _running_config()):
        found = (
            _said(config.get("metadata"), key)
            or _said(config.get("configurable"), key)
            or _of_context(key)
        )
    return found or scoped(key)


def scoped(key: str) -> str | None:
    """Look up whom the enclosing `scope` says the calls are for, and nobody else.

    Args:
        key: Such as `user_id`.
    """
    return _said(_scope.get(None), key)


def running_metadata() -> Mapping[str, Any]:
    """The metadata of the configuration that is running, or an empty mapping."""
    return _running_config().get("metadata") or {}


def running_handlers() -> tuple[object, ...]:
    """The callback handlers of the configuration that is running."""
    callbacks = _running_config().get("callbacks")
    return tuple(getattr(callbacks, "handlers", callbacks) or ())


def running_parent() -> UUID | None:
    """The run that is running, if its configuration tells."""
    callbacks = _running_config().get("callbacks")
    parent = getattr(callbacks, "parent_run_id", None)
    return parent if isinstance(parent, UUID) else None


def _said(source: Mapping[str, Any] | None, key: str) -> str | None:
    value = source.get(key) if source else None
    return None if value is None or value == "" else str(value)


def _running_config() -> Mapping[str, Any]:
    """The configuration of the runnable that is running, if any is."""
    module = sys.modules.get("langchain_core.runnables.config")
    config = module.var_child_runnable_config.get() if module else None
    return config or {}


def _of_context(key: str) -> str | None:
    """What a graph's `context=` says; only where LangGraph is running anyway."""
    runtime = sys.modules.get("langgraph.runtime")
    if runtime is None:
        return None
    try:
        context = runtime.get_runtime().context
        if isinstance(context, Mapping):
            return _said(context, key)
        return _said({key: getattr(context, key, None)}, key)
    except Exception:  # no graph is running, or a property of a user's class fails
        return None
