"""Stand-in chat models for tests, notebooks and demos: no key and no server.

A stand-in is not a language model. `ScriptedChatModel` answers from a list,
`ExtractiveChatModel` quotes the sentences of its context that share the rarest words
with the question. Both report real token counts and take the options of
`langchain_lean.testing_provider.StandIn`: names, prompt caching, streams with and
without usage, failures, latency.

Copies of a model share its script, its recorded `calls` and its cache.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence as Seq
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.tool import tool_call
from pydantic import Field, SkipValidation

from langchain_lean.errors import ConfigurationError
from langchain_lean.testing_provider import Call, StandIn

__all__ = ["Call", "ExtractiveChatModel", "ScriptedChatModel"]

_Json = dict[str, Any]
_Chat = list[BaseMessage]
_Answer = str | _Json | AIMessage

_QUESTION = re.compile(r"\bQuestion:\s*(.+)")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_WORD = re.compile(
    r"\b(?!(?:a|an|and|are|as|at|be|by|can|did|do|does|for|from|get|has|have|how|i|in|is"
    r"|it|me|my|of|on|or|please|the|this|to|was|what|when|where|which|who|why|will|with)"
    r"\b)\w+"
)


class ScriptedChatModel(StandIn):
    """A stand-in that gives the next answer of a script; safe from many threads.

    `StandIn` has the options of both stand-ins.

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


class ExtractiveChatModel(StandIn):
    """A stand-in that quotes its context, so that a bad context gives a bad answer.

    `StandIn` has the options of both stand-ins.

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

    sentences: int = Field(default=2, ge=1)
    reads: int | None = Field(default=None, ge=0)

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
