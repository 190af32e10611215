"""The web application of the README, asked over HTTP."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from langchain_core.messages import AIMessage

from langchain_lean.testing import ScriptedChatModel

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
[CODE] = [
    code
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    if "FastAPI()" in code
]
ANSWER = "A ledger is a book of accounts."
ROUTES = ("/ask", "/stream")


@pytest.fixture
def application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    monkeypatch.chdir(tmp_path)
    model = ScriptedChatModel(
        responses=[ANSWER], loop=True, model_name="gpt-5-mini", provider="openai"
    )
    names: dict[str, Any] = {"chain": model}
    exec(compile(CODE, "README.md", "exec"), names)
    yield names
    names["ledger"].close()
    names["guard"].close()


@pytest.fixture
def client(application: dict[str, Any]) -> Iterator[TestClient]:
    with TestClient(application["app"]) as client:
        yield client


def asked(client: TestClient, route: str, question: str, user: str = "ada") -> Any:
    return client.post(route, json={"text": question, "user": user})


@pytest.mark.parametrize("route", ROUTES)
def test_an_answer_is_given(client: TestClient, route: str) -> None:
    answer = asked(client, route, "What is a ledger?")
    assert answer.status_code == 200
    assert ANSWER in answer.text


@pytest.mark.parametrize("route", ROUTES)
def test_a_question_that_is_too_large_is_refused_with_413(
    client: TestClient, route: str
) -> None:
    refusal = asked(client, route, "What is a ledger? " * 4_000)
    assert refusal.status_code == 413
    assert "8,000 input tokens" in refusal.json()["error"]
    assert "Retry-After" not in refusal.headers


@pytest.mark.parametrize("route", ROUTES)
def test_a_user_whose_day_is_used_up_is_refused_with_429(
    client: TestClient, application: dict[str, Any], route: str
) -> None:
    application["chain"].responses = [dear_answer()]
    for _ in range(2):
        assert asked(client, route, "What is a ledger?").status_code == 200
    refusal = asked(client, route, "And what is a budget?")
    assert refusal.status_code == 429
    assert 0 < int(refusal.headers["Retry-After"]) <= 24 * 3600
    assert asked(client, route, "What is a ledger?", user="bob").status_code == 200


def dear_answer() -> AIMessage:
    """An answer that takes $0.60 of a day's dollar."""
    usage: Any = {"input_tokens": 0, "output_tokens": 300_000, "total_tokens": 300_000}
    return AIMessage(ANSWER, usage_metadata=usage)
