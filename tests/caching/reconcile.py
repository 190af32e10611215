"""Whether what a cache finds by its key is what it finds by nearness, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.caching.killed_workers import (
    QUESTIONS,
    TENANTS,
    DigestEmbeddings,
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
    """Look for every question of every tenant, by its key and by its vector."""
    store = shared_cache(url).store
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
