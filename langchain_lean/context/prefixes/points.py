"""Where cache marks stand in a prompt, and whether they pay."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.checks import checked_count
from langchain_lean.context.prefixes.limits import CacheRules, Lifetime
from langchain_lean.context.prefixes.marks import (
    TOOLS,
    Mark,
    marks_of,
    tools_with_mark,
    with_mark,
)
from langchain_lean.context.prefixes.parts import prompt_parts
from langchain_lean.context.prefixes.spots import Spot, spots
from langchain_lean.context.prefixes.stable import StablePrompt
from langchain_lean.context.prefixes.targets import Target, target_of
from langchain_lean.context.prefixes.tools import CACHE_CONTROL
from langchain_lean.context.prefixes.volatile import changes_soon
from langchain_lean.context.prefixes.worth import (
    Pricing,
    checked_lifetime,
    default_prices,
)
from langchain_lean.errors import ConfigurationError, UnpricedModelError
from langchain_lean.messages import prompt_messages, role, static_prefix


@dataclass(frozen=True, slots=True)
class CachedPrompt:
    """A prompt with the marks that make a provider cache its prefix.

    Attributes:
        messages: The messages, for the model.
        tools: The tools, for `bind_tools`.
        options: Options of the call, such as OpenAI's `prompt_cache_key`.
        points: Behind which messages marks were put, by index; -1 is behind the tools.
        reason: Why nothing was put, in a few words; empty where something was.
    """

    messages: tuple[BaseMessage, ...]
    tools: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    points: tuple[int, ...] = ()
    reason: str = ""


def cache_points(
    messages: LanguageModelInput | StablePrompt,
    *,
    model: Runnable[Any, Any] | tuple[str, str],
    tools: Sequence[Any] = (),
    calls: int,
    thread_calls: int | None = None,
    lifetime: Lifetime = "5m",
    cache_key: str | None = None,
    counter: TokenCounter | None = None,
    prices: PriceBook | None = None,
) -> CachedPrompt:
    """Mark the prefix of a prompt in the provider's form, where that pays.

    A mark goes behind the tools and the static prefix, which all threads share, and
    behind the history in front of the last human message, which the thread's next call
    sends again; while an agent is at work also behind its newest tool result, and
    behind that of the step before, where Claude would not look back so far. Where a
    provider finds a prefix at marks only, the end of the history one turn ago is
    marked, too. A mark is left out where the prefix up to it is below the model's
    minimum, or where so few calls share it that writing costs more than they save.

    None goes behind a system message that holds the current time, or the id of a
    request or the like: what is behind it changes from call to call. A `StablePrompt`
    is not looked through, since `stable_prefix` has moved what its caller wants moved.

    - Anthropic: `cache_control` on a block or the last tool.
    - Bedrock Converse: `cachePoint` blocks; Claude and Nova only. `ChatBedrock` gets
      these where it calls Converse, else Anthropic's, for five minutes and on no tool
      result.
    - OpenAI caches without being asked; `prompt_cache_key` leads calls with the same
      prefix to the same cache. From GPT-5.6 on, `prompt_cache_breakpoint` blocks, and
      no write of the question itself (`prompt_cache_options`).

    Marks that are there stay and count. A provider whose marks are not known, a model
    without a price, and one whose fallbacks take marks of another form get the prompt
    as it is.

    Args:
        messages: A prompt, best one of `stable_prefix`, whole (then with its tools) or
            its messages; it stays as it is.
        model: The chat model, or its name and its provider, as LangChain names it.
        tools: Its tools, in any form that `bind_tools` takes.
        calls: How many calls within the lifetime begin with this static prefix, this
            one included.
        thread_calls: How many of them are of this thread; all by default.
        lifetime: `5m`, or `1h`, which costs more to write. OpenAI decides by itself.
        cache_key: OpenAI's `prompt_cache_key`; a digest of the static prefix and the
            tools by default, and none where there are neither.
        counter: What counts tokens; a `TokenCounter()` by default.
        prices: Where prices come from; a `PriceBook()` by default.

    Returns:
        The prompt with its marks, and the options to call the model with.

    Raises:
        ConfigurationError: If a number or the lifetime makes no sense, `model` is
            neither a chat model nor a pair, or tools are given beside a `StablePrompt`
            that has its own.

    Example:
        ```python
        stable = stable_prefix(messages, tools)
        prompt = cache_points(stable, model=model, calls=20)
        model.bind_tools(prompt.tools).invoke(prompt.messages, **prompt.options)
        ```
    """
    as_it_was, end = _taken(messages, tools)
    checked_count("calls", calls)
    shared = (
        calls if thread_calls is None else checked_count("thread_calls", thread_calls)
    )
    target = target_of(model)
    rules = target.rules
    checked_lifetime(lifetime, rules, target.name)
    if rules is None:
        return replace(as_it_was, reason=target.reason)
    prompt, tools = as_it_was.messages, as_it_was.tools
    places = spots(prompt, tools, rules, stable=end, calls=calls, thread_calls=shared)
    count = (counter or _counter()).count
    long_enough = [
        spot
        for spot in places
        if rules.minimum
        <= count(prompt[: spot.place + 1], model=target.name, tools=tools)
    ]
    changes = "" if end == len(prompt) else _changes(end)
    if not long_enough:
        reason = changes or "the prefix is below the model's minimum"
        return replace(as_it_was, reason=reason)
    try:
        pricing = Pricing(prices or default_prices(), *target[:2], lifetime)
        worth = [s for s in long_enough if _pays(s, rules, pricing)]
    except UnpricedModelError:
        return replace(as_it_was, reason="no price is known for the model")
    if not worth:
        return replace(as_it_was, reason="too few calls would read it again")
    key = cache_key or _key(prompt[: min(static_prefix(prompt), end)], tools)
    marked = _marked(as_it_was, worth, target, rules, lifetime, key)
    return replace(marked, reason=changes or marked.reason)


def _taken(
    messages: LanguageModelInput | StablePrompt, tools: Sequence[Any]
) -> tuple[CachedPrompt, int]:
    """The prompt, and which of its messages is the first that changes soon."""
    if not isinstance(messages, StablePrompt):
        prompt = tuple(prompt_messages(messages))
        static = prompt[: static_prefix(prompt)]
        changing = (i for i, m in enumerate(static) if changes_soon(m))
        return CachedPrompt(prompt, tuple(tools)), next(changing, len(prompt))
    if messages.tools and tools:
        msg = "The stable prompt has its tools; leave tools= out."
        raise ConfigurationError(msg)
    prompt = messages.messages
    return CachedPrompt(prompt, messages.tools or tuple(tools)), len(prompt)


def _changes(place: int) -> str:
    return (
        f"message {place} (system) changes from call to call: it holds the time or an "
        "id; call stable_prefix first"
    )


@cache
def _counter() -> TokenCounter:
    return TokenCounter()


def _pays(spot: Spot, rules: CacheRules, pricing: Pricing) -> bool:
    pays = pricing.pays(rules.minimum, spot.calls)
    if not rules.marks:  # it caches unasked, so there is nothing to pay
        return spot.calls > 1
    return pays


def _marked(
    prompt: CachedPrompt,
    worth: Sequence[Spot],
    target: Target,
    rules: CacheRules,
    lifetime: Lifetime,
    cache_key: str | None,
) -> CachedPrompt:
    given = marks_of(prompt.messages, prompt.tools)
    fit = (s.place for s in worth if _fits(s.place, given, lifetime))
    # ChatAnthropic sends this option as a mark of its own.
    taken = len(given) + (CACHE_CONTROL in target.options)
    free = max(rules.marks - taken, 0)
    points = tuple(sorted([*fit][:free]))
    messages = list(prompt.messages)
    for place in points:
        if place != TOOLS:
            messages[place] = with_mark(messages[place], rules.dialect, lifetime)
    tools = prompt.tools
    if TOOLS in points:
        tools = tools_with_mark(tools, rules.dialect, lifetime)
    options = {}
    if rules.dialect == "openai":
        options = _openai_options(prompt, target, points, cache_key)
    reason = "" if points or options else "its marks are set already"
    return CachedPrompt(tuple(messages), tools, options, points, reason)


def _fits(place: int, given: Sequence[Mark], lifetime: Lifetime) -> bool:
    """Whether a mark can stand there: longer lifetimes stand before shorter ones."""
    if lifetime == "1h":
        return all(
            m.place > place or (m.place < place and m.lifetime == "1h") for m in given
        )
    return all(
        m.place < place or (m.place > place and m.lifetime == "5m") for m in given
    )


def _openai_options(
    prompt: CachedPrompt,
    target: Target,
    points: Sequence[int],
    cache_key: str | None,
) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if cache_key:
        options["prompt_cache_key"] = cache_key
    asks = role(prompt.messages[-1]) == "human"
    if points and asks:  # an agent's newest step is read again, a question is not
        options["prompt_cache_options"] = {"mode": "explicit"}
    return {k: v for k, v in options.items() if k not in target.options}


def _key(static: Sequence[BaseMessage], tools: Sequence[Any]) -> str | None:
    """The same for equal static prefixes; it tells nothing of their text."""
    if not static and not tools:
        return None
    digest = hashlib.sha256()
    for part in prompt_parts(static, tools):
        digest.update(f"{part.name}:{len(part.data)}:".encode())
        digest.update(part.data)
    return f"lean-{digest.hexdigest()[:32]}"
