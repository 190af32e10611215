"""The local provider server, seen through the real clients of LangChain."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any

import openai
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from langchain_aws import ChatBedrockConverse
from langchain_core.exceptions import ModelConnectionError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from urllib3.exceptions import ProtocolError

from tests.integration.openai_shapes import (
    chat_chunks,
    chat_completion,
    embeddings,
    response,
    response_events,
)
from tests.integration.provider_server import (
    CHAT_USAGE,
    CONVERSE_USAGE,
    EMBEDDING_USAGE,
    ProviderServer,
    Reply,
    ToolCall,
)

ADD = ToolCall(name="add", args={"a": 1, "b": 2}, id="call_add")
MULTIPLY = ToolCall(name="multiply", args={"a": 3, "b": 4}, id="call_multiply")

CHAT = {
    "input_tokens": 1200,
    "output_tokens": 80,
    "total_tokens": 1280,
    "input_token_details": {"audio": 0, "cache_read": 1024},
    "output_token_details": {"audio": 0, "reasoning": 64},
}
RESPONSES = CHAT | {
    "input_token_details": {"cache_read": 1024, "cache_creation": 0},
    "output_token_details": {"reasoning": 64},
}
CONVERSE = {
    "input_tokens": 1712,
    "output_tokens": 80,
    "total_tokens": 1792,
    "input_token_details": {"cache_read": 1024, "cache_creation": 512},
}
APIS = {"chat": CHAT, "responses": RESPONSES, "converse": CONVERSE}


class Api:
    """One of the three APIs: its model, its server, and the usage it reports."""

    def __init__(self, model: BaseChatModel, server: ProviderServer, usage: Any):
        self.model, self.server, self.usage = model, server, usage


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> Api:
    name = request.param
    provider = "bedrock" if name == "converse" else "openai"
    make = request.getfixturevalue(f"chat_{provider}")
    server = request.getfixturevalue(f"{provider}_server")
    kwargs = {
        "chat": {"stream_usage": True},
        "responses": {"use_responses_api": True},
        "converse": {},
    }
    return Api(make(**kwargs[name]), server, APIS[name])


def whole(chunks: Iterable[BaseMessage]) -> Any:
    """A streamed answer as one message."""
    return reduce(add, chunks)


async def invoke(model: BaseChatModel) -> Any:
    return model.invoke("hi")


async def ainvoke(model: BaseChatModel) -> Any:
    return await model.ainvoke("hi")


async def stream(model: BaseChatModel) -> Any:
    return whole(model.stream("hi"))


async def astream(model: BaseChatModel) -> Any:
    return whole([chunk async for chunk in model.astream("hi")])


async def batch(model: BaseChatModel) -> Any:
    return model.batch(["hi", "hi"])[1]


async def abatch(model: BaseChatModel) -> Any:
    return (await model.abatch(["hi", "hi"]))[1]


every_way = pytest.mark.parametrize(
    "call", [invoke, ainvoke, stream, astream, batch, abatch]
)
once_or_streamed = pytest.mark.parametrize("call", [invoke, stream])


class TestEveryApi:
    @every_way
    async def test_every_way_to_call_gives_the_text_and_the_usage(
        self, api: Api, call: Any
    ) -> None:
        api.server.default = Reply(text="One two  three.\nFour.")
        answer = await call(api.model)
        assert answer.text == "One two  three.\nFour."
        assert answer.usage_metadata == api.usage

    @every_way
    async def test_tool_calls_come_whole_beside_the_text(
        self, api: Api, call: Any
    ) -> None:
        api.server.default = Reply(text="So.", tool_calls=(ADD, MULTIPLY))
        answer = await call(api.model)
        assert answer.text == "So."
        assert [(c["name"], c["args"], c["id"]) for c in answer.tool_calls] == [
            ("add", {"a": 1, "b": 2}, "call_add"),
            ("multiply", {"a": 3, "b": 4}, "call_multiply"),
        ]

    @once_or_streamed
    async def test_an_answer_may_be_tool_calls_alone(self, api: Api, call: Any) -> None:
        api.server.reply(Reply(text="", tool_calls=(ADD,)))
        answer = await call(api.model)
        assert answer.text == ""
        assert [c["args"] for c in answer.tool_calls] == [{"a": 1, "b": 2}]

    @once_or_streamed
    async def test_an_answer_that_ended_on_its_limit_says_so(
        self, api: Api, call: Any
    ) -> None:
        api.server.reply(Reply(truncated=True))
        said = (await call(api.model)).response_metadata
        reasons = {"length", "max_tokens", "max_output_tokens"}
        details = said.get("incomplete_details", {})
        found = {
            said.get("finish_reason"),
            said.get("stopReason"),
            details.get("reason"),
        }
        assert found & reasons

    def test_a_stream_cuts_the_text_where_it_is_told_to(self, api: Api) -> None:
        api.server.reply(Reply(stream_chunks=("ab", "c d", "e")))
        texts = [chunk.text for chunk in api.model.stream("hi") if chunk.text]
        assert texts == ["ab", "c d", "e"]

    def test_replies_come_in_order_and_then_the_default(self, api: Api) -> None:
        api.server.reply(Reply(text="first"), Reply(text="second"))
        api.server.default = Reply(text="default")
        texts = [api.model.invoke(str(i)).text for i in range(4)]
        assert texts == ["first", "second", "default", "default"]

    def test_the_server_keeps_every_request_of_many_at_once(self, api: Api) -> None:
        questions = [f"question {i}" for i in range(40)]
        answers = api.model.batch(questions)  # type: ignore[arg-type]
        assert len(answers) == len(api.server.requests) == 40
        sent = json.dumps(api.server.requests)
        assert all(f'"{question}"' in sent for question in questions)

    def test_a_connection_can_break_before_the_answer(self, api: Api) -> None:
        api.server.reply(Reply(drop_after=0))
        with pytest.raises((ModelConnectionError, ConnectionClosedError)):
            api.model.invoke("hi")

    def test_a_stream_can_break_in_the_middle(self, api: Api) -> None:
        head = 4 if api.usage is RESPONSES else 1  # events before the first text
        api.server.reply(Reply(text="One two three.", drop_after=head + 2))
        seen: list[str] = []
        with pytest.raises((ModelConnectionError, ProtocolError)):
            seen.extend(chunk.text for chunk in api.model.stream("hi"))
        assert "".join(seen) == "One two "

    async def test_a_reader_may_close_a_stream_early(self, api: Api) -> None:
        api.server.default = Reply(text="word " * 2000)
        reader, areader = api.model.stream("hi"), api.model.astream("hi")
        assert next(reader) is not None
        assert await anext(areader) is not None
        reader.close()  # type: ignore[attr-defined]
        await areader.aclose()  # type: ignore[attr-defined]
        assert api.model.invoke("hi").text.startswith("word")

    async def test_an_answer_waits_for_its_gate(self, api: Api) -> None:
        gate = threading.Event()
        api.server.reply(Reply(text="late", gate=gate), Reply(text="soon"))
        task = asyncio.create_task(api.model.ainvoke("hi"))
        await asyncio.to_thread(api.server.wait_for, 1)
        assert (await api.model.ainvoke("hi")).text == "soon"
        assert not task.done()
        gate.set()
        assert (await task).text == "late"

    async def test_a_cancelled_call_leaves_the_server_answering(self, api: Api) -> None:
        gate = threading.Event()
        api.server.reply(Reply(gate=gate), Reply(text="next"))
        task = asyncio.create_task(api.model.ainvoke("hi"))
        await asyncio.to_thread(api.server.wait_for, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await api.model.ainvoke("hi")).text == "next"
        gate.set()


class TestOpenAI:
    @pytest.mark.parametrize("streamed", [False, True])
    def test_every_shape_is_one_the_openai_package_takes_strictly(
        self, streamed: bool
    ) -> None:
        request = {"model": "m", "stream_options": {"include_usage": True}}
        for reply in (
            Reply(),
            Reply(tool_calls=(ADD, MULTIPLY)),
            Reply(truncated=True, service_tier="flex"),
        ):
            if streamed:
                for chunk in chat_chunks(request, reply):
                    ChatCompletionChunk.model_validate(chunk, strict=True)
                event_type = TypeAdapter[Any](ResponseStreamEvent)
                for event in response_events(request, reply):
                    event_type.validate_python(event)
            else:
                ChatCompletion.model_validate(chat_completion(request, reply))
                Response.model_validate(response(request, reply))

    def test_a_stream_has_usage_only_where_the_client_asks(
        self, chat_openai: Any, openai_server: ProviderServer
    ) -> None:
        assert whole(chat_openai().stream("hi")).usage_metadata is None
        assert whole(chat_openai(stream_usage=True).stream("hi")).usage_metadata == CHAT
        assert "stream_options" not in openai_server.requests[0]
        assert openai_server.requests[1]["stream_options"] == {"include_usage": True}

    @once_or_streamed
    @pytest.mark.parametrize("tier", ["flex", "priority"])
    @pytest.mark.parametrize("responses", [False, True])
    async def test_a_tier_renames_the_parts_of_the_usage(
        self,
        chat_openai: Any,
        openai_server: ProviderServer,
        call: Any,
        tier: str,
        responses: bool,
    ) -> None:
        openai_server.reply(Reply(service_tier=tier))
        model = chat_openai(stream_usage=True, use_responses_api=responses)
        answer = await call(model)
        audio = {} if responses else {"audio": 0}
        writes = {f"{tier}_cache_creation": 0} if responses else {}
        read, thought = {f"{tier}_cache_read": 1024}, {f"{tier}_reasoning": 64}
        assert answer.usage_metadata == CHAT | {
            "input_token_details": audio | writes | read | {tier: 176},
            "output_token_details": audio | thought | {tier: 16},
        }
        assert answer.response_metadata["service_tier"] == tier

    @once_or_streamed
    async def test_a_reply_may_carry_its_own_usage_or_none(
        self, chat_openai: Any, openai_server: ProviderServer, call: Any
    ) -> None:
        written = CHAT_USAGE | {
            "prompt_tokens_details": {"audio_tokens": 100, "cache_write_tokens": 128}
        }
        openai_server.reply(Reply(usage=written), Reply(usage={}))
        model = chat_openai(stream_usage=True)
        details = (await call(model)).usage_metadata["input_token_details"]
        assert details == {"audio": 100, "cache_creation": 128}
        assert (await call(model)).usage_metadata is None

    def test_all_choices_of_a_call_share_one_usage(self, chat_openai: Any) -> None:
        result = chat_openai(n=3).generate([[HumanMessage("hi")]])
        usages = [choice.message.usage_metadata for choice in result.generations[0]]
        assert usages == [CHAT] * 3
        assert result.llm_output["token_usage"]["total_tokens"] == 1280

    def test_the_answer_names_the_model_it_came_from(
        self, chat_openai: Any, openai_server: ProviderServer
    ) -> None:
        openai_server.reply(Reply(model="gpt-4o-mini-2024-07-18"))
        names = [
            chat_openai().invoke("hi").response_metadata["model_name"] for _ in range(2)
        ]
        assert names == ["gpt-4o-mini-2024-07-18", "gpt-4o-mini"]

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (400, openai.BadRequestError),
            (401, openai.AuthenticationError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
        ],
    )
    def test_an_error_has_its_status_and_message(
        self, chat_openai: Any, openai_server: ProviderServer, status: int, error: Any
    ) -> None:
        openai_server.reply(Reply(status=status, text="what went wrong"))
        with pytest.raises(error, match="what went wrong"):
            chat_openai().invoke("hi")

    def test_a_rate_limit_passes_when_it_is_tried_again(
        self, chat_openai: Any, openai_server: ProviderServer
    ) -> None:
        limited = Reply(status=429, headers={"Retry-After": "0.001"})
        openai_server.reply(limited, Reply(text="through"))
        assert chat_openai(max_retries=1).invoke("hi").text == "through"
        assert len(openai_server.requests) == 2


class TestEmbeddings:
    async def test_the_same_text_has_the_same_vector_and_others_differ(
        self, openai_embeddings: Any, openai_server: ProviderServer
    ) -> None:
        one, two, again = openai_embeddings().embed_documents(["one", "two", "one"])
        assert one == again == await openai_embeddings().aembed_query("one")
        assert one != two
        assert openai_server.requests[0]["input"] == ["one", "two", "one"]

    def test_vectors_are_as_long_as_asked_and_the_same_in_either_encoding(
        self, openai_embeddings: Any, openai_server: ProviderServer
    ) -> None:
        model = openai_embeddings(dimensions=5)
        packed = model.embed_query("one")
        assert model.embed_query("one", encoding_format="float") == packed
        assert len(packed) == 5
        encodings = [body["encoding_format"] for body in openai_server.requests]
        assert encodings == ["base64", "float"]

    @pytest.mark.parametrize("given", ["one", ["one"], [5, 6], [[5, 6]]])
    def test_one_text_or_one_token_list_is_one_vector(self, given: Any) -> None:
        body = embeddings({"model": "m", "input": given}, Reply())
        CreateEmbeddingResponse.model_validate(body, strict=True)
        assert len(body["data"]) == 1

    def test_the_answer_has_the_usage_that_langchain_drops(
        self, openai_embeddings: Any
    ) -> None:
        answer = openai_embeddings().client.create(input="one", model="m")
        assert answer.usage.model_dump() == EMBEDDING_USAGE


class TestBedrock:
    @once_or_streamed
    async def test_cache_writes_are_split_by_their_lifetime(
        self, chat_bedrock: Any, bedrock_server: ProviderServer, call: Any
    ) -> None:
        by_lifetime = [
            {"ttl": "1h", "inputTokens": 200},
            {"ttl": "5m", "inputTokens": 312},
        ]
        bedrock_server.reply(
            Reply(usage=CONVERSE_USAGE | {"cacheDetails": by_lifetime})
        )
        assert (await call(chat_bedrock())).usage_metadata == CONVERSE | {
            "input_token_details": {
                "cache_read": 1024,
                "cache_creation": 0,
                "ephemeral_5m_input_tokens": 312,
                "ephemeral_1h_input_tokens": 200,
            }
        }

    @once_or_streamed
    async def test_thinking_tokens_and_the_tier_ride_beside_the_usage(
        self, chat_bedrock: Any, bedrock_server: ProviderServer, call: Any
    ) -> None:
        bedrock_server.reply(Reply(thinking_tokens=33, service_tier="flex"))
        answer = await call(chat_bedrock())
        assert answer.usage_metadata["output_token_details"] == {"reasoning": 33}
        assert answer.response_metadata["serviceTier"] == {"type": "flex"}

    @once_or_streamed
    async def test_an_arn_is_asked_for_by_its_path_and_named_by_its_model(
        self, chat_bedrock: Any, bedrock_server: ProviderServer, call: Any
    ) -> None:
        arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1"
        base = "anthropic.claude-sonnet-4-5-20250929-v1:0"
        model = chat_bedrock(model=arn, provider="anthropic", base_model_id=base)
        said = (await call(model)).response_metadata
        assert bedrock_server.paths[0].startswith(f"/model/{arn}/converse")
        assert said["model_name"] == base
        assert said["inference_profile_id"] == arn

    def test_a_model_made_from_its_address_asks_for_the_answer_alone(
        self, bedrock_server: ProviderServer
    ) -> None:
        model = ChatBedrockConverse(
            model_id="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            endpoint_url=bedrock_server.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        assert model.invoke("hi").usage_metadata == CONVERSE
        assert bedrock_server.paths == [f"/model/{model.model_id}/converse"]

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (400, "ValidationException"),
            (403, "AccessDeniedException"),
            (429, "ThrottlingException"),
            (500, "InternalServerException"),
            (503, "ServiceUnavailableException"),
        ],
    )
    @once_or_streamed
    async def test_an_error_has_its_code_and_message(
        self,
        chat_bedrock: Any,
        bedrock_server: ProviderServer,
        call: Any,
        status: int,
        code: str,
    ) -> None:
        bedrock_server.reply(Reply(status=status, text="what went wrong"))
        with pytest.raises(ClientError, match="what went wrong") as caught:
            await call(chat_bedrock())
        assert caught.value.response["Error"]["Code"] == code
        assert len(bedrock_server.requests) == 1


@pytest.mark.usefixtures("clean_settings")
class TestServer:
    def test_its_end_opens_the_gates_that_still_hold_an_answer(self) -> None:
        gate = threading.Event()
        with ProviderServer() as server:
            client = openai.OpenAI(
                base_url=f"{server.url}/v1", api_key="sk-test", max_retries=0
            )
            server.reply(Reply(gate=gate))
            asking = threading.Thread(
                target=client.embeddings.create,
                kwargs={"model": "m", "input": "hi"},
            )
            asking.start()
            server.wait_for(1)
            assert not gate.is_set()
        asking.join()
        client.close()
        assert gate.is_set()

    def test_waiting_for_a_request_that_never_comes_ends(self) -> None:
        with ProviderServer() as server, pytest.raises(TimeoutError, match="0 of 1"):
            server.wait_for(1, timeout=0)
