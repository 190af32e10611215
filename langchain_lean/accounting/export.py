"""Every call as metrics of a monitoring system: OpenTelemetry, CloudWatch.

What is made here goes into `TokenLedger(exporters=[...])`. The ledger tells exporters
of its calls in the background, so `ledger.flush()` before a process ends or freezes
(a script's last line, the end of a Lambda handler) and before a `MeterProvider` is
shut down, or the last calls are lost. A call that was taken to be abandoned and ends
after all is told twice.
"""

import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TextIO

from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.accounting.recording.bookkeeper import Exporter
from langchain_lean.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

_TOKEN_BUCKETS = [4**power for power in range(14)]
_SECOND_BUCKETS = [2**power / 100 for power in range(14)]
"""Prescribed for the two histograms by OpenTelemetry's conventions: 1 to 67,108,864
tokens, 0.01 to 81.92 seconds."""

_OPERATIONS = {
    "chat": "chat",
    "completion": "text_completion",
    "embedding": "embeddings",
}
_PROVIDERS = {
    "amazon_bedrock": "aws.bedrock",
    "anthropic-bedrock": "aws.bedrock",
    "anthropic-mantle": "aws.bedrock",
    "anthropic_bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "google_anthropic_vertex": "gcp.vertex_ai",
    "google_genai": "gcp.gen_ai",  # Gemini's or Vertex's endpoint, it does not say
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "openai-codex": "openai",
    "openai-mantle": "aws.bedrock",
    "vertexai": "gcp.vertex_ai",
    "xai": "x_ai",
}
_ATTRIBUTES = {
    "node": "langchain_lean.node",
    "source": "langchain_lean.source",
    "agent": "gen_ai.agent.name",
    "thread_id": "gen_ai.conversation.id",
    "user_id": "user.id",
}
_DIMENSIONS = ("model", "requested", "provider", "kind", *_ATTRIBUTES)
_DIMENSION_LENGTH = 1024  # of the embedded metric format
_BELIEVED_SECONDS = 1e9  # an infinity would spoil a sum, and is no JSON
_NAMESPACE = re.compile(r"[\w./#-][\w./#:-]{0,254}", re.ASCII)


def otel_metrics(
    meter: "Meter | None" = None, *, by: Collection[str] = (), estimates: bool = False
) -> Exporter:
    """Record calls as the generative AI client metrics of OpenTelemetry.

    Histograms `gen_ai.client.token.usage` (`{token}`) and
    `gen_ai.client.operation.duration` (`s`), and a counter `langchain_lean.cost`
    (`{USD}`), by operation, provider, requested and answering model.

    A call that a guard blocked or a cache answered is no operation of a provider and
    is in none of them. A duration is known of calls that ended and took more than 0
    seconds. `langchain_lean.cost` is of what could be priced, estimates included.

    Args:
        meter: Makes the instruments; of the global meter provider if not given.
        by: Further attributes: `node`, `source`, `agent`, `thread_id`, `user_id`. The
            last two have so many values that most metric stores are the wrong place.
        estimates: Also record token counts that no provider reported, which the
            conventions want only where a user asks for it.

    Returns:
        An exporter for a ledger.

    Raises:
        ConfigurationError: If OpenTelemetry is not installed, or there is no such
            attribute.
    """
    _check(by, _ATTRIBUTES)
    meter = meter or _global_meter()
    tokens = meter.create_histogram(
        "gen_ai.client.token.usage",
        unit="{token}",
        description="Number of input and output tokens used.",
        explicit_bucket_boundaries_advisory=_TOKEN_BUCKETS,
    )
    seconds = meter.create_histogram(
        "gen_ai.client.operation.duration",
        unit="s",
        description="GenAI operation duration.",
        explicit_bucket_boundaries_advisory=_SECOND_BUCKETS,
    )
    cost = meter.create_counter(
        "langchain_lean.cost", unit="{USD}", description="Cost of the priced calls."
    )

    def export(entries: Sequence[LedgerEntry]) -> None:
        for entry in filter(_asked_provider, entries):
            about = _about(entry, by)
            if entry.cost is not None:
                cost.add(float(entry.cost.total), about)
            if (took := _seconds(entry)) is not None:
                seconds.record(took, {**about, **_error(entry)})
            if estimates or not entry.estimated:
                for kind in ("input", "output"):
                    if count := getattr(entry.usage, kind):
                        tokens.record(count, {**about, "gen_ai.token.type": kind})

    return export


def cloudwatch_emf(
    stream: TextIO | None = None,
    *,
    namespace: str = "langchain_lean",
    dimensions: Sequence[Sequence[str]] = (("model",), ("model", "node")),
) -> Exporter:
    """Write calls as log lines that CloudWatch turns into metrics.

    One line of JSON for each call, in the embedded metric format; see `emf_record`.
    On Lambda, and wherever the CloudWatch agent reads the standard output, that is
    all it takes. CloudWatch bills every metric of every combination of values.

    Args:
        stream: Where lines go; the standard output of the moment if not given.
        namespace: The CloudWatch namespace.
        dimensions: What metrics are split by, see `emf_record`.

    Returns:
        An exporter for a ledger.

    Raises:
        ConfigurationError: If the namespace or a dimension cannot be used.
    """
    _check_emf(namespace, dimensions)

    def export(entries: Sequence[LedgerEntry]) -> None:
        records = (
            emf_record(entry, namespace=namespace, dimensions=dimensions)
            for entry in entries
        )
        lines = [json.dumps(record, separators=(",", ":")) for record in records]
        to = stream or sys.stdout
        to.write("".join(f"{line}\n" for line in lines))  # other threads write, too
        to.flush()

    return export


