"""The contract, for counters in DynamoDB, and what only DynamoDB does."""

from __future__ import annotations

import os
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any
from uuid import uuid4

import pytest
from botocore.stub import Stubber

from langchain_lean.budgets.storage import Counter, Lease, storage_from_url
from langchain_lean.budgets.storage.base import LATE
from langchain_lean.budgets.storage.dynamodb import DynamoDBStorage
from langchain_lean.budgets.storage.dynamodb_item import partition_key
from langchain_lean.budgets.storage.dynamodb_table import Table
from langchain_lean.errors import ConfigurationError, StorageError
from tests.storage.contract import (
    DAY,
    Clock,
    SharedStorageContract,
    claim,
    granted,
    refused,
    run_in_threads,
)
from tests.storage.moto_server import aws, dynamodb_url, moto_endpoint

__all__ = ["aws", "dynamodb_url", "moto_endpoint"]

NOWHERE = "http://127.0.0.1:9"
UNREACHABLE = f"dynamodb://quota?region=eu-west-1&endpoint={NOWHERE}"

MakeStorage = Callable[..., DynamoDBStorage]


class TestDynamoDBStorage(SharedStorageContract):
    rounds = 48
    examples = 10
    reservations = 50

    @pytest.fixture
    def url(self, dynamodb_url: str) -> str:
        return dynamodb_url


class Pauses:
    """Time that passes in pauses only."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)

    def timer(self) -> float:
        return sum(self.taken)


class Stubbed:
    """A store whose requests are answered one by one as a test says."""

    def __init__(self) -> None:
        self.pauses = Pauses()
        self.table = Table(
            "quota",
            region="eu-west-1",
            endpoint=NOWHERE,
            sleep=self.pauses.sleep,
            chance=lambda: 0.5,
            timer=self.pauses.timer,
        )
        self.storage = DynamoDBStorage(self.table, chance=lambda: 0.5)
        with self.table._connected() as client:
            self.answers = Stubber(client)
        self.answers.activate()

    def refuses(self, verb: str, code: str, **more: Any) -> None:
        self.answers.add_client_error(verb, code, modeled_fields=more)

    def writes(self, taken: int) -> None:
        item = {"taken": {"N": str(taken)}, "held": {"N": str(taken)}}
        self.answers.add_response("update_item", {"Attributes": item})


@pytest.fixture
def stubbed(aws: None) -> Iterator[Stubbed]:
    stubbed = Stubbed()
    with closing(stubbed.storage):
        yield stubbed
        stubbed.answers.assert_no_pending_responses()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_storage(dynamodb_url: str, clock: Clock) -> Iterator[MakeStorage]:
    """`open_storage()` opens the test's table, whose time the test sets."""
    with ExitStack() as stack:

        def open_storage(url: str = dynamodb_url) -> DynamoDBStorage:
            storage = DynamoDBStorage.from_url(url, clock=clock)
            storage._chance = lambda: 0.5
            return stack.enter_context(storage)

        yield open_storage


@pytest.fixture
def storage(open_storage: MakeStorage) -> DynamoDBStorage:
    return open_storage()


def requests_of(storage: DynamoDBStorage) -> Tally[str]:
    """Counts what is sent from now on."""
    sent: Tally[str] = Tally()

    def count(request: Any, **_: Any) -> None:
        sent[request.headers["X-Amz-Target"].decode().partition(".")[2]] += 1

    with storage._table._connected() as client:
        client.meta.events.register("before-send.dynamodb", count)
    return sent


def item_of(storage: DynamoDBStorage, key: str) -> dict[str, Any]:
    return storage._table.get(storage._pk(key))


@pytest.mark.parametrize(
    "code",
    [
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "TransactionConflictException",
        "InternalServerError",
    ],
)
def test_a_busy_table_is_asked_again_after_random_pauses(
    stubbed: Stubbed, code: str
) -> None:
    for _ in range(3):
        stubbed.refuses("update_item", code)
    stubbed.writes(1)
    lease = granted(stubbed.storage.reserve([claim("key")], lease=60))
    assert lease.counters == {"key": Counter(0, 1)}
    assert stubbed.pauses.taken == [0.025, 0.05, 0.1]


def test_a_table_that_stays_busy_is_given_up_after_some_seconds(
    stubbed: Stubbed,
) -> None:
    for _ in range(14):
        stubbed.refuses("update_item", "ThrottlingException")
    with pytest.raises(StorageError, match=r"'quota' .* is too busy"):
        stubbed.storage.reserve([claim("key")], lease=60)
    assert 4 < sum(stubbed.pauses.taken) <= 5
    assert max(stubbed.pauses.taken) == 0.5


@pytest.mark.parametrize(
    "reason",
    ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"],
)
def test_a_transaction_that_meets_another_is_tried_again(
    stubbed: Stubbed, reason: str
) -> None:
    reasons = [{"Code": reason}, {"Code": "None"}]
    verb = "transact_write_items"
    stubbed.refuses(verb, "TransactionCanceledException", CancellationReasons=reasons)
    stubbed.refuses(verb, "TransactionInProgressException")
    stubbed.answers.add_response(verb, {})
    granted(stubbed.storage.reserve([claim("a"), claim("b")], lease=60))
    assert len(stubbed.pauses.taken) == 2


