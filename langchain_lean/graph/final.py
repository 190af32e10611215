"""The last answer of a turn with tools, on the strong model."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage

from langchain_lean.routing.policies import SelfScreen, Verdict

_WHEN = "no further tool call is needed to answer"
_DONE = "the cheap model needs no more tools"


class FinalAnswer(SelfScreen):
    """Has the strong model write what the cheap one has gathered.

    The cheap model is asked for a mark in place of an answer, which nobody would read;
    one that answers all the same is shown only where the strong model is over budget.
    """

    def __init__(self) -> None:
        super().__init__(when=_WHEN)

    def peek(self, text: str) -> Verdict | None:
        """Whether the mark has come; what is no mark shows nothing yet."""
        verdict = super().peek(text)
        return verdict if verdict is not None and verdict.escalate else None

    def judge(self, messages: Sequence[BaseMessage], answer: AIMessage) -> Verdict:
        """The strong model is to answer, whatever this is."""
        verdict = super().judge(messages, answer)
        return Verdict(True, None, _DONE, unusable=verdict.unusable)
