"""Whose budget a call is charged to, wherever an application says whom it is for."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.output_parsers import StrOutputParser
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from langchain_lean import Budget, BudgetExceededError, BudgetGuard, scope
from langchain_lean.budgets.errors import MissingKeyError
from langchain_lean.budgets.storage import Claim, Lease, Refusal
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ScriptedChatModel

Way = Callable[[Any, Any, Any], Awaitable[Any]]

EACH = Budget(calls=3, per="day", by="user_id")


class State(TypedDict, total=False):
    answer: str


class Typed(TypedDict, total=False):
    user_id: str


@dataclass
class Plain:
    user_id: str


@dataclass(slots=True)
class Slotted:
    user_id: str


class Keys(MemoryStorage):
    """Remembers the keys it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Claim] = []

    def _reserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        self.seen += wanted.claims
        return super()._reserve(wanted, seconds)


def stand_in() -> ScriptedChatModel:
    return ScriptedChatModel(responses=["Paris."], loop=True, model_name="gpt-5-mini")


def used(guard: BudgetGuard, **keys: str) -> Any:
    (status,) = guard.status(**keys)
    assert status.held == 0
    return status.used


def graph(context: type | None = None, **options: Any) -> Any:
    model = stand_in()
    builder: Any = StateGraph(State, context_schema=context)
    builder.add_node("ask", lambda _: {"answer": model.invoke("q").text})
    builder.add_edge(START, "ask")
    return builder.compile(**options)


async def invoke(runnable: Any, given: Any, config: Any, **more: Any) -> Any:
    return runnable.invoke(given, config, **more)


async def ainvoke(runnable: Any, given: Any, config: Any, **more: Any) -> Any:
    return await runnable.ainvoke(given, config, **more)


async def stream(runnable: Any, given: Any, config: Any, **more: Any) -> Any:
    return list(runnable.stream(given, config, **more))


async def astream(runnable: Any, given: Any, config: Any, **more: Any) -> Any:
    return [chunk async for chunk in runnable.astream(given, config, **more)]


every_way = pytest.mark.parametrize("way", [invoke, ainvoke, stream, astream])


