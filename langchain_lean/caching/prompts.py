"""What a prompt is to a cache: where its answers stand, and what is asked in words.

A prompt is read in the form that LangChain gives to any cache: the JSON of its
messages, or the text for a model that takes no messages. So a cache around a model
and one inside of it find each other's answers.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.load import dumps
from langchain_core.messages import BaseMessage

from langchain_lean.messages import EXAMPLE_NAMES

_LONGEST = 400  # characters; more is no question, but a text with one in it
_FORM = re.compile(r":\s|[\n\r]")  # of a text that is filled into a template
_OWN = ("id", "response_metadata", "usage_metadata")  # differ from run to run
_PLAIN = {"type", "text", "id", "cache_control"}
_TEMPERATURE = re.compile(
    r"""['"]temperature['"]\s*[:,]\s*(?:[\w.]+\()?['"]?(\d+(?:\.\d*)?|\.\d+)"""
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+\b")
_CLASS = re.compile(r"<class '([^']+)'>")
_KEYS = {"lc", "type", "id", "kwargs"}  # of a message, as LangChain writes it

_Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt, as far as a cache must tell it from others.

    Attributes:
        partition: A digest of all that must be the same for two questions to have one
            answer: tenant, model and parameters, system prompt and examples.
        key: A digest of the rest of the prompt.
        question: The text of its only human message, where that is a question; None
            where other messages, media or instructions stand beside it, and the key
            alone decides.
        tenant: Whom it is for; None where all share.
    """

    partition: str
    key: str
    question: str | None
    tenant: str | None = None

    @property
    def id(self) -> str:
        """What tells it from every other one."""
        return f"{self.partition}:{self.key}"


def prompt_string(messages: Sequence[BaseMessage]) -> str:
    """Messages as LangChain gives them to a cache.

    Args:
        messages: What is to be sent.
    """
    return dumps([message.model_copy(update={"id": None}) for message in messages])


def read_prompt(
    prompt: str,
    llm_string: str,
    *,
    tenant: str | None,
    embeddings: str,
    tags: Sequence[str] = (),
) -> Asked:
    """Read a prompt.

    Args:
        prompt: As LangChain gives it to a cache.
        llm_string: The model and its parameters, tools among them.
        tenant: What names the tenant; None for all who share.
        embeddings: What names the embeddings, whose vectors compare with no others.
        tags: What invalidates answers; those that were kept without are no answers.

    Returns:
        The same for two prompts that ask the same of the same model.
    """
    messages = _messages(prompt)
    about = (tenant, llm_string, embeddings, sorted(tags))
    if messages is None:
        partition = _digest(*about, None)
        return Asked(partition, _digest(prompt), None, tenant)
    count = next(
        (i for i, message in enumerate(messages) if not _is_static(message)),
        len(messages),
    )
    static, rest = messages[:count], messages[count:]
    partition = _digest(*about, static)
    return Asked(partition, _digest(rest), _question(rest), tenant)


def with_schemas(llm_string: str) -> str:
    """A model's description with the fields of the classes that it names.

    LangChain writes a class of structured output by its name alone, which stays when
    its fields change.

    Args:
        llm_string: The model and its parameters, as LangChain writes them.
    """

    def described(named: re.Match[str]) -> str:
        module, _, name = named[1].rpartition(".")
        found = getattr(sys.modules.get(module), name, None)
        schema = getattr(found, "model_json_schema", None)
        return json.dumps(schema(), sort_keys=True) if schema else named[0]

    return _CLASS.sub(described, llm_string)


def is_written_out(prompt: str, llm_string: str) -> bool:
    """Whether all of a prompt and of a model's description can be told from others.

    What LangChain knows no form for it writes as its `repr`: that of a class has no
    fields, and one with an address in memory may be another object's later.

    Args:
        prompt: As LangChain gives it to a cache.
        llm_string: The model and its parameters, after `with_schemas`.
    """
    if '"type": "not_implemented"' in prompt:  # in a text, its quotes are escaped
        return False
    return not (_ADDRESS.search(llm_string) or _CLASS.search(llm_string))


def is_sampled(llm_string: str) -> bool:
    """Whether a model has an explicit temperature above 0, so that answers differ."""
    found = _TEMPERATURE.findall(llm_string)
    return any(float(temperature) > 0 for temperature in found)


def _messages(prompt: str) -> list[_Message] | None:
    """The messages of a prompt, without what differs from run to run."""
    try:
        given = json.loads(prompt)
        if not (isinstance(given, list) and given):
            return None  # a text
        return [_said(message) for message in given]
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _said(message: _Message) -> _Message:
    """What a message says, without what differs from run to run.

    Raises:
        ValueError: If it is no message, but part of a text.
    """
    if not message.keys() >= _KEYS:
        raise ValueError(_KEYS)
    said = {k: v for k, v in message["kwargs"].items() if k not in _OWN}
    more = {k: v for k, v in message.items() if k != "kwargs"}
    return {**said, "written_as": more}


def _is_static(message: _Message) -> bool:
    return message.get("type") == "system" or message.get("name") in EXAMPLE_NAMES


def _question(messages: Sequence[_Message]) -> str | None:
    """What is asked, if that is all there is.

    A text with line breaks, or with something behind a colon, holds what is asked about
    (a document, a review to classify): two of them are near to each other because of
    what they have in common, and not because they ask the same.
    """
    if len(messages) != 1 or messages[0].keys() - {"type", "content", "written_as"}:
        return None
    [message] = messages
    text = _text(message.get("content")) if message.get("type") == "human" else None
    text = (text or "").strip()
    return text if text and len(text) <= _LONGEST and not _FORM.search(text) else None


def _text(content: object) -> str | None:
    """The text of a message; None if there is anything else in it."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    texts = [
        block.get("text") if isinstance(block, dict) else block for block in content
    ]
    plain = all(
        not isinstance(block, dict)
        or (block.get("type") == "text" and not block.keys() - _PLAIN)
        for block in content
    )
    if plain and all(isinstance(text, str) for text in texts):
        return "\n".join(map(str, texts))
    return None


def _digest(*parts: object) -> str:
    """A digest that no two lists of parts share, however they are written."""
    written = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(written.encode()).hexdigest()[:40]
