"""Entries, steps, savings and notices as rows of a ledger's file, and back."""

import json
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from sqlite3 import Row
from typing import Any

from langchain_lean.accounting.anatomy import PARTS, Anatomy
from langchain_lean.accounting.entry import FLAGS, LedgerEntry, MessageMark, Step
from langchain_lean.accounting.notices import Notice
from langchain_lean.accounting.prices.cost import Cost
from langchain_lean.accounting.savings import Saving
from langchain_lean.accounting.usage import COUNTS, TokenUsage

Values = tuple[Any, ...]

PLAIN = (
    "run_id",
    "parent_id",
    "trace_id",
    "kind",
    "model",
    "requested",
    "provider",
    "node",
    "agent",
    "source",
    "user_id",
    "thread_id",
    "seconds",
    "first_token_seconds",
    "reason",
)
COSTS = tuple(part.name for part in fields(Cost))
COST_COLUMNS = tuple(f"cost_{name}" for name in COSTS)
ANATOMY_COLUMNS = tuple(f"anatomy_{name}" for name in PARTS)

ENTRY_COLUMNS = (
    *PLAIN,
    "start",
    "tags",
    "messages",
    "answer",
    "service_tier",
    "region",
    *COUNTS,
    *COST_COLUMNS,
    *ANATOMY_COLUMNS,
    *FLAGS,
)
STEP_COLUMNS = (
    "run_id",
    "trace_id",
    "kind",
    "name",
    "start",
    "seconds",
    "failed",
    "documents",
)
SAVING_COLUMNS = (
    "id",
    "lever",
    "model",
    "provider",
    "avoided",
    "spent",
    "spent_model",
    "kind",
    "baseline",
    "at",
    "value",
    "unpriced",
    "seconds",
)
NOTICE_COLUMNS = ("id", "lever", "action", "reason", "run_id", "at")

_plain = attrgetter(*PLAIN)
_counts = attrgetter(*COUNTS)
_costs = attrgetter(*COSTS)
_parts = attrgetter(*PARTS)
_flags = attrgetter(*FLAGS)
_PICO = Decimal("1e-12")
_PICODOLLARS = Decimal("1e12")


def to_picodollars(amount: Decimal) -> int | float:
    """Dollars as whole picodollars.

    Prices have at most six decimals per million tokens, so every sum of tokens is a
    whole number of picodollars; a price of your own with more digits is rounded. A
    single call above nine million dollars is kept as a float, which SQLite can hold.
    """
    picodollars = round(amount * _PICODOLLARS)  # half to even
    return picodollars if abs(picodollars) < 2**63 else float(picodollars)


def to_dollars(picodollars: float) -> Decimal:
    """Whole picodollars as dollars, without trailing zeros."""
    return (int(picodollars) * _PICO).normalize() + 0


def entry_row(entry: LedgerEntry) -> Values:
    """An entry in the order of `ENTRY_COLUMNS`."""
    usage = entry.usage
    return (
        *_plain(entry),
        entry.start.timestamp(),
        json.dumps(entry.tags) if entry.tags else None,
        _marks_text(entry.messages),
        _marks_text((entry.answer,)) if entry.answer else None,
        usage.service_tier,
        usage.region,
        *_counts(usage),
        *_cost_values(entry.cost),
        *_parts(entry.anatomy),
        *_flags(entry),
    )


def priced_entry_row(entry: LedgerEntry) -> Values:
    """What pricing sets: the cost columns and `unpriced`, then the `run_id`."""
    return (*_cost_values(entry.cost), entry.unpriced, entry.run_id)


def priced_saving_row(saving: Saving) -> Values:
    """What pricing sets: `value` and `unpriced`, then the `id`."""
    return (_value(saving), saving.unpriced, saving.id)


