"""A cache of answers in an agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain.agents.middleware.types import (
    AgentMiddleware,
    ModelRequest,
    ModelResponse,
)

from langchain_lean.caching.answering.identity import checked_identity
from langchain_lean.caching.answering.model import CachedModel
from langchain_lean.caching.cache import SemanticCache, checked_tags
from langchain_lean.middleware.handled import (
    AsyncHandler,
    Call,
    Handler,
    checked_part,
)


class LeanCacheMiddleware(AgentMiddleware[Any, Any, Any]):
    """Gives an agent answers that were given before, in streams, too.

    It stands around each model call, as `cache.model(...)` does: the system prompt, the
    tools, earlier turns and tool results are part of what must be the same. Answers
    that call tools are not kept unless the cache says so. To answer without running
    the agent and its tools at all, cache the whole: `cache.model(agent, identity=...)`.
    With a `response_format` the cache is left alone.

    Args:
        cache: The cache.
        identity: What else the answers depend on, such as the models of a router that
            stands behind it; change it when the answers should change.
        tags: What invalidates the answers, beside the cache's own tags.

    Raises:
        ConfigurationError: If something of this makes no sense.

    Example:
        ```python
        cache = SemanticCache(local_embeddings())
        agent = create_agent(model, tools, middleware=[LeanCacheMiddleware(cache)])
        ```
    """

    def __init__(
        self,
        cache: SemanticCache,
        *,
        identity: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        self.cache = checked_part("LeanCacheMiddleware", cache, SemanticCache)
        self.identity = checked_identity(identity)
        self.model_tags = checked_tags(tags)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Handler
    ) -> ModelResponse[Any]:
        """Give the answer that is known, or ask."""
        if request.response_format is not None:
            return handler(request)
        call = Call(request, handler)
        return call.respond(self._model(call).invoke(call.messages))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: AsyncHandler
    ) -> ModelResponse[Any]:
        """`wrap_model_call` for asyncio."""
        if request.response_format is not None:
            return await handler(request)
        call = Call(request, handler)
        return call.respond(await self._model(call).ainvoke(call.messages))

    def _model(self, call: Call) -> CachedModel:
        return self.cache.model(
            call.model, identity=self.identity, tags=self.model_tags
        )
