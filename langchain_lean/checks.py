"""What an option may be, said in a sentence where it is something else."""

from __future__ import annotations

import math
from numbers import Real

from langchain_lean.errors import ConfigurationError


def checked_count(option: str, value: object, least: int = 1) -> int:
    """A whole number, of at least 1 if nothing else is said.

    Raises:
        ConfigurationError: If it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(
            f"{option}= is a whole number of at least {least}, not {value!r:.40}."
        )
    return value


def checked_number(
    option: str, value: float, low: float, high: float = math.inf
) -> float:
    """A number from `low` to `high`.

    Raises:
        ConfigurationError: If it is none.
    """
    if not is_finite(value) or not low <= value <= high:
        end = "on" if high == math.inf else f"to {high}"
        raise ConfigurationError(
            f"{option}= is a number from {low} {end}, not {value!r}."
        )
    return value


def is_finite(value: object) -> bool:
    """Whether something is a number that can be compared; a bool is none."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]