class TestWhereItIsSaid:
    @every_way
    async def test_in_the_metadata_of_a_bare_model(self, way: Way) -> None:
        guard = BudgetGuard(EACH)
        config = {"callbacks": [guard], "metadata": {"user_id": "ada"}}
        await way(stand_in(), "q", config)
        assert (used(guard, user_id="ada"), used(guard)) == (1, 0)

    @every_way
    async def test_in_the_metadata_of_a_chain(self, way: Way) -> None:
        guard = BudgetGuard(EACH)
        config = {"callbacks": [guard], "metadata": {"user_id": "ada"}}
        await way(stand_in() | StrOutputParser(), "q", config)
        assert (used(guard, user_id="ada"), used(guard)) == (1, 0)

    @every_way
    async def test_in_the_metadata_of_the_model_itself(self, way: Way) -> None:
        guard = BudgetGuard(EACH)
        model = stand_in().with_config(metadata={"user_id": "ada"})
        await way(model, "q", {"callbacks": [guard]})
        assert (used(guard, user_id="ada"), used(guard)) == (1, 0)

    @every_way
    async def test_in_the_configurable_of_a_graph(self, way: Way) -> None:
        guard = BudgetGuard(EACH)
        config = {"callbacks": [guard], "configurable": {"user_id": "ada"}}
        await way(graph(), {}, config)
        assert (used(guard, user_id="ada"), used(guard)) == (1, 0)

    @every_way
    async def test_in_the_configurable_of_a_chain(self, way: Way) -> None:
        guard = BudgetGuard(EACH)
        config = {"callbacks": [guard], "configurable": {"user_id": "ada"}}
        await way(stand_in() | StrOutputParser(), "q", config)
        assert (used(guard, user_id="ada"), used(guard)) == (1, 0)

    async def test_a_batch_of_a_chain_shows_its_configurable_to_nobody(self) -> None:
        guard = BudgetGuard(EACH)
        config: Any = {"callbacks": [guard], "configurable": {"user_id": "ada"}}
        chain = stand_in() | StrOutputParser()
        chain.batch(["q"], config)
        await chain.abatch(["q"], config)
        assert (used(guard, user_id="ada"), used(guard)) == (0, 2)

    @pytest.mark.parametrize("kind", [Typed, Plain, Slotted])
    @every_way
    async def test_in_the_context_of_a_graph(self, way: Any, kind: Any) -> None:
        guard = BudgetGuard(EACH)
        context = kind(user_id="ada")
        await way(graph(kind), {}, {"callbacks": [guard]}, context=context)
        assert (used(guard, user_id="ada"), used(guard)) == (1, 0)

    @every_way
    async def test_in_the_scope_of_a_bare_model(self, way: Way) -> None:
        guard = BudgetGuard(EACH)
        with scope(user_id="ada"):
            await way(stand_in(), "q", {"callbacks": [guard]})
        assert (used(guard, user_id="ada"), used(guard)) == (1, 0)

    @every_way
    async def test_in_the_scope_of_a_graph(self, way: Way) -> None:
        guard = BudgetGuard(EACH)
        with scope(user_id="ada"):
            await way(graph(), {}, {"callbacks": [guard]})
        assert (used(guard, user_id="ada"), used(guard)) == (1, 0)

    def test_metadata_comes_before_the_scope(self) -> None:
        guard = BudgetGuard(EACH)
        config: Any = {"callbacks": [guard], "metadata": {"user_id": "ada"}}
        with scope(user_id="bob"):
            stand_in().invoke("q", config)
        assert (used(guard, user_id="ada"), used(guard, user_id="bob")) == (1, 0)

    @every_way
    async def test_the_thread_of_a_graph_is_its_conversation(self, way: Way) -> None:
        guard = BudgetGuard(Budget(calls=2, per="thread"))
        app = graph(checkpointer=InMemorySaver())
        for thread, times in (("a", 2), ("b", 1)):
            config = {"callbacks": [guard], "configurable": {"thread_id": thread}}
            for _ in range(times):
                await way(app, {}, config)
        assert (used(guard, thread_id="a"), used(guard, thread_id="b")) == (2, 1)
        with pytest.raises(BudgetExceededError):
            await way(
                app, {}, {"callbacks": [guard], "configurable": {"thread_id": "a"}}
            )

    def test_any_key_can_be_named(self) -> None:
        guard = BudgetGuard(Budget(calls=1, per="day", by="tenant"))
        config: Any = {"callbacks": [guard], "metadata": {"tenant": "acme"}}
        stand_in().invoke("q", config)
        assert used(guard, tenant="acme") == 1

    def test_numbers_are_read_as_texts(self) -> None:
        guard = BudgetGuard(EACH)
        for user in (7, "7"):
            config: Any = {"callbacks": [guard], "metadata": {"user_id": user}}
            stand_in().invoke("q", config)
        assert used(guard, user_id="7") == 2

    def test_a_number_finds_its_status(self) -> None:
        guard: Any = BudgetGuard(EACH)
        config: Any = {"callbacks": [guard], "metadata": {"user_id": 7}}
        stand_in().invoke("q", config)
        assert used(guard, user_id=7) == 1


