"""Telling people that money runs out: at least once, and normally once."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from langchain_lean import Budget, BudgetExceededError, BudgetGuard, SpendAlarm
from langchain_lean.budgets.alerts import Alert
from langchain_lean.budgets.storage import Storage, storage_from_url
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.errors import ConfigurationError, StorageError
from langchain_lean.testing import ScriptedChatModel

DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


class Inbox(list[Alert]):
    """Takes alerts, and fails as often as it is told to."""

    failures = 0

    def __call__(self, alert: Alert) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("secret-token")
        self.append(alert)

    @property
    def thresholds(self) -> list[float]:
        return [alert.threshold for alert in self]


class Gone(MemoryStorage):
    """A store that cannot be reached until a test says so."""

    gone = True

    def reserve(self, *claims: Any, **options: Any) -> Any:
        if self.gone:
            raise StorageError("It is gone.")
        return super().reserve(*claims, **options)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Storage:
    return storage_from_url("memory://", clock=clock)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def model() -> ScriptedChatModel:
    """Each call costs 10 tokens of input and 4 of output or so: $0.0000525."""
    return ScriptedChatModel(
        responses=["Yes, of course."],
        loop=True,
        model_name="gpt-5",
        provider="openai",
    )


def cents(model: Any) -> str:
    """The price of ten calls of the model."""
    guard = BudgetGuard(Budget(usd=None, per="total"))
    for _ in range(10):
        model.invoke("Is it?", {"callbacks": [guard]})
    return f"{guard.status()[0].used}"


def ask(model: Any, *handlers: Any, times: int = 1) -> None:
    for _ in range(times):
        model.invoke("Is it?", {"callbacks": list(handlers)})


class TestSpendAlarm:
    def alarm(
        self, model: Any, store: Storage, inbox: Any, clock: Clock, **options: Any
    ) -> SpendAlarm:
        wanted = {"usd": cents(model), "per": "day", "notify": inbox}
        return SpendAlarm(**wanted | options, store=store, clock=clock)

    def test_each_share_is_told_once(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        alarm = self.alarm(model, store, inbox, clock)
        told = []
        for _ in range(12):
            ask(model, alarm)
            told.append(inbox.thresholds[:])
        assert told[3] == []
        assert told[4] == [0.5]
        assert told[7] == [0.5, 0.8]
        assert told[9] == told[11] == [0.5, 0.8, 1.0]

    def test_it_stops_nothing(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        ask(model, self.alarm(model, store, inbox, clock), times=30)
        assert len(model.calls) == 40

    def test_a_new_window_tells_anew(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        alarm = self.alarm(model, store, inbox, clock, at=(0.5,))
        ask(model, alarm, times=6)
        clock.now += DAY
        ask(model, alarm, times=4)
        assert inbox.thresholds == [0.5]
        ask(model, alarm, times=2)
        assert inbox.thresholds == [0.5, 0.5]
        assert inbox[0].window != inbox[1].window

    def test_processes_that_share_a_store_tell_once_in_all(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        alarms = [self.alarm(model, store, inbox, clock) for _ in range(4)]
        for _ in range(5):
            for alarm in alarms:
                ask(model, alarm)
        assert sorted(inbox.thresholds) == [0.5, 0.8, 1.0]

    def test_threads_tell_once_in_all(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        alarm = self.alarm(model, store, inbox, clock)
        threads = [
            threading.Thread(target=ask, args=(model, alarm), kwargs={"times": 5})
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(inbox.thresholds) == [0.5, 0.8, 1.0]

    def test_what_could_not_be_told_is_told_a_minute_later(
        self,
        model: Any,
        store: Storage,
        inbox: Inbox,
        clock: Clock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        inbox.failures = 1
        alarm = self.alarm(model, store, inbox, clock, at=(0.5,))
        ask(model, alarm, times=8)
        assert inbox == []
        assert "ConnectionError" in caplog.text
        assert "secret-token" not in caplog.text
        clock.now += 60
        ask(model, alarm, times=2)
        assert inbox.thresholds == [0.5]

    def test_when_whoever_tells_dies_another_process_tells(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        class Killed(BaseException):
            pass

        def die(_: Alert) -> None:
            raise Killed

        dying = self.alarm(model, store, die, clock, at=(0.5,))
        with pytest.raises(Killed):
            ask(model, dying, times=6)
        alarm = self.alarm(model, store, inbox, clock, at=(0.5,))
        ask(model, alarm)
        assert inbox == []  # the dead one may still be telling
        clock.now += 60
        ask(model, alarm)
        assert inbox.thresholds == [0.5]

    def test_two_alarms_on_one_store_count_by_themselves(
        self, model: Any, store: Storage, clock: Clock
    ) -> None:
        inboxes = [Inbox(), Inbox()]
        alarms = [
            self.alarm(model, store, inbox, clock, usd=usd, at=(1.0,))
            for inbox, usd in zip(inboxes, (cents(model), "1"), strict=True)
        ]
        ask(model, *alarms, times=9)
        assert inboxes == [[], []]
        ask(model, *alarms)
        assert [inbox.thresholds for inbox in inboxes] == [[1.0], []]

    def test_people_have_amounts_of_their_own(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        alarm = self.alarm(model, store, inbox, clock, at=(0.5,), by="user_id")
        for user in ("ada", "bob", "eve"):
            for _ in range(4):
                config: Any = {"callbacks": [alarm], "metadata": {"user_id": user}}
                model.invoke("Is it?", config)
        assert inbox == []
        model.invoke("Is it?", config)
        assert inbox.thresholds == [0.5]
        assert inbox[0].whose == inbox[0].to_dict()["whose"] == {"user_id": "eve"}

    def test_an_alert_says_what_there_is_to_say(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        ask(model, self.alarm(model, store, inbox, clock), times=5)
        (alert,) = inbox
        assert str(alert).startswith("50% of a budget is used: $0.000")
        told = alert.to_dict()
        assert told["threshold"] == 0.5
        assert told["unit"] == "usd"
        assert float(told["used"]) * 2 == float(told["limit"])
        assert told["resets_at"].startswith("2026-11-19T00:00:00")

    def test_a_model_without_a_price_is_said_once(
        self,
        store: Storage,
        inbox: Inbox,
        clock: Clock,
        model: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        unknown = ScriptedChatModel(responses=["Yes."], loop=True, model_name="mine")
        alarm = self.alarm(model, store, inbox, clock)
        ask(unknown, alarm, times=3)
        said = [r for r in caplog.records if "no price is known" in r.getMessage()]
        assert len(said) == 1

    def test_a_store_that_is_gone_breaks_nothing(
        self, model: Any, inbox: Inbox, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        ask(model, self.alarm(model, Gone(), inbox, clock), times=3)
        assert caplog.text.count("It is gone.") == 1

    def test_what_is_spent_while_the_store_is_gone_is_counted_later(
        self, model: Any, inbox: Inbox, clock: Clock
    ) -> None:
        store = Gone(clock=clock)
        alarm = self.alarm(model, store, inbox, clock)
        ask(model, alarm, times=9)
        store.gone = False
        ask(model, alarm)
        assert inbox.thresholds == [0.5, 0.8, 1.0]

    def test_what_was_reserved_and_not_settled_is_counted_once(
        self, model: Any, inbox: Inbox, clock: Clock
    ) -> None:
        class Half(MemoryStorage):
            gone = True

            def settle(self, *lease: Any) -> Any:
                if self.gone:
                    raise StorageError("It is gone.")
                return super().settle(*lease)

        store = Half(clock=clock)
        alarm = self.alarm(model, store, inbox, clock, at=(0.5, 0.8))
        ask(model, alarm)
        clock.now += 61
        store.gone = False
        ask(model, alarm, times=4)
        assert inbox.thresholds == [0.5]

    def test_what_waits_belongs_to_the_process_that_spent_it(
        self, model: Any, inbox: Inbox, clock: Clock
    ) -> None:
        store = Gone(clock=clock)
        alarm = self.alarm(model, store, inbox, clock)
        ask(model, alarm, times=9)
        alarm.forget()  # as in a forked process
        store.gone = False
        ask(model, alarm)
        assert inbox == []

    def test_an_alert_that_comes_late_names_the_window_of_the_call(
        self, model: Any, inbox: Inbox, clock: Clock
    ) -> None:
        store = Gone(clock=clock)
        alarm = self.alarm(model, store, inbox, clock, at=(0.5,))
        ask(model, alarm, times=6)
        clock.now += DAY
        store.gone = False
        ask(model, alarm)
        assert [alert.window for alert in inbox] == ["2026-11-18"]

    def test_alarms_without_a_name_differ_by_their_shares(self, store: Storage) -> None:
        shares = [(0.999,), (1.0,), tuple(n / 100 for n in range(1, 101))]
        names = {
            SpendAlarm(usd="1", per="day", at=at, notify=print, store=store).budget.name
            for at in shares
        }
        assert len(names) == 3

    @pytest.mark.parametrize(
        "options",
        [
            {"at": ()},
            {"at": (0.0,)},
            {"at": (-1,)},
            {"at": 0.5},
            {"per": "call"},
            {"per": "run"},
            {"usd": "NaN"},
            {"notify": 7},
            {"notify": "ops@example.com"},
        ],
    )
    def test_options_that_make_no_sense_are_refused(
        self, store: Storage, inbox: Inbox, options: dict[str, Any]
    ) -> None:
        wanted = {"usd": "1", "per": "day", "notify": inbox, "store": store}
        with pytest.raises(ConfigurationError):
            SpendAlarm(**wanted | options)


class TestSoftWarning:
    def test_a_guard_tells_when_most_of_a_budget_is_used(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        budget = Budget(calls=10, per="day")
        guard = BudgetGuard(budget, store=store, notify=inbox, clock=clock)
        ask(model, guard, times=7)
        assert inbox == []
        ask(model, guard, times=3)
        (alert,) = inbox
        assert (alert.budget, alert.threshold, alert.used) == (budget, 0.8, 8)
        assert str(alert) == "80% of a budget is used: 8 calls of 10 calls per day."

    def test_what_could_not_be_told_is_tried_again_at_a_refusal(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        inbox.failures = 1
        budget = Budget(calls=1, per="day")
        guard = BudgetGuard(budget, store=store, notify=inbox, clock=clock)
        ask(model, guard)
        assert inbox == []
        clock.now += 60
        with pytest.raises(BudgetExceededError):
            ask(model, guard)
        assert len(inbox) == 1

    def test_after_a_reset_it_is_told_again(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        budget = Budget(calls=1, per="day")
        guard = BudgetGuard(budget, store=store, notify=inbox, clock=clock)
        ask(model, guard)
        guard.reset()
        ask(model, guard)
        assert len(inbox) == 2

    def test_a_share_is_a_decimal_number(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        budget = Budget(calls=100, per="day", warn_at=0.55)
        guard = BudgetGuard(budget, store=store, notify=inbox, clock=clock)
        ask(model, guard, times=56)
        assert [alert.used for alert in inbox] == [55]

    def test_a_store_that_says_nothing_of_its_counters_is_asked(
        self, model: Any, inbox: Inbox, clock: Clock
    ) -> None:
        class Silent(MemoryStorage):
            def settle(self, *lease: Any) -> Any:
                super().settle(*lease)
                return {}

        budgets = Budget(calls=5, per="day"), Budget(tokens=10**6, per="day")
        guard = BudgetGuard(*budgets, store=Silent(), notify=inbox, clock=clock)
        ask(model, guard, times=5)
        assert [alert.used for alert in inbox] == [4]

    def test_none_turns_it_off(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        budget = Budget(calls=10, per="day", warn_at=None)
        guard = BudgetGuard(budget, store=store, notify=inbox, clock=clock)
        ask(model, guard, times=10)
        assert inbox == []

    def test_without_a_limit_there_is_nothing_to_tell(
        self, model: Any, store: Storage, inbox: Inbox, clock: Clock
    ) -> None:
        budget = Budget(calls=None, per="day")
        guard = BudgetGuard(budget, store=store, notify=inbox, clock=clock)
        ask(model, guard, times=10)
        assert inbox == []


class Hook(HTTPServer):
    """A webhook that keeps what is posted to it."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HookHandler)
        self.posted: list[tuple[str | None, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class HookHandler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        self.server.posted.append((kind, json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class TestWebhook:
    def test_it_is_posted_as_json(
        self, model: Any, store: Storage, hook: Hook, clock: Clock
    ) -> None:
        budget = Budget(calls=1, per="day")
        guard = BudgetGuard(budget, store=store, notify=hook.url, clock=clock)
        ask(model, guard)
        ((kind, told),) = hook.posted
        assert kind == "application/json"
        assert told["message"] == "80% of a budget is used: 1 call of 1 call per day."
        assert told["threshold"] == 0.8

    def test_an_answer_that_is_an_error_is_tried_again(
        self,
        model: Any,
        store: Storage,
        hook: Hook,
        clock: Clock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.WARNING)
        hook.status = 500
        budget = Budget(calls=10, per="day", warn_at=0.1)
        guard = BudgetGuard(budget, store=store, notify=hook.url, clock=clock)
        ask(model, guard, times=3)
        assert len(hook.posted) == 1
        hook.status = 204
        clock.now += 60
        ask(model, guard, times=3)
        assert len(hook.posted) == 2
        assert hook.url not in caplog.text
