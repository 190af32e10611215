"""What a call may use, known before it is made."""

from __future__ import annotations

import sys
import threading
from bisect import insort
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from langchain_lean.accounting.attribution import attributed
from langchain_lean.accounting.entry import price
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.recording.calls import (
    answering_model,
    node_path,
    provider_of,
)
from langchain_lean.accounting.recording.events import model_asked
from langchain_lean.accounting.recording.reading import read_usage
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.budgets.errors import UnpricedCallError
from langchain_lean.models import CAPS

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_lean.accounting.recording.events import Call, Outcome

FIRST_OUTPUT = 1_024
"""Output tokens reserved where none are capped and little is known."""

_ENOUGH = 100  # answers from which a 99th percentile can be read
_REMEMBERED = 1_000
_MOST_KINDS = 1_000
_PROFILES = ("langchain_openai", "langchain_anthropic", "langchain_aws")


class OutputLengths:
    """Learns how long the answers of each model are at each node.

    Safe from many threads. Of each kind the newest 1,000 answers count.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kinds: OrderedDict[tuple[str, str], tuple[deque[int], list[int]]] = (
            OrderedDict()
        )

    def hold(self) -> None:
        """Take the lock, so that no other thread holds it while the process forks."""
        self._lock.acquire()

    def release(self) -> None:
        """Let go of the lock again."""
        self._lock.release()

    def forget(self) -> None:
        """Have a lock of its own in a forked process."""
        self._lock = threading.RLock()

    def learn(self, model: str, node: str, tokens: int) -> None:
        """An answer had so many output tokens."""
        with self._lock:
            newest, ranked = self._kinds.setdefault((model, node), (deque(), []))
            self._kinds.move_to_end((model, node))
            while len(newest) >= _REMEMBERED:
                ranked.remove(newest.popleft())
            newest.append(tokens)
            insort(ranked, tokens)
            if len(self._kinds) > _MOST_KINDS:
                self._kinds.popitem(last=False)

    def bound(self, model: str, node: str) -> int:
        """What 99 of 100 answers stay within.

        Before 100 answers are known, 1,024 or the longest so far.
        """
        with self._lock:
            _, ranked = self._kinds.get((model, node), (None, []))
            if len(ranked) < _ENOUGH:
                return max(FIRST_OUTPUT, ranked[-1] if ranked else 0)
            # The next answer is within the k-th of n with a chance of k / (n + 1).
            rank = -(-99 * (len(ranked) + 1) // 100)
            return ranked[min(rank, len(ranked)) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A call that is about to be made.

    Attributes:
        model: The model that is asked.
        provider: Its provider, as LangChain names it.
        prompt: The messages; for a plain language model its prompt as a text.
        tools: Schemas of the tools it is given.
        output: Output tokens its caller caps it at; None for no cap.
        choices: How many answers are asked for.
        metadata: What LangChain passes on.
        run_id: The outermost run it belongs to.
    """

    model: str | None
    provider: str | None
    prompt: Sequence[BaseMessage] | str
    tools: Sequence[Any] = ()
    output: int | None = None
    choices: int = 1
    metadata: Mapping[str, Any]
    run_id: str

    @classmethod
    def of(cls, call: Call) -> Ask:
        """What a recorded call asks for."""
        return cls.of_call(
            prompt=call.prompt,
            options=call.options,
            metadata=call.metadata,
            run_id=call.trace.id,
        )

    @classmethod
    def of_call(
        cls,
        *,
        prompt: Sequence[BaseMessage] | str,
        options: Mapping[str, Any],
        metadata: Mapping[str, Any],
        run_id: str,
    ) -> Ask:
        """What a call asks for, as a callback handler is told of it.

        Args:
            prompt: The messages, or a text.
            options: Its `invocation_params`.
            metadata: Its metadata.
            run_id: The outermost run it belongs to.
        """
        choices = options.get("n")
        return cls(
            model=model_asked(options, metadata),
            provider=provider_of(metadata, None),
            prompt=prompt,
            tools=options.get("tools") or (),
            output=capped_at(options, metadata),
            choices=choices if type(choices) is int and choices > 0 else 1,
            metadata=metadata,
            run_id=run_id,
        )

    def whose(self, keys: Sequence[str]) -> dict[str, str | None]:
        """The values of the keys of a budget, where the call says them."""
        return {key: attributed(key, self.metadata) for key in keys}

    @property
    def node(self) -> str:
        """The graph node it is made in, for what is learned."""
        return node_path(self.metadata) or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a call may use.

    Attributes:
        usage: What it hardly exceeds: the bound of its input and what is reserved for
            its output.
        cost: What that costs; None where no budget is in dollars.
        floor: What it uses if nothing is ever heard of it: its input.
        floor_cost: What that costs.
    """

    usage: TokenUsage
    cost: Decimal | None = None
    floor: TokenUsage = TokenUsage()
    floor_cost: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a call used.

    Attributes:
        usage: The tokens.
        cost: What they cost; None where no budget is in dollars, or for no price.
        made: The call reached its provider and was not answered by a cache.
        reported: The provider said so.
    """

    usage: TokenUsage
    cost: Decimal | None
    made: bool
    reported: bool


