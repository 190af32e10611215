"""What a ledger's report says, and how it stands in the terminal."""

import json
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from langchain_lean.accounting.entry import LedgerEntry, Step
from langchain_lean.accounting.ledger import TokenLedger
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.report.data import make_report
from langchain_lean.accounting.report.words import cost as cost_of
from langchain_lean.accounting.report.words import exact_money
from langchain_lean.accounting.reporting import report_notice, report_saving
from langchain_lean.accounting.store import Batch, MemoryStore
from langchain_lean.accounting.usage import TokenUsage

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PRICES = (
    PriceBook()
    .with_price("cheap", input="1", output="2", cache_read="0.1", cache_write="4")
    .with_price("strong", input="10", output="20")
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
_ids = count()


def entry(model="cheap", *, tokens=(1000, 100), **fields):
    """A call as a ledger keeps it, alone in its trace."""
    run = f"run {next(_ids)}"
    usage = TokenUsage(input=tokens[0], output=tokens[1])
    given = {"run_id": run, "trace_id": run, "model": model, "usage": usage}
    return LedgerEntry(**{"start": NOON, **given, **fields})


def ledger_of(*entries, steps=(), store="memory://"):
    ledger = TokenLedger(store, prices=PRICES)
    ledger.store.add(Batch(entries=entries, steps=steps))
    return ledger


def said(ledger):
    """The lines of the printed report, with single spaces."""
    return [" ".join(line.split()) for line in str(ledger.report()).splitlines()]


def save(ledger, lever, *, dollars, model="strong", **fields):
    usage = TokenUsage(input=int(Decimal(dollars) * 100_000))  # strong: $10 a million
    report_saving(lever, avoided=usage, model=model, callbacks=ledger, **fields)


def tell(ledger, lever="retriever", *, times=1, reason="a retriever failed: OSError"):
    for _ in range(times):
        report_notice(lever, action="skipped", reason=reason, callbacks=ledger)


@pytest.fixture
def desk():
    """A small help desk: two models, a judge, and levers that saved something."""
    ledger = ledger_of(
        entry("cheap", tokens=(60_000, 20_000), user_id="ada", seconds=1.5),
        entry("cheap", tokens=(40_000, 30_000), user_id="bob", seconds=2.5),
        entry("strong", tokens=(20_000, 5_000), user_id="ada", seconds=3.0),
        entry("cheap", tokens=(20_000, 0), source="judge"),
    )
    save(ledger, "routing", dollars="1.50", baseline="strong for the same tokens")
    save(ledger, "cache", dollars="0.42", kind="exact")
    return ledger


class TestTheFirstLines:
    def test_the_headline_counts_calls_users_time_and_the_share_of_the_cheapest(
        self, desk
    ):
        headline = "langchain_lean · 4 calls · 2 users · 7.0 s in models"
        assert said(desk)[:2] == [headline, "67 % answered by the cheapest model"]

    def test_models_stand_dearest_first_with_their_tokens_and_exact_cost(self, desk):
        assert said(desk)[2:5] == [
            "model calls input cached output cost",
            "strong 1 20.0k - 5.0k $0.300",
            "cheap 3 120.0k - 50.0k $0.220",
        ]

    def test_without_the_levers_is_what_was_spent_plus_what_was_saved(self, desk):
        report = desk.report()
        assert report.total.cost + report.savings.total == Decimal("2.42")
        assert said(desk)[5:7] == [
            "spent $0.520 · without the levers $2.42",
            "saved $1.90 (79 %; $0.420 exact, $1.50 counterfactual)",
        ]

    def test_levers_stand_by_what_they_saved_with_their_own_cost_and_baselines(
        self, desk
    ):
        assert said(desk)[7:9] == [
            "routing $1.50 · cache $0.420 · their own cost -$0.020",
            "routing against strong for the same tokens",
        ]

    def test_a_ledger_without_levers_says_only_what_was_spent(self):
        assert said(ledger_of(entry()))[3:] == ["spent $0.00120"]

    def test_levers_that_cost_more_than_they_save_say_so_without_a_share(self):
        ledger = ledger_of(entry(tokens=(1_000_000, 0), source="judge"))
        save(ledger, "cache", dollars="0.25", kind="exact")
        assert "saved -$0.750 ($0.250 exact, $0.00 counterfactual)" in said(ledger)

    def test_what_levers_lost_is_never_a_bill_below_nothing(self):
        ledger = ledger_of(entry())
        spent = TokenUsage(input=100_000)
        save(ledger, "cache", dollars="0", kind="exact", spent=spent)
        said_of_it = "without the levers unknown (the levers lost more than was spent)"
        assert said_of_it in said(ledger)
        assert ledger.report().to_dict()["without_levers_usd"] is None

    def test_savings_are_told_even_where_no_call_was_made(self):
        ledger = ledger_of()
        save(ledger, "cache", dollars="0.25", kind="exact")
        without = "spent $0.00 · without the levers $0.250"
        assert without in said(ledger)
        assert "Savings by lever" in ledger.report().to_html()

    def test_tokens_go_where_the_anatomy_of_the_calls_says(self):
        ledger = TokenLedger(prices=PRICES)
        ledger.record(model="cheap", usage=TokenUsage(input=750, output=250))
        assert "where the tokens go question 75 % output 25 %" in said(ledger)

    def test_many_baselines_of_a_lever_are_cut_to_three(self):
        ledger = ledger_of(entry())
        for number in range(5):
            save(ledger, "memory", dollars="0.1", baseline=f"history {number}")
        line = "memory against history 0, history 1, history 2 and 2 more"
        assert line in said(ledger)


class TestTheProvidersOwnCache:
    def test_stands_apart_from_the_levers(self):
        usage = TokenUsage(input=1_000_000, cache_read=500_000)
        ledger = ledger_of(entry(usage=usage, provider="openai"))
        assert said(ledger)[3:5] == [
            "spent $0.550",
            "the provider's own cache saved $0.450",
        ]

    def test_is_said_to_cost_where_its_writes_outweigh_its_reads(self):
        usage = TokenUsage(input=1_000_000, cache_write_5m=100_000)
        ledger = ledger_of(entry(usage=usage, provider="openai"))
        assert "the provider's own cache cost $0.300 more than it saved" in said(ledger)


class TestCallsWithoutAPrice:
    def test_a_model_without_a_price_is_unpriced_and_never_costs_nothing(self):
        report = str(ledger_of(entry("cheap"), entry("my-llm")).report())
        row = next(line for line in report.splitlines() if line.startswith("my-llm"))
        assert row.split() == ["my-llm", "1", "1.0k", "-", "100", "unpriced"]
        assert "$0.00 " not in report

    def test_every_sum_they_are_missing_from_says_so(self):
        ledger = ledger_of(
            entry("cheap", node="draft", user_id="ada"),
            entry("my-llm", node="draft", user_id="ada"),
        )
        save(ledger, "cache", dollars="0.2", kind="exact")
        lines = said(ledger)
        without = "without the levers $0.201 (1 call unpriced)"
        assert f"spent $0.00120 (1 call unpriced) · {without}" in lines
        assert "draft 2 2.0k - 200 $0.00120 + 1 unpriced" in lines
        assert "ada 2 2.0k - 200 $0.00120 + 1 unpriced" in lines
        assert "1 call unpriced" in lines

    def test_where_no_call_has_a_price_the_amount_is_unknown(self):
        lines = said(ledger_of(entry("my-llm"), entry("my-llm")))
        assert "spent unknown (2 calls unpriced)" in lines
        assert not any("$" in line for line in lines)

    def test_savings_and_own_calls_without_a_price_are_counted(self):
        ledger = ledger_of(entry(), entry("my-llm", source="judge"))
        save(ledger, "cache", dollars="0.1", kind="exact")
        save(ledger, "cache", dollars="0.1", kind="exact", model="my-llm")
        save(ledger, "memory", dollars="0.1", baseline="all", model="my-llm")
        lines = said(ledger)
        levers = "cache $0.100 + 1 unpriced · memory unpriced"
        assert f"{levers} · their own cost unpriced" in lines
        assert "1 call unpriced · 2 savings unpriced" in lines

    def test_own_calls_without_a_price_are_told_even_where_nothing_was_saved(self):
        lines = said(ledger_of(entry(), entry("my-llm", source="judge")))
        assert "their own cost unpriced" in lines
        assert any(line.endswith("saved unknown") for line in lines)


class TestRemarks:
    def test_name_every_flag_that_a_call_carries(self):
        ledger = ledger_of(
            *(entry(estimated=True) for _ in range(5)),
            entry(failed=True),
            entry(blocked=True, tokens=(0, 0)),
            entry(abandoned=True),
            entry(stopped_early=True),
            entry(cache_hit=True, tokens=(0, 0)),
        )
        assert said(ledger)[4:] == [
            "5 estimated (no usage was reported) · 1 failed · 1 blocked · 1 abandoned",
            "1 stopped early · 1 answered from the cache",
        ]

    def test_are_absent_where_there_is_nothing_to_remark(self):
        report = str(ledger_of(entry()).report())
        words = ("unpriced", "estimated", "failed", "blocked", "own cache", "latency")
        assert not any(word in report for word in words)


class TestNotices:
    def test_stand_after_the_remarks_the_most_frequent_first(self):
        ledger = ledger_of(entry(estimated=True))
        tell(ledger, "memory", reason="the model failed: APIError")
        tell(ledger, times=3)
        assert said(ledger)[4:] == [
            "1 estimated (no usage was reported)",
            "retriever: skipped 3 × (a retriever failed: OSError)",
            "memory: skipped 1 × (the model failed: APIError)",
        ]

    @pytest.mark.parametrize(
        ("kinds", "last"),
        [
            (5, "e: skipped 1 × (it failed)"),
            (6, "and 1 more kind"),
            (8, "and 3 more kinds"),
        ],
    )
    def test_beyond_five_kinds_are_only_counted(self, kinds, last):
        ledger = ledger_of(entry())
        for lever in "abcdefgh"[:kinds]:
            tell(ledger, lever, reason="it failed")
        assert said(ledger)[-1] == last
        assert len(said(ledger)[4:]) == min(kinds, 6)

    def test_are_told_even_where_no_call_was_made(self):
        ledger = ledger_of()
        tell(ledger)
        assert "retriever: skipped 1 × (a retriever failed: OSError)" in said(ledger)

    def test_are_the_same_from_a_file(self, tmp_path):
        ledger = ledger_of(entry(), store=f"sqlite:///{tmp_path}/lean.db")
        tell(ledger, times=2)
        kind = ("retriever", "skipped", "a retriever failed: OSError")
        assert ledger.report().notices == {kind: 2}

    def test_are_absent_where_there_are_none(self):
        assert ledger_of(entry()).report().notices == {}
        assert len(said(ledger_of(entry()))) == 4

    def test_cannot_steer_the_terminal(self):
        ledger = ledger_of(entry())
        tell(ledger, "a\x1b[2Jb\n[red]c", reason="[/bold] it failed")
        assert "a�[2Jb�[red]c: skipped 1 × ([/bold] it failed)" in said(ledger)


class TestTheCheapestModel:
    @pytest.mark.parametrize(
        ("entries", "share"),
        [
            ([entry("cheap")], None),
            ([entry("cheap"), entry("my-llm")], None),
            ([entry("cheap"), entry("strong", kind="embedding")], None),
            ([entry("cheap"), entry("strong", source="judge")], None),
            ([entry("cheap"), entry("strong", failed=True)], None),
            ([entry("cheap"), entry("cheap"), entry("strong")], 2 / 3),
            ([entry("cheap"), entry("cheap", failed=True), entry("strong")], 1 / 2),
            ([entry("cheap"), entry("strong"), entry("my-llm")], 1 / 3),
        ],
    )
    def test_is_one_of_several_priced_ones_that_answered_the_application(
        self, entries, share
    ):
        assert ledger_of(*entries).report().cheapest == share

    def test_is_the_one_that_cost_least_for_each_token_actually_paid(self):
        long = entry("strong", tokens=(1000, 0))  # $10 a million
        written = entry("cheap", usage=TokenUsage(output=1000))  # $2 a million
        assert ledger_of(long, written, written).report().cheapest == 1 / 2

    def test_is_called_the_cheapest_priced_one_where_others_have_no_price(self):
        ledger = ledger_of(entry("cheap"), entry("strong"), entry("my-llm"))
        assert "33 % answered by the cheapest priced model" in " ".join(said(ledger))


class TestNodesAndUsers:
    def test_are_left_out_where_no_call_has_any(self):
        report = ledger_of(entry()).report()
        assert (report.nodes, report.users, report.user_count) == ((), (), 0)

    def test_calls_without_one_stand_under_a_name_that_says_so(self):
        ledger = ledger_of(
            entry(None, node="draft", user_id="ada"), entry("cheap"), entry("cheap")
        )
        report = ledger.report()
        assert [line.name for line in report.models] == ["cheap", "(unknown)"]
        assert [line.name for line in report.nodes] == ["(no node)", "draft"]
        assert [line.name for line in report.users] == ["(nobody)", "ada"]
        assert report.user_count == 1

    def test_beyond_ten_the_rest_is_one_line_that_sums_it_up(self):
        users = (entry(tokens=(1000 + n, 0), user_id=f"u{n}") for n in range(14))
        report = ledger_of(*users).report()
        names = [line.name for line in report.users]
        assert names == [*(f"u{n}" for n in range(13, 3, -1)), "(4 more)"]
        rest = report.users[-1]
        assert (rest.names, rest.totals.calls, rest.totals.usage.input) == (4, 4, 4006)
        assert sum(line.totals.cost for line in report.users) == report.total.cost
        assert report.user_count == 14

    def test_eleven_are_all_shown_because_a_rest_of_one_saves_no_line(self):
        names = {f"u{n}" for n in range(11)}
        report = ledger_of(*(entry(user_id=name) for name in names)).report()
        assert {line.name for line in report.users} == names


class TestLatency:
    def test_gives_the_median_and_the_tail_of_each_part_that_was_timed(self):
        entries = [
            entry(trace_id=f"t{n}", seconds=n / 10, first_token_seconds=n / 20)
            for n in range(1, 21)
        ]
        steps = [
            Step(run_id="r", trace_id="t1", kind="run", name="", start=NOON, seconds=9),
            Step(
                run_id="s", trace_id="t1", kind="tool", name="", start=NOON, seconds=2
            ),
        ]
        report = ledger_of(*entries, steps=steps).report()
        parts = {row.part: (row.p50, row.p95, row.runs) for row in report.latency}
        assert parts == {
            "whole run": (9, 9, 1),
            "first token": (0.55, 1.0, 20),
            "generation": (0.55, 1.0, 20),
            "tools": (2, 2, 1),
            "waiting": (7, 7, 1),
        }

    def test_is_a_table_of_its_own(self):
        lines = said(ledger_of(entry(seconds=0.25), entry(seconds=4)))
        assert lines[-3:] == [
            "latency p50 p95 runs",
            "whole run 4.0 s 4.0 s 2",
            "generation 4.0 s 4.0 s 2",
        ]


class TestFigures:
    @pytest.mark.parametrize(
        ("tokens", "shown", "cost"),  # a million tokens are a dollar
        [
            (7, "7", "$0.00000700"),
            (113, "113", "$0.000113"),
            (999, "999", "$0.000999"),
            (1_000, "1.0k", "$0.00100"),
            (9_996, "10.0k", "$0.010"),
            (92_100, "92.1k", "$0.092"),
            (113_000, "113.0k", "$0.113"),
            (999_949, "999.9k", "$1.00"),
            (999_950, "1.0M", "$1.00"),
            (2_414_000, "2.4M", "$2.41"),
            (999_960_000, "1.0B", "$999.96"),
            (1_234_567_890_000, "1,234.6B", "$1,234,567.89"),
        ],
    )
    def test_tokens_and_dollars_are_short_and_never_rounded_to_nothing(
        self, tokens, shown, cost
    ):
        assert said(ledger_of(entry(tokens=(tokens, 0))))[2].split() == [
            *("cheap", "1", shown, "-", "-", cost)
        ]

    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [
            (0.0001, "<1 ms"),
            (0.42, "420 ms"),
            (0.9996, "1.0 s"),
            (4.24, "4.2 s"),
            (9.96, "10 s"),
            (41.2, "41 s"),
            (150, "2.5 min"),
            (9000, "2.5 h"),
        ],
    )
    def test_times_are_in_the_unit_that_suits_them(self, seconds, shown):
        assert f"· {shown} in models" in said(ledger_of(entry(seconds=seconds)))[0]

    @pytest.mark.parametrize(
        ("output", "shown"),
        [(0, "question 100 %"), (4, "question >99 % output <1 %"), (500, "50 % o")],
    )
    def test_a_share_is_not_nothing_or_all_unless_it_is(self, output, shown):
        ledger = TokenLedger(prices=PRICES)
        usage = TokenUsage(input=1000 - output, output=output)
        ledger.record(model="cheap", usage=usage)
        assert shown in " ".join(said(ledger))


