"""Whether what a cache finds by its key is what it finds by nearness, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from langchain_lean import scope
from tests.caching.killed_workers import (
    QUESTIONS,
    TENANTS,
    DigestEmbeddings,
    answering,
    asked_by,
    shared_cache,
)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was compared.

    Attributes:
        kept: How many entries there are.
        lost: Keys that are found in one way only.
    """

    kept: int
    lost: list[str]


def lost_entries(url: str) -> Reconciled:
    """Look for every question of every tenant, by its key and by its vector.

    Some are asked before, so that there is something to find.
    """
    cache = shared_cache(url)
    store, model = cache.store, cache.model(answering(lambda _: "It is on its way."))
    for tenant in TENANTS:
        with scope(user_id=tenant):
            model.batch(QUESTIONS[:5])
    kept, lost = 0, []
    for tenant in TENANTS:
        by_key, by_vector = set(), set()
        for question in QUESTIONS:
            asked = asked_by(tenant, question)
            if store.get(asked.partition, asked.key) is not None:
                by_key.add(asked.key)
            vector = np.array(DigestEmbeddings().embed_query(question))
            near = store.nearest(asked.partition, vector / np.linalg.norm(vector), 1)
            by_vector.update(one.key for one in near if one.similarity > 0.99)
        kept += len(by_key)
        lost += sorted(by_key ^ by_vector)
    return Reconciled(kept, lost)
