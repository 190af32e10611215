"""Alerts through SNS, and the AWS Budget that matches an alarm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from langchain_lean import Budget, BudgetGuard, LeanError, SpendAlarm
from langchain_lean.budgets.alarms import aws_budget
from langchain_lean.budgets.alerts import sns_topic
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ScriptedChatModel
from tests.storage.moto_server import aws, moto_endpoint

__all__ = ["aws", "moto_endpoint"]

ACCOUNT = "123456789012"


class Aws:
    """Clients of the server that stands for AWS."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def client(self, service: str) -> Any:
        from boto3.session import Session

        where = {"region_name": "us-east-1", "endpoint_url": self.endpoint}
        return Session().client(service, **where)


@pytest.fixture
def cloud(moto_endpoint: str, aws: None) -> Aws:
    return Aws(moto_endpoint)


@pytest.fixture
def topic(cloud: Aws) -> Iterator[tuple[str, Any]]:
    """A topic, and a function that gives what was published to it."""
    sns, sqs = cloud.client("sns"), cloud.client("sqs")
    arn = sns.create_topic(Name="alerts")["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    wanted = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    endpoint = wanted["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=endpoint)

    def published() -> list[dict[str, Any]]:
        found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in found.get("Messages", ())]

    yield arn, published
    sqs.delete_queue(QueueUrl=queue)


def ask(*handlers: Any, times: int = 1) -> None:
    model = ScriptedChatModel(
        responses=["Yes."], loop=True, model_name="gpt-5", provider="openai"
    )
    for _ in range(times):
        model.invoke("Is it?", {"callbacks": list(handlers)})


def test_an_alert_is_published_to_a_topic(cloud: Aws, topic: tuple[str, Any]) -> None:
    arn, published = topic
    notify = sns_topic(arn, client=cloud.client("sns"))
    ask(BudgetGuard(Budget(calls=1, per="day"), notify=notify), times=1)
    (message,) = published()
    assert message["Subject"] == "A budget runs out"
    told = json.loads(message["Message"])
    assert told["message"] == "80% of a budget is used: 1 call of 1 call per day."


def test_the_arn_of_a_topic_is_enough(
    cloud: Aws, topic: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    arn, published = topic
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", cloud.endpoint)
    ask(BudgetGuard(Budget(calls=1, per="day"), notify=arn), times=1)
    assert len(published()) == 1


def alarm(**options: Any) -> SpendAlarm:
    wanted: dict[str, Any] = {"usd": "100", "per": "month", "notify": print}
    return SpendAlarm(**wanted | options)


def test_an_aws_budget_matches_its_alarm(cloud: Aws) -> None:
    budgets = cloud.client("budgets")
    people = ["ops@example.com", "arn:aws:sns:us-east-1:123456789012:alerts"]
    name = aws_budget(alarm(name="bill"), people, account_id=ACCOUNT, client=budgets)
    found = budgets.describe_budget(AccountId=ACCOUNT, BudgetName=name)["Budget"]
    assert found["BudgetLimit"] == {"Amount": "100", "Unit": "USD"}
    assert found["TimeUnit"] == "MONTHLY"
    assert found["CostFilters"] == {"Service": ["Amazon Bedrock"]}
    alerts = budgets.describe_notifications_for_budget(
        AccountId=ACCOUNT, BudgetName=name
    )["Notifications"]
    assert [alert["Threshold"] for alert in alerts] == [50.0, 80.0, 100.0]
    assert {alert["ThresholdType"] for alert in alerts} == {"PERCENTAGE"}


def test_made_again_it_replaces_the_one_of_its_name(cloud: Aws) -> None:
    budgets = cloud.client("budgets")
    for usd in ("100", "200"):
        name = aws_budget(
            alarm(usd=usd, name="twice"),
            ["ops@example.com"],
            account_id=ACCOUNT,
            client=budgets,
        )
    found = budgets.describe_budget(AccountId=ACCOUNT, BudgetName=name)["Budget"]
    assert found["BudgetLimit"]["Amount"] == "200"


def test_the_account_is_the_caller_s_own(
    cloud: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.endpoint)
    name = aws_budget(alarm(per="day", name="own"), ["ops@example.com"], services=())
    budgets = cloud.client("budgets")
    found = budgets.describe_budget(AccountId=ACCOUNT, BudgetName=name)["Budget"]
    assert found["TimeUnit"] == "DAILY"
    assert not found.get("CostFilters")


@pytest.mark.parametrize(
    ("options", "subscribers"),
    [
        ({"per": "hour"}, ["ops@example.com"]),
        ({"by": "user_id"}, ["ops@example.com"]),
        ({"at": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)}, ["ops@example.com"]),
        ({"usd": 0}, ["ops@example.com"]),
        ({}, []),
    ],
)
def test_what_aws_does_not_have_is_refused(
    cloud: Aws, options: Any, subscribers: list[str]
) -> None:
    with pytest.raises(ConfigurationError, match="AWS has budgets of"):
        aws_budget(alarm(**options), subscribers, client=cloud.client("budgets"))


def test_an_error_of_aws_is_said_in_one_sentence(aws: None) -> None:
    nowhere = Aws("http://127.0.0.1:1").client("budgets")
    with pytest.raises(LeanError, match="AWS Budget could not be created"):
        aws_budget(alarm(), ["ops@example.com"], account_id=ACCOUNT, client=nowhere)
