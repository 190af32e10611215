"""What levers would have saved, as a value that can be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult

from langchain_lean.accounting.report import words
from langchain_lean.whatif.costs import Saved, Sure

_NARROWEST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """What one lever would have saved.

    Attributes:
        name: The lever, such as `top-k` or `exact cache`.
        alone: What it saves with no other lever.
        added: What it adds behind the levers before it; never more than `alone`, and
            nothing where it is left out.
        sure: `exact` where the recorded calls alone tell, `simulated` where the lever's
            own rules were run on them, `assumed` where it rests on what nobody saw.
        assumption: What must hold, in a sentence.
        details: What else there is to know, a line each.
    """

    name: str
    alone: Saved
    added: Saved
    sure: Sure
    assumption: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What levers would have saved on recorded traffic; `print` shows it as a table.

    Attributes:
        calls: How many calls the application made, embeddings aside.
        requests: How many outermost runs these belong to.
        older: How many calls the ledger has beside, older ones that are in no figure.
        tokens: Tokens of all calls, those of levers and embeddings among them.
        spent: Dollars these cost.
        unpriced: How many of them are not in `spent` because no price is known.
        levers: The levers, in the order in which they work: a cache answers whole
            requests, a cheap model takes over what is left of them, prompts and answers
            get shorter, and a provider's cache discounts what is still sent.
        together: What they save together, each token counted once. Levers that would
            take more from others than they add are left out.
        missing: By the name of a lever, why nothing is said about it.
    """

    calls: int = 0
    requests: int = 0
    older: int = 0
    tokens: int = 0
    spent: Decimal = Decimal(0)
    unpriced: int = 0
    levers: tuple[Lever, ...] = ()
    together: Saved = field(default_factory=Saved)
    missing: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Lever:
        """The lever of a name.

        Raises:
            KeyError: If nothing is said about it; `missing` may say why.
        """
        for lever in self.levers:
            if lever.name == name:
                return lever
        raise KeyError(name)

    @property
    def priced(self) -> bool:
        """Whether `spent` says what was spent: not where all calls are unpriced."""
        return bool(self.spent) or not self.unpriced

    def share(self, saved: Saved) -> float | None:
        """A saving as a share of `spent`, from 0 to 1; None where nothing was spent."""
        return float(saved.dollars / self.spent) if self.spent else None

    def per_1000_calls(self, saved: Saved) -> tuple[int, Decimal]:
        """A saving in tokens and dollars for each 1,000 calls of the application."""
        calls = self.calls or 1
        return round(saved.tokens * 1_000 / calls), saved.dollars * 1_000 / calls

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values; dollars are exact text, or null if unknown."""
        return {
            "calls": self.calls,
            "requests": self.requests,
            "older_calls": self.older,
            "tokens": self.tokens,
            "spent_usd": self._dollars(self.spent),
            "unpriced_calls": self.unpriced,
            "levers": [
                {
                    "name": lever.name,
                    "alone": self._figures(lever.alone),
                    "added": self._figures(lever.added),
                    "sure": lever.sure,
                    "assumption": lever.assumption,
                    "details": list(lever.details),
                }
                for lever in self.levers
            ],
            "together": self._figures(self.together),
            "missing": dict(self.missing),
        }

    def __str__(self) -> str:
        return words.as_text(self, narrowest=_NARROWEST)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Show it as a table, in color where the console has any."""
        from langchain_lean.whatif.showing import lines

        yield from lines(self)

    def _repr_html_(self) -> str:
        from langchain_lean.whatif.showing import fragment

        return fragment(self)

    def _figures(self, saved: Saved) -> dict[str, Any]:
        share, (tokens, dollars) = self.share(saved), self.per_1000_calls(saved)
        return {
            "calls": saved.calls,
            "tokens": saved.tokens,
            "usd": self._dollars(saved.dollars),
            "share": None if share is None else round(share, 4),
            "tokens_per_1000_calls": tokens,
            "usd_per_1000_calls": self._dollars(dollars),
        }

    def _dollars(self, amount: Decimal) -> str | None:
        return words.exact_money(amount) if self.priced else None
