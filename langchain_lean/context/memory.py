"""A memory that sums up what leaves a conversation, rarely and by a lot."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from functools import partial
from itertools import takewhile
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
)
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnablePassthrough
from langgraph.graph import MessagesState

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.budgets.model import BudgetedModel
from langchain_lean.checks import checked_count
from langchain_lean.context.history import transcript
from langchain_lean.context.history.remembered import Remembered
from langchain_lean.context.history.selection import Pin, summary_ahead
from langchain_lean.context.history.shortening import (
    Asking,
    Rules,
    Short,
    Shortener,
)
from langchain_lean.context.history.size import Sizes
from langchain_lean.context.history.summary import Summary
from langchain_lean.context.history.views import continued, distinct, update
from langchain_lean.context.history.worth import prices_of
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import (
    is_static,
    not_taken,
    prompt_messages,
    state_messages,
)
from langchain_lean.models import (
    capped,
    chat_model_of,
    ls_params,
    own_call,
    thinking_budget,
    without_tools,
)
from langchain_lean.steps import adrive, drive

_REMEMBERED = 1_000  # summaries of chains; about 2 kB each at the default cap
_OF_LIMIT = 0.9  # of a model's window: a count is an estimate
_READ_AT_ONCE = 16_000  # tokens; summaries of more leave out what stands in the middle


class MemoryState(MessagesState):
    """The state of a graph whose memory keeps the history.

    Attributes:
        short_messages: What to send instead of `messages`.
    """

    short_messages: list[AnyMessage]


class SummaryMemory(Runnable[Any, Any]):
    """Keeps a conversation short: the older part as notes, the newer word by word.

    Where a conversation has grown past `max_tokens`, its oldest turns leave until
    `keep_tokens` of turns are left, and a model writes down what they said. Between
    two such moments the prompt only grows at its end, so that a provider's prompt
    cache keeps hitting. Notes are added to those taken before; only where they would
    pass `max_summary_tokens` they are written anew, with the older ones in view.

    System messages, examples by name, pinned messages, tool calls with their results
    and the last human turn stay whole and in their places. Nothing leaves unread. A
    summarizer that fails, is refused or answers with an error leaves the conversation
    as it was until the next call.

    It is called in three ways:

    - as a node of a graph, with a state: returns the update of `messages`, which
      removes the messages that leave from the state, by their ids, so that what
      another branch adds is kept. Two branches that change or remove the same message
      at once conflict, as they always do;
    - the same with `keep_history=True`: leaves `messages` alone and returns the
      short conversation for a key of its own; see `MemoryState`. Notes do not follow
      edits of what they stand for. In a sub-graph that shares `messages` with its
      parent it has to be this one, as the parent never hears of removals;
    - in a chain, `memory | model`, with messages or a prompt: returns the messages to
      send, and remembers the newest 1,000 summaries, so that a conversation that comes
      back longer is not summed up again.

    The message of the notes is a human one, with what it stands for in
    `additional_kwargs["lean_summary"]`. A ledger counts a saving against the whole
    history (lever `memory`) for every call that is answered to a prompt with it, less
    the summarizer's own cost and what moving the rest costs in the provider's cache.

    Args:
        model: Sums up, without the tools bound to it. Reasoning models need a
            `max_summary_tokens` with room to think. None: what leaves is left out
            unread (a sliding window).
        max_tokens: A conversation with more is made shorter; system messages and tools
            bound to `answer_model` count, what is put into the prompt behind the memory
            does not.
        keep_tokens: Tokens of the newest turns to keep; the last turn in any case.
            Fewer where what must stay, and the notes, leave little room.
        max_summary_tokens: The most tokens of the notes; half of `max_tokens` where it
            is not below that. What the summarizer writes beyond is cut, and a notice
            says so.
        pin: Says of a message whether it must stay; asked when its turn leaves.
        prompt: What notes are to hold, in place of the default. That the record is
            data, where it stands and how long notes may be is always said.
        answer_model: The chat model that reads the conversation, with its tools bound:
            its prices decide what is worth it, its window is the hard limit. `model`
            if not given.
        remaining_turns: How many turns are expected to come; as many as there were if
            not given.
        always: Also sum up where that costs more than it saves.
        split_last_turn: Let the older steps of the last turn leave, too, for an agent
            that calls tools many times in one turn.
        hard_limit: Tokens that `answer_model` takes at most; what its profile says if
            not given. Nine tenths of it limit `max_tokens`, too. Where they would be
            passed and the summarizer fails, the oldest turns are left out unread, and
            a line in the conversation and a notice say so.
        keep_history: Leave `messages` alone; see above.
        messages_key: Where a state has its messages.
        short_key: Where a state has the short conversation, with `keep_history`.
        counter: Counts tokens; a `TokenCounter()` by default.
        prices: Prices; a `PriceBook()` by default. Those of the models are looked up
            once at construction, as loading the table takes half a second.

    Raises:
        ConfigurationError: If something of this makes no sense.

    Example:
        ```python
        memory = SummaryMemory(haiku, answer_model=sonnet)
        graph.add_node("memory", memory)  # before the node that calls the model
        chain = prompt | memory | sonnet
        ```
    """

    def __init__(
        self,
        model: Runnable[Any, Any] | None,
        *,
        max_tokens: int = 4000,
        keep_tokens: int = 1500,
        max_summary_tokens: int = 400,
        pin: Pin | None = None,
        prompt: str | None = None,
        answer_model: Runnable[Any, Any] | None = None,
        remaining_turns: int | None = None,
        always: bool = False,
        split_last_turn: bool = False,
        hard_limit: int | None = None,
        keep_history: bool = False,
        messages_key: str = "messages",
        short_key: str = "short_messages",
        counter: TokenCounter | None = None,
        prices: PriceBook | None = None,
    ) -> None:
        _check_limits(max_tokens, keep_tokens, max_summary_tokens)
        _check_options(hard_limit, remaining_turns)
        _check_parts(model, answer_model, pin=pin, prompt=prompt, counter=counter)
        if keep_history and short_key == messages_key:
            msg = "Give short_key= another name than messages_key=, which stays whole."
            raise ConfigurationError(msg)
        reader = model if answer_model is None else answer_model
        limit = hard_limit or _window(reader)
        hard_limit = None if limit is None else math.ceil(limit * _OF_LIMIT)
        max_tokens = min(max_tokens, hard_limit or max_tokens)
        if max_summary_tokens >= max_tokens:
            max_summary_tokens = max(1, max_tokens // 2)
        said = {} if reader is None else ls_params(reader)
        model_name, provider = said.get("ls_model_name"), said.get("ls_provider")
        self._sizes = Sizes(
            counter or TokenCounter(), model_name, provider, _tools(reader)
        )
        self._summarizer: Runnable[Any, Any] = RunnablePassthrough()  # never asked
        if model is not None:
            room = max_summary_tokens + thinking_budget(model)
            self._summarizer = capped(without_tools(model), room)
        self._rules = Rules(
            max_tokens=max_tokens,
            keep_tokens=keep_tokens,
            max_summary_tokens=max_summary_tokens,
            hard_limit=hard_limit,
            read_at_once=min(_READ_AT_ONCE, (_window(model) or _READ_AT_ONCE * 2) // 2),
            pin=pin,
            task=prompt or transcript.TASK,
            remaining_turns=remaining_turns,
            always=always,
            split_last_turn=split_last_turn,
            sums_up=model is not None,
        )
        looked_up = model is not None and not always
        self._shortener = Shortener(
            self._rules,
            self._sizes,
            *prices_of(prices or PriceBook(), reader, model if looked_up else None),
        )
        self._keep_history = keep_history
        self._messages_key, self._short_key = messages_key, short_key
        self._remembered = Remembered(_REMEMBERED, pin)

    @property
    def keeps_history(self) -> bool:
        """Whether it leaves `messages` alone; see `keep_history`."""
        return self._keep_history

    @property
    def keys(self) -> tuple[str, str]:
        """Where a state has its messages, and the short conversation."""
        return self._messages_key, self._short_key

    def invoke(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Shorten a conversation: the messages of a chain, or a graph's state.

        Args:
            input: Messages, a prompt, or a state.
            config: The configuration of the call.
            kwargs: Not used; a chain gives its own to its first step.

        Raises:
            ConfigurationError: If it is something else.
        """
        return self._call_with_config(self._run, input, config)

    async def ainvoke(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """`invoke`, with the async summarizer."""
        return await self._acall_with_config(self._arun, input, config)

    def _run(
        self,
        given: Any,
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
    ) -> Any:
        ask = partial(self._summarizer.invoke, config=own_call(config, "memory"))
        return drive(self._result(given), ask)

    async def _arun(
        self,
        given: Any,
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
    ) -> Any:
        ask = partial(self._summarizer.ainvoke, config=own_call(config, "memory"))
        return await adrive(self._result(given), ask)

    def _result(self, given: Any) -> Generator[Sequence[BaseMessage], AIMessage, Any]:
        """What a call gives back, without what the summarizer is asked."""
        if isinstance(given, PromptValue | Sequence):
            short = yield from self._of_history(prompt_messages(given))
            return list(short.messages)
        messages = self._of_state(given, self._messages_key)
        if self._keep_history:
            earlier = self._of_state(given, self._short_key)
            short = yield from self._beside(messages, earlier)
            return {self._short_key: list(short.messages)}
        short = yield from self._shortened(messages, reported=True, by_id=True)
        return {self._messages_key: update(short)} if short.leaving else {}

    def _shortened(
        self, messages: Sequence[BaseMessage], *, reported: bool, by_id: bool = False
    ) -> Asking:
        """Shorten what is to be sent.

        Args:
            messages: That, with the summary of what left earlier.
            reported: Whether the usage of the newest answer is that of these messages.
            by_id: Whether what leaves must have an id.
        """
        tokens = self._sizes.reported(messages) if reported else None
        if tokens is not None and tokens <= self._rules.max_tokens:
            return Short(messages, None)
        return (yield from self._shortener.shorten(messages, by_id=by_id))

    def _of_history(
        self, messages: Sequence[BaseMessage], *, reported: bool = False
    ) -> Asking:
        """Shorten a conversation that comes back whole each time."""
        messages = distinct(messages)
        head = list(takewhile(is_static, messages))
        body = messages[len(head) :]
        known = self._remembered.find(body)
        view = messages if known is None else [*head, *known.applied(body)]
        short = yield from self._shortened(view, reported=reported and known is None)
        if short.leaving and short.summary and not self._is_emergency(short.summary):
            rest = short.messages[len(head) :]
            self._remembered.keep(body, short.summary, rest)
        return short

    def _beside(
        self, messages: Sequence[BaseMessage], earlier: Sequence[BaseMessage]
    ) -> Asking:
        """Shorten a history that stays, from what was sent of it the last time."""
        summary = summary_ahead(earlier, self._rules.pin)
        if summary is None:
            return (yield from self._of_history(messages, reported=True))
        view = continued(earlier, summary, messages)
        if view is None or self._is_emergency(summary):
            return (yield from self._of_history(messages))
        return view.goes_on((yield from self._shortened(view.messages, reported=True)))

    def _is_emergency(self, summary: Summary) -> bool:
        """Whether messages were left out because the summarizer failed."""
        return self._rules.sums_up and summary.unread > 0

    def _of_state(self, state: Any, key: str) -> Sequence[BaseMessage]:
        messages = state_messages(state, key, taker="SummaryMemory")
        if messages is None and key == self._messages_key:
            raise ConfigurationError(not_taken("SummaryMemory", key, state))
        return messages or ()


def _window(model: Runnable[Any, Any] | None) -> int | None:
    """How many input tokens a model takes, if its profile says."""
    if model is None:
        return None
    profile = chat_model_of(model).model.profile
    return profile.get("max_input_tokens") if profile else None


def _tools(model: Runnable[Any, Any] | None) -> Sequence[Any]:
    options = {} if model is None else chat_model_of(model).options
    return options.get("tools") or ()


def _check_limits(max_tokens: int, keep_tokens: int, max_summary_tokens: int) -> None:
    checked_count("max_tokens", max_tokens)
    checked_count("keep_tokens", keep_tokens, 0)
    checked_count("max_summary_tokens", max_summary_tokens)
    if keep_tokens >= max_tokens:
        msg = "Give keep_tokens= less than max_tokens, or nothing could ever leave."
        raise ConfigurationError(msg)


def _check_options(hard_limit: int | None, remaining_turns: int | None) -> None:
    if hard_limit is not None:
        checked_count("hard_limit", hard_limit)
    if remaining_turns is not None:
        checked_count("remaining_turns", remaining_turns, 0)


def _check_parts(*models: Any, pin: object, prompt: object, counter: object) -> None:
    if any(isinstance(model, BudgetedModel) for model in models):
        msg = "Give SummaryMemory the chat model itself, and the guard to callbacks."
        raise ConfigurationError(msg)
    if pin is not None and not callable(pin):
        msg = "Give pin= a function that says of a message whether it must stay."
        raise ConfigurationError(msg)
    if not isinstance(prompt, str | None):
        msg = "Give prompt= the text of what notes are to hold."
        raise ConfigurationError(msg)
    if not isinstance(counter, TokenCounter | None):
        msg = "Give counter= a TokenCounter."
        raise ConfigurationError(msg)
