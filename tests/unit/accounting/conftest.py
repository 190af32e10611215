"""What the accounting tests share: an own price, a model that has it, a clock."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from langchain_lean import PriceBook, TokenLedger
from langchain_lean.testing import ScriptedChatModel

PRICES = PriceBook().with_price(
    "test-model", input=1, output=10, cache_read="0.1", cache_write="1.25"
)


class Clock:
    """A clock that only the test moves; it serves as clock and as timer."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Iterator[TokenLedger]:
    with TokenLedger(prices=PRICES, clock=clock, timer=clock) as ledger:
        yield ledger


@pytest.fixture
def model() -> Callable[..., ScriptedChatModel]:
    """Makes a stand-in that answers in turn and costs $1 and $10 a million tokens."""

    def make(*responses: Any, **options: Any) -> ScriptedChatModel:
        given = {"model_name": "test-model", "loop": True, **options}
        return ScriptedChatModel(responses=list(responses) or ["Paris."], **given)

    return make
