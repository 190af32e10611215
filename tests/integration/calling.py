"""Every way to call a model, each asking twice where it can ask for several."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from langchain_lean.accounting.ledger import TokenLedger

Way = Callable[[Any, TokenLedger], Awaitable[int]]


def attached(ledger: TokenLedger) -> Any:
    """The configuration that a user passes to have a ledger see a call."""
    return {"callbacks": [ledger]}


async def invoke(model: Any, ledger: TokenLedger) -> int:
    model.invoke("hi", attached(ledger))
    return 1


async def ainvoke(model: Any, ledger: TokenLedger) -> int:
    await model.ainvoke("hi", attached(ledger))
    return 1


async def stream(model: Any, ledger: TokenLedger) -> int:
    list(model.stream("hi", attached(ledger)))
    return 1


async def astream(model: Any, ledger: TokenLedger) -> int:
    _ = [chunk async for chunk in model.astream("hi", attached(ledger))]
    return 1


async def batch(model: Any, ledger: TokenLedger) -> int:
    return len(model.batch(["hi", "hi"], attached(ledger)))


async def abatch(model: Any, ledger: TokenLedger) -> int:
    return len(await model.abatch(["hi", "hi"], attached(ledger)))


every_way = pytest.mark.parametrize(
    "call", [invoke, ainvoke, stream, astream, batch, abatch]
)
once_or_streamed = pytest.mark.parametrize("call", [invoke, ainvoke, stream, astream])
