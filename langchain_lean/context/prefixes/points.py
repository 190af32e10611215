"""Where cache marks stand in a prompt, and whether they pay."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.context.checks import checked_count
from langchain_lean.context.prefixes.limits import (
    CacheRules,
    Lifetime,
    cache_rules,
)
from langchain_lean.context.prefixes.marks import (
    CACHE_CONTROL,
    TOOLS,
    Mark,
    can_carry,
    marks_of,
    tools_with_mark,
    with_mark,
)
from langchain_lean.context.prefixes.parts import prompt_parts
from langchain_lean.context.prefixes.worth import (
    Pricing,
    checked_lifetime,
    default_prices,
)
from langchain_lean.errors import ConfigurationError, UnpricedModelError
from langchain_lean.messages import (
    last_human_index,
    prompt_messages,
    role,
    static_prefix,
)
from langchain_lean.models import chat_model_of, ls_params

_INVOKE_MODEL = "amazon_bedrock_chat"  # ChatBedrock, which speaks Anthropic's form


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


class _Target(NamedTuple):
    """The model a prompt is for."""

    name: str
    provider: str | None
    rules: CacheRules | None
    options: Mapping[str, Any]


class _Spot(NamedTuple):
    """A place for a mark, and how many calls in a lifetime share what is before it."""

    place: int
    calls: int


def cache_points(
    messages: LanguageModelInput,
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
    sends again; while an agent is at work also behind its newest tool result. Where a
    provider finds a prefix at marks only, the end of the history one turn ago is
    marked, too. A mark is left out where the prefix up to it is below the model's
    minimum, or where so few calls share it that writing costs more than they save.

    - Anthropic: `cache_control` on a block or the last tool.
    - Bedrock Converse: `cachePoint` blocks; Claude and Nova only.
    - OpenAI caches without being asked; `prompt_cache_key` leads calls with the same
      prefix to the same cache. From GPT-5.6 on, `prompt_cache_breakpoint` blocks, and
      no write of the question itself (`prompt_cache_options`).

    Marks that are there stay and count. A provider whose marks are not known, and a
    model without a price, get the prompt as it is.

    Args:
        messages: A prompt, best one of `stable_prefix`; it stays as it is.
        model: The chat model, or its name and its provider, as LangChain names it.
        tools: Its tools, in any form that `bind_tools` takes.
        calls: How many calls within the lifetime begin with this static prefix, this
            one included.
        thread_calls: How many of them are of this thread; all by default.
        lifetime: `5m`, or `1h`, which costs more to write. OpenAI decides by itself.
        cache_key: OpenAI's `prompt_cache_key`; a digest of the static prefix by
            default.
        counter: What counts tokens; a `TokenCounter()` by default.
        prices: Where prices come from; a `PriceBook()` by default.

    Returns:
        The prompt with its marks, and the options to call the model with.

    Raises:
        ConfigurationError: If a number or the lifetime makes no sense, or `model` is
            neither a chat model nor a pair.

    Example:
        ```python
        prompt = cache_points(messages, model=model, tools=tools, calls=20)
        model.bind_tools(prompt.tools).invoke(prompt.messages, **prompt.options)
        ```
    """
    prompt = tuple(prompt_messages(messages))
    as_it_was = CachedPrompt(prompt, tuple(tools))
    checked_count("calls", calls)
    shared = (
        calls if thread_calls is None else checked_count("thread_calls", thread_calls)
    )
    target = _target(model)
    rules = target.rules
    checked_lifetime(lifetime, rules, target.name)
    if rules is None:
        return replace(as_it_was, reason="no cache points are known for the model")
    count = (counter or _counter()).count
    long_enough = [
        spot
        for spot in _spots(prompt, tools, rules, calls, shared)
        if rules.minimum
        <= count(prompt[: spot.place + 1], model=target.name, tools=tools)
    ]
    if not long_enough:
        return replace(as_it_was, reason="the prefix is below the model's minimum")
    try:
        pricing = Pricing(prices or default_prices(), *target[:2], lifetime)
        worth = [s for s in long_enough if _pays(s, rules, pricing)]
    except UnpricedModelError:
        return replace(as_it_was, reason="no price is known for the model")
    if not worth:
        return replace(as_it_was, reason="too few calls would read it again")
    return _marked(as_it_was, worth, target, rules, lifetime, cache_key)


