"""The one last answer without tools, for when no more can be spent.

Tool calls and results are put into words: providers refuse messages with tool calls
where no tools are given, and a tool that is offered may be called.
"""

from collections.abc import Sequence

from langchain_core.messages import BaseMessage, HumanMessage

from langchain_lean.in_words import in_words

INSTRUCTION = (
    "Nothing more can be looked up or tried. Answer now, briefly, from what stands "
    "above, and say plainly what is missing."
)

OUTPUT = 256
"""Tokens of a last answer."""


def finishing(
    messages: Sequence[BaseMessage], *, instruction: str = INSTRUCTION
) -> list[BaseMessage]:
    """The messages that ask for a last answer.

    Args:
        messages: The chat so far, with tool calls that may have no result yet.
        instruction: What is asked of the model in the end.

    Returns:
        The chat in words, without tool calls, and the instruction.
    """
    return [*in_words(messages), HumanMessage(instruction)]
