"""What a budget retriever asks of others, each in a sync and an async form."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import ContextThreadPoolExecutor


class Call(Protocol):
    """Something to ask of others."""

    def run(self) -> Any:
        """Ask, and wait for the answer."""

    async def arun(self) -> Any:
        """`run` for asyncio."""


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Ask retrievers side by side.

    Attributes:
        retrievers: Whom to ask.
        query: What for.
        callbacks: Whom they tell.
    """

    retrievers: Sequence[Runnable[str, Any]]
    query: str
    callbacks: Callbacks

    def run(self) -> list[Any]:
        """What each found, or the error it raised."""
        *others, last = self.retrievers
        if not others:
            return [self._one(last)]
        with ContextThreadPoolExecutor(max_workers=len(others)) as executor:
            under_way = [executor.submit(self._one, each) for each in others]
            found = self._one(last)
        return [*(each.result() for each in under_way), found]

    async def arun(self) -> list[Any]:
        """`run` for asyncio."""
        config: Any = {"callbacks": self.callbacks}
        asked = [each.ainvoke(self.query, config) for each in self.retrievers]
        return list(await asyncio.gather(*map(_caught, asked)))

    def _one(self, retriever: Runnable[str, Any]) -> Any:
        try:
            return retriever.invoke(self.query, {"callbacks": self.callbacks})
        except Exception as error:
            return error


async def _caught(asked: Any) -> Any:
    try:
        return await asked
    except Exception as error:
        return error


@dataclass(frozen=True, slots=True)
class Rerank:
    """Ask a reranker for the order of documents.

    Attributes:
        reranker: Whom to ask.
        documents: What to order, best first.
        query: What for.
        callbacks: Whom it tells.
    """

    reranker: BaseDocumentCompressor
    documents: Sequence[Document]
    query: str
    callbacks: Callbacks

    def run(self) -> Sequence[Document]:
        """The documents it keeps, in its order."""
        return self.reranker.compress_documents(
            self.documents, self.query, self.callbacks
        )

    async def arun(self) -> Sequence[Document]:
        """`run` for asyncio."""
        return await self.reranker.acompress_documents(
            self.documents, self.query, self.callbacks
        )


@dataclass(frozen=True, slots=True)
class Embed:
    """Ask for embeddings of a query and of sentences.

    Attributes:
        embeddings: Whom to ask.
        query: The query.
        sentences: The sentences; none where all of them are known.
    """

    embeddings: Embeddings
    query: str
    sentences: list[str]

    def run(self) -> tuple[list[float], list[list[float]]]:
        """The embedding of the query, and one for each sentence."""
        query = self.embeddings.embed_query(self.query)
        if not self.sentences:
            return query, []
        return query, self.embeddings.embed_documents(self.sentences)

    async def arun(self) -> tuple[list[float], list[list[float]]]:
        """`run` for asyncio."""
        query = await self.embeddings.aembed_query(self.query)
        if not self.sentences:
            return query, []
        return query, await self.embeddings.aembed_documents(self.sentences)
