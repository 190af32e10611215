"""Regular expressions and phrases as options."""

from __future__ import annotations

import re
from collections.abc import Iterable

from langchain_lean.errors import ConfigurationError

Phrases = bool | Iterable[str] | re.Pattern[str]
"""Whether to look for the usual phrases, or what to look for instead."""


def checked_phrases(
    option: str, phrases: Phrases, usual: re.Pattern[str]
) -> re.Pattern[str] | None:
    """What to look for: phrases are whole words, in upper or lower case.

    Raises:
        ConfigurationError: If it is something else.
    """
    if isinstance(phrases, bool):
        return usual if phrases else None
    if isinstance(phrases, re.Pattern):
        return checked_pattern(option, phrases)
    known = [] if isinstance(phrases, str) else list(phrases)
    if not known or not all(isinstance(p, str) and p.strip() for p in known):
        msg = f"{option}= is True, False, a list of phrases or a compiled pattern."
        raise ConfigurationError(msg)
    words = ("\\s+".join(map(re.escape, phrase.split())) for phrase in known)
    pattern = "|".join(words).replace("’", "'")
    return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)


def checked_pattern(option: str, pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    """A regular expression for text.

    Raises:
        ConfigurationError: If it is none.
    """
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return pattern
    if not isinstance(pattern, str):
        kind = type(pattern).__name__
        msg = f"{option}= is a regular expression for text, not {kind}."
        raise ConfigurationError(msg)
    try:
        return re.compile(pattern)
    except (re.error, OverflowError) as error:
        msg = f"{option}= is no regular expression: {error}."
        raise ConfigurationError(msg) from None
