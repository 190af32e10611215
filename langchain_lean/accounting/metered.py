"""Embeddings whose calls stand in the ledger; no callback sees those."""

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

from langchain_lean.accounting.attribution import running_handlers
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.accounting.tracking import tracked
from langchain_lean.accounting.usage import TokenUsage

if TYPE_CHECKING:
    from langchain_lean.accounting.ledger import TokenLedger

_NAMES = ("model", "model_name", "model_id")
_NO_PROVIDERS = ("langchain_core", "langchain_lean", "langchain_tests")


class MeteredEmbeddings(Embeddings):
    """Embeddings that account for themselves.

    LangChain's embeddings pass on no usage, so tokens are counted here and the
    entries are marked as estimated.

    Args:
        embeddings: The embeddings to use.
        ledger: A ledger to account to, besides those that are listening: in the
            callbacks of a chain or graph that is running, and of `track()`. Needed
            where the embeddings are called outside of both.
        model: The model's id; read off the embeddings if not given.
        provider: The provider as LangChain names it; that of the package the
            embeddings come from if not given.
        source: Set it where a lever embeds on its own behalf (`lc_source`).
    """

    def __init__(
        self,
        embeddings: Embeddings,
        ledger: "TokenLedger | None" = None,
        *,
        model: str | None = None,
        provider: str | None = None,
        source: str | None = None,
    ) -> None:
        self.embeddings = embeddings
        self._ledger = ledger
        self.model = model or embeddings_name(embeddings)
        self.provider = provider or _provider(embeddings)
        self.source = source

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts, and account for it."""
        started = time.perf_counter()
        vectors = self.embeddings.embed_documents(texts)
        self._record(texts, time.perf_counter() - started)
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed one text, and account for it."""
        started = time.perf_counter()
        vector = self.embeddings.embed_query(text)
        self._record([text], time.perf_counter() - started)
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts, and account for it."""
        started = time.perf_counter()
        vectors = await self.embeddings.aembed_documents(texts)
        self._record(texts, time.perf_counter() - started)
        return vectors

    async def aembed_query(self, text: str) -> list[float]:
        """Embed one text, and account for it."""
        started = time.perf_counter()
        vector = await self.embeddings.aembed_query(text)
        self._record([text], time.perf_counter() - started)
        return vector

    @cached_property
    def _counter(self) -> TokenCounter:
        return TokenCounter(encoding="cl100k_base")  # that of OpenAI's embeddings

    def _record(self, texts: Sequence[str], seconds: float) -> None:
        from langchain_lean.accounting.ledger import TokenLedger

        handlers = (self._ledger, *running_handlers(), *tracked())
        ledgers = {id(h): h for h in handlers if isinstance(h, TokenLedger)}
        if not ledgers:
            return
        usage = TokenUsage(input=sum(map(self._counter.count, texts)))
        for ledger in ledgers.values():
            ledger.record(
                model=self.model,
                provider=self.provider,
                usage=usage,
                kind="embedding",
                source=self.source,
                seconds=seconds,
                estimated=True,
            )


def metered(embeddings: Embeddings, *, source: str) -> Embeddings:
    """Embeddings of a lever, a provider's accounted for as the lever's own cost.

    Args:
        embeddings: The embeddings.
        source: The lever.

    Returns:
        The same, if they are metered already or run without a provider.
    """
    if isinstance(embeddings, MeteredEmbeddings) or _provider(embeddings) is None:
        return embeddings
    return MeteredEmbeddings(embeddings, source=source)


def embeddings_name(embeddings: Embeddings) -> str:
    """What embeddings call themselves; the name of their class if they say nothing."""
    names = (getattr(embeddings, name, None) for name in _NAMES)
    found = next((name for name in names if isinstance(name, str) and name), None)
    return found or type(embeddings).__name__


def _provider(embeddings: Embeddings) -> str | None:
    """`langchain_openai` is the package of `openai`, save for its Azure classes."""
    if type(embeddings).__name__.startswith("Azure"):
        return "azure"
    package = type(embeddings).__module__.split(".")[0]
    known = package.startswith("langchain_") and package not in _NO_PROVIDERS
    return package.removeprefix("langchain_") if known else None
