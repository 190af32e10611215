"""The models of a router, cheapest first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from langchain_core.runnables import Runnable

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.budgets.model import BudgetedModel
from langchain_lean.errors import ConfigurationError, UnpricedModelError
from langchain_lean.models import ls_params, model_string

logger = logging.getLogger(__name__)

Model = Runnable[Any, Any]

_A_CALL = TokenUsage(input=1_000, output=250)  # to compare prices by


@dataclass(frozen=True, slots=True)
class Rung:
    """One model of a ladder.

    Attributes:
        name: What the router calls it.
        model: The chat model, with what is bound to it.
        model_name: What it calls itself, for its price.
        provider: Its provider, as LangChain names it.
    """

    name: str
    model: Model
    model_name: str = ""
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Ladder:
    """Two or more models, cheapest first."""

    rungs: tuple[Rung, ...]

    @classmethod
    def of(cls, models: Mapping[str, Model | str]) -> Ladder:
        """The ladder of some named models.

        Args:
            models: By name, cheapest first: chat models, with tools bound to them or
                not, or their names for `init_chat_model` (the `agents` extra).

        Raises:
            ConfigurationError: If there are fewer than two, or one is no chat model.
        """
        if not isinstance(models, Mapping) or len(models) < 2:
            msg = (
                "A router takes two models or more by name, cheapest first: "
                'EscalationRouter({"haiku": haiku, "sonnet": sonnet}, policy=...).'
            )
            raise ConfigurationError(msg)
        return cls(tuple(_rung(name, model) for name, model in models.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """What the models are called, cheapest first."""
        return tuple(rung.name for rung in self.rungs)

    @property
    def strongest(self) -> Rung:
        """The last one."""
        return self.rungs[-1]

    @property
    def models(self) -> dict[str, Model]:
        """The models by name, cheapest first."""
        return {rung.name: rung.model for rung in self.rungs}

    @property
    def described(self) -> str:
        """The models with their parameters, cheapest first."""
        models = (
            m.bound_model if isinstance(m, BudgetedModel) else m
            for m in self.models.values()
        )
        return ", ".join(map(model_string, models))

    def through(self, ask: Callable[[Model], Model]) -> Ladder:
        """The same with its models asked through something else."""
        rungs = (replace(rung, model=ask(rung.model)) for rung in self.rungs)
        return Ladder(tuple(rungs))

    def with_tools(
        self, tools: Sequence[Any], options: Mapping[str, Any]
    ) -> dict[str, Model]:
        """The models with tools bound to each.

        Raises:
            ConfigurationError: If one of them cannot bind any.
        """
        bound: dict[str, Model] = {}
        for name, model in self.models.items():
            binds: Any = model
            try:
                bound[name] = binds.bind_tools(tools, **options)
            except (NotImplementedError, AttributeError):
                msg = (
                    f"{name!r:.60} cannot bind tools; give the router models that can."
                )
                raise ConfigurationError(msg) from None
        return bound

    def warn_of_order(self, prices: PriceBook) -> None:
        """Say so in the log where a model costs less than one asked before it."""
        known = []
        for rung in self.rungs:
            with suppress(UnpricedModelError):
                cost = prices.cost(_A_CALL, rung.model_name, rung.provider).total
                known.append((rung.name, cost))
        for (first, cost), (second, less) in pairwise(known):
            if less < cost:
                logger.warning(
                    "%s costs less than %s, which is asked before it: give a router "
                    "the cheapest model first.",
                    second,
                    first,
                )


def _rung(name: Any, model: Any) -> Rung:
    if not isinstance(name, str) or not name:
        msg = f"A router's models have names that are texts, not {name!r:.40}."
        raise ConfigurationError(msg)
    if isinstance(model, str):
        model = _by_name(model)
    # What keeps a budget is asked like the model inside.
    said = ls_params(model.model if isinstance(model, BudgetedModel) else model)
    return Rung(name, model, said.get("ls_model_name") or "", said.get("ls_provider"))


def _by_name(model: str) -> Model:
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        msg = (
            f"A model given by its name ({model!r:.60}) needs the 'agents' extra: "
            "pip install 'langchain-lean-ai[agents]'; or give the model itself."
        )
        raise ConfigurationError(msg) from None
    try:
        made: Model = init_chat_model(model)
    except (ValueError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        msg = f"{model!r:.60} cannot be made a chat model: {reason}"
        raise ConfigurationError(msg) from error
    return made
