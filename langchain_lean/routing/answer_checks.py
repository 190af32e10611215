"""A policy that looks at an answer without asking a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langchain_lean.checks import checked_count
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import message_text, role, tool_calls
from langchain_lean.routing.checking.arithmetic import calculations
from langchain_lean.routing.checking.citations import (
    NUMBERED,
    cited,
    unknown_quotations,
    without_code,
)
from langchain_lean.routing.checking.patterns import (
    Phrases,
    checked_pattern,
    checked_phrases,
)
from langchain_lean.routing.checking.shape import breaks_off, json_value, validator
from langchain_lean.routing.checking.signals import (
    cut_short,
    has_media,
    reported_refusal,
)
from langchain_lean.routing.checking.wording import HEDGES, REFUSALS, hedges, refuses
from langchain_lean.routing.verdict import EscalationPolicy, Verdict

_LONG = 5_000  # characters that take a millisecond or more

Check = Callable[[Sequence[BaseMessage], AIMessage], str | None]
"""Looks at messages and their answer; returns what is wrong with it, or None."""


class AnswerChecks(EscalationPolicy):
    """Escalates where an answer can be seen to be bad, without asking a model.

    What is looked at is the text of the answer; what a model thought is not. By itself
    it looks at four things that no good answer to any task has: that it was cut, that
    it refuses, that it hedges (both in English), and that a calculation in it is wrong.
    The rest is off until it is set up.

    An answer that calls tools, or is a picture alone, has nothing to look at: it is
    judged only where it was cut. A reason names the checks that failed, and the score
    is the share of them that passed: an order, not a probability.

    Args:
        cut: Whether an answer must be whole: it did not end on its cap, no filter of
            the provider held it back, its tool calls can be read, it is not empty, and
            its text does not break off.
        refusals: Whether it must not begin with a refusal ("I can't help with that",
            "I do not know"), or phrases to look for instead. A refusal that is right
            counts, too.
        hedging: Whether it must not say, at its beginning or end, that it may be wrong
            ("I'm not sure", "it is unclear"), or phrases to look for instead.
        arithmetic: Whether all calculations it states must hold, but for those that
            stand in the messages.
        pattern: A regular expression that must match all of the answer (`fullmatch`),
            without the white space around it.
        schema: A pydantic class or a JSON schema that the answer must fit, as JSON text
            or in one fenced block. A JSON schema needs the package `jsonschema`;
            `format` is not looked at, and no reference is fetched.
        citations: Whether each source the answer cites as `[1]` must be known, or the
            pattern of your own marks; a group in it is the source. A mark in code is
            none.
        sources: The sources that are known; by default those that are marked in the
            same way in the messages that were sent, answers of a model left out.
        min_citations: How many different sources it must cite.
        quotes: Whether what it quotes (five words or more in double quotes) must stand
            in those messages, word by word.
        min_words: The fewest words, parted by white space.
        max_words: The most words.
        checks: A function of your own, or several, that take messages and answer and
            return what is wrong in a few words, or None. Those are shown as they are.

    Raises:
        ConfigurationError: If an option makes no sense.

    Example:
        ```python
        policy = AnswerChecks(citations=True, min_citations=1, max_words=300)
        ```
    """

    def __init__(
        self,
        *,
        cut: bool = True,
        refusals: Phrases = True,
        hedging: Phrases = True,
        arithmetic: bool = True,
        pattern: str | re.Pattern[str] | None = None,
        schema: type | Mapping[str, Any] | None = None,
        citations: bool | str | re.Pattern[str] = False,
        sources: Collection[object] | None = None,
        min_citations: int = 0,
        quotes: bool = False,
        min_words: int | None = None,
        max_words: int | None = None,
        checks: Check | Iterable[Check] = (),
    ) -> None:
        self._cut = cut
        own = _own_checks(checks)
        self._own = bool(own)
        found: list[Check | None] = [
            _cut_check if cut else None,
            _refusals_check(refusals),
            _hedging_check(hedging),
            _arithmetic_check if arithmetic else None,
            _pattern_check(pattern),
            _schema_check(schema),
            _citations_check(citations, sources, min_citations),
            _quotes_check if quotes else None,
            _length_check(min_words, max_words),
            *own,
        ]
        self._checks = [check for check in found if check]
        if not self._checks:
            msg = "AnswerChecks needs something to look at: leave a check on."
            raise ConfigurationError(msg)

    def judge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        """Whether an answer fails a check.

        Args:
            messages: What was to be answered.
            answer: The answer.

        Returns:
            The verdict; None where an answer calls tools, or is a picture alone, and
            is whole.
        """
        if tool_calls(answer) or (has_media(answer) and not answer.text.strip()):
            problem = cut_short(answer) if self._cut else None
            return Verdict(True, 0.0, problem) if problem else None
        problems = [check(messages, answer) for check in self._checks]
        failed = [problem for problem in problems if problem]
        score = 1 - len(failed) / len(problems)
        empty = not answer.text.strip()
        return Verdict(bool(failed), score, "; ".join(failed), unusable=empty)

    async def ajudge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        """`judge` for asyncio; on a thread only where it may take long."""
        if self._own or len(answer.text) > _LONG:
            return await super().ajudge(messages, answer)
        return self.judge(messages, answer)


def _cut_check(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
    if problem := cut_short(answer):
        return problem
    if not answer.text.strip():
        return "it is empty"
    return "it breaks off" if breaks_off(answer.text) else None


def _arithmetic_check(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
    wrong = {(c.exact, c.said) for c in calculations(answer.text) if not c.holds}
    if wrong:  # a mistake that was asked about is quoted
        wrong -= {(c.exact, c.said) for c in calculations(_context(messages))}
    return "a calculation is wrong" if wrong else None


def _quotes_check(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
    quotations = without_code(answer.text)
    if unknown_quotations(quotations, _context(messages)):
        return "a quotation is not in the messages"
    return None


def _refusals_check(phrases: Phrases) -> Check | None:
    pattern = checked_phrases("refusals", phrases, REFUSALS)
    if pattern is None:
        return None

    def check(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
        refused = reported_refusal(answer) or refuses(answer.text, pattern)
        return "it refuses" if refused else None

    return check


def _hedging_check(phrases: Phrases) -> Check | None:
    pattern = checked_phrases("hedging", phrases, HEDGES)
    if pattern is None:
        return None

    def check(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
        return "it hedges" if hedges(answer.text, pattern) else None

    return check


def _pattern_check(pattern: str | re.Pattern[str] | None) -> Check | None:
    if pattern is None:
        return None
    compiled = checked_pattern("pattern", pattern)

    def check(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
        matches = compiled.fullmatch(answer.text.strip())
        return None if matches else "it does not match the pattern"

    return check


def _schema_check(schema: type | Mapping[str, Any] | None) -> Check | None:
    if schema is None:
        return None
    validates = validator(schema)

    def check(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
        fits = validates(json_value(answer.text))
        return None if fits else "it does not fit the schema"

    return check


def _citations_check(
    citations: bool | str | re.Pattern[str],
    sources: Collection[object] | None,
    least: int,
) -> Check | None:
    checked_count("min_citations", least, least=0)
    if citations is False:
        if least or sources is not None:
            msg = "sources= and min_citations= need citations=True or a pattern."
            raise ConfigurationError(msg)
        return None
    marks = NUMBERED if citations is True else checked_pattern("citations", citations)
    if isinstance(sources, str):
        msg = "sources= is a list of the sources that are known, not one text."
        raise ConfigurationError(msg)
    given = None if sources is None else set(map(str, sources))

    def check(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
        found = cited(without_code(answer.text), marks)
        known = cited(_context(messages), marks) if given is None else given
        if not found <= known:
            return "it cites a source that is not there"
        return "it cites too few sources" if len(found) < least else None

    return check


def _length_check(least: int | None, most: int | None) -> Check | None:
    if least is None and most is None:
        return None
    fewest = 0 if least is None else checked_count("min_words", least)
    if most is not None and checked_count("max_words", most) < fewest:
        msg = f"max_words={most} is less than min_words={least}: swap the two."
        raise ConfigurationError(msg)

    def check(messages: Sequence[BaseMessage], answer: AIMessage) -> str | None:
        words = len(answer.text.split())
        if words < fewest:
            return "it is too short"
        return "it is too long" if most is not None and words > most else None

    return check


def _own_checks(checks: Check | Iterable[Check]) -> list[Check]:
    own = [checks] if callable(checks) else list(checks)
    for each in own:
        if not callable(each):
            kind = type(each).__name__
            msg = f"checks= takes functions of (messages, answer), not {kind}."
            raise ConfigurationError(msg)
    return [partial(_own_check, each) for each in own]


def _own_check(
    own: Check, messages: Sequence[BaseMessage], answer: AIMessage
) -> str | None:
    problem = own(messages, answer)
    if problem is not None and not isinstance(problem, str):
        kind = type(problem).__name__
        msg = f"A check returns what is wrong as a text, or None, not {kind}."
        raise ConfigurationError(msg)
    return problem


def _context(messages: Sequence[BaseMessage]) -> str:
    """What a model was given, without what models said."""
    return "\n".join(message_text(each) for each in messages if role(each) != "ai")
