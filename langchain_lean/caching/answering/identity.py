"""Who answers where a cache has nothing: what must be the same for an answer to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase

from langchain_lean.accounting.attribution import attributed
from langchain_lean.budgets.model import BudgetedModel
from langchain_lean.errors import ConfigurationError
from langchain_lean.models import chat_model_of
from langchain_lean.own_run import is_prompt


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asked, and how its answers are told from those of others.

    Attributes:
        model: Who is asked.
        name: What else its answers depend on; None where that is the model alone.
    """

    model: Runnable[Any, Any]
    name: str | None

    @classmethod
    def of(cls, model: Any, name: str | None) -> Identity:
        """The identity of a model.

        Raises:
            ConfigurationError: If it needs a name, or is nothing that can be asked.
        """
        if not isinstance(model, Runnable):
            msg = f"cache.model takes a model, not {type(model).__name__}."
            raise ConfigurationError(msg)
        if name is None and not _is_chat_model(model):
            msg = (
                f"{type(model).__name__} may ask several models: name what its answers "
                'depend on, cache.model(..., identity="support desk, version 3").'
            )
            raise ConfigurationError(msg)
        return cls(model, checked_identity(name))

    @property
    def takes_state(self) -> bool:
        """Whether it is no model, but something that takes what was given as it is."""
        try:
            chat_model_of(_asked(self.model))
        except ConfigurationError:
            return True
        return False

    @property
    def is_graph(self) -> bool:
        """Whether it is a compiled graph."""
        return _is_graph(self.model)

    def remembers(self, config: RunnableConfig) -> bool:
        """Whether it goes on with turns that are not in what it is given."""
        thread = (config.get("configurable") or {}).get("thread_id")
        model: Any = self.model
        return self.is_graph and thread is not None and bool(model.checkpointer)

    def sent(self, given: Any, messages: Sequence[BaseMessage], key: str) -> Any:
        """What is sent to it.

        Args:
            given: What the caller gave.
            messages: The messages in that.
            key: Where a state has its messages.
        """
        if not self.takes_state:
            return messages
        takes = not is_prompt(given) or not _is_graph(self.model)
        return given if takes else {key: messages}

    def with_tools(self, tools: Sequence[Any], options: Mapping[str, Any]) -> Identity:
        """The same with tools bound to the model.

        Raises:
            ConfigurationError: If it cannot bind any.
        """
        model: Any = self.model
        if self.name is not None or not hasattr(model, "bind_tools"):
            msg = "Bind the tools first: cache.model(model.bind_tools(tools))."
            raise ConfigurationError(msg)
        return replace(self, model=model.bind_tools(tools, **options))

    def with_schema(
        self, schema: Any, options: Mapping[str, Any]
    ) -> tuple[Identity, Runnable[Any, Any]]:
        """The same with answers of a schema, and what reads them.

        Raises:
            ConfigurationError: If the model has no such answers, or another form.
        """
        model: Any = self.model
        try:
            structured = model.with_structured_output(schema, **options)
        except (AttributeError, NotImplementedError):
            structured = None
        steps = structured.steps if isinstance(structured, RunnableSequence) else []
        if self.name is not None or not steps or not _is_chat_model(steps[0]):
            msg = (
                "The model has no structured output that can be cached: put a parser "
                "behind the cached model instead."
            )
            raise ConfigurationError(msg)
        first, parser, *others = steps
        return replace(self, model=first), reduce(or_, others, parser)

    def llm_string(self, options: Mapping[str, Any], state: str) -> str:
        """The model and its parameters, as LangChain writes it for a cache.

        Args:
            options: Options of the call.
            state: What else stands in a state that is passed on whole.
        """
        if self.takes_state:
            return f"{self.name}---{sorted(options.items())}---{state}"
        named = "" if self.name is None else f"{self.name}---"
        if not _is_chat_model(self.model):  # one with others behind it
            return f"{named}{sorted(options.items())}"
        model, bound, _ = chat_model_of(_asked(self.model))
        sent = {**bound, **options}
        sent.pop("ls_structured_output_format", None)  # which LangChain leaves out, too
        stop = sent.pop("stop", None)
        described = {name: _described(value) for name, value in sent.items()}
        return named + model._get_llm_string(stop=stop, **described)

    def answered_by(self, answer: AIMessage) -> tuple[str | None, str | None]:
        """The model that gave an answer and its provider, as far as they are said."""
        said = dict(answer.response_metadata)
        if _is_chat_model(self.model):
            model, bound, _ = chat_model_of(_asked(self.model))
            params = model._get_ls_params(**bound)
            said.setdefault("model_name", params.get("ls_model_name"))
            said["model_provider"] = params.get("ls_provider")
        return said.get("model_name") or said.get("model"), said.get("model_provider")


def checked_identity(name: object) -> str | None:
    """What names that which answers depend on; None where that is the model alone.

    Raises:
        ConfigurationError: If it is no text.
    """
    if name is None or (isinstance(name, str) and name):
        return name
    msg = "Give identity= a text that changes whenever answers would."
    raise ConfigurationError(msg)


def _asked(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    return model.bound_model if isinstance(model, BudgetedModel) else model


def _is_chat_model(model: Runnable[Any, Any]) -> bool:
    """Whether it is one chat model, whatever is bound to it."""
    model = _asked(model)
    while isinstance(model, RunnableBindingBase):
        model = model.bound
    return isinstance(model, BaseChatModel)


def beside(state: Any, key: str) -> str:
    """What a state holds beside its messages, so that two can be told apart.

    Args:
        state: A mapping or an object; messages and prompts hold nothing else.
        key: Where it has its messages.
    """
    if is_prompt(state):
        return ""
    values = state if isinstance(state, Mapping) else getattr(state, "__dict__", {})
    return repr(sorted((name, values[name]) for name in values if name != key))


def tenant_of(key: str | None, metadata: Mapping[str, Any] | None) -> str | None:
    """Whom a call is for, by the key that names tenants; None where nobody says.

    A call that says it is for nobody is not for whoever the enclosing scope names.
    """
    if key is None or (metadata and metadata.get(key, key) in (None, "")):
        return None
    return attributed(key, metadata)


def _described(value: Any) -> Any:
    """An option as it stands in a key: a class by its fields."""
    schema = getattr(value, "model_json_schema", None)
    return schema() if isinstance(value, type) and schema else value


def _is_graph(model: Runnable[Any, Any]) -> bool:
    from langgraph.pregel import Pregel

    return isinstance(model, Pregel)