class TestAnEmptyLedger:
    def test_says_in_a_sentence_how_to_attach_it(self):
        text = " ".join(said(TokenLedger()))
        assert "Nothing has been recorded yet" in text
        assert 'config={"callbacks": [ledger]}' in text
        assert "`with track(ledger):`" in text
        assert "$" not in text


class TestAsJson:
    def test_has_the_figures_by_name_and_dollars_to_the_last_digit(self, desk):
        found = desk.report().to_dict()
        assert json.loads(json.dumps(found)) == found
        assert {name: found[name] for name in found if name.endswith("_usd")} == {
            "spent_usd": "0.52",
            "without_levers_usd": "2.42",
            "saved_usd": "1.9",
            "saved_exact_usd": "0.42",
            "saved_counterfactual_usd": "1.5",
            "levers_own_cost_usd": {"judge": "0.02"},
            "provider_cache_saved_usd": "0",
        }
        assert found["calls"] == 4
        assert found["input_tokens"] == 140_000
        assert found["output_tokens"] == 55_000
        assert found["model_seconds"] == 7.0
        assert found["cheapest_model_share"] == 0.6667

    def test_gives_models_nodes_and_users_as_the_tables_do(self, desk):
        found = desk.report().to_dict()
        assert [line["name"] for line in found["models"]] == ["strong", "cheap"]
        assert [line["name"] for line in found["users"]] == ["ada", "bob", "(nobody)"]
        assert found["user_count"] == 2
        assert found["nodes"] == []
        assert found["models"][0] == {
            "name": "strong",
            "names": 1,
            "calls": 1,
            "input_tokens": 20_000,
            "cached_input_tokens": 0,
            "output_tokens": 5_000,
            "spent_usd": "0.3",
            "unpriced_calls": 0,
            "model_seconds": 3.0,
            "calls_by_flag": {},
        }

    def test_tells_what_each_lever_saved_and_against_what(self, desk):
        routing, cache = desk.report().to_dict()["levers"]
        assert (routing["name"], cache["name"]) == ("routing", "cache")
        assert routing["saved_usd"] == routing["saved_counterfactual_usd"] == "1.5"
        assert routing["baselines"] == ["strong for the same tokens"]
        assert cache["saved_exact_usd"] == "0.42"
        assert cache["times"] == 1

    def test_tells_what_is_missing_from_the_sums(self):
        ledger = ledger_of(entry("my-llm", failed=True), entry("my-llm", source="j"))
        save(ledger, "cache", dollars="1", kind="exact", model="my-llm")
        found = ledger.report().to_dict()
        assert found["unpriced_calls"] == 2
        assert found["calls_by_flag"] == {"unpriced": 2, "failed": 1}
        assert found["levers_own_unpriced_calls"] == 1
        assert found["levers"][0]["unpriced_savings"] == 1

    def test_knows_no_amount_where_the_printed_report_knows_none(self):
        ledger = ledger_of(entry("my-llm", user_id="ada"), entry("my-llm", source="j"))
        save(ledger, "cache", dollars="1", kind="exact", model="my-llm")
        lines, found = said(ledger), ledger.report().to_dict()
        assert "spent unknown (2 calls unpriced)" in lines[3]
        assert "saved unknown" in lines[4]
        rows = [found, *found["models"], *found["users"], *found["levers"]]
        amounts = [v for row in rows for k, v in row.items() if k.endswith("_usd")]
        amounts.remove({"j": None})
        assert len(amounts) > 10
        assert not any(amounts)
        assert "0" not in amounts

    def test_a_sum_that_leaves_some_calls_out_says_how_many_beside_it(self):
        calls = [entry("cheap", user_id="ada"), entry("my-llm", user_id="ada")]
        found = ledger_of(*calls).report().to_dict()
        for row in (found, *found["users"]):
            assert (row["spent_usd"], row["unpriced_calls"]) == ("0.0012", 1)

    def test_what_is_free_costs_nothing_and_is_known(self):
        ledger = ledger_of(entry("cheap", tokens=(0, 0)))
        found = ledger.report().to_dict()
        assert found["spent_usd"] == found["saved_usd"] == "0"

    def test_tells_parts_latency_and_notices(self):
        ledger = TokenLedger(prices=PRICES)
        ledger.record(
            model="cheap", usage=TokenUsage(input=750, output=250), seconds=2.0
        )
        tell(ledger, times=2)
        found = ledger.report(title="Help desk").to_dict()
        assert found["title"] == "Help desk"
        assert found["tokens_by_part"]["question"] == {"tokens": 750, "share": 0.75}
        row = {"part": "generation", "p50_seconds": 2.0, "p95_seconds": 2.0, "runs": 1}
        assert row in found["latency"]
        reason = "a retriever failed: OSError"
        notice = {"lever": "retriever", "action": "skipped", "reason": reason}
        assert found["notices"] == [{**notice, "count": 2}]

    def test_of_an_empty_ledger_has_the_same_names(self, desk):
        assert TokenLedger().report().to_dict().keys() == desk.report().to_dict().keys()

    @settings(max_examples=60, deadline=None)
    @given(
        amount=st.decimals(
            min_value=-(10**12), max_value=10**12, allow_nan=False, places=12
        )
    )
    def test_dollars_are_read_back_as_they_were(self, amount):
        said = exact_money(amount)
        assert Decimal(said) == amount
        assert "E" not in said


