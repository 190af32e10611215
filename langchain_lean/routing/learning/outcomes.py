"""What became of requests: questions, cheap answers, and whether those were good."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from numbers import Real
from typing import Any, Literal, NotRequired, Protocol, TypedDict

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompt_values import PromptValue

from langchain_lean.checks import is_finite
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import last_human_text, message_text, prompt_messages


class Outcome(TypedDict):
    """A request, and whether the cheap answer to it was good.

    Attributes:
        question: What was asked: a text, or the messages.
        answer: The cheap answer: its text, or the message; None, or not there, to learn
            from the question alone.
        good: Whether it was good.
        strong_good: Whether the answer of the strong model was good, where that is
            known.
    """

    question: str | Sequence[BaseMessage]
    answer: NotRequired[str | AIMessage | None]
    good: bool
    strong_good: NotRequired[bool | None]


class Table(Protocol):
    """A pandas DataFrame, of which this is used."""

    def to_dict(self, orient: Literal["records"]) -> Any:
        """Its rows as mappings."""


Outcomes = Iterable[Mapping[str, Any]] | Table
"""Mappings such as `Outcome`, or a DataFrame with their keys as columns."""


@dataclass(frozen=True, slots=True)
class Row:
    """An outcome that was looked at.

    Attributes:
        messages: What was asked.
        answer: The cheap answer, if there is one.
        good: Whether it was good.
        strong_good: Whether the strong model's was; None where that is not known.
    """

    messages: Sequence[BaseMessage]
    answer: AIMessage | None
    good: bool
    strong_good: bool | None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of the question and, if there is one, of the answer."""
        return texts_of(self.messages, self.answer)


def texts_of(
    messages: Sequence[BaseMessage], answer: AIMessage | None
) -> tuple[str, ...]:
    """What is read of a request: its last human text and, if there is one, the answer.

    Args:
        messages: What was asked.
        answer: The cheap answer.
    """
    question = last_human_text(messages)
    return (question,) if answer is None else (question, message_text(answer))


def rows_of(outcomes: Outcomes) -> list[Row]:
    """Read outcomes.

    Args:
        outcomes: The outcomes; of a DataFrame, a missing answer or `strong_good` is
            one that is not known.

    Returns:
        A row for each, all of them with an answer or none, and all with `strong_good`
        or none.

    Raises:
        ConfigurationError: If they are something else, or there are none.
    """
    to_dict = getattr(outcomes, "to_dict", None)
    found = to_dict("records") if callable(to_dict) else outcomes
    if isinstance(found, str | Mapping) or not isinstance(found, Iterable):
        msg = (
            "Outcomes are mappings with question, answer and good, or a DataFrame "
            f"with these columns, not {type(outcomes).__name__}."
        )
        raise ConfigurationError(msg)
    rows = [_row(number, outcome) for number, outcome in enumerate(found)]
    if not rows:
        msg = "There are no outcomes: give at least one."
        raise ConfigurationError(msg)
    for key in ("answer", "strong_good"):
        missing = sum(getattr(row, key) is None for row in rows)
        if 0 < missing < len(rows):
            msg = (
                f"{missing} of {len(rows)} outcomes have no {key}: "
                "give it in all of them, or in none."
            )
            raise ConfigurationError(msg)
    return rows


def messages_of(question: object) -> list[BaseMessage]:
    """A question as messages.

    Raises:
        ConfigurationError: If it is neither a text nor messages.
    """
    if isinstance(question, str | Sequence | PromptValue):
        with suppress(ValueError, TypeError, NotImplementedError):
            return prompt_messages(question)
    msg = f"A question is a text or a list of messages, not {type(question).__name__}."
    raise ConfigurationError(msg)


def answer_of(answer: object) -> AIMessage | None:
    """An answer as a message, or None.

    Raises:
        ConfigurationError: If it is neither a text nor a message of a model.
    """
    if _is_missing(answer):
        return None
    if isinstance(answer, str):
        return AIMessage(answer)
    if isinstance(answer, AIMessage):
        return answer
    msg = f"An answer is a text, an AIMessage or None, not {type(answer).__name__}."
    raise ConfigurationError(msg)


def digest_of(texts: Sequence[str]) -> int:
    """A hash of 8 bytes of what is read of a row, to know it again."""
    joined = "\0".join(texts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(joined, digest_size=8).digest(), "big")


def _row(number: int, outcome: object) -> Row:
    if not isinstance(outcome, Mapping):
        msg = f"Outcome {number} is no mapping but {type(outcome).__name__}."
        raise ConfigurationError(msg)
    missing = [key for key in ("question", "good") if key not in outcome]
    if missing:
        msg = f"Outcome {number} has no {missing[0]!r}."
        raise ConfigurationError(msg)
    try:
        messages = messages_of(outcome["question"])
        answer = answer_of(outcome.get("answer"))
    except ConfigurationError as error:
        msg = f"Outcome {number}: {error}"
        raise ConfigurationError(msg) from None
    strong = outcome.get("strong_good")
    return Row(
        messages,
        answer,
        _verdict(number, "good", outcome["good"]),
        None if _is_missing(strong) else _verdict(number, "strong_good", strong),
    )


def _verdict(number: int, key: str, value: object) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if is_finite(value) and value in (0, 1):
        return bool(value)
    shown = value if isinstance(value, Real) else type(value).__name__
    msg = f"Outcome {number}: {key} is True or False, not {shown}."
    raise ConfigurationError(msg)


def _is_missing(value: object) -> bool:
    """Whether it is None, or what pandas puts in its place."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")
