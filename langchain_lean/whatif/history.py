"""What conversations would have had as history with a memory in front of the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from langchain_lean.accounting.entry import price
from langchain_lean.accounting.prices.cost import ZERO
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.context.memory import SummaryMemory
from langchain_lean.messages import message_text
from langchain_lean.whatif.costs import Kept
from langchain_lean.whatif.traffic import Model

if TYPE_CHECKING:
    from decimal import Decimal

    from langchain_lean.whatif.questions import Questions
    from langchain_lean.whatif.traffic import Call, Traffic

SUMMARY = "history summary"

_SAMPLED = 500  # calls; one with 40 messages takes some 3 ms
_SHARE = 5  # the memory itself expects notes of a fifth of what they stand for
_WORDS = 12  # of a line of notes
_NEARLY = 0.8  # of the limit: a count of a conversation is an estimate


class Notes(BaseChatModel):
    """Stands for a model: says its name, and writes a fifth of what it reads.

    Attributes:
        name_and_provider: What it says it is.
        counter: Counts what it uses.
    """

    name_and_provider: Model
    counter: TokenCounter
    _used: list[TokenUsage] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "notes"

    def _get_ls_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> LangSmithParams:
        name, provider = self.name_and_provider
        params = super()._get_ls_params(stop=stop, **kwargs)
        return {**params, "ls_model_name": name, "ls_provider": provider or ""}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        words = message_text(messages[-1]).split()
        words = words[: max(1, len(words) // _SHARE)]
        lines = (words[at : at + _WORDS] for at in range(0, len(words), _WORDS))
        text = "\n".join("- " + " ".join(line) for line in lines)
        count, model = self.counter.count, self.name_and_provider[0]
        read, written = count(messages, model=model), count(text, model=model)
        self._used.append(TokenUsage(input=read, output=written))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    def used(self) -> list[TokenUsage]:
        """What it used since it was last asked."""
        used, self._used = self._used, []
        return used


class _Seen(NamedTuple):
    """What a memory made of a call: tokens of its history, and what notes cost."""

    call: Call
    history: int
    own: Decimal


class Memories:
    """A memory for each model and its tools, as an application would have them.

    Args:
        traffic: What was recorded.
        notes: Takes the notes; the answering model if not given.
        max_tokens: As `SummaryMemory` takes it.
        keep_tokens: The same.
        max_summary_tokens: The same.
    """

    def __init__(
        self,
        traffic: Traffic,
        notes: Model | None,
        *,
        max_tokens: int,
        keep_tokens: int,
        max_summary_tokens: int,
    ) -> None:
        self._traffic, self._notes = traffic, notes
        self.max_tokens, self._keep_tokens = max_tokens, keep_tokens
        self._max_summary_tokens = max_summary_tokens
        self._made: dict[object, tuple[SummaryMemory, Notes]] = {}

    def of(self, call: Call) -> tuple[SummaryMemory, Notes]:
        """The memory in front of a call, and who takes its notes."""
        key = (call.model, call.tools and call.tools.digest)
        if key not in self._made:
            self._made[key] = self._make(call)
        return self._made[key]

    def _make(self, call: Call) -> tuple[SummaryMemory, Notes]:
        counter = self._traffic.counter
        notes = Notes(name_and_provider=self._notes or call.model, counter=counter)
        reader: Any = Notes(name_and_provider=call.model, counter=counter)
        memory = SummaryMemory(
            notes,
            answer_model=reader.bind(tools=self._tools(call)),
            counter=counter,
            prices=self._traffic.prices,
            max_tokens=self.max_tokens,
            keep_tokens=self._keep_tokens,
            max_summary_tokens=self._max_summary_tokens,
        )
        return memory, notes

    def _tools(self, call: Call) -> list[Any]:
        text = self._traffic.text(call.tools.digest) if call.tools else None
        tools: list[Any] = json.loads(text or "[]")
        return tools


def summarized(
    traffic: Traffic,
    questions: Questions,
    memories: Memories,
    told: Callable[[], object],
) -> Kept:
    """Have a `SummaryMemory` shorten the conversations that were recorded.

    Of many long conversations some are looked at, and the others taken to be like them.

    Args:
        traffic: What was recorded, with texts.
        questions: What was asked, without documents, which stand behind a memory.
        memories: The memories.
        told: Told of each call that was looked at.
    """
    threads = _long(traffic, questions, _NEARLY * memories.max_tokens)
    calls = sum(map(len, threads))
    sampled = threads[:: -(-calls // _SAMPLED) or 1]
    seen: list[_Seen] = []
    for call in (call for thread in sampled for call in thread):
        told()
        seen.append(_tried(traffic, call, questions.of(call) or "", memories))
    most = {each.call: each.history for each in seen}
    own = {each.call: each.own for each in seen}
    left, paid = _usual(seen)
    for call in (call for thread in threads for call in thread if call not in most):
        most[call] = round(call.entry.anatomy.history * left)
        own[call] = call.entry.cost.input * paid if call.entry.cost else ZERO
    times = sum(each.own > 0 for each in seen)
    return Kept(
        name=SUMMARY,
        most={call: {"history": size} for call, size in most.items()},
        sure="simulated",
        assumption=f"Above {memories.max_tokens:,} tokens a conversation goes on from "
        "notes a fifth as long as what they replace, and these have what is asked for "
        "later.",
        details=(
            f"seen on {len(sampled):,} of {len(threads):,} long conversations, "
            f"with notes taken {times:,} times",
        )
        if threads
        else (),
        own=own,
    )


def _long(traffic: Traffic, questions: Questions, least: float) -> list[list[Call]]:
    """The calls with a long history, by thread."""
    threads: dict[str, list[Call]] = {}
    for call in traffic.asking:
        entry = call.entry
        size = entry.usage.input - entry.anatomy.retrieved
        if entry.anatomy.history and size >= least and questions.of(call) is not None:
            threads.setdefault(call.thread, []).append(call)
    return list(threads.values())


def _tried(traffic: Traffic, call: Call, question: str, memories: Memories) -> _Seen:
    """Have a memory shorten the prompt of a call."""
    parts = call.entry.anatomy
    memory, notes = memories.of(call)
    messages = _conversation(traffic, call, question)
    sent = memory.invoke(messages)
    before, after = (_count(traffic, call, each) for each in (messages, sent))
    size = call.entry.usage.input - parts.retrieved - parts.tools
    spared = round(max(before - after, 0) * size / before)
    spent = sum((_price(traffic, call, notes, used) for used in notes.used()), ZERO)
    return _Seen(call, max(parts.history - spared, 0), spent)


def _usual(seen: Sequence[_Seen]) -> tuple[float, Decimal]:
    """The share of the histories that is left, and what notes cost.

    The latter as a share of what the input of the calls cost.
    """
    whole = sum(each.call.entry.anatomy.history for each in seen)
    costs = (each.call.entry.cost for each in seen)
    paid = sum((cost.input for cost in costs if cost is not None), ZERO)
    left = sum(each.history for each in seen) / (whole or 1)
    return left, sum((each.own for each in seen), ZERO) / (paid or 1)


def _conversation(traffic: Traffic, call: Call, question: str) -> list[BaseMessage]:
    """A prompt before documents were put into it."""
    messages = traffic.messages(call.prompt)
    messages[call.asked] = HumanMessage(question)
    newest = max((i for i, m in enumerate(messages) if m.type == "ai"), default=None)
    if newest is not None:  # tells whether the provider has the conversation cached
        usage = call.entry.usage
        answer = AIMessage(messages[newest].content)
        answer.usage_metadata = UsageMetadata(
            input_tokens=usage.input,
            output_tokens=usage.output,
            total_tokens=usage.total,
            input_token_details=InputTokenDetails(
                cache_read=usage.cache_read, cache_creation=usage.cache_write_5m
            ),
        )
        messages[newest] = answer
    return messages


def _count(traffic: Traffic, call: Call, messages: Sequence[BaseMessage]) -> int:
    return traffic.counter.count(messages, model=call.model[0])


def _price(traffic: Traffic, call: Call, notes: Notes, used: TokenUsage) -> Decimal:
    name, provider = notes.name_and_provider
    names = (name, call.entry.requested)
    cost = price(traffic.prices, used, names, provider, call.entry.start)
    return ZERO if cost is None else cost.total
