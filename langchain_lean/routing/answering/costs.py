"""What the calls of one request used."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from langchain_lean.accounting.entry import price
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.recording.calls import answering_model, provider_of
from langchain_lean.accounting.recording.events import TRIAL, Outcome
from langchain_lean.accounting.recording.reading import read_usage
from langchain_lean.accounting.recording.recorder import Recorder
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.accounting.usage import TokenUsage

if TYPE_CHECKING:
    from langchain_lean.accounting.recording.events import Event

ANSWERS = "lean_route"
"""The key in a call's metadata that says which model of a router is to answer."""


class Answering(NamedTuple):
    """Who answered.

    Attributes:
        model: The model, as it calls itself.
        provider: Its provider, as LangChain names it.
    """

    model: str
    provider: str | None


class Costs(Recorder):
    """Takes down the calls of one request: answers, and what decided on them.

    Args:
        prices: What they cost.
        counter: Estimates what no provider reports.
    """

    def __init__(self, prices: PriceBook, counter: TokenCounter) -> None:
        super().__init__(
            abandon_after=math.inf, clock=time.time, timer=time.perf_counter
        )
        self._prices = prices
        self._counter = counter
        self._outcomes: list[Outcome] = []

    def answer(self, trial: str) -> dict[Answering, TokenUsage]:
        """What the calls of an answer used; nothing for one from a cache.

        Args:
            trial: Names the answer.

        Returns:
            By the model that answered and its provider.
        """
        used: dict[Answering, TokenUsage] = {}
        for outcome in self._outcomes:
            usage = self._usage(outcome)
            if _said(outcome, TRIAL) == trial and usage.total:
                model = answering_model(outcome) or outcome.call.model or ""
                provider = provider_of(outcome.call.metadata, outcome.message)
                who = Answering(model, provider)
                # Nothing has no tier and no region, which a sum would lose.
                used[who] = used[who] + usage if who in used else usage
        return used

    def decision(self, rejected: Collection[str]) -> Decimal | None:
        """What was spent on answers that were rejected, and on deciding.

        Args:
            rejected: The trials of these answers.

        Returns:
            Dollars; None where one of the calls has no price.
        """
        spent = Decimal(0)
        for outcome in self._outcomes:
            if _said(outcome, ANSWERS) and _said(outcome, TRIAL) not in rejected:
                continue
            call = outcome.call
            names = (answering_model(outcome), call.model)
            provider = provider_of(call.metadata, outcome.message)
            at = datetime.fromtimestamp(call.start, UTC)
            cost = price(self._prices, self._usage(outcome), names, provider, at)
            if cost is None:
                return None
            spent += cost.total
        return spent

    def _received(self, event: Event) -> None:
        if isinstance(event, Outcome):
            self._outcomes.append(event)

    def _usage(self, outcome: Outcome) -> TokenUsage:
        return read_usage(outcome, self._counter).usage


def _said(outcome: Outcome, key: str) -> str | None:
    value = outcome.call.metadata.get(key)
    return value if isinstance(value, str) else None
