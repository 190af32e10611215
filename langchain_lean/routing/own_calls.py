"""The calls that policies make on the router's behalf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import ensure_config

from langchain_lean.models import own_call
from langchain_lean.routing.verdict import LEVER


def asked(model: Runnable[Any, Any], messages: Sequence[BaseMessage]) -> Any:
    """Ask a model as a part of the run that is running.

    Args:
        model: Who is asked.
        messages: What is sent.

    Returns:
        What it gives; its cost stands in a ledger under `routing`.
    """
    return model.invoke(messages, own_call(ensure_config(), LEVER))


async def aasked(model: Runnable[Any, Any], messages: Sequence[BaseMessage]) -> Any:
    """`asked` for asyncio."""
    return await model.ainvoke(messages, own_call(ensure_config(), LEVER))
