"""Where the tokens of a call go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

from langchain_core.messages import BaseMessage, SystemMessage

from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.messages import last_human_index, static_prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """Where tokens (or characters, while they are being counted) went.

    Attributes:
        system: System messages.
        tools: Schemas of the tools a call was given.
        examples: Few-shot examples in the static prefix, see
            `langchain_lean.messages.static_prefix`.
        retrieved: Documents that the trace's retrievers returned, wherever they
            stand in the prompt.
        history: Earlier turns, tool calls and tool results.
        question: The last human message, documents in it aside.
        output: The answer.
    """

    system: int = 0
    tools: int = 0
    examples: int = 0
    retrieved: int = 0
    history: int = 0
    question: int = 0
    output: int = 0

    def __add__(self, other: "Anatomy") -> "Anatomy":
        """Add two, part by part."""
        if not isinstance(other, Anatomy):
            return NotImplemented
        pairs = zip(_values(self), _values(other), strict=True)
        return Anatomy(**dict(zip(PARTS, (a + b for a, b in pairs), strict=True)))

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(_values(self))

    def shares(self) -> dict[str, float]:
        """Each part as a share of all, from 0 to 1; all 0 where there is nothing."""
        whole = self.total or 1
        return {name: value / whole for name, value in self.parts().items()}

    def parts(self) -> dict[str, int]:
        """The parts by name, in the order they stand in a prompt."""
        return dict(zip(PARTS, _values(self), strict=True))


PARTS = tuple(part.name for part in fields(Anatomy))
_values = attrgetter(*PARTS)

_INPUT_PARTS = PARTS[:-1]


def prompt_anatomy(
    messages: Sequence[BaseMessage],
    lengths: Sequence[int],
    *,
    tools: int = 0,
    retrieved: Mapping[int, int] | None = None,
) -> Anatomy:
    """Measure a prompt, in characters.

    Args:
        messages: The prompt.
        lengths: The characters of each message.
        tools: The characters of the tool schemas.
        retrieved: By the index of a message, how many of its characters are
            retrieved documents.

    Returns:
        The parts, in characters; `output` is 0.
    """
    prefix = static_prefix(messages)
    question = last_human_index(messages)
    found = retrieved or {}
    system = sum(
        length
        for message, length in zip(messages, lengths, strict=True)
        if isinstance(message, SystemMessage)
    )
    examples = sum(lengths[:prefix]) - sum(
        length
        for message, length in zip(messages[:prefix], lengths, strict=False)
        if isinstance(message, SystemMessage)
    )
    asked = lengths[question] if question >= prefix else 0
    history = sum(lengths) - system - examples - asked
    parts = {"system": system, "examples": examples, "question": asked}
    for index, characters in found.items():
        if isinstance(messages[index], SystemMessage):
            parts["system"] -= characters
        elif index < prefix:
            parts["examples"] -= characters
        elif index == question:
            parts["question"] -= characters
        else:
            history -= characters
    return Anatomy(**parts, history=history, tools=tools, retrieved=sum(found.values()))


def retrieved_characters(text: str, documents: Sequence[str]) -> int:
    """How many characters of a text are documents that stand in it whole.

    Args:
        text: The text of a message.
        documents: The retrieved documents.

    Returns:
        Their characters, never more than the text has.
    """
    size = sum(text.count(document) * len(document) for document in set(documents))
    return min(size, len(text))


def in_tokens(characters: Anatomy, usage: TokenUsage) -> Anatomy:
    """Scale a prompt's characters to the tokens a provider counted.

    Args:
        characters: The parts of the prompt, in characters.
        usage: What the call used.

    Returns:
        The parts in tokens: the input parts sum to `usage.input` exactly (what
        rounding leaves goes to the largest), `output` is `usage.output`.
    """
    values = _values(characters)[:-1]
    whole = sum(values)
    if not whole:
        return Anatomy(question=usage.input, output=usage.output)
    tokens = [value * usage.input // whole for value in values]
    tokens[max(range(len(values)), key=values.__getitem__)] += usage.input - sum(tokens)
    parts = dict(zip(_INPUT_PARTS, tokens, strict=True))
    return Anatomy(**parts, output=usage.output)
