"""The price table of `genai-prices`, taken to rates that are cheap to apply.

Its data take about half a second to load and a look-up about 100 µs, so both are
done once: the import on first use, the rates once for each model, tier and period.
"""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_lean.accounting.model_ids import model_names, price_provider
from langchain_lean.accounting.prices.cost import ZERO, Rates
from langchain_lean.accounting.usage import COUNTS

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider

_CACHED = 4096

_KEYS: dict[str, tuple[str, ...]] = {
    "input": ("input_tokens",),
    "output": ("output_tokens",),
    "cache_read": ("cache_read_tokens",),
    "cache_write_5m": ("cache_write_tokens", "cache_write_5m_tokens"),
    "cache_write_1h": ("cache_write_tokens", "cache_write_1h_tokens"),
    "audio_input": ("input_audio_tokens",),
    "audio_cache_read": ("cache_audio_read_tokens",),
    "image_input": ("input_image_tokens",),
    "image_cache_read": ("cache_image_read_tokens",),
    "video_input": ("input_video_tokens",),
    "video_cache_read": ("cache_video_read_tokens",),
    "reasoning": ("output_reasoning_tokens",),
    "audio_output": ("output_audio_tokens",),
    "image_output": ("output_image_tokens",),
    "web_searches": ("web_searches",),
    "file_searches": ("storage_searches",),
}
"""The keys of `genai-prices` that each count of `TokenUsage` stands for."""

_WITHIN = {
    "audio_cache_read": ("audio_input", "cache_read"),
    "image_cache_read": ("image_input", "cache_read"),
    "video_cache_read": ("video_input", "cache_read"),
}
"""The counts a count is part of, besides the input or the output as a whole."""


class PriceTable:
    """Rates by model, from one snapshot of the price data.

    Args:
        snapshot: The data, as `genai_prices.data_snapshot.get_snapshot()` gives it.
    """

    def __init__(self, snapshot: "DataSnapshot") -> None:
        self.snapshot = snapshot
        self._find = lru_cache(maxsize=_CACHED)(self._look_up)
        self._rates: dict[object, tuple[Rates, ...]] = {}

    def rates(
        self,
        model: str,
        provider: str | None,
        at: datetime,
        context: tuple[tuple[str, str], ...],
    ) -> tuple[Rates, ...] | None:
        """The rates of a model at a time.

        Args:
            model: The model id, in any form a provider reports.
            provider: The provider as LangChain names it, if known.
            at: When the call was made.
            context: What else changes the price, such as the service tier.

        Returns:
            One `Rates` for each size of input, the largest first; None if the model
            is unknown, or listed without a price for tokens and not as a free one.
        """
        found = self._find(model, provider)
        if found is None:
            return None
        provider_info, model_info = found
        key = (provider_info.id, id(model_info), _period(model_info, at), context)
        rates = self._rates.get(key)
        if rates is None:
            if len(self._rates) >= _CACHED:
                self._rates.clear()
            rates = _compiled(provider_info, model_info, at, dict(context))
            self._rates[key] = rates
        priced = any(rate.input or rate.output for rate in rates)
        return rates if priced or model_info.id.endswith(":free") else None

    def _look_up(
        self, model: str, provider: str | None
    ) -> "tuple[Provider, ModelInfo] | None":
        owner = price_provider(provider, model)
        for name in model_names(model):
            if name.startswith("arn:"):
                continue  # a custom model costs what its maker says
            try:
                return self.snapshot.find_provider_model(name, None, owner, None)
            except LookupError:
                continue
        return None


def _compiled(
    provider: "Provider", model: "ModelInfo", at: datetime, context: dict[str, str]
) -> tuple[Rates, ...]:
    prices = model.get_prices(at, context)
    starts = {
        tier.start
        for price in vars(prices).values()
        for tier in getattr(price, "tiers", ())
    }
    probe = _Probe(provider, model, at, context)
    return tuple(
        probe.rates(above=start) for start in sorted({-1, *starts}, reverse=True)
    )


class _Probe:
    """Reads the rates of a model off the prices of small calls that differ by one."""

    def __init__(
        self,
        provider: "Provider",
        model: "ModelInfo",
        at: datetime,
        context: dict[str, str],
    ) -> None:
        self._call: Any = lambda usage: model.calc_price(
            usage, provider, genai_request_timestamp=at, price_context=context
        )

    def rates(self, *, above: int) -> Rates:
        """The rates for calls with more than `above` input tokens."""
        base = dict.fromkeys(COUNTS, 0) | {"input": max(above, 0) + 16, "output": 16}
        inputs: dict[str, Decimal] = {}
        outputs: dict[str, Decimal] = {}
        others: dict[str, Decimal] = {}
        for name in COUNTS:
            before = base | dict.fromkeys(_WITHIN.get(name, ()), 1)
            low = self._price(before)
            high = self._price(before | {name: before[name] + 1})
            deltas = [b - a for a, b in zip(low, high, strict=True)]
            deltas[2] -= deltas[0] + deltas[1]
            for rates, delta in zip((inputs, outputs, others), deltas, strict=True):
                if delta:
                    rates[name] = delta
        found = Rates(inputs, outputs, others, above=above)
        return replace(found, request=self._request(found, base))

    def _request(self, rates: Rates, base: dict[str, int]) -> Decimal:
        _, _, total = self._price(base)
        tokens = rates.input.get("input", ZERO) * base["input"]
        return total - tokens - rates.output.get("output", ZERO) * base["output"]

    def _price(self, counts: dict[str, int]) -> tuple[Decimal, Decimal, Decimal]:
        from genai_prices import Usage

        keys: dict[str, int] = {}
        for name, count in counts.items():
            for key in _KEYS[name]:
                keys[key] = keys.get(key, 0) + count
        price = self._call(Usage(**keys))
        return price.input_price, price.output_price, price.total_price


def _period(model: "ModelInfo", at: datetime) -> tuple[bool, ...]:
    """Which of a model's dated prices hold at a time."""
    dated = model.prices if isinstance(model.prices, list) else []
    return tuple(
        item.constraint is None or item.constraint.active(at)
        for item in (*dated, *(model.price_variants or ()))
    )


def loaded() -> bool:
    """Whether the price data are loaded, so that a price takes microseconds."""
    return _table.cache_info().currsize > 0


def price_table() -> PriceTable:
    """The table of the price data in use, made once; loads the data if need be."""
    from genai_prices.data_snapshot import get_snapshot

    return _table(get_snapshot().timestamp, get_snapshot)


@lru_cache(maxsize=1)
def _table(timestamp: datetime, snapshot: Any) -> PriceTable:
    return PriceTable(snapshot())
