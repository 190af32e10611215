"""A ready graph: a cached answer, documents, an agent, and the strong model if need be.

`build_lean_graph` builds it; `LeanState` is what it carries.
"""

from langchain_lean.graph.build import LeanGraph, build_lean_graph
from langchain_lean.graph.state import LeanState, Need

__all__ = ["LeanGraph", "LeanState", "Need", "build_lean_graph"]