class TestEachHasTheirOwn:
    def test_one_user_cannot_use_up_the_budget_of_another(self) -> None:
        guard, model = BudgetGuard(Budget(calls=1, per="day", by="user_id")), stand_in()

        def ask(user: str) -> None:
            model.invoke("q", {"callbacks": [guard], "metadata": {"user_id": user}})

        ask("ada")
        with pytest.raises(BudgetExceededError):
            ask("ada")
        ask("bob")
        assert len(model.calls) == 2

    def test_several_keys_make_a_budget_for_each_combination(self) -> None:
        guard = BudgetGuard(Budget(calls=1, per="day", by=("user_id", "tenant")))
        for user, tenant in (("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc")):
            metadata = {"user_id": user, "tenant": tenant}
            config: Any = {"callbacks": [guard], "metadata": metadata}
            stand_in().invoke("q", config)
        assert used(guard, user_id="a", tenant="bc") == 1

    def test_a_budget_of_all_counts_every_user(self) -> None:
        team = Budget(calls=2, per="month", name="team")
        guard = BudgetGuard(EACH, team)
        for user in ("ada", "bob"):
            config: Any = {"callbacks": [guard], "metadata": {"user_id": user}}
            stand_in().invoke("q", config)
        with pytest.raises(BudgetExceededError) as refused:
            stand_in().invoke(
                "q", {"callbacks": [guard], "metadata": {"user_id": "eve"}}
            )
        assert refused.value.budget is team
        statuses = guard.status(user_id="eve")
        assert [(status.used, status.held) for status in statuses] == [(0, 0), (2, 0)]

    def test_resetting_one_user_leaves_the_others(self) -> None:
        guard = BudgetGuard(EACH)
        for user in ("ada", "bob"):
            config: Any = {"callbacks": [guard], "metadata": {"user_id": user}}
            stand_in().invoke("q", config)
        guard.reset(user_id="ada")
        assert (used(guard, user_id="ada"), used(guard, user_id="bob")) == (0, 1)

    def test_a_key_that_no_budget_is_by_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="user_id"):
            BudgetGuard(EACH).status(usr_id="ada")


class TestNobody:
    @every_way
    async def test_calls_for_nobody_share_one_budget(self, way: Way) -> None:
        guard, model = BudgetGuard(EACH), stand_in()
        for _ in range(3):
            await way(model, "q", {"callbacks": [guard]})
        with pytest.raises(BudgetExceededError):
            await way(model, "q", {"callbacks": [guard]})
        assert used(guard) == 3

    @pytest.mark.parametrize("name", ["anonymous", "None", "null", "*", "0", " "])
    def test_nobody_is_not_a_user_of_such_a_name(self, name: str) -> None:
        guard = BudgetGuard(EACH)
        stand_in().invoke("q", {"callbacks": [guard]})
        assert used(guard, user_id=name) == 0
        config: Any = {"callbacks": [guard], "metadata": {"user_id": name}}
        stand_in().invoke("q", config)
        assert (used(guard), used(guard, user_id=name)) == (1, 1)

    @pytest.mark.parametrize("empty", [None, ""])
    def test_an_empty_name_is_nobody(self, empty: Any) -> None:
        guard = BudgetGuard(EACH)
        config: Any = {"callbacks": [guard], "metadata": {"user_id": empty}}
        stand_in().invoke("q", config)
        assert used(guard) == 1


class TestRequiredKeys:
    @pytest.mark.parametrize("metadata", [{}, {"user_id": None}, {"user_id": ""}])
    @every_way
    async def test_a_call_for_nobody_is_refused(
        self, way: Way, metadata: dict[str, Any]
    ) -> None:
        guard, model = BudgetGuard(EACH, require_key=True), stand_in()
        with pytest.raises(MissingKeyError, match="user_id") as refused:
            await way(model, "q", {"callbacks": [guard], "metadata": metadata})
        assert refused.value.status == 400
        assert model.calls == []
        assert used(guard) == 0

    def test_a_bare_model_is_not_told_of_its_configurable(self) -> None:
        guard = BudgetGuard(EACH, require_key=True)
        config: Any = {"callbacks": [guard], "configurable": {"user_id": "ada"}}
        with pytest.raises(MissingKeyError, match="metadata"):
            stand_in().invoke("q", config)

    @every_way
    async def test_a_call_for_somebody_is_made(self, way: Way) -> None:
        guard = BudgetGuard(EACH, require_key=True)
        config = {"callbacks": [guard], "metadata": {"user_id": "ada"}}
        await way(stand_in(), "q", config)
        assert used(guard, user_id="ada") == 1

    def test_all_that_is_missing_is_named(self) -> None:
        budget = Budget(calls=1, per="thread", by=("user_id", "tenant"))
        guard = BudgetGuard(budget, require_key=True)
        config: Any = {"callbacks": [guard], "metadata": {"tenant": "acme"}}
        with pytest.raises(MissingKeyError, match="no user_id and thread_id"):
            stand_in().invoke("q", config)

    def test_budgets_by_nobody_need_no_key(self) -> None:
        guard = BudgetGuard(Budget(calls=1, per="day"), require_key=True)
        stand_in().invoke("q", {"callbacks": [guard]})
        assert used(guard) == 1


