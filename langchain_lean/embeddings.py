"""Embeddings that run on this machine, without a key or a network."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_lean.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings


@contextmanager
def _root_logger_left_alone() -> Iterator[None]:
    """Importing `wordllama` configures the root logger, unless it has a handler."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def local_embeddings() -> "Embeddings":
    """Load the static word embeddings of the `local` extra.

    `wordllama` carries 16 MB of weights and needs numpy alone: a query takes about
    0.1 ms. They are good at telling topics apart and blind to word order.

    Returns:
        LangChain embeddings of 256 dimensions.

    Raises:
        ConfigurationError: If the extra is not installed.
    """
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        msg = (
            "Local embeddings need the 'local' extra: "
            "pip install 'langchain-lean-ai[local]'."
        )
        raise ConfigurationError(msg)
    import numpy as np
    from langchain_core.embeddings import Embeddings

    with _root_logger_left_alone():
        from wordllama import WordLlama

    package = Path(spec.origin).parent

    class LocalEmbeddings(Embeddings):
        """Static word embeddings, averaged and normalized."""

        model = "wordllama"

        def __init__(self) -> None:
            self._model = WordLlama.load(cache_dir=package, disable_download=True)

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            """Embed texts, one vector of length 1 each; 0 for a text without words."""
            if not texts:
                return []
            # Half a surrogate pair has no UTF-8, which the tokenizer needs.
            clean = [t.encode("utf-8", "replace").decode("utf-8") for t in texts]
            vectors = self._model.embed(clean)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            unit: list[list[float]] = (vectors / np.maximum(lengths, 1e-12)).tolist()
            return unit

        def embed_query(self, text: str) -> list[float]:
            """Embed one text."""
            return self.embed_documents([text])[0]

    return LocalEmbeddings()
