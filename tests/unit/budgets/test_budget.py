"""What a budget is: its limit, its window, its counter."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_lean import Budget, BudgetExceededError, LeanError, TokenUsage
from langchain_lean.budgets.storage.base import MOST
from langchain_lean.errors import ConfigurationError

USAGE = TokenUsage(input=1_000, output=200)


def at(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]


def test_a_budget_knows_its_unit_and_its_limit() -> None:
    assert Budget(tokens=7, per="day").limit == 7
    assert Budget(usd="1.5", per="day").limit == 1_500_000_000
    assert Budget(usd=2, per="day").limit == 2_000_000_000
    assert Budget(usd=Decimal("0.000000001"), per="day").limit == 1
    assert Budget(calls=0, per="day").limit == 0
    assert Budget(calls=None, per="day").limit is None
    assert Budget(calls=None, per="day").unit == "calls"


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"usd": "1", "calls": 2},
        {"usd": None, "calls": None},
        {"tokens": 1, "input_tokens": 1},
    ],
)
def test_a_budget_limits_exactly_one_thing(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="exactly one of usd, tokens"):
        Budget(**limits, per="day")


@pytest.mark.parametrize(
    "limit",
    [
        {"usd": "-1"},
        {"usd": -1},
        {"usd": "NaN"},
        {"usd": "Infinity"},
        {"usd": True},
        {"usd": "a lot"},
        {"usd": "0.0000000001"},
        {"usd": "10000000"},
        {"tokens": -1},
        {"tokens": 1.0},
        {"tokens": "7"},
        {"calls": True},
        {"calls": MOST + 1},
        {"output_tokens": float("nan")},
    ],
)
def test_a_limit_that_is_no_amount_is_refused(limit: dict[str, Any]) -> None:
    (unit,) = limit
    with pytest.raises(ConfigurationError, match=f"^{unit}= is an"):
        Budget(**limit, per="day")


@pytest.mark.parametrize("usd", [1.5, float("nan")])
def test_a_float_of_dollars_is_refused_with_what_to_write(usd: float) -> None:
    with pytest.raises(ConfigurationError, match=f'no float.*usd="{usd}"'):
        Budget(usd=usd, per="day")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"per": "week"}, "per one of call, run"),
        ({"per": "day", "by": ("",)}, "names of keys"),
        ({"per": "day", "by": (1,)}, "names of keys"),
        ({"per": "day", "warn_at": 0}, "warn_at= is a share"),
        ({"per": "day", "warn_at": float("nan")}, "warn_at= is a share"),
        ({"per": "day", "timezone": "Mars/Olympus"}, "no time zone"),
        ({"per": "day", "timezone": "../../etc/passwd"}, "no time zone"),
        ({"per": "day", "name": ""}, "name of a budget"),
        ({"per": "day", "name": 5}, "name of a budget"),
        ({"per": "day", "by": 5}, "names of keys"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    option: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Budget(calls=1, **option)


def test_a_budget_is_a_value() -> None:
    budget = Budget(usd="1.00", per="day", by="user_id")
    assert budget == Budget(usd="1.00", per="day", by=("user_id",))
    assert hash(budget) == hash(pickle.loads(pickle.dumps(budget)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        budget.per = "month"  # type: ignore[misc]


def test_a_budget_says_what_it_is() -> None:
    budget = Budget(usd="1.00", per="day", by="user_id", name="free tier")
    assert str(budget) == "'free tier': $1.00 per day for each user_id"
    assert repr(budget) == (
        "Budget(usd='1.00', per='day', by=('user_id',), name='free tier')"
    )
    assert str(Budget(calls=1, per="total")) == "1 call in total"
    assert str(Budget(tokens=None, per="month")) == "no limit per month"


@pytest.mark.parametrize(
    ("per", "name", "ends"),
    [
        ("minute", "2026-11-30T23:59+00:00", datetime(2026, 12, 1, tzinfo=UTC)),
        ("hour", "2026-11-30T23:00+00:00", datetime(2026, 12, 1, tzinfo=UTC)),
        ("day", "2026-11-30", datetime(2026, 12, 1, tzinfo=UTC)),
        ("month", "2026-11", datetime(2026, 12, 1, tzinfo=UTC)),
        ("total", "", None),
        ("call", "", None),
        ("run", "", None),
        ("thread", "", None),
    ],
)
def test_windows_are_those_of_the_calendar(
    per: Any, name: str, ends: datetime | None
) -> None:
    window = Budget(calls=1, per=per).window(at(2026, 11, 30, 23, 59, 59))
    assert window == (name, ends)


def test_days_and_months_begin_where_the_budget_lives() -> None:
    moment, zone = at(2026, 12, 31, 23, 30), "Europe/Zurich"
    day = Budget(calls=1, per="day", timezone=zone).window(moment)
    assert day == ("2027-01-01", datetime(2027, 1, 1, 23, tzinfo=UTC))
    month = Budget(calls=1, per="month", timezone=zone).window(moment)
    assert month == ("2027-01", datetime(2027, 1, 31, 23, tzinfo=UTC))


def test_a_day_has_23_or_25_hours_when_the_clocks_change() -> None:
    budget = Budget(calls=1, per="day", timezone="Europe/Zurich")
    for noon, hours in ((at(2026, 3, 29, 12), 23), (at(2026, 10, 25, 12), 25)):
        begins, ends = (budget.window(noon - days * 86_400).ends for days in (1, 0))
        assert begins is not None
        assert ends is not None
        assert ends - begins == timedelta(hours=hours)


def test_an_hour_that_comes_twice_is_two_windows() -> None:
    budget = Budget(calls=1, per="hour", timezone="Europe/Zurich")
    first, second = at(2026, 10, 25, 0, 30), at(2026, 10, 25, 1, 30)
    assert budget.window(first).name != budget.window(second).name
    assert budget.window(first).ends == datetime(2026, 10, 25, 1, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "Pacific/Chatham"])
def test_where_clocks_change_by_half_hours_no_window_ends_in_the_past(
    zone: str,
) -> None:
    budget = Budget(calls=1, per="hour", timezone=zone)
    for change in (at(2026, 4, 4, 12), at(2026, 10, 3, 12)):
        for minute in range(0, 24 * 60, 5):
            now = change + 60 * minute
            ends = budget.window(now).ends
            assert ends is not None
            assert now < ends.timestamp() <= now + 3_600


@given(
    now=st.integers(0, 4_000_000_000),
    per=st.sampled_from(["minute", "hour", "day", "month"]),
    zone=st.sampled_from(
        ["UTC", "Asia/Kolkata", "America/Sao_Paulo", "Asia/Beirut", "Africa/Cairo"]
    ),
)
def test_a_window_goes_on_until_its_end_and_there_begins_another(
    now: int, per: Any, zone: str
) -> None:
    budget = Budget(calls=1, per=per, timezone=zone)
    window = budget.window(now)
    assert window.ends is not None
    ends = window.ends.timestamp()
    assert now < ends <= now + 32 * 86_400
    assert budget.window(ends - 1) == window
    assert budget.window(ends).name != window.name


def test_the_counters_of_people_budgets_and_windows_are_others() -> None:
    now = at(2026, 11, 22)
    daily = Budget(usd="1", per="day", by="user_id")
    ada = {"user_id": "ada"}
    keys = [
        daily.counter(now, ada),
        daily.counter(now, {"user_id": "bob"}),
        daily.counter(now, {}),
        daily.counter(now, {"user_id": "anonymous"}),
        daily.counter(now, {"user_id": "None"}),
        daily.counter(now + 86_400, ada),
        Budget(usd="1", per="day", by="user_id", name="x").counter(now, ada),
        Budget(usd="1", per="day", by="team").counter(now, {"team": "ada"}),
        Budget(usd="1", per="day", by="user_id", timezone="Asia/Tokyo").counter(
            now, ada
        ),
        Budget(tokens=1, per="day", by="user_id").counter(now, ada),
        Budget(usd="1", per="run").counter(now, {}, "run-1"),
        Budget(usd="1", per="run").counter(now, {}, "run-2"),
        Budget(usd="1", per="thread").counter(now, {"thread_id": "a"}),
        Budget(usd="1", per="thread").counter(now, {"thread_id": "b"}),
    ]
    assert len(set(keys)) == len(keys)


def test_a_raised_limit_keeps_its_counter() -> None:
    one, other = (Budget(usd=usd, per="day") for usd in ("1", "2"))
    assert one.counter(0, {}) == other.counter(0, {})


@given(one=st.text(), other=st.text())
def test_no_two_users_share_a_counter_and_no_name_stands_in_it(
    one: str, other: str
) -> None:
    budget = Budget(calls=1, per="day", by="user_id")
    keys = [budget.counter(0, {"user_id": user}) for user in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)
    assert all(key.isascii() and len(key) < 100 for key in keys)
    assert len(one) < 12 or one not in keys[0]


def test_what_a_call_takes_is_counted_in_the_unit() -> None:
    cost = Decimal("0.0000000012")
    amounts = {
        "usd": 2,  # nano-dollars, rounded up
        "tokens": 1_200,
        "input_tokens": 1_000,
        "output_tokens": 200,
        "calls": 1,
    }
    for unit, amount in amounts.items():
        budget = Budget(**{unit: 1}, per="day")  # type: ignore[arg-type]
        assert budget.amount(USAGE, cost) == amount


class TestError:
    def error(self, **options: Any) -> BudgetExceededError:
        budget = Budget(**{"usd": "1.00", "per": "day", "by": "user_id"} | options)
        return BudgetExceededError(
            budget,
            key="usd/day/2026-11-22/0123",
            limit=1_000_000_000,
            used=970_000_000,
            requested=50_000_000,
            now=at(2026, 11, 22, 23, 59, 30),
        )

    def test_it_says_in_one_sentence_what_is_wrong_and_when_it_ends(self) -> None:
        assert str(self.error()) == (
            "The budget is used up ($1.00 per day for each user_id): $0.97 used or "
            "held, and the call may take $0.05; a new one begins at 2026-11-23 "
            "00:00:00 UTC."
        )

    def test_a_window_is_429_with_the_seconds_until_it_ends(self) -> None:
        error = self.error()
        assert (error.status, error.retry_after) == (429, 30)
        assert error.resets_at == datetime(2026, 11, 23, tzinfo=UTC)

    @pytest.mark.parametrize("per", ["run", "thread", "total"])
    def test_where_waiting_does_not_help_there_is_no_retry_after(
        self, per: str
    ) -> None:
        error = self.error(per=per, by=())
        assert (error.status, error.retry_after, error.resets_at) == (429, None, None)

    def test_a_call_that_is_too_large_is_413(self) -> None:
        error = self.error(per="call", by=())
        assert (error.status, error.retry_after, error.resets_at) == (413, None, None)

    def test_a_call_larger_than_a_whole_budget_is_not_told_to_wait(self) -> None:
        error = BudgetExceededError(
            Budget(tokens=100, per="day"),
            key="key",
            limit=100,
            used=0,
            requested=1_043,
            now=at(2026, 11, 22),
        )
        assert error.retry_after is None
        assert str(error) == (
            "The call may take 1,043 tokens, more than its whole budget (100 tokens "
            "per day); send less, cap its answer with max_tokens, or allow more."
        )

    def test_its_amounts_are_those_a_person_reads(self) -> None:
        error = self.error()
        amounts = (error.limit, error.used, error.requested)
        assert amounts == (1, Decimal("0.97"), Decimal("0.05"))

    def test_it_survives_pickling(self) -> None:
        error = self.error()
        copy = pickle.loads(pickle.dumps(error))
        assert str(copy) == str(error)
        assert copy.retry_after == error.retry_after
        assert copy.budget == error.budget

    def test_it_is_what_langgraph_and_middleware_let_through(self) -> None:
        from langchain_core.exceptions import ModelError
        from langgraph.errors import GraphBubbleUp

        assert isinstance(self.error(), LeanError)
        assert isinstance(self.error(), ModelError)
        assert isinstance(self.error(), GraphBubbleUp)
