"""An answer as it is kept, in JSON that only ever becomes an answer again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import BaseModel

from langchain_lean.messages import message_text

_VERSION = 1


class CorruptRecordError(ValueError):
    """What a store gave back is no record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An answer, and what it took to get it.

    Attributes:
        question: What was asked, where that can be compared; else an empty text.
        answers: What the model answered, one or several.
        model: The model, as far as it said.
        provider: Its provider, as LangChain names it.
        seconds: How long the answer took.
        stored: When it was kept, in seconds since the epoch.
    """

    question: str
    answers: Sequence[Generation]
    model: str | None
    provider: str | None
    seconds: float
    stored: float

    @property
    def text(self) -> str:
        """What the answer says."""
        return answer_text(self.answers)

    @property
    def message(self) -> AIMessage | None:
        """The answer, where it is a message."""
        return message_of(self.answers)


def answer_text(answers: Sequence[Generation]) -> str:
    """What the first answer says, its tool calls included."""
    message = message_of(answers)
    if message is not None:
        return message_text(message)
    return answers[0].text if answers else ""


def message_of(answers: Sequence[Generation]) -> AIMessage | None:
    """The first answer, where it is a message."""
    message = getattr(answers[0], "message", None) if answers else None
    return message if isinstance(message, AIMessage) else None


def to_text(record: Record) -> str:
    """Write a record.

    Raises:
        TypeError: If an answer cannot be written so that it comes back as it was.
    """
    values = {
        "version": _VERSION,
        "question": record.question,
        "answers": [_written(answer) for answer in record.answers],
        "model": record.model,
        "provider": record.provider,
        "seconds": record.seconds,
        "stored": record.stored,
    }
    return json.dumps(values)


def from_text(text: str) -> Record:
    """Read a record.

    Nothing but the values and the two kinds of answers that `to_text` writes is made
    of it, whoever wrote it.

    Raises:
        CorruptRecordError: If it is none.
    """
    try:
        values = json.loads(text)
        if values["version"] != _VERSION:
            raise ValueError(_VERSION)
        return Record(
            question=_checked(values["question"], str),
            answers=[_read(answer) for answer in _checked(values["answers"], list)],
            model=_checked(values["model"], str, None),
            provider=_checked(values["provider"], str, None),
            seconds=float(_checked(values["seconds"], int, float)),
            stored=float(_checked(values["stored"], int, float)),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptRecordError from error


def _written(answer: Generation) -> dict[str, Any]:
    written: dict[str, Any] = {
        "text": answer.text,
        "info": _in_json(answer.generation_info),
    }
    if isinstance(answer, ChatGeneration):
        message: BaseMessage = message_chunk_to_message(answer.message)
        if not isinstance(message, AIMessage):
            msg = f"An answer is an AIMessage, not {type(message).__name__}."
            raise TypeError(msg)
        written["message"] = _as_given(message)
    return written


def _as_given(message: AIMessage) -> dict[str, Any]:
    """The values of an answer as its model gave it, as JSON has them.

    Its ids would replace the earlier answer in the state of a graph, or go on with the
    conversation of another user at the provider; and what another cache has noted is
    not true of the next time.
    """
    kwargs = {
        name: _read_from(value, message.text) if isinstance(value, BaseModel) else value
        for name, value in message.additional_kwargs.items()
    }
    exact = {
        "content": message.content,
        "name": message.name,
        "additional_kwargs": kwargs,
        "tool_calls": message.tool_calls,
        "invalid_tool_calls": message.invalid_tool_calls,
    }
    if json.loads(json.dumps(exact)) != exact:
        raise TypeError("An answer holds what JSON does not.")
    said = {k: v for k, v in message.response_metadata.items() if k != "id"}
    if isinstance(notes := said.get("lean"), list):
        said["lean"] = [done for done in notes if done.get("lever") != "cache"]
    usage = dict(message.usage_metadata or {})
    usage.pop("total_cost", None)
    return {
        **exact,
        "response_metadata": _in_json(said),
        "usage_metadata": usage or None,
    }


def _read_from(value: BaseModel, text: str) -> Any:
    """The JSON that an answer's schema was read from, which is read into it again.

    Raises:
        TypeError: If that is not what the answer says.
    """
    try:
        given = json.loads(text)
        if type(value).model_validate(given) == value:
            return given
    except ValueError:
        pass
    raise TypeError("An answer of a schema was not read from its text.")


def _in_json(value: Any) -> Any:
    """What is only told about an answer, in words where JSON has none for it."""
    return json.loads(json.dumps(value, default=str))


def _read(written: Mapping[str, Any]) -> Generation:
    info = _checked(written["info"], dict, None)
    if "message" in written:
        message = AIMessage(**_checked(written["message"], dict))
        return ChatGeneration(message=message, generation_info=info)
    return Generation(text=_checked(written["text"], str), generation_info=info)


def _checked(value: Any, *kinds: type | None) -> Any:
    if not isinstance(value, tuple(type(None) if k is None else k for k in kinds)):
        raise TypeError(type(value).__name__)
    return value
