"""A prefix that stays in the provider's cache, in an agent."""

from __future__ import annotations

from typing import Any

from langchain.agents.middleware.types import (
    AgentMiddleware,
    ModelRequest,
    ModelResponse,
)

from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.prices.table import price_table
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.checks import checked_count
from langchain_lean.context.prefix import cache_points, is_volatile, stable_prefix
from langchain_lean.context.prefixes.limits import Lifetime
from langchain_lean.context.prefixes.volatile import Volatile, says_volatile
from langchain_lean.context.prefixes.worth import checked_lifetime
from langchain_lean.middleware.handled import (
    AsyncHandler,
    Call,
    Handler,
    checked_part,
    parted,
)


class PromptCacheMiddleware(AgentMiddleware[Any, Any, Any]):
    """Puts first what stays equal in an agent's prompts, and marks it for the cache.

    What `stable_prefix` and `cache_points` do to a prompt, for each model call: tools
    in one order, what changes from call to call behind the question, and marks in the
    provider's form where the prefix is long enough and read again.

    Args:
        calls: How many calls within the cache's lifetime begin with the same system
            prompt and tools, this one included. An agent that calls a tool makes two.
        thread_calls: How many of them are of one thread; all by default.
        lifetime: `5m`, or `1h`, which costs more to write.
        volatile: What changes from call to call; see `stable_prefix`.
        counter: Counts tokens; a `TokenCounter()` by default.
        prices: Says whether a mark pays; a `PriceBook()` by default. The table is
            loaded at construction, which takes half a second.

    Raises:
        ConfigurationError: If something of this makes no sense.

    Example:
        ```python
        middleware = [PromptCacheMiddleware(calls=200, thread_calls=4)]
        agent = create_agent(model, tools, system_prompt=rules, middleware=middleware)
        ```
    """

    def __init__(
        self,
        *,
        calls: int = 2,
        thread_calls: int | None = None,
        lifetime: Lifetime = "5m",
        volatile: Volatile = is_volatile,
        counter: TokenCounter | None = None,
        prices: PriceBook | None = None,
    ) -> None:
        self.calls = checked_count("calls", calls)
        if thread_calls is not None:
            checked_count("thread_calls", thread_calls)
        self.thread_calls = thread_calls
        checked_lifetime(lifetime, None, "")
        says_volatile(volatile)
        self.lifetime = lifetime
        self.volatile = volatile
        self.counter = checked_part("counter=", counter or TokenCounter(), TokenCounter)
        self.prices = checked_part("prices=", prices or PriceBook(), PriceBook)
        price_table()  # takes half a second, which is no time to take from a call

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Handler
    ) -> ModelResponse[Any]:
        """Send the prompt in its stable order, with its marks."""
        return handler(self._request(request, Call(request, handler)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: AsyncHandler
    ) -> ModelResponse[Any]:
        """`wrap_model_call` for asyncio."""
        return await handler(self._request(request, Call(request, handler)))

    def _request(self, request: ModelRequest[Any], call: Call) -> ModelRequest[Any]:
        stable = stable_prefix(call.messages, request.tools, volatile=self.volatile)
        prompt = cache_points(
            stable,
            model=request.model.bind(**request.model_settings),
            calls=self.calls,
            thread_calls=self.thread_calls,
            lifetime=self.lifetime,
            counter=self.counter,
            prices=self.prices,
        )
        system, messages = parted(prompt.messages)
        return request.override(
            system_message=system,
            messages=messages,
            tools=list(prompt.tools),
            model_settings={**request.model_settings, **prompt.options},
        )
