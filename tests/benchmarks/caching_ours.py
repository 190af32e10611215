"""Our own cache, as the caching benchmarks compare it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration

from langchain_lean import SemanticCache
from langchain_lean.accounting.metered import embeddings_name
from langchain_lean.caching.prompts import read_prompt
from langchain_lean.caching.records import Record, to_text
from langchain_lean.caching.stores.base import Item
from tests.benchmarks.caching_peers import BATCH, CachePeer, Setup, shown

THRESHOLD = 0.8  # what is compared is the time of a hit, and not how often there is one


class Ours(CachePeer):
    """`SemanticCache`, filled with what its `update` writes."""

    def __init__(self, name: str, setup: Setup, store: str) -> None:
        similarity = THRESHOLD if setup.similarity is None else setup.similarity
        self._ours = SemanticCache(
            setup.embeddings, store=store, threshold=similarity, on_error="raise"
        )
        self._embeddings = setup.embeddings
        super().__init__(name, self._ours, setup.system)

    def fill(self, questions: Sequence[str], answers: Sequence[str]) -> None:
        """Keep them; one by one where they are few."""
        if len(questions) == 1:
            super().fill(questions, answers)
            return
        starts = range(0, len(questions), BATCH)
        for start in shown(starts, self, len(questions)):
            self._put(questions[start : start + BATCH], answers[start : start + BATCH])

    def _put(self, questions: Sequence[str], answers: Sequence[str]) -> None:
        vectors = np.array(self._embeddings.embed_documents(list(questions)))
        for question, answer, vector in zip(questions, answers, vectors, strict=True):
            asked = read_prompt(
                self.prompt(question),
                self.llm_string,
                tenant=None,
                embeddings=embeddings_name(self._embeddings),
            )
            record = Record(
                question=question,
                answers=[ChatGeneration(message=AIMessage(answer))],
                model=None,
                provider=None,
                seconds=1.0,
                stored=0.0,
            )
            item = Item(
                key=asked.key, value=to_text(record), label=asked.key, vector=vector
            )
            self._ours.store.put(asked.partition, item)


class InAFile(Ours):
    """Ours in a SQLite file of its own."""

    def __init__(self, setup: Setup) -> None:
        self._folder = TemporaryDirectory()
        path = Path(self._folder.name) / "cache.db"
        super().__init__("langchain_lean, SQLite", setup, f"sqlite:///{path}")

    def close(self) -> None:
        """Remove the file."""
        self._ours.close()
        self._folder.cleanup()


def in_our_memory(setup: Setup) -> Ours:
    """Ours in memory."""
    return Ours("langchain_lean, memory", setup, "memory://")


def in_redis(setup: Setup) -> Ours:
    """Ours in Redis."""
    return Ours("langchain_lean, Redis", setup, setup.url)
