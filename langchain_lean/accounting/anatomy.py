"""Where the tokens of a call go."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter

from langchain_core.messages import BaseMessage

from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.messages import EXAMPLE_NAMES, last_human_index, static_prefix


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
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

    def __repr__(self) -> str:
        shown = (f"{name}={value}" for name, value in self.parts().items() if value)
        return f"Anatomy({', '.join(shown)})"

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

Characters = dict[str, int]
"""How many characters each part of a prompt has; parts without any may be missing."""


def prompt_characters(
    messages: Sequence[BaseMessage],
    lengths: Sequence[int],
    *,
    tools: int = 0,
    retrieved: Mapping[int, int] | None = None,
) -> Characters:
    """Measure a prompt.

    Args:
        messages: The prompt.
        lengths: The characters of each message.
        tools: The characters of the tool schemas.
        retrieved: By the index of a message, how many of its characters are
            retrieved documents.

    Returns:
        The characters of each part of the input.
    """
    prefix = static_prefix(messages)
    question = last_human_index(messages)
    systems = [
        index
        for index, message in enumerate(messages)
        if message.type == "system" and message.name not in EXAMPLE_NAMES
    ]
    system = sum([lengths[index] for index in systems])
    leading = [lengths[index] for index in systems if index < prefix]
    examples = sum(lengths[:prefix]) - sum(leading)
    asked = lengths[question] if question >= prefix else 0
    parts = {
        "system": system,
        "examples": examples,
        "question": asked,
        "history": sum(lengths) - system - examples - asked,
        "tools": tools,
    }
    for index, characters in (retrieved or {}).items():
        part = "history"
        if index in systems:
            part = "system"
        elif index < prefix:
            part = "examples"
        elif index == question:
            part = "question"
        parts[part] -= characters
        parts["retrieved"] = parts.get("retrieved", 0) + characters
    return parts


def retrieved_characters(text: str, documents: Collection[str]) -> int:
    """How many characters of a text are documents that stand in it whole.

    Args:
        text: The text of a message.
        documents: The retrieved documents.

    Returns:
        Their characters, never more than the text has.
    """
    size = sum(text.count(document) * len(document) for document in set(documents))
    return min(size, len(text))


def in_tokens(
    characters: Characters, usage: TokenUsage, *, preamble: int = 0
) -> Anatomy:
    """Scale a prompt's characters to the tokens a provider counted.

    Args:
        characters: The characters of each part of the prompt.
        usage: What the call used.
        preamble: Tokens of text the provider adds for tools, part of `tools`.

    Returns:
        The parts in tokens: the input parts sum to `usage.input` exactly (what
        rounding leaves goes to the largest), `output` is `usage.output`.
    """
    if 0 < preamble < usage.input:
        own = TokenUsage(input=usage.input - preamble, output=usage.output)
        scaled = in_tokens(characters, own)
        return replace(scaled, tools=scaled.tools + preamble)
    given = {name: size for name, size in characters.items() if size}
    if len(given) < 2:
        part = next(iter(given), "question")
        return Anatomy(**{part: usage.input}, output=usage.output)
    whole = sum(given.values())
    parts = {name: size * usage.input // whole for name, size in given.items()}
    largest = max(given, key=given.__getitem__)
    parts[largest] += usage.input - sum(parts.values())
    return Anatomy(**parts, output=usage.output)
