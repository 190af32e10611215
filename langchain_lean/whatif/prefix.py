"""What providers would have read from their prompt caches, with cache points set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.context.prefixes.limits import CacheRules, cache_rules
from langchain_lean.context.prefixes.spots import spots
from langchain_lean.context.prefixes.worth import Pricing
from langchain_lean.errors import UnpricedModelError
from langchain_lean.messages import static_prefix
from langchain_lean.whatif.costs import Change, Left, State, input_left

if TYPE_CHECKING:
    from decimal import Decimal

    from langchain_lean.whatif.traffic import Call, Model, Traffic

PREFIX = "prompt prefix"

_KEPT = 300  # seconds; each read renews it
_SHARED, _OWN = 1, 0  # what tells places apart that are found together

_TOLD = "prompts are cached already"
_UNASKED = "the provider caches prompts by itself, without being asked"
_UNKNOWN = "no cache points are known for the models, or no price"

Burst = dict["Call", int]
"""By call, how many calls there are without such a gap between two of them."""


class Prompt(NamedTuple):
    """A prompt as a provider's cache sees it.

    Attributes:
        call: Its call.
        rules: What the provider caches.
        prefixes: Hashes: of its tools, and from there up to each message.
        static: How many messages are the same in all threads.
        shared: Which prefixes to mark that all threads share.
        own: Which ones to mark that its own thread sends again.
    """

    call: Call
    rules: CacheRules
    prefixes: Sequence[int]
    static: int
    shared: Sequence[int]
    own: Sequence[int]

    def sizes(self, left: Left) -> list[int]:
        """Tokens of its tools, and from there up to each message.

        Args:
            left: What other levers leave of it.
        """
        parts, a_character = self.call.entry.anatomy, self.call.tokens_a_character
        system = left.system / parts.system if parts.system else 1.0
        others = left.history / parts.history if parts.history else 1.0
        tokens = (
            mark.length * a_character * (system if mark.role == "system" else others)
            for mark in self.call.prompt
        )
        most = input_left(self.call, left)
        return [min(int(size), most) for size in accumulate(tokens, initial=left.tools)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cached(Change):
    """Has providers read what stood in front of earlier prompts.

    Attributes:
        prompts: The prompts, in the order they were sent.
        saved: Dollars that a call saves by reading and writing so many tokens.
        pays: Whether cache points of a prompt pay that so many calls share.
    """

    prompts: Sequence[Prompt]
    saved: Callable[[Call, int, int, int], Decimal]
    pays: Callable[[Prompt, int], bool]

    def leaves(self, state: State) -> dict[Call, Left]:
        """What it leaves of the calls that it changes."""
        sent = [prompt for prompt in self.prompts if state[prompt.call].made]
        shared = _bursts(sent, lambda prompt: prompt.prefixes[prompt.static])
        threads = _bursts(sent, lambda prompt: prompt.call.thread)
        kept: dict[int, tuple[float, float]] = {}
        found = {}
        for prompt in sent:
            call, left = prompt.call, state[prompt.call]
            sizes = prompt.sizes(left)
            places = self._places(prompt, sizes, shared[call], threads[call])
            if places:
                read, written = _cached(prompt, sizes, places, kept)
                saved = self.saved(call, input_left(call, left), read, written)
                found[call] = left._replace(beside=left.beside - saved * left.price)
        return found

    def _places(
        self, prompt: Prompt, sizes: Sequence[int], calls: int, thread_calls: int
    ) -> list[int]:
        """Behind which of its prefixes a prompt has cache points."""
        places = [
            place
            for spots, times in ((prompt.shared, calls), (prompt.own, thread_calls))
            if self.pays(prompt, times)
            for place in spots
            if sizes[place] >= prompt.rules.minimum
        ]
        return sorted(places[: prompt.rules.marks])


def cached(traffic: Traffic) -> Cached | str:
    """Set cache points where a provider caches at these only.

    Args:
        traffic: What was recorded.

    Returns:
        The lever; or why there is nothing to set.
    """
    rules = {call.model: cache_rules(*call.model) for call in traffic.asking}
    told = {call.model for call in traffic.asking if _was_cached(call.entry.usage)}
    unasked = {m for m, each in rules.items() if each and each.dialect == "openai"}
    usable = {
        model: each
        for model, each in rules.items()
        if each and model not in told | unasked and _has_price(traffic, model)
    }
    prompts = [
        _prompt(traffic, call, usable[call.model])
        for call in traffic.asking
        if call.model in usable and call.prompt
    ]
    left_alone = [why for why, models in ((_TOLD, told), (_UNASKED, unasked)) if models]
    if not prompts:
        return left_alone[0] if left_alone else _UNKNOWN
    details = tuple(f"of some models {why}" for why in left_alone)
    return Cached(
        name=PREFIX,
        prompts=prompts,
        saved=_saving(traffic),
        pays=_paying(traffic),
        sure="simulated",
        assumption="Cache points are set after the tools, the system prompt and the "
        "history, and the provider keeps what it cached for five minutes.",
        details=details,
    )


def _saving(traffic: Traffic) -> Callable[[Call, int, int, int], Decimal]:
    def saved(call: Call, whole: int, read: int, written: int) -> Decimal:
        usage, at = call.entry.usage, call.entry.start
        plain = TokenUsage(
            input=whole, service_tier=usage.service_tier, region=usage.region
        )
        cached = replace(plain, cache_read=read, cache_write_5m=written)
        costs = (traffic.prices.cost(u, *call.model, at).input for u in (plain, cached))
        return next(costs) - next(costs)

    return saved


def _paying(traffic: Traffic) -> Callable[[Prompt, int], bool]:
    @cache
    def pays(model: Model, minimum: int, calls: int) -> bool:
        return Pricing(traffic.prices, *model, "5m").pays(minimum, calls)

    return lambda prompt, calls: pays(prompt.call.model, prompt.rules.minimum, calls)


def _has_price(traffic: Traffic, model: Model) -> bool:
    try:
        traffic.prices.cost(TokenUsage(input=1), *model)
    except UnpricedModelError:
        return False
    return True


def _was_cached(usage: TokenUsage) -> bool:
    return bool(usage.cache_read or usage.cache_write_5m or usage.cache_write_1h)


def _prompt(traffic: Traffic, call: Call, rules: CacheRules) -> Prompt:
    messages = traffic.messages(call.prompt)
    tools = call.tools and call.tools.digest
    chain = accumulate(
        (mark.digest for mark in call.prompt),
        lambda before, digest: hash((before, digest)),
        initial=hash((call.model, tools)),
    )
    places: dict[int, list[int]] = {_SHARED: [], _OWN: []}
    for spot in spots(
        messages,
        [tools] if tools else [],
        rules,
        stable=len(messages),
        calls=_SHARED,
        thread_calls=_OWN,
    ):
        places[spot.calls].append(spot.place + 1)
    return Prompt(
        call,
        rules,
        prefixes=list(chain),
        static=static_prefix(messages),
        shared=places[_SHARED],
        own=places[_OWN],
    )


def _bursts(prompts: Sequence[Prompt], key: Callable[[Prompt], object]) -> Burst:
    """How many prompts with the same key there are without a gap."""
    newest: dict[object, list[Call]] = {}
    bursts: list[list[Call]] = []
    for prompt in prompts:
        of, call = key(prompt), prompt.call
        burst = newest.get(of)
        if burst is None or _seconds(burst[-1], call) > _KEPT:
            burst = newest[of] = []
            bursts.append(burst)
        burst.append(call)
    return {call: len(burst) for burst in bursts for call in burst}


def _seconds(before: Call, call: Call) -> float:
    return (call.entry.start - before.entry.start).total_seconds()


def _cached(
    prompt: Prompt,
    sizes: Sequence[int],
    places: Sequence[int],
    kept: dict[int, tuple[float, float]],
) -> tuple[int, int]:
    """Tokens that are read from the cache and written to it, which is kept up."""
    entry = prompt.call.entry
    now = entry.start.timestamp()
    end = places[-1]
    candidates: Iterator[int] = reversed(range(end + 1))
    known = (kept.get(prompt.prefixes[place]) for place in reversed(range(end + 1)))
    found = (
        place
        for place, times in zip(candidates, known, strict=True)
        if times and times[0] <= now <= times[1] + _KEPT
    )
    place = next(found, None)
    read = 0 if place is None else sizes[place]
    first_token = entry.first_token_seconds
    ready = now + (entry.seconds if first_token is None else first_token)
    for at in places if place is None else (*places, place):
        prefix = prompt.prefixes[at]
        earlier = kept.get(prefix)
        known_since = earlier[0] if earlier and now <= earlier[1] + _KEPT else ready
        kept[prefix] = (min(known_since, ready), now)
    return read, max(sizes[end] - read, 0)
