"""`TokenUsage`: every dialect read into one form, and nothing untrue believed."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, Generation, LLMResult

from langchain_lean.accounting.usage import COUNTS, TokenUsage
from langchain_lean.errors import UsageError


def reported(
    usage: dict[str, Any] | None, content: Any = "", /, **response: Any
) -> AIMessage:
    """An answer as a LangChain package hands it out."""
    if usage is not None:
        usage["total_tokens"] = usage["input_tokens"] + usage["output_tokens"]
    return AIMessage(content=content, usage_metadata=usage, response_metadata=response)


def tokens(inputs: int, outputs: int, **details: dict[str, int]) -> dict[str, Any]:
    named = {f"{side}_token_details": parts for side, parts in details.items()}
    return {"input_tokens": inputs, "output_tokens": outputs, **named}


SEARCHED = [
    {"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}},
    {"type": "web_search_call", "id": "ws_2", "action": {"type": "open_page"}},
    {"type": "web_search_call", "id": "ws_3", "action": {"type": "find_in_page"}},
    {"type": "web_search_call", "id": "ws_4", "status": "completed"},
    {"type": "file_search_call", "id": "fs_1", "queries": ["a", "b"]},
    {"type": "text", "text": "Found."},
]
ANTHROPIC_SEARCHED = [
    {"type": "server_tool_use", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "content": []},
    {"type": "server_tool_use", "name": "code_execution", "input": {}},
    {"type": "text", "text": "Found."},
]

MESSAGES = {
    "no details": (
        reported(tokens(100, 20)),
        TokenUsage(input=100, output=20),
    ),
    "openai: cached and reasoning tokens": (
        reported(
            tokens(1200, 80, input={"cache_read": 1024}, output={"reasoning": 64}),
            model_provider="openai",
        ),
        TokenUsage(input=1200, output=80, cache_read=1024, reasoning=64),
    ),
    "openai: cache writes": (
        reported(tokens(2000, 5, input={"cache_read": 0, "cache_creation": 1500})),
        TokenUsage(input=2000, output=5, cache_write_5m=1500),
    ),
    "openai: audio in and out": (
        reported(tokens(300, 90, input={"audio": 250}, output={"audio": 70})),
        TokenUsage(input=300, output=90, audio_input=250, audio_output=70),
    ),
    "openai: cached audio, told by the parts being larger than the input": (
        reported(tokens(300, 9, input={"audio": 250, "cache_read": 128})),
        TokenUsage(
            input=300, output=9, audio_input=250, cache_read=128, audio_cache_read=78
        ),
    ),
    "openai: default tier": (
        reported(tokens(10, 5), service_tier="default"),
        TokenUsage(input=10, output=5, service_tier="default"),
    ),
    "openai: tier repeated by merged chunks": (
        reported(tokens(10, 5), service_tier="defaultdefaultdefault"),
        TokenUsage(input=10, output=5, service_tier="default"),
    ),
    "openai flex: writes stand in two keys": (
        reported(
            tokens(
                2000,
                80,
                input={
                    "flex_cache_read": 300,
                    "flex_cache_creation": 1500,
                    "flex": 1700,
                },
                output={"flex_reasoning": 64, "flex": 16},
            ),
            service_tier="flex",
        ),
        TokenUsage(
            input=2000,
            output=80,
            cache_read=300,
            cache_write_5m=1500,
            reasoning=64,
            service_tier="flex",
        ),
    ),
    "openai priority: known by its keys alone": (
        reported(
            tokens(
                100,
                8,
                input={"priority_cache_read": 60, "priority": 40},
                output={"priority_reasoning": 0, "priority": 8},
            )
        ),
        TokenUsage(input=100, output=8, cache_read=60, service_tier="priority"),
    ),
    "openai responses: searches are content": (
        reported(tokens(900, 40), SEARCHED),
        TokenUsage(input=900, output=40, web_searches=2, file_searches=1),
    ),
    "openai responses: searches as standard content": (
        reported(
            tokens(900, 40),
            [
                {
                    "type": "server_tool_call",
                    "name": "web_search",
                    "id": "ws_1",
                    "args": {"type": "search", "query": "x"},
                },
                {
                    "type": "server_tool_call",
                    "name": "web_search",
                    "id": "ws_2",
                    "args": {"type": "open_page", "url": "https://example.com"},
                },
                {"type": "server_tool_call", "name": "file_search", "id": "f"},
            ],
        ),
        TokenUsage(input=900, output=40, web_searches=1, file_searches=1),
    ),
    "anthropic: writes by lifetime, the generic key is 0": (
        reported(
            tokens(
                1712,
                80,
                input={
                    "cache_read": 1024,
                    "cache_creation": 0,
                    "ephemeral_5m_input_tokens": 200,
                    "ephemeral_1h_input_tokens": 312,
                },
                output={"reasoning": 30},
            ),
            model_provider="anthropic",
            usage={"service_tier": "standard", "server_tool_use": None},
        ),
        TokenUsage(
            input=1712,
            output=80,
            cache_read=1024,
            cache_write_5m=200,
            cache_write_1h=312,
            reasoning=30,
            service_tier="standard",
        ),
    ),
    "anthropic: only hour-long writes": (
        reported(
            tokens(
                400, 8, input={"cache_creation": 0, "ephemeral_1h_input_tokens": 312}
            )
        ),
        TokenUsage(input=400, output=8, cache_write_1h=312),
    ),
    "anthropic: searches are in its own usage": (
        reported(
            tokens(900, 40),
            ANTHROPIC_SEARCHED,
            usage={
                "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1}
            },
        ),
        TokenUsage(input=900, output=40, web_searches=3),
    ),
    "anthropic: a search that is not billed": (
        reported(
            tokens(900, 40),
            ANTHROPIC_SEARCHED,
            usage={"server_tool_use": {"web_search_requests": 0}},
        ),
        TokenUsage(input=900, output=40),
    ),
    "anthropic stream: its own usage is dropped, searches are content": (
        reported(tokens(900, 40), ANTHROPIC_SEARCHED),
        TokenUsage(input=900, output=40, web_searches=1),
    ),
    "anthropic: fast mode": (
        reported(tokens(10, 5), usage={"service_tier": "standard", "speed": "fast"}),
        TokenUsage(input=10, output=5, service_tier="fast"),
    ),
    "converse: writes without a lifetime": (
        reported(
            tokens(1712, 80, input={"cache_read": 1024, "cache_creation": 512}),
            model_provider="bedrock_converse",
        ),
        TokenUsage(input=1712, output=80, cache_read=1024, cache_write_5m=512),
    ),
    "converse: writes by lifetime, the generic key is 0": (
        reported(
            tokens(
                1712,
                80,
                input={
                    "cache_read": 1024,
                    "cache_creation": 0,
                    "ephemeral_5m_input_tokens": 512,
                },
            )
        ),
        TokenUsage(input=1712, output=80, cache_read=1024, cache_write_5m=512),
    ),
    "converse: the tier is an object": (
        reported(tokens(10, 5), serviceTier={"type": "flex"}),
        TokenUsage(input=10, output=5, service_tier="flex"),
    ),
    "converse: empty usage reads as zeros": (
        reported(tokens(0, 0, input={"cache_read": 0, "cache_creation": 0})),
        TokenUsage(),
    ),
    "gemini through langchain": (
        reported(tokens(500, 90, input={"cache_read": 400}, output={"reasoning": 80})),
        TokenUsage(input=500, output=90, cache_read=400, reasoning=80),
    ),
    "openai-compatible server: only token_usage": (
        reported(
            None,
            token_usage={
                "prompt_tokens": 50,
                "completion_tokens": 7,
                "prompt_tokens_details": None,
            },
        ),
        TokenUsage(input=50, output=7),
    ),
    "own usage object only, with searches in the content": (
        reported(
            None,
            SEARCHED,
            usage={
                "input_tokens": 50,
                "output_tokens": 7,
                "input_tokens_details": {"cached_tokens": 40},
            },
        ),
        TokenUsage(input=50, output=7, cache_read=40, web_searches=2, file_searches=1),
    ),
    "a region": (
        reported(tokens(1, 1), region="eu"),
        TokenUsage(input=1, output=1, region="eu"),
    ),
}


@pytest.mark.parametrize(("message", "usage"), MESSAGES.values(), ids=MESSAGES)
def test_every_dialect_of_a_message_is_read(message, usage):
    assert TokenUsage.from_message(message) == usage


@pytest.mark.parametrize(
    "message",
    [
        reported(None),
        reported(None, token_usage={}),
        reported(None, token_usage=None, usage="7"),
        reported(None, usage={"seconds": 3}),
    ],
)
def test_a_message_without_usage_gives_none(message):
    assert TokenUsage.from_message(message) is None


def test_merged_chunks_add_up_and_keep_what_stood_in_one_of_them():
    chunks = [
        AIMessageChunk(
            content="a",
            response_metadata={"model_name": "gpt-x", "service_tier": "flex"},
            usage_metadata=reported(
                tokens(100, 0, input={"cache_read": 60})
            ).usage_metadata,
        ),
        AIMessageChunk(
            content="b",
            response_metadata={"model_name": "gpt-x", "service_tier": "flex"},
            usage_metadata=reported(
                tokens(0, 9, output={"reasoning": 4})
            ).usage_metadata,
        ),
    ]
    merged = reduce(add, chunks)
    assert merged.response_metadata["model_name"] == "gpt-xgpt-x"
    assert TokenUsage.from_message(merged) == TokenUsage(
        input=100, output=9, cache_read=60, reasoning=4, service_tier="flex"
    )


OBJECTS = {
    "openai chat": (
        {
            "prompt_tokens": 1200,
            "completion_tokens": 80,
            "total_tokens": 1280,
            "prompt_tokens_details": {
                "cached_tokens": 1000,
                "cache_write_tokens": 100,
                "audio_tokens": 10,
                "image_tokens": 5,
            },
            "completion_tokens_details": {
                "reasoning_tokens": 64,
                "audio_tokens": 3,
                "image_tokens": 2,
            },
            "service_tier": "priority",
        },
        TokenUsage(
            input=1200,
            output=80,
            cache_read=1000,
            cache_write_5m=100,
            audio_input=10,
            image_input=5,
            reasoning=64,
            audio_output=3,
            image_output=2,
            service_tier="priority",
        ),
    ),
    "openai chat: cached audio is what makes the parts fit": (
        {
            "prompt_tokens": 300,
            "completion_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 128, "audio_tokens": 250},
        },
        TokenUsage(
            input=300, output=9, cache_read=128, audio_input=250, audio_cache_read=78
        ),
    ),
    "gemini: cached media without details": (
        {
            "promptTokenCount": 500,
            "cachedContentTokenCount": 450,
            "candidatesTokenCount": 20,
            "promptTokensDetails": [
                {"modality": "AUDIO", "tokenCount": 100},
                {"modality": "IMAGE", "tokenCount": 300},
            ],
        },
        TokenUsage(
            input=500,
            output=20,
            cache_read=450,
            audio_input=100,
            audio_cache_read=100,
            image_input=300,
            image_cache_read=250,
        ),
    ),
    "openai responses": (
        {
            "input_tokens": 1200,
            "input_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 0},
            "output_tokens": 80,
            "output_tokens_details": {"reasoning_tokens": 64},
            "total_tokens": 1280,
        },
        TokenUsage(input=1200, output=80, cache_read=1024, reasoning=64),
    ),
    "openai embeddings": (
        {"prompt_tokens": 7, "total_tokens": 7},
        TokenUsage(input=7),
    ),
    "anthropic": (
        {
            "input_tokens": 176,
            "cache_read_input_tokens": 1024,
            "cache_creation_input_tokens": 512,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 200,
                "ephemeral_1h_input_tokens": 312,
            },
            "output_tokens": 80,
            "output_tokens_details": {"thinking_tokens": 30},
            "server_tool_use": {"web_search_requests": 2},
            "service_tier": "batch",
        },
        TokenUsage(
            input=1712,
            output=80,
            cache_read=1024,
            cache_write_5m=200,
            cache_write_1h=312,
            reasoning=30,
            web_searches=2,
            service_tier="batch",
        ),
    ),
    "anthropic: writes without lifetimes": (
        {
            "input_tokens": 176,
            "cache_creation_input_tokens": 512,
            "cache_creation": None,
            "output_tokens": 80,
        },
        TokenUsage(input=688, output=80, cache_write_5m=512),
    ),
    "converse": (
        {
            "inputTokens": 176,
            "outputTokens": 80,
            "totalTokens": 1792,
            "cacheReadInputTokens": 1024,
            "cacheWriteInputTokens": 512,
            "cacheDetails": [
                {"ttl": "5m", "inputTokens": 200},
                {"ttl": "1h", "inputTokens": 312},
            ],
        },
        TokenUsage(
            input=1712,
            output=80,
            cache_read=1024,
            cache_write_5m=200,
            cache_write_1h=312,
        ),
    ),
    "gemini": (
        {
            "promptTokenCount": 400,
            "toolUsePromptTokenCount": 50,
            "cachedContentTokenCount": 150,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 70,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 100},
                {"modality": "AUDIO", "tokenCount": 120},
                {"modality": "IMAGE", "tokenCount": 60},
                {"modality": "DOCUMENT", "tokenCount": 20},
                {"modality": "VIDEO", "tokenCount": 100},
            ],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 110}],
            "candidatesTokensDetails": [
                {"modality": "IMAGE", "tokenCount": 15},
                {"modality": "VIDEO", "tokenCount": 5},
            ],
            "serviceTier": "flex",
        },
        TokenUsage(
            input=450,
            output=90,
            cache_read=150,
            reasoning=70,
            audio_input=120,
            audio_cache_read=110,
            image_input=80,
            video_input=100,
            image_output=15,
            service_tier="flex",
        ),
    ),
}


@pytest.mark.parametrize(("usage", "expected"), OBJECTS.values(), ids=OBJECTS)
def test_every_provider_s_own_usage_object_is_read(usage, expected):
    assert TokenUsage.from_provider(usage) == expected


@pytest.mark.parametrize("usage", [{}, {"tokens": 7}, {"total_tokens": 7}])
def test_an_object_of_no_known_form_gives_none(usage):
    assert TokenUsage.from_provider(usage) is None


class TestResults:
    def test_of_several_choices_the_first_is_read_for_all_carry_the_same_total(self):
        choice = ChatGeneration(message=reported(tokens(100, 60)))
        result = LLMResult(generations=[[choice, choice, choice]])
        assert TokenUsage.from_result(result) == TokenUsage(input=100, output=60)

    def test_a_plain_language_model_reports_beside_its_text(self):
        result = LLMResult(
            generations=[[Generation(text="hi")]],
            llm_output={"token_usage": {"prompt_tokens": 5, "completion_tokens": 2}},
        )
        assert TokenUsage.from_result(result) == TokenUsage(input=5, output=2)

    def test_the_later_prompts_of_one_call_used_nothing_more(self):
        result = LLMResult(
            generations=[[Generation(text="hi")]], llm_output={"token_usage": {}}
        )
        assert TokenUsage.from_result(result) == TokenUsage()

    def test_usage_may_stand_with_the_generation(self):
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        generation = Generation(text="hi", generation_info={"token_usage": usage})
        result = LLMResult(generations=[[generation]])
        assert TokenUsage.from_result(result) == TokenUsage(input=5, output=2)

    def test_a_chat_answer_without_usage_falls_back_to_the_result_s(self):
        result = LLMResult(
            generations=[[ChatGeneration(message=AIMessage("hi"))]],
            llm_output={"token_usage": {"prompt_tokens": 5, "completion_tokens": 2}},
        )
        assert TokenUsage.from_result(result) == TokenUsage(input=5, output=2)

    @pytest.mark.parametrize(
        "result",
        [
            LLMResult(generations=[]),
            LLMResult(generations=[[]]),
            LLMResult(generations=[[Generation(text="hi")]]),
            LLMResult(generations=[[ChatGeneration(message=AIMessage("hi"))]]),
        ],
    )
    def test_a_result_without_usage_gives_none(self, result):
        assert TokenUsage.from_result(result) is None


class TestRefusals:
    @pytest.mark.parametrize("name", COUNTS)
    @pytest.mark.parametrize(
        "value", [True, 1.0, float("nan"), -1, "7", None, Decimal(7), 10**19]
    )
    def test_a_count_is_a_whole_number_from_0_up_that_can_be_true(self, name, value):
        with pytest.raises(UsageError):
            TokenUsage(**{"input": 10**9, "output": 10**9, name: value})

    @pytest.mark.parametrize(
        "parts",
        [
            {"cache_read": 11},
            {"cache_read": 6, "cache_write_5m": 3, "cache_write_1h": 2},
            {"cache_read": 6, "audio_input": 5},
            {"audio_input": 4, "image_input": 4, "video_input": 3},
            {"audio_input": 5, "audio_cache_read": 3, "cache_read": 2},
            {"image_input": 2, "image_cache_read": 3, "cache_read": 5},
            {"video_cache_read": 1, "cache_read": 5},
            {"reasoning": 6},
            {"audio_output": 3, "image_output": 3},
        ],
    )
    def test_parts_larger_than_their_total_are_refused(self, parts):
        with pytest.raises(UsageError, match="larger than its"):
            TokenUsage(input=10, output=5, **parts)

    def test_cached_audio_is_counted_once_in_the_input(self):
        usage = TokenUsage(
            input=10, audio_input=8, cache_read=8, audio_cache_read=6, output=0
        )
        assert usage.total == 10

    @pytest.mark.parametrize(
        "usage",
        [
            {"prompt_tokens": 10**9 + 1},
            {"prompt_tokens": 1, "completion_tokens": 10**9 + 1},
            {"input_tokens": 1, "server_tool_use": {"web_search_requests": 10**12}},
            {"prompt_tokens": "12"},
            {"prompt_tokens": float("nan")},
            {"prompt_tokens": True},
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}},
            {"inputTokens": 5, "cacheWriteInputTokens": -2},
            {"promptTokenCount": 5, "thoughtsTokenCount": 0.5},
        ],
    )
    def test_a_report_that_cannot_be_true_is_refused(self, usage):
        with pytest.raises(UsageError):
            TokenUsage.from_provider(usage)

    def test_a_refusal_quotes_no_more_than_a_few_characters(self):
        with pytest.raises(UsageError) as caught:
            TokenUsage(input="secret " * 1000)
        assert len(str(caught.value)) < 120


class TestValues:
    def test_total_is_input_plus_output(self):
        assert TokenUsage(input=10, output=5, cache_read=4, reasoning=2).total == 15

    def test_counts_and_repr_leave_zeros_out(self):
        usage = TokenUsage(input=10, cache_read=4, service_tier="flex")
        assert usage.counts() == {"input": 10, "cache_read": 4}
        assert repr(usage) == "TokenUsage(input=10, cache_read=4, service_tier='flex')"

    def test_adding_keeps_tier_and_region_only_where_both_agree(self):
        flex = TokenUsage(input=1, service_tier="flex", region="eu")
        assert (flex + flex).service_tier == "flex"
        assert (flex + TokenUsage(input=1, region="eu")).service_tier is None
        assert (flex + TokenUsage(input=1, region="eu")).region == "eu"

    def test_adding_something_else_is_a_type_error(self):
        with pytest.raises(TypeError):
            TokenUsage() + 1


@st.composite
def usages(draw: st.DrawFn) -> TokenUsage:
    """Usages whose parts fit into their totals."""
    count = st.integers(0, 10**6)
    parts = {name: draw(count) for name in COUNTS}
    for medium in ("audio", "image", "video"):
        parts[f"{medium}_input"] += parts[f"{medium}_cache_read"]
        parts["cache_read"] += parts[f"{medium}_cache_read"]
    for name in ("cache_read", "cache_write_5m", "cache_write_1h"):
        parts["input"] += parts[name]
    for name in ("audio_input", "image_input", "video_input"):
        parts["input"] += parts[name]
    for name in ("reasoning", "audio_output", "image_output"):
        parts["output"] += parts[name]
    return TokenUsage(**parts)


USAGES = usages()
TIERED = st.builds(
    replace,
    USAGES,
    service_tier=st.sampled_from([None, "flex", "batch"]),
    region=st.sampled_from([None, "eu"]),
)


class TestAddition:
    @given(TIERED, TIERED, TIERED)
    def test_is_associative(self, a, b, c):
        assert (a + b) + c == a + (b + c)

    @given(TIERED, TIERED)
    def test_is_commutative(self, a, b):
        assert a + b == b + a

    @given(USAGES)
    def test_leaves_a_usage_as_it_is_when_nothing_is_added(self, usage):
        assert usage + TokenUsage() == usage

    @given(USAGES, USAGES)
    def test_adds_every_count(self, a, b):
        for name in COUNTS:
            assert getattr(a + b, name) == getattr(a, name) + getattr(b, name)


KEYS = st.sampled_from(
    [
        "prompt_tokens",
        "completion_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "input_tokens_details",
        "input_token_details",
        "output_token_details",
        "cached_tokens",
        "cache_write_tokens",
        "audio_tokens",
        "audio",
        "image",
        "cache_read",
        "cache_creation",
        "flex",
        "flex_cache_read",
        "reasoning",
        "ephemeral_5m_input_tokens",
        "ephemeral_1h_input_tokens",
        "cache_read_input_tokens",
        "server_tool_use",
        "web_search_requests",
        "inputTokens",
        "cacheReadInputTokens",
        "cacheWriteInputTokens",
        "cacheDetails",
        "ttl",
        "promptTokenCount",
        "promptTokensDetails",
        "cacheTokensDetails",
        "candidatesTokensDetails",
        "modality",
        "tokenCount",
        "service_tier",
        "serviceTier",
        "region",
        "usage",
        "token_usage",
        "type",
        "name",
        "action",
        "args",
    ]
)
WORDS = st.sampled_from(["AUDIO", "1h", "flex", "search", "web_search_call"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 2000)
    | st.floats()
    | st.text(max_size=5)
    | WORDS
)
GARBAGE = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=25,
)
DIALECTS = {
    "prompt_tokens": ["prompt_tokens_details", "completion_tokens_details"],
    "input_tokens": ["input_tokens_details", "cache_creation", "server_tool_use"],
    "inputTokens": ["cacheDetails", "cacheReadInputTokens", "cacheWriteInputTokens"],
    "promptTokenCount": ["promptTokensDetails", "candidatesTokensDetails"],
}


@st.composite
def mappings(draw: st.DrawFn) -> dict[str, Any]:
    """Objects that look like a provider's and hold anything."""
    first = draw(st.sampled_from(list(DIALECTS)))
    wanted = draw(st.lists(st.sampled_from(DIALECTS[first]), unique=True))
    known = {name: draw(GARBAGE) for name in wanted}
    others = draw(st.dictionaries(KEYS, GARBAGE, max_size=4))
    return {first: draw(LEAVES), **known, **others}


