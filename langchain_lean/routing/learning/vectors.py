"""The embeddings of texts: whose they are, and what comes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_lean.accounting.metered import MeteredEmbeddings, metered
from langchain_lean.embeddings import local_embeddings
from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.verdict import LEVER
from langchain_lean.vectors import Floats, as_vectors

GivenEmbeddings = Embeddings | Literal[False] | None
"""Embeddings, None for those of the `local` extra, or False for none at all."""

_NOTHING = 1e-12  # the length of an embedding that says nothing


def embeddings_of(given: GivenEmbeddings) -> Embeddings | None:
    """The embeddings to use; a provider's are accounted for as the router's own cost.

    Raises:
        ConfigurationError: If they are none, or the `local` extra is not installed.
    """
    if given is False:
        return None
    if given is None:
        return local_embeddings()
    if not isinstance(given, Embeddings):
        msg = f"embeddings= takes LangChain embeddings, not {type(given).__name__}."
        raise ConfigurationError(msg)
    return metered(given, source=LEVER)


def name_of(embeddings: Embeddings) -> str:
    """What embeddings call themselves."""
    return MeteredEmbeddings(embeddings).model


def same_embeddings(
    name: str | None, given: GivenEmbeddings, dimensions: int
) -> Embeddings | None:
    """The embeddings that a policy was fitted with.

    Args:
        name: What those are called; None if there were none.
        given: Those that were given.
        dimensions: How wide those of the policy are.

    Raises:
        ConfigurationError: If those that were given are others.
    """
    if name is None:
        return None
    found = embeddings_of(given)
    if found is not None and name_of(found) == name:
        return found
    msg = (
        f"The policy was fitted with the embeddings {name} of {dimensions} dimensions: "
        "give them with embeddings=..."
    )
    raise ConfigurationError(msg)


def unit_vectors(values: Sequence[Sequence[float]], rows: int) -> Floats:
    """Embeddings of the texts of rows, each of length 1 (0 if it says nothing).

    Args:
        values: The embeddings, text by text; none where texts are not embedded.
        rows: How many rows the texts belong to.

    Returns:
        (rows, texts, dimensions), with 0 texts of 0 dimensions if there are none.

    Raises:
        ValueError: If they are no finite numbers of one length.
    """
    if not len(values):
        return np.zeros((rows, 0, 0))
    found = as_vectors(values, -(-len(values) // rows) * rows)
    vectors = found.reshape(rows, -1, found.shape[1])
    lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
    unit: Floats = vectors / np.maximum(lengths, _NOTHING)
    return unit
