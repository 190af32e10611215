"""What a look-up asks outside of itself, in both forms."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import ensure_config

from langchain_lean.caching.marks import LEVER
from langchain_lean.caching.verifying import Candidate, Verify
from langchain_lean.errors import ConfigurationError
from langchain_lean.models import own_call
from langchain_lean.vectors import Floats, as_vectors

_bypassed: ContextVar[frozenset[int]] = ContextVar(
    "langchain_lean_bypassed_caches", default=frozenset()
)


def is_bypassed(cache: object) -> bool:
    """Whether calls are under way that this cache is not to be asked about."""
    return id(cache) in _bypassed.get()


def bypass(cache: object) -> Token[frozenset[int]]:
    """Keep a cache out of what follows: calls of its own, or it was asked about."""
    return _bypassed.set(_bypassed.get() | {id(cache)})


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is asked outside.

    Attributes:
        call: Asks.
        acall: Asks, for asyncio.
    """

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]

    @classmethod
    def of(
        cls, call: Callable[..., Any], acall: Callable[..., Awaitable[Any]], *args: Any
    ) -> Step:
        """Ask for the same in both forms."""
        return cls(partial(call, *args), partial(acall, *args))

    @classmethod
    def in_thread(cls, call: Callable[..., Any], *args: Any) -> Step:
        """Ask for what has no form for asyncio and may take long."""
        return cls.of(call, partial(asyncio.to_thread, call), *args)


def ask(step: Step) -> Any:
    """Take a step."""
    return step.call()


async def aask(step: Step) -> Any:
    """Take a step, for asyncio."""
    return await step.acall()


def embedding(
    embeddings: Embeddings, question: str
) -> Generator[Step, Any, Floats | None]:
    """The embedding of a question, of length 1; None where it has no direction."""
    given = yield Step.of(embeddings.embed_query, embeddings.aembed_query, question)
    [vector] = as_vectors([given], 1)
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else None


def verification(cache: object, verify: Verify, candidate: Candidate) -> Step:
    """Ask a verifier; what it calls is the cache's own call, and is not cached."""

    def call() -> Any:
        if isinstance(verify, Runnable):
            return verify.invoke(candidate, own_call(ensure_config(), LEVER))
        verdict = verify(candidate)
        if isinstance(verdict, Coroutine):
            verdict.close()
            msg = "An async verify= needs ainvoke or astream: give a plain function."
            raise ConfigurationError(msg)
        return verdict

    async def acall() -> Any:
        if isinstance(verify, Runnable):
            return await verify.ainvoke(candidate, own_call(ensure_config(), LEVER))
        verdict = await asyncio.to_thread(verify, candidate)
        return await verdict if isinstance(verdict, Awaitable) else verdict

    def marked() -> Any:
        token = bypass(cache)
        try:
            return call()
        finally:
            _bypassed.reset(token)

    async def amarked() -> Any:
        token = bypass(cache)
        try:
            return await acall()
        finally:
            _bypassed.reset(token)

    return Step(marked, amarked)