class TestReading:
    def test_never_goes_through_the_entries(self):
        class NoEntries(MemoryStore):
            def entries(self):
                pytest.fail("The report went through the entries.")

        ledger = ledger_of(entry(), store=NoEntries(b"key"))
        assert ledger.report().total.calls == 1

    def test_stays_exact_when_a_memory_ledger_has_folded_its_older_calls(self):
        pairs = [("cheap", "ada"), ("strong", "bob"), ("cheap", "eve")]
        calls = [entry(model, user_id=user) for model, user in pairs]
        whole = ledger_of(*calls).report()
        folded = ledger_of(*calls, store=MemoryStore(b"key", max_entries=1)).report()
        assert (folded.total, folded.models, folded.users) == (
            *(whole.total, whole.models, whole.users),
        )

    def test_claims_no_cheapest_model_when_older_calls_are_folded(self):
        store = MemoryStore(b"key", max_entries=2)
        ledger = ledger_of(entry("cheap"), entry("cheap"), entry("strong"), store=store)
        assert ledger.report().cheapest is None

    def test_takes_no_older_call_for_one_a_lever_made(self):
        calls = [entry("my-llm"), entry("my-llm"), entry("my-llm", source="judge")]
        ledger = ledger_of(*calls, store=MemoryStore(b"key", max_entries=1))
        assert ledger.report().unpriced_own == 1

    def test_gives_values_that_nothing_changes_any_more(self):
        ledger = ledger_of(entry())
        report = make_report(ledger, title="Help desk")
        ledger.record(model="cheap", usage=TokenUsage(input=5))
        assert (report.title, report.total.calls) == ("Help desk", 1)
        with pytest.raises(FrozenInstanceError):
            report.title = "other"


