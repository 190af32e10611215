"""Stand-in chat models for tests, notebooks and demos: no key and no server.

A stand-in is not a language model. `ScriptedChatModel` answers from a list,
`ExtractiveChatModel` quotes the sentences of its context that share the rarest words
with the question. Around the answer both behave as a provider's integration does, with
token counts, tools, structured output and native async, and take these options:

    model_name, provider: What they call themselves; a real model's name has its prices.
    temperature: Reported, and without effect.
    max_tokens: Cuts a text answer (`finish_reason` is "length"), as `stop` does.
    report_usage: False for a provider that never reports usage.
    stream_usage: False for one whose streams do not; else the last chunk carries it.
    cache_prefix: Report the leading messages that an earlier call began with as read
        from the provider's cache, where they hold at least 1,024 tokens.
    fail_after: A stream breaks with a `ConnectionError` after so many chunks.
    latency: Seconds to the first token and per output token, waited with `sleep` and
        `asleep`.

Copies of a model share its script, its recorded `calls` and its cache.
"""

import asyncio
import json
import math
import re
import time
from abc import abstractmethod
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import uuid4

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr, SkipValidation

from langchain_lean.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_lean.accounting.tokens import TokenCounter

_Json = dict[str, Any]
_Chat = list[BaseMessage]
_Stop = list[str] | None
_Answer = str | _Json | AIMessage

_CACHED_FROM = 1024  # tokens; the documented minimum of OpenAI and Claude Sonnet
_QUESTION = re.compile(r"\bQuestion:\s*(.+)")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_WORD = re.compile(
    r"\b(?!(?:a|an|and|are|as|at|be|by|can|did|do|does|for|from|get|has|have|how|i|in|is"
    r"|it|me|my|of|on|or|please|the|this|to|was|what|when|where|which|who|why|will|with)"
    r"\b)\w+"
)


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
    from langchain_lean.accounting.tokens import TokenCounter

    return TokenCounter()


class _StandIn(BaseChatModel):
    model_name: str = "stand-in"
    provider: str = "stand-in"
    temperature: float | None = None
    max_tokens: int | None = None
    report_usage: bool = True
    stream_usage: bool = True
    cache_prefix: bool = False
    fail_after: int | None = None
    latency: tuple[float, float] = (0.0, 0.0)
    sleep: Callable[[float], object] = Field(time.sleep, repr=False)
    asleep: Callable[[float], Awaitable[object]] = Field(asyncio.sleep, repr=False)
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


class ScriptedChatModel(_StandIn):
    """A stand-in that gives the next answer of a script; safe from many threads.

    The module's docstring has the options of both stand-ins.

    Where a call must use a tool (as `with_structured_output` asks), a JSON object
    becomes the arguments of the named tool, or of the first that has all its fields.

    Attributes:
        responses: A text, a dict (its JSON text), a message, an exception to raise, or
            a function from the messages to a text, dict or message. A message keeps
            its own usage and metadata.
        loop: Start again after the last response.

    Raises:
        ConfigurationError: At a call after the last response, without `loop`.
    """

    responses: SkipValidation[Seq[_Answer | Exception | Callable[[_Chat], _Answer]]] = (
        Field(repr=False)
    )
    loop: bool = False

    def _reply(self, messages: _Chat, kwargs: _Json) -> AIMessage:
        with self._state.lock:
            position = self._state.answered
            self._state.answered += 1
        size = len(self.responses)
        if not size or (position >= size and not self.loop):
            msg = f"The script ended after {size} responses; add more or set loop=True."
            raise ConfigurationError(msg)
        response = self.responses[position % size]
        if isinstance(response, Exception):
            raise response
        if callable(response):
            response = response(messages)
        if isinstance(response, AIMessage):
            return response
        text = response if isinstance(response, str) else json.dumps(response)
        tools, forced = _offered(kwargs)
        args = _json_object(text) if forced else None
        if args is None:
            return AIMessage(text)
        fits = (t for t in tools if args.keys() <= _fields(t).keys())
        return _calling(next(fits, tools[0]), args)


