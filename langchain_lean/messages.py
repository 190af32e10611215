"""Pure helpers on message lists."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.prompt_values import PromptValue

from langchain_lean.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput

EXAMPLE_NAMES = ("example_user", "example_assistant")
"""The names OpenAI documents for messages that are few-shot examples."""

_WITHOUT_TEXT = (None, "tool_use", "tool_call", "function_call")
_WITH_TEXT = ("text", "content", "output", "stdout", "stderr", "code", "refusal")
_DEEPEST = 8  # blocks within blocks

_SAID = {"user": "human", "assistant": "ai", "system": "system", "tool": "tool"}

_CHUNKS = {
    "AIMessageChunk": "ai",
    "HumanMessageChunk": "human",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
}


def role(message: BaseMessage) -> str:
    """What a message is: `system`, `human`, `ai`, `tool`; chunks as what they become.

    Asked instead of `isinstance`, which is slow on LangChain's message classes.
    """
    kind = message.type
    if kind == "chat":  # a ChatMessage says it in a provider's word
        return _SAID.get(message.__dict__.get("role", ""), kind)
    return _CHUNKS.get(kind, kind)


def message_text(message: BaseMessage) -> str:
    """The text of a message, tool calls included.

    Args:
        message: Any message.

    Returns:
        Its text blocks, then its tool calls as JSON. Media stand as `[image]` and
        the like, so that a picture is not counted as a megabyte of text.
    """
    content = message.content
    if isinstance(content, str):
        text = content
    else:
        text = "\n".join(_block_text(block) for block in content)
    calls = tool_calls(message)
    if not calls:
        return text
    called = [{"name": call["name"], "args": call["args"]} for call in calls]
    return text + json.dumps(called, ensure_ascii=False, default=str)


def tool_calls(message: BaseMessage) -> list[ToolCall]:
    """The tool calls of an answer; none for any other message."""
    return message.__dict__.get("tool_calls") or []


def call_ids(message: BaseMessage) -> list[str | None]:
    """The ids of the tool calls of an answer, of those that could not be read, too."""
    broken = message.__dict__.get("invalid_tool_calls") or ()
    return [call["id"] for call in (*tool_calls(message), *broken)]


def last_human_index(messages: Sequence[BaseMessage]) -> int:
    """Where the last human message stands; -1 if there is none."""
    for index in range(len(messages) - 1, -1, -1):
        if role(messages[index]) == "human":
            return index
    return -1


def last_human_text(messages: Sequence[BaseMessage]) -> str:
    """The text of the last human message, or an empty text."""
    index = last_human_index(messages)
    return message_text(messages[index]) if index >= 0 else ""


def static_prefix(messages: Sequence[BaseMessage]) -> int:
    """How many messages stand at the start that no turn of a chat changes.

    These are the system messages a list begins with, and the examples among them:
    messages named `example_user` or `example_assistant` (the names OpenAI documents
    for few-shot examples), and human/AI pairs that stand before a system message.

    Args:
        messages: A prompt, in order.

    Returns:
        The number of leading messages; 0 if the list does not begin with one.
    """
    end = index = 0
    while index < len(messages):
        if is_static(messages[index]):
            index += 1
            end = index
        elif is_example_pair(messages[index : index + 2]):
            index += 2
        else:
            break
    return end


def is_static(message: BaseMessage) -> bool:
    """Whether a message says by itself that no turn changes it.

    These are system messages, and those with one of `EXAMPLE_NAMES`.
    """
    return role(message) == "system" or message.name in EXAMPLE_NAMES


def is_example_pair(pair: Sequence[BaseMessage]) -> bool:
    """Whether two messages are a human one and an answer without tool calls."""
    if len(pair) != 2:
        return False
    human, answer = pair
    roles = (role(human), role(answer))
    return roles == ("human", "ai") and not tool_calls(answer)


def turns(
    messages: Sequence[BaseMessage], *, begins: str = "human"
) -> list[list[BaseMessage]]:
    """Split a chat into turns that can be dropped whole.

    A turn begins with a human message and holds every answer, tool call and tool
    result up to the next one. A call is never parted from its result: a human message
    between the two begins no turn.

    Args:
        messages: A chat, in order.
        begins: The role a turn begins with; with `ai`, a turn of a chat is split into
            the steps of an agent.

    Returns:
        The turns in order; what stands before the first human message is the first.
    """
    found: list[list[BaseMessage]] = []
    ends = _last_results(messages)
    answered = -1  # up to here, calls wait for results
    for position, message in enumerate(messages):
        if not found or (role(message) == begins and position > answered):
            found.append([])
        found[-1].append(message)
        answered = max(answered, ends.get(position, -1))
    return found


def _last_results(messages: Sequence[BaseMessage]) -> dict[int, int]:
    """Where the last result of each message with tool calls stands.

    An id may come back; a result belongs to the newest call with its id.
    """
    called: dict[str | None, int] = {}
    ends: dict[int, int] = {}
    for position, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if (call := called.get(message.tool_call_id)) is not None:
                ends[call] = position
        else:
            called.update(dict.fromkeys(call_ids(message), position))
    return ends


def unpaired_tool_messages(messages: Sequence[BaseMessage]) -> list[ToolMessage]:
    """The tool results whose call does not stand before them; providers refuse those.

    Args:
        messages: A chat, in order.

    Returns:
        The results without a call, in order.
    """
    called: set[str | None] = set()
    orphans = []
    for message in messages:
        called.update(call_ids(message))
        if isinstance(message, ToolMessage) and message.tool_call_id not in called:
            orphans.append(message)
    return orphans


def prompt_messages(prompt: "LanguageModelInput") -> list[BaseMessage]:
    """The messages of whatever a chat model takes."""
    if isinstance(prompt, PromptValue):
        return prompt.to_messages()
    return convert_to_messages([prompt] if isinstance(prompt, str) else prompt)


def state_messages(state: Any, key: str, *, taker: str) -> list[BaseMessage] | None:
    """The messages of a graph's state.

    Args:
        state: A mapping or an object.
        key: Where it has them.
        taker: Who asks, for the error.

    Returns:
        Its messages; None where the state has none under that key.

    Raises:
        ConfigurationError: If something else stands there.
    """
    found = state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)
    start = found[:1] if isinstance(found, list | tuple) else [found]
    if found is None or all(isinstance(message, BaseMessage) for message in start):
        return found if found is None else list(found)
    if isinstance(found, list | tuple):
        kind = type(start[0]).__name__
        msg = f"{taker} takes a state whose {key!r} are messages, not of {kind}."
        raise ConfigurationError(msg)
    raise ConfigurationError(not_taken(taker, key, found))


def not_taken(taker: str, key: str, given: object) -> str:
    """What to say of something that is neither messages nor a state with them."""
    return (
        f"{taker} takes messages, a prompt, or a state with {key!r}, "
        f"not {type(given).__name__}."
    )


def instructed(messages: Sequence[BaseMessage], instruction: str) -> list[BaseMessage]:
    """The messages with an instruction at the end of the first system message.

    There it disturbs no cached prefix as long as it stays the same.

    Args:
        messages: A prompt; gets a system message where it has none.
        instruction: What is to stand there.
    """
    for index, message in enumerate(messages):
        if role(message) == "system":
            content: Any = message.content
            if isinstance(content, str):
                content = f"{content}\n\n{instruction}" if content else instruction
            else:
                content = [*content, {"type": "text", "text": instruction}]
            extended = message.model_copy(update={"content": content})
            return [*messages[:index], extended, *messages[index + 1 :]]
    return [SystemMessage(instruction), *messages]


def note(
    message: AIMessage, *, lever: str, action: str, reason: str, **details: object
) -> None:
    """Say on an answer what was done to it, in `response_metadata["lean"]`.

    Args:
        message: The answer; its list of notes is extended.
        lever: Who did it, such as `budget`.
        action: What was done, in a word.
        reason: Why, or how far it went, without anything a user wrote.
        details: What else is to be read from it, as plain values.
    """
    done = {"lever": lever, "action": action, "reason": reason, **details}
    notes = message.response_metadata.get("lean", [])
    message.response_metadata["lean"] = [*notes, done]


def _block_text(block: object, depth: int = 0) -> str:
    """The text of a block, of what is nested in it, too; else what it is."""
    if isinstance(block, str):
        return block
    if not isinstance(block, Mapping) or depth > _DEEPEST:
        return ""
    kind = block.get("type")
    keys: tuple[str, ...] = _WITH_TEXT
    if kind is None and len(block) == 1:  # Bedrock Converse names a block by its key
        [kind] = block
        keys = (*keys, kind)
    if kind == "cachePoint":
        return ""
    if isinstance(value := block.get("json"), dict | list):
        return json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    source = block.get("source")
    if isinstance(source, Mapping):  # a document's; pictures and files have no text
        plain = source.get("type") == "text"
        source = source.get("data" if plain else "content") or source.get("text")
    parts = [block.get(key) for key in keys]
    inside = [_nested_text(part, depth) for part in (*parts, source)]
    text = "\n".join(dict.fromkeys(filter(None, inside)))
    title = block.get("title")
    named = [f"[{kind}]"] if not text and kind not in _WITHOUT_TEXT else []
    titled = [title] if isinstance(title, str) else []
    return "\n".join(filter(None, [*named, *titled, text]))


def _nested_text(part: object, depth: int) -> str:
    parts = part if isinstance(part, list | tuple) else [part]
    return "\n".join(filter(None, [_block_text(each, depth + 1) for each in parts]))
