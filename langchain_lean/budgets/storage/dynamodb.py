"""Counters in a DynamoDB table, for any number of machines.

One claim is one conditional update, several are one transaction. Such a write does not
look at the item first. Only if its condition fails, DynamoDB sends the item along, and
it turns out that leases or the counter have ended, or that the claim does not fit.
"""

import math
import random
import re
import time
from collections.abc import Callable, Sequence
from typing import Self
from urllib.parse import parse_qsl

from langchain_lean.budgets.storage.base import (
    Claim,
    Counter,
    Lease,
    Refusal,
    Storage,
)
from langchain_lean.budgets.storage.dynamodb_item import (
    Change,
    Item,
    counter,
    end,
    hold,
    late_lease,
    open_lease,
    overdue,
    partition_key,
    settle,
)
from langchain_lean.budgets.storage.dynamodb_table import (
    ConditionFailedError,
    Table,
)
from langchain_lean.errors import ConfigurationError, StorageError

_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_ENDPOINT = re.compile(r"https?://[^/@]+(/.*)?")
_PARAMETERS = ("region", "endpoint", "create")

_TURNS = 100  # of a reservation; the second or third one tells whether it fits
_SWEPT = 0.01  # of the reservations of several claims look for leases that ended
_REMEMBERED = 10_000  # counters whose ends are kept in mind