MAPPINGS = mappings() | st.dictionaries(KEYS, GARBAGE, max_size=8)


def believable(usage: TokenUsage | None) -> bool:
    return usage is None or all(
        type(getattr(usage, name)) is int and 0 <= getattr(usage, name) <= 10**9
        for name in COUNTS
    )


class TestGarbage:
    @example({"promptTokenCount": 1, "promptTokensDetails": [None, "AUDIO"]})
    @example({"inputTokens": 1, "cacheDetails": [None, "1h"]})
    @given(MAPPINGS)
    def test_any_object_is_read_refused_or_none(self, usage: Mapping[str, Any]):
        with suppress(UsageError):
            assert believable(TokenUsage.from_provider(usage))

    @given(GARBAGE, MAPPINGS, GARBAGE)
    def test_any_message_is_read_refused_or_none(self, usage, response, content):
        message = AIMessage("")
        message.usage_metadata = usage
        message.response_metadata = response
        message.content = content
        with suppress(UsageError):
            assert believable(TokenUsage.from_message(message))

    @given(MAPPINGS, GARBAGE)
    def test_any_message_made_past_validation_is_read_refused_or_none(
        self, usage, response
    ):
        message = AIMessage.model_construct(
            content="",
            usage_metadata={"input_tokens": 7, **usage},
            response_metadata=response,
        )
        with suppress(UsageError):
            assert believable(TokenUsage.from_message(message))

    @given(MAPPINGS, GARBAGE)
    def test_any_result_is_read_refused_or_none(self, output, info):
        generation = Generation(text="")
        generation.generation_info = info if isinstance(info, dict) else None
        result = LLMResult(generations=[[generation]], llm_output=output)
        with suppress(UsageError):
            assert believable(TokenUsage.from_result(result))

    @given(USAGES)
    def test_what_can_be_true_is_never_refused(self, usage):
        assume(max(usage.input, usage.output) <= 10**9)
        message = reported(
            tokens(
                usage.input,
                usage.output,
                input={
                    "cache_read": usage.cache_read,
                    "ephemeral_5m_input_tokens": usage.cache_write_5m,
                    "ephemeral_1h_input_tokens": usage.cache_write_1h,
                },
                output={"reasoning": usage.reasoning},
            )
        )
        read = TokenUsage.from_message(message)
        assert read == TokenUsage(
            input=usage.input,
            output=usage.output,
            cache_read=usage.cache_read,
            cache_write_5m=usage.cache_write_5m,
            cache_write_1h=usage.cache_write_1h,
            reasoning=usage.reasoning,
        )
