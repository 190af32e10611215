"""Which answers are worth keeping."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from langchain_lean.messages import call_ids
from langchain_lean.models import finish_reasons

_WORDS = """stop end end_turn stop_sequence stop_sequences tool_calls tool_call tool_use
    function_call complete completed finish finished done normal eos eos_token endoftext
    end_of_text success finishreason.stop"""
_ENDED = re.compile("|".join(f"(?:{re.escape(w)})+" for w in _WORDS.split()))
"""What providers say of an answer that has ended by itself, in small letters.

LangChain doubles a word that comes with two pieces of a stream. Of any other word (a
cap, a filter, a refusal, an error, one that is new) it is not known that the answer is
whole.
"""

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

    def keeps(self, answers: Sequence[Generation], *, streamed: bool) -> bool:
        """Whether answers may be given again.

        An empty answer never is, and none that a budget has changed.

        Args:
            answers: What the model answered.
            streamed: They came in pieces, of which the last may be missing: then only
                an answer that says how it ended is whole.
        """
        return bool(answers) and all(self._keeps(one, streamed) for one in answers)

    def _keeps(self, answer: Generation, streamed: bool) -> bool:
        message = answer.message if isinstance(answer, ChatGeneration) else None
        if not isinstance(message, AIMessage):
            said = AIMessage("", response_metadata=answer.generation_info or {})
            return bool(answer.text.strip()) and self._is_whole(said, streamed)
        calls = bool(call_ids(message))
        if _is_changed(message) or not (calls or message.text.strip()):
            return False
        return (self.tool_calls or not calls) and self._is_whole(message, streamed)

    def _is_whole(self, message: AIMessage, streamed: bool) -> bool:
        said = message.response_metadata
        status = said.get("status")  # OpenAI's Responses API
        reasons = [*finish_reasons(message), *([status] if status else [])]
        ended = all(_ENDED.fullmatch(str(reason).lower()) for reason in reasons)
        # A graph that streams has LangChain read a stream where nobody sees it, and a
        # provider that LangChain knows says how each answer ended.
        must_say = streamed or "model_provider" in said
        return self.truncated or (ended and (bool(reasons) or not must_say))


def _is_changed(message: AIMessage) -> bool:
    """Whether the answer is not what would be given on another day."""
    notes = message.response_metadata.get("lean")
    return any(
        done.get("lever") in _CHANGED or done.get("action") == "kept"
        for done in (notes if isinstance(notes, list) else ())
    )
