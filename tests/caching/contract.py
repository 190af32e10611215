"""What every store of a cache must do, whatever it is made of.

A backend's test file inherits `CacheStoreContract`, or `SharedCacheStoreContract` if
several processes can use the store, and says how the store is opened.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_lean.caching.stores.base import LESSONS, CacheStore, Item, Near
from langchain_lean.vectors import Floats
from tests.storage.contract import Clock
from tests.storage.redis_servers import wait_until

NEAR = 0.01
"""How far a similarity may be off: vectors can be kept in 8 bits a dimension."""

HOSTILE = [
    "",
    " ",
    "a",
    "a b",
    "a ",
    "b",
    "{",
    "}{",
    "*",
    "a*",
    "[a-z]",
    "?",
    "\\",
    "%20",
]
HOSTILE += [
    "a\n",
    "\0",
    "a:b",
    "'; DROP TABLE items; --",
    "é",
    "e\u0301",
    "🙂",
    "a" * 999,
]


class Open(Protocol):
    """Opens the store under test: the same one each time, as another process would."""

    def __call__(
        self, *, clock: Clock | None = None, max_entries: int = 100_000
    ) -> CacheStore: ...


class Verbs:
    """The verbs of a store, or those for asyncio, under the same names."""

    def __init__(self, store: CacheStore, form: str) -> None:
        self._store, self._prefix = store, {"sync": "", "async": "a"}[form]

    async def get(self, partition: str, key: str) -> str | None:
        return await self._call("get", partition, key)

    async def nearest(self, partition: str, vector: Floats, count: int) -> list[Near]:
        return await self._call("nearest", partition, vector, count)

    async def near(self, partition: str, vector: Floats, count: int = 9) -> list[str]:
        """The keys of the nearest."""
        return [each.key for each in await self.nearest(partition, vector, count)]

    async def put(self, partition: str, item: Item) -> None:
        await self._call("put", partition, item)

    async def remove(self, partition: str, key: str) -> None:
        await self._call("remove", partition, key)

    async def invalidate(self, tag: str) -> int:
        return await self._call("invalidate", tag)

    async def clear(self) -> None:
        await self._call("clear")

    async def teach(self, partition: str, lessons: Sequence[str]) -> None:
        await self._call("teach", partition, lessons)

    async def lessons(self, partition: str) -> list[str]:
        return await self._call("lessons", partition)

    async def close(self) -> None:
        """Close what threads and this loop use."""
        await self._store.aclose()
        self._store.close()

    async def _call(self, verb: str, *args: Any) -> Any:
        outcome = getattr(self._store, self._prefix + verb)(*args)
        return await outcome if self._prefix else outcome


def towards(*numbers: float) -> Floats:
    """The vector of length 1 in this direction."""
    vector = np.array(numbers, dtype=np.float64)
    return vector / np.linalg.norm(vector)


EAST, NORTH = towards(1, 0), towards(0, 1)


def item(key: str = "key", value: str = "value", **more: Any) -> Item:
    return Item(key=key, value=value, **more)


class CacheStoreContract:
    """Everything one process can ask of a store."""

    examples = 40
    partitions = 1_000

    @pytest.fixture
    def opened(self) -> Open:
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture(params=["sync", "async"])
    def form(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def store(self, opened: Open, clock: Clock) -> Iterator[CacheStore]:
        store = opened(clock=clock)
        yield store
        store.close()

    @pytest.fixture
    def verbs(self, store: CacheStore, form: str) -> Verbs:
        return Verbs(store, form)

    async def test_what_nobody_put_is_not_there(self, verbs: Verbs) -> None:
        assert await verbs.get("p", "key") is None
        assert await verbs.nearest("p", EAST, 3) == []
        assert await verbs.lessons("p") == []
        assert await verbs.invalidate("tag") == 0
        await verbs.remove("p", "key")
        await verbs.clear()

    async def test_what_was_put_is_found_by_its_key(self, verbs: Verbs) -> None:
        await verbs.put("p", item("a", "one"))
        await verbs.put("p", item("b", "two"))
        assert await verbs.get("p", "a") == "one"
        assert await verbs.get("p", "b") == "two"
        assert await verbs.get("p", "c") is None

    async def test_the_nearest_come_first_with_label_and_cosine(
        self, verbs: Verbs
    ) -> None:
        for key, vector in (("n", NORTH), ("ne", towards(1, 1)), ("w", -EAST)):
            await verbs.put("p", item(key, label=f"label of {key}", vector=vector))
        found = await verbs.nearest("p", towards(2, 1), 3)
        assert [(each.key, each.label) for each in found] == [
            ("ne", "label of ne"),
            ("n", "label of n"),
            ("w", "label of w"),
        ]
        expected = [3 / math.sqrt(10), 1 / math.sqrt(5), -2 / math.sqrt(5)]
        assert [each.similarity for each in found] == pytest.approx(expected, abs=NEAR)

    async def test_as_many_are_found_as_were_asked_for(self, verbs: Verbs) -> None:
        for number in range(40):
            vector = towards(math.cos(number / 40), math.sin(number / 40))
            await verbs.put("p", item(str(number), vector=vector))
        for count in (1, 7, 32):
            assert len(await verbs.nearest("p", EAST, count)) == count
        assert len(await verbs.nearest("p", EAST, 50)) == 40

    async def test_an_item_without_a_vector_is_found_by_its_key_alone(
        self, verbs: Verbs
    ) -> None:
        await verbs.put("p", item("plain"))
        await verbs.put("p", item("near", vector=EAST))
        assert await verbs.get("p", "plain") == "value"
        assert await verbs.near("p", EAST) == ["near"]

    async def test_an_item_is_replaced_with_all_that_found_it(
        self, verbs: Verbs
    ) -> None:
        first = item("key", "first", label="old", vector=EAST, tags=("old", "both"))
        await verbs.put("p", first)
        second = item("key", "second", label="new", vector=NORTH, tags=("new", "both"))
        await verbs.put("p", second)
        assert await verbs.get("p", "key") == "second"
        (found,) = await verbs.nearest("p", NORTH, 3)
        assert (found.key, found.label) == ("key", "new")
        assert found.similarity == pytest.approx(1, abs=NEAR)
        assert await verbs.invalidate("old") == 0
        assert await verbs.get("p", "key") == "second"
        assert await verbs.invalidate("new") == 1
        assert await verbs.get("p", "key") is None
        assert await verbs.invalidate("both") == 0

    async def test_an_item_can_lose_its_vector_and_get_one_again(
        self, verbs: Verbs
    ) -> None:
        await verbs.put("p", item("key", vector=EAST))
        await verbs.put("p", item("key"))
        assert await verbs.near("p", EAST) == []
        await verbs.put("p", item("key", vector=EAST))
        assert await verbs.near("p", EAST) == ["key"]

    async def test_a_removed_item_is_not_found(self, verbs: Verbs) -> None:
        await verbs.put("p", item("gone", vector=EAST, tags=("tag",)))
        await verbs.put("p", item("stays", vector=EAST, tags=("tag",)))
        await verbs.remove("p", "gone")
        assert await verbs.get("p", "gone") is None
        assert await verbs.near("p", EAST) == ["stays"]
        assert await verbs.invalidate("tag") == 1

    async def test_vectors_of_another_length_are_neither_kept_nor_found(
        self, verbs: Verbs
    ) -> None:
        await verbs.put("p", item("two", vector=EAST))
        await verbs.put("p", item("three", "kept", vector=towards(1, 0, 0)))
        assert await verbs.get("p", "three") == "kept"
        assert await verbs.near("p", EAST) == ["two"]
        assert await verbs.nearest("p", towards(1, 0, 0), 3) == []
        await verbs.put("q", item("three", vector=towards(1, 0, 0)))
        assert await verbs.near("q", towards(1, 0, 0)) == ["three"]

    async def test_partitions_are_kept_apart(self, verbs: Verbs) -> None:
        for number, partition in enumerate(HOSTILE):
            await verbs.put(partition, item("key", str(number), vector=EAST))
            await verbs.put(partition, item(f"own-{number}", vector=NORTH))
            await verbs.teach(partition, [str(number)])
        for number, partition in enumerate(HOSTILE):
            assert await verbs.get(partition, "key") == str(number)
            assert await verbs.near(partition, NORTH) == [f"own-{number}", "key"]
            assert await verbs.lessons(partition) == [str(number)]

    async def test_any_text_comes_back_as_it_was(self, verbs: Verbs) -> None:
        texts = [*HOSTILE, '{"a": [1, null]}', "0 ", "1795000000000 x", "x" * 1_000_000]
        for number, text in enumerate(texts):
            kept = item(str(number), text, label=text, vector=towards(1, number))
            await verbs.put("p", kept)
        for number, text in enumerate(texts):
            assert await verbs.get("p", str(number)) == text
        labels = {
            each.key: each.label for each in await verbs.nearest("p", EAST, len(texts))
        }
        assert labels == {str(number): text for number, text in enumerate(texts)}

    async def test_any_key_is_found_again(self, verbs: Verbs) -> None:
        keys = HOSTILE[1:]
        for key in keys:
            await verbs.put("p", item(key, f"of {key}", vector=EAST, tags=("tag",)))
        assert sorted(await verbs.near("p", EAST, 99)) == sorted(keys)
        for key in keys:
            assert await verbs.get("p", key) == f"of {key}"
        assert await verbs.invalidate("tag") == len(keys)

    async def test_an_item_is_not_found_after_its_end(
        self, verbs: Verbs, clock: Clock
    ) -> None:
        await verbs.put("p", item("ends", vector=EAST, seconds=60, tags=("tag",)))
        await verbs.put("p", item("stays", vector=NORTH))
        clock.now += 59
        assert await verbs.get("p", "ends") == "value"
        assert await verbs.near("p", EAST) == ["ends", "stays"]
        clock.now += 1
        assert await verbs.near("p", EAST) == ["stays"]
        assert await verbs.get("p", "ends") is None
        assert await verbs.get("p", "stays") == "value"

    async def test_what_has_ended_hides_nothing(
        self, verbs: Verbs, clock: Clock
    ) -> None:
        for number in range(5):
            await verbs.put("p", item(str(number), vector=EAST, seconds=60))
        await verbs.put("p", item("stays", vector=NORTH))
        clock.now += 61
        assert await verbs.near("p", EAST, 1) == ["stays"]

    async def test_an_item_put_again_has_a_new_end(
        self, verbs: Verbs, clock: Clock
    ) -> None:
        await verbs.put("p", item("longer", seconds=60))
        await verbs.put("p", item("ever", seconds=60))
        await verbs.put("p", item("shorter"))
        clock.now += 59
        await verbs.put("p", item("longer", seconds=60))
        await verbs.put("p", item("ever"))
        await verbs.put("p", item("shorter", seconds=1))
        clock.now += 2
        assert await verbs.get("p", "longer") == "value"
        assert await verbs.get("p", "ever") == "value"
        assert await verbs.get("p", "shorter") is None

    async def test_what_was_used_least_recently_leaves(
        self, opened: Open, clock: Clock, form: str
    ) -> None:
        verbs = Verbs(opened(clock=clock, max_entries=3), form)
        for key in "abc":
            await verbs.put("p", item(key, vector=EAST, tags=("tag",)))
        assert await verbs.get("p", "a") == "value"
        await verbs.put("p", item("b", vector=EAST, tags=("tag",)))
        await verbs.put("p", item("d", vector=EAST, tags=("tag",)))
        assert await verbs.get("p", "c") is None
        assert sorted(await verbs.near("p", EAST)) == ["a", "b", "d"]
        await verbs.put("p", item("e", vector=EAST, tags=("tag",)))
        assert await verbs.get("p", "a") is None
        assert sorted(await verbs.near("p", EAST)) == ["b", "d", "e"]
        assert await verbs.invalidate("tag") == 3
        await verbs.close()

    async def test_items_are_invalidated_by_any_of_their_tags(
        self, verbs: Verbs
    ) -> None:
        for number, tag in enumerate(HOSTILE):
            tags = (tag, f"own {number}")
            await verbs.put("p", item(f"p{number}", vector=EAST, tags=tags))
            await verbs.put("q", item(f"q{number}", tags=tags))
        for number, tag in enumerate(HOSTILE):
            assert await verbs.get("p", f"p{number}") == "value"
            assert await verbs.invalidate(tag) == 2
            assert await verbs.get("p", f"p{number}") is None
            assert await verbs.get("q", f"q{number}") is None
            assert await verbs.invalidate(f"own {number}") == 0
        assert await verbs.near("p", EAST) == []

    async def test_many_items_of_one_tag_are_invalidated(self, verbs: Verbs) -> None:
        for number in range(45):
            tags = ("all", "odd" if number % 2 else "even")
            await verbs.put("p", item(str(number), vector=EAST, tags=tags))
        assert await verbs.invalidate("odd") == 22
        assert len(await verbs.near("p", EAST, 99)) == 23
        assert await verbs.invalidate("all") == 23

    async def test_everything_is_cleared(self, verbs: Verbs) -> None:
        for partition in ("p", "q"):
            kept = item(vector=EAST, tags=("tag",), seconds=60)
            await verbs.put(partition, kept)
            await verbs.teach(partition, ["lesson"])
        await verbs.clear()
        for partition in ("p", "q"):
            assert await verbs.get(partition, "key") is None
            assert await verbs.nearest(partition, EAST, 3) == []
            assert await verbs.lessons(partition) == []
        assert await verbs.invalidate("tag") == 0
        await verbs.put("p", item(vector=towards(1, 2, 3)))
        assert await verbs.near("p", towards(1, 2, 3)) == ["key"]

    async def test_the_newest_lessons_stay_in_their_order(self, verbs: Verbs) -> None:
        lessons = [f"lesson {number}\n🙂" for number in range(LESSONS + 30)]
        await verbs.teach("p", lessons[:20])
        await verbs.teach("p", [])
        await verbs.teach("p", lessons[20:30])
        assert await verbs.lessons("p") == lessons[:30]
        await verbs.teach("p", lessons[30:])
        assert await verbs.lessons("p") == lessons[-LESSONS:]
        await verbs.teach("q", [*lessons, "last"])
        assert await verbs.lessons("q") == [*lessons, "last"][-LESSONS:]

    async def test_many_partitions_each_have_their_own(self, verbs: Verbs) -> None:
        names = [f"partition {number}" for number in range(self.partitions)]
        for name in names:
            await verbs.put(name, item(value=name, vector=EAST, tags=("tag",)))
        for name in names:
            assert await verbs.get(name, "key") == name
        assert await verbs.near(names[7], EAST) == ["key"]
        assert await verbs.invalidate("tag") == len(names)
        assert await verbs.get(names[-1], "key") is None

    async def test_a_closed_store_opens_again(
        self, store: CacheStore, verbs: Verbs
    ) -> None:
        await verbs.put("p", item(vector=EAST))
        await verbs.close()
        assert await verbs.get("p", "key") == "value"
        assert await verbs.near("p", EAST) == ["key"]
        await verbs.close()

    def test_threads_do_not_disturb_each_other(self, store: CacheStore) -> None:
        wrong: list[object] = []

        def work(own: int) -> None:
            for number in range(20):
                key, vector = f"{own} {number}", towards(1 + own, 1 + number)
                kept = item(key, f"value of {key}", vector=vector, tags=(str(number),))
                store.put("p", kept)
                value = store.get("p", key)
                if value != f"value of {key}":
                    wrong.append((key, value))
                if not store.nearest("p", vector, 3):
                    wrong.append(key)

        threads = [threading.Thread(target=work, args=(own,)) for own in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(store.nearest("p", EAST, 500)) == 160
        assert store.invalidate("7") == 8

    async def test_tasks_do_not_disturb_each_other(self, store: CacheStore) -> None:
        async def work(own: int) -> None:
            key = str(own)
            vector = towards(1, own)
            await store.aput("p", item(key, f"value of {key}", vector=vector))
            assert await store.aget("p", key) == f"value of {key}"
            assert await store.anearest("p", vector, 1)

        await asyncio.gather(*[work(own) for own in range(150)])
        assert len(await store.anearest("p", EAST, 500)) == 150
        await store.aclose()

    def test_each_event_loop_can_use_it(self, store: CacheStore) -> None:
        async def use(number: int) -> list[str | None]:
            await store.aput("p", item(str(number), str(number)))
            return [await store.aget("p", str(each)) for each in range(number + 1)]

        for number in range(3):
            assert asyncio.run(use(number)) == [str(n) for n in range(number + 1)]
        assert store.get("p", "0") == "0"

    def test_any_sequence_does_what_a_plain_dict_does(self, opened: Open) -> None:
        clock = Clock()
        store = opened(clock=clock)

        @settings(
            max_examples=self.examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(_STEPS, max_size=30))
        def run(steps: list[tuple[Any, ...]]) -> None:
            store.clear()
            plain = Plain(clock)
            for verb, *args in steps:
                getattr(plain, verb)(store, *args)

        run()
        store.close()


class SharedCacheStoreContract(CacheStoreContract):
    """What is more, where several processes can use the store."""

    async def test_what_one_client_puts_another_finds(
        self, opened: Open, form: str
    ) -> None:
        one, other = Verbs(opened(), form), Verbs(opened(), form)
        assert await other.nearest("p", EAST, 3) == []
        await one.put("p", item("a", vector=EAST, tags=("tag",)))
        assert await other.get("p", "a") == "value"
        assert await other.near("p", EAST) == ["a"]
        await one.put("p", item("a", "new", label="new", vector=NORTH))
        assert [each.label for each in await other.nearest("p", NORTH, 3)] == ["new"]
        await one.remove("p", "a")
        assert await other.near("p", EAST) == []
        await one.teach("p", ["lesson"])
        assert await other.lessons("p") == ["lesson"]
        for verbs in (one, other):
            await verbs.close()

    def test_what_is_written_while_a_tag_is_invalidated_is_whole(
        self, opened: Open
    ) -> None:
        writer, other = opened(), opened()
        stop = threading.Event()
        failed: list[Exception] = []

        def write() -> None:
            try:
                while not stop.is_set():
                    for number in range(30):
                        kept = item(str(number), vector=towards(1, number), tags=("t",))
                        writer.put(f"p{number % 3}", kept)
            except Exception as error:
                failed.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        for _ in range(5):
            wait_until(lambda: other.invalidate("t") > 0)
        other.clear()
        stop.set()
        thread.join()
        assert failed == []
        for partition in ("p0", "p1", "p2"):
            for near in other.nearest(partition, EAST, 99):
                assert other.get(partition, near.key) == "value"
        other.invalidate("t")
        assert [other.get(f"p{n % 3}", str(n)) for n in range(30)] == [None] * 30
        for store in (writer, other):
            store.close()


_PARTITION = st.sampled_from("pq")
_KEY = st.sampled_from("abcdef")
_TAG = st.sampled_from(["s", "t", "t t"])
_SOME_VECTOR = st.builds(towards, st.integers(-9, 9), st.integers(1, 9))
_ITEM = st.builds(
    item,
    _KEY,
    st.builds(lambda: uuid4().hex),
    label=st.text("xy ", max_size=3),
    vector=st.none() | _SOME_VECTOR,
    seconds=st.none() | st.sampled_from([10.0, 60.0]),
    tags=st.lists(_TAG, max_size=2).map(tuple),
)
_STEPS = st.one_of(
    st.tuples(st.just("put"), _PARTITION, _ITEM),
    st.tuples(st.just("put"), _PARTITION, _ITEM),
    st.tuples(st.just("get"), _PARTITION, _KEY),
    st.tuples(st.just("nearest"), _PARTITION, _SOME_VECTOR, st.integers(1, 7)),
    st.tuples(st.just("remove"), _PARTITION, _KEY),
    st.tuples(st.just("invalidate"), _TAG),
    st.tuples(st.just("clear")),
    st.tuples(st.just("wait"), st.sampled_from([9.0, 10.0, 51.0])),
)


class Plain:
    """What a store should do, beside one that does it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._items: dict[tuple[str, str], tuple[Item, float]] = {}

    def put(self, store: CacheStore, partition: str, kept: Item) -> None:
        store.put(partition, kept)
        seconds = math.inf if kept.seconds is None else kept.seconds
        self._items[partition, kept.key] = kept, self._clock.now + seconds

    def get(self, store: CacheStore, partition: str, key: str) -> None:
        kept = self._there(partition).get(key)
        assert store.get(partition, key) == (None if kept is None else kept.value)

    def nearest(
        self, store: CacheStore, partition: str, vector: Floats, count: int
    ) -> None:
        similarities = {
            (key, kept.label): float(kept.vector @ vector)
            for key, kept in self._there(partition).items()
            if kept.vector is not None
        }
        found = store.nearest(partition, vector, count)
        told = {(each.key, each.label): each.similarity for each in found}
        assert len(told) == len(found)
        expected = {each: similarities[each] for each in told}
        assert told == pytest.approx(expected, abs=NEAR)
        best = sorted(similarities.values(), reverse=True)[:count]
        assert list(told.values()) == pytest.approx(best, abs=NEAR)

    def remove(self, store: CacheStore, partition: str, key: str) -> None:
        store.remove(partition, key)
        self._items.pop((partition, key), None)

    def invalidate(self, store: CacheStore, tag: str) -> None:
        """What has ended may be counted or not: a store removes it when it likes."""
        there = {
            place
            for partition in "pq"
            for place in ((partition, key) for key in self._there(partition))
        }
        tagged = {place for place, (kept, _) in self._items.items() if tag in kept.tags}
        assert len(tagged & there) <= store.invalidate(tag) <= len(tagged)
        for place in tagged:
            del self._items[place]

    def clear(self, store: CacheStore) -> None:
        store.clear()
        self._items.clear()

    def wait(self, _: CacheStore, seconds: float) -> None:
        self._clock.now += seconds

    def _there(self, partition: str) -> dict[str, Item]:
        return {
            key: kept
            for (own, key), (kept, ends) in self._items.items()
            if own == partition and ends > self._clock.now
        }
