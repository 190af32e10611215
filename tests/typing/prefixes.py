"""How the names of prompt prefixes are used, for mypy: never run."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, assert_type

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool

from langchain_lean import PriceBook
from langchain_lean.context.prefix import (
    BundleOrRetrieve,
    CachedPrompt,
    PrefixChange,
    PrefixMonitor,
    PrefixReport,
    PromptPrefix,
    StablePrompt,
    before_question,
    behind_prefix,
    bundle_or_retrieve,
    cache_points,
    in_thread_order,
    is_volatile,
    stable_prefix,
)


def stable(messages: list[BaseMessage], tools: list[BaseTool]) -> None:
    prompt = stable_prefix(messages, tools)
    assert_type(prompt, StablePrompt)
    assert_type(prompt.messages, tuple[BaseMessage, ...])
    assert_type(prompt.moved, tuple[str, ...])
    stable_prefix("Hello", volatile=re.compile("weather"))
    stable_prefix(
        messages, volatile=lambda line: is_volatile(line) or "weather" in line
    )


def retrieved(messages: list[BaseMessage], documents: list[Document]) -> None:
    ordered = in_thread_order(documents, documents)
    assert_type(ordered, list[Document])
    prompt = before_question(messages, ordered, render=lambda found: str(len(found)))
    assert_type(prompt, list[BaseMessage])
    assert_type(behind_prefix(messages, ordered), list[BaseMessage])


def cached(
    messages: list[BaseMessage], tools: list[BaseTool], model: BaseChatModel
) -> None:
    prompt = cache_points(messages, model=model, tools=tools, calls=20)
    assert_type(prompt, CachedPrompt)
    assert_type(prompt.options, Mapping[str, Any])
    model.bind_tools(prompt.tools).invoke(prompt.messages, **prompt.options)
    cache_points(stable_prefix(messages, tools), model=model, calls=20)
    cache_points(
        messages,
        model=("claude-sonnet-4-5", "anthropic"),
        calls=20,
        thread_calls=5,
        lifetime="1h",
        prices=PriceBook(),
    )


def bundle() -> None:
    found = bundle_or_retrieve(
        bundle_tokens=30_000,
        chunk_tokens=1_200,
        calls=50,
        model="gpt-5-mini",
        prefix_tokens=500,
        lifetime="5m",
    )
    assert_type(found, BundleOrRetrieve)
    assert_type(found.bundle_cost, Decimal)
    assert_type(found.break_even_calls, int | None)


def monitor(model: BaseChatModel) -> None:
    watching = PrefixMonitor(prices=PriceBook())
    model.invoke("Hello", {"callbacks": [watching]})
    report = watching.report()
    assert_type(report, PrefixReport)
    assert_type(report.prompts, tuple[PromptPrefix, ...])
    assert_type(report.total.hit_rate, float)
    assert_type(report.total.untold, int)
    assert_type(watching.changes(), tuple[PrefixChange, ...])
