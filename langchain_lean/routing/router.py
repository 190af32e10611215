"""A node that answers with a cheap model, and asks a stronger one when it must."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
)
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.prices.table import price_table
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import not_taken, prompt_messages, state_messages
from langchain_lean.own_run import NodeRun, is_prompt
from langchain_lean.routing.answering.costs import Costs
from langchain_lean.routing.answering.decision import Request
from langchain_lean.routing.answering.ladder import Ladder, Model
from langchain_lean.routing.answering.parts import RouterParts
from langchain_lean.routing.answering.route import Route, RouteState, routed_to
from langchain_lean.routing.answering.run import Run, node_of
from langchain_lean.routing.answering.start import begins, screens
from langchain_lean.routing.verdict import EscalationPolicy

__all__ = ["EscalationRouter", "Route", "RouteState"]

_ROUTE = "route"


class EscalationRouter(NodeRun):
    """Answers with a cheap model, and asks a stronger one when a policy says so.

    As a node of a graph it takes a state with messages and gives an update: the answer
    and its `route` (see `RouteState`). In a chain, `prompt | router`, it takes and
    gives what a chat model does. The route stands in the answer's
    `response_metadata["lean"]`, too: who answered, every verdict, and what the decision
    cost.

    In a stream, tokens of an answer that may be rejected are held back until the policy
    has decided, then shown one by one; a rejected answer is never shown. A model with
    retries or fallbacks around it is shown in one piece. An answer that calls tools is
    not judged. Within a turn the model that took the step before goes
    on, as a change would lose the provider's prompt cache. Where a stronger model is
    over budget, the last cheaper answer is given, and says so.

    To keep answering nodes of your own, use `screen` as a node and `route` as the edge
    behind it.

    A ledger counts the strongest model's price for the tokens of a cheaper answer as a
    counterfactual saving (lever `routing`), less what was spent on rejected answers and
    on deciding.

    Args:
        models: Two chat models or more by name, cheapest first, with tools bound to
            them or not; or their names for `init_chat_model` (the `agents` extra).
        policy: Decides; see `langchain_lean.routing.policies`.
        sticky: Let the model that gave the last answer of a conversation go on, so that
            no turn goes back to a cheaper one.
        messages_key: Where a state has its messages.
        prices: Prices of the models; those of `PriceBook()` by default. The table is
            loaded at construction, which takes half a second.
        counter: Counts tokens where no provider does; a `TokenCounter()` by default.

    Raises:
        ConfigurationError: If something of this makes no sense.

    Example:
        ```python
        router = EscalationRouter(
            {"haiku": haiku, "sonnet": sonnet}, policy=SelfScreen()
        )
        graph.add_node("answer", router)
        ```
    """

    def __init__(
        self,
        models: Mapping[str, Model | str],
        *,
        policy: EscalationPolicy,
        sticky: bool = False,
        messages_key: str = "messages",
        prices: PriceBook | None = None,
        counter: TokenCounter | None = None,
    ) -> None:
        if not isinstance(policy, EscalationPolicy):
            msg = (
                "Give policy= an EscalationPolicy, such as SelfScreen(), not "
                f"{type(policy).__name__}."
            )
            raise ConfigurationError(msg)
        if messages_key == _ROUTE:
            msg = f"Give messages_key= another name than {_ROUTE!r}."
            raise ConfigurationError(msg)
        self.policy = policy
        self.sticky = sticky
        self._ladder = Ladder.of(models)
        self._messages_key = messages_key
        self._prices = prices or PriceBook()
        self._counter = counter or TokenCounter()
        price_table()  # takes half a second, which is no time to take from a call
        self._ladder.warn_of_order(self._prices)

    @property
    def models(self) -> dict[str, Model]:
        """The models by name, cheapest first."""
        return self._ladder.models

    @property
    def identity(self) -> str:
        """What its answers depend on, for a cache: its models and its policy."""
        return f"{self.policy.name} over {self._ladder.described}"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> EscalationRouter:
        """The same with tools bound to all of its models.

        Args:
            tools: What a chat model's `bind_tools` takes.
            kwargs: More of that.

        Raises:
            ConfigurationError: If one of them cannot bind any.
        """
        router = self._copied()
        router._ladder = Ladder.of(self._ladder.with_tools(tools, kwargs))
        return router

    def through(self, ask: Callable[[Model], Model]) -> EscalationRouter:
        """The same with its models asked through something else.

        Args:
            ask: What is asked in place of a model.
        """
        router = self._copied()
        router._ladder = self._ladder.through(ask)
        return router

    def judged_by(self, policy: EscalationPolicy) -> EscalationRouter:
        """The same with another policy."""
        router = self._copied()
        router.policy = policy
        return router

    def _copied(self) -> EscalationRouter:
        router = copy(self)
        for name in ("parts", "screen"):  # of this one
            router.__dict__.pop(name, None)
        return router

    @cached_property
    def parts(self) -> RouterParts:
        """The router as three nodes: one drafts, one verifies, and one answers."""

        def run(prompt: Any, config: RunnableConfig) -> Run:
            return self._run(prompt, config, {})

        rungs = self._ladder.rungs
        return RouterParts(run, self._ladder.strongest.name, len(rungs) - 1)

    @cached_property
    def screen(self) -> Runnable[Any, dict[str, Route]]:
        """A node that decides who is to answer, and writes `route`.

        Raises:
            ConfigurationError: If the policy can only judge answers.
        """
        if not self.policy.alone(self._ladder.rungs[0].model).screens:
            msg = (
                f"{self.policy.name} judges answers and cannot screen questions: make "
                "the router itself the node, or take a policy that screens."
            )
            raise ConfigurationError(msg)
        return RunnableLambda(self._screen, self._ascreen, name="screen")

    def route(self, state: Any) -> str:
        """An edge that reads `route`: the name of the model that is to answer.

        Args:
            state: The state, with what `screen` wrote.

        Raises:
            ConfigurationError: If nobody wrote a route, or it names no model of this
                router.
        """
        name = routed_to(state)
        if name in self._ladder.names:
            return str(name)
        known = ", ".join(self._ladder.names)
        if name is None:
            msg = (
                f"The state has no {_ROUTE!r}: put the node router.screen before this "
                "edge, and use RouteState for the graph."
            )
        else:
            msg = f"The route names a model the router does not have; it has {known}."
        raise ConfigurationError(msg)

    def _invoke(
        self,
        given: Any,
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Any:
        run = self._run(given, config, kwargs)
        for _ in run.pieces(run.answering()):
            pass
        return self._result(given, run)

    async def _ainvoke(
        self,
        given: Any,
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Any:
        run = self._run(given, config, kwargs)
        async for _ in run.apieces(run.answering()):
            pass
        return self._result(given, run)

    def _stream(
        self,
        inputs: Iterator[Any],
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[Any]:
        run = self._run(next(inputs), config, kwargs, streams=True)
        yield from run.pieces(run.answering())

    async def _astream(
        self,
        inputs: AsyncIterator[Any],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        run = self._run(await anext(inputs), config, kwargs, streams=True)
        async for piece in run.apieces(run.answering()):
            yield piece

    def _screen(self, state: Any, config: RunnableConfig) -> dict[str, Route]:
        run = self._run(state, config, {}, alone=True)
        for _ in run.pieces(run.screening()):
            pass
        return {_ROUTE: run.route}

    async def _ascreen(self, state: Any, config: RunnableConfig) -> dict[str, Route]:
        run = self._run(state, config, {}, alone=True)
        async for _ in run.apieces(run.screening()):
            pass
        return {_ROUTE: run.route}

    def _run(
        self,
        given: Any,
        config: RunnableConfig,
        options: Mapping[str, Any],
        *,
        streams: bool = False,
        alone: bool = False,
    ) -> Run:
        messages = self._messages(given)
        names, policy = self._ladder.names, self.policy
        start, settled = begins(
            messages, names, node=node_of(config), sticky=self.sticky
        )
        if alone:
            start, settled = screens(
                messages, names, routed_to(given), sticky=self.sticky
            )
            policy = policy.alone(self._ladder.rungs[start].model)
        return Run(
            Request(self._ladder, policy, messages, start, settled),
            config,
            Costs(self._prices, self._counter),
            self._counter,
            options,
            streams,
        )

    def _messages(self, given: Any) -> list[BaseMessage]:
        if is_prompt(given):
            messages = prompt_messages(given)
        else:
            key, taker = self._messages_key, type(self).__name__
            found = state_messages(given, key, taker=taker)
            if found is None:
                raise ConfigurationError(not_taken(taker, key, given))
            messages = found
        if not messages:
            msg = "There is nothing to answer: give at least one message."
            raise ConfigurationError(msg)
        return messages

    def _result(self, given: Any, run: Run) -> Any:
        if is_prompt(given):
            return run.answer
        return {self._messages_key: [run.answer], _ROUTE: run.route}
