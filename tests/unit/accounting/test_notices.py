"""A notice is reported the way a saving is, kept once, and never breaks anything."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID

import pytest
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManager,
    BaseCallbackHandler,
    CallbackManager,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph

from langchain_lean import Budget, BudgetGuard, TokenLedger, track
from langchain_lean.accounting.notices import Notice
from langchain_lean.accounting.reporting import report_notice

RUN = UUID(int=7)
REASON = "a retriever failed: TimeoutError"


def tell(callbacks: Any = None) -> None:
    report_notice("retriever", action="skipped", reason=REASON, callbacks=callbacks)


def told(ledger: TokenLedger) -> list[Notice]:
    return list(ledger.notices())


def notice(**values: Any) -> Notice:
    given = {"lever": "memory", "action": "kept", "reason": "it failed", "id": "n1"}
    return Notice(**{**given, **values})


class Lean(BaseRetriever):
    """Reports on its run manager, or on the one it gives to its children."""

    through: Callable[[Any], Any]

    def _get_relevant_documents(
        self, query: str, *, run_manager: Any
    ) -> list[Document]:
        tell(self.through(run_manager))
        return []

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: Any
    ) -> list[Document]:
        tell(self.through(run_manager))
        return []


MANAGERS = pytest.mark.parametrize(
    "through",
    [lambda manager: manager, lambda manager: manager.get_child()],
    ids=["run manager", "child manager"],
)


class State(TypedDict):
    question: str


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: Any, tmp_path: Any) -> Iterator[TokenLedger]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/lean.db"}
    with TokenLedger(urls[request.param]) as ledger:
        yield ledger


class TestANotice:
    def test_keeps_what_happened_and_when(self, ledger: TokenLedger) -> None:
        before = datetime.now(UTC)
        tell(ledger)
        (found,) = told(ledger)
        assert found.kind == ("retriever", "skipped", REASON)
        assert before <= found.at <= datetime.now(UTC)

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(FrozenInstanceError):
            notice().lever = "cache"  # type: ignore[misc]

    @pytest.mark.parametrize("name", ["lever", "action", "reason"])
    def test_has_its_texts_cut_where_they_are_long(self, name: str) -> None:
        assert getattr(notice(**{name: "x" * 501}), name) == "x" * 500

    @pytest.mark.parametrize(
        "wrong",
        [
            {"lever": None},
            {"action": 7},
            {"reason": ValueError()},
            {"id": 1},
            {"run_id": RUN},
            {"at": 0.0},
        ],
    )
    def test_of_wrong_types_is_refused(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match="notice"):
            notice(**wrong)


class TestWhereItGoes:
    @MANAGERS
    def test_a_bare_retriever_reports_through_its_manager(
        self, ledger: TokenLedger, through: Any
    ) -> None:
        Lean(through=through).invoke("q", {"callbacks": [ledger]})
        (step,) = ledger.steps()
        assert [found.run_id for found in told(ledger)] == [step.run_id]

    @MANAGERS
    async def test_an_async_bare_retriever_does_too(
        self, ledger: TokenLedger, through: Any
    ) -> None:
        await Lean(through=through).ainvoke("q", {"callbacks": [ledger]})
        (step,) = ledger.steps()
        assert [found.run_id for found in told(ledger)] == [step.run_id]

    @MANAGERS
    def test_a_bare_retriever_that_is_tracked_counts_once(
        self, ledger: TokenLedger, through: Any
    ) -> None:
        with track(ledger), track() as inner:
            Lean(through=through).invoke("q", {"callbacks": [ledger]})
        assert len(told(ledger)) == len(told(inner)) == 1

    def test_a_bare_retriever_without_callbacks_reaches_the_tracking_ledger(
        self, ledger: TokenLedger
    ) -> None:
        with track(ledger):
            Lean(through=lambda _: None).invoke("q")
        assert len(told(ledger)) == 1

    def test_a_node_of_a_graph_reaches_the_ledger_of_the_run(
        self, ledger: TokenLedger
    ) -> None:
        graph_of(lambda state: tell()).invoke(
            {"question": "q"}, {"callbacks": [ledger]}
        )
        (found,) = told(ledger)
        assert found.run_id is not None

    async def test_an_async_node_of_a_graph_reaches_it_too(
        self, ledger: TokenLedger
    ) -> None:
        async def node(state: State) -> None:
            tell()

        await graph_of(node).ainvoke({"question": "q"}, {"callbacks": [ledger]})
        assert len(told(ledger)) == 1

    def test_a_node_that_is_tracked_reaches_the_tracking_ledger_once(
        self, ledger: TokenLedger
    ) -> None:
        with track(ledger):
            graph_of(lambda state: tell()).invoke({"question": "q"})
        assert len(told(ledger)) == 1

    def test_a_plain_function_reaches_the_tracking_ledgers_without_a_run(
        self, ledger: TokenLedger
    ) -> None:
        with track(ledger), track() as inner:
            tell()
        assert [found.run_id for found in told(ledger)] == [None]
        assert [found.run_id for found in told(inner)] == [None]

    async def test_a_plain_coroutine_reaches_the_tracking_ledger(
        self, ledger: TokenLedger
    ) -> None:
        with track(ledger):
            tell()
        assert len(told(ledger)) == 1

    @pytest.mark.parametrize(
        "wrap",
        [lambda x: x, lambda x: [x], lambda x: CallbackManager([x])],
        ids=["handler", "list", "manager"],
    )
    def test_callbacks_with_a_ledger_win_over_the_tracking_one(
        self, ledger: TokenLedger, wrap: Any
    ) -> None:
        with track() as other:
            tell(wrap(ledger))
        assert len(told(ledger)) == 1
        assert told(other) == []

    @pytest.mark.parametrize(
        "callbacks",
        [
            BaseCallbackHandler(),
            [BudgetGuard(Budget(calls=9, per="total"))],
            [],
            CallbackManager([]),
            AsyncCallbackManager([AsyncCallbackHandler()]),
        ],
        ids=["handler", "guard", "none", "empty manager", "async manager"],
    )
    def test_callbacks_without_a_ledger_leave_it_to_the_tracking_one(
        self, ledger: TokenLedger, callbacks: Any
    ) -> None:
        with track(ledger):
            tell(callbacks)
        assert len(told(ledger)) == 1

    def test_handlers_given_inside_a_run_keep_the_run(
        self, ledger: TokenLedger
    ) -> None:
        RunnableLambda(lambda _: tell([ledger])).invoke(1, {"run_id": RUN})
        assert [found.run_id for found in told(ledger)] == [str(RUN)]

    def test_a_handler_that_fails_keeps_nothing_from_the_ledger(
        self, ledger: TokenLedger
    ) -> None:
        class Failing(BaseCallbackHandler):
            def on_custom_event(self, *args: Any, **kwargs: Any) -> None:
                raise ValueError

        tell([Failing(), ledger])
        assert len(told(ledger)) == 1


class TestCounting:
    def test_a_ledger_given_twice_keeps_it_once(self, ledger: TokenLedger) -> None:
        tell([ledger, ledger])
        assert len(told(ledger)) == 1

    def test_each_report_is_one_of_its_own(self, ledger: TokenLedger) -> None:
        tell(ledger)
        tell(ledger)
        assert len(told(ledger)) == 2

    def test_what_many_threads_report_is_all_there(self, ledger: TokenLedger) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(tell, [ledger] * 200))
        assert len(told(ledger)) == 200


class TestNothingBreaks:
    def test_where_nobody_listens_nothing_happens(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        tell()
        assert caplog.records == []

    def test_what_cannot_be_a_notice_is_logged_and_not_kept(
        self, ledger: TokenLedger, caplog: pytest.LogCaptureFixture
    ) -> None:
        wrong: Any = ValueError("a question of a user")
        with caplog.at_level(logging.WARNING):
            report_notice("memory", action="kept", reason=wrong, callbacks=ledger)
        assert told(ledger) == []
        assert caplog.messages == ["A notice could not be reported: TypeError"]

    def test_half_a_character_is_cleaned_and_kept(self, ledger: TokenLedger) -> None:
        report_notice("memory", action="kept", reason="\ud83d", callbacks=ledger)
        assert len(told(ledger)) == 1


def test_notices_are_there_when_the_file_is_opened_again(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/lean.db"
    with TokenLedger(url) as ledger:
        tell(ledger)
        kept = told(ledger)
    with TokenLedger(url) as again:
        assert told(again) == kept


def graph_of(node: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile()
