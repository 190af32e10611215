"""What is left of each call behind some levers, and what that costs.

A change says what it leaves of a call. What it saves is the difference, by itself or
behind others, so that nothing is counted twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langchain_lean.accounting.prices.cost import ZERO

if TYPE_CHECKING:
    from langchain_lean.accounting.entry import LedgerEntry
    from langchain_lean.whatif.traffic import Call

Sure = Literal["exact", "simulated", "assumed"]
"""How a figure is known: from what was recorded alone, by running the lever's own
rules on it, or from something that nobody has seen."""

_PICO = Decimal("1e-12")
_ONE = Decimal(1)


class Left(NamedTuple):
    """What is left of a call.

    Attributes:
        retrieved: Tokens of documents.
        history: Tokens of earlier turns.
        system: Tokens of system messages.
        tools: Tokens of tool schemas.
        output: Tokens of the answer.
        price: What its tokens cost, as a share of what they did cost.
        beside: Dollars that come on top, or off.
        made: Whether it is made at all.
    """

    retrieved: int
    history: int
    system: int
    tools: int
    output: int
    price: Decimal = _ONE
    beside: Decimal = ZERO
    made: bool = True


State = dict["Call", Left]
"""What is left of each call."""

Part = Literal["retrieved", "history", "system", "tools", "output"]
Most = dict[Part, int]
"""The most tokens of some parts of a call."""


def at_most(left: Left, most: Most) -> dict[str, Any]:
    """The parts of a call that have more tokens than they may, cut down to these."""
    return {part: size for part, size in most.items() if getattr(left, part) > size}


@dataclass(frozen=True, kw_only=True, eq=False)
class Change(ABC):
    """What a lever changes about calls.

    Attributes:
        name: The lever.
        sure: How its figure is known.
        assumption: What must hold, in a sentence.
        details: What else there is to know, a line each.
    """

    name: str
    sure: Sure
    assumption: str
    details: tuple[str, ...] = ()

    @abstractmethod
    def leaves(self, state: State) -> dict[Call, Left]:
        """What it leaves of the calls that it changes.

        Args:
            state: What others have left.
        """


@dataclass(frozen=True, slots=True)
class Saved:
    """What a lever saves.

    Attributes:
        tokens: Tokens that are not sent or not written.
        dollars: Dollars; from 0 up.
        calls: How many calls of the application it changes, embeddings aside.
    """

    tokens: int = 0
    dollars: Decimal = ZERO
    calls: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept(Change):
    """Keeps so many tokens of parts of calls, or fewer.

    Attributes:
        most: By call, the most tokens of some of its parts.
        own: By call, dollars that the lever itself spends with it.
    """

    most: Mapping[Call, Most]
    own: Mapping[Call, Decimal] = field(default_factory=dict)

    def leaves(self, state: State) -> dict[Call, Left]:
        """What it leaves of the calls that it changes."""
        found = {}
        for call, most in self.most.items():
            left = state[call]
            less, own = at_most(left, most), self.own.get(call, ZERO)
            if left.made and (less or own):
                found[call] = left._replace(**less, beside=left.beside + own)
        return found


def untouched(calls: Sequence[Call]) -> State:
    """The calls as they were made."""
    return {call: _as_made(call.entry) for call in calls}


def input_left(call: Call, left: Left) -> int:
    """Input tokens that are left of a call."""
    changed = left.retrieved + left.history + left.system + left.tools
    return call.unchanged + changed


def _as_made(entry: LedgerEntry) -> Left:
    parts = entry.anatomy
    return Left(
        retrieved=parts.retrieved,
        history=parts.history,
        system=parts.system,
        tools=parts.tools,
        output=entry.usage.output,
    )


def saved(before: State, after: Mapping[Call, Left]) -> Saved:
    """What a change saves; nothing where it costs more than it saves."""
    dollars = sum(
        (_cost(c, before[c]) - _cost(c, left) for c, left in after.items()), ZERO
    )
    tokens = sum(_tokens(c, before[c]) - _tokens(c, left) for c, left in after.items())
    if dollars < 0:
        return Saved()
    exact = dollars.quantize(_PICO, ROUND_DOWN).normalize() + 0
    return Saved(max(tokens, 0), exact, sum(c.of_application for c in after))


def _tokens(call: Call, left: Left) -> int:
    return input_left(call, left) + left.output if left.made else 0


def _cost(call: Call, left: Left) -> Decimal:
    """Dollars that are left of a call; 0 where no price is known."""
    cost, usage = call.entry.cost, call.entry.usage
    if cost is None or not left.made:
        return ZERO
    spent = cost.total - cost.input - cost.output
    if usage.input:
        spent += cost.input * input_left(call, left) / usage.input
    if usage.output:
        spent += cost.output * left.output / usage.output
    return spent * left.price + left.beside