HOSTILE = [
    "ada:bob",
    ":",
    "{}",
    "{ada}",
    "lean:{lean}:",
    "ada\nbob",
    "ada\r\n\x00bob",
    "x" * 10_000,
    "🧛‍♀️ada",
    "\ud800ada",
    "a/b",
    "day/2026-01-01/a",
    '"],null]',
    "%s%n{0}",
    "ada' OR '1'='1",
    "ａｄａ",
    "ADA",
    "ada",
    " ada",
    "ada ",
]
names = ["".join(c if c.isalnum() else "_" for c in ascii(h))[:20] for h in HOSTILE]
hostile = pytest.mark.parametrize("user", HOSTILE, ids=names)


class TestHostileNames:
    @pytest.mark.parametrize("store", ["memory://", "sqlite"])
    def test_no_two_names_share_a_budget(self, store: str, tmp_path: Path) -> None:
        if store == "sqlite":
            store = f"sqlite:///{tmp_path / 'budgets.db'}"
        guard = BudgetGuard(Budget(calls=1, per="day", by="user_id"), store=store)
        for user in HOSTILE:
            config: Any = {"callbacks": [guard], "metadata": {"user_id": user}}
            stand_in().invoke("q", config)
        assert {used(guard, user_id=user) for user in HOSTILE} == {1}

    def test_no_name_reaches_into_another_key(self) -> None:
        storage = Keys()
        budget = Budget(calls=1, per="thread", by=("user_id", "tenant"))
        guard = BudgetGuard(budget, store=storage)
        combined = [
            {"user_id": "a", "tenant": "b", "thread_id": "c"},
            {"user_id": "a:b", "tenant": "c"},
            {"user_id": 'a", "b', "tenant": "c"},
            {"user_id": 'a"], ["tenant", "b', "thread_id": "c"},
            {"tenant": "a:b:c"},
        ]
        for metadata in combined:
            config: Any = {"callbacks": [guard], "metadata": metadata}
            stand_in().invoke("q", config)
        assert len({claim.key for claim in storage.seen}) == len(combined)

    @hostile
    async def test_a_name_stands_in_no_key_error_or_log(
        self, user: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        storage, model = Keys(), stand_in()
        guard = BudgetGuard(Budget(calls=0, per="day", by="user_id"), store=storage)
        config: Any = {"callbacks": [guard], "metadata": {"user_id": user}}
        errors = []
        for way in (invoke, ainvoke, stream, astream):
            with pytest.raises(BudgetExceededError) as refused:
                await way(model, "q", config)
            errors.append(refused.value)
        assert model.calls == []
        said = [claim.key for claim in storage.seen]
        said += [text for e in errors for text in (str(e), repr(e), e.key)]
        said += [caplog.text, repr(guard)]
        told = [text for text in said if len(user) > 3 and user in text]
        assert told == []
        assert all(key.isascii() and key.isprintable() for key in said[:4])
        assert all(len(key) < 100 for key in said[:4])

    @hostile
    def test_a_missing_key_beside_a_name_does_not_show_it(
        self, user: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        budget = Budget(calls=9, per="day", by=("user_id", "tenant"))
        guard = BudgetGuard(budget, require_key=True)
        config: Any = {"callbacks": [guard], "metadata": {"user_id": user}}
        with pytest.raises(MissingKeyError) as refused:
            stand_in().invoke("q", config)
        assert len(user) <= 3 or user not in str(refused.value) + caplog.text

    @hostile
    def test_a_name_of_a_conversation_is_as_good_as_any(self, user: str) -> None:
        guard = BudgetGuard(Budget(calls=1, per="thread"))
        config: Any = {"callbacks": [guard], "metadata": {"thread_id": user}}
        stand_in().invoke("q", config)
        with suppress(BudgetExceededError):
            stand_in().invoke("q", config)
        assert used(guard, thread_id=user) == 1