def test_a_reservation_whose_answer_was_lost_is_granted_once(
    storage: DynamoDBStorage,
) -> None:
    for claims in ([claim("a", 6)], [claim("b", 6), claim("c", 6)]):
        wanted = Lease(uuid4().hex, tuple(claims))
        granted(storage._reserve(wanted, 60))
        assert granted(storage._reserve(wanted, 60)) == wanted
    assert [storage.read(key) for key in "abc"] == [Counter(0, 6)] * 3


def test_a_missing_table_says_how_to_make_it(
    open_storage: MakeStorage, dynamodb_url: str
) -> None:
    storage = open_storage(dynamodb_url.replace("create=true", "create=false"))
    for claims in ([claim("a")], [claim("a"), claim("b")]):
        with pytest.raises(StorageError, match=r"create=true .* 'pk', .* TTL on 'ttl'"):
            storage.reserve(claims, lease=60)
    with pytest.raises(StorageError, match="create=true"):
        storage.read("a")


def test_a_table_is_made_by_many_at_once_with_its_ttl_on(
    open_storage: MakeStorage,
) -> None:
    storages = [open_storage() for _ in range(4)]
    barrier = threading.Barrier(8)
    turns = iter(storages * 2)

    def reserve() -> int:
        storage = next(turns)
        barrier.wait()
        return isinstance(storage.reserve([claim("key", limit=5)], lease=60), Lease)

    assert sum(run_in_threads(8, reserve)) == 5
    with storages[0]._table._connected() as client:
        name = storages[0]._table.name
        table = client.describe_table(TableName=name)["Table"]
        ttl = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}


def test_a_counter_may_be_collected_only_after_its_end(
    storage: DynamoDBStorage, clock: Clock
) -> None:
    granted(storage.reserve([claim("key", window=10 * DAY)], lease=60))
    granted(storage.reserve([claim("key", window=60)], lease=60))
    item = item_of(storage, "key")
    assert float(item["ends"]["N"]) == clock.now + 10 * DAY
    assert int(item["ttl"]["N"]) > clock.now + 10 * DAY


@pytest.mark.parametrize("windows", [[None], [None, 60], [60, None]])
def test_a_counter_that_never_ends_is_never_collected(
    storage: DynamoDBStorage, windows: list[float | None]
) -> None:
    for window in windows:
        granted(storage.reserve([claim("key", window=window)], lease=60))
    assert {"ends", "ttl"}.isdisjoint(item_of(storage, "key"))


@pytest.mark.parametrize(
    ("keys", "write"), [("a", "UpdateItem"), ("abc", "TransactWriteItems")]
)
def test_a_verb_is_one_request(
    storage: DynamoDBStorage, clock: Clock, keys: str, write: str
) -> None:
    storage.read("a")  # which makes the table
    sent = requests_of(storage)
    for window in (60, 60, 90, 30, 90, None, 60):
        claims = [claim(key, window=window) for key in keys]
        lease = granted(storage.reserve(claims, lease=60))
        assert sent == {write: 1}
        storage.settle(lease, dict.fromkeys(keys, 1))
        assert sent == {write: 2}
        sent.clear()
        clock.now += 1
    storage.read("a")
    storage.clear("a")
    assert sent == {"GetItem": 1, "DeleteItem": 1}


def test_a_refusal_is_one_request(storage: DynamoDBStorage) -> None:
    granted(storage.reserve([claim("key", 8)], lease=60))
    sent = requests_of(storage)
    assert refused(storage.reserve([claim("key", 3)], lease=60)).counters == {
        "key": Counter(0, 8)
    }
    assert sent == {"UpdateItem": 1}


def test_an_end_that_another_process_moved_takes_one_request_more(
    open_storage: MakeStorage,
) -> None:
    one, other = open_storage(), open_storage()
    granted(one.reserve([claim("key", window=90)], lease=60))
    sent = requests_of(other)
    for requests in (2, 3):
        granted(other.reserve([claim("key", window=60)], lease=60))
        assert sent == {"UpdateItem": requests}


def test_the_first_claim_that_does_not_fit_is_named(storage: DynamoDBStorage) -> None:
    granted(storage.reserve([claim("b", 9), claim("c", 9)], lease=60))
    refusal = refused(
        storage.reserve([claim("a", 5), claim("b", 1), claim("c", 2)], lease=60)
    )
    assert refusal.claim.key == "c"
    assert refusal.counters == {
        "a": Counter(0, 0),
        "b": Counter(0, 9),
        "c": Counter(0, 9),
    }
    never = refused(storage.reserve([claim("b"), claim("a", 11)], lease=60))
    assert never.claim.key == "a"


