"""Providers' real usage objects, taken through LangChain's own clients, cost to the
last digit what their golden prices say.

The payloads are `usage/payloads.jsonl` in the folder named by LEAN_DATA (by default
../shared/data, beside the project).
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anthropic
import httpx
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.prices.cost import Cost
from langchain_lean.accounting.usage import TokenUsage

pytestmark = pytest.mark.evaluation_data

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("LEAN_DATA", ROOT.parent / "shared" / "data"))
FILE = DATA / "usage" / "payloads.jsonl"

AT = datetime(2026, 11, 20, tzinfo=UTC)
CHANGED = {
    "gpt-5.6-sol": datetime(2026, 8, 21, tzinfo=UTC),
    "openai.gpt-5.6-luna": datetime(2026, 7, 30, tzinfo=UTC),
}
"""Models whose golden prices are those of before this day, when they fell."""

BOOK = PriceBook()


@dataclass(frozen=True)
class Golden:
    """One payload as one provider's golden prices have it."""

    model: str
    provider: str
    usage: Mapping[str, Any]
    prices: Mapping[str, str]

    def cost(self, read: Callable[["Golden"], TokenUsage], at: datetime) -> Cost:
        return BOOK.cost(read(self), self.model, self.provider, at)

    def agrees(self, cost: Cost) -> bool:
        known = {
            "input_price": cost.input,
            "output_price": cost.output,
            "total_price": cost.total,
        }
        stated = known.keys() & self.prices.keys()
        return all(known[name] == Decimal(self.prices[name]) for name in stated)


def chat_completions(golden: Golden) -> TokenUsage:
    """What `ChatOpenAI` makes of a chat completion with this usage."""
    message = {"role": "assistant", "content": "Hello."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return answered(
        openai_model(responses=False),
        {"object": "chat.completion", "choices": [choice]},
        golden,
    )


def responses(golden: Golden) -> TokenUsage:
    """What `ChatOpenAI` makes of an answer of the Responses API with this usage."""
    text = {"type": "output_text", "text": "Hello.", "annotations": []}
    item = {"type": "message", "id": "m", "role": "assistant", "content": [text]}
    body = {"object": "response", "status": "completed", "output": [item]}
    return answered(openai_model(responses=True), body, golden)


def embeddings(golden: Golden) -> TokenUsage:
    """No LangChain class reports embeddings' usage, and the API counts input alone."""
    usage = {"prompt_tokens": golden.usage["prompt_tokens"]}
    return known(TokenUsage.from_provider(usage))


def messages(golden: Golden) -> TokenUsage:
    """What `ChatAnthropic` makes of a message with this usage, whoever serves it."""
    text = {"type": "text", "text": "Hello."}
    body = {"type": "message", "role": "assistant", "content": [text]}
    return answered(anthropic_model(), body, golden)


def generate_content(golden: Golden) -> TokenUsage:
    """LangChain's Gemini class drops modalities, which have prices: read as it came."""
    return known(TokenUsage.from_provider(golden.usage))


CONVERSIONS: dict[tuple[str, str], Callable[[Golden], TokenUsage]] = {
    ("openai", "chat"): chat_completions,
    ("openai", "responses"): responses,
    ("openai", "embeddings"): embeddings,
    ("anthropic", "default"): messages,
    ("anthropic", "chat"): chat_completions,  # its OpenAI-compatible endpoint
    ("aws", "anthropic"): messages,
    ("google", "anthropic"): messages,
    ("google", "chat"): chat_completions,  # its OpenAI-compatible endpoint
    ("google", "default"): generate_content,
}


def known(usage: TokenUsage | None) -> TokenUsage:
    assert usage is not None
    return usage


answers: list[dict[str, Any]] = []


def answered(model: BaseChatModel, body: dict[str, Any], golden: Golden) -> TokenUsage:
    """Ask a model whose provider answers with this body and the golden usage."""
    answers.append({"id": "x", "model": golden.model, "usage": golden.usage, **body})
    return known(TokenUsage.from_message(model.invoke("Hello?")))


@cache
def openai_model(*, responses: bool) -> ChatOpenAI:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answers.pop()))
    return ChatOpenAI(
        model="any",
        api_key="none",
        use_responses_api=responses,
        http_client=httpx.Client(transport=transport),
        max_retries=0,
    )


class Claude(ChatAnthropic):
    """Answers what is queued, parsed as the SDK parses it."""

    def _create(self, payload: dict[str, Any]) -> Any:
        message = anthropic.types.Message.construct(**answers.pop())
        return SimpleNamespace(parse=lambda: message)


@cache
def anthropic_model() -> ChatAnthropic:
    return Claude(model="any", api_key="none")


@pytest.fixture(scope="module")
def golden() -> dict[tuple[str, str], list[Golden]]:
    """By provider and flavor, the payloads that have a golden price."""
    if not FILE.exists():
        pytest.skip(f"needs usage/payloads.jsonl in LEAN_DATA (looked in {DATA})")
    found = defaultdict(list)
    providers = {provider for provider, _ in CONVERSIONS}
    for line in FILE.read_text("utf-8").splitlines():
        row = json.loads(line)
        body = row["body"]
        for extracted in row["extracted"]:
            for prices in extracted["extractors"]:
                provider, flavor = prices["provider_id"], prices["api_flavor"]
                if provider in providers and "input_price" in prices:
                    usage = body.get("usage") or body.get("usageMetadata")
                    entry = Golden(row["model"], provider, usage, prices)
                    found[provider, flavor].append(entry)
    return found


def test_every_flavor_with_golden_prices_is_checked(golden):
    assert golden.keys() <= CONVERSIONS.keys()
    assert sum(map(len, golden.values())) > 400


@pytest.mark.parametrize("flavor", CONVERSIONS, ids="/".join)
def test_a_payload_costs_its_golden_price_to_the_last_digit(golden, flavor):
    if flavor not in golden:
        pytest.skip("no golden prices of this flavor here")
    read = CONVERSIONS[flavor]
    for entry in golden[flavor]:
        changed = CHANGED.get(entry.model)
        at = changed - timedelta(days=1) if changed else AT
        cost = entry.cost(read, at)
        assert entry.agrees(cost), f"{entry} costs {cost} with {read(entry)}"


@pytest.mark.parametrize("model", CHANGED)
def test_a_model_is_priced_of_before_only_while_its_golden_price_is(golden, model):
    entries = [
        (entry, CONVERSIONS[flavor])
        for flavor, found in golden.items()
        for entry in found
        if entry.model == model
    ]
    if not entries:
        pytest.skip("no payload of this model here")
    assert not any(entry.agrees(entry.cost(read, AT)) for entry, read in entries)
