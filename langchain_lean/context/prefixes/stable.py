"""Prompts in an order in which as much as can be is equal from call to call."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage

from langchain_lean.context.prefixes.tools import stable_tools
from langchain_lean.context.prefixes.volatile import (
    Volatile,
    is_volatile,
    parted,
    says_volatile,
)
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import (
    EXAMPLE_NAMES,
    last_human_index,
    prompt_messages,
    role,
    static_prefix,
)

_SEPARATOR = "\n\n"


@dataclass(frozen=True, slots=True)
class StablePrompt:
    """A prompt whose static parts stand first.

    Attributes:
        messages: The messages, for the model.
        tools: The tools, for `bind_tools`.
    """

    messages: tuple[BaseMessage, ...]
    tools: tuple[Any, ...] = ()


def stable_prefix(
    messages: LanguageModelInput,
    tools: Sequence[Any] = (),
    *,
    volatile: Volatile = is_volatile,
) -> StablePrompt:
    """Put first what is equal from call to call, so that the provider caches it.

    Sentences of the leading system messages that change from call to call (by default
    the current date or time, timestamps, UUIDs, ids of requests and sessions) go
    behind the text of the last human message: in front of it they would keep a long
    question, and what was retrieved for it, from being equal in the next call.
    They then have the weight of a user's words. Nothing else is taken out of the
    system messages, and nothing is lost. Where no human message follows, they stay.

    Tools are sorted by name. A prompt that begins with no system message gets its
    first ones put to the front; later ones stay where they stand, since a place in a
    chat may be meant. Turns keep their order.

    Args:
        messages: A prompt; it stays as it is.
        tools: Its tools, in any form that `bind_tools` takes.
        volatile: What changes from call to call instead: a compiled pattern that is
            found in a line or a sentence, or a predicate on one; `is_volatile` is the
            default. `re.compile(r"(?!)")` leaves all text where it is.

    Returns:
        The prompt and the tools in their stable order. Done again, it changes nothing.

    Raises:
        ConfigurationError: If `volatile` is neither a pattern nor a predicate.

    Example:
        ```python
        prompt = stable_prefix(messages, tools)
        model.bind_tools(prompt.tools).invoke(prompt.messages)
        ```
    """
    says = says_volatile(volatile)
    prompt = prompt_messages(messages)
    stable = _arranged(prompt, says)
    while len(stable) < len(prompt):  # where one was emptied, others may lead now
        prompt, stable = stable, _arranged(stable, says)
    return StablePrompt(tuple(stable), stable_tools(tools))


def before_question(
    messages: LanguageModelInput,
    documents: Sequence[Document],
    *,
    render: Callable[[Sequence[Document]], str] | None = None,
) -> list[BaseMessage]:
    """Put retrieved documents in front of the question, behind the stable prefix.

    In a system message they would change the prompt's first bytes with every question.

    Args:
        messages: A prompt; it stays as it is.
        documents: What was retrieved for its last human message, in order; see
            `in_thread_order`.
        render: The documents as one text; by default their texts with an empty line
            between two.

    Returns:
        The prompt with the documents at the start of its last human message.

    Raises:
        ConfigurationError: If there are documents, but no human message.
    """
    prompt = list(prompt_messages(messages))
    if not documents:
        return prompt
    index = last_human_index(prompt)
    if index < 0:
        msg = "Documents go in front of a question; add a human message with one."
        raise ConfigurationError(msg)
    text = (render or _texts)(documents)
    prompt[index] = _with_text(prompt[index], text, front=True)
    return prompt


def in_thread_order(
    documents: Iterable[Document], before: Iterable[Document]
) -> list[Document]:
    """Order documents so that those a thread was already sent come first, as they did.

    Documents are the same where their text is: that is what a provider's cache
    compares. One whose text was cut otherwise for this question is a new one.

    Args:
        documents: What was retrieved now, the best first.
        before: What was sent in this thread before, in the order it was sent.

    Returns:
        The documents of now: the known ones in their earlier order, then the new ones
        by rank.
    """
    place: dict[str, int] = {}
    for document in before:
        place.setdefault(document.page_content, len(place))
    return sorted(documents, key=lambda d: place.get(d.page_content, len(place)))


def _arranged(
    messages: Sequence[BaseMessage], volatile: Callable[[str], object]
) -> list[BaseMessage]:
    return _volatile_last(_systems_first(messages), volatile)


def _systems_first(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Where the prompt has its first system messages behind others, those first."""
    start = next((i for i, m in enumerate(messages) if role(m) == "system"), 0)
    if static_prefix(messages) or not start:
        return list(messages)
    end = start
    while end < len(messages) and role(messages[end]) == "system":
        end += 1
    return [*messages[start:end], *messages[:start], *messages[end:]]


def _volatile_last(
    messages: Sequence[BaseMessage], volatile: Callable[[str], object]
) -> list[BaseMessage]:
    prefix = static_prefix(messages)
    question = last_human_index(messages)
    if question < prefix:
        return list(messages)
    kept: list[BaseMessage] = []
    moved: list[str] = []
    for index, message in enumerate(messages):
        instructs = role(message) == "system" and message.name not in EXAMPLE_NAMES
        if index < prefix and instructs:
            stays, pieces = _parted(message, volatile)
            moved += pieces
            kept += [] if stays is None else [stays]
        elif index == question and moved:
            kept.append(_with_text(message, "\n".join(moved), front=False))
        else:
            kept.append(message)
    return kept


def _parted(
    message: BaseMessage, volatile: Callable[[str], object]
) -> tuple[BaseMessage | None, list[str]]:
    """A system message without what changes, None if nothing is left of it."""
    content = message.content
    if isinstance(content, str):
        text, gone = parted(content, volatile)
        if not gone:
            return message, []
        return (_of(message, text) if text.strip() else None), gone
    blocks: list[Any] = []
    moved: list[str] = []
    for block in content:
        stays, gone = _parted_block(block, volatile)
        moved += gone
        blocks += [] if stays is None else [stays]
    if not moved:
        return message, []
    return (_of(message, blocks) if blocks else None), moved


def _parted_block(
    block: Any, volatile: Callable[[str], object]
) -> tuple[Any, list[str]]:
    if isinstance(block, str):
        text, gone = parted(block, volatile)
        return (text if text.strip() or not gone else None), gone
    if not isinstance(block.get("text"), str):
        return block, []
    text, gone = parted(block["text"], volatile)
    if not gone:
        return block, []
    if text.strip():
        return {**block, "text": text}, gone
    # A provider refuses a mark on no text, so what is marked stays.
    return (None, gone) if block.keys() <= {"type", "text", "id"} else (block, [])


def _with_text(message: BaseMessage, text: str, *, front: bool) -> BaseMessage:
    content = message.content
    if isinstance(content, str):
        parts = [text, content] if front else [content, text]
        return _of(message, _SEPARATOR.join(filter(None, parts)))
    block = {"type": "text", "text": text}
    return _of(message, [block, *content] if front else [*content, block])


def _of(message: BaseMessage, content: str | list[Any]) -> BaseMessage:
    return message.model_copy(update={"content": content})


def _texts(documents: Sequence[Document]) -> str:
    return _SEPARATOR.join(document.page_content for document in documents)
