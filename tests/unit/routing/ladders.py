"""Cheap and strong stand-ins, policies with a mind of their own, and graphs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.graph import START, StateGraph

from langchain_lean.routing.router import EscalationRouter, RouteState
from langchain_lean.routing.verdict import EscalationPolicy, Verdict
from langchain_lean.testing import ScriptedChatModel

Run = Callable[[Any, Any, Any], Awaitable[Any]]

CHEAP, STRONG = "claude-haiku-4-5", "claude-sonnet-4-5"
ASKED = [HumanMessage("Why?", id="why")]

GOOD, BAD = "A good answer.", "A bad answer."


class Bad(EscalationPolicy):
    """Escalates what calls itself bad."""

    def judge(self, messages: Sequence[BaseMessage], answer: AIMessage) -> Verdict:
        bad = "bad" in answer.text
        return Verdict(bad, 0.2 if bad else 0.9, "it is bad" if bad else "it is good")


class Screen(EscalationPolicy):
    """Escalates, or not, before there is an answer."""

    def __init__(self, escalate: bool) -> None:
        self.escalate = escalate

    def screen(self, messages: Sequence[BaseMessage]) -> Verdict:
        return Verdict(self.escalate, 0.5, "it was screened")


class Fails(EscalationPolicy):
    """Raises, whatever it is asked."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def screen(self, messages: Sequence[BaseMessage]) -> Verdict | None:
        raise self.error

    def judge(
        self, messages: Sequence[BaseMessage], answer: AIMessage
    ) -> Verdict | None:
        raise self.error


def model(*responses: Any, name: str = CHEAP, **options: Any) -> ScriptedChatModel:
    """A stand-in that answers in turn, for ever."""
    return ScriptedChatModel(
        responses=list(responses),
        loop=True,
        model_name=name,
        provider="anthropic",
        **options,
    )


def router(
    cheap: Any = GOOD, strong: Any = "The strong answer.", **options: Any
) -> EscalationRouter:
    """A router of two stand-ins, `haiku` and `sonnet`."""
    models = {
        "haiku": model(cheap) if isinstance(cheap, str) else cheap,
        "sonnet": model(strong, name=STRONG) if isinstance(strong, str) else strong,
    }
    return EscalationRouter(models, **{"policy": Bad(), **options})


def graph(node: Any, state: Any = RouteState, **options: Any) -> Any:
    """A graph of one node, `answer`."""
    builder = StateGraph(state)
    builder.add_node("answer", node)
    builder.add_edge(START, "answer")
    return builder.compile(**options)


def calls(asked: EscalationRouter) -> Mapping[str, int]:
    """How often each model was asked."""
    models: Any = asked.models
    return {name: len(each.calls) for name, each in models.items()}


async def invoke(runnable: Any, given: Any, config: Any = None) -> Any:
    return runnable.invoke(given, config)


async def ainvoke(runnable: Any, given: Any, config: Any = None) -> Any:
    return await runnable.ainvoke(given, config)


both = pytest.mark.parametrize("run", [invoke, ainvoke])


def lean(message: Any) -> list[dict[str, Any]]:
    """What was noted on an answer."""
    notes: list[dict[str, Any]] = message.response_metadata.get("lean", [])
    return notes
