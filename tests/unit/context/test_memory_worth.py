"""When the memory sums up, what its check costs, and what the ledger says it saved."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.graph.message import add_messages

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    PriceBook,
    SummaryMemory,
    TokenCounter,
    TokenLedger,
)
from tests.unit.accounting.conftest import PRICES
from tests.unit.context.conversations import (
    COUNTER,
    chat,
    is_summary,
    looked_up,
    memory,
    sliding,
    summarizer,
    summary_of,
    turn,
    used,
    words,
)

DEAR = PriceBook().with_price("cheap", input="0.1", output="0.5")
DEAR = DEAR.with_price("dear", input=10, output=50, cache_read=1, cache_write="12.5")


def gated(model: Any = None, **options: Any) -> SummaryMemory:
    """A memory that sums up only where that pays, unless told otherwise."""
    return memory(model, **{"always": False, "prices": DEAR} | options)


def cached(messages: list[BaseMessage], read: int | None) -> list[BaseMessage]:
    """A chat whose newest answer reports what was read from the cache."""
    *before, answer, question = messages
    usage = used(COUNTER.count(before), cached=read)
    return [*before, answer.model_copy(update={"usage_metadata": usage}), question]


def sums_up(shorten: SummaryMemory, messages: list[BaseMessage]) -> bool:
    return is_summary(shorten.invoke(messages)[0])


CHEAP = summarizer(model_name="cheap")
EXPENSIVE = summarizer(model_name="dear")


def first_turns(given: list[BaseMessage], provider: str = "stand-in") -> int:
    """From how many turns to come it pays to sum up a chat."""
    model = summarizer(model_name="dear", provider=provider)
    return next(
        n for n in range(999) if sums_up(gated(model, remaining_turns=n), given)
    )


class TestWhenItPays:
    def test_a_cheap_summarizer_of_a_dear_model_pays(self) -> None:
        shorten = gated(CHEAP, answer_model=EXPENSIVE, remaining_turns=20)
        assert sums_up(shorten, cached(chat(20), 0))

    def test_a_dear_summarizer_of_a_cheap_model_does_not(self) -> None:
        shorten = gated(EXPENSIVE, answer_model=CHEAP, remaining_turns=20)
        assert not sums_up(shorten, cached(chat(20), 0))

    def test_nothing_pays_where_no_turn_is_to_come(self) -> None:
        shorten = gated(CHEAP, answer_model=EXPENSIVE, remaining_turns=0)
        assert not sums_up(shorten, cached(chat(40), 0))

    def test_it_waits_until_what_leaves_is_worth_the_call(self) -> None:
        for turns, worth in ((8, False), (60, True)):
            shorten = gated(EXPENSIVE, remaining_turns=3)
            assert sums_up(shorten, cached(chat(turns), 0)) == worth

    def test_a_chat_too_short_to_be_cached_would_be_if_nothing_left(self) -> None:
        """At a provider that caches by itself, what is short now says nothing."""
        question = HumanMessage(words("Now this?", 300))
        given = [*cached(chat(13), 0), question]

        def first(provider: str) -> int:
            return first_turns(given, provider)

        assert first("bedrock") < first("openai")

    def test_more_turns_to_come_make_it_pay(self) -> None:
        pays = [
            sums_up(gated(EXPENSIVE, remaining_turns=n), cached(chat(20), 900))
            for n in (0, 1, 10, 100, 1_000)
        ]
        assert pays == sorted(pays)
        assert (pays[0], pays[-1]) == (False, True)

    def test_what_is_cached_already_pays_later(self) -> None:
        """It is cheap to read again, and what stays must be written anew."""

        assert first_turns(cached(chat(60), 0)) < first_turns(cached(chat(60), 2_000))

    def test_what_stays_is_written_anew_where_it_is_cached(self) -> None:
        """The more of it, the later it pays."""
        given = cached(chat(60), 2_000)
        longer = [*given[:-1], HumanMessage(words("Now this?", 2_000))]
        assert first_turns(given) < first_turns(longer)

    def test_a_provider_that_reports_nothing_is_taken_to_cache(self) -> None:
        for turns in range(0, 60, 3):
            shorten = [gated(EXPENSIVE, remaining_turns=turns) for _ in range(2)]
            unreported = sums_up(shorten[0], chat(60))
            assert unreported == sums_up(shorten[1], cached(chat(60), 2_000))

    def test_as_many_turns_are_expected_as_there_were(self) -> None:
        for turns in (12, 30, 60):
            one = gated(EXPENSIVE)
            other = gated(EXPENSIVE, remaining_turns=turns)
            given = cached(chat(turns), 900)
            assert sums_up(one, given) == sums_up(other, given)

    def test_an_agent_that_calls_often_in_a_turn_saves_more_a_turn(self) -> None:
        agent = [
            m
            for number in range(20)
            for m in looked_up(number, f"c{number}", result="Found.")
        ]
        given = cached([*agent, turn(20)[0]], 900)
        plain = [m for m in given if "Found" not in m.text and m.text]
        assert first_turns(given) < first_turns(plain)

    def test_an_unknown_price_is_no_error(self) -> None:
        unknown = summarizer(model_name="nobody-knows")
        assert sums_up(gated(unknown, remaining_turns=1_000), chat(40))
        assert not sums_up(gated(unknown, remaining_turns=0), chat(40))

    def test_always_asks_no_price(self) -> None:
        shorten = gated(EXPENSIVE, answer_model=CHEAP, remaining_turns=0, always=True)
        assert sums_up(shorten, chat(20))

    def test_a_sliding_window_costs_nothing_and_always_pays(self) -> None:
        shorten = sliding(always=False, remaining_turns=0)
        assert sums_up(shorten, chat(20))

    def test_it_costs_less_than_it_saves(self) -> None:
        """Played to the end: what the gate lets through is cheaper than all history."""
        answers = 60
        whole = billed(None, answers)
        assert billed(gated(CHEAP, answer_model=EXPENSIVE), answers) < whole
        assert billed(gated(EXPENSIVE), answers) < whole


def billed(shorten: SummaryMemory | None, turns: int) -> Decimal:
    """What a chat costs with a model that caches nothing, its summaries among it."""
    state: list[BaseMessage] = []
    with TokenLedger(prices=DEAR) as ledger:
        for number in range(turns):
            question, answer = turn(number)
            state.append(question)
            if shorten:
                given: Any = {"messages": state}
                update = shorten.invoke(given, {"callbacks": [ledger]})
                state = add_messages(state, update.get("messages", []))  # type: ignore[assignment, arg-type]
            usage = used(COUNTER.count(state))
            tokens: Any = {"input_tokens": usage["input_tokens"], "output_tokens": 10}
            ledger.record(model="dear", usage=tokens)
            state.append(answer.model_copy(update={"usage_metadata": usage}))
        return ledger.totals().cost


class Counting(TokenCounter):
    """A counter that remembers which messages it was given."""

    def __init__(self) -> None:
        super().__init__(encoding="utf8")
        self.counted: list[str | None] = []

    def count(self, content: Any, **options: Any) -> int:
        if not isinstance(content, str):
            self.counted += [message.id for message in content]
        return super().count(content, **options)


def reporting(turns: int, tokens: int) -> list[BaseMessage]:
    """A chat whose newest answer reports so many input tokens."""
    *before, answer, question = chat(turns)
    usage = used(tokens)
    return [*before, answer.model_copy(update={"usage_metadata": usage}), question]


class TestCheck:
    """What a turn costs where nothing is to be done."""

    @pytest.mark.parametrize("keep_history", [True, False])
    @pytest.mark.parametrize("turns", [8, 100, 1_000])
    def test_only_what_is_new_is_counted(self, turns: int, keep_history: bool) -> None:
        counter = Counting()
        shorten = memory(counter=counter, max_tokens=10**6, keep_history=keep_history)
        shorten.invoke({"messages": reporting(turns, 37 * 2 * turns)})
        assert f"human-{turns}" in counter.counted
        assert len(counter.counted) <= 20  # a few tell whether the report can be true

    def test_a_summary_that_stands_is_not_counted_with_the_rest(self) -> None:
        short = memory().invoke(chat(12))
        counter = Counting()
        shorten = memory(counter=counter, max_tokens=10**6)
        shorten.invoke({"messages": [*short[:1], *reporting(1_000, 80_000)]})
        assert len(counter.counted) <= 20

    def test_what_was_reported_goes_before_what_would_be_counted(self) -> None:
        assert memory().invoke({"messages": reporting(12, 500)}) == {}
        assert memory().invoke({"messages": reporting(12, 600)}) != {}

    def test_what_came_after_the_report_is_added(self) -> None:
        given = [*reporting(12, 500), *chat(3, first=20)]
        assert memory().invoke({"messages": given}) != {}

    @pytest.mark.parametrize(
        "usage",
        [
            used(3),
            used(0),
            None,
            {"input_tokens": -5, "output_tokens": 1, "total_tokens": -4},
            {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6},
        ],
        ids=["few", "none", "missing", "negative", "small"],
    )
    def test_a_report_that_cannot_be_of_the_whole_is_not_believed(
        self, usage: Any
    ) -> None:
        *before, answer, question = chat(12)
        reported = answer.model_copy(update={"usage_metadata": usage})
        assert memory().invoke({"messages": [*before, reported, question]}) != {}

    def test_the_report_of_a_side_call_does_not_hide_a_long_history(self) -> None:
        """Another node read a short prompt, and its answer is the newest."""
        for turns in range(55, 75):
            assert memory().invoke({"messages": reporting(turns, 300)}) != {}

    def test_nor_does_it_where_only_answers_are_long(self) -> None:
        for turns in range(30, 40):
            asked = [HumanMessage("Ok?", id=f"h{n}") for n in range(turns)]
            said = [AIMessage(words("So", 90), id=f"a{n}") for n in range(turns)]
            given = [m for pair in zip(asked, said, strict=True) for m in pair]
            side = AIMessage("Done.", id="side", usage_metadata=used(300))
            last = HumanMessage("And?", id="last")
            assert memory().invoke({"messages": [*given, side, last]}) != {}

    def test_a_chain_counts_for_itself(self) -> None:
        """What it is given is the whole history, and the report is of the short one."""
        assert is_summary(memory().invoke(reporting(12, 300))[0])


def saved(ledger: TokenLedger) -> Any:
    return ledger.savings().levers["memory"]


def listening(ledger: TokenLedger, *others: Any) -> Any:
    return {"callbacks": [ledger, *others]}


def answered(
    prompt: Any, ledger: TokenLedger, usage: Any = None, **options: Any
) -> None:
    """Have a model answer, which reports a usage."""
    answer = AIMessage("So.", usage_metadata=usage or used(200))
    summarizer(answer, **options).invoke(prompt, listening(ledger))


class TestLedger:
    def test_the_summarizers_call_is_of_the_memory(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        memory().invoke(chat(12), listening(ledger))
        [entry] = ledger.entries()
        assert entry.source == "memory"
        assert "nostream" in entry.tags

    def test_tags_and_metadata_of_the_caller_stay(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        config = {"tags": ["own"], "metadata": {"user_id": "ada"}}
        memory().invoke(chat(12), {**listening(ledger), **config})
        [entry] = ledger.entries()
        assert "own" in entry.tags
        assert entry.user_id == "ada"

    @pytest.mark.parametrize("form", ["node", "view", "chain"])
    def test_every_call_that_is_answered_to_it_saves_what_is_left_out(
        self, form: str
    ) -> None:
        ledger = TokenLedger(prices=PRICES)
        shorten = memory(keep_history=form == "view")
        state: dict[str, Any] = {"messages": chat(12)}
        counts = []
        for _ in range(3):
            if form == "chain":
                short = shorten.invoke(state["messages"])
            else:
                update = shorten.invoke(state)
                new = update.pop("messages", [])
                state |= update
                state["messages"] = add_messages(state["messages"], new)
                short = state["short_messages" if form == "view" else "messages"]
            answered(short, ledger)
            counts.append(saved(ledger).count)
        assert counts == [1, 2, 3]

    def test_nothing_is_saved_before_anything_leaves(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        answered(memory().invoke(chat(2), listening(ledger)), ledger)
        assert ledger.savings().levers == {}

    def test_nothing_is_saved_where_the_whole_history_is_sent(self) -> None:
        """A graph that does not read what the memory wrote for it."""
        ledger = TokenLedger(prices=PRICES)
        state: dict[str, Any] = {"messages": chat(12)}
        state |= memory(keep_history=True).invoke(state)
        answered(state["messages"], ledger)
        assert ledger.savings().levers == {}

    def test_a_call_that_was_refused_saves_nothing(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        guard = BudgetGuard(Budget(calls=0, per="total"), ledger=ledger)
        with pytest.raises(BudgetExceededError):
            summarizer().invoke(memory().invoke(chat(12)), listening(ledger, guard))
        assert ledger.savings().levers == {}

    def test_a_call_that_failed_saves_nothing(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        with pytest.raises(TimeoutError):
            summarizer(TimeoutError()).invoke(
                memory().invoke(chat(12)), listening(ledger)
            )
        assert ledger.savings().levers == {}

    def test_what_is_saved_is_what_left_less_the_notes(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        short = memory().invoke(chat(12))
        answered(short, ledger, used(2_000))
        left = summary_of(short)["tokens"] - COUNTER.count(short[:1])
        assert saved(ledger).total == Decimal(left) / 1_000_000

    def test_what_would_have_been_read_from_the_cache_saves_less(self) -> None:
        values = []
        for read in (0, 1_200):
            ledger = TokenLedger(prices=PRICES)
            answered(memory().invoke(chat(40)), ledger, used(2_000, cached=read))
            values.append(saved(ledger).total)
        assert values[1] == values[0] / 10

    def test_what_would_have_become_long_enough_for_the_cache_saves_less(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        short = memory().invoke(chat(40))
        answered(short, ledger, used(900))
        left = summary_of(short)["spared"]
        assert saved(ledger).total == Decimal(left) / 10 / 1_000_000

    def test_what_stays_is_written_to_the_cache_again_at_its_cost(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        short = memory().invoke(cached(chat(40), 1_200))
        answered(short, ledger, used(2_000, cached=1_200))
        said = summary_of(short)
        spared, moved = said["spared"], COUNTER.count(short)
        premium = Decimal("1.25") - Decimal("0.1")
        expected = (spared / Decimal(10) - moved * premium) / 1_000_000
        assert abs(saved(ledger).total - expected) < Decimal("0.00005")

    def test_its_own_cost_is_taken_from_it(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        answered(memory().invoke(chat(12), listening(ledger)), ledger)
        [entry] = [entry for entry in ledger.entries() if entry.source]
        savings = ledger.savings()
        assert entry.cost
        assert savings.own_cost == {"memory": entry.cost.total}
        assert savings.total == savings.levers["memory"].total - entry.cost.total

    def test_the_baseline_is_the_whole_history(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        answered(memory().invoke(chat(12)), ledger)
        assert saved(ledger).baselines == ("the whole history",)

    def test_it_is_priced_as_the_model_that_answers(self) -> None:
        ledger = TokenLedger(prices=DEAR)
        short = memory(CHEAP).invoke(chat(12))
        answered(short, ledger, used(2_000), model_name="dear")
        left = summary_of(short)["spared"]
        assert saved(ledger).total == Decimal(left) * 10 / 1_000_000

    def test_a_sliding_window_saves_as_well(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        answered(sliding().invoke(chat(12)), ledger)
        assert saved(ledger).count == 1

    def test_notes_longer_than_what_left_save_less_than_nothing(self) -> None:
        ledger = TokenLedger(prices=PRICES)
        shorten = memory(
            summarizer(words("Notes", 700)),
            max_tokens=100,
            keep_tokens=0,
            max_summary_tokens=99,
        )
        short = shorten.invoke(chat(1))
        assert is_summary(short[0])
        answered(short, ledger)
        assert saved(ledger).total < 0
