"""Retrieval by words: BM25 over documents in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

from langchain_lean.context.retrieval.sentences import query_terms, terms
from langchain_lean.errors import ConfigurationError

if TYPE_CHECKING:
    import bm25s


class LexicalRetriever(BaseRetriever):
    """Finds documents by the words they share with a query (BM25, by `bm25s`).

    Documents that share none are not returned.

    Attributes:
        documents: What is searched.
        k: How many to return at most.
    """

    documents: list[Document]
    k: int = 20

    _index: bm25s.BM25 | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, documents: Iterable[Document], *, k: int = 20) -> LexicalRetriever:
        """Index documents.

        Args:
            documents: What to search; it is copied.
            k: How many to return at most.

        Raises:
            ConfigurationError: If there are no documents, `k` is below 1, or the
                `local` extra is not installed.
        """
        try:
            import bm25s
        except ImportError:
            msg = (
                "A BM25 retriever needs the 'local' extra: "
                "pip install 'langchain-lean-ai[local]'."
            )
            raise ConfigurationError(msg) from None
        found = list(documents)
        odd = [each for each in found if not isinstance(each, Document)]
        if odd:
            msg = f"A BM25 retriever takes documents, not {type(odd[0]).__name__}."
            raise ConfigurationError(msg)
        if type(k) is not int or k < 1 or not found:
            msg = "A BM25 retriever needs documents to search, and k= of at least 1."
            raise ConfigurationError(msg)
        made = cls(documents=found, k=k)
        words = [terms(document.page_content) for document in found]
        if any(words):
            made._index = bm25s.BM25()
            made._index.index(words, show_progress=False)
        return made

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        if self._index is None:
            return []
        asked = [term for term in query_terms(query) if term in self._index.vocab_dict]
        if not asked:
            return []
        scores = self._index.get_scores(asked)
        best = np.argsort(-scores, kind="stable")[: self.k]
        return [self.documents[index] for index in best if scores[index] > 0]
