"""Few-shot examples: those that help with an input, and no more than are needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.example_selectors import BaseExampleSelector
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.prompts import StringPromptTemplate

from langchain_lean.accounting.metered import metered
from langchain_lean.accounting.reporting import report_saving
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.checks import checked_count, checked_number
from langchain_lean.context.fewest import (
    FewestExamples,
    afewest_examples,
    fewest_examples,
)
from langchain_lean.context.shots import (
    Example,
    ExamplePrompt,
    Rows,
    Shot,
    checked_example,
    compared,
    directions,
    nearest,
    packed,
    rendered,
    require,
)
from langchain_lean.embeddings import local_embeddings
from langchain_lean.errors import ConfigurationError

__all__ = [
    "BudgetExampleSelector",
    "FewestExamples",
    "afewest_examples",
    "fewest_examples",
]

_SEPARATOR = "\n\n"  # FewShotPromptTemplate's own


@dataclass(frozen=True, slots=True)
class _Query:
    """What a selection compares: a text, with the same keys of these examples."""

    shots: tuple[Shot, ...]
    keys: tuple[str, ...]
    text: str


class BudgetExampleSelector(BaseExampleSelector):
    """Selects the examples nearest to the input that fit into a token budget.

    Examples of at least `min_similarity` are taken nearest first (equally near ones by
    their place in the list) until there are `k`. One that does not fit into what is
    left of `max_tokens` is passed over; a smaller one behind it may still go in. Where
    none is near enough there are none, and the prompt is zero-shot. The chosen keep
    their order in the list, so that equal choices give equal prompts and a provider's
    prompt cache can hit. An example given twice counts once.

    Examples are embedded at the first selection and not at construction: only then the
    keys to compare are known, and an async application can wait for it. Safe to use
    from many threads and tasks.

    Args:
        examples: Dictionaries of texts; there may be none.
        k: How many to select at most.
        max_tokens: Input tokens of the selected, rendered together. By the count of
            `counter` it is never exceeded.
        min_similarity: The least cosine similarity to the input, from -1 to 1. By
            `local_embeddings()`, 92 % of the pairs of Banking77 questions of one intent
            reach the default, and 2 % of those of one and a GSM8K problem.
        input_keys: The keys whose texts are compared, in the input as in an example;
            by default those keys of the input that all examples have.
        example_prompt: The template that the few-shot prompt has for an example; texts
            are joined by a blank line. Without it each value of an example is counted
            as a message of its own, which adds 3 tokens a value and 3 in all; labels
            that a template puts around the values are not counted then.
        embeddings: What compares texts; `local_embeddings()` by default. A ledger
            knows a provider's as the lever's own cost (source `examples`).
        counter: What counts tokens; a `TokenCounter()` by default.
        model: The model that reads the prompt. With it, a selection that leaves
            examples out reports a counterfactual saving against all of them, and
            tokens are counted as the counter has learned them for this model.
        provider: The model's provider, as LangChain names it.

    Raises:
        ConfigurationError: If something of this makes no sense, or there are neither
            `embeddings` nor the `local` extra.

    Example:
        ```python
        example_prompt = ChatPromptTemplate([("human", "{input}"), ("ai", "{output}")])
        selector = BudgetExampleSelector(examples, example_prompt=example_prompt)
        few_shot = FewShotChatMessagePromptTemplate(
            input_variables=["input"],
            example_selector=selector,
            example_prompt=example_prompt,
        )
        ```
    """

    def __init__(
        self,
        examples: Iterable[Mapping[str, str]],
        *,
        k: int = 3,
        max_tokens: int = 400,
        min_similarity: float = 0.2,
        input_keys: Sequence[str] | None = None,
        example_prompt: ExamplePrompt | None = None,
        embeddings: Embeddings | None = None,
        counter: TokenCounter | None = None,
        model: str | None = None,
        provider: str | None = None,
    ) -> None:
        self._k = checked_count("k", k)
        self._max_tokens = checked_count("max_tokens", max_tokens)
        self._min_similarity = checked_number("min_similarity", min_similarity, -1, 1)
        self._input_keys = _checked_keys(input_keys)
        self._prompt = _checked_prompt(example_prompt)
        if provider and not model:
            raise ConfigurationError("provider= belongs to a model; give model= too.")
        self._model, self._provider = model, provider
        self._counter = counter or TokenCounter()
        shots = [self._shot(example, at) for at, example in enumerate(examples, 1)]
        self._shots = {shot.identity: shot for shot in shots}
        self._embeddings = _checked(embeddings)
        self._rows: dict[tuple[str, ...], Rows] = {}
        self._changing, self._embedding = threading.Lock(), threading.Lock()
        self._turns = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]()

    def add_example(self, example: Mapping[str, str]) -> None:
        """Add an example behind the others; one that is there already changes nothing.

        Args:
            example: A dictionary of texts, with the keys that the others have.

        Raises:
            ConfigurationError: If it is something else.
        """
        with self._changing:
            shot = self._shot(example, len(self._shots) + 1)
            # A new dictionary, so that a selection under way keeps the one it has.
            self._shots = {**self._shots, shot.identity: shot}

    async def aadd_example(self, example: Mapping[str, str]) -> None:
        """`add_example`, which has nothing to wait for."""
        self.add_example(example)

    def select_examples(self, input_variables: Mapping[str, Any]) -> list[Example]:
        """Select the examples for an input.

        Args:
            input_variables: The input of the prompt. Only the compared keys are read.

        Returns:
            Copies of the selected, in their order in the list; maybe none.

        Raises:
            ConfigurationError: If the input has no text where one is compared.
        """
        query = self._query(input_variables)
        if not query.shots:
            return []
        with self._embedding:
            rows, texts = self._unknown(query)
            if texts:
                vectors = self._embeddings.embed_documents(texts)
                rows = self._learned(query, rows, vectors)
        return self._selected(query, rows, self._embeddings.embed_query(query.text))

    async def aselect_examples(
        self, input_variables: Mapping[str, Any]
    ) -> list[Example]:
        """`select_examples`, with the async embeddings."""
        query = self._query(input_variables)
        if not query.shots:
            return []
        async with self._turn():
            rows, texts = self._unknown(query)
            if texts:
                vectors = await self._embeddings.aembed_documents(texts)
                rows = self._learned(query, rows, vectors)
        vector = await self._embeddings.aembed_query(query.text)
        return self._selected(query, rows, vector)

    def _turn(self) -> asyncio.Lock:
        with self._changing:  # a lock of asyncio belongs to one event loop
            return self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def _shot(self, example: Mapping[str, str], position: int) -> Shot:
        texts = checked_example(example, position)
        require(texts, self._input_keys, "input_keys", position)
        return rendered(texts, self._prompt, position=position)

    def _query(self, given: Mapping[str, Any]) -> _Query:
        shots = tuple(self._shots.values())
        if not shots:
            return _Query((), (), "")
        shared = set.intersection(*(set(shot.example) for shot in shots))
        keys = self._input_keys or tuple(sorted(shared & given.keys()))
        if not keys or any(not isinstance(given.get(key), str) for key in keys):
            names = ", ".join(map(repr, keys or sorted(shared))) or "none is in all"
            raise ConfigurationError(
                f"The input needs a text to compare with the examples' ({names}); pass "
                "it, or name what input and examples share in input_keys=."
            )
        return _Query(shots, keys, compared(given, keys))

    def _unknown(self, query: _Query) -> tuple[Rows, list[str]]:
        """The vectors of the first examples, and the texts of those without."""
        rows = self._rows.get(query.keys, np.empty((0, 0)))
        rest = query.shots[len(rows) :]
        return rows, [compared(shot.example, query.keys) for shot in rest]

    def _learned(self, query: _Query, rows: Rows, vectors: list[list[float]]) -> Rows:
        fresh = directions(vectors, len(query.shots) - len(rows))
        rows = np.vstack([rows, fresh]) if len(rows) else fresh
        self._rows[query.keys] = rows
        return rows

    def _selected(
        self, query: _Query, rows: Rows, vector: list[float]
    ) -> list[Example]:
        shots = query.shots
        [direction] = directions([vector], 1)
        near = nearest(rows[: len(shots)], direction, self._min_similarity)

        def fits(positions: Sequence[int]) -> bool:
            return self._tokens([shots[at] for at in positions]) <= self._max_tokens

        chosen = [shots[at] for at in packed(near, most=self._k, fits=fits)]
        self._report(shots, chosen)
        return [dict(shot.example) for shot in chosen]

    def _report(self, shots: Sequence[Shot], chosen: Sequence[Shot]) -> None:
        if not self._model:
            return
        # Beside a question, since what frames a call is sent in either case.
        question = HumanMessage("")
        avoided = self._tokens(shots, question) - self._tokens(chosen, question)
        if avoided > 0:
            report_saving(
                "examples",
                avoided=TokenUsage(input=avoided),
                model=self._model,
                provider=self._provider,
                baseline=f"all {len(shots)} examples",
            )

    def _tokens(self, shots: Sequence[Shot], *beside: BaseMessage) -> int:
        if isinstance(self._prompt, StringPromptTemplate):
            text = _SEPARATOR.join(shot.text for shot in shots if shot.text)
            return self._counter.count(text, model=self._model)
        messages = [message for shot in shots for message in shot.messages]
        return self._counter.count([*beside, *messages], model=self._model)


def _checked(embeddings: Embeddings | None) -> Embeddings:
    if embeddings is None:
        return local_embeddings()
    if not isinstance(embeddings, Embeddings):
        kind = type(embeddings).__name__
        raise ConfigurationError(f"embeddings= are LangChain Embeddings, not {kind}.")
    return metered(embeddings, source="examples")


def _checked_keys(keys: Sequence[str] | None) -> tuple[str, ...]:
    if keys is None:
        return ()
    if isinstance(keys, str) or not keys or any(not isinstance(k, str) for k in keys):
        msg = f"input_keys= is a list of the names of texts, not {keys!r}."
        raise ConfigurationError(msg)
    return tuple(keys)


def _checked_prompt(prompt: ExamplePrompt | None) -> ExamplePrompt | None:
    if prompt is None or isinstance(prompt, ExamplePrompt):
        return prompt
    kind = type(prompt).__name__
    msg = f"example_prompt= is a PromptTemplate or a ChatPromptTemplate, not {kind}."
    raise ConfigurationError(msg)
