"""A router in three parts, for graphs that draft, verify and answer in nodes apart."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from langchain_lean.routing.answering.draft import Draft, going_on
from langchain_lean.routing.answering.run import Run

MakeRun = Callable[[Any, RunnableConfig], Run]


class RouterParts:
    """Drafts an answer, verifies it, and gives it or a stronger model's.

    Made by `EscalationRouter.parts`. Together the three do what the router does in one
    node; what is between them is a `Draft`, of plain values that checkpointers keep.
    With `stream_mode="messages"` a draft is shown while it is written where its first
    tokens are enough for the policy, else once it is verified.

    Args:
        run: Begins a request: takes its messages and the configuration.
        strongest: What the router calls its last model.
        place: Where that stands in the ladder.
    """

    def __init__(self, run: MakeRun, strongest: str, place: int) -> None:
        self._run = run
        self._strongest = going_on(strongest, place)
        self.draft: Runnable[Any, Draft] = RunnableLambda(
            self._draft, self._adraft, name="EscalationRouter.draft"
        )
        """Takes a prompt and gives a draft of the answer."""
        self.verify: Runnable[Mapping[str, Any], Draft] = RunnableLambda(
            self._verify, self._averify, name="EscalationRouter.verify"
        )
        """Takes `messages`, the prompt, and a `draft`, and gives it with a verdict."""
        self.answer: Runnable[Mapping[str, Any], AIMessage] = RunnableLambda(
            self._answer, self._aanswer, name="EscalationRouter.answer"
        )
        """Takes the same and gives the answer. Without a draft the strongest model goes
        on, such as behind the tools it called."""

    def _draft(self, prompt: Any, config: RunnableConfig) -> Draft:
        run = self._run(prompt, config)
        return _taken(run, run.drafting()).given_draft

    async def _adraft(self, prompt: Any, config: RunnableConfig) -> Draft:
        run = self._run(prompt, config)
        return (await _ataken(run, run.drafting())).given_draft

    def _verify(self, given: Mapping[str, Any], config: RunnableConfig) -> Draft:
        run = self._run(given["messages"], config)
        return _taken(run, run.verifying(given["draft"])).given_draft

    async def _averify(self, given: Mapping[str, Any], config: RunnableConfig) -> Draft:
        run = self._run(given["messages"], config)
        return (await _ataken(run, run.verifying(given["draft"]))).given_draft

    def _answer(self, given: Mapping[str, Any], config: RunnableConfig) -> AIMessage:
        draft = self._given(given)
        if draft["answer"] is not None and draft["status"] == "final":
            return draft["answer"]
        run = self._run(given["messages"], config)
        return _taken(run, run.finishing(draft)).answer

    async def _aanswer(
        self, given: Mapping[str, Any], config: RunnableConfig
    ) -> AIMessage:
        draft = self._given(given)
        if draft["answer"] is not None and draft["status"] == "final":
            return draft["answer"]
        run = self._run(given["messages"], config)
        return (await _ataken(run, run.finishing(draft))).answer

    def _given(self, given: Mapping[str, Any]) -> Draft:
        return given.get("draft") or self._strongest


def _taken(run: Run, steps: Generator[Any, Any, None]) -> Run:
    for _ in run.pieces(steps):
        pass
    return run


async def _ataken(run: Run, steps: Generator[Any, Any, None]) -> Run:
    async for _ in run.apieces(steps):
        pass
    return run
