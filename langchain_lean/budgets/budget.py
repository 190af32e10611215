"""What may be spent, of what, in which time, and by whom: plain values."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

from langchain_lean.accounting.prices.book import Dollars
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.budgets.storage.base import MOST
from langchain_lean.errors import ConfigurationError

Unit = Literal["usd", "tokens", "input_tokens", "output_tokens", "calls"]
"""What a budget limits."""

Per = Literal["call", "run", "thread", "minute", "hour", "day", "month", "total"]
"""The time, or the part of an application, a budget is for."""

UNITS: tuple[Unit, ...] = get_args(Unit)

_NANO = Decimal(10) ** 9
_DAY = 86_400.0
# Counters of runs and threads are dropped when they have rested for so long.
_RESTS = {"run": _DAY, "thread": 90 * _DAY}
_LONGEST_NAME = 200


class _Unset(Enum):
    UNSET = "not given"


_UNSET = _Unset.UNSET


class Window(NamedTuple):
    """The time a budget is counted over.

    Attributes:
        name: Tells it from the ones before and after it.
        ends: When it ends, in UTC; None where waiting does not help.
    """

    name: str
    ends: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits one of dollars, tokens, input tokens, output tokens or calls.

    None means no limit (it is counted all the same), 0 means nothing is allowed.

    Attributes:
        usd: Dollars, as a text, an integer or a `Decimal`, to a billionth.
        tokens: Input and output tokens together.
        input_tokens: Tokens that are sent.
        output_tokens: Tokens that are answered.
        calls: Calls of a model; one that fails is not counted.
        per: `call`; `run` (of a chain or graph), `thread` (a conversation); `minute`,
            `hour`, `day` and `month` of the calendar; or `total`, for ever.
        by: Who has a budget of their own, such as `user_id`; several names for a
            budget of each combination. Looked up as a ledger looks up the user.
        name: Tells budgets apart that would count the same. Budgets of one unit, time,
            `by`, name and time zone share a counter, whatever their limits.
        timezone: Where days begin, such as `Europe/Zurich`.
        warn_at: The share from which it is told that the budget runs out.
        unit: Which of these it limits.
        limit: How many tokens, calls or nano-dollars that is; None for no limit.

    Raises:
        ConfigurationError: If it makes no sense.

    Example:
        ```python
        Budget(input_tokens=8_000, per="call")
        Budget(usd="1.00", per="day", by="user_id")
        ```
    """

    usd: Dollars | _Unset | None = _UNSET
    tokens: int | _Unset | None = _UNSET
    input_tokens: int | _Unset | None = _UNSET
    output_tokens: int | _Unset | None = _UNSET
    calls: int | _Unset | None = _UNSET
    per: Per
    by: str | tuple[str, ...] = ()
    name: str | None = None
    timezone: str = "UTC"
    warn_at: float | None = 0.8
    unit: Unit = field(init=False, compare=False)
    limit: int | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if len(given := self._given()) != 1:
            found = " and ".join(given) or "none of them"
            msg = f"A budget limits exactly one of {', '.join(UNITS)}; got {found}."
            raise ConfigurationError(msg)
        if self.per not in get_args(Per):
            known = ", ".join(get_args(Per))
            msg = f"A budget is per one of {known}, not {self.per!r:.40}."
            raise ConfigurationError(msg)
        names: Any = (self.by,) if isinstance(self.by, str) else self.by
        by = tuple(names) if isinstance(names, list | tuple) else (names,)
        if not all(isinstance(name, str) and name for name in by):
            msg = 'by= takes names of keys, such as by="user_id".'
            raise ConfigurationError(msg)
        object.__setattr__(self, "by", by)
        name: Any = self.name
        if name is not None and not (
            isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME
        ):
            msg = f"The name of a budget is a text of 1 to {_LONGEST_NAME} characters."
            raise ConfigurationError(msg)
        share = self.warn_at
        if share is not None and not (_is_number(share) and 0 < share <= 1):
            msg = f"warn_at= is a share above 0 and up to 1, not {share!r:.40}."
            raise ConfigurationError(msg)
        _zone(self.timezone)
        (unit,) = given
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "limit", _limit(unit, getattr(self, unit)))

    @property
    def keys(self) -> tuple[str, ...]:
        """What a call is asked for to find its counter, `thread_id` among it."""
        by = self.by if isinstance(self.by, tuple) else (self.by,)
        return (*by, "thread_id") if self.per == "thread" else by

    def window(self, now: float) -> Window:
        """The window a moment lies in.

        Args:
            now: Seconds since the epoch.

        Returns:
            A minute, hour, day or month of the calendar in the budget's time zone;
            one without an end for everything else.
        """
        local = datetime.fromtimestamp(now, UTC).astimezone(_zone(self.timezone))
        if self.per in ("minute", "hour"):
            # By the offset from UTC of this moment, so that an hour that a clock goes
            # through twice is two windows.
            start = local.replace(
                tzinfo=timezone(local.utcoffset() or timedelta()),
                second=0,
                microsecond=0,
                **({"minute": 0} if self.per == "hour" else {}),
            )
            lasts = timedelta(**{f"{self.per}s": 1})
            ends = start.astimezone(UTC) + lasts
            return Window(start.isoformat("T", "minutes"), ends)
        day = local.date()
        if self.per == "day":
            return Window(f"{day}", _midnight(day + timedelta(days=1), local.tzinfo))
        if self.per == "month":
            first = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
            return Window(f"{day:%Y-%m}", _midnight(first, local.tzinfo))
        return Window("", None)

    def counter(
        self, now: float, values: Mapping[str, str | None], run_id: str = ""
    ) -> str:
        """The key of the counter a call is counted on, without anything a user wrote.

        Args:
            now: Seconds since the epoch.
            values: The values of `keys`; all calls without one share a counter.
            run_id: The outermost run, for a budget of each run.
        """
        told = [[name, values.get(name) or None] for name in self.keys]
        run = run_id if self.per == "run" else None
        whose = json.dumps([self.name, self.timezone, told, run])
        digest = hashlib.sha256(whose.encode()).hexdigest()
        parts = (self.unit, self.per, self.window(now).name, digest[:32])
        return "/".join(filter(None, parts))

    def lasts(self, now: float, *, after: float) -> float | None:
        """Seconds for which a counter is needed.

        Args:
            now: Seconds since the epoch.
            after: Seconds after the end of its window in which it still is.

        Returns:
            The seconds; None for ever.
        """
        ends = self.window(now).ends
        if ends is not None:
            return max(ends.timestamp() - now, 0.0) + after
        rests = _RESTS.get(self.per)
        return None if rests is None else rests + after

    def amount(self, usage: TokenUsage, cost: Decimal | None) -> int:
        """What a call takes of the budget, in whole units.

        Args:
            usage: What it uses.
            cost: Dollars; only looked at by a budget of dollars, rounded up to a
                nano-dollar.
        """
        if self.unit == "usd":
            nano = math.ceil((cost or Decimal(0)) * _NANO)
            return min(max(nano, 0), MOST)
        counts = {
            "tokens": usage.total,
            "input_tokens": usage.input,
            "output_tokens": usage.output,
            "calls": 1,
        }
        return min(counts[self.unit], MOST)

    def value(self, amount: int) -> Decimal | int:
        """An amount as a person reads it: dollars, tokens or calls."""
        return Decimal(amount) / _NANO if self.unit == "usd" else amount

    def words(self, amount: int) -> str:
        """A whole amount in words, such as `$0.97` or `8,000 input tokens`."""
        return self.said(self.value(amount))

    def said(self, value: Decimal | int) -> str:
        """What a person reads, in words."""
        if self.unit == "usd":
            dollars = Decimal(value)
            cents = dollars.quantize(Decimal("0.01"))
            return f"${cents if cents == dollars else dollars.normalize():f}"
        words = self.unit.replace("_", " ")
        return f"{value:,} {words.removesuffix('s') if value == 1 else words}"

    def _given(self) -> list[Unit]:
        return [unit for unit in UNITS if getattr(self, unit) is not _UNSET]

    def __str__(self) -> str:
        limit = self.limit
        amount = "no limit" if limit is None else self.words(limit)
        ever = "in total" if self.per == "total" else f"per {self.per}"
        by = f" for each {' and '.join(self.by)}" if self.by else ""
        name = f"{self.name!r}: " if self.name else ""
        return f"{name}{amount} {ever}{by}"

    def __repr__(self) -> str:
        values = {self.unit: getattr(self, self.unit), "per": self.per}
        values |= {"by": self.by} if self.by else {}
        values |= {"name": self.name} if self.name else {}
        shown = ", ".join(f"{key}={value!r}" for key, value in values.items())
        return f"Budget({shown})"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _limit(unit: Unit, value: Any) -> int | None:
    """A limit in whole units."""
    if value is None:
        return None
    if unit != "usd":
        if type(value) is not int or not 0 <= value <= MOST:
            msg = f"{unit}= is an integer from 0 to {MOST:,}, not {value!r:.40}."
            raise ConfigurationError(msg)
        return value
    if isinstance(value, float):
        msg = f'usd= takes no float, which cannot hold most amounts: usd="{value}".'
        raise ConfigurationError(msg)
    try:
        if isinstance(value, bool):
            raise InvalidOperation
        amount = Decimal(value) * _NANO
        if not 0 <= amount <= MOST or amount != int(amount):
            raise InvalidOperation
    except (InvalidOperation, TypeError, ValueError):
        msg = (
            f'usd= is an amount such as "1.00", from 0 to {MOST / 1e9:,.0f} dollars in '
            f"billionths, not {value!r:.40}."
        )
        raise ConfigurationError(msg) from None
    return int(amount)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, TypeError, OSError):
        msg = f"There is no time zone {name!r:.60}; name one such as 'Europe/Zurich'."
        raise ConfigurationError(msg) from None


def _midnight(day: Any, zone: tzinfo | None) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
