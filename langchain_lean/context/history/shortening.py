"""When a conversation is made shorter, and how: the memory without its calls."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.errors import GraphBubbleUp

from langchain_lean.accounting.reporting import report_notice
from langchain_lean.budgets.errors import CallRefusedError
from langchain_lean.context.history import transcript
from langchain_lean.context.history.answer import NoSummaryError, notes_of
from langchain_lean.context.history.selection import (
    Conversation,
    Pin,
    Selection,
    select,
)
from langchain_lean.context.history.size import Sizes
from langchain_lean.context.history.summary import Summary, fitted, joined, newest
from langchain_lean.context.history.worth import Exchange, Price
from langchain_lean.errors import ConfigurationError, LeanError
from langchain_lean.messages import role
from langchain_lean.models import ended_on_cap

_ROOM_TO_ADD = 4  # notes are added to while a quarter of their cap is free
_FIRST_SHARE = 5  # notes of a first part are taken to have a fifth of its tokens
_SHOWN = 100  # tokens of the newest notes, so that what is added goes on from there
_INSTRUCTIONS = 150  # tokens of what a summarizer is told

_tell = partial(report_notice, "memory")

Asking = Generator[Sequence[BaseMessage], AIMessage, "Short"]
"""Yields what the summarizer is asked, is sent its answers, and returns the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a memory was told; `SummaryMemory` says what each of them means."""

    max_tokens: int
    keep_tokens: int
    max_summary_tokens: int
    hard_limit: int | None
    read_at_once: int
    pin: Pin | None
    task: str
    remaining_turns: int | None
    always: bool
    split_last_turn: bool
    sums_up: bool


@dataclass(frozen=True, slots=True)
class Short:
    """A conversation after the memory.

    Attributes:
        messages: What is to be sent.
        summary: What stands for the messages that left, now or earlier.
        leaving: The messages that left now.
    """

    messages: Sequence[BaseMessage]
    summary: Summary | None
    leaving: Sequence[BaseMessage] = ()


@dataclass(frozen=True, slots=True)
class Shortener:
    """Makes conversations shorter.

    Attributes:
        rules: When, and how far.
        sizes: Counts what the answering model reads.
        answering: The price of that model.
        summarizing: The price of the summarizer.
    """

    rules: Rules
    sizes: Sizes
    answering: Price
    summarizing: Price

    def shorten(
        self, messages: Sequence[BaseMessage], *, by_id: bool = False
    ) -> Asking:
        """Make a conversation shorter, where it is too long and that pays.

        Args:
            messages: The conversation, with the summary of what left earlier.
            by_id: What leaves must have an id.

        Raises:
            ConfigurationError: If it has none.
        """
        conversation = Conversation.of(messages)
        as_it_is = Short(messages, conversation.summary)
        if not self.sizes.exceed(messages, self.rules.max_tokens):
            return as_it_is
        selection = self._selection(conversation)
        if not selection.leaving:
            _tell(action="kept", reason="all that is above max_tokens must stay")
            return as_it_is
        if by_id and any(message.id is None for message in selection.leaving):
            msg = "SummaryMemory needs messages with ids, which add_messages gives."
            raise ConfigurationError(msg)
        hard_limit = self.rules.hard_limit
        too_long = hard_limit is not None and self.sizes.exceed(messages, hard_limit)
        asked = too_long or self.rules.always or not self.rules.sums_up
        if not (asked or self._pays(conversation, selection)):
            return as_it_is
        if self._room(conversation) < self.rules.keep_tokens:
            _tell(action="crowded", reason="what must stay takes most of max_tokens")
        if not self.rules.sums_up:
            return self._left_out(conversation, selection)
        try:
            return (yield from self._summed_up(conversation, selection))
        except NoSummaryError as error:
            _tell(action="kept", reason=f"the summarizer gave no summary: {error}")
        return self._trimmed(conversation) if too_long else as_it_is

    def _room(self, conversation: Conversation) -> int:
        """Tokens that what must stay leaves free."""
        return self.rules.max_tokens - self.sizes.prompt(conversation.fixed)

    def _selection(self, conversation: Conversation) -> Selection:
        """What leaves, so that half of the room beside what must stay is free again."""
        room = self._room(conversation)
        return self._select(conversation, min(self.rules.keep_tokens, room // 2))

    def _select(self, conversation: Conversation, keep: int) -> Selection:
        return select(
            conversation.body,
            keep=keep,
            count=self.sizes.messages,
            pin=self.rules.pin,
            split_last_turn=self.rules.split_last_turn,
        )

    def _pays(self, conversation: Conversation, selection: Selection) -> bool:
        earlier = conversation.summary or Summary()
        leaving = self.sizes.about(selection.leaving)
        notes = self.sizes.text(earlier.text)
        summed_up = earlier.tokens and notes / earlier.tokens
        cap = self.rules.max_summary_tokens
        added = min(cap, round(leaving * (summed_up or 1 / _FIRST_SHARE)))
        rewritten = notes + added > cap
        whole = earlier.tokens + leaving + selection.kept
        cached = self.sizes.cached(conversation.body, whole)
        exchange = Exchange(
            leaving=leaving,
            staying=selection.kept,
            grown=max(0, min(added, cap - notes)),
            written=cap if rewritten else added,
            asked=_INSTRUCTIONS + (notes if rewritten else min(notes, _SHOWN)),
            calls=self._calls_to_come(conversation),
            # Where nobody tells it is taken to be, as then the least is saved.
            cached=cached is not False,
        )
        return exchange.pays(self.answering, self.summarizing)

    def _calls_to_come(self, conversation: Conversation) -> int:
        earlier = conversation.summary or Summary()
        answers = earlier.answers + _count_of("ai", conversation.body)
        if self.rules.remaining_turns is None:
            return answers
        turns = earlier.turns + _count_of("human", conversation.body)
        return round(self.rules.remaining_turns * max(1.0, answers / max(turns, 1)))

    def _summed_up(self, conversation: Conversation, selection: Selection) -> Asking:
        notes, cut = (conversation.summary or Summary()).text, 0
        for record in transcript.pieces(selection.leaving, self.rules.read_at_once):
            notes, more = yield from self._noted(notes, record)
            cut += more
        if cut and not notes:
            reason = "nothing of it fits max_summary_tokens"
            raise NoSummaryError(reason)
        if cut:
            _tell(action="cut", reason="the notes had passed max_summary_tokens")
        return self._short(conversation, selection, text=notes, cut=cut)

    def _noted(
        self, notes: str, record: transcript.Record
    ) -> Generator[Sequence[BaseMessage], AIMessage, tuple[str, int]]:
        """Notes with what a record adds to them, and how many tokens did not fit."""
        cap, task = self.rules.max_summary_tokens, self.rules.task
        room, whole = cap - self.sizes.text(notes), notes
        if room >= cap // _ROOM_TO_ADD:
            last = newest(notes, _SHOWN, self.sizes.text)
            added = yield from _asked(transcript.to_add(task, last, record, room))
            whole = joined(notes, added)
            if not notes or self.sizes.text(whole) <= cap:
                return fitted(whole, cap, self.sizes.text)
            record = transcript.Record.of([added])
        prompt = transcript.to_rewrite(task, notes, record, cap)
        rewritten = yield from _asked(prompt)
        return fitted(rewritten or whole, cap, self.sizes.text)

    def _left_out(self, conversation: Conversation, selection: Selection) -> Short:
        unread = len(selection.leaving)
        return self._short(conversation, selection, unread=unread)

    def _trimmed(self, conversation: Conversation) -> Short:
        """As many of the newest turns as the answering model takes."""
        limit = self.rules.hard_limit or 0
        room = limit - self.sizes.prompt(conversation.fixed)
        selection = self._select(conversation, room)
        if not selection.leaving:
            return Short(conversation.messages, conversation.summary)
        _tell(action="trimmed", reason="turns left unread, or the model would refuse")
        return self._left_out(conversation, selection)

    def _short(
        self,
        conversation: Conversation,
        selection: Selection,
        *,
        text: str | None = None,
        cut: int = 0,
        unread: int = 0,
    ) -> Short:
        earlier, leaving = conversation.summary or Summary(), selection.leaving
        summary = Summary(
            text=earlier.text if text is None else text,
            messages=earlier.messages + len(leaving),
            turns=earlier.turns + _count_of("human", leaving),
            answers=earlier.answers + _count_of("ai", leaving),
            tokens=earlier.tokens + self.sizes.about(leaving),
            unread=earlier.unread + unread,
            cut=earlier.cut + cut,
            last_id=leaving[-1].id,
        )
        own = self.sizes.messages([summary.message()])
        summary = replace(
            summary,
            spared=summary.tokens - own,
            cached=self.sizes.cached(conversation.body, summary.tokens) is True,
            moved=own + selection.kept,
        )
        return Short(conversation.without(leaving, summary), summary, leaving)


def _count_of(kind: str, messages: Sequence[BaseMessage]) -> int:
    """How many messages have a role."""
    return sum(role(message) == kind for message in messages)


def _asked(
    prompt: Sequence[BaseMessage],
) -> Generator[Sequence[BaseMessage], AIMessage, str]:
    """What a summarizer wrote.

    Raises:
        NoSummaryError: If it failed, was refused, or wrote nothing of use.
    """
    try:
        answer = yield prompt
    except CallRefusedError as error:  # the call to come is asked, and refused, itself
        reason = f"its call was refused ({type(error).__name__})"
        raise NoSummaryError(reason) from None
    except (LeanError, GraphBubbleUp):
        raise
    except Exception as error:
        reason = f"it failed ({type(error).__name__})"
        raise NoSummaryError(reason) from None
    notes = notes_of(answer)
    if ended_on_cap(answer):
        _tell(action="cut", reason="the summarizer ended on max_summary_tokens")
    return notes
