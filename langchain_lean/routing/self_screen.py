"""A cheap model that says itself when a stronger one is needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable

from langchain_lean.budgets.model import BudgetedModel
from langchain_lean.errors import ConfigurationError
from langchain_lean.in_words import in_words
from langchain_lean.messages import instructed
from langchain_lean.models import capped, chat_model_of, without_tools
from langchain_lean.routing.own_calls import aasked, asked
from langchain_lean.routing.verdict import Attempt, EscalationPolicy, Verdict
from langchain_lean.stop_sequences import takes_stop

_OPENING, _STOP = "[[", "ESCALATE]]"
_MARK = _OPENING + _STOP
_WHEN = "a correct answer needs more knowledge or deeper reasoning than you have"
_INSTEAD = (
    "If {when}, reply only with {mark} and nothing else: a stronger model then "
    "answers. Otherwise answer as usual."
)
_FIRST = (
    "Do not answer yet. Say only whether you can: reply with {mark} if {when}, "
    "else with OK."
)
_THINKS = "<THINK"  # how models served on one's own write what they think
_THOUGHTS = re.compile(r"\A\s*<THINK(?:ING)?>.*?</THINK(?:ING)?>", re.DOTALL)
_AROUND = " \t\r\n*_`\"'>#"  # what models put around a word they were told to say
_SAID_TOKENS = 16  # the mark has about five

_ASKED_FOR = "the model asked for a stronger one"
_EMPTY = "the model said nothing"
_ANSWERED = "the model answered by itself"


class SelfScreen(EscalationPolicy):
    """Lets the cheaper model answer, or say that a stronger one is needed.

    One cheap call does both: an instruction at the end of the system message asks for a
    mark in place of an answer. Models that are known to take a stop sequence end at the
    mark, so a call that escalates has few output tokens. In a stream the first tokens
    decide, and an answer is shown from there on: a mark that comes behind others is too
    late there, while `invoke` escalates.

    As a node of its own (`EscalationRouter.screen`) it makes a short call that asks for
    the mark or OK.

    Args:
        when: When to escalate, as the end of a sentence that begins with "if".

    Raises:
        ConfigurationError: If that is no text.
    """

    def __init__(self, *, when: str = _WHEN) -> None:
        if not isinstance(when, str) or not when.strip():
            msg = 'Give when= a text, such as "the question is about the law".'
            raise ConfigurationError(msg)
        self.when = when
        self._instruction = _INSTEAD.format(when=when, mark=_MARK)

    def attempt(self, attempt: Attempt, model: Runnable[Any, Any]) -> Attempt:
        """Ask for the mark in place of an answer."""
        return Attempt(
            instructed(attempt.messages, self._instruction),
            {**attempt.options, **_stop(model)},
            "\n\n".join(filter(None, (attempt.added, self._instruction))),
        )

    def peek(self, text: str) -> Verdict | None:
        """Whether an answer has begun, or the mark."""
        begun = _begun(text)
        if begun.startswith(_MARK):
            return Verdict(True, None, _ASKED_FOR, unusable=True)
        waits = _MARK.startswith(begun) or _THINKS.startswith(begun[: len(_THINKS)])
        return None if waits else Verdict(False, None, _ANSWERED)

    def judge(self, messages: Sequence[BaseMessage], answer: AIMessage) -> Verdict:
        """Whether it is the mark, or ends on it."""
        if not answer.text.strip():
            return Verdict(True, None, _EMPTY, unusable=True)
        if _asks(answer.text):
            return Verdict(True, None, _ASKED_FOR, unusable=True)
        return Verdict(False, None, _ANSWERED)

    async def ajudge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict:
        """`judge` for asyncio."""
        return self.judge(messages, answer)

    def alone(self, model: Runnable[Any, Any]) -> EscalationPolicy:
        """A short call that asks whether the model can answer."""
        return _ScreenFirst(model, self.when)


class _ScreenFirst(EscalationPolicy):
    """Asks a model whether it can answer, before it does."""

    name = SelfScreen.__name__

    def __init__(self, model: Runnable[Any, Any], when: str) -> None:
        self._question = _FIRST.format(when=when, mark=_MARK)
        if not isinstance(model, BudgetedModel):
            model = without_tools(model)
        # A model that may think first would have no room left for its word.
        stop = _stop(model)
        self._model = capped(model, _SAID_TOKENS).bind(**stop) if stop else model

    def screen(self, messages: Sequence[BaseMessage]) -> Verdict:
        return self._verdict(asked(self._model, self._sent(messages)))

    async def ascreen(self, messages: Sequence[BaseMessage]) -> Verdict:
        return self._verdict(await aasked(self._model, self._sent(messages)))

    def _sent(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        # At the end, so that the answering call finds the rest in the provider's cache.
        return [*in_words(messages), HumanMessage(self._question)]

    def _verdict(self, answer: AIMessage) -> Verdict:
        if not answer.text.strip():
            return Verdict(True, None, _EMPTY)
        if _asks(answer.text) or _begun(answer.text).startswith(_OPENING):
            return Verdict(True, None, _ASKED_FOR)
        return Verdict(False, None, "the model can answer")


def _begun(text: str) -> str:
    """A text from its first word on, behind thoughts in tags, in upper case."""
    return _THOUGHTS.sub("", text.upper()).lstrip(_AROUND)


def _asks(text: str) -> bool:
    """Whether a text is the mark, or ends on it; a stop sequence leaves its opening."""
    begun = _begun(text)
    ends = begun.rstrip(_AROUND + ".!").endswith((_MARK, _OPENING))
    return begun.startswith(_MARK) or ends


def _stop(model: Runnable[Any, Any]) -> dict[str, Any]:
    inner = model.model if isinstance(model, BudgetedModel) else model
    bound = chat_model_of(inner)
    return {"stop": [_STOP]} if takes_stop(bound.model, bound.options) else {}
