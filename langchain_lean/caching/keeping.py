"""Which answers are worth keeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import AIMessage
from langchain_core.outputs import Generation

from langchain_lean.caching.records import answer_text, message_of
from langchain_lean.messages import call_ids
from langchain_lean.models import ended_on_cap, finish_reasons

_CUT = ("content_filter", "content_filtered", "guardrail_intervened", "SAFETY")
_CHANGED = ("budget", "steps")  # levers that change what is asked when money is short


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What is kept beside whole answers in words.

    Attributes:
        tool_calls: Answers that call tools.
        sampled: Answers of models with an explicit temperature above 0.
        truncated: Answers that were cut, by their cap or by a filter.
    """

    tool_calls: bool
    sampled: bool
    truncated: bool

    def keeps(self, answers: Sequence[Generation]) -> bool:
        """Whether answers may be given again.

        An empty answer never is, and none that a budget has changed.
        """
        message = message_of(answers)
        if message is None:
            reasons = {
                (one.generation_info or {}).get("finish_reason") for one in answers
            }
            cut = bool(reasons & {"length", *_CUT})
            return bool(answer_text(answers).strip()) and (self.truncated or not cut)
        if not answer_text(answers).strip() or _is_changed(message):
            return False
        if call_ids(message) and not self.tool_calls:
            return False
        return self.truncated or not _is_cut(message)


def _is_cut(message: AIMessage) -> bool:
    return ended_on_cap(message) or any(r in _CUT for r in finish_reasons(message))


def _is_changed(message: AIMessage) -> bool:
    """Whether the answer is not what would be given on another day."""
    notes = message.response_metadata.get("lean")
    return any(
        done.get("lever") in _CHANGED or done.get("action") == "kept"
        for done in (notes if isinstance(notes, list) else ())
    )
