"""What was saved: values and their sums."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.checks import is_finite
from langchain_lean.errors import UnpricedModelError

SavingKind = Literal["exact", "counterfactual"]

_TOLD_WHAT_TO_CACHE = ("anthropic", "bedrock", "aws")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What one lever saved on one occasion.

    Attributes:
        lever: Such as `cache`, `routing`, `retriever`, `memory`.
        id: Counted once, however often it is reported.
        avoided: The usage that was not needed.
        model: The model that usage would have been billed for.
        provider: Its provider, as LangChain names it.
        spent: What was used in its place, where the ledger sees it as a call of the
            application (a cheap answer in place of a strong one).
        spent_model: The model `spent` was billed for; `model` if not given.
        kind: `exact` where the usage is known, `counterfactual` where it is compared
            with something else.
        baseline: What it is compared with; a counterfactual saving must say.
        seconds: How long the call would have taken that was not made.
        at: When it was reported, in UTC.
        value: Dollars saved; None if it could not be priced, or not yet.
        unpriced: No price is known for the model.
    """

    lever: str
    id: str
    avoided: TokenUsage
    model: str
    provider: str | None = None
    spent: TokenUsage = TokenUsage()
    spent_model: str | None = None
    kind: SavingKind = "counterfactual"
    baseline: str | None = None
    seconds: float = 0.0
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    value: Decimal | None = None
    unpriced: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("exact", "counterfactual"):
            msg = f"A saving is 'exact' or 'counterfactual', not {self.kind!r}."
            raise ValueError(msg)
        texts = (self.lever, self.id, self.model, self.baseline or "")
        usages = (self.avoided, self.spent)
        if not (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(usage, TokenUsage) for usage in usages)
        ):
            msg = "A saving needs texts for its names and TokenUsage for its usages."
            raise TypeError(msg)
        if not (is_finite(self.seconds) and self.seconds >= 0):
            msg = f"A saving's seconds are a number from 0 up, not {self.seconds!r}."
            raise ValueError(msg)
        if self.kind == "counterfactual" and not self.baseline:
            msg = f"A counterfactual saving of {self.lever!r} must name its baseline."
            raise ValueError(msg)

    @classmethod
    def from_event(cls, data: Mapping[str, Any]) -> "Saving":
        """The saving of a custom event."""
        usages = {key: TokenUsage(**data[key]) for key in ("avoided", "spent")}
        return cls(**{**data, **usages})

    def priced(self, prices: PriceBook) -> "Saving":
        """Fix its value, once."""
        if self.value is not None or self.unpriced:
            return self
        try:
            value = prices.cost(self.avoided, self.model, self.provider, self.at).total
            if self.spent.counts():
                model = self.spent_model or self.model
                value -= prices.cost(self.spent, model, self.provider, self.at).total
        except UnpricedModelError:
            return replace(self, unpriced=True)
        return replace(self, value=value)


@dataclass(frozen=True, slots=True)
class Missed:
    """One lever, such as a cache, could save nothing on one occasion.

    Attributes:
        lever: Such as `cache`.
        id: Counted once, however often it is told.
    """

    lever: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverSaving:
    """What a lever saved in all, in dollars.

    Attributes:
        count: How often it saved something.
        exact: The part that is known.
        counterfactual: The part that is a comparison.
        unpriced: How many savings have no price.
        baselines: What the counterfactual part was compared with.
        seconds: How long the calls would have taken that were not made.
        misses: How often it could save nothing, where it tells.
    """

    count: int = 0
    exact: Decimal = Decimal(0)
    counterfactual: Decimal = Decimal(0)
    unpriced: int = 0
    baselines: tuple[str, ...] = ()
    seconds: float = 0.0
    misses: int = 0

    @property
    def hit_rate(self) -> float | None:
        """How often it saved something, from 0 to 1; None if it tells no misses."""
        return self.count / (self.count + self.misses) if self.misses else None

    @property
    def total(self) -> Decimal:
        """Exact and counterfactual together."""
        return self.exact + self.counterfactual

    def __add__(self, other: "LeverSaving") -> "LeverSaving":
        """Add two sums of the same lever."""
        if not isinstance(other, LeverSaving):
            return NotImplemented
        return LeverSaving(
            count=self.count + other.count,
            exact=self.exact + other.exact,
            counterfactual=self.counterfactual + other.counterfactual,
            unpriced=self.unpriced + other.unpriced,
            baselines=tuple(sorted({*self.baselines, *other.baselines})),
            seconds=self.seconds + other.seconds,
            misses=self.misses + other.misses,
        )

    @classmethod
    def of(cls, saving: Saving) -> "LeverSaving":
        """The sum of a single saving."""
        value = saving.value or Decimal(0)
        exact = saving.kind == "exact"
        return cls(
            count=1,
            exact=value if exact else Decimal(0),
            counterfactual=Decimal(0) if exact else value,
            unpriced=int(saving.unpriced),
            baselines=(saving.baseline,) if saving.baseline else (),
            seconds=saving.seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """What all levers saved, in dollars.

    Attributes:
        levers: By lever. `prefix` is what explicit cache points saved, `cache` what
            answers from LangChain's cache did not cost.
        own_cost: What the levers' own calls cost, by source (`lc_source`).
        provider_cache: What providers saved by caching on their own accord, which is
            no lever's merit.
    """

    levers: Mapping[str, LeverSaving] = field(default_factory=dict)
    own_cost: Mapping[str, Decimal] = field(default_factory=dict)
    provider_cache: Decimal = Decimal(0)

    @classmethod
    def of(
        cls,
        levers: Mapping[str, LeverSaving],
        cached: Mapping[str | None, Decimal],
        own_cost: Mapping[str, Decimal],
    ) -> "Savings":
        """Put together what was reported and what the provider's counts tell.

        Args:
            levers: What levers reported.
            cached: By provider, what its prompt cache saved.
            own_cost: By source, what the levers' own calls cost.
        """
        by_itself = {name: caches_by_itself(name) for name in cached}
        automatic = sum((cached[n] for n in cached if by_itself[n]), Decimal(0))
        prefix = sum((cached[n] for n in cached if not by_itself[n]), Decimal(0))
        told = {"prefix": LeverSaving(exact=prefix)} if prefix else {}
        return cls(
            levers={**levers, **told}, own_cost=own_cost, provider_cache=automatic
        )

    @property
    def exact(self) -> Decimal:
        """What is known to be saved."""
        return sum((lever.exact for lever in self.levers.values()), Decimal(0))

    @property
    def counterfactual(self) -> Decimal:
        """What is saved against a stated baseline."""
        return sum((lv.counterfactual for lv in self.levers.values()), Decimal(0))

    @property
    def total(self) -> Decimal:
        """All savings, less what the levers' own calls cost."""
        return self.exact + self.counterfactual - sum(self.own_cost.values())


def caches_by_itself(provider: str | None) -> bool:
    """Whether a provider caches prompts without being told where.

    Anthropic and Bedrock cache at points the caller sets; OpenAI, Gemini, DeepSeek
    and others by themselves.
    """
    name = (provider or "").lower()
    return not any(known in name for known in _TOLD_WHAT_TO_CACHE)
