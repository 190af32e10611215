"""A tracking block sees every call inside it and nothing outside."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import context as hooks

from langchain_lean import TokenLedger, track

Make = Callable[..., Any]


def test_calls_inside_are_seen_and_others_not(model: Make) -> None:
    model().invoke("before")
    with track() as ledger:
        model().invoke("inside")
        RunnableLambda(lambda _: model().invoke("in a chain")).invoke(1)
    model().invoke("after")
    assert ledger.totals().calls == 2


async def test_async_calls_are_seen(model: Make) -> None:
    with track() as ledger:
        await model().ainvoke("q")
        async for _ in model().astream("q"):
            pass
    assert ledger.totals().calls == 2


def test_an_error_ends_the_block_too(model: Make) -> None:
    ledger = TokenLedger()
    with pytest.raises(ZeroDivisionError), track(ledger):
        1 / 0  # noqa: B018 - the error is the point
    model().invoke("after")
    assert ledger.totals().calls == 0


def test_nested_blocks_are_both_told_once(model: Make) -> None:
    with track() as outer:
        model().invoke("outer")
        with track() as middle, track() as inner:

            def chain(_: int) -> None:
                RunnableLambda(lambda _: model().invoke("inner")).invoke(1)

            RunnableLambda(chain).invoke(1)
    assert [ledger.totals().calls for ledger in (outer, middle, inner)] == [2, 1, 1]


def test_a_ledger_that_is_tracked_and_given_counts_once(model: Make) -> None:
    with track() as ledger:
        model().invoke("q", {"callbacks": [ledger]})
        RunnableLambda(lambda _: model().invoke("q")).invoke(1, {"callbacks": [ledger]})
    assert ledger.totals().calls == 2


def test_threads_are_seen_when_they_carry_the_context_or_when_asked(
    model: Make,
) -> None:
    with track() as narrow:
        RunnableLambda(lambda text: model().invoke(text)).batch(["a", "b"])
        thread = threading.Thread(target=lambda: model().invoke("plain thread"))
        thread.start()
        thread.join()
    with track(all_threads=True) as wide, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda text: model().invoke(text), ["a", "b"]))
    assert (narrow.totals().calls, wide.totals().calls) == (2, 2)


def test_a_thread_with_a_block_of_its_own_is_seen_by_both(model: Make) -> None:
    def work() -> int:
        with track() as own:
            model().invoke("q")
        return own.totals().calls

    with track(all_threads=True) as everywhere, ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() == 1
    assert everywhere.totals().calls == 1


def test_every_block_for_all_threads_sees_a_plain_thread(model: Make) -> None:
    with track(all_threads=True) as outer, track(all_threads=True) as inner:
        thread = threading.Thread(target=lambda: model().invoke("q"))
        thread.start()
        thread.join()
    assert outer.totals().calls == inner.totals().calls == 1


def test_no_hook_is_left_behind_by_a_block(model: Make) -> None:
    with track():
        pass
    before = len(hooks._configure_hooks)
    for _ in range(50):
        with track():
            model().invoke("q")
    assert len(hooks._configure_hooks) == before
