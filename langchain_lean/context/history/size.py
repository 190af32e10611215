"""How many tokens the parts of a conversation have, counted no further than needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langchain_lean.accounting.left_out import would_be_cached
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.errors import UsageError
from langchain_lean.messages import message_text

_NEWEST = 100  # messages; most limits are passed by so many
_COUNTED = 400  # messages; the size of more is estimated
_SAMPLE = 16  # messages that tell whether a reported usage can be that of them all


class Sizes:
    """Counts what one model reads.

    Args:
        counter: Counts tokens.
        model: The model's name, if it is known.
        provider: Its provider, if it is known.
        tools: The tools it is given with every call.
    """

    def __init__(
        self,
        counter: TokenCounter,
        model: str | None,
        provider: str | None,
        tools: Sequence[Any],
    ) -> None:
        self._counter, self._tools = counter, tools
        self._model, self._provider = model, provider

    def text(self, text: str) -> int:
        """Tokens of a text."""
        return self._counter.count(text, model=self._model)

    def messages(self, messages: Sequence[BaseMessage]) -> int:
        """Tokens of messages, without tools."""
        return self._counter.count(messages, model=self._model)

    def prompt(self, messages: Sequence[BaseMessage]) -> int:
        """Tokens of a call with these messages and the tools."""
        return self._counter.count(messages, model=self._model, tools=self._tools)

    def exceed(self, messages: Sequence[BaseMessage], limit: int) -> bool:
        """Whether a call with these messages has more tokens than a limit."""
        if self.prompt(messages[-_NEWEST:]) > limit:
            return True
        return len(messages) > _NEWEST and self.prompt(messages) > limit

    def about(self, messages: Sequence[BaseMessage]) -> int:
        """Tokens of messages; of many, a sample counted and scaled by its length."""
        if len(messages) <= _COUNTED:
            return self.messages(messages)
        sample = messages[:: len(messages) // _NEWEST]
        length, whole = _characters(sample), _characters(messages)
        return self.messages(sample) * whole // max(length, 1)

    def reported(self, messages: Sequence[BaseMessage]) -> int | None:
        """Tokens that a call with these messages has at most, by what was reported.

        The newest answer that has its usage knows all that stands before it; only what
        is new is counted. An answer from before a compression has read more than there
        is now, which is still a bound.

        Returns:
            None where no answer reports a usage that can be that of the whole.
        """
        position, usage = _newest_usage(messages)
        if usage is None or 2 * usage.input < self._guess(messages, position):
            return None
        new = messages[position + 1 :]
        return usage.total + self.messages(new)

    def _guess(self, messages: Sequence[BaseMessage], end: int) -> int:
        """About how many tokens the messages before one have, by a few of them."""
        step = end // _SAMPLE | 1  # an odd one meets questions and answers alike
        sample = [messages[at] for at in range(0, end, step)]
        return self.messages(sample) * end // max(1, len(sample))

    def cached(self, messages: Sequence[BaseMessage], whole: int) -> bool | None:
        """Whether the provider would read the whole of a conversation from its cache.

        Args:
            messages: The conversation as it is sent; its newest answer tells.
            whole: Tokens it would have if nothing had left.

        Returns:
            None where the answer tells nothing.
        """
        _, usage = _newest_usage(messages)
        if usage is None:
            return None
        return would_be_cached(usage, whole, self._provider)


def _newest_usage(messages: Sequence[BaseMessage]) -> tuple[int, TokenUsage | None]:
    """Where the newest answer stands, and what it reports to have used."""
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if isinstance(message, AIMessage):
            try:
                return position, TokenUsage.from_message(message)
            except UsageError:
                return position, None
    return -1, None


def _characters(messages: Sequence[BaseMessage]) -> int:
    return sum(map(len, map(message_text, messages)))
