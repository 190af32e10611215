"""Marks of texts: what a ledger keeps of a message when it does not keep its text."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_lean.accounting.entry import MessageMark
from langchain_lean.messages import message_text, tool_calls

_REMEMBERED = 16_384


class Fingerprints:
    """Makes `MessageMark`s, and remembers those of texts it has seen.

    A chat sends its history again with every call, so most texts were seen before.
    What is remembered is Python's own hash of a text (keyed anew in each process),
    not the text.

    Args:
        key: The secret that makes digests comparable inside one ledger only.
        keep: Called with the digest and the text of what was not seen before.
    """

    def __init__(
        self, key: bytes, *, keep: Callable[[str, str], None] | None = None
    ) -> None:
        self._key = key
        self._keep = keep
        self._seen: dict[tuple[str, int, int], MessageMark] = {}

    def messages(self, messages: Sequence[BaseMessage]) -> list[MessageMark]:
        """Mark each message of a prompt."""
        seen = self._seen
        marks = []
        for message in messages:
            content = message.content
            mark = None
            if type(content) is str and not tool_calls(message):
                mark = seen.get((message.type, hash(content), len(content)))
            marks.append(mark or self.text(message.type, message_text(message)))
        return marks

    def answer(self, message: BaseMessage | str) -> MessageMark:
        """Mark an answer; a plain language model's is a text."""
        text = message if isinstance(message, str) else message_text(message)
        return self.text("ai", text)

    def tools(self, schemas: Sequence[Any]) -> MessageMark:
        """Mark the tool schemas of a call."""
        text = json.dumps(schemas, ensure_ascii=False, sort_keys=True, default=str)
        return self.text("tools", text)

    def text(self, role: str, text: str) -> MessageMark:
        """Mark a text in a role."""
        key = (role, hash(text), len(text))
        mark = self._seen.get(key)
        if mark is None:
            data = text.encode("utf-8", "surrogatepass")
            digest = hashlib.blake2b(data, key=self._key, digest_size=8).hexdigest()
            plain = role.encode("utf-8", "replace").decode("utf-8")
            named = "".join(plain.split()).replace(":", "") or "unknown"
            mark = MessageMark(named, len(text), digest)
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[key] = mark
            if self._keep is not None:
                self._keep(digest, text)
        return mark
