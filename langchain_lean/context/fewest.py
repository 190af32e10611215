"""How few examples are enough: a search that pays for as few scores as it can."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import (
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass

from langchain_lean.checks import checked_number, is_finite
from langchain_lean.context.shots import (
    Example,
    checked_example,
)
from langchain_lean.errors import ConfigurationError
from langchain_lean.progress import progress_bar
from langchain_lean.steps import adrive, drive

OnScore = Callable[[int, float], object]
"""Told the number of examples and their score."""


@dataclass(frozen=True, slots=True)
class FewestExamples:
    """The fewest examples that score about as well as all, and what was seen.

    Attributes:
        examples: The examples to keep.
        score: Their score.
        full_score: The score of all examples.
        curve: How many leading examples scored what, by number; the last are all.
    """

    examples: tuple[Example, ...]
    score: float
    full_score: float
    curve: tuple[tuple[int, float], ...]

    @property
    def count(self) -> int:
        """How many examples to keep."""
        return len(self.examples)


def fewest_examples(
    evaluate: Callable[[Sequence[Example]], float],
    examples: Iterable[Mapping[str, str]],
    *,
    tolerance: float = 0.01,
    on_score: OnScore | None = None,
) -> FewestExamples:
    """Find the fewest leading examples that score about as well as all of them.

    Scores all examples, then none, the first, the first two and so on, until a score
    is at most `tolerance` below that of all. The order matters: put the best examples
    first. Scores are noisy, so make the tolerance at least as large as the difference
    between two scores of the same examples, or chance decides.

    Args:
        evaluate: Gives the score of a prompt with these examples; higher is better.
        examples: All examples, the best first.
        tolerance: How much worse the score may be, in the unit of the score.
        on_score: Told each number of examples and its score, as soon as it is known,
            in place of the bar that a terminal or an open notebook shows.

    Returns:
        The examples to keep, with the curve that was seen.

    Raises:
        ConfigurationError: If the tolerance is no number from 0 on, an example is no
            dictionary of texts, or a score is no finite number.

    Example:
        ```python
        def share_of_right_answers(shots):
            return sum(ask(shots, q) == right for q, right in held_out) / len(held_out)


        fewest_examples(share_of_right_answers, examples, tolerance=0.02).count
        ```
    """
    if not callable(evaluate):
        msg = "fewest_examples(evaluate, examples) takes the function first."
        raise ConfigurationError(msg)
    if inspect.iscoroutinefunction(evaluate):
        msg = "evaluate= is a coroutine function; await afewest_examples() with it."
        raise ConfigurationError(msg)
    given = _checked(examples)
    with _told(len(given), on_score) as told:
        search = _search(given, checked_number("tolerance", tolerance, 0), told)
        return drive(search, evaluate)


async def afewest_examples(
    evaluate: Callable[[Sequence[Example]], Awaitable[float]],
    examples: Iterable[Mapping[str, str]],
    *,
    tolerance: float = 0.01,
    on_score: OnScore | None = None,
) -> FewestExamples:
    """`fewest_examples` with a coroutine function that gives the score."""
    given = _checked(examples)
    with _told(len(given), on_score) as told:
        search = _search(given, checked_number("tolerance", tolerance, 0), told)
        return await adrive(search, evaluate)


@contextmanager
def _told(examples: int, on_score: OnScore | None) -> Iterator[OnScore]:
    if on_score is not None:
        yield on_score
        return
    with progress_bar("Scoring examples") as told:
        scored = itertools.count(1)
        yield lambda count, score: told(next(scored) / (examples + 1))


def _search(
    examples: tuple[Example, ...], tolerance: float, on_score: OnScore
) -> Generator[Sequence[Example], float, FewestExamples]:
    """Asks for the score of examples until it has found the fewest."""
    full = yield from _scored(examples, on_score)
    scores = {len(examples): full}
    for count in range(len(examples)):
        score = scores[count] = yield from _scored(examples[:count], on_score)
        worse = full - score
        if worse <= tolerance or math.isclose(worse, tolerance):
            break
    else:
        count, score = len(examples), full
    curve = tuple(sorted(scores.items()))
    return FewestExamples(examples[:count], score, full, curve)


def _scored(
    subset: tuple[Example, ...], on_score: OnScore
) -> Generator[Sequence[Example], float, float]:
    given = yield subset
    if not is_finite(given):
        raise ConfigurationError(
            f"evaluate= gave {_shown(given)} (number of examples: {len(subset)}); a "
            "score is a finite number."
        )
    score = float(given)
    on_score(len(subset), score)
    return score


def _shown(given: object) -> str:
    return str(given) if isinstance(given, float) else type(given).__name__


def _checked(examples: Iterable[Mapping[str, str]]) -> tuple[Example, ...]:
    return tuple(checked_example(each, at) for at, each in enumerate(examples, 1))