class TestInTheTerminal:
    @settings(max_examples=60, deadline=None)
    @given(model=NAMES, node=NAMES, user=NAMES, columns=st.integers(1, 200))
    def test_no_line_is_wider_than_the_terminal_or_80(self, model, node, user, columns):
        report = ledger_of(entry(model, node=node, user_id=user)).report()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", str(columns))
            lines = str(report).splitlines()
        assert max(map(cell_len, lines)) <= max(80, columns)

    @settings(max_examples=60, deadline=None)
    @given(
        user=st.one_of(NAMES, st.just("3f2504e0-4f89-11d3-9a0c-0305e82c3301")),
        tokens=st.integers(1, 10**15),
        columns=st.integers(1, 120),
    )
    def test_no_figure_is_cut_whatever_its_size(self, user, tokens, columns):
        calls = [entry(m, user_id=user, tokens=(tokens, 0)) for m in ("cheap", "own")]
        report = ledger_of(*calls).report()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", str(columns))
            lines = str(report).splitlines()
        cost = cost_of(report.users[0].totals)
        of_users = "\n".join(lines[lines.index("") :])
        assert all(figure in of_users for figure in cost.split(" ", 1))

    def test_what_has_no_room_beside_an_amount_stands_below_it(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        user = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
        calls = [
            entry("strong", tokens=(989_109_000, 0), user_id=user),
            *(entry("own", tokens=(1, 0), user_id=user) for _ in range(1_500)),
        ]
        lines = str(ledger_of(*calls).report()).splitlines()
        first, second = lines[-2:]
        assert first.endswith(" $9,891.09")
        assert second.endswith(" + 1,500 unpriced")
        assert len(first) == len(second)
        assert first.split()[0] + second.split()[0] == user

    def test_a_console_too_narrow_for_the_figures_says_that_it_cuts(self, desk):
        console = Console(file=StringIO(), width=30)
        console.print(desk.report())
        row = console.file.getvalue().splitlines()[5]
        assert "…" in row

    def test_a_wide_terminal_is_used(self, desk, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        assert str(desk.report()).splitlines()[0].endswith("the cheapest model")

    def test_printing_gives_plain_text_even_where_color_is_forced(
        self, desk, monkeypatch, capsys
    ):
        monkeypatch.setenv("FORCE_COLOR", "1")
        print(desk.report())
        assert "\x1b" not in capsys.readouterr().out

    def test_rich_prints_the_same_in_color_where_the_console_has_it(self, desk):
        report = desk.report()
        plain = Console(file=StringIO(), width=80, color_system=None)
        plain.print(report)
        written = plain.file.getvalue().splitlines()
        assert [line.rstrip() for line in written] == str(report).splitlines()
        colored = Console(file=StringIO(), width=80, force_terminal=True)
        colored.print(report)
        assert "\x1b[" in colored.file.getvalue()

    def test_a_name_is_shown_as_it_is_and_not_read_as_markup(self):
        report = str(ledger_of(entry(user_id="[red]ada[/red] :smile:")).report())
        assert "[red]ada[/red] :smile:" in report

    def test_what_would_steer_the_terminal_is_replaced(self):
        ledger = ledger_of(entry(user_id="a\x1b[2Jb\nc\u202ed"))
        save(ledger, "le\x1bver", dollars="1", baseline="base\x1bline")
        report = str(replace(ledger.report(), title="ti\x1btle"))
        for shown in ("a�[2Jb�c�d", "le�ver $1.00", "against base�line", "ti�tle"):
            assert shown in report
        assert not {"\x1b", "\u202e"} & set(report)

    def test_a_long_name_is_broken_and_never_cut(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        name = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/" + "x" * 60
        rows = str(ledger_of(entry(name)).report()).splitlines()[2:]
        spent = next(n for n, row in enumerate(rows) if row.startswith("spent"))
        assert "".join(row.split()[0] for row in rows[:spent]) == name