def emf_record(
    entry: LedgerEntry,
    *,
    namespace: str = "langchain_lean",
    dimensions: Sequence[Sequence[str]] = (("model",),),
) -> dict[str, Any]:
    """Put a call into CloudWatch's embedded metric format.

    Metrics: `InputTokens`, `OutputTokens`, `CacheReadTokens`; `Cost` in dollars,
    absent where it is not known; `Latency` in milliseconds, absent where no provider
    was asked (blocked, answered from a cache) or it is not known (abandoned, 0);
    `FirstTokenLatency` of a stream; `Unpriced`, `Estimated`, `Failed` and `Blocked`,
    0 or 1. The record is dated with the start of the call and names its `run_id`.

    Args:
        entry: The call, priced.
        namespace: The CloudWatch namespace.
        dimensions: Sets of `model`, `requested`, `provider`, `kind`, `node`, `source`,
            `agent`, `thread_id` and `user_id`; the empty set is the sum over all. A
            set is left out where the call has no value for one of its names; where
            none is left, the record counts in no metric. Characters that CloudWatch
            refuses are escaped, and values cut at 1,024 characters.

    Returns:
        What `json.dumps` makes a log line of.

    Raises:
        ConfigurationError: If the namespace or a dimension cannot be used.
    """
    _check_emf(namespace, dimensions)
    values = _dimension_values(entry, chain.from_iterable(dimensions))
    sets = [list(dict.fromkeys(names)) for names in dimensions]
    sets = [names for names in sets if values.keys() >= set(names)]
    metrics = _emf_metrics(entry)
    directive = {
        "Namespace": namespace,
        "Dimensions": sets,
        "Metrics": [
            {"Name": name, "Unit": unit} for name, (_, unit) in metrics.items()
        ],
    }
    return {
        "_aws": {
            "Timestamp": round(entry.start.timestamp() * 1000),
            "CloudWatchMetrics": [directive] if sets else [],
        },
        "run_id": entry.run_id,
        **values,
        **{name: value for name, (value, _) in metrics.items()},
    }


def _asked_provider(entry: LedgerEntry) -> bool:
    return not (entry.blocked or entry.cache_hit)


def _seconds(entry: LedgerEntry) -> float | None:
    """How long a provider took, where that is known."""
    known = _asked_provider(entry) and not entry.abandoned
    return entry.seconds if known and 0 < entry.seconds < _BELIEVED_SECONDS else None


def _global_meter() -> "Meter":
    try:
        from opentelemetry.metrics import get_meter
    except ImportError:
        msg = "otel_metrics needs OpenTelemetry: pip install 'langchain-lean-ai[otel]'."
        raise ConfigurationError(msg) from None
    return get_meter("langchain_lean")


def _about(entry: LedgerEntry, by: Iterable[str]) -> dict[str, str]:
    """The attributes of a call that all its metrics share."""
    provider = (entry.provider or "unknown").lower()
    answered = not (entry.failed or entry.abandoned)
    about = {
        "gen_ai.operation.name": _OPERATIONS[entry.kind],
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": entry.requested,
        "gen_ai.response.model": entry.model if answered else None,
        **{_ATTRIBUTES[name]: getattr(entry, name) for name in by},
    }
    return {name: value for name, value in about.items() if value}


def _error(entry: LedgerEntry) -> Mapping[str, str]:
    return {"error.type": entry.reason or "_OTHER"} if entry.failed else {}


def _emf_metrics(entry: LedgerEntry) -> dict[str, tuple[float, str]]:
    """By name the value and unit of what is known."""
    usage, cost, first = entry.usage, entry.cost, entry.first_token_seconds
    took = _seconds(entry)
    flags = ("unpriced", "estimated", "failed", "blocked")
    metrics = {
        "InputTokens": (usage.input, "Count"),
        "OutputTokens": (usage.output, "Count"),
        "CacheReadTokens": (usage.cache_read, "Count"),
        "Cost": (None if cost is None else float(cost.total), "None"),
        "Latency": (None if took is None else took * 1000, "Milliseconds"),
        "FirstTokenLatency": (None if first is None else first * 1000, "Milliseconds"),
        **{flag.title(): (int(getattr(entry, flag)), "Count") for flag in flags},
    }
    return {
        n: (value, unit) for n, (value, unit) in metrics.items() if value is not None
    }


def _dimension_values(entry: LedgerEntry, names: Iterable[str]) -> dict[str, str]:
    """The values there are, as CloudWatch takes them."""
    texts = {name: (getattr(entry, name) or "").strip() for name in names}
    escaped = {name: text.encode("unicode_escape") for name, text in texts.items()}
    return {name: t[:_DIMENSION_LENGTH].decode() for name, t in escaped.items() if t}


def _check_emf(namespace: str, dimensions: Sequence[Sequence[str]]) -> None:
    if not _NAMESPACE.fullmatch(namespace):
        msg = (
            f"CloudWatch takes no namespace {namespace!r:.80}; use letters, digits "
            "and . - _ / # :, 255 at most, the first no colon."
        )
        raise ConfigurationError(msg)
    if not dimensions:
        msg = "Metrics need a set of dimensions; use ((),) for the sum over all calls."
        raise ConfigurationError(msg)
    _check(chain.from_iterable(dimensions), _DIMENSIONS)


def _check(names: Iterable[str], known: Collection[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        msg = f"Metrics cannot be split by {unknown}; use tuples of {', '.join(known)}."
        raise ConfigurationError(msg)
