"""Handlers that see every call of a block, without being passed to any."""

import threading
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
_lock = threading.Lock()

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

    everywhere: BaseCallbackHandler | None = None

    def get(self) -> BaseCallbackHandler | None:
        return _here.get() or self.everywhere


_tracker = _Tracker()

# One hook for the life of the process: a hook cannot be taken back.
register_configure_hook(cast("ContextVar[Any]", _tracker), inheritable=True)


def tracked() -> tuple[BaseCallbackHandler, ...]:
    """The handlers that are attached here, those of outer blocks first."""
    return parts(_tracker.get())


def parts(handler: BaseCallbackHandler | None) -> tuple[BaseCallbackHandler, ...]:
    """A handler by itself; of one that passes events on, those it passes them to."""
    if isinstance(handler, Tee):
        return handler.handlers
    return () if handler is None else (handler,)


@contextmanager
def attached(handler: BaseCallbackHandler, *, all_threads: bool) -> Iterator[None]:
    """Attach a handler to every call inside the block.

    Args:
        handler: Told beside the handlers of enclosing blocks.
        all_threads: Also attach it in threads that do not carry a block's context, as
            those of a plain `ThreadPoolExecutor`.
    """
    token = _here.set(_joined(*tracked(), handler))
    if all_threads:
        with _lock:
            _everywhere.append(handler)
            _tracker.everywhere = _joined(*_everywhere)
    try:
        yield
    finally:
        if all_threads:
            with _lock:
                _everywhere.remove(handler)
                _tracker.everywhere = _joined(*_everywhere)
        _here.reset(token)


def _joined(*handlers: BaseCallbackHandler) -> BaseCallbackHandler | None:
    distinct = tuple({id(handler): handler for handler in handlers}.values())
    if len(distinct) < 2:
        return distinct[0] if distinct else None
    return Tee(*distinct)
