"""Cheap-first routing in an agent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware.types import AgentMiddleware
from langchain.agents.structured_output import (
    ProviderStrategy,
    StructuredOutputValidationError,
    ToolStrategy,
)
from langchain_core.messages import AIMessage, AIMessageChunk
from pydantic import BaseModel

from langchain_lean import Budget, BudgetGuard, EscalationRouter, TokenLedger
from langchain_lean.middleware import BudgetMiddleware, EscalationMiddleware
from langchain_lean.routing.policies import AnswerChecks, SelfScreen
from langchain_lean.routing.verdict import EscalationPolicy
from tests.integration.middleware.agents import (
    CHEAP,
    STRONG,
    Run,
    agent_of,
    answer,
    asked,
    both,
    both_streams,
    calling,
    every_way,
    invoke,
    on_thread,
    scripted,
    search,
    thread,
)
from tests.unit.routing.ladders import Bad, lean

SECRET = "Hidden: a bad answer of many words."
GOOD = "This is a good answer in seven words."
MODES = ("values", "updates", "messages", "custom", "debug", "tasks", "checkpoints")


class Answer(BaseModel):
    """An answer."""

    place: str


def filled(place: str) -> AIMessage:
    """The call that is an answer of the schema."""
    call = {"name": "Answer", "args": {"place": place}, "id": f"answer-{place}"}
    return AIMessage("", tool_calls=[call])


def agent(
    cheap: Any, strong: Any, policy: EscalationPolicy | None = None, **options: Any
) -> Any:
    models = {"haiku": cheap, "sonnet": strong}
    router = EscalationRouter(models, policy=policy or Bad())
    return agent_of(strong, EscalationMiddleware(router), **options)


def routes(state: dict[str, Any]) -> list[str]:
    """Who gave each answer."""
    answers = [m for m in state["messages"] if m.type == "ai"]
    return [lean(message)[-1]["route"]["model"] for message in answers]


def policies() -> Sequence[EscalationPolicy]:
    return Bad(), SelfScreen(), AnswerChecks(pattern="^((?!Hidden).)*$")


class TestWhoAnswers:
    @every_way
    async def test_a_good_answer_is_the_cheap_model_s(self, run: Run) -> None:
        cheap, strong = scripted(GOOD), scripted(name=STRONG)
        state = await run(agent(cheap, strong), asked())
        assert answer(state).content == GOOD
        assert routes(state) == ["haiku"]
        assert strong.calls == []

    @every_way
    async def test_a_bad_answer_is_given_by_the_strong_one(self, run: Run) -> None:
        cheap, strong = scripted(SECRET), scripted(GOOD, name=STRONG)
        state = await run(agent(cheap, strong), asked())
        assert answer(state).content == GOOD
        assert answer(state).response_metadata["model_name"] == STRONG
        assert "Hidden" not in str(state)

    @every_way
    async def test_who_took_a_step_goes_on_with_the_turn(self, run: Run) -> None:
        cheap = scripted(SECRET, calling("search"), GOOD)
        strong = scripted(calling("search"), GOOD, name=STRONG)
        asks = agent(cheap, strong)
        assert routes(await run(asks, asked())) == ["sonnet", "sonnet"]
        assert routes(await run(asks, asked())) == ["haiku", "haiku"]

    @both
    async def test_the_next_turn_begins_with_the_cheap_one(self, run: Run) -> None:
        cheap = scripted(SECRET, calling("search"), "Fine.")
        strong = scripted(GOOD, name=STRONG)
        router = EscalationRouter({"haiku": cheap, "sonnet": strong}, policy=Bad())
        asks = on_thread(strong, EscalationMiddleware(router))
        for _ in range(2):
            state = await run(asks, asked(), thread())
        assert routes(state) == ["sonnet", "haiku", "haiku"]

    @both
    async def test_the_agent_s_tools_take_the_place_of_a_model_s_own(
        self, run: Run
    ) -> None:
        options = {"tool_choice": "any", "parallel_tool_calls": False, "seed": 7}
        cheap, strong = scripted(GOOD), scripted(name=STRONG)
        asks = agent(cheap.bind_tools([Answer], **options), strong.bind_tools([search]))
        await run(asks, asked())
        sent = cheap.calls[0].kwargs
        assert [each["function"]["name"] for each in sent["tools"]] == ["search"]
        assert sent["parallel_tool_calls"] is False
        assert sent["seed"] == 7
        assert "tool_choice" not in sent

    @both
    async def test_a_model_s_fallbacks_stay(self, run: Run) -> None:
        down = scripted(ConnectionError("down"))
        cheap = down.with_fallbacks([scripted(GOOD)])
        state = await run(agent(cheap, scripted(name=STRONG)), asked())
        assert answer(state).content == GOOD


class TestStreams:
    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("policy", policies(), ids=lambda p: p.name)
    async def test_no_mode_shows_a_rejected_answer(
        self, mode: str, policy: EscalationPolicy
    ) -> None:
        says = "[[ESCALATE]] Hidden." if isinstance(policy, SelfScreen) else SECRET
        cheap, strong = scripted(says, says), scripted(GOOD, GOOD, name=STRONG)
        asks = agent(cheap, strong, policy)
        parts = [*asks.stream(asked(), stream_mode=mode)]
        parts += [part async for part in asks.astream(asked(), stream_mode=mode)]
        assert "Hidden" not in str(parts)
        assert (len(cheap.calls), len(strong.calls)) == (2, 2)

    @both_streams
    @pytest.mark.parametrize("policy", policies(), ids=lambda p: p.name)
    async def test_an_accepted_answer_comes_token_by_token(
        self, parts: Run, policy: EscalationPolicy
    ) -> None:
        cheap = scripted(calling("search"), GOOD)
        given: Any = await parts(agent(cheap, scripted(name=STRONG), policy), asked())
        pieces = [m for m, _ in given if isinstance(m, AIMessageChunk) and m.text]
        assert [m.text for m in pieces] == re.findall(r"\S+ ?", GOOD)
        assert len({m.id for m in pieces}) == 1
        assert {meta["langgraph_node"] for _, meta in given} == {"model", "tools"}

    @both_streams
    async def test_the_strong_answer_comes_token_by_token(self, parts: Run) -> None:
        asks = agent(scripted(SECRET), scripted(GOOD, name=STRONG))
        given: Any = await parts(asks, asked())
        assert [m.text for m, _ in given if m.text] == re.findall(r"\S+ ?", GOOD)

    @both_streams
    async def test_an_answer_on_trial_is_within_the_budget_behind_it(
        self, parts: Run
    ) -> None:
        guard = BudgetGuard(Budget(calls=9, per="total"))
        cheap, strong = scripted(SECRET), scripted(GOOD, name=STRONG)
        models = {"haiku": cheap, "sonnet": strong}
        router = EscalationMiddleware(EscalationRouter(models, policy=Bad()))
        await parts(agent_of(strong, router, BudgetMiddleware(guard)), asked())
        assert guard.status()[0].used == 2

    def test_the_first_token_is_shown_before_the_last_is_there(self) -> None:
        cheap = scripted("Fine. " * 9, fail_after=6)
        asks = agent(cheap, scripted(name=STRONG), SelfScreen())
        stream = asks.stream(asked(), stream_mode="messages")
        assert [next(stream)[0].text for _ in range(3)] == ["Fine. "] * 3
        with pytest.raises(ConnectionError):
            list(stream)


class TestStructuredAnswers:
    @both
    async def test_a_called_schema_is_filled_by_who_answered(self, run: Run) -> None:
        cheap = scripted(SECRET)
        strong = scripted(filled("here"), name=STRONG)
        asks = agent(cheap, strong, response_format=ToolStrategy(Answer))
        state = await run(asks, asked())
        assert state["structured_response"] == Answer(place="here")
        assert [m.type for m in state["messages"]] == ["human", "ai", "tool"]

    @both
    async def test_a_provider_s_schema_is_filled_by_who_answered(
        self, run: Run
    ) -> None:
        cheap = scripted('{"place": "a bad one"}')
        strong = scripted('{"place": "here"}', name=STRONG)
        asks = agent(cheap, strong, response_format=ProviderStrategy(Answer))
        state = await run(asks, asked())
        assert state["structured_response"] == Answer(place="here")
        assert len(cheap.calls) == 1
        assert "response_format" in cheap.calls[0].kwargs

    @both
    async def test_one_that_nobody_can_read_escalates(self, run: Run) -> None:
        cheap = scripted("[[ESCALATE]]")
        strong = scripted('{"place": "here"}', name=STRONG)
        models = {"haiku": cheap, "sonnet": strong}
        router = EscalationRouter(models, policy=SelfScreen())
        asks = create_agent(
            strong,
            middleware=[EscalationMiddleware(router)],
            response_format=ProviderStrategy(Answer),
        )
        state = await run(asks, asked())
        assert state["structured_response"] == Answer(place="here")

    @both
    async def test_one_that_a_policy_accepts_all_the_same_is_an_error(
        self, run: Run
    ) -> None:
        asks = agent(
            scripted(GOOD),
            scripted(GOOD, name=STRONG),
            response_format=ProviderStrategy(Answer),
        )
        with pytest.raises(StructuredOutputValidationError):
            await run(asks, asked())

    @both
    async def test_an_answer_without_an_id_is_shown(self, run: Run) -> None:
        class Gives(AgentMiddleware[Any, Any, Any]):
            def wrap_model_call(self, request: Any, handler: Any) -> Any:
                return AIMessage(GOOD)

            async def awrap_model_call(self, request: Any, handler: Any) -> Any:
                return AIMessage(GOOD)

        models = {"haiku": scripted(GOOD), "sonnet": scripted(GOOD, name=STRONG)}
        router = EscalationRouter(models, policy=Bad())
        asks = create_agent(
            models["sonnet"], middleware=[EscalationMiddleware(router), Gives()]
        )
        if run is invoke:
            shown = [m for m, _ in asks.stream(asked(), stream_mode="messages")]
        else:
            stream = asks.astream(asked(), stream_mode="messages")
            shown = [m async for m, _ in stream]
        assert "".join(m.text for m in shown) == GOOD


class TestTheLedger:
    @both
    async def test_it_says_the_same_as_for_a_router_that_stands_alone(
        self, run: Run
    ) -> None:
        def models(*cheap: str) -> dict[str, Any]:
            return {
                "haiku": scripted(*cheap),
                "sonnet": scripted(GOOD, name=STRONG),
            }

        def alone(models: dict[str, Any]) -> Any:
            return EscalationRouter(models, policy=Bad())

        def in_agent(models: dict[str, Any]) -> Any:
            return agent(models["haiku"], models["sonnet"], tools=[])

        def seen(ledger: TokenLedger) -> Any:
            entries = [(e.requested, e.source, e.usage) for e in ledger.entries()]
            return sorted(entries, key=str), ledger.savings().levers.get("routing")

        for cheap in (GOOD, SECRET):
            found = []
            for make in (alone, in_agent):
                ledger = TokenLedger()
                await run(make(models(cheap)), asked(), {"callbacks": [ledger]})
                found.append(seen(ledger))
            assert found[0] == found[1]
            sources = {name: source for name, source, _ in found[1][0]}
            assert sources[CHEAP] == (None if cheap == GOOD else "routing")
