"""A cache of answers in an agent."""

from __future__ import annotations

import re
from typing import Any

import pytest
from langchain.agents.structured_output import ProviderStrategy
from langchain_core.messages import AIMessageChunk
from pydantic import BaseModel

from langchain_lean import EscalationRouter, SemanticCache, TokenLedger
from langchain_lean.middleware import LeanCacheMiddleware, lean_middleware
from tests.integration.middleware.agents import (
    STRONG,
    Run,
    agent_of,
    answer,
    asked,
    both,
    both_streams,
    calling,
    every_way,
    noted,
    on_thread,
    scripted,
    thread,
)
from tests.unit.caching.caches import CARD, CARD_TOO, RATE, lean, semantic
from tests.unit.routing.ladders import Bad

ANSWER = "It comes on Monday or on Tuesday."
HIT = [("cache", "hit")]


class Answer(BaseModel):
    """An answer."""

    place: str


def caching(**options: Any) -> LeanCacheMiddleware:
    return LeanCacheMiddleware(semantic(**options))


def kinds(state: dict[str, Any]) -> list[str]:
    return [lean(m).get("kind", "") for m in state["messages"] if m.type == "ai"]


class TestAnswers:
    @every_way
    async def test_the_same_question_is_answered_without_a_model(
        self, run: Run
    ) -> None:
        model = scripted(ANSWER)
        agent = agent_of(model, caching())
        first = await run(agent, asked(CARD))
        again = await run(agent, asked(CARD))
        assert answer(first).content == answer(again).content == ANSWER
        assert kinds(again) == ["exact"]
        assert len(model.calls) == 1

    @every_way
    async def test_a_question_in_other_words_is_answered_too(self, run: Run) -> None:
        model = scripted(ANSWER)
        agent = agent_of(model, caching())
        await run(agent, asked(CARD))
        state = await run(agent, asked(CARD_TOO))
        assert answer(state).content == ANSWER
        assert kinds(state) == ["semantic"]

    @both
    async def test_another_question_is_asked(self, run: Run) -> None:
        model = scripted(ANSWER, "Two to one.")
        agent = agent_of(model, caching())
        await run(agent, asked(CARD))
        assert answer(await run(agent, asked(RATE))).content == "Two to one."

    @both
    async def test_tool_calls_are_made_again_and_the_last_answer_is_kept(
        self, run: Run
    ) -> None:
        model = scripted(calling("search"), ANSWER, calling("search"))
        agent = agent_of(model, caching())
        await run(agent, asked(CARD))
        state = await run(agent, asked(CARD))
        assert kinds(state) == ["", "exact"]
        assert [m.type for m in state["messages"]] == ["human", "ai", "tool", "ai"]
        assert len(model.calls) == 3

    @both
    @pytest.mark.parametrize("other", ["prompt", "tools"])
    async def test_another_prompt_or_other_tools_are_another_question(
        self, run: Run, other: str
    ) -> None:
        middleware = caching()
        model = scripted(ANSWER, "Another answer.")
        changed: Any = {"system_prompt": "Be brief."} if other == "prompt" else {}
        await run(agent_of(model, middleware), asked(CARD))
        tools: Any = {"tools": []} if other == "tools" else {}
        agent = agent_of(model, middleware, **changed, **tools)
        assert answer(await run(agent, asked(CARD))).content == "Another answer."

    @both
    async def test_earlier_turns_are_part_of_the_question(self, run: Run) -> None:
        model = scripted("Hello.", ANSWER, "Another answer.")
        agent = on_thread(model, caching())
        await run(agent, asked("I am Ada."), thread("ada"))
        await run(agent, asked(CARD), thread("ada"))
        state = await run(agent, asked(CARD), thread("bob"))
        assert answer(state).content == "Another answer."

    @both
    async def test_tenants_have_answers_of_their_own(self, run: Run) -> None:
        model = scripted("For Ada.", "For Bob.")
        agent = agent_of(model, caching(tenant_by="user_id"))
        for name in ("Ada", "Bob", "Ada", "Bob"):
            state = await run(agent, asked(CARD), {"metadata": {"user_id": name}})
            assert answer(state).content == f"For {name}."
        assert len(model.calls) == 2

    @both
    async def test_an_answer_of_a_schema_is_left_alone(self, run: Run) -> None:
        filled = scripted('{"place": "here"}', '{"place": "here"}')
        form = ProviderStrategy(Answer)
        agent = agent_of(filled, caching(), response_format=form)
        for _ in range(2):
            state = await run(agent, asked(CARD))
            assert state["structured_response"] == Answer(place="here")
            assert [noted(m) for m in state["messages"]] == [[]] * 2
        assert len(filled.calls) == 2

    @both
    async def test_its_tags_invalidate(self, run: Run) -> None:
        cache = semantic()
        agent = agent_of(
            scripted(ANSWER, "Now on Friday."),
            LeanCacheMiddleware(cache, tags=["post"]),
        )
        await run(agent, asked(CARD))
        assert cache.invalidate("post") == 1
        assert answer(await run(agent, asked(CARD))).content == "Now on Friday."

    @both
    async def test_an_agent_s_name_stands_on_a_kept_answer(self, run: Run) -> None:
        agent = agent_of(scripted(ANSWER), caching(), name="desk")
        for _ in range(2):
            assert answer(await run(agent, asked(CARD))).name == "desk"


class TestStreams:
    @both_streams
    async def test_a_kept_answer_comes_in_pieces(self, parts: Run) -> None:
        agent = agent_of(scripted(ANSWER), caching())
        agent.invoke(asked(CARD))
        shown: Any = await parts(agent, asked(CARD))
        assert len(shown) > 1
        assert all(isinstance(piece, AIMessageChunk) for piece, _ in shown)
        assert "".join(piece.text for piece, _ in shown) == ANSWER
        assert {meta["langgraph_node"] for _, meta in shown} == {"model"}
        assert len({piece.id for piece, _ in shown}) == 1

    @both_streams
    async def test_a_new_answer_comes_as_the_model_says_it_and_is_kept(
        self, parts: Run
    ) -> None:
        agent = agent_of(scripted(ANSWER), caching())
        shown: Any = await parts(agent, asked(CARD))
        words = [piece.text for piece, _ in shown if piece.text]
        assert words == re.findall(r"\S+ ?", ANSWER)
        assert kinds(agent.invoke(asked(CARD))) == ["exact"]


class TestOthers:
    @both
    async def test_the_ledger_counts_what_was_spared(self, run: Run) -> None:
        ledger = TokenLedger()
        agent = agent_of(scripted(ANSWER), caching())
        await run(agent, asked(CARD), {"callbacks": [ledger]})
        await run(agent, asked(CARD), {"callbacks": [ledger]})
        [entry] = ledger.entries()
        assert entry.cost is not None
        lever = ledger.savings().levers["cache"]
        assert lever.exact == entry.cost.total > 0

    @both
    async def test_an_answer_of_other_models_is_another_one(self, run: Run) -> None:
        cache: SemanticCache = semantic()

        def agent(said: str, temperature: float) -> Any:
            models = {
                "haiku": scripted(said, temperature=temperature),
                "sonnet": scripted(name=STRONG),
            }
            router = EscalationRouter(models, policy=Bad())
            return agent_of(
                scripted(name=STRONG), *lean_middleware(cache=cache, router=router)
            )

        await run(agent(ANSWER, 0.0), asked(CARD))
        state = await run(agent("Never.", 0.0), asked(CARD))
        assert answer(state).content == ANSWER
        state = await run(agent("Never.", 1.0), asked(CARD))
        assert answer(state).content == "Never."
