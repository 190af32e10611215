"""`langchain-lean prices`."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from langchain_lean import PriceBook, TokenUsage
from tests.unit.cli.conftest import Run

AT = ("--at", "2026-01-31")


def test_a_price_is_per_million_tokens(run: Run) -> None:
    (model,) = run("prices", "claude-haiku-4-5", *AT, "--json").json["models"]
    assert (model["known_as"], model["provider"]) == ("claude-haiku-4-5", "anthropic")
    assert model["usd_per_million_tokens"] == [
        {
            "input": "1",
            "output": "5",
            "cache_read": "0.1",
            "cache_write": "1.25",
            "cache_write_1h": "2",
            "up_to_input_tokens": None,
        }
    ]
    assert model["cost_usd"] is None


def test_several_models_stand_below_each_other(run: Run) -> None:
    lines = run("prices", "gpt-5-mini", "claude-haiku-4-5", *AT).out.splitlines()
    assert lines[1].split()[:4] == ["gpt-5-mini", "openai", "$0.250", "$2.00"]
    assert lines[2].split()[:4] == ["claude-haiku-4-5", "anthropic", "$1.00", "$5.00"]
    assert lines[3] == "Prices are in US dollars per million tokens."


def test_tiers_by_the_size_of_the_input_have_a_line_each(run: Run) -> None:
    lines = run("prices", "gemini-2.5-pro", *AT, "--input", "200001").out.splitlines()
    assert "$1.25" in lines[1]
    assert lines[1].endswith("up to 200,000 input tokens")
    assert "$2.50" in lines[2]
    assert lines[2].endswith("$0.500  above 200,000 input tokens")


def test_an_input_that_just_fits_a_tier_is_of_it(run: Run) -> None:
    def costs(tokens: int) -> str:
        asked = ("gemini-2.5-pro", *AT, "--input", tokens, "--json")
        return str(run("prices", *asked).json["models"][0]["cost_usd"])

    assert costs(200_000) == "0.25"
    assert costs(200_001) == "0.5000025"


@pytest.mark.parametrize("model", ["gpt-5-mini", "claude-sonnet-4-5"])
def test_the_cost_of_a_usage_is_what_a_price_book_says(run: Run, model: str) -> None:
    usage = TokenUsage(input=300_000, output=500, cache_read=2_000)
    known = PriceBook().cost(usage, model, at=datetime(2026, 1, 31, tzinfo=UTC)).total
    text = "--input 300000 --output 500 --cached 2000 --json"
    (found,) = run("prices", model, *AT, *text.split()).json["models"]
    assert Decimal(found["cost_usd"]) == known


def test_prices_are_those_of_the_day_that_is_named(run: Run) -> None:
    def sizes(day: str) -> int:
        ran = run("prices", "anthropic:claude-sonnet-4-6", "--at", day, "--json")
        return len(ran.json["models"][0]["usd_per_million_tokens"])

    # Anthropic dropped the higher price of long inputs on 2026-03-13.
    assert (sizes("2026-03-12"), sizes("2026-03-13T12:00")) == (2, 1)


def test_a_provider_is_named_apart_or_before_the_model(run: Run) -> None:
    apart = run("prices", "gpt-5", "--provider", "azure", *AT, "--json").json["models"]
    before = run("prices", "azure:gpt-5", *AT, "--json").json["models"]
    assert apart[0]["provider"] == before[0]["provider"] == "azure"


def test_a_bedrock_id_with_a_colon_is_a_model_s(run: Run) -> None:
    name = "anthropic.claude-haiku-4-5-20251001-v1:0"
    (model,) = run("prices", name, *AT, "--json").json["models"]
    assert model["provider"] == "aws"


def test_an_output_that_is_not_sold_is_a_dash(run: Run) -> None:
    out = run("prices", "openai:text-embedding-3-small", *AT).out
    assert out.splitlines()[1].split()[2:4] == ["$0.020", "-"]


def test_a_cache_without_a_price_of_its_own_is_a_dash(run: Run) -> None:
    lines = run("prices", "gpt-5-mini", *AT).out.splitlines()
    assert lines[1].split()[4:] == ["$0.025", "-"]
    assert (
        lines[3] == "Where a cache has no price of its own, its tokens cost as input."
    )
    (model,) = run("prices", "gpt-5-mini", *AT, "--json").json["models"]
    assert model["usd_per_million_tokens"][0]["cache_write"] is None


def test_an_id_that_is_priced_as_another_says_so(run: Run) -> None:
    out = run("prices", "claude-3-opus-20240229", *AT).out
    assert "\nclaude-3-opus-20240229 is priced as claude-3-opus-latest.\n" in out


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        (["gpt-5-mni"], "gpt-5-mini"),
        (["gpt-5-mini", "claude-haiku-4-6"], "claude-haiku-4-5"),
        (["openai:gpt-5-mni"], "openai:gpt-5-mini"),
        (["text-embedding-3-small"], "openai:text-embedding-3-small"),
    ],
)
def test_an_unknown_model_is_an_error_with_names_that_have_a_price(
    run: Run, asked: list[str], near: str
) -> None:
    ran = run("prices", *asked)
    assert (ran.code, ran.out) == (1, "")
    _, _, named = ran.err.strip().removesuffix("?").partition("; did you mean ")
    assert near in named.split(" or ")
    assert run("prices", *named.split(" or ")).code == 0


@pytest.mark.parametrize("name", ["zzzzzzzzzzzz", "", ":", "openai:", "\x1b[31m"])
def test_what_is_like_no_model_is_one_sentence(run: Run, name: str) -> None:
    ran = run("prices", name)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("No price is known for model ")
    assert "\x1b" not in ran.err


@pytest.mark.parametrize(
    "wrong",
    [
        ["gpt-5-mini", "--at", "yesterday"],
        ["gpt-5-mini", "--at", "0001-01-01T00:00+14:00"],
        ["gpt-5-mini", "--at", "9999-12-31T23:59-14:00"],
        ["gpt-5-mini", "--input", "-1"],
        ["gpt-5-mini", "--input", "1.5"],
        ["gpt-5-mini", "--input", "1", "--cached", "2"],
        ["gpt-5-mini", "--input", "9" * 30],
        [],
    ],
)
def test_wrong_usage_has_code_2(run: Run, wrong: list[str]) -> None:
    ran = run("prices", *wrong)
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err
