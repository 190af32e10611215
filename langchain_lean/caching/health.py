"""What a cache says in the log, and how often."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from langchain_lean.errors import LeanError

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Health:
    """Whether a cache works, so that nothing is logged all the time."""

    failing: set[str] = field(default_factory=set)
    said: set[str] = field(default_factory=set)

    def works(self, verb: str) -> None:
        """Take note that it does what the verb says."""
        self.failing.discard(verb)

    def fails(self, verb: str, error: Exception) -> None:
        """Say why it does not, if it did before."""
        level = logging.DEBUG if verb in self.failing else logging.WARNING
        logger.log(level, "The cache could not %s: %s", verb, in_short(error))
        self.failing.add(verb)

    def says_once(self, what: str) -> None:
        """Say something that holds for many calls."""
        if what not in self.said:
            self.said.add(what)
            logger.warning(what)


def in_short(error: Exception) -> str:
    """An error in a few words; of others than ours, the text may hold a user's."""
    return str(error) if isinstance(error, LeanError) else type(error).__name__
