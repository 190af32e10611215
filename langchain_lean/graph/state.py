"""What the lean graph carries from node to node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired

from langchain_core.documents import Document
from langchain_core.messages import AnyMessage
from typing_extensions import TypedDict

from langchain_lean.routing.answering.draft import Draft
from langchain_lean.routing.router import RouteState

Way = Literal["faq", "rag", "agent"]
"""How a question is answered: a set answer, documents, or tools and the model alone."""


class Need(TypedDict):
    """What a question needs, as plain values.

    Attributes:
        route: How it is answered.
        needs_rag: Whether documents go into the prompt.
        needs_tools: Whether tools are called.
        answer: The set answer; None where there is none.
        reason: Who said so.
    """

    route: Way
    needs_rag: bool
    needs_tools: bool
    answer: str | None
    reason: str


class LeanState(RouteState):
    """The state of the lean graph; extend it for what your tools and nodes keep.

    It needs no more than `messages`, and ends on the answer; `route` says who gave it.

    Attributes:
        need: What the newest question needs; None where the cache answered it.
        documents: What was retrieved for it.
        draft: Its answer on the way to being verified; None once it is given.
        short_messages: What is sent instead of `messages`, where a memory keeps those.
    """

    need: NotRequired[Need | None]
    documents: NotRequired[list[Document]]
    draft: NotRequired[Draft | None]
    short_messages: NotRequired[list[AnyMessage]]


def need_of(state: Mapping[str, Any]) -> Need:
    """What the newest question needs; a model alone where nothing was decided."""
    found: Need | None = state.get("need")
    return found or Need(
        route="agent",
        needs_rag=False,
        needs_tools=True,
        answer=None,
        reason="there was nothing to decide",
    )