@cache
def _counter() -> TokenCounter:
    return TokenCounter()


def _target(model: Any) -> _Target:
    if isinstance(model, tuple):
        if [type(part) for part in model] != [str, str]:
            msg = "model= is a chat model, or a pair of its name and its provider."
            raise ConfigurationError(msg)
        name, provider = model
        return _Target(name, provider, cache_rules(name, provider), {})
    said = ls_params(model)
    name, provider = said.get("ls_model_name") or "", said.get("ls_provider")
    rules = cache_rules(name, provider)
    bound = chat_model_of(model)
    if rules is not None and bound.model._llm_type == _INVOKE_MODEL:
        rules = replace(rules, dialect="anthropic")
    own = getattr(bound.model, "model_kwargs", None) or {}
    said_once = getattr(bound.model, "prompt_cache_options", None)
    options = {"prompt_cache_options": said_once} if said_once else {}
    return _Target(name, provider, rules, {**options, **own, **bound.options})


def _spots(
    messages: Sequence[BaseMessage],
    tools: Sequence[Any],
    rules: CacheRules,
    calls: int,
    shared: int,
) -> list[_Spot]:
    """Places for marks, the most useful first."""

    def last(start: int, end: int) -> Iterator[int]:
        places = range(min(end, len(messages)) - 1, start - 1, -1)
        found = (p for p in places if can_carry(messages[p], rules.dialect))
        yield from [*found][:1]

    static = static_prefix(messages)
    question = max(last_human_index(messages), static)
    before = max(last_human_index(messages[:question]), static)
    common = [*last(0, static)] or ([TOOLS] if tools and rules.tools else [])
    turns = [*last(static, question)]
    if messages and role(messages[-1]) == "tool":
        turns += last(question, len(messages))
    if rules.exact:
        turns += last(static, before)
    return [_Spot(place, calls) for place in common] + [
        _Spot(place, shared) for place in dict.fromkeys(turns)
    ]


def _pays(spot: _Spot, rules: CacheRules, pricing: Pricing) -> bool:
    if not rules.marks:  # it caches unasked, so there is nothing to pay
        return spot.calls > 1
    return pricing.pays(rules.minimum, spot.calls)


def _marked(
    prompt: CachedPrompt,
    spots: Sequence[_Spot],
    target: _Target,
    rules: CacheRules,
    lifetime: Lifetime,
    cache_key: str | None,
) -> CachedPrompt:
    given = marks_of(prompt.messages, prompt.tools)
    fit = (s.place for s in spots if _fits(s.place, given, lifetime))
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
    target: _Target,
    points: Sequence[int],
    cache_key: str | None,
) -> dict[str, Any]:
    options: dict[str, Any] = {"prompt_cache_key": cache_key or _key(prompt)}
    asks = role(prompt.messages[-1]) == "human"
    if points and asks:  # an agent's newest step is read again, a question is not
        options["prompt_cache_options"] = {"mode": "explicit"}
    return {k: v for k, v in options.items() if k not in target.options}


def _key(prompt: CachedPrompt) -> str:
    """The same for equal static prefixes; it tells nothing of their text."""
    static = prompt.messages[: static_prefix(prompt.messages)]
    digest = hashlib.sha256()
    for part in prompt_parts(static, prompt.tools):
        digest.update(f"{part.name}:{len(part.data)}:".encode())
        digest.update(part.data)
    return f"lean-{digest.hexdigest()[:32]}"