class DynamoDBStorage(Storage):
    """Counts in a DynamoDB table, exactly, whoever writes to it.

    A verb is one request, and a few more where something has ended or does not fit. A
    counter is one item: DynamoDB writes about 1,000 times a second to it, half as
    often in transactions, and it has room for about 4,000 open leases.

    Args:
        table: The table.
        namespace: Keeps applications apart that share it.
        clock: Seconds since the epoch, as nearly as possible the same for all.
        chance: A random number from 0 to 1.
    """

    def __init__(
        self,
        table: Table,
        *,
        namespace: str = "lean",
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._table = table
        self._namespace = namespace
        self._clock = clock
        self._chance = chance
        self._ends: dict[str, float] = {}

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: str = "lean",
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Use the table that a URL names; nothing is connected to yet.

        Args:
            url: `dynamodb://table`, with the parameters `region`, `endpoint` (another
                server than AWS) and `create=true` (make the table if it is not there)
                as needed.
            namespace: Keeps applications apart that share a table.
            clock: Seconds since the epoch.

        Returns:
            The store.

        Raises:
            ConfigurationError: If it is no such URL.
        """
        return cls(_table(url), namespace=namespace, clock=clock)

    def read(self, key: str) -> Counter:
        """How a counter stands; nothing where there is none."""
        pk = self._pk(key)
        return counter(self._up_to_date(pk, self._table.get(pk), self._clock()))

    def clear(self, key: str) -> None:
        """Let a counter begin anew; leases on it are forgotten, too."""
        self._table.delete(self._pk(key))

    def close(self) -> None:
        """Close the connections; the next use opens others."""
        self._table.close()

    def _reserve(self, wanted: Lease, seconds: float) -> Lease | Refusal:
        self._sweep(wanted)
        # One time for all turns: an end that another one has passed stays passed.
        now = self._clock()
        for _ in range(_TURNS):
            try:
                return self._grant(wanted, now, seconds)
            except ConditionFailedError as failed:
                items = self._look(wanted, failed.items, now)
            counters = {key: counter(item) for key, item in items.items()}
            if any(open_lease(wanted.id) in item for item in items.values()):
                return Lease(wanted.id, wanted.claims, counters)  # an answer was lost
            for claim in wanted.claims:
                if counters[claim.key].taken + claim.amount > claim.limit:
                    return Refusal(claim, counters)
        msg = "A counter in DynamoDB changes too fast to reserve anything of it."
        raise StorageError(msg)

    def _settle(self, lease: Lease, amounts: Sequence[int]) -> dict[str, Counter]:
        now = self._clock()
        pairs = list(zip(lease.claims, amounts, strict=True))
        changes = [
            settle(self._pk(claim.key), lease.id, claim, used, now)
            for claim, used in pairs
        ]
        try:
            written = self._table.write(changes)
        except ConditionFailedError as failed:
            return {
                claim.key: self._settle_alone(lease.id, claim, used, item, now)
                for (claim, used), item in zip(pairs, failed.items, strict=True)
            }
        return self._told(lease.claims, written, now)

    def _grant(self, wanted: Lease, now: float, seconds: float) -> Lease:
        claims = wanted.claims
        if any(claim.amount > claim.limit for claim in claims):
            raise ConditionFailedError([None] * len(claims))
        changes = []
        for claim in claims:
            pk = self._pk(claim.key)
            known = self._ends.get(pk, -math.inf)
            changes.append(hold(pk, wanted.id, claim, now, seconds, known))
            if claim.window is not None:
                self._remember(pk, max(known, now + claim.window))
        written = self._table.write(changes)
        return Lease(wanted.id, claims, self._told(claims, written, now))

    def _settle_alone(
        self, lease_id: str, claim: Claim, used: int, item: Item | None, now: float
    ) -> Counter:
        """Settle one claim; its item is given where no lease is open on it."""
        pk = self._pk(claim.key)
        if item is None:
            item = self._written(settle(pk, lease_id, claim, used, now))
        item = self._up_to_date(pk, item, now)
        if late_lease(lease_id) in item:
            late = settle(pk, lease_id, claim, used, now, late=True)
            item = self._up_to_date(pk, self._written(late), now)
        return counter(item)

    def _look(
        self, wanted: Lease, items: Sequence[Item | None], now: float
    ) -> dict[str, Item]:
        """The items of all claims, read where they did not come along."""
        found = {}
        for claim, item in zip(wanted.claims, items, strict=True):
            pk = self._pk(claim.key)
            seen = self._table.get(pk) if item is None else item
            found[claim.key] = self._up_to_date(pk, seen, now)
        return found

    def _told(
        self, claims: Sequence[Claim], written: Sequence[Item], now: float
    ) -> dict[str, Counter]:
        """The counters after a write, if it told of them."""
        pairs = zip(claims, written, strict=True) if written else ()
        return {
            claim.key: counter(self._up_to_date(self._pk(claim.key), item, now))
            for claim, item in pairs
        }

    def _up_to_date(self, pk: str, item: Item, now: float) -> Item:
        """The item after it was written what of it has ended by now."""
        while (change := overdue(pk, item, now)) is not None:
            item = self._written(change)
        self._remember(pk, end(item))
        return item

    def _written(self, change: Change) -> Item:
        """The item after a change, or as it is where the condition did not hold."""
        try:
            return self._table.write([change])[0]
        except ConditionFailedError as failed:
            return failed.items[0] or {}

    def _sweep(self, wanted: Lease) -> None:
        """Now and then, look for what has ended: a transaction does not tell of it."""
        if len(wanted.claims) > 1 and self._chance() < _SWEPT:
            for claim in wanted.claims:
                self.read(claim.key)

    def _remember(self, pk: str, ends: float) -> None:
        if len(self._ends) >= _REMEMBERED:
            self._ends.clear()
        self._ends[pk] = ends

    def _pk(self, key: str) -> str:
        return partition_key(self._namespace, key)


def _table(url: str) -> Table:
    name, _, query = url.removeprefix("dynamodb://").partition("?")
    if not _NAME.fullmatch(name):
        msg = (
            "A DynamoDB URL is 'dynamodb://table?region=...' with the name of a table: "
            "3 to 255 letters, digits, '_', '-' and '.'."
        )
        raise ConfigurationError(msg)
    found = parse_qsl(query, keep_blank_values=True)
    given = dict(found)
    unknown = sorted(given.keys() - set(_PARAMETERS))
    if unknown or len(given) < len(found):
        named = f", not {', '.join(map(repr, unknown))}" if unknown else ""
        msg = f"A DynamoDB URL has region, endpoint and create, each once{named}."
        raise ConfigurationError(msg)
    create, endpoint = given.get("create", "false"), given.get("endpoint")
    if create not in ("true", "false"):
        raise ConfigurationError("In a DynamoDB URL, create is true or false.")
    if endpoint is not None and not _ENDPOINT.fullmatch(endpoint):
        msg = "In a DynamoDB URL, endpoint is a URL of http:// or https://."
        raise ConfigurationError(msg)
    region = given.get("region") or None
    return Table(name, region=region, endpoint=endpoint, create=create == "true")
