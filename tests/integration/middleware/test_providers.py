"""The whole stack over real OpenAI, Bedrock and Anthropic clients."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents.structured_output import ProviderStrategy
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import BaseModel, Field

from langchain_lean import Budget, BudgetGuard, EscalationRouter, TokenLedger
from langchain_lean.budgets.finish import INSTRUCTION
from langchain_lean.middleware import PromptCacheMiddleware
from langchain_lean.routing.policies import SelfScreen
from langchain_lean.routing.steps import StepCap
from tests.integration.conftest import MakeChatBedrock, MakeChatOpenAI
from tests.integration.middleware.agents import (
    Run,
    agent_of,
    answer,
    asked,
    both,
    calling,
    every_way,
    noted,
    parts,
)
from tests.integration.middleware.stacks import Middleware, all_of
from tests.integration.provider_server import ProviderServer, Reply, ToolCall

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
RULES = "Be kind to whoever asks, and never give out what others have booked. " * 200
LOOKS = Reply(text="", tool_calls=(ToolCall(name="search", args={"query": "it"}),))
ESCALATES = Reply(text="[[")  # the provider takes the stop sequence away


class Answer(BaseModel):
    """An answer."""

    place: str


class Claude(ChatAnthropic):
    """The real class, which keeps what it would send and answers from a list."""

    replies: list[Any]
    payloads: list[Any] = Field(default_factory=list)

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        kwargs.pop("run_manager", None)
        self.payloads.append(self._get_request_payload(messages, **kwargs))
        message = self.replies.pop(0).model_copy(deep=True)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        return self._generate(messages, *args, **kwargs)


def said(text: str) -> AIMessage:
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    return AIMessage(
        text, usage_metadata=usage, response_metadata={"model_name": "claude-haiku-4-5"}
    )


def claude(*replies: Any, model: str = "claude-haiku-4-5") -> Claude:
    return Claude(
        model=model,
        api_key="test",
        replies=[*replies],
        disable_streaming=True,
    )


def stack(cheap: Any, strong: Any, **parts: Any) -> Middleware:
    router = EscalationRouter({"cheap": cheap, "strong": strong}, policy=SelfScreen())
    marks = PromptCacheMiddleware(calls=10)
    return all_of(cheap, **{"router": router, "prompt_cache": marks, **parts})


@pytest.fixture
def openai(chat_openai: MakeChatOpenAI) -> tuple[Any, Any]:
    names = ("gpt-4o-mini", "gpt-4o")
    cheap, strong = (chat_openai(model=name, stream_usage=True) for name in names)
    return cheap, strong


@pytest.fixture
def bedrock(chat_bedrock: MakeChatBedrock) -> tuple[Any, Any]:
    return chat_bedrock(model=HAIKU), chat_bedrock()


class TestOpenAI:
    @every_way
    async def test_an_agent_answers_through_the_stack(
        self, run: Run, openai: Any, openai_server: ProviderServer
    ) -> None:
        openai_server.reply(LOOKS, Reply(text="Nothing is there."))
        ledger = TokenLedger()
        agent = agent_of(openai[1], *stack(*openai), system_prompt=RULES)
        state = await run(agent, asked(), {"callbacks": [ledger]})
        assert answer(state).content == "Nothing is there."
        first, second = openai_server.requests
        assert first["model"] == second["model"] == "gpt-4o-mini"
        assert [t["function"]["name"] for t in second["tools"]] == ["search"]
        assert [m["role"] for m in second["messages"]] == [
            "system",
            "user",
            "assistant",
            "tool",
        ]
        assert first["prompt_cache_key"] == second["prompt_cache_key"]
        assert first["stop"] == ["ESCALATE]]"]
        assert ledger.totals().calls == 2
        assert not any(entry.estimated for entry in ledger.entries())

    @every_way
    async def test_a_stronger_model_takes_over(
        self, run: Run, openai: Any, openai_server: ProviderServer
    ) -> None:
        openai_server.reply(ESCALATES, LOOKS, Reply(text="Nothing is there."))
        agent = agent_of(openai[1], *stack(*openai))
        state = await run(agent, asked())
        assert answer(state).content == "Nothing is there."
        models = [request["model"] for request in openai_server.requests]
        assert models == ["gpt-4o-mini", "gpt-4o", "gpt-4o"]

    @both
    async def test_a_schema_is_asked_for_and_read(
        self, run: Run, openai: Any, openai_server: ProviderServer
    ) -> None:
        openai_server.reply(LOOKS, Reply(text='{"place": "here"}'))
        form = ProviderStrategy(Answer)
        agent = agent_of(openai[1], *stack(*openai), response_format=form)
        state = await run(agent, asked())
        assert state["structured_response"] == Answer(place="here")
        last = openai_server.requests[-1]
        assert last["response_format"]["json_schema"]["name"] == "Answer"
        assert [t["function"]["name"] for t in last["tools"]] == ["search"]

    @both
    async def test_the_last_answer_has_no_tools_and_a_cap(
        self, run: Run, openai: Any, openai_server: ProviderServer
    ) -> None:
        openai_server.reply(LOOKS, LOOKS, Reply(text="I do not know."))
        agent = agent_of(openai[1], *stack(*openai, cap=StepCap(2)))
        state = await run(agent, asked())
        assert ("steps", "capped") in noted(answer(state))
        last = openai_server.requests[-1]
        assert "tools" not in last
        assert last["max_completion_tokens"] == 256
        assert last["messages"][-1]["content"] == INSTRUCTION


class TestBedrock:
    @every_way
    async def test_an_agent_answers_through_the_stack(
        self, run: Run, bedrock: Any, bedrock_server: ProviderServer
    ) -> None:
        bedrock_server.reply(LOOKS, Reply(text="Nothing is there."))
        ledger = TokenLedger()
        agent = agent_of(bedrock[1], *stack(*bedrock), system_prompt=RULES * 2)
        state = await run(agent, asked(), {"callbacks": [ledger]})
        assert answer(state).text == "Nothing is there."
        _, second = bedrock_server.requests
        assert second["toolConfig"]["tools"][0]["toolSpec"]["name"] == "search"
        assert {"cachePoint": {"type": "default"}} in second["system"]
        assert ledger.totals().calls == 2
        assert ledger.totals().flags == {}

    @both
    async def test_the_budget_ends_it_with_a_last_answer(
        self, run: Run, bedrock: Any, bedrock_server: ProviderServer
    ) -> None:
        bedrock_server.reply(LOOKS, Reply(text="I do not know."))
        guard = BudgetGuard(Budget(tokens=2_500, per="run"))
        cheap = bedrock[0].model_copy(update={"max_tokens": 1_500})
        agent = agent_of(bedrock[1], *stack(cheap, bedrock[1], guard=guard))
        state = await run(agent, asked())
        assert ("budget", "finish") in noted(answer(state))
        assert "toolConfig" not in bedrock_server.requests[-1]


class TestAnthropic:
    @both
    async def test_an_agent_answers_through_the_stack(self, run: Run) -> None:
        looks = said("").model_copy(update={"tool_calls": calling("search").tool_calls})
        cheap = claude(looks, said("Nothing is there."))
        strong = claude(model="claude-sonnet-4-5")
        ledger = TokenLedger()
        agent = agent_of(strong, *stack(cheap, strong), system_prompt=RULES * 2)
        state = await run(agent, asked(), {"callbacks": [ledger]})
        assert answer(state).content == "Nothing is there."
        first, second = cheap.payloads
        assert first["tools"][0]["name"] == "search"
        assert first["system"][0]["cache_control"] == {"type": "ephemeral"}
        assert second["messages"][-1]["content"][0]["type"] == "tool_result"
        assert ledger.totals().calls == 2

    @both
    async def test_a_schema_is_asked_for_and_read(self, run: Run) -> None:
        cheap = claude(said('{"place": "here"}'))
        strong = claude(model="claude-sonnet-4-5")
        form = ProviderStrategy(Answer)
        agent = agent_of(strong, *stack(cheap, strong), response_format=form)
        state = await run(agent, asked())
        assert state["structured_response"] == Answer(place="here")
        assert "json_schema" in str(cheap.payloads[0])

    async def test_a_stream_shows_the_answer_once(self) -> None:
        cheap = claude(said("Nothing is there."))
        strong = claude(model="claude-sonnet-4-5")
        agent = agent_of(strong, *stack(cheap, strong), tools=[])
        shown = await parts(agent, asked())
        assert "".join(piece.text for piece, _ in shown) == "Nothing is there."
