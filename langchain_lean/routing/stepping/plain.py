"""What a policy added to a call, for a last answer that is asked for without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables.base import RunnableBindingBase

from langchain_lean.messages import role


@dataclass(frozen=True, slots=True)
class Added:
    """What a policy added.

    Attributes:
        text: Stands at the end of the system message.
        options: Options of the call, such as `stop`.
    """

    text: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def taken_from(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """The messages without it."""
        return [kept for message in messages if (kept := self._without(message))]

    def unbound(self, model: Any) -> Any:
        """A model without these options bound to it."""
        if not isinstance(model, RunnableBindingBase):
            return model
        kept = {k: v for k, v in model.kwargs.items() if k not in self.options}
        return model.model_copy(update={"kwargs": kept})

    def _without(self, message: BaseMessage) -> BaseMessage | None:
        content: Any = message.content
        if not self.text or role(message) != "system":
            return message
        if isinstance(content, str):
            content = content.removesuffix(self.text).rstrip()
        else:
            content = [b for b in content if b != {"type": "text", "text": self.text}]
        return message.model_copy(update={"content": content}) if content else None


NOTHING = Added()

added: ContextVar[Added] = ContextVar("langchain_lean_added", default=NOTHING)
"""What was added to the call of this context."""
