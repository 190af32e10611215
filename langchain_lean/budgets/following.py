"""A guard as two handlers, which take less time on an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.callbacks import BaseCallbackHandler

if TYPE_CHECKING:
    from langchain_lean.budgets.guard import BudgetGuard

_FOLLOWED = tuple(
    f"on_{step}_{event}"
    for step in ("chain", "tool", "retriever")
    for event in ("start", "end", "error")
)
_GUARDED = (
    "on_chat_model_start",
    "on_llm_start",
    "on_llm_new_token",
    "on_stream_event",
    "on_llm_end",
    "on_llm_error",
)


def followed(guard: BudgetGuard) -> list[BaseCallbackHandler]:
    """A guard as two handlers, to be given in its place.

    A handler that may refuse calls is told of every event on a thread of its own. Of
    chains, tools and retrievers there are many, and none is refused: these are followed
    on the event loop itself. A guard whose store fails cannot refuse a chain then, but
    does refuse the next call.

    Args:
        guard: The guard.
    """
    return [_Follower(guard), _Guarded(guard)]


class _Handler(BaseCallbackHandler):
    """Passes some events on to a guard."""

    def __init__(self, guard: BudgetGuard, events: tuple[str, ...]) -> None:
        for event in events:
            setattr(self, event, getattr(guard, event))
        self.guard = guard


class _Follower(_Handler):
    """Tells a guard of chains, tools and retrievers."""

    run_inline = True
    ignore_llm = ignore_chat_model = ignore_custom_event = property(lambda _: True)

    def __init__(self, guard: BudgetGuard) -> None:
        super().__init__(guard, _FOLLOWED)

    @property
    def ignore_chain(self) -> bool:
        """Whether the guard needs to know of chains."""
        return self.guard.ignore_chain

    @property
    def ignore_agent(self) -> bool:
        """Whether the guard needs to know of tools."""
        return self.guard.ignore_agent

    @property
    def ignore_retriever(self) -> bool:
        """Whether the guard needs to know of retrievers."""
        return self.guard.ignore_retriever


class _Guarded(_Handler):
    """Has a guard grant, refuse and settle the calls of models."""

    raise_error = True
    ignore_chain = ignore_agent = property(lambda _: True)
    ignore_retriever = ignore_custom_event = property(lambda _: True)

    def __init__(self, guard: BudgetGuard) -> None:
        super().__init__(guard, _GUARDED)
        self.stands_for = guard
