"""The nodes that draft, verify and answer: a prompt in, an update of the state out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_lean.context.prefix import before_question
from langchain_lean.graph.state import need_of
from langchain_lean.in_words import in_words
from langchain_lean.messages import last_human_index, note, role, tool_calls
from langchain_lean.node import Node
from langchain_lean.routing.answering.draft import Draft, final
from langchain_lean.routing.answering.parts import RouterParts
from langchain_lean.routing.answering.route import Route, note_of
from langchain_lean.routing.router import EscalationRouter
from langchain_lean.showing import pieces, show, shows_tokens

Routers = dict[Literal["agent", "rag", "final"], EscalationRouter]
"""The models that answer: an agent's, those with documents, and those that write the
last answer of a turn with tools."""

FAQ = "faq"
"""Who gives a set answer, for its route."""

_IS_SET = "it is a set answer"


class Answers:
    """Drafts, verifies and gives answers.

    Args:
        routers: The models that answer; `agent` at least.
        system_prompt: Stands before the conversation in every prompt.
        tools: Whether there is a node that runs tools.
        short: Whether what is sent stands in `short_messages`.
    """

    def __init__(
        self,
        routers: Routers,
        *,
        system_prompt: str | None,
        tools: bool,
        short: bool,
    ) -> None:
        self._routers = dict(routers)
        self._system = [SystemMessage(system_prompt)] if system_prompt else []
        self._tools = tools
        self._short = short
        self.verify: Runnable[Any, Any] = Node(
            self._verify, self._averify, name="verify"
        )
        """A node that has the policy judge the draft."""
        self.answer: Runnable[Any, Any] = Node(
            self._answer, self._aanswer, name="answer"
        )
        """A node that gives the draft, or asks the strong model."""

        self.draft: Runnable[Any, Any] = Node(self._draft, self._adraft, name="draft")
        """A node that drafts an answer; one that calls tools goes to the messages."""

    @property
    def retrieves(self) -> bool:
        """Whether some answers are drafted from documents."""
        return "rag" in self._routers

    def faq(self, state: Any) -> dict[str, Any]:
        """A node that drafts the set answer."""
        answer = AIMessage(need_of(state)["answer"] or "")
        note(answer, lever=FAQ, action="answered", reason=_IS_SET)
        return {"draft": final(answer, FAQ, _IS_SET)}

    def goes_on(self, state: Mapping[str, Any]) -> bool:
        """Whether it was the strong model that called the tools which have run."""
        called = [message for message in _turn(state) if tool_calls(message)]
        route = note_of(called[-1]).get("route") if called else None
        strongest = [*self._router(state).models][-1]
        return route is not None and route["model"] == strongest

    def _draft(self, state: Mapping[str, Any], config: RunnableConfig) -> Any:
        draft = self._parts(state).draft.invoke(self._prompt(state), config)
        return self._drafted(state, draft)

    async def _adraft(self, state: Mapping[str, Any], config: RunnableConfig) -> Any:
        draft = await self._parts(state).draft.ainvoke(self._prompt(state), config)
        return self._drafted(state, draft)

    def _verify(self, state: Mapping[str, Any], config: RunnableConfig) -> Any:
        if (draft := _final(state)) is None:
            draft = self._parts(state).verify.invoke(self._given(state), config)
        return _verified(draft)

    async def _averify(self, state: Mapping[str, Any], config: RunnableConfig) -> Any:
        if (draft := _final(state)) is None:
            draft = await self._parts(state).verify.ainvoke(self._given(state), config)
        return _verified(draft)

    def _answer(self, state: Mapping[str, Any], config: RunnableConfig) -> Any:
        if (draft := _final(state)) is not None:
            return _as_it_is(draft, config)
        return _answered(self._parts(state).answer.invoke(self._given(state), config))

    async def _aanswer(self, state: Mapping[str, Any], config: RunnableConfig) -> Any:
        if (draft := _final(state)) is not None:
            return _as_it_is(draft, config)
        given = self._given(state)
        return _answered(await self._parts(state).answer.ainvoke(given, config))

    def _drafted(self, state: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
        calls = draft["status"] == "final"
        if calls and self._tools and need_of(state)["route"] != "rag":
            return {"messages": [draft["answer"]], "draft": None}
        return {"draft": draft}

    def _router(self, state: Mapping[str, Any]) -> EscalationRouter:
        if need_of(state)["route"] == "rag":
            return self._routers["rag"]
        last = self._routers.get("final")
        if last is not None and any(role(m) == "tool" for m in _turn(state)):
            return last
        return self._routers["agent"]

    def _parts(self, state: Mapping[str, Any]) -> RouterParts:
        return self._router(state).parts

    def _given(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {"messages": self._prompt(state), "draft": state.get("draft")}

    def _prompt(self, state: Mapping[str, Any]) -> list[BaseMessage]:
        """What is sent to a model: the documents stand before the question."""
        need, messages = need_of(state), state["messages"]
        if self._short:
            messages = _continued(state["short_messages"], messages)
        if need["route"] == "rag":  # providers take no tool calls where no tools are
            messages = in_words(messages)
        prompt = [*self._system, *messages]
        documents = (state.get("documents") or []) if need["needs_rag"] else []
        return before_question(prompt, documents)


def _turn(state: Mapping[str, Any]) -> list[BaseMessage]:
    """What has come since the last human message."""
    messages: list[BaseMessage] = state["messages"]
    return messages[last_human_index(messages) + 1 :]


def _continued(
    short: Sequence[BaseMessage], messages: Sequence[BaseMessage]
) -> list[BaseMessage]:
    """A short conversation, and what has come since it was made."""
    end = last_human_index(short)
    known = short[end].id
    ids = [message.id for message in messages]
    since = messages[ids.index(known) + 1 :] if known in ids else ()
    return [*short[: end + 1], *since]


def _final(state: Mapping[str, Any]) -> Draft | None:
    """The draft, where it stands as it is."""
    draft: Draft | None = state.get("draft")
    return draft if draft is not None and draft["status"] == "final" else None


def _verified(draft: Draft) -> dict[str, Any]:
    """The draft, and what is known of its route so far."""
    route = Route(
        model=draft["model"],
        escalated=False,
        reason=draft["reason"],
        verdicts=draft["verdicts"],
        decision_usd=draft["decision_usd"],
    )
    return {"draft": draft, "route": route}


def _answered(answer: AIMessage) -> dict[str, Any]:
    route = note_of(answer)["route"]
    return {"messages": [answer], "route": route, "draft": None}


def _as_it_is(draft: Draft, config: RunnableConfig) -> dict[str, Any]:
    """An answer that nobody judges, shown where tokens are and it was not yet."""
    answer = draft["answer"]
    if answer is not None and not draft["shown"] and shows_tokens(config):
        answer = answer.model_copy(update={"id": answer.id or f"lean-{uuid4()}"})
        show(pieces(answer), config)
    return {"messages": [answer], "draft": None}
