"""Models that write less: a cap and an instruction, and an end at the JSON value.

`concise` asks for a few sentences and caps the answer. `stop_at_json` ends a call as
soon as its JSON value is complete. Both are Runnables around a chat model that start
no run of their own: a ledger, a guard and a trace see the model's own call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
)
from langchain_core.runnables import Runnable, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.retry import RunnableRetry
from pydantic import BaseModel

from langchain_lean.budgets.model import BudgetedModel
from langchain_lean.checks import checked_count
from langchain_lean.context.answers.json_answer import JsonAnswer, noted
from langchain_lean.context.answers.json_end import brackets_of, ends_at_first_brace
from langchain_lean.context.answers.output_model import (
    AsItIs,
    Call,
    OutputModel,
    inside,
)
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import instructed, prompt_messages
from langchain_lean.models import (
    TOOLS,
    capped,
    chat_model_of,
    ended_on_cap,
    thinking_budget,
)
from langchain_lean.stop_sequences import takes_stop


class ConciseModel(OutputModel):
    """Asks for short answers; made by `concise`.

    Attributes:
        instruction: What it asks for.
        has_cap: Whether it was given a cap, too.
    """

    instruction: str
    has_cap: bool = False

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Self:
        """The same with answers of a schema, in the way of its model."""
        return self._derived(
            lambda model: model.with_structured_output(schema, **kwargs)
        )

    def _call(self, input_: LanguageModelInput, options: Mapping[str, Any]) -> Call:
        sent = instructed(prompt_messages(input_), self.instruction)
        return Call(sent, options, _ConciseAnswer(self.has_cap))


class JsonModel(OutputModel):
    """Ends its answers at their JSON value; made by `stop_at_json`.

    Attributes:
        brackets: What the value may begin with.
        flat: Whether the first `}` is its end.
    """

    brackets: str
    flat: bool = False

    def with_structured_output(
        self, schema: Any, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """The model's own structured output, as it is.

        There the provider itself ends the answer behind its value, and a call that is
        closed before would lose what the integration parses at its end.
        """
        structured: Runnable[LanguageModelInput, Any] = inside(
            self.bound, lambda model: model.with_structured_output(schema, **kwargs)
        )
        return structured

    def _call(self, input_: LanguageModelInput, options: Mapping[str, Any]) -> Call:
        model, bound, _ = chat_model_of(self)
        own = getattr(model, "model_kwargs", None) or {}
        given = {**own, **bound, **options}
        if _may_call_tools(given):
            return Call(input_, options, AsItIs())
        waits = bool(given.get("response_format"))
        if self.flat and not waits and takes_stop(model, given):
            answer = JsonAnswer(self.brackets, brace=True)
            return Call(input_, {**options, "stop": ["}"]}, answer)
        answer = JsonAnswer(self.brackets, waits=waits)
        return Call(input_, options, answer, streamed=True)


def concise(
    model: Runnable[LanguageModelInput, Any],
    *,
    sentences: int = 1,
    max_tokens: int | None = None,
) -> ConciseModel:
    """A model that is asked for short answers.

    One static sentence goes to the end of the first system message (or into a new one
    in front), so that the prefix of the prompt stays the same from call to call and
    cache points in it hold. The caller's messages stay as they are.

    Each answer says `concise` in `response_metadata["lean"]`, and `shortened` if it
    ended on a cap. What would have been written otherwise is unknown, so no saving is
    reported.

    Args:
        model: A chat model, or one with something bound to it.
        sentences: How many sentences to ask for at most.
        max_tokens: The most tokens an answer may have; None leaves the model's own
            cap. Reasoning models count their thinking into it, so that a small cap can
            leave no answer at all.

    Returns:
        A Runnable that is called as the model is; `bind_tools` and
        `with_structured_output` give one of the same kind.

    Raises:
        ConfigurationError: If it is no chat model, a number is not a whole one from
            1 on, or the cap leaves no room behind the model's `budget_tokens`.
    """
    checked_count("sentences", sentences)
    _check_model(model, "concise")
    if max_tokens is not None:
        checked_count("max_tokens", max_tokens)
        thinking = thinking_budget(model)
        if thinking >= max_tokens:
            msg = f"Give max_tokens= more than the {thinking:,} the model may think."
            raise ConfigurationError(msg)
        model = capped(model, max_tokens)
    short = "one sentence" if sentences == 1 else f"at most {sentences} sentences"
    return ConciseModel(
        bound=model,
        instruction=f"Answer in {short}.",
        has_cap=max_tokens is not None,
    )


def stop_at_json(
    model: Runnable[LanguageModelInput, Any],
    *,
    schema: Mapping[str, Any] | type[BaseModel] | None = None,
) -> JsonModel:
    """A model whose answers end with their JSON value.

    Every call is read as a stream, also by `invoke`, and closed as soon as the first
    JSON object or array is complete; text before it stays, text behind it is never
    generated. Such a run is `stopped_early` in a ledger and its output is estimated,
    because a provider reports usage only at the end; no saving is reported for what
    was never written. Callbacks see the last chunk uncut.

    Behind prose, `[1]`, `[2, 3]`, `[]` and `{}` are taken for citations and marks, not
    for the value, and so are brackets that begin no JSON, such as `[the]`. Answers
    whose value is not complete, or breaks the rules of JSON later on, come back whole.

    With tools (and a `tool_choice` other than "none") every call is the model's own,
    neither ended early nor cut. With a `response_format` it is closed only when more
    text follows the value, so that the usage of one that ends there comes through.

    With a schema of one flat object that can hold no other brace (numbers, booleans,
    null and enums, `additionalProperties` false), models known to take stop sequences
    are given `}` as one instead: an ordinary call with exact usage, whose brace is put
    back where the model says that it ended there.

    A stopped answer says `stopped` in `response_metadata["lean"]`, and in the reason
    whether its value is complete; one that came in one piece and lost text behind its
    value says `cut`. LangChain asks its cache (`set_llm_cache`) only for calls that
    are no streams.

    Args:
        model: A chat model, or one with something bound to it. Retries and fallbacks
            go around (`stop_at_json(model).with_retry()`), as a stream is not tried
            again.
        schema: The JSON schema of the value, or a pydantic class.

    Returns:
        A Runnable that is called as the model is.

    Raises:
        ConfigurationError: If it is no chat model, has retries or fallbacks inside, or
            the schema is neither a mapping nor a pydantic class.
    """
    _check_model(model, "stop_at_json")
    _check_streams(model)
    if schema is None:
        return JsonModel(bound=model, brackets="{[")
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        schema = schema.model_json_schema()
    if not isinstance(schema, Mapping):
        msg = "Give schema= a JSON schema as a dict, or a pydantic class."
        raise ConfigurationError(msg)
    flat = ends_at_first_brace(schema)
    return JsonModel(bound=model, brackets=brackets_of(schema), flat=flat)


class _ConciseAnswer(AsItIs):
    """Passes an answer on, with notes on the pieces where they become true.

    The first stands on the first piece, so that it is there if nobody reads the last.
    """

    def __init__(self, has_cap: bool) -> None:
        self._left = {"concise": "a short answer was asked for"}
        if has_cap:
            self._left["shortened"] = "the answer ended on its cap"

    def feed(self, chunk: Any) -> list[Any]:
        if isinstance(chunk, AIMessage):
            return [self._noted(chunk)]
        if isinstance(chunk, dict) and isinstance(chunk.get("raw"), AIMessage):
            return [type(chunk)({**chunk, "raw": self._noted(chunk["raw"])})]
        return [chunk]

    def _noted(self, piece: AIMessage) -> AIMessage:
        for action in ("concise", "shortened"):
            holds = action == "concise" or ended_on_cap(piece)
            if holds and action in self._left:
                piece = noted(piece, action, self._left.pop(action))
        return piece


def _may_call_tools(options: Mapping[str, Any]) -> bool:
    choice = options.get("tool_choice") or options.get("function_call")
    if isinstance(choice, Mapping):
        choice = choice.get("type")
    return choice != "none" and any(options.get(name) for name in TOOLS)


def _check_model(model: Any, wrap: str) -> None:
    inner = model
    while isinstance(inner, RunnableBindingBase):
        inner = inner.bound
    if isinstance(inner, BudgetedModel):
        msg = f"Turn them around: guard.model({wrap}(model))."
        raise ConfigurationError(msg)
    chat_model_of(model)


def _check_streams(model: Any) -> None:
    """That what is inside of all bindings is a chat model."""
    while isinstance(model, RunnableBindingBase):
        if isinstance(model, RunnableRetry):
            msg = "Call with_retry on stop_at_json(model), not on the model inside."
            raise ConfigurationError(msg)
        model = model.bound
    if isinstance(model, RunnableWithFallbacks):
        msg = (
            "Fallbacks go around, as a stream is not tried again: "
            "stop_at_json(m).with_fallbacks([stop_at_json(other)])."
        )
        raise ConfigurationError(msg)
    if not isinstance(model, BaseChatModel):
        msg = "Put stop_at_json around the chat model, and parsers behind it."
        raise ConfigurationError(msg)
