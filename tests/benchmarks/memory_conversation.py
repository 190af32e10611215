"""What the memory benchmark plays: conversations, a summarizer, and who bills both."""

import json
import os
import random
import re
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    convert_to_messages,
)
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatResult
from pydantic import Field

from langchain_lean import PriceBook, TokenCounter, TokenUsage
from langchain_lean.messages import message_text, role, tool_calls
from langchain_lean.testing_provider import StandIn

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LEAN_DATA", ROOT.parent / "shared" / "data"))
RUNS = DATA / "agents" / "airline_runs.jsonl"

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PROVIDER = "amazon_bedrock"
CACHED_FROM = 1_024  # tokens: what Claude Sonnet 4.5 caches at least

TURNS, FACTS, WORDS = 400, 200, 60
FACT = re.compile(r"Gate \d+ is \w+\.")
"""A planted fact, which stands on a line of its own."""

IDENTIFIER = re.compile(
    r"\b(?:(?=\w*[A-Z])(?=\w*\d)[A-Z0-9]{6}|[a-z]+(?:_[a-z]+)?_\d{4,})\b"
)
"""What an airline's agent must not forget: reservations, flights, users, payments."""

COLORS = "amber black blue brown gold gray green orange pink red silver white"
VOCABULARY = """the and that have for not with you this but from they about which would
there their what people into could them other than then now only think because between
another through remember yesterday together something tomorrow morning evening breakfast
weather harbor museum market bridge archive staircase lighthouse cathedral fountain
restaurant reservation arrangement information question different important possible
available comfortable expensive interesting beautiful especially probably already
children grandmother neighbor visitor photograph umbrella luggage suitcase
walking waiting looking wondering planning changing understand recommend
arrive leave return explain describe mention consider decide follow carry open"""
SENTENCE = 12  # words
SYSTEM = """You are the assistant of a tour company that runs walks through an old town
and its harbor. You talk with one guest over many days, and the guest expects you to
remember what was said.

How to answer:
- Answer in plain words and in the guest's own language. Two or three sentences are
  enough unless the guest asks for more.
- Say so when you do not know something. Never make up times, prices or names.
- Which color a gate has changes every season. Take it from what the guest or an
  earlier message of this conversation says, never from general knowledge.
- If two messages contradict each other, the later one is right; say that it changed.
- Prices are per person, in the local currency, with tax. Children under six walk free,
  and groups of eight or more have ten percent off.
- A walk can be moved once without charge until noon of the day before. After that it
  can be given to somebody else, but it is not paid back.
- The harbor is closed in strong wind. Then offer the covered market or the archive,
  and ask which of the two the guest would like.
- Never give out what other guests have booked or said, not even that they exist.
- Refer a guest who is hurt, lost or afraid to the emergency number first, and to the
  office on the main square second.

End every answer that changes a booking with one line that repeats the new date, the
meeting point and the number of guests."""

COUNTER = TokenCounter()


def count(content: str | Sequence[BaseMessage]) -> int:
    """Tokens as the model is taken to count them: what limits are in, and bills."""
    return COUNTER.count(content, model=MODEL)


class Call(NamedTuple):
    """A model call of a recorded or generated conversation.

    Attributes:
        new: What was said since the answer before it.
        answer: The model's answer.
    """

    new: list[BaseMessage]
    answer: AIMessage


Conversation = list[Call]


def generated(turns: int = TURNS, facts: int = FACTS, seed: int = 0) -> Conversation:
    """A chat of equal turns; by chance, some hold a fact on a line of its own."""
    chance = random.Random(seed)
    planted = sorted(chance.sample(range(turns), facts))
    lines: dict[int, str] = {
        turn: f"Gate {number} is {chance.choice(COLORS.split())}."
        for number, turn in enumerate(planted, 1)
    }
    calls = []
    for turn in range(turns):
        said = HumanMessage(_text(chance, lines.get(turn)), id=f"human-{turn}")
        answer = AIMessage(_text(chance), id=f"ai-{turn}")
        calls.append(Call([said], answer))
    calls[0].new.insert(0, SystemMessage(SYSTEM, id="system"))
    return calls


def _text(chance: random.Random, line: str | None = None) -> str:
    """Words without meaning, with a line in their middle."""
    words = chance.choices(VOCABULARY.split(), k=WORDS - len((line or "").split()))
    words[SENTENCE - 1 :: SENTENCE] = [f"{w}." for w in words[SENTENCE - 1 :: SENTENCE]]
    half = len(words) // 2
    texts = (" ".join(words[:half]), line, " ".join(words[half:]))
    return "\n".join(text for text in texts if text)


def recorded() -> list[Conversation]:
    """The recorded agent runs: a call for each answer, tool calls included."""
    with RUNS.open(encoding="utf-8") as lines:
        return [_run(json.loads(line)["messages"]) for line in lines]