def row_entry(columns: Row) -> LedgerEntry:
    """The entry of a row."""
    row = dict(zip(columns.keys(), columns, strict=True))  # by name, a Row is slow
    cost = None
    if row["cost_total"] is not None:
        cost = Cost(*(to_dollars(row[column]) for column in COST_COLUMNS))
    answer = _marks(row["answer"])
    flags: dict[str, Any] = {name: bool(row[name]) for name in FLAGS}
    return LedgerEntry(
        **{name: row[name] for name in PLAIN},
        start=datetime.fromtimestamp(row["start"], UTC),
        tags=tuple(json.loads(row["tags"] or "[]")),
        messages=_marks(row["messages"]),
        answer=answer[0] if answer else None,
        usage=TokenUsage(
            **{name: row[name] for name in COUNTS},
            service_tier=row["service_tier"],
            region=row["region"],
        ),
        cost=cost,
        anatomy=Anatomy(**{name: row[f"anatomy_{name}"] for name in PARTS}),
        **flags,
    )


def step_row(step: Step) -> Values:
    """A step in the order of `STEP_COLUMNS`."""
    return (
        step.run_id,
        step.trace_id,
        step.kind,
        step.name,
        step.start.timestamp(),
        step.seconds,
        step.failed,
        _marks_text(step.documents),
    )


def row_step(row: Row) -> Step:
    """The step of a row."""
    return Step(
        run_id=row["run_id"],
        trace_id=row["trace_id"],
        kind=row["kind"],
        name=row["name"],
        start=datetime.fromtimestamp(row["start"], UTC),
        seconds=row["seconds"],
        failed=bool(row["failed"]),
        documents=_marks(row["documents"]),
    )


def saving_row(saving: Saving) -> Values:
    """A saving in the order of `SAVING_COLUMNS`."""
    return (
        saving.id,
        saving.lever,
        saving.model,
        saving.provider,
        _usage_text(saving.avoided),
        _usage_text(saving.spent),
        saving.spent_model,
        saving.kind,
        saving.baseline,
        saving.at.timestamp(),
        _value(saving),
        saving.unpriced,
        saving.seconds,
    )


def row_saving(row: Row) -> Saving:
    """The saving of a row."""
    value = row["value"]
    return Saving(
        id=row["id"],
        lever=row["lever"],
        model=row["model"],
        provider=row["provider"],
        avoided=TokenUsage(**json.loads(row["avoided"])),
        spent=TokenUsage(**json.loads(row["spent"])),
        spent_model=row["spent_model"],
        kind=row["kind"],
        baseline=row["baseline"],
        at=datetime.fromtimestamp(row["at"], UTC),
        value=None if value is None else to_dollars(value),
        unpriced=bool(row["unpriced"]),
        seconds=row["seconds"],
    )


def notice_row(notice: Notice) -> Values:
    """A notice in the order of `NOTICE_COLUMNS`."""
    return (
        notice.id,
        notice.lever,
        notice.action,
        notice.reason,
        notice.run_id,
        notice.at.timestamp(),
    )


def row_notice(row: Row) -> Notice:
    """The notice of a row."""
    return Notice(
        id=row["id"],
        lever=row["lever"],
        action=row["action"],
        reason=row["reason"],
        run_id=row["run_id"],
        at=datetime.fromtimestamp(row["at"], UTC),
    )


def _cost_values(cost: Cost | None) -> list[float | None]:
    if cost is None:
        return [None] * len(COSTS)
    return [to_picodollars(amount) for amount in _costs(cost)]


def _value(saving: Saving) -> float | None:
    return None if saving.value is None else to_picodollars(saving.value)


def _marks_text(marks: tuple[MessageMark, ...]) -> str:
    """Marks as `role:length:digest`, with a space between two."""
    return " ".join([f"{role}:{length}:{digest}" for role, length, digest in marks])


def _marks(text: str | None) -> tuple[MessageMark, ...]:
    parts = [mark.rsplit(":", 2) for mark in (text or "").split()]
    return tuple(MessageMark(role, int(n), digest) for role, n, digest in parts)


def _usage_text(usage: TokenUsage) -> str:
    beside = {"service_tier": usage.service_tier, "region": usage.region}
    named = {name: value for name, value in beside.items() if value is not None}
    return json.dumps(usage.counts() | named)
