"""Two cheap answers that agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable

from langchain_lean.answers import same_answer
from langchain_lean.checks import checked_number
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import tool_calls
from langchain_lean.routing.own_calls import aasked, asked
from langchain_lean.routing.verdict import EscalationPolicy, Verdict

Same = Callable[[str, str], bool | float]
"""Whether two answers say the same, or how much so from 0 to 1."""


class Agreement(EscalationPolicy):
    """Asks for a second cheap answer, and escalates if the two do not agree.

    Models that are wrong are often wrong in different ways. The second answer is one
    more call, so this pays where the stronger model costs many times as much.

    Args:
        model: Gives the second answer: another cheap model, or the same one at a
            temperature above 0.
        same: Whether two answers say the same. By default they must be equal but for
            white space, case and punctuation, which suits short answers; for longer
            ones compare what counts, such as the last number or a field of the JSON.
        at_least: The agreement that is enough, where `same` gives a number.

    Raises:
        ConfigurationError: If something of this makes no sense.
    """

    def __init__(
        self,
        model: Runnable[Any, Any],
        *,
        same: Same = same_answer,
        at_least: float = 1.0,
    ) -> None:
        if not isinstance(model, Runnable):
            msg = f"Give Agreement a chat model, not {type(model).__name__}."
            raise ConfigurationError(msg)
        if not callable(same):
            msg = "Give same= a function of two texts."
            raise ConfigurationError(msg)
        self.at_least = checked_number("at_least", at_least, 0, 1)
        self._model, self._same = model, same

    def judge(self, messages: Sequence[BaseMessage], answer: AIMessage) -> Verdict:
        """Compare an answer with a second one."""
        return self._verdict(answer, asked(self._model, messages))

    async def ajudge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict:
        """`judge` for asyncio."""
        return self._verdict(answer, await aasked(self._model, messages))

    def _verdict(self, answer: AIMessage, second: AIMessage) -> Verdict:
        score = 0.0
        if answer.text.strip() and not tool_calls(second):
            agreement = float(self._same(answer.text, second.text))
            score = min(max(agreement, 0.0), 1.0)  # a cosine may be below or above
        if math.isnan(score):
            msg = "same= gave no number."
            raise ValueError(msg)
        agrees = score >= self.at_least
        said = "the same" if agrees else "something else"
        return Verdict(not agrees, score, f"a second answer says {said}")
