"""What keeps a handler from breaking the chain it listens to."""

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

from langchain_core.callbacks import BaseCallbackHandler

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., None])

_REASONS = 1_000  # that are remembered, and told once each


class CarefulHandler(BaseCallbackHandler):
    """A handler that logs what it cannot take down, once for each reason."""

    raise_error = False

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def _warn_once(self, reason: str) -> None:
        if reason not in self._warned and len(self._warned) < _REASONS:
            self._warned.add(reason)
            name = type(self).__name__
            logger.warning("%s could not take down an event: %s", name, reason)


def never_raises(method: F) -> F:
    """Keep the user's chain running whatever a provider or a package sends."""

    @functools.wraps(method)
    def told(self: CarefulHandler, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self._warn_once(f"{method.__name__}: {type(error).__name__}")

    return cast("F", told)
