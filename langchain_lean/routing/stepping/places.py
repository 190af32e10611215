"""Where in a run a step is taken: in the outermost graph, or below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from langgraph.types import Command

_REMEMBERED = 100_000


class Places:
    """Follows chains and tools under way, and how deep they lie in each other."""

    def __init__(self) -> None:
        # In how many nodes of graphs, one inside the other; a tool is two.
        self._depths: dict[UUID | None, int] = {}

    def enter(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        tags: Sequence[str] | None,
        *,
        tool: bool,
    ) -> None:
        """A run has started.

        Args:
            run_id: The run.
            parent_run_id: The run it was called from.
            tags: Its tags.
            tool: It is a tool's.
        """
        above = self._depths.get(parent_run_id, 0)
        self._depths[run_id] = above + (2 if tool else _is_node(tags))
        if len(self._depths) > _REMEMBERED:  # a cancelled tool sends no end
            # Other threads may be at the same.
            with suppress(StopIteration, RuntimeError):
                self._depths.pop(next(iter(self._depths)), None)

    def leave(self, run_id: UUID) -> None:
        """A run has ended."""
        self._depths.pop(run_id, None)

    def __contains__(self, run_id: UUID | None) -> bool:
        return run_id in self._depths

    def nested(self, run_id: UUID | None) -> bool:
        """Whether a run is part of a graph inside of a graph, or of a tool."""
        return self._depths.get(run_id, 0) > 1


def is_graph(metadata: Mapping[str, Any] | None) -> bool:
    """Whether a run with this metadata is a graph's, or part of one.

    LangGraph, and `create_agent` on top of it, name themselves there.
    """
    return "ls_integration" in (metadata or {})


def goes_on(inputs: object) -> bool:
    """Whether a graph that is given this goes on where it stopped."""
    return inputs is None or (isinstance(inputs, Command) and inputs.resume is not None)


def _is_node(tags: Sequence[str] | None) -> bool:
    """Whether a run with these tags is a node's; a task that a node calls is none."""
    return any(tag.startswith("graph:step:") for tag in tags or ())