class Estimator:
    """Estimates calls, and learns from what they used.

    Args:
        counter: Counts the input.
        prices: Prices it; None where no budget is in dollars.
        must_price: Refuse calls that have no price.
    """

    def __init__(
        self,
        counter: TokenCounter,
        prices: PriceBook | None,
        *,
        must_price: bool = False,
    ) -> None:
        self.counter = counter
        self.lengths = OutputLengths()
        self._prices = prices
        self._must_price = must_price
        self._reports: Counter[str] = Counter()

    def estimate(self, ask: Ask, now: float) -> Estimate:
        """What a call may use.

        Raises:
            UnpricedCallError: If a budget limits dollars and the model has no price.
        """
        count, bound = self._input(ask)
        output = ask.output
        if output is None:
            output = self.lengths.bound(ask.model or "", ask.node)
        usage = TokenUsage(input=bound, output=output * ask.choices)
        floor = TokenUsage(input=min(count, bound))
        models = (ask.model,)
        cost = self._cost(usage, models, ask.provider, now)
        if cost is None and self._must_price:
            raise UnpricedCallError(str(ask.model), ask.provider)
        floor_cost = self._cost(floor, models, ask.provider, now)
        return Estimate(usage=usage, cost=cost, floor=floor, floor_cost=floor_cost)

    def spent(self, outcome: Outcome, now: float) -> Spent:
        """What a call used: nothing where it failed without an answer."""
        reading = read_usage(outcome, self.counter)
        usage, call = reading.usage, outcome.call
        models = (answering_model(outcome), call.model)
        provider = provider_of(call.metadata, outcome.message)
        return Spent(
            usage=usage,
            cost=self._cost(usage, models, provider, now),
            made=bool(usage.total),
            reported=not reading.estimated,
        )

    def learn(self, ask: Ask, usage: TokenUsage, *, count_input: bool) -> None:
        """Learn from what a provider reported of a call."""
        self.lengths.learn(ask.model or "", ask.node, usage.output // ask.choices)
        if count_input and ask.model and self._due(ask.model):
            self.counter.observe(ask.prompt, ask.model, usage.input, tools=ask.tools)

    def _due(self, model: str) -> bool:
        """Whether to learn from a call: from few of those of a model known well."""
        if len(self._reports) >= _MOST_KINDS:
            self._reports.clear()
        self._reports[model] += 1
        return self._reports[model] <= _ENOUGH or not self._reports[model] % 10

    def _input(self, ask: Ask) -> tuple[int, int]:
        """The count and the bound of what is sent."""
        count = self.counter.count_and_bound
        try:
            return count(ask.prompt, model=ask.model, tools=ask.tools)
        except (TypeError, ValueError, KeyError, AttributeError):  # an odd tool
            texts = " ".join(map(str, [*ask.prompt, *ask.tools]))
            return count(texts, model=ask.model)

    def _cost(
        self,
        usage: TokenUsage,
        models: Sequence[str | None],
        provider: str | None,
        now: float,
    ) -> Decimal | None:
        if self._prices is None:
            return None
        at = datetime.fromtimestamp(now, UTC)
        found = price(self._prices, usage, models, provider, at)
        return None if found is None else found.total


def capped_at(options: Mapping[str, Any], metadata: Mapping[str, Any]) -> int | None:
    """The output tokens a caller caps a call at.

    Args:
        options: The call's `invocation_params`.
        metadata: Its metadata; `ls_max_tokens` counts where no option does.

    Returns:
        The cap; None for none. The model's own maximum is none: classes that must send
        a cap send that one where the caller gives none.
    """
    given = [options.get(name) for name in CAPS] + [metadata.get("ls_max_tokens")]
    caps = [cap for cap in given if type(cap) is int and cap > 0]
    if not caps:
        return None
    most = _own_maximum(str(metadata.get("ls_model_name") or options.get("model")))
    return None if most is not None and caps[0] >= most else caps[0]


def _own_maximum(model: str) -> int | None:
    """The most output tokens a model can give, as its LangChain package knows it."""
    for package in _PROFILES:
        module = sys.modules.get(f"{package}.data._profiles")
        profile = getattr(module, "_PROFILES", {}).get(model)
        if profile and type(most := profile.get("max_output_tokens")) is int:
            return most
    return None
