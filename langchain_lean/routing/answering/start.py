"""Whom to ask first, where an earlier answer of the conversation decides it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from langchain_core.messages import BaseMessage

from langchain_lean.messages import last_human_index, role
from langchain_lean.routing.answering.route import note_of

_IN_TURN = "it answered the step before"
_STICKY = "it answered before in this conversation"

Start = tuple[int, str | None]
"""The place in the ladder, and why if that was decided before."""


def begins(
    messages: Sequence[BaseMessage],
    names: Sequence[str],
    *,
    node: str | None,
    sticky: bool,
) -> Start:
    """Whom a router asks first.

    Args:
        messages: The conversation.
        names: The models, cheapest first.
        node: The node of a graph the router is; answers of others do not count.
        sticky: Whether the model that gave the last answer goes on.
    """
    turn = messages[last_human_index(messages) + 1 :]
    name = _answered_by(turn, names, node)
    if name is not None:
        return names.index(name), _IN_TURN
    name = _answered_by(messages, names, node) if sticky else None
    if name is not None and name != names[0]:
        return names.index(name), _STICKY
    return 0, None


def screens(
    messages: Sequence[BaseMessage],
    names: Sequence[str],
    routed: str | None,
    *,
    sticky: bool,
) -> Start:
    """Whom a screen begins with: nodes of your own note nothing on their answers.

    Args:
        messages: The conversation.
        names: The models, cheapest first.
        routed: Whom the state names, from the screen before.
        sticky: As for `begins`.
    """
    if routed not in names:
        return 0, None
    place = names.index(routed)
    turn = messages[last_human_index(messages) + 1 :]
    if any(role(message) == "ai" for message in turn):
        return place, _IN_TURN
    return (place, _STICKY) if sticky and place else (0, None)


def _answered_by(
    messages: Sequence[BaseMessage], names: Collection[str], node: str | None
) -> str | None:
    """The model that gave the last answer, as the router noted it."""
    for message in reversed(messages):
        if role(message) == "ai":
            done = note_of(message)
            name = (done.get("route") or {}).get("model")
            if name in names and done.get("node") == node:
                return str(name)
    return None
