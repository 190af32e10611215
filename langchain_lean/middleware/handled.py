"""What stands below a middleware, as a model that the parts can be put around."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self, TypeVar

from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain.agents.structured_output import (
    OutputToolBinding,
    StructuredOutputValidationError,
    ToolStrategy,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import (
    Runnable,
    RunnableBinding,
    RunnableConfig,
    RunnableWithFallbacks,
)
from langchain_core.runnables.config import (
    merge_configs,
    var_child_runnable_config,
)
from langchain_core.runnables.retry import RunnableRetry
from pydantic import Field

from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import prompt_messages
from langchain_lean.models import TOOLS, chat_model_of, without

Handler = Callable[[ModelRequest[Any]], ModelResponse[Any]]
AsyncHandler = Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]

_Part = TypeVar("_Part")

_AGENTS = ("tools", "tool_choice")  # which the agent decides on


@dataclass(frozen=True)
class Call:
    """A model call of an agent, as a middleware is given it.

    Attributes:
        request: What is asked.
        handler: Asks it: the middleware below, and in the end the model.
    """

    request: ModelRequest[Any]
    handler: Handler | AsyncHandler
    _responses: dict[str | None, ModelResponse[Any]] = field(
        default_factory=dict, init=False
    )
    _unreadable: dict[str | None, StructuredOutputValidationError] = field(
        default_factory=dict, init=False
    )

    @property
    def messages(self) -> list[BaseMessage]:
        """The prompt, its system message first."""
        system = self.request.system_message
        return [*([] if system is None else [system]), *self.request.messages]

    @cached_property
    def model(self) -> HandledModel:
        """What is below, as the model the agent would ask, with its tools bound."""
        return self.on(self.request.model)

    def on(self, model: Runnable[Any, Any]) -> HandledModel:
        """What is below, asking another model.

        Args:
            model: As for `asked_model`; the agent's tools take the place of its own.

        Raises:
            ConfigurationError: If it is something else.
        """
        asked, bound = asked_model(model)
        request, own = self.request, without(bound, _AGENTS)
        options = {**own, **request.model_settings}
        tools = [*request.tools, *_schema_tools(request.response_format)]
        if tools:
            choice = {"tool_choice": request.tool_choice, **options}
            options = chat_model_of(asked.bind_tools(tools, **choice)).options
        return HandledModel(bound=asked, kwargs=options, call=self, own=own)

    def respond(self, answer: Any) -> ModelResponse[Any]:
        """The answer of a part as the agent takes it.

        What the agent made of it, such as a structured response, comes with it.

        Raises:
            StructuredOutputError: If it is the one that nobody could read.
        """
        if answer.id in self._unreadable:
            raise self._unreadable[answer.id]
        response = self._responses.get(answer.id)
        if response is None:
            return ModelResponse(result=[answer])
        others = response.result[1:]
        return ModelResponse([answer, *others], response.structured_response)

    def unread(self, error: StructuredOutputValidationError) -> BaseMessage:
        """An answer that is not of its schema, for a policy to reject it."""
        self._unreadable[error.ai_message.id] = error
        return error.ai_message

    def taken(self, response: ModelResponse[Any]) -> BaseMessage:
        """The answer in a response, which is kept for `respond`."""
        answer = response.result[0]
        self._responses[answer.id] = response
        return answer


class HandledModel(RunnableBinding[Any, Any]):  # type: ignore[no-redef] # as its base
    """A chat model whose calls go through the middleware below.

    A part can cap it, take its tools away or ask it twice, as it does with any model:
    each call becomes a request of its own.

    Attributes:
        call: The model call it stands for.
        own: What was bound to the model before.
    """

    call: Any = Field(exclude=True)
    own: Mapping[str, Any] = {}

    @property
    def heard_only(self) -> bool:
        """Whether its tokens are told to callbacks only: it has no stream."""
        return True

    def bind(self, **kwargs: Any) -> Self:
        """The same with more options bound to it."""
        return self.model_copy(update={"kwargs": {**self.kwargs, **kwargs}})

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> Self:
        """The same with a configuration of its own."""
        given: Any = {**(config or {}), **kwargs}
        merged = merge_configs(self.config, given)
        return self.model_copy(update={"config": merged})

    def invoke(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Ask what is below."""
        handler: Any = self.call.handler
        with _as_child_of(self._own(config)):
            try:
                return self.call.taken(handler(self._request(input, kwargs)))
            except StructuredOutputValidationError as error:
                return self.call.unread(error)

    async def ainvoke(
        self,
        input: Any,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """`invoke` for asyncio."""
        handler: Any = self.call.handler
        with _as_child_of(self._own(config)):
            try:
                return self.call.taken(await handler(self._request(input, kwargs)))
            except StructuredOutputValidationError as error:
                return self.call.unread(error)

    def _own(self, config: RunnableConfig | None) -> RunnableConfig:
        """The configuration of a call."""
        if config is None or self.config:
            return self._merge_configs(config)
        return config  # to merge it adds what the run of the context says of itself

    def _request(self, given: Any, options: Mapping[str, Any]) -> ModelRequest[Any]:
        """The request that asks for this, in this way."""
        request: ModelRequest[Any] = self.call.request
        model, bound = asked_model(self)
        system, messages = parted(prompt_messages(given))
        tools = "tools" in bound
        given_with_tools = {**self.own, **request.model_settings} if tools else {}
        choice = {k: v for k, v in given_with_tools.items() if k in TOOLS}
        settings = {**without(bound, TOOLS), **choice, **options}
        return request.override(
            model=model,
            system_message=system,
            messages=messages,
            tools=request.tools if tools else [],
            tool_choice=request.tool_choice if tools else None,
            model_settings=settings,
        )


def asked_model(model: Any) -> tuple[Any, dict[str, Any]]:
    """What an agent can be given as its model, and what is bound to that.

    Args:
        model: A chat model, one with fallbacks, or one of them with options bound.

    Raises:
        ConfigurationError: If it is something else.
    """
    options: dict[str, Any] = {}
    while isinstance(model, RunnableBinding) and not isinstance(model, RunnableRetry):
        options = {**model.kwargs, **options}
        model = model.bound
    if isinstance(model, BaseChatModel | RunnableWithFallbacks):
        return model, options
    msg = f"A middleware asks chat models, not {type(model).__name__}."
    if isinstance(model, RunnableRetry):
        msg = "For retries give ModelRetryMiddleware to others=, and the model itself."
    raise ConfigurationError(msg)


def _schema_tools(response_format: Any) -> list[Any]:
    """What a schema of answers is sent as; a provider's own form is about as long."""
    if response_format is None:
        return []
    schema = getattr(response_format, "schema", response_format)
    specs = ToolStrategy(schema).schema_specs
    return [OutputToolBinding.from_schema_spec(spec).tool for spec in specs]


def checked_part(middleware: str, part: object, kind: type[_Part]) -> _Part:
    """A part that a middleware was given.

    Raises:
        ConfigurationError: If it is something else.
    """
    if isinstance(part, kind):
        return part
    msg = f"{middleware} is for {kind.__name__}, not {type(part).__name__}."
    raise ConfigurationError(msg)


def parted(
    messages: Sequence[BaseMessage],
) -> tuple[SystemMessage | None, list[Any]]:
    """The system message a prompt begins with, and the rest."""
    if messages and isinstance(messages[0], SystemMessage):
        return messages[0], list(messages[1:])
    return None, list(messages)


@contextmanager
def _as_child_of(config: RunnableConfig) -> Iterator[None]:
    """Let what is called inside be a part of a run."""
    token = var_child_runnable_config.set(config)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)
