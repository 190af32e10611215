"""The verbs of a store as Lua scripts: what is sent to Redis and what comes back.

What a counter is made of in Redis stands at the head of `counter.lua`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from langchain_lean.budgets.storage.base import LATE, Counter, Lease, Refusal
from langchain_lean.redis_server.scripts import Command, milliseconds, name, script

_NEVER = 10**14  # milliseconds


def _script(verb: str) -> str:
    head = f"local LATE = {int(LATE * 1000)}"
    return script("langchain_lean.budgets.storage", "counter", verb, head=head)


_RESERVE, _SETTLE, _READ, _CLEAR = map(_script, ("reserve", "settle", "read", "clear"))


class Commands:
    """Makes the commands of one namespace.

    Args:
        namespace: All its keys have one hash tag, so that they are in one slot of a
            cluster.
        clock: Seconds since the epoch; None for the server's.
    """

    def __init__(self, namespace: str, clock: Callable[[], float] | None) -> None:
        self._tag = name(namespace) or "%"  # an empty hash tag is none
        self._clock = clock

    def reserve(self, wanted: Lease, seconds: float) -> Command:
        """Grant the lease or refuse it; `outcome` reads the reply."""
        command = self._command(_RESERVE, *[claim.key for claim in wanted.claims])
        command.append(f"{wanted.id} {milliseconds(seconds)} {self._now()}")
        for claim in wanted.claims:
            window = _NEVER if claim.window is None else milliseconds(claim.window)
            command.append(f"{claim.amount} {claim.limit} {window} {claim.floor}")
        return command

    def settle(self, lease: Lease, amounts: Sequence[int]) -> Command:
        """Settle the lease; `counters` reads the reply."""
        command = self._command(_SETTLE, *[claim.key for claim in lease.claims])
        command.append(f"{lease.id} {self._now()}")
        for claim, amount in zip(lease.claims, amounts, strict=True):
            command.append(f"{claim.amount} {claim.floor} {amount}")
        return command

    def read(self, key: str) -> Command:
        """Read a counter; `counter` reads the reply."""
        return [*self._command(_READ, key), self._now()]

    def clear(self, key: str) -> Command:
        """Clear a counter; the reply says nothing."""
        return self._command(_CLEAR, key)

    def _command(self, digest: str, *keys: str) -> Command:
        command: Command = ["EVALSHA", digest, 2 * len(keys)]
        for key in keys:
            command += _keys(self._tag, key)
        return command

    def _now(self) -> str | int:
        return "" if self._clock is None else int(self._clock() * 1000)


def counter(reply: bytes) -> Counter:
    """The counter a reply tells of."""
    used, held = reply.split()
    return Counter(int(used), int(held))


def counters(lease: Lease, reply: bytes) -> dict[str, Counter]:
    """By key, the counters of a lease a reply tells of."""
    return _by_key(lease, map(int, reply.split()))


def outcome(wanted: Lease, reply: bytes) -> Lease | Refusal:
    """What became of a reservation."""
    numbers = map(int, reply.split())
    refused = next(numbers)
    counters = _by_key(wanted, numbers)
    if refused:
        return Refusal(wanted.claims[refused - 1], counters)
    return Lease(wanted.id, wanted.claims, counters)


def _by_key(lease: Lease, numbers: Iterator[int]) -> dict[str, Counter]:
    return {claim.key: Counter(next(numbers), next(numbers)) for claim in lease.claims}


@lru_cache(maxsize=4096)
def _keys(tag: str, key: str) -> tuple[str, str]:
    """The two keys of a counter in Redis."""
    part = name(key, safe=":")
    return f"{{{tag}}}:counter:{part}", f"{{{tag}}}:leases:{part}"
