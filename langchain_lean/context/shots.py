"""Examples as values: what they look like in a prompt, and which are near to a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.prompts import BaseChatPromptTemplate, StringPromptTemplate
from langchain_core.prompts.message import BaseMessagePromptTemplate
from numpy.typing import NDArray

from langchain_lean.errors import ConfigurationError

Example = dict[str, str]
"""An example: its texts, by the names a prompt template has for them."""

ExamplePrompt = (
    StringPromptTemplate | BaseChatPromptTemplate | BaseMessagePromptTemplate
)
"""What renders an example: a template of a text, or of messages."""

Rows = NDArray[np.float64]
"""Vectors of length 1, one a row; 0 for a text without a direction."""


@dataclass(frozen=True, slots=True)
class Shot:
    """An example, and what stands in the prompt for it.

    Attributes:
        example: Its texts.
        text: Its rendered text, where the prompt is one.
        messages: Its messages, where the prompt is a chat.
    """

    example: Example
    text: str = ""
    messages: tuple[BaseMessage, ...] = ()

    @property
    def identity(self) -> frozenset[tuple[str, str]]:
        """The same for equal examples."""
        return frozenset(self.example.items())


def rendered(example: Example, prompt: ExamplePrompt | None, *, position: int) -> Shot:
    """An example as the prompt shows it; without one, each value as a message.

    Raises:
        ConfigurationError: If the example lacks a variable of the prompt.
    """
    if prompt is None:
        return Shot(example, messages=tuple(map(HumanMessage, example.values())))
    require(example, prompt.input_variables, "example_prompt", position)
    shown = {key: example[key] for key in prompt.input_variables}
    if isinstance(prompt, StringPromptTemplate):
        return Shot(example, text=prompt.format(**shown))
    return Shot(example, messages=tuple(prompt.format_messages(**shown)))


def compared(texts: Mapping[str, str], keys: Sequence[str]) -> str:
    """The text of an example, or of an input, that tells how near the two are."""
    return "\n".join(texts[key] for key in keys)


def directions(vectors: Sequence[Sequence[float]], count: int) -> Rows:
    """What embeddings gave for a number of texts, as vectors of length 1.

    Raises:
        ConfigurationError: If these are not that many vectors of finite numbers.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != count or not np.isfinite(rows).all():
        raise ConfigurationError(
            f"The embeddings gave something else than {count} vectors of finite "
            "numbers for as many texts; use others."
        )
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Rows = rows / np.where(lengths == 0, 1, lengths)
    return unit


def nearest(rows: Rows, direction: Rows, min_similarity: float) -> list[int]:
    """Which rows are near enough, nearest first, and equally near ones by position."""
    # Noise in the last digits must not part equal texts, nor keep them below 1.
    similarity = np.round(rows @ direction, 6)
    order: list[int] = np.argsort(-similarity, kind="stable").tolist()
    return [at for at in order if similarity[at] >= min_similarity]


def packed(
    wanted: Sequence[int], *, most: int, fits: Callable[[Sequence[int]], bool]
) -> list[int]:
    """As many of the wanted positions, the first ones first, as fit; then in order."""
    chosen: list[int] = []
    for position in wanted:
        if len(chosen) == most:
            break
        tried = sorted([*chosen, position])
        if fits(tried):
            chosen = tried
    return chosen


def checked_example(example: object, position: int) -> Example:
    """A copy of an example.

    Raises:
        ConfigurationError: If it is no dictionary of texts.
    """
    if not isinstance(example, Mapping):
        kind = type(example).__name__
        raise ConfigurationError(
            f"Example {position} is a dictionary of texts, not {kind}."
        )
    for key, text in example.items():
        if not (isinstance(key, str) and isinstance(text, str)):
            kind = type(text).__name__
            raise ConfigurationError(
                f"Example {position} is a dictionary of texts, but has {kind} at "
                f"{key!r}; make it a text."
            )
    return dict(example)


def require(example: Example, keys: Sequence[str], option: str, position: int) -> None:
    """Check that an example has what an option asks for.

    Raises:
        ConfigurationError: If it lacks a key.
    """
    missing = [key for key in keys if key not in example]
    if missing:
        raise ConfigurationError(
            f"Example {position} lacks {missing[0]!r}, which {option}= asks for; "
            "add it to the example."
        )
