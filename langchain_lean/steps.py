"""Logic written once for sync and async: a generator that yields what it must ask."""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

Asked = TypeVar("Asked")
Result = TypeVar("Result")


def drive(
    steps: Generator[Asked, Any, Result], answer: Callable[[Asked], Any]
) -> Result:
    """Run a generator to its end.

    Args:
        steps: Yields what to ask; is sent the answer, or thrown the error.
        answer: Answers.

    Returns:
        What the generator returns.
    """
    try:
        asked = next(steps)
        while True:
            try:
                given = answer(asked)
            except Exception as error:
                asked = steps.throw(error)
            else:
                asked = steps.send(given)
    except StopIteration as done:
        result: Result = done.value
        return result


async def adrive(
    steps: Generator[Asked, Any, Result], answer: Callable[[Asked], Awaitable[Any]]
) -> Result:
    """`drive` for asyncio."""
    try:
        asked = next(steps)
        while True:
            try:
                given = await answer(asked)
            except Exception as error:
                asked = steps.throw(error)
            else:
                asked = steps.send(given)
    except StopIteration as done:
        result: Result = done.value
        return result
