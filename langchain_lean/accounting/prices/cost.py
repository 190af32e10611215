"""What usage costs at given rates: exact sums, no look-ups."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext

from langchain_lean.accounting.usage import COUNTS, TokenUsage

ZERO = Decimal(0)
_EXACT = Context(prec=60)


def exact() -> AbstractContextManager[Context]:
    """Calculate in full, whatever precision the application has set for its own."""
    return localcontext(_EXACT)


_CACHED = frozenset(name for name in COUNTS if "cache" in name)


@dataclass(frozen=True, slots=True)
class Cost:
    """What usage cost, in US dollars, exact.

    Attributes:
        total: Everything that was billed.
        input: The part billed for input tokens, cached ones included.
        output: The part billed for output tokens.
        cache_saved: What the provider's prompt cache saved against sending the same
            input uncached: what reads saved, less the premium paid for writes.
            Negative where the writes were not worth it.
    """

    total: Decimal = ZERO
    input: Decimal = ZERO
    output: Decimal = ZERO
    cache_saved: Decimal = ZERO

    def __add__(self, other: "Cost") -> "Cost":
        """Add two costs, part by part."""
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(
            self.total + other.total,
            self.input + other.input,
            self.output + other.output,
            self.cache_saved + other.cache_saved,
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars for one of each count, on top of what its total already costs.

    A cached token is part of the input, so its rate is the difference to a plain
    input token: negative for a read, positive for a write.

    Attributes:
        input: What each count adds to the price of the input.
        output: What each count adds to the price of the output.
        other: What each count adds beside tokens, such as searches.
        request: What the call itself costs.
        above: The rates hold for calls with more input tokens than this.
    """

    input: Mapping[str, Decimal]
    output: Mapping[str, Decimal]
    other: Mapping[str, Decimal] = field(default_factory=dict)
    request: Decimal = ZERO
    above: int = -1

    def cost(self, usage: TokenUsage) -> Cost:
        """Price a usage with these rates."""
        spent = outputs = saved = ZERO
        others = self.request
        for name, count in usage.counts().items():
            if name in self.input:
                amount = self.input[name] * count
                spent += amount
                if name in _CACHED:
                    saved -= amount
            elif name in self.output:
                outputs += self.output[name] * count
            elif name in self.other:
                others += self.other[name] * count
        return Cost(spent + outputs + others, spent, outputs, saved)
