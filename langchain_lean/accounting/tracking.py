"""Handlers that see every call of a block, without being passed to any."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

_here: ContextVar[BaseCallbackHandler | None] = ContextVar(
    "langchain_lean_tracker", default=None
)
_everywhere: list[BaseCallbackHandler] = []

_EVENTS = tuple(name for name in dir(BaseCallbackHandler) if name.startswith("on_"))


class Tee(BaseCallbackHandler):
    """Passes every event on to several handlers, so that nested blocks all see it.

    Args:
        handlers: Who is told, in order.
    """

    run_inline = True

    def __init__(self, *handlers: BaseCallbackHandler) -> None:
        self.handlers = handlers


def _pass_on(event: str) -> Callable[..., None]:
    def told(self: Tee, *args: Any, **kwargs: Any) -> None:
        for handler in self.handlers:
            getattr(handler, event)(*args, **kwargs)

    return told


for _event in _EVENTS:
    setattr(Tee, _event, _pass_on(_event))


class _Tracker:
    """What LangChain asks for the handler to attach, in place of a context variable."""

    def get(self) -> BaseCallbackHandler | None:
        return _here.get() or (_everywhere[-1] if _everywhere else None)


# One hook for the life of the process: a hook cannot be taken back.
register_configure_hook(cast("ContextVar[Any]", _Tracker()), inheritable=True)


def tracked() -> tuple[BaseCallbackHandler, ...]:
    """The handlers that are attached here, those of outer blocks first."""
    handler = _Tracker().get()
    if isinstance(handler, Tee):
        return handler.handlers
    return () if handler is None else (handler,)


@contextmanager
def attached(handler: BaseCallbackHandler, *, all_threads: bool) -> Iterator[None]:
    """Attach a handler to every call inside the block.

    Args:
        handler: Told beside the handlers of enclosing blocks.
        all_threads: Also attach it in threads that know no block of their own, as
            those of a plain `ThreadPoolExecutor`.
    """
    outer = tracked() if _here.get() else ()
    token = _here.set(Tee(*outer, handler) if outer else handler)
    if all_threads:
        _everywhere.append(handler)
    try:
        yield
    finally:
        if all_threads:
            _everywhere.remove(handler)
        _here.reset(token)
