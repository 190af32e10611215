"""Cache marks as they reach the wire of real clients."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_lean.context.prefix import cache_points, stable_prefix
from langchain_lean.errors import ConfigurationError
from tests.integration.conftest import CLAUDE, MakeChatBedrock, MakeChatOpenAI
from tests.integration.provider_server import ProviderServer

RULES = "Be kind." * 2_000
NEW_GPT = "gpt-5.6"
CHAT = [
    SystemMessage(RULES),
    HumanMessage("First?"),
    AIMessage("One."),
    HumanMessage("Second?"),
]
AT_WORK = [
    SystemMessage(RULES),
    HumanMessage("Look it up."),
    AIMessage("", tool_calls=[{"name": "look_up", "args": {"word": "a"}, "id": "c1"}]),
    ToolMessage("A letter.", tool_call_id="c1"),
]
OPENAI_FORM: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a word up.",
        "parameters": {"type": "object", "properties": {}},
    },
}
ANTHROPIC_FORM = {
    "name": "look_up",
    "description": "Look a word up.",
    "input_schema": {"type": "object", "properties": {}},
}
POINT = {"cachePoint": {"type": "default"}}
CONTROL = {"type": "ephemeral"}
BREAKPOINT = {"mode": "explicit"}


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return word


def sent(model: Any, messages: list[BaseMessage], **options: Any) -> Any:
    """Ask a model with marks, and give back the prompt."""
    prompt = cache_points(messages, model=model, calls=10, **options)
    asked = model.bind_tools(prompt.tools) if prompt.tools else model
    asked.invoke(prompt.messages, **prompt.options)
    return prompt


def test_bedrock_gets_points_behind_the_system_prompt_and_the_history(
    chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
) -> None:
    prompt = sent(chat_bedrock(), CHAT, tools=[look_up])
    [request] = bedrock_server.requests
    assert prompt.points == (0, 2)
    assert request["system"] == [{"text": RULES}, POINT]
    assert request["messages"] == [
        {"role": "user", "content": [{"text": "First?"}]},
        {"role": "assistant", "content": [{"text": "One."}, POINT]},
        {"role": "user", "content": [{"text": "Second?"}]},
    ]
    assert len(request["toolConfig"]["tools"]) == 1


def test_bedrock_gets_a_point_beside_the_newest_tool_result(
    chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
) -> None:
    sent(chat_bedrock(), AT_WORK, tools=[look_up], lifetime="1h")
    [request] = bedrock_server.requests
    hour = {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert request["system"][-1] == hour
    result, point = request["messages"][-1]["content"]
    assert result["toolResult"]["content"] == [{"text": "A letter."}]
    assert point == hour


def test_bedrock_gets_a_point_behind_the_tools_where_no_system_prompt_is(
    chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
) -> None:
    function = {**OPENAI_FORM["function"], "description": RULES}
    schema = {"type": "function", "function": function}
    sent(chat_bedrock(), CHAT[1:2], tools=[schema])
    [request] = bedrock_server.requests
    assert request["toolConfig"]["tools"][1:] == [POINT]


def test_bedrock_gets_no_more_than_it_was_given_where_its_model_caches_nothing(
    chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
) -> None:
    sent(chat_bedrock(model="meta.llama3-70b-instruct-v1:0"), CHAT)
    [request] = bedrock_server.requests
    assert request["system"] == [{"text": RULES}]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_openai_gets_breakpoints_a_key_and_no_write_of_the_question(
    api: str, chat_openai: MakeChatOpenAI, openai_server: ProviderServer
) -> None:
    responses = api == "responses"
    model = chat_openai(model=NEW_GPT, use_responses_api=responses)
    prompt = sent(model, CHAT, tools=[look_up])
    [request] = openai_server.requests
    system, first, answer, question = request["input" if responses else "messages"]
    marked = {"prompt_cache_breakpoint": BREAKPOINT}
    kind = "input_text" if responses else "text"
    assert system["content"] == [{"type": kind, "text": RULES, **marked}]
    assert first["content"] == [{"type": kind, "text": "First?", **marked}]
    assert "prompt_cache_breakpoint" not in str([answer, question])
    assert request["prompt_cache_key"] == prompt.options["prompt_cache_key"]
    assert request["prompt_cache_options"] == BREAKPOINT


def test_an_older_openai_model_gets_the_key_alone(
    chat_openai: MakeChatOpenAI, openai_server: ProviderServer
) -> None:
    sent(chat_openai(), CHAT, tools=[look_up])
    [request] = openai_server.requests
    assert request["prompt_cache_key"].startswith("lean-")
    assert "prompt_cache_options" not in request
    assert [m["content"] for m in request["messages"]] == [m.content for m in CHAT]


def anthropic_payload(
    messages: list[BaseMessage], tools: Any = (), **options: Any
) -> dict[str, Any]:
    from langchain_anthropic import ChatAnthropic

    model: Any = ChatAnthropic(
        model_name="claude-sonnet-4-5", api_key="test", timeout=None, stop=None
    )
    prompt = cache_points(messages, model=model, tools=tools, calls=10, **options)
    bound = model.bind_tools(prompt.tools) if prompt.tools else model.bind()
    payload = model._get_request_payload(list(prompt.messages), **bound.kwargs)
    assert isinstance(payload, dict)
    return payload


def test_anthropic_gets_marks_on_the_system_prompt_and_the_history() -> None:
    payload = anthropic_payload(CHAT, [look_up])
    text = {"type": "text", "text": RULES, "cache_control": CONTROL}
    assert payload["system"] == [text]
    assert payload["messages"][1]["content"] == [
        {"type": "text", "text": "One.", "cache_control": CONTROL}
    ]
    assert str(payload).count("cache_control") == 2


def test_anthropic_gets_a_mark_on_the_newest_tool_result_for_an_hour() -> None:
    payload = anthropic_payload(AT_WORK, [look_up], lifetime="1h")
    [result] = payload["messages"][-1]["content"]
    assert result["type"] == "tool_result"
    assert result["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    "last",
    [
        look_up,
        OPENAI_FORM,
        ANTHROPIC_FORM,
        {"type": "web_search_20250305", "name": "w"},
    ],
    ids=["tool", "openai", "anthropic", "builtin"],
)
def test_anthropic_gets_a_mark_on_the_last_tool_where_no_system_prompt_is(
    last: Any,
) -> None:
    first = {**OPENAI_FORM["function"], "description": RULES}
    payload = anthropic_payload(CHAT[1:2], [first, last])
    before, marked = payload["tools"]
    assert "cache_control" not in before
    assert marked["cache_control"] == CONTROL
    assert marked["name"] in ("look_up", "w")


def typed(word: str) -> str:
    """Look a word up."""
    return word


class Word(BaseModel):
    """A word to look up."""

    word: str


STRICT_FORM = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a word up.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {},
            "additionalProperties": False,
        },
    },
}


@pytest.mark.parametrize("last", [typed, Word, look_up, OPENAI_FORM, STRICT_FORM])
def test_anthropic_gets_a_marked_tool_as_strict_as_it_was(last: Any) -> None:
    from langchain_anthropic import ChatAnthropic

    model: Any = ChatAnthropic(
        model_name="claude-sonnet-4-5", api_key="test", timeout=None, stop=None
    )
    [_, marked] = cache_points(
        [HumanMessage(RULES), AIMessage("Ok."), HumanMessage("And?")],
        model=model,
        tools=[{**ANTHROPIC_FORM, "name": "a", "description": RULES}, last],
        calls=10,
    ).tools
    [sent] = model.bind_tools([marked], strict=True).kwargs["tools"]
    [plain] = model.bind_tools([last], strict=True).kwargs["tools"]
    assert sent.pop("cache_control") == CONTROL
    assert sent == plain


def test_anthropic_gets_the_time_behind_a_marked_tool_result() -> None:
    system = SystemMessage(f"It is now 15:00:01. {RULES}")
    stable = stable_prefix([system, *AT_WORK[1:]])
    payload = anthropic_payload(list(stable.messages))
    result, now = payload["messages"][-1]["content"]
    assert result["type"] == "tool_result"
    assert result["cache_control"] == CONTROL
    assert now == {"type": "text", "text": "It is now 15:00:01."}


def test_bedrock_gets_the_time_behind_a_marked_tool_result(
    chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
) -> None:
    system = SystemMessage(f"It is now 15:00:01. {RULES}")
    messages = list(stable_prefix([system, *AT_WORK[1:]]).messages)
    sent(chat_bedrock(), messages, tools=[look_up])
    [request] = bedrock_server.requests
    result, point, now = request["messages"][-1]["content"]
    assert "toolResult" in result
    assert (point, now) == (POINT, {"text": "It is now 15:00:01."})


class RecordingClient:
    """Stands in for both APIs of Bedrock, and keeps what it is sent."""

    meta = SimpleNamespace(region_name="us-east-1")

    def __init__(self) -> None:
        self.sent: dict[str, Any] = {}

    def converse(self, **request: Any) -> Any:
        self.sent = request
        usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
        message = {"role": "assistant", "content": [{"text": "Ok."}]}
        return {
            "output": {"message": message},
            "stopReason": "end_turn",
            "usage": usage,
            "metrics": {"latencyMs": 1},
        }

    def invoke_model(self, **request: Any) -> Any:
        self.sent = json.loads(request["body"])
        usage = {"input_tokens": 1, "output_tokens": 1}
        content = [{"type": "text", "text": "Ok."}]
        answer = {"content": content, "usage": usage, "stop_reason": "end_turn"}
        body = io.BytesIO(json.dumps(answer).encode())
        return {"body": body, "ResponseMetadata": {"HTTPHeaders": {}}}


def asked_of_chat_bedrock(
    messages: list[BaseMessage], tools: Any = (), **options: Any
) -> dict[str, Any]:
    """What `ChatBedrock` sends of a prompt with marks."""
    from langchain_aws import ChatBedrock

    client = RecordingClient()
    model: Any = ChatBedrock(
        client=client,
        bedrock_client=client,
        region="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        **options,
    )
    sent(model, messages, tools=tools)
    return client.sent


@pytest.mark.parametrize(
    "options",
    [
        {"model": CLAUDE, "beta_use_converse_api": True},
        {"model": "amazon.nova-pro-v1:0"},
    ],
)
def test_chat_bedrock_by_converse_gets_its_points(options: dict[str, Any]) -> None:
    request = asked_of_chat_bedrock(AT_WORK, [look_up], **options)
    assert request["system"] == [{"text": RULES}, POINT]
    assert request["messages"][-1]["content"][-1] == POINT
    assert "cache_control" not in str(request)


def test_chat_bedrock_by_invoke_model_gets_marks_but_on_no_tool_result() -> None:
    chat = [*CHAT, *AT_WORK[2:]]
    request = asked_of_chat_bedrock(chat, [look_up], model=CLAUDE)
    assert request["system"][0]["cache_control"] == CONTROL
    assert request["messages"][1]["content"][0]["cache_control"] == CONTROL
    [result] = request["messages"][-1]["content"]
    assert result["type"] == "tool_result"
    assert "cache_control" not in str(result)
    assert "cachePoint" not in str(request)


@pytest.mark.parametrize("last", [typed, Word, look_up, OPENAI_FORM, ANTHROPIC_FORM])
def test_chat_bedrock_by_invoke_model_gets_a_mark_on_its_last_tool(last: Any) -> None:
    first = {**ANTHROPIC_FORM, "name": "a", "description": RULES}
    request = asked_of_chat_bedrock(CHAT[1:2], [first, last], model=CLAUDE)
    assert [tool.get("cache_control") for tool in request["tools"]] == [None, CONTROL]


def test_chat_bedrock_by_invoke_model_keeps_nothing_for_an_hour() -> None:
    from langchain_aws import ChatBedrock

    client: Any = RecordingClient()
    model: Any = ChatBedrock(client=client, bedrock_client=client, model=CLAUDE)
    with pytest.raises(ConfigurationError, match="5 minutes"):
        cache_points(CHAT, model=model, calls=10, lifetime="1h")
