"""A cache that learns what it may serve: it explores, compares, and remembers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_lean import SemanticCache, TokenLedger, scope, track
from langchain_lean.caching.stores.memory import MemoryCacheStore
from langchain_lean.testing import ScriptedChatModel
from tests.unit.caching.caches import WordEmbeddings, ainvoke, invoke, lean, model

INTENTS = ("card", "rate", "fees", "password", "refund", "account", "limit", "atm")
FILLERS = [f"{a}{b}" for a in "abcdefgh" for b in "aeiou"]


def answer(messages: Sequence[BaseMessage]) -> str:
    """The same for all questions of an intent."""
    (intent,) = set(messages[-1].text.split()) & set(INTENTS)
    return f"This is about your {intent}."


def questions(count: int) -> list[str]:
    """Different questions, each of which names its intent."""
    chance = random.Random(3)
    return [
        " ".join([*[chance.choice(INTENTS)] * 3, *chance.sample(FILLERS, 2)])
        for _ in range(count)
    ]


def asked() -> ScriptedChatModel:
    return model(answer)


def learning(**options: Any) -> SemanticCache:
    return SemanticCache(
        WordEmbeddings(), **{"max_error_rate": 0.05, "vetoes": (), **options}
    )


def served(cached: Any, texts: Sequence[str]) -> tuple[int, int]:
    """How many hits there were, and how many of them wrong."""
    hits = wrong = 0
    for text in texts:
        found = cached.invoke(text)
        if lean(found).get("kind") == "semantic":
            hits += 1
            wrong += found.text != answer([type(found)(text)])
    return hits, wrong


def test_it_serves_nothing_before_it_has_learned() -> None:
    hits, _ = served(learning().model(asked()), questions(20))
    assert hits == 0


def test_it_learns_to_serve_what_is_right() -> None:
    hits, wrong = served(learning().model(asked()), questions(500))
    assert hits > 150
    assert wrong <= 0.05 * 500


def test_it_goes_on_comparing_now_and_then() -> None:
    inner = asked()
    cached = learning().model(inner)
    with track(TokenLedger()) as ledger:
        hits, _ = served(cached, questions(600))
    again = len(inner.calls)
    served(cached, questions(900)[600:])
    assert len(inner.calls) > again
    saved = ledger.savings().levers["cache"]
    assert saved.count >= hits
    assert saved.count + saved.misses == 600


def test_where_answers_never_are_the_same_it_serves_nothing() -> None:
    cache = learning(same_answer=lambda one, other: False)
    hits, _ = served(cache.model(asked()), questions(300))
    assert hits == 0


async def test_inside_of_a_model_an_exploration_is_a_miss_that_is_compared() -> None:
    inner = model(answer, cache=learning())
    actions = set()
    for number, text in enumerate(questions(1_200)):
        found = await (invoke if number % 2 else ainvoke)(inner, text)
        actions.add(lean(found)["action"])
    assert actions == {"hit", "missed", "explored"}


def test_what_was_learned_is_kept_in_the_store() -> None:
    store = MemoryCacheStore()
    served(learning(store=store).model(asked()), questions(400))
    hits, _ = served(learning(store=store).model(asked()), questions(500)[400:])
    fresh, _ = served(learning().model(asked()), questions(500)[400:])
    assert hits > fresh


def test_one_tenant_teaches_another_nothing() -> None:
    cached = learning(tenant_by="user_id").model(asked())
    with scope(user_id="ada"):
        hits, _ = served(cached, questions(400))
    assert hits > 0
    with scope(user_id="bob"):
        hits, _ = served(cached, questions(20))
    assert hits == 0


def test_vetoes_hold_there_too() -> None:
    def never(one: str, other: str) -> str:
        return "it is Sunday"

    hits, _ = served(learning(vetoes=[never]).model(asked()), questions(300))
    assert hits == 0


def test_everything_learned_is_forgotten_with_the_cache() -> None:
    cache = learning()
    cached = cache.model(asked())
    served(cached, questions(400))
    cache.clear()
    hits, _ = served(cached, questions(20))
    assert hits == 0