def test_claims_are_granted_after_what_has_ended_on_any_of_them(
    storage: DynamoDBStorage, clock: Clock
) -> None:
    granted(storage.reserve([claim("ended", 9, window=50)], lease=600))
    granted(storage.reserve([claim("freed", 9, floor=2)], lease=50))
    clock.now += 50
    claims = [claim("ended", 8), claim("freed", 8), claim("new", 8)]
    granted(storage.reserve(claims, lease=60))
    assert storage.read("ended") == Counter(0, 8)
    assert storage.read("freed") == Counter(2, 8)


def test_a_cleared_counter_does_not_keep_the_others_from_being_settled(
    storage: DynamoDBStorage, clock: Clock
) -> None:
    claims = [claim("cleared", 5), claim("held", 5), claim("ended", 5, window=50)]
    lease = granted(storage.reserve(claims, lease=600))
    storage.clear("cleared")
    clock.now += 50
    used = {"cleared": 1, "held": 2, "ended": 3}
    told = {"cleared": Counter(), "held": Counter(2, 0), "ended": Counter()}
    assert storage.settle(lease, used) == told
    assert storage.settle(lease, used) == told
    assert {key: storage.read(key) for key in told} == told


def test_many_leases_end_at_once_and_are_forgotten_later(
    storage: DynamoDBStorage, clock: Clock
) -> None:
    for _ in range(60):
        granted(storage.reserve([claim("key", 2, 200, floor=1)], lease=60))
    clock.now += 60
    assert storage.read("key") == Counter(60, 0)
    assert sum(name.startswith("X#") for name in item_of(storage, "key")) == 60
    clock.now += LATE
    assert storage.read("key") == Counter(60, 0)
    assert item_of(storage, "key").keys() == {"pk", "taken", "held", "ends", "ttl"}


def test_now_and_then_a_transaction_looks_for_leases_that_ended(
    storage: DynamoDBStorage, clock: Clock
) -> None:
    claims = [claim("a", 2, 99), claim("b", 2, 99)]
    granted(storage.reserve(claims, lease=60))
    clock.now += 60
    granted(storage.reserve(claims, lease=60))
    assert item_of(storage, "a")["held"] == {"N": "4"}
    storage._chance = lambda: 0.0
    granted(storage.reserve(claims, lease=60))
    assert item_of(storage, "a")["held"] == {"N": "4"}
    assert storage.read("b") == Counter(0, 4)


def test_namespaces_and_keys_never_meet() -> None:
    pairs = [("a", "b"), ("a:b", ""), ("", "a:b"), ("a", ":b"), ("1:a", "b")]
    pairs += [("a", "b" * 2_000), ("a", "b" * 1_999), ("a", "é"), ("a", "\ud800")]
    keys = {partition_key(*pair) for pair in pairs}
    assert len(keys) == len(pairs)
    assert all(len(key.encode()) <= 2_048 for key in keys)


def test_an_endpoint_that_cannot_be_reached_is_a_storage_error(aws: None) -> None:
    with (
        storage_from_url(UNREACHABLE) as storage,
        pytest.raises(StorageError, match=r"'quota' .* cannot be reached") as raised,
    ):
        storage.read("private")
    assert "private" not in str(raised.value)


def test_credentials_and_rights_are_asked_for(
    stubbed: Stubbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubbed.refuses("get_item", "AccessDeniedException")
    with pytest.raises(StorageError, match=r"denied; .*dynamodb:GetItem"):
        stubbed.storage.read("key")
    stubbed.refuses("get_item", "UnrecognizedClientException")
    with pytest.raises(StorageError, match="UnrecognizedClient"):
        stubbed.storage.read("key")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with (
        storage_from_url(UNREACHABLE) as storage,
        pytest.raises(StorageError, match="no AWS credentials"),
    ):
        storage.read("key")


def test_a_region_is_asked_for(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with storage_from_url(f"dynamodb://quota?endpoint={NOWHERE}") as storage:
        with pytest.raises(ConfigurationError, match=r"region=eu-west-1.*AWS_DEFAULT"):
            storage.read("key")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        with pytest.raises(StorageError, match="cannot be reached"):
            storage.read("key")


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("dynamodb://quota?zone=a&regoin=b", "not 'regoin', 'zone'"),
        ("dynamodb://quota?region=a&region=b", "each once"),
        ("dynamodb://quota?create=yes", "create is true or false"),
        ("dynamodb://quota?endpoint=localhost:8000", "endpoint is a URL"),
        ("dynamodb://my table", "name of a table"),
        ("dynamodb://id:secret@quota", "name of a table"),
        ("dynamodb://quota/other", "name of a table"),
        ("dynamodb://[quota", "name of a table"),
    ],
)
def test_a_url_that_cannot_work_is_refused(url: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match) as raised:
        storage_from_url(url)
    assert "secret" not in str(raised.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_makes_a_client_of_its_own(
    storage: DynamoDBStorage,
) -> None:
    granted(storage.reserve([claim("key")], lease=60))
    client = storage._table._client
    child = os.fork()
    if child == 0:
        try:
            inherited = storage._table._client
            granted(storage.reserve([claim("key")], lease=60))
            os._exit(inherited is not None or storage._table._client is client)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert storage.read("key") == Counter(0, 2)
    storage.close()
    assert storage.read("key") == Counter(0, 2)