def _run(messages: list[dict[str, Any]]) -> Conversation:
    calls, new = [], []
    for number, message in enumerate(convert_to_messages(messages)):
        message.id = f"recorded-{number}"
        if isinstance(message, AIMessage):
            calls.append(Call(new, message))
            new = []
        else:
            new.append(message)
    return calls


def found_in(messages: Sequence[BaseMessage], pattern: re.Pattern[str]) -> set[str]:
    """What a pattern finds in messages."""
    return {
        found
        for message in messages
        for found in pattern.findall(message_text(message))
    }


def serialized(message: BaseMessage) -> str:
    """A message as a provider gets it: nothing of LangChain's own is sent."""
    called = [(call["id"], call["name"], call["args"]) for call in tool_calls(message)]
    answers = getattr(message, "tool_call_id", None)
    return json.dumps([role(message), answers, message.content, called])


Kind = Literal["answers", "summaries"]


@dataclass
class Bill:
    """What calls of one kind were billed.

    Attributes:
        calls: How many.
        input: Tokens sent, cached ones included.
        read: The part of them that was read from the cache.
        output: Tokens of the answers.
        cached: Dollars, where each prompt is written to the cache.
        plain: Dollars, where the cache is left alone.
    """

    calls: int = 0
    input: int = 0
    read: int = 0
    output: int = 0
    cached: Decimal = Decimal(0)
    plain: Decimal = Decimal(0)

    @property
    def dollars(self) -> Decimal:
        """What is paid where cache points are set only if they pay."""
        return min(self.cached, self.plain)

    def __add__(self, other: "Bill") -> "Bill":
        """Both together."""
        mine, theirs = vars(self), vars(other)
        return Bill(**{name: mine[name] + theirs[name] for name in mine})


class Provider:
    """Bills the calls of one conversation, as a provider with a prompt cache does.

    The cache never forgets. A call reads the longest prefix that its text shares with
    any earlier one, where that has 1,024 tokens, and writes what is new for 5 minutes.
    """

    def __init__(self) -> None:
        self.bills: dict[Kind, Bill] = {"answers": Bill(), "summaries": Bill()}
        self._prompts: list[list[str]] = []
        self._prices = PriceBook()

    def bill(
        self, kind: Kind, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> UsageMetadata:
        """Bill a call, and report what it used."""
        sent, out = count(messages), count([answer])
        read = self._read(messages, sent)
        written = sent - read if sent >= CACHED_FROM else 0
        usage = TokenUsage(
            input=sent, output=out, cache_read=read, cache_write_5m=written
        )
        plain = TokenUsage(input=sent, output=out)
        costs = (self._prices.cost(u, MODEL, PROVIDER).total for u in (usage, plain))
        self.bills[kind] += Bill(1, sent, read, out, *costs)
        details = InputTokenDetails(cache_read=read, cache_creation=written)
        return UsageMetadata(
            input_tokens=sent,
            output_tokens=out,
            total_tokens=sent + out,
            input_token_details=details,
        )

    def _read(self, messages: Sequence[BaseMessage], sent: int) -> int:
        """Tokens of the longest prefix that an earlier prompt had, if it was cached.

        Of all prompts in their order, it is shared with one beside this.
        """
        prompt = [*map(serialized, messages)]
        place = bisect(self._prompts, prompt)
        beside = self._prompts[max(place - 1, 0) : place + 1]
        whole, part = max((_shared(prompt, each) for each in beside), default=(0, ""))
        self._prompts.insert(place, prompt)
        tokens = (count(messages[:whole]) if whole else 0) + count(part)
        return min(tokens, sent) if tokens >= CACHED_FROM else 0


def _shared(one: list[str], other: list[str]) -> tuple[int, str]:
    """How many messages two prompts begin with, and the start of the next one."""
    whole = _common(one, other)
    ends = [prompt[whole] if whole < len(prompt) else "" for prompt in (one, other)]
    return whole, ends[0][: _common(*ends)]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    shorter = min(len(one), len(other))
    return next((index for index, (a, b) in pairs if a != b), shorter)


class Summarizer(StandIn):
    """Stands in for a model that summarizes without fail and says nothing else.

    It repeats whatever the pattern finds in its prompt, each once, in order and on a
    line of its own, up to its cap.
    """

    model_name: str = MODEL
    provider: str = PROVIDER
    pattern: re.Pattern[str] = FACT
    billed_by: Provider = Field(default_factory=Provider, repr=False)

    def _reply(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        text = "\n".join(map(message_text, messages))
        return AIMessage("\n".join(dict.fromkeys(self.pattern.findall(text))))

    def _generate(
        self, messages: list[BaseMessage], *args: Any, **kw: Any
    ) -> ChatResult:
        result = super()._generate(messages, *args, **kw)
        answer = result.generations[0].message
        assert isinstance(answer, AIMessage)
        answer.usage_metadata = self.billed_by.bill("summaries", messages, answer)
        return result
