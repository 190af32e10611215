"""What is asked of Redis to keep a cache, and what the replies mean.

What a partition is made of in Redis stands at the head of `partition.lua`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from langchain_lean.caching.stores.base import LESSONS, Item, Near
from langchain_lean.errors import StorageError
from langchain_lean.redis_server.scripts import Command, milliseconds, name, script
from langchain_lean.vectors import Floats

T = TypeVar("T")

Talk = Generator[Command, Any, T]
"""Yields commands, is sent a reply or thrown an error for each, returns the outcome."""

_PARTS = ("answers", "vectors", "used", "ends", "tags", "tagged")
_LESSONS = "lessons"

_LONGEST = 10**11  # seconds; what is kept longer ends after 3,000 years
_WIDER = (1, 4, 16)  # searches, while most of what is found has ended
_A_FEW = 10  # items that one script removes
_SCANNED = 1_000  # keys the server looks at in one step, about a millisecond


_FOLDER = "langchain_lean.caching.stores"


def _script(verb: str, head: str = "") -> str:
    return script(_FOLDER, "partition", verb, head=head)


_GET, _LABELS, _REMOVE, _INVALIDATE = map(
    _script, ("get", "labels", "remove", "invalidate")
)
# Such a script is not begun if the server has no memory left; others are not stopped
# once they have removed something.
_PUT = _script("put", "#!lua")
_TEACH = script(_FOLDER, "teach")


class Commands:
    """What the verbs of one namespace ask.

    Args:
        namespace: Keeps applications apart. Keys of a partition have one hash tag, so
            that they are in one slot of a cluster.
        most: How many items of a partition are kept.
        clock: Seconds since the epoch; None for the server's.
    """

    def __init__(
        self, namespace: str, most: int, clock: Callable[[], float] | None
    ) -> None:
        self._namespace = name(namespace)
        self._most = most
        self._clock = clock

    def get(self, partition: str, key: str) -> Talk[str | None]:
        """The value of a key."""
        value = yield self._command(_GET, partition, self._now(), _bytes(key))
        return None if value is None else _read(value)

    def nearest(self, partition: str, vector: Floats, count: int) -> Talk[list[Near]]:
        """The items nearest to a vector, the nearest first."""
        near: list[Near] = []
        for times in _WIDER:
            found = yield from self._search(partition, vector, times * count)
            if not found:
                return []
            keys = [key for key, _ in found]
            labels = yield self._command(_LABELS, partition, self._now(), *keys)
            near = [
                Near(_text(key), _cosine(score), _label(label))
                for (key, score), label in zip(found, labels, strict=True)
                if label is not None
            ]
            if len(near) >= count or len(found) < times * count:
                break
        return near[:count]

    def put(self, partition: str, item: Item) -> Talk[None]:
        """Keep an item."""
        ends, tags = "", " ".join(map(_tag, item.tags))
        if item.seconds is not None:
            ends = str(milliseconds(min(item.seconds, _LONGEST)))
        yield self._command(
            _PUT,
            partition,
            self._now(),
            self._most,
            _bytes(item.key),
            _bytes(item.value),
            json.dumps(item.label),
            b"" if item.vector is None else _packed(item.vector),
            ends,
            tags,
        )

    def remove(self, partition: str, key: str) -> Talk[None]:
        """Remove an item."""
        yield self._command(_REMOVE, partition, _bytes(key))

    def invalidate(self, tag: str) -> Talk[int]:
        """Remove all items with a tag from the partitions of one node."""
        removed = 0
        for tagged in (yield from self._scan("tagged")):
            command = _evalsha(_INVALIDATE, _keys(tagged.removesuffix(":tagged")))
            some = _A_FEW
            while some == _A_FEW:
                some = yield [*command, _tag(tag), _A_FEW]
                removed += some
        return removed

    def clear(self) -> Talk[None]:
        """Remove everything of one node."""
        found = yield from self._scan("*")
        for partition in {key.rpartition(":")[0] for key in found}:
            yield ["UNLINK", *_keys(partition), f"{partition}:{_LESSONS}"]

    def teach(self, partition: str, lessons: Sequence[str]) -> Talk[None]:
        """Keep lessons."""
        key = f"{self._partition(partition)}:{_LESSONS}"
        newest = map(_bytes, lessons[-LESSONS:])
        yield [*_evalsha(_TEACH, [key]), LESSONS, *newest]

    def lessons(self, partition: str) -> Talk[list[str]]:
        """The lessons of a partition."""
        key = f"{self._partition(partition)}:{_LESSONS}"
        lessons = yield ["LRANGE", key, 0, -1]
        return list(map(_text, lessons))

    def _search(
        self, partition: str, vector: Floats, count: int
    ) -> Talk[list[tuple[bytes | str, float]]]:
        """Keys and scores from 0 to 1. Outside of a script the server uses threads."""
        vectors = f"{self._partition(partition)}:vectors"
        packed = _packed(vector)
        try:
            found = yield [
                *("VSIM", vectors, "FP32", packed, "WITHSCORES", "COUNT", count)
            ]
        except StorageError as error:
            cause = error.__cause__
            if isinstance(cause, ResponseError) and "dimension" in str(cause):
                return []  # those of the partition have others
            raise
        if not isinstance(found, dict):  # with RESP2, a flat list
            found = dict(zip(found[::2], found[1::2], strict=True))
        return [(key, float(score)) for key, score in found.items()]

    def _scan(self, part: str) -> Talk[set[str]]:
        """The keys of a node that are this part of a partition.

        What there is all the time is found; what is written meanwhile may be. A list of
        partitions could not be kept as well: it would be in another slot of a cluster.
        """
        keys: set[str] = set()
        cursor: Any = 0
        pattern = f"{{{self._namespace}:*}}:{part}"
        while True:
            step = ["SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED]
            cursor, found = yield step
            if isinstance(cursor, dict):  # in a cluster, by node
                (cursor,) = cursor.values()
            keys.update(_text(key, "replace") for key in found)  # some are not ours
            if not cursor:
                return keys

    def _partition(self, partition: str) -> str:
        return f"{{{self._namespace}:{name(partition)}}}"

    def _command(
        self, digest: str, partition: str, *args: str | bytes | int
    ) -> Command:
        return [*_evalsha(digest, _keys(self._partition(partition))), *args]

    def _now(self) -> str | int:
        return "" if self._clock is None else int(self._clock() * 1000)


def _evalsha(digest: str, keys: Sequence[str]) -> Command:
    return ["EVALSHA", digest, len(keys), *keys]


@lru_cache(maxsize=4096)
def _keys(partition: str) -> tuple[str, ...]:
    return tuple(f"{partition}:{part}" for part in _PARTS)


def _cosine(score: float) -> float:
    return max(-1.0, min(2 * score - 1, 1.0))


def _tag(tag: str) -> str:
    return name(tag) or "%"  # which `quote` never leaves alone


def _packed(vector: Floats) -> bytes:
    return vector.astype("<f4").tobytes()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _read(value: bytes | str) -> str:
    """A value; where it is damaged, something that nobody takes for one."""
    try:
        return _text(value)
    except UnicodeDecodeError:
        return _text(value, "replace")


def _label(written: bytes | str) -> str:
    """A label; an empty one where it is damaged."""
    try:
        return str(json.loads(written))
    except ValueError:
        return ""


def _text(data: bytes | str, errors: str = "surrogatepass") -> str:
    return data.decode("utf-8", errors) if isinstance(data, bytes) else data
