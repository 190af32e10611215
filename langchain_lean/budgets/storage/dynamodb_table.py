"""One DynamoDB table: its client, its requests, and what its errors mean here."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from langchain_lean.budgets.storage.dynamodb_item import Change, Item
from langchain_lean.errors import ConfigurationError, StorageError
from langchain_lean.lifecycle import keep_until_exit

_PATIENCE = 5.0  # seconds for which a table that is too busy is asked again
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0

# Error codes, and reasons of transactions, without "Exception" or "Error" at their end.
_UNMET = "ConditionalCheckFailed"
_MISSING = "ResourceNotFound"
_BUSY = {
    "InternalServer",
    "ProvisionedThroughputExceeded",
    "ReplicatedWriteConflict",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "TransactionConflict",
    "TransactionInProgress",
}
_ON_ALREADY = ("Validation", "ResourceInUse")  # DynamoDB's words for such a TTL
_HINTS = {
    _MISSING: "there is none; add create=true to the URL, or make it with a partition"
    " key 'pk', a string, without a sort key, and with its TTL on 'ttl'",
    "AccessDenied": "access is denied; it takes dynamodb:GetItem, UpdateItem and"
    " DeleteItem, and to make it CreateTable, DescribeTable and UpdateTimeToLive",
    "Validation": "a request is not valid; it needs a partition key 'pk', a string,"
    " without a sort key, and a counter has room for about 4,000 open leases",
    "NoCredentials": "there are no AWS credentials; set them up as for"
    " every client of AWS",
    "EndpointConnection": "its endpoint cannot be reached; correct region= or"
    " endpoint= in the URL",
}


class ConditionFailedError(Exception):
    """Nothing was written, because a condition did not hold.

    Attributes:
        items: For each change, the item that failed its condition, empty where there
            is none; None where the condition held.
    """

    def __init__(self, items: Sequence[Item | None]) -> None:
        super().__init__("A condition did not hold.")
        self.items = items


class _BusyError(Exception):
    """The same request may be answered a little later."""


class _MissingError(Exception):
    """The table is still to be made."""


class Table:
    """A table with the partition key `pk`.

    Nothing is connected to before the first request.

    Args:
        name: What it is called.
        region: Where it is; by default, where the AWS configuration says.
        endpoint: The URL of another server than AWS.
        create: Make the table if it is not there.
        sleep: Waits for some seconds.
        chance: A random number from 0 to 1.
        timer: Seconds, from any moment on.
    """

    def __init__(
        self,
        name: str,
        *,
        region: str | None = None,
        endpoint: str | None = None,
        create: bool = False,
        sleep: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._where = {"region_name": region, "endpoint_url": endpoint}
        self._create = create
        self._sleep = sleep
        self._chance = chance
        self._timer = timer
        self._client: Any = None
        self._lock = threading.Lock()
        keep_until_exit(self, early=False)

    def get(self, pk: str) -> Item:
        """An item as it stands now; empty where there is none.

        Raises:
            StorageError: If the table cannot be used.
            ConfigurationError: If there is no region.
        """
        answer = self._ask("get_item", **self._key(pk), ConsistentRead=True)
        item: Item = answer.get("Item", {})
        return item

    def delete(self, pk: str) -> None:
        """Delete an item, if it is there.

        Raises:
            StorageError: If the table cannot be used.
            ConfigurationError: If there is no region.
        """
        self._ask("delete_item", **self._key(pk))

    def write(self, changes: Sequence[Change]) -> list[Item]:
        """Make all changes, or none, in one request.

        Botocore gives a transaction a token of its own, so that a request it repeats
        is not carried out twice.

        Returns:
            How the item stands afterwards, if it is one; DynamoDB does not tell it of
            several.

        Raises:
            ConditionFailedError: If a condition does not hold.
            StorageError: If the table cannot be used.
            ConfigurationError: If there is no region.
        """
        requests = [self._key(c.pk) | c.request() for c in changes]
        if len(requests) > 1:
            parts = [{"Update": request} for request in requests]
            self._ask("transact_write_items", TransactItems=parts)
            return []
        if not changes[0].update:
            self._ask("delete_item", **requests[0])
            return [{}]
        answer = self._ask("update_item", **requests[0], ReturnValues="ALL_NEW")
        return [answer["Attributes"]]

    def close(self) -> None:
        """Close the client; the next request makes another."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def hold(self) -> None:
        """Take the lock, so that no other thread holds it while the process forks."""
        self._lock.acquire()

    def release(self) -> None:
        """Let go of the lock again."""
        self._lock.release()

    def forget(self) -> None:
        """Make a client of its own in a forked process."""
        self._lock = threading.Lock()
        self._client = None

    def _key(self, pk: str) -> dict[str, Any]:
        return {"TableName": self.name, "Key": {"pk": {"S": pk}}}

    def _ask(self, verb: str, **request: Any) -> dict[str, Any]:
        missing = False
        for _ in self._tries():
            try:
                with self._connected() as client:
                    if missing:
                        _make(client, self.name)
                        missing = False
                    answer: dict[str, Any] = getattr(client, verb)(**request)
                    return answer
            except _BusyError:
                pass
            except _MissingError:
                missing = True
        raise self._unusable("it is too busy")

    def _tries(self) -> Iterator[None]:
        """One try, and more after pauses of random lengths while there is patience."""
        until = self._timer() + _PATIENCE
        longest = _FIRST_PAUSE
        while True:
            yield
            pause = longest * self._chance()
            if self._timer() + pause > until:
                return
            self._sleep(pause)
            longest = min(longest * 2, _LONGEST_PAUSE)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """The client; what goes wrong with it is raised as an error of ours."""
        from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

        try:
            with self._lock:
                if self._client is None:
                    self._client = _connect(self._where)
                client = self._client
            yield client
        except NoRegionError as error:
            msg = (
                "DynamoDB needs a region: name it in the URL, as in "
                "'dynamodb://table?region=eu-west-1', or in AWS_DEFAULT_REGION."
            )
            raise ConfigurationError(msg) from error
        except BotoCoreError as error:
            raise self._unusable(_stem(type(error).__name__)) from error
        except ClientError as error:
            raise self._meaning(error.response) from error

    def _meaning(self, answer: Mapping[str, Any]) -> Exception:
        """What it means here that DynamoDB did not do what it was asked for."""
        alone = {"Code": answer["Error"]["Code"], "Item": answer.get("Item", {})}
        reasons = answer.get("CancellationReasons") or [alone]
        codes = [_stem(reason.get("Code") or "None") for reason in reasons]
        if _UNMET in codes:
            return ConditionFailedError(
                [
                    reason.get("Item", {}) if code == _UNMET else None
                    for reason, code in zip(reasons, codes, strict=True)
                ]
            )
        if not _BUSY.isdisjoint(codes):
            return _BusyError()
        if _MISSING in codes and self._create:
            return _MissingError()
        failed = [code for code in codes if code != "None"]
        return self._unusable(failed[0] if failed else "it cancelled a transaction")

    def _unusable(self, why: str) -> StorageError:
        why = _HINTS.get(why, why)
        msg = f"The table {self.name!r} in DynamoDB cannot be used: {why}."
        return StorageError(msg)


def _stem(code: str) -> str:
    return code.removesuffix("Exception").removesuffix("Error")


def _connect(where: Mapping[str, str | None]) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=2,
        read_timeout=5,
        max_pool_connections=50,
    )
    return boto3.session.Session().client("dynamodb", config=config, **where)


def _make(client: Any, name: str) -> None:
    """Make the table, whoever else is making it."""
    from botocore.exceptions import ClientError

    with suppress(client.exceptions.ResourceInUseException):
        client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    made = client.get_waiter("table_exists")
    made.wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    ttl = {"Enabled": True, "AttributeName": "ttl"}
    try:
        client.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
    except ClientError as error:
        if _stem(error.response["Error"]["Code"]) not in _ON_ALREADY:
            raise