class ExtractiveChatModel(_StandIn):
    """A stand-in that quotes its context, so that a bad context gives a bad answer.

    The module's docstring has the options of both stand-ins.

    The question is the last human text, or its line after the last "Question:"; the
    context is the rest of that text and of all messages. Sentences score by the words
    they share with the question, each with its inverse document frequency over the
    context's sentences; the best are quoted in their order. Where none shares a word,
    the answer is "I do not know."

    A tool whose name, or a word of it, is in the question is called once, its strings
    filled with the question and its numbers with the question's. A forced tool that
    the question does not name is filled from the answer instead.

    Attributes:
        sentences: How many to quote at most.
        reads: How many characters of the context it takes in (None: all); the fewer,
            the cheaper and worse a model it stands for.
    """

    sentences: int = Field(2, ge=1)
    reads: int | None = Field(None, ge=0)

    def _reply(self, messages: _Chat, kwargs: _Json) -> AIMessage:
        question, context, seen_result = _split(messages)
        tools, forced = _offered(kwargs)
        tool = next((t for t in tools if _asks_for(question, t)), None)
        if tool and not (forced or seen_result):
            return _calling(tool, _filled(tool, question))
        answer = _quote(question, context[: self.reads], self.sentences)
        if not forced:
            return AIMessage(answer)
        tool = tool or tools[0]
        text = question if tool["name"] in question else answer
        return _calling(tool, _filled(tool, text))


def _offered(kwargs: _Json) -> tuple[list[_Json], bool]:
    """The functions a call may use, and whether it must use one."""
    tools = [t["function"] for t in kwargs.get("tools") or () if "function" in t]
    choice = kwargs.get("tool_choice")
    if isinstance(choice, dict):
        choice = choice.get("function", choice).get("name") or choice.get("type")
    if choice in (None, False, "auto", "none"):
        return [] if choice == "none" else tools, False
    if choice not in (True, "any", "required"):
        tools = [t for t in tools if t["name"] == choice]
    if not tools:
        msg = f"No bound tool fits tool_choice={choice!r}; bind the tool it means."
        raise ConfigurationError(msg)
    return tools, True


def _calling(tool: _Json, args: _Json) -> AIMessage:
    call = tool_call(name=tool["name"], args=args, id=f"call_{uuid4().hex[:24]}")
    return AIMessage("", tool_calls=[call])


def _fields(tool: _Json) -> _Json:
    fields: _Json = tool.get("parameters", {}).get("properties", {})
    return fields


def _json_object(text: str) -> _Json | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _filled(tool: _Json, text: str) -> _Json:
    """Arguments for the fields a tool requires, taken from a text."""
    numbers = (float(n.replace(",", "")) for n in _NUMBER.findall(text))
    kinds = {"string": text, "boolean": False, "array": [], "object": {}}

    def value(field: _Json) -> object:
        field = field.get("anyOf", [field])[0]
        if "enum" in field:
            return field["enum"][0]
        kind = field.get("type", "string")
        if kind in kinds:
            return kinds[kind]
        return int(next(numbers, 0)) if kind == "integer" else next(numbers, 0.0)

    required = tool.get("parameters", {}).get("required", ())
    return {name: value(_fields(tool)[name]) for name in required}


def _split(messages: _Chat) -> tuple[str, str, bool]:
    """The question, its context, and whether a tool result follows the question."""
    last = max((i for i, m in enumerate(messages) if m.type == "human"), default=-1)
    texts = [str(m.text) for m in messages]
    question, texts[last] = texts[last], ""
    for mark in [*_QUESTION.finditer(question)][-1:]:
        texts[last] = question[: mark.start()] + "\n" + question[mark.end() :]
        question = mark[1]
    seen_result = any(m.type == "tool" for m in messages[last:])
    return question, "\n".join(filter(None, texts)), seen_result


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _asks_for(question: str, tool: _Json) -> bool:
    name: str = tool["name"]
    in_words = _words(name.replace("_", " ")) & _words(question)
    return name in question or bool(in_words)


def _quote(question: str, context: str, count: int) -> str:
    parts = (part.strip() for part in _SENTENCE_END.split(context))
    sentences = [*dict.fromkeys(p for p in parts if p and p[-1] not in "?:")]
    asked = _words(question)
    words = [asked & _words(sentence) for sentence in sentences]
    spread = Counter(word for shared in words for word in shared)
    scores = [math.fsum(math.log1p(len(words) / spread[w]) for w in s) for s in words]
    best = sorted(range(len(words)), key=lambda i: -scores[i])[:count]
    return " ".join(sentences[i] for i in sorted(best) if scores[i]) or "I do not know."
