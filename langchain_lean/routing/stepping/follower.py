"""Following the chains and tools of a run on the event loop, in a cap's place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler

if TYPE_CHECKING:
    from langchain_lean.routing.steps import StepCap


class Follower(BaseCallbackHandler):
    """Tells a cap of chains, tools and retrievers; made by `StepCap.followed`.

    A handler that may refuse calls is told of every event on a thread of its own. These
    are many, and of them none is refused.

    Args:
        cap: The cap.
    """

    run_inline = True

    def __init__(self, cap: StepCap) -> None:
        self.on_chain_start: Any = cap.on_chain_start
        self.on_chain_end: Any = cap.on_chain_end
        self.on_chain_error: Any = cap.on_chain_error
        self.on_tool_start: Any = cap.on_tool_start
        self.on_tool_end: Any = cap.on_tool_end
        self.on_tool_error: Any = cap.on_tool_error
        self.on_retriever_start: Any = cap.on_retriever_start
        self.on_retriever_end: Any = cap.on_retriever_end
        self.on_retriever_error: Any = cap.on_retriever_error

    ignore_llm = ignore_chat_model = ignore_custom_event = property(lambda self: True)
