"""What is to be tried on recorded traffic, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

from langchain_lean.checks import checked_count, checked_number
from langchain_lean.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_lean.whatif.traffic import Model

_TENANTS = ("user_id", "thread_id", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is to be tried; `what_if` says what each of them means.

    Raises:
        ConfigurationError: If something of it makes no sense.
    """

    max_docs: int
    max_doc_tokens: int
    max_tokens: int
    memory_tokens: int
    keep_tokens: int
    max_summary_tokens: int
    cheap: Model | str | None
    acceptance: float | None
    embeddings: Embeddings | None
    threshold: float | None
    tenant_by: str | None
    tool_calls: bool
    output_cap: int | None
    max_calls: int

    def __post_init__(self) -> None:
        for name in ("max_docs", "max_doc_tokens", "max_tokens", "memory_tokens"):
            checked_count(name, getattr(self, name))
        checked_count("keep_tokens", self.keep_tokens, 0)
        checked_count("max_summary_tokens", self.max_summary_tokens)
        checked_count("max_calls", self.max_calls)
        if self.keep_tokens >= self.memory_tokens:
            msg = "Give keep_tokens= less than memory_tokens, or nothing could leave."
            raise ConfigurationError(msg)
        if self.output_cap is not None:
            checked_count("output_cap", self.output_cap)
        if self.acceptance is not None:
            checked_number("acceptance", self.acceptance, 0, 1)
        if self.threshold is not None:
            checked_number("threshold", self.threshold, 0, 1)
        if not isinstance(self.embeddings, Embeddings | None):
            kind = type(self.embeddings).__name__
            msg = f"embeddings= takes embeddings of LangChain, not {kind}."
            raise ConfigurationError(msg)
        if self.tenant_by not in _TENANTS:
            msg = f"tenant_by= is 'user_id' or 'thread_id', not {self.tenant_by!r:.40}."
            raise ConfigurationError(msg)
        self._check_cheap()

    def _check_cheap(self) -> None:
        if self.cheap is None:
            if self.acceptance is not None:
                msg = "acceptance= needs the model that it is about: give cheap=."
                raise ConfigurationError(msg)
        elif not (isinstance(self.cheap, str) and self.cheap) and not (
            isinstance(self.cheap, tuple)
            and len(self.cheap) == 2
            and isinstance(self.cheap[0], str)
            and isinstance(self.cheap[1], str | None)
        ):
            msg = "cheap= is a model's name, or a pair of its name and its provider."
            raise ConfigurationError(msg)

    @property
    def cheap_model(self) -> Model | None:
        """The cheap model and its provider."""
        return (self.cheap, None) if isinstance(self.cheap, str) else self.cheap
