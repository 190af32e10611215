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
        return model.model_copy(update={"kwargs": self.kept(model.kwargs)})

    def kept(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options without these; one that its caller gave stays."""
        own = self.options
        return {k: v for k, v in options.items() if k not in own or v != own[k]}

    def _without(self, message: BaseMessage) -> BaseMessage | None:
        content: Any = message.content
        if not self.text or role(message) != "system":
            return message
        if isinstance(content, str):
            content = content.removesuffix(self.text).rstrip()
        else:
            texts = self.text.split("\n\n")  # those of several policies
            blocks = [{"type": "text", "text": text} for text in texts]
            content = [block for block in content if block not in blocks]
        return message.model_copy(update={"content": content}) if content else None


NOTHING = Added()

added: ContextVar[Added] = ContextVar("langchain_lean_added", default=NOTHING)
"""What was added to the call of this context."""
