"""What a budget retriever asks of others, each in a sync and an async form."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import (
    ContextThreadPoolExecutor,
    set_config_context,
)


class Call(Protocol):
    """Something to ask of others."""

    def run(self) -> Any:
        """Ask, and wait for the answer."""

    async def arun(self) -> Any:
        """`run` for asyncio."""


class WrongTypeError(TypeError):
    """What was asked for documents gave something else; says what."""


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

    def run(self) -> list[list[Document] | Exception]:
        """What each found, or why it found nothing."""
        *others, last = self.retrievers
        if not others:
            return [self._one(last)]
        with ContextThreadPoolExecutor(max_workers=len(others)) as executor:
            under_way = [executor.submit(self._one, each) for each in others]
            found = self._one(last)
        return [*(each.result() for each in under_way), found]

    async def arun(self) -> list[list[Document] | Exception]:
        """`run` for asyncio."""
        return list(await asyncio.gather(*map(self._aone, self.retrievers)))

    def _one(self, retriever: Runnable[str, Any]) -> list[Document] | Exception:
        try:
            found = retriever.invoke(self.query, {"callbacks": self.callbacks})
            return _documents(found)
        except Exception as error:
            return error

    async def _aone(self, retriever: Runnable[str, Any]) -> list[Document] | Exception:
        try:
            found = await retriever.ainvoke(self.query, {"callbacks": self.callbacks})
            return _documents(found)
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

    def run(self) -> list[Document]:
        """The documents it keeps, in its order."""
        ask = self.reranker.compress_documents
        return _documents(ask(self._copies(), self.query, self.callbacks))

    async def arun(self) -> list[Document]:
        """`run` for asyncio."""
        ask = self.reranker.acompress_documents
        return _documents(await ask(self._copies(), self.query, self.callbacks))

    def _copies(self) -> list[Document]:
        """The documents for a reranker to write its scores on."""
        return [
            each.model_copy(update={"metadata": {**each.metadata}})
            for each in self.documents
        ]


@dataclass(frozen=True, slots=True)
class Embed:
    """Ask for embeddings of a query and of sentences.

    Attributes:
        embeddings: Whom to ask.
        query: The query.
        sentences: The sentences; none where all of them are known.
        callbacks: Whom embeddings tell that account for themselves.
    """

    embeddings: Embeddings
    query: str
    sentences: list[str]
    callbacks: Callbacks

    def run(self) -> tuple[list[float], list[list[float]]]:
        """The embedding of the query, and one for each sentence."""
        with set_config_context({"callbacks": self.callbacks}) as context:
            return context.run(self._ask)

    async def arun(self) -> tuple[list[float], list[list[float]]]:
        """`run` for asyncio."""
        with set_config_context({"callbacks": self.callbacks}) as context:
            return await asyncio.create_task(self._aask(), context=context)

    def _ask(self) -> tuple[list[float], list[list[float]]]:
        query = self.embeddings.embed_query(self.query)
        if not self.sentences:
            return query, []
        return query, self.embeddings.embed_documents(self.sentences)

    async def _aask(self) -> tuple[list[float], list[list[float]]]:
        query = await self.embeddings.aembed_query(self.query)
        if not self.sentences:
            return query, []
        return query, await self.embeddings.aembed_documents(self.sentences)


def _documents(answer: object) -> list[Document]:
    if not isinstance(answer, Sequence) or isinstance(answer, str):
        msg = f"it returned {type(answer).__name__}, no documents"
        raise WrongTypeError(msg)
    for document in answer:
        if not isinstance(document, Document):
            msg = f"it returned a list with {type(document).__name__}, not of documents"
            raise WrongTypeError(msg)
    return list(answer)
