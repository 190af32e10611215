"""What the outcome of a call says about its usage, and what must be estimated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from langchain_lean.accounting.recording.events import Outcome
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.errors import UsageError
from langchain_lean.messages import message_text


@dataclass(frozen=True, slots=True)
class Reading:
    """What an outcome says about usage.

    Attributes:
        usage: What was billed.
        estimated: The provider did not say, or not believably.
        avoided: What a cache hit would have used; None for no hit, or unknown.
        cache_hit: It was answered from LangChain's cache.
        problem: Why a provider's report was refused.
    """

    usage: TokenUsage = TokenUsage()
    estimated: bool = False
    avoided: TokenUsage | None = None
    cache_hit: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class FromCache:
    """What a cache noted on an answer.

    Attributes:
        missed: It had none, and the model was asked.
        baseline: What the saving is compared with; None where it is exact.
        seconds: How long the answer took when a model gave it.
    """

    missed: bool = False
    baseline: str | None = None
    seconds: float = 0.0


def from_cache(message: AIMessage | None) -> FromCache:
    """Read what `SemanticCache` notes on answers; nothing of any other cache."""
    said: Any = message.__dict__.get("response_metadata") if message else None
    notes = said.get("lean") if isinstance(said, Mapping) else None
    for done in reversed(notes if isinstance(notes, list) else []):
        if isinstance(done, Mapping) and done.get("lever") == "cache":
            baseline, seconds = done.get("baseline"), done.get("saved_seconds")
            return FromCache(
                missed=done.get("action") != "hit",
                baseline=baseline if isinstance(baseline, str) else None,
                seconds=seconds if isinstance(seconds, float) else 0.0,
            )
    return FromCache()


def read_usage(outcome: Outcome, counter: TokenCounter) -> Reading:
    """Decide what a call used.

    Args:
        outcome: How it ended.
        counter: Estimates what the provider did not report.

    Returns:
        The usage and how it is known. A call that failed without an answer used
        nothing; one that was broken off used its prompt and what had come.
    """
    if outcome.blocked is not None:
        return Reading()
    if outcome.abandoned:
        return Reading(_estimate(outcome, counter), estimated=True)
    reported, problem = _reported(outcome)
    if outcome.error is not None:
        if not (outcome.stopped_early or answer_text(outcome.result)):
            return Reading(reported or TokenUsage(), problem=problem)
        usage = _at_least(reported, _estimate(outcome, counter))
        return Reading(usage, estimated=True, problem=problem)
    if is_cache_hit(outcome.message):
        avoided = reported if reported and reported.total else None
        return Reading(avoided=avoided, cache_hit=True, problem=problem)
    if reported is None:
        return Reading(_estimate(outcome, counter), estimated=True, problem=problem)
    unsaid = outcome.message is not None and (
        not reported.input or (not reported.output and answer_text(outcome.result))
    )
    if unsaid:
        usage = _at_least(reported, _estimate(outcome, counter))
        return Reading(usage, estimated=True, problem="a count is missing")
    return Reading(reported)


def answer_text(result: LLMResult | None) -> str:
    """The text of all choices of an answer; empty where nothing came."""
    if result is None:
        return ""
    texts = []
    for generation in result.generations[0] if result.generations else ():
        if isinstance(generation, ChatGeneration):
            texts.append(message_text(generation.message))
        else:
            texts.append(generation.text)
    return "\n".join(texts)


def _estimate(outcome: Outcome, counter: TokenCounter) -> TokenUsage:
    call = outcome.call
    text = answer_text(outcome.result)
    try:
        prompt = counter.count(call.prompt, model=call.model, tools=call.tools)
    except (TypeError, ValueError, KeyError, AttributeError):  # an odd tool or message
        texts = [str(message) for message in call.prompt]
        prompt = counter.count(" ".join(texts), model=call.model)
    output = counter.count(text, model=call.model) if text else 0
    return TokenUsage(input=prompt, output=output)


def _at_least(reported: TokenUsage | None, estimate: TokenUsage) -> TokenUsage:
    """What was reported, with what is missing or broken off estimated."""
    if reported is None:
        return estimate
    missing = TokenUsage(
        input=0 if reported.input else estimate.input,
        output=max(estimate.output - reported.output, 0),
        service_tier=reported.service_tier,
        region=reported.region,
    )
    return reported + missing


def _reported(outcome: Outcome) -> tuple[TokenUsage | None, str | None]:
    """What the provider said, or why that was refused."""
    try:
        usage = None
        if outcome.message is not None:
            usage = TokenUsage.from_message(outcome.message)
        if usage is None and outcome.result is not None:
            usage = TokenUsage.from_result(outcome.result)
    except UsageError as error:
        return None, str(error)
    return usage, None


def is_cache_hit(message: AIMessage | None) -> bool:
    """Whether no provider was asked.

    LangChain marks an answer of its own cache by this one key and nothing else.
    """
    usage: Any = message.usage_metadata if message else None
    return isinstance(usage, Mapping) and usage.get("total_cost") == 0
