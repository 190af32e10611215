"""How a stand-in behaves around its answer: usage, streams, tools, failures.

The count of tokens is real; the answer is for `langchain_lean.testing` to make up.
"""

import asyncio
import json
import re
import time
from abc import abstractmethod
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr

if TYPE_CHECKING:
    from langchain_lean.accounting.tokens.counter import TokenCounter

_Json = dict[str, Any]
_Chat = list[BaseMessage]
_Stop = list[str] | None

_CACHED_FROM = 1024  # tokens; the documented minimum of OpenAI and Claude Sonnet


class Call(NamedTuple):
    """One call a stand-in received: its messages, and all options bound or given."""

    messages: tuple[BaseMessage, ...]
    kwargs: Mapping[str, Any]


@dataclass(eq=False)
class _State:
    """What a model and all its copies share, as clients share their server."""

    lock: Lock = field(default_factory=Lock)
    calls: deque[Call] = field(default_factory=lambda: deque(maxlen=10_000))
    prefixes: set[int] = field(default_factory=set)
    answered: int = 0

    def __deepcopy__(self, memo: object) -> Self:
        return self


@cache
def _counter() -> "TokenCounter":
    from langchain_lean.accounting.tokens.counter import TokenCounter

    return TokenCounter()


class StandIn(BaseChatModel):
    """What every stand-in does around its answer, as a provider's integration does.

    Attributes:
        model_name: What it calls itself; a real model's name has its prices.
        provider: Whose it says it is, as LangChain names providers.
        temperature: Reported, and without effect.
        max_tokens: Cuts a text answer (`finish_reason` is "length"), as `stop` does.
        report_usage: False for a provider that never reports usage.
        stream_usage: False for one whose streams do not; else the last chunk has it.
        cache_prefix: Report the leading messages that an earlier call began with as
            read from the provider's cache, where they hold at least 1,024 tokens.
        fail_after: A stream breaks with a `ConnectionError` after so many chunks.
        latency: Seconds to the first token and per output token.
        sleep: Waits for the latency.
        asleep: Waits for it in async calls.
    """

    model_name: str = "stand-in"
    provider: str = "stand-in"
    temperature: float | None = None
    max_tokens: int | None = None
    report_usage: bool = True
    stream_usage: bool = True
    cache_prefix: bool = False
    fail_after: int | None = None
    latency: tuple[float, float] = (0.0, 0.0)
    sleep: Callable[[float], object] = Field(default=time.sleep, repr=False)
    asleep: Callable[[float], Awaitable[object]] = Field(
        default=asyncio.sleep, repr=False
    )
    _state: _State = PrivateAttr(default_factory=_State)

    @abstractmethod
    def _reply(self, messages: _Chat, kwargs: _Json) -> AIMessage:
        """The whole answer, before it is cut, counted and labeled."""

    @property
    def calls(self) -> list[Call]:
        """The newest 10,000 calls of this model and its copies, oldest first."""
        with self._state.lock:
            return list(self._state.calls)

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    @property
    def _identifying_params(self) -> _Json:
        names = ("model_name", "provider", "temperature", "max_tokens")
        return {n: v for n in names if (v := getattr(self, n)) is not None}

    def _get_ls_params(self, stop: _Stop = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        return {**params, "ls_provider": self.provider}

    def bind_tools(
        self, tools: Seq[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools in OpenAI's format; a `tool_choice` may be a name, too."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], **kwargs)

    def _generate(
        self, messages: _Chat, stop: _Stop = None, run_manager: Any = None, **kw: Any
    ) -> ChatResult:
        message, usage = self._complete(messages, stop, kw)
        if seconds := self._seconds(usage):
            self.sleep(seconds)
        return self._result(message, usage)

    async def _agenerate(
        self, messages: _Chat, stop: _Stop = None, run_manager: Any = None, **kw: Any
    ) -> ChatResult:
        message, usage = self._complete(messages, stop, kw)
        await self.asleep(self._seconds(usage))
        return self._result(message, usage)

    def _stream(
        self, messages: _Chat, stop: _Stop = None, run_manager: Any = None, **kw: Any
    ) -> Iterator[ChatGenerationChunk]:
        for seconds, chunk in self._paced(*self._complete(messages, stop, kw)):
            if seconds:
                self.sleep(seconds)
            yield chunk

    async def _astream(
        self, messages: _Chat, stop: _Stop = None, run_manager: Any = None, **kw: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for seconds, chunk in self._paced(*self._complete(messages, stop, kw)):
            await self.asleep(seconds)  # even 0 lets other tasks run, as a network does
            yield chunk

    def _complete(
        self, messages: _Chat, stop: _Stop, kwargs: _Json
    ) -> tuple[AIMessage, UsageMetadata]:
        options = {**kwargs, "stop": stop} if stop else kwargs
        with self._state.lock:
            self._state.calls.append(Call(tuple(messages), options))
        reply = self._reply(messages, kwargs)
        model, content, cut = kwargs.get("model", self.model_name), reply.content, False
        if isinstance(content, str):
            limit = kwargs.get("max_tokens", self.max_tokens)
            count = partial(_counter().count, model=model)
            content, cut = _cut(content, stop or (), limit, count)
        labels = {
            "finish_reason": "tool_calls" if reply.tool_calls else "stop",
            "model_name": model,
            "model_provider": self.provider,
            **reply.response_metadata,
            **({"finish_reason": "length"} if cut else {}),
        }
        update = {"content": content, "response_metadata": labels}
        message = reply.model_copy(update=update, deep=True)
        counted = self._usage(messages, message, kwargs.get("tools"))
        return message, message.usage_metadata or counted

    def _usage(
        self, messages: _Chat, answer: AIMessage, tools: list[_Json] | None
    ) -> UsageMetadata:
        model, count = answer.response_metadata["model_name"], _counter().count
        calls = (c["name"] + json.dumps(c["args"]) for c in answer.tool_calls)
        read = count(messages, model=model, tools=tools)
        written = count("".join([answer.text, *calls]), model=model)
        usage = UsageMetadata(
            input_tokens=read, output_tokens=written, total_tokens=read + written
        )
        if self.cache_prefix:
            seen = messages[: self._seen(messages, (model, repr(tools)))]
            cached = min(read, count(seen, model=model, tools=tools)) if seen else 0
            usage["input_token_details"] = InputTokenDetails(
                cache_read=cached if cached >= _CACHED_FROM else 0
            )
        return usage

    def _seen(self, messages: _Chat, head: object) -> int:
        """How many leading messages an earlier call with the same head began with."""
        parts = (repr((m.type, m.content, vars(m).get("tool_calls"))) for m in messages)
        chain = accumulate(parts, lambda h, p: hash((h, p)), initial=hash(head))
        prefixes = [*chain][1:]
        with self._state.lock:
            seen = sum(prefix in self._state.prefixes for prefix in prefixes)
            self._state.prefixes.update(prefixes)
        return seen

    def _seconds(self, usage: UsageMetadata) -> float:
        return self.latency[0] + self.latency[1] * usage["output_tokens"]

    def _result(self, message: AIMessage, usage: UsageMetadata) -> ChatResult:
        message.usage_metadata = usage if self.report_usage else None
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _paced(
        self, message: AIMessage, usage: UsageMetadata
    ) -> Iterator[tuple[float, ChatGenerationChunk]]:
        """The chunks of an answer, each with the seconds to wait before it."""
        reported = usage if self.report_usage and self.stream_usage else None
        chunks = _chunks(message, reported)
        share = self.latency[1] * usage["output_tokens"] / len(chunks)
        for number, chunk in enumerate(chunks):
            if number == self.fail_after:
                msg = f"The stand-in broke its stream off after {number} chunks."
                raise ConnectionError(msg)
            wait = share if number else self.latency[0] + share
            yield wait, ChatGenerationChunk(message=chunk)


def _cut(
    text: str, stops: Seq[str], limit: int | None, count: Callable[[str], int]
) -> tuple[str, bool]:
    """The text up to a stop sequence and within the limit, and whether it was over."""
    text = text[: min((i for s in stops if (i := text.find(s)) >= 0), default=None)]
    if limit is None or count(text) <= limit:
        return text, False
    fits = bisect_right(range(len(text)), limit, key=lambda n: count(text[:n])) - 1
    return text[: max(fits, 0)], True


def _chunks(message: AIMessage, usage: UsageMetadata | None) -> list[AIMessageChunk]:
    whole = message.content
    words = re.findall(r"\S+\s*|\s+", whole) if isinstance(whole, str) else [whole]
    parts: list[_Json] = [{"content": word} for word in words]
    for index, call in enumerate(message.tool_calls):
        opening = tool_call_chunk(name=call["name"], id=call["id"], index=index)
        pieces = re.findall(r"\S+\s*", json.dumps(call["args"]))
        rest = (tool_call_chunk(args=piece, index=index) for piece in pieces)
        parts += [{"content": "", "tool_call_chunks": [c]} for c in (opening, *rest)]
    closing = {
        "content": "",
        "additional_kwargs": message.additional_kwargs,
        "response_metadata": message.response_metadata,
        "usage_metadata": usage,
        "chunk_position": "last",
    }
    return [AIMessageChunk(id=message.id, **part) for part in (*parts, closing)]
