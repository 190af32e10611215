"""What a test asks a provider's stand-in to answer, in no provider's dialect."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A tool the model asks for.

    Attributes:
        name: The tool's name.
        args: Its arguments.
        id: What the tool's result refers to.
    """

    name: str
    args: Mapping[str, Any]
    id: str = "call_1"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer of a provider.

    Attributes:
        text: What the model says; the error's message when `status` is not 200.
        usage: The provider's usage object, as on the wire. None sends the usual
            one of the dialect, `{}` sends none (Bedrock: an empty one).
        tool_calls: Tools the model asks for, after the text.
        stream_chunks: How a stream cuts the text; word by word when empty.
        truncated: The answer ended on its token limit.
        thinking_tokens: What Bedrock reports for them beside the usage.
        model: The model named in the answer; the one asked for when None.
        service_tier: The tier that served the call; OpenAI says "default" when None.
        status: The HTTP status.
        headers: HTTP headers beside the usual ones.
        drop_after: Close the connection after that many events of a stream; without
            a stream, instead of answering.
        gate: Answer only when this event is set; the end of the server sets it too.
    """

    text: str = "Hello there."
    usage: Mapping[str, Any] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    stream_chunks: tuple[str, ...] = ()
    truncated: bool = False
    thinking_tokens: int | None = None
    model: str | None = None
    service_tier: str | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    drop_after: int | None = None
    gate: threading.Event | None = None

    @property
    def chunks(self) -> list[str]:
        """The text as a stream sends it."""
        return list(self.stream_chunks) or re.split(r"(?<=\s)", self.text)

    def usage_or(self, usual: Mapping[str, Any]) -> Json:
        """The usage to send, given the dialect's usual one."""
        return dict(usual if self.usage is None else self.usage)

    def stop(self, *, end: str, tools: str, limit: str) -> str:
        """Why the answer ended, in the dialect's words."""
        return limit if self.truncated else tools if self.tool_calls else end


def halves(text: str) -> tuple[str, str]:
    """A text in the two pieces a stream sends a tool's arguments in."""
    middle = len(text) // 2
    return text[:middle], text[middle:]
