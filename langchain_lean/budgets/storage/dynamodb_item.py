"""How a counter is kept as one item of DynamoDB.

pk      the namespace and the key
taken   used and held together: a condition cannot add them
held    what open leases hold
ends    when the counter begins anew; absent if never
ttl     when DynamoDB may delete it, a day after that
L#id    an open lease: when it ends, what it holds, its floor
X#id    a late lease, which ended unsettled: when it is forgotten, and the same
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from langchain_lean.budgets.storage.base import LATE, Claim, Counter

Item = dict[str, Any]
"""Attributes as DynamoDB spells them, such as `{"taken": {"N": "5"}}`."""

_LONGEST_KEY = 1_000  # of the 2,048 bytes a partition key may have
_TTL = 86_400  # seconds after its end for which an item stays, should clocks be wrong
_AT_ONCE = 25  # leases that one update ends: an expression has 4 KB at most

_HOLD = "ADD taken :amount, held :amount SET #lease = :lease"
_NEW = "attribute_not_exists(pk)"
_FITS = "taken <= :room AND attribute_not_exists(#lease)"
_ON = "(attribute_not_exists(ends) OR ends > :now)"


@dataclass(frozen=True, slots=True)
class Change:
    """What to do to one item if it meets a condition.

    Attributes:
        pk: The item.
        condition: A condition expression.
        update: An update expression; without one, the item is deleted.
        names: What the expressions call attributes.
        values: What the expressions call values.
    """

    pk: str
    condition: str
    update: str
    names: Mapping[str, str]
    values: Mapping[str, Any]

    def request(self) -> dict[str, Any]:
        """The parameters, for a request of its own or as a part of a transaction."""
        optional = {
            "UpdateExpression": self.update,
            "ExpressionAttributeNames": self.names,
            "ExpressionAttributeValues": self.values,
        }
        return {
            "ConditionExpression": self.condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **{name: value for name, value in optional.items() if value},
        }


class Held(NamedTuple):
    """What a lease is on one counter.

    Attributes:
        ends: When it ends, or is forgotten if it is late.
        amount: What it holds.
        floor: What stays charged where it ends unsettled.
    """

    ends: float
    amount: int
    floor: int

    @classmethod
    def of(cls, value: Item) -> Self:
        """The lease of an attribute."""
        ends, amount, floor = value["S"].split()
        return cls(float(ends), int(amount), int(floor))

    @property
    def value(self) -> Item:
        """The attribute."""
        return {"S": f"{self.ends} {self.amount} {self.floor}"}


def partition_key(namespace: str, key: str) -> str:
    """Another one for each namespace and key, and readable where that is easy."""
    name = f"{len(namespace)}:{namespace}:{key}"
    if name.isascii() and len(name) <= _LONGEST_KEY:
        return name
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def open_lease(lease_id: str) -> str:
    """The attribute of an open lease."""
    return f"L#{lease_id}"


def late_lease(lease_id: str) -> str:
    """The attribute of a lease that ended unsettled."""
    return f"X#{lease_id}"


def counter(item: Item) -> Counter:
    """How a counter stands whose item is up to date."""
    taken, held = (int(item[name]["N"]) if item else 0 for name in ("taken", "held"))
    return Counter(taken - held, held)


def end(item: Item) -> float:
    """When a counter begins anew: `inf` for never, `-inf` where there is none."""
    if not item:
        return -math.inf
    return float(item["ends"]["N"]) if "ends" in item else math.inf


def hold(
    pk: str, lease_id: str, claim: Claim, now: float, seconds: float, known: float
) -> Change:
    """Hold the amount of a claim if it fits.

    An update cannot compare ends, but its condition can: whether this one is the
    latest is told from what is known. If that is wrong, the condition fails.

    Args:
        pk: The item.
        lease_id: Holds it.
        claim: What to hold.
        now: The time.
        seconds: How long it is held unless it is settled.
        known: The end of the counter as it was seen last.
    """
    lease = Held(now + seconds, claim.amount, claim.floor)
    names = {"#lease": open_lease(lease_id)}
    values = {
        ":amount": _number(claim.amount),
        ":room": _number(claim.limit - claim.amount),
        ":lease": lease.value,
    }
    if claim.window is None:
        update, condition = f"{_HOLD} REMOVE ends, #ttl", f"{_FITS} AND {_ON}"
        names |= {"#ttl": "ttl"}
        values |= {":now": _number(now)}
        return Change(pk, f"{_NEW} OR ({condition})", update, names, values)
    ends = now + claim.window
    values |= {":ends": _number(ends)}
    if known >= ends:
        condition = f"{_FITS} AND (attribute_not_exists(ends) OR ends >= :ends)"
        return Change(pk, condition, _HOLD, names, values)
    condition = f"{_NEW} OR ({_FITS} AND ends > :now AND ends <= :ends)"
    update = f"{_HOLD}, ends = :ends, #ttl = :ttl"
    names |= {"#ttl": "ttl"}
    values |= {":now": _number(now), ":ttl": _number(int(ends) + _TTL)}
    return Change(pk, condition, update, names, values)


def settle(
    pk: str, lease_id: str, claim: Claim, used: int, now: float, *, late: bool = False
) -> Change:
    """Put what was used in the place of what was held, or of a late lease's floor."""
    gone = claim.floor if late else claim.amount
    return Change(
        pk,
        f"attribute_exists(#lease) AND {_ON}",
        "ADD taken :taken, held :held REMOVE #lease",
        {"#lease": late_lease(lease_id) if late else open_lease(lease_id)},
        {
            ":taken": _number(used - gone),
            ":held": _number(0 if late else -gone),
            ":now": _number(now),
        },
    )


def overdue(pk: str, item: Item, now: float) -> Change | None:
    """What is to be written about an item in which something has ended by now."""
    if item and end(item) <= now:
        return Change(pk, "ends <= :now", "", {}, {":now": _number(now)})
    leases = {n: Held.of(v) for n, v in item.items() if n.startswith(("L#", "X#"))}
    ended = [(name, lease) for name, lease in leases.items() if lease.ends <= now]
    return _end_leases(pk, ended[:_AT_ONCE], now) if ended else None


def _end_leases(pk: str, ended: Sequence[tuple[str, Held]], now: float) -> Change:
    """Make open leases late, and forget late ones."""
    names, values, late = {}, {}, []
    taken = held = 0
    for index, (name, lease) in enumerate(ended):
        names[f"#gone{index}"] = name
        if name.startswith("L#"):
            names[f"#late{index}"] = late_lease(name[2:])
            values[f":late{index}"] = lease._replace(ends=now + LATE).value
            late.append(f"#late{index} = :late{index}")
            taken += lease.floor - lease.amount
            held -= lease.amount
    gone = [f"#gone{index}" for index in range(len(ended))]
    put = f" SET {', '.join(late)}" if late else ""
    return Change(
        pk,
        " AND ".join(f"attribute_exists({name})" for name in gone),
        f"ADD taken :taken, held :held{put} REMOVE {', '.join(gone)}",
        names,
        values | {":taken": _number(taken), ":held": _number(held)},
    )


def _number(value: float) -> Item:
    return {"N": str(value)}
