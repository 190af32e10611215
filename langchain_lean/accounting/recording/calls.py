"""From what LangChain tells a handler about a call to the entry a ledger keeps."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage

from langchain_lean.accounting.anatomy import (
    Anatomy,
    Characters,
    in_tokens,
    prompt_characters,
    retrieved_characters,
)
from langchain_lean.accounting.attribution import attributed, running_metadata
from langchain_lean.accounting.entry import LedgerEntry, MessageMark, price
from langchain_lean.accounting.model_ids import undoubled
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.recording.events import Call, Kind, Outcome
from langchain_lean.accounting.recording.fingerprints import Fingerprints
from langchain_lean.accounting.recording.reading import Reading, answer_text
from langchain_lean.accounting.tokens.parts import tool_preamble
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.errors import ConfigurationError, UsageError
from langchain_lean.messages import last_human_index, message_text, role

_LARGEST_BY_HAND = 10**12

_SUMS_UP = ("memory", "summarization")  # their prompts ask nothing but hold a history


def to_entry(
    outcome: Outcome,
    reading: Reading,
    fingerprints: Fingerprints,
    prices: PriceBook | None = None,
) -> LedgerEntry:
    """Write down a call.

    Args:
        outcome: How it ended.
        reading: What it used.
        fingerprints: Marks the messages.
        prices: Fix the cost at these; leave it open if not given.

    Returns:
        The entry.
    """
    call = outcome.call
    metadata = call.metadata
    marks, characters = _prompt(call, fingerprints)
    text = answer_text(outcome.result)
    usage = reading.usage
    first = call.first_token
    model = answering_model(outcome) or call.model
    provider = provider_of(metadata, outcome.message)
    start = datetime.fromtimestamp(call.start, UTC)
    preamble = tool_preamble(model) if call.tools else 0
    anatomy = (
        in_tokens(characters, usage, preamble=preamble) if usage.total else Anatomy()
    )
    names = (model, call.model)
    cost = price(prices, usage, names, provider, start) if prices else None
    return LedgerEntry(
        run_id=call.run_id,
        parent_id=call.parent_id,
        trace_id=call.trace.id,
        kind=call.kind,
        model=model,
        requested=call.model,
        provider=provider,
        node=node_path(metadata),
        agent=_text(metadata.get("lc_agent_name")),
        source=_text(metadata.get("lc_source")),
        user_id=call.user_id,
        thread_id=call.thread_id,
        tags=tuple(map(str, call.tags)),
        start=start,
        seconds=max(outcome.seconds, 0.0),
        first_token_seconds=None if first is None else max(first - call.started, 0.0),
        usage=usage,
        cost=cost,
        unpriced=prices is not None and cost is None,
        anatomy=anatomy,
        messages=tuple(marks),
        answer=fingerprints.text("ai", text) if text else None,
        cache_hit=reading.cache_hit,
        estimated=reading.estimated,
        failed=outcome.error is not None and not outcome.stopped_early,
        blocked=outcome.blocked is not None,
        stopped_early=outcome.stopped_early,
        abandoned=outcome.abandoned,
        reason=outcome.reason or reading.problem,
    )


def bare_entry(outcome: Outcome, reading: Reading) -> LedgerEntry:
    """Write down a call of which nothing else can be read.

    Args:
        outcome: How it ended.
        reading: Why it cannot be read.

    Returns:
        The entry, so that the call is not lost.
    """
    call = outcome.call
    return LedgerEntry(
        run_id=call.run_id,
        trace_id=call.trace.id,
        kind=call.kind,
        model=call.model,
        requested=call.model,
        user_id=call.user_id,
        thread_id=call.thread_id,
        start=datetime.fromtimestamp(call.start, UTC),
        seconds=max(outcome.seconds, 0.0),
        estimated=reading.estimated,
        failed=outcome.error is not None,
        reason=reading.problem,
    )


def by_hand(
    run_id: UUID,
    *,
    trace_id: str,
    parent_id: UUID | None,
    model: str,
    usage: TokenUsage | Mapping[str, Any],
    provider: str | None,
    kind: Kind,
    source: str | None,
    user_id: str | None,
    thread_id: str | None,
    tags: Sequence[str],
    seconds: float,
    start: datetime,
    estimated: bool,
) -> LedgerEntry:
    """Write down a call that no callback sees; see `TokenLedger.record`.

    Raises:
        UsageError: If the usage cannot be true.
        ConfigurationError: If a mapping is no usage object of a known provider, or
            the kind, the seconds or the date cannot be.
    """
    if not (math.isfinite(seconds) and seconds >= 0):
        msg = f"seconds must be a number from 0 up, not {seconds!r}."
        raise ConfigurationError(msg)
    if kind not in get_args(Kind):
        msg = f"kind must be one of {get_args(Kind)}, not {kind!r:.40}."
        raise ConfigurationError(msg)
    if not 1970 <= start.year <= 9998:
        msg = f"at must be a date from 1970 to 9998, not {start.year}."
        raise ConfigurationError(msg)
    if isinstance(usage, Mapping):
        found = TokenUsage.from_provider(usage)
        if found is None:
            msg = (
                "The usage is no object of a known provider; pass a TokenUsage("
                "input=..., output=...)."
            )
            raise ConfigurationError(msg)
        usage = found
    if max(usage.counts().values(), default=0) > _LARGEST_BY_HAND:
        msg = f"A usage of more than {_LARGEST_BY_HAND:.0e} tokens is not one call's."
        raise UsageError(msg)
    metadata = running_metadata()
    return LedgerEntry(
        run_id=str(run_id),
        parent_id=None if parent_id is None else str(parent_id),
        trace_id=trace_id,
        kind=kind,
        model=str(model),
        requested=str(model),
        provider=_text(provider),
        node=node_path(metadata),
        agent=_text(metadata.get("lc_agent_name")),
        source=_text(source),
        user_id=_text(user_id) or attributed("user_id"),
        thread_id=_text(thread_id) or attributed("thread_id"),
        tags=tuple(map(str, tags)),
        start=start,
        seconds=seconds,
        usage=usage,
        anatomy=Anatomy() if kind == "embedding" else in_tokens({}, usage),
        estimated=estimated,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def node_path(metadata: Mapping[str, Any]) -> str | None:
    """The graph nodes a call was made in, outermost first, without task ids."""
    namespace = metadata.get("langgraph_checkpoint_ns")
    if isinstance(namespace, str) and namespace:
        return "/".join(part.split(":", 1)[0] for part in namespace.split("|"))
    node = metadata.get("langgraph_node")
    return node if isinstance(node, str) else None


def _prompt(
    call: Call, fingerprints: Fingerprints
) -> tuple[list[MessageMark], Characters]:
    """Mark and measure a prompt."""
    if isinstance(call.prompt, str):
        mark = fingerprints.text("human", call.prompt)
        return [mark], {"question": mark.length}
    marks = fingerprints.messages(call.prompt)
    lengths = [mark.length for mark in marks]
    found = _retrieved_in(call, call.prompt, marks)
    tools = [fingerprints.tools(call.tools)] if call.tools else []
    size = tools[0].length if tools else 0
    measured = prompt_characters(call.prompt, lengths, tools=size, retrieved=found)
    if call.metadata.get("lc_source") in _SUMS_UP:
        measured["history"] += measured.pop("question")
    return marks + tools, measured


def _retrieved_in(
    call: Call, prompt: Sequence[BaseMessage], marks: Sequence[MessageMark]
) -> dict[int, int]:
    """By index of a message, how many of its characters the trace's retrievers gave."""
    retrieved = call.trace.retrieved
    if retrieved is None:
        return {}
    sizes = {}
    alone = call.trace.id == call.run_id  # its documents may be another question's
    asked = last_human_index(prompt)
    for index, (message, mark) in enumerate(zip(prompt, marks, strict=True)):
        if alone and index != asked and role(message) != "system":
            continue
        key = (mark.digest, retrieved.seen)
        if key not in retrieved.found:
            text = message_text(message)
            retrieved.found[key] = retrieved_characters(text, retrieved.documents)
        if retrieved.found[key]:
            sizes[index] = retrieved.found[key]
    return sizes


def answering_model(outcome: Outcome) -> str | None:
    """The model that answered, as far as its provider says."""
    message, result = outcome.message, outcome.result
    said: Mapping[str, Any] = message.response_metadata if message else {}
    output = (result.llm_output if result else None) or {}
    for name in (said.get("model_name"), said.get("model"), output.get("model_name")):
        if isinstance(name, str) and name:
            return undoubled(name)
    return None


def provider_of(metadata: Mapping[str, Any], message: AIMessage | None) -> str | None:
    """The provider of a call: its class knows best, as Azure answers as OpenAI."""
    name = metadata.get("ls_provider")
    if not name and message is not None:
        name = message.response_metadata.get("model_provider")
    return name if isinstance(name, str) and name else None
