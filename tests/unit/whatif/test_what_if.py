"""All levers together, what is refused, and how it is shown."""

import json
from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from rich.console import Console

from langchain_lean import TokenLedger, TokenUsage, track
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ScriptedChatModel
from langchain_lean.whatif import Saved, WhatIf, what_if
from tests.unit.whatif.conftest import (
    CHEAP,
    MODEL,
    PRICES,
    PROVIDER,
    Found,
    Topics,
    desk,
)

Model = Callable[..., ScriptedChatModel]
Ledgers = Callable[..., TokenLedger]

TOPICS = Topics()
NAMES = [
    "exact cache",
    "semantic cache",
    "cheap first",
    "top-k",
    "chunk size",
    "history summary",
    "system prompt",
    "tool schemas",
    "output cap",
    "prompt prefix",
]


def busy(ledger: TokenLedger, model: Model) -> TokenLedger:
    """A ledger in which every lever has something to do."""
    config: Any = {"callbacks": [ledger]}
    aside = "Whales sing at night. Bread is made of flour. " * 5
    documents = [Document(f"Number {n} is a number. {aside}{n}.") for n in range(6)]
    chain = desk(model(), Found(documents=documents), "{documents}\n\n{question}")
    for question in ("Which one is it", "Which one is it", "Say which number is it"):
        chain.invoke(question, config)
    rules = SystemMessage("Keep to this rule, please. " * 300)
    chat: list[Any] = [rules]
    tools = [{"name": "idle", "description": "Idle.", "input_schema": {}}]
    for turn in range(6):
        chat.append(HumanMessage(f"Tell me more about turn {turn}."))
        chat.append(model("Word " * 400).bind(tools=tools).invoke(chat, config))
    return ledger


def tried(ledger: TokenLedger, **options: Any) -> WhatIf:
    given: dict[str, Any] = {
        "memory_tokens": 600,
        "keep_tokens": 100,
        "max_summary_tokens": 50,
    }
    given |= {"cheap": CHEAP, "acceptance": 0.5, "embeddings": TOPICS}
    given |= {"output_cap": 200, "max_doc_tokens": 20}
    return what_if(ledger, **{**given, **options})


def test_every_lever_has_a_row_in_the_order_in_which_they_work(
    ledger: TokenLedger, model: Model
) -> None:
    found = tried(busy(ledger, model))
    assert [lever.name for lever in found.levers] == NAMES
    assert not found.missing
    saving = {lever.name for lever in found.levers if lever.alone.dollars}
    assert saving == set(NAMES)
    assert all(lever.assumption.endswith(".") for lever in found.levers)


def test_together_each_token_counts_once(ledger: TokenLedger, model: Model) -> None:
    found = tried(busy(ledger, model))
    added = sum(lever.added.dollars for lever in found.levers)
    assert found.together.dollars == added
    assert added < sum(lever.alone.dollars for lever in found.levers)
    assert found.together.tokens == sum(lever.added.tokens for lever in found.levers)
    few, cut = found["top-k"], found["chunk size"]
    assert few.alone.dollars > few.added.dollars  # a request of the three is cached
    assert cut.added.tokens < cut.alone.tokens


def wordy_turns(ledger: TokenLedger, model: Model, chats: int = 6) -> TokenLedger:
    """Chats of two turns with long rules, whose first turn brings long documents."""
    rules = SystemMessage(" ".join(f"rule{number}" for number in range(1_500)))
    for chat in range(chats):
        prompt: list[Any] = [rules]
        documents = [
            Document(f"Chat {chat}, document {n}. " + f"word{n} " * 400)
            for n in range(6)
        ]

        def step(
            question: str, prompt: Any = prompt, documents: Any = documents
        ) -> None:
            found = Found(documents=documents).invoke(question)
            texts = "\n".join(d.page_content for d in found)
            prompt.append(HumanMessage(f"{texts}\n{question}"))
            prompt.append(model().invoke(prompt))
            prompt.append(HumanMessage("And why?"))
            prompt.append(model().invoke(prompt))

        config: Any = {"callbacks": [ledger], "metadata": {"thread_id": str(chat)}}
        RunnableLambda(step).invoke(f"Where is number {chat}?", config)
    return ledger


def test_no_lever_is_credited_with_more_than_it_saves_alone(
    ledger: TokenLedger, model: Model
) -> None:
    found = what_if(wordy_turns(ledger, model), max_docs=1, embeddings=TOPICS)
    prefix = found["prompt prefix"]
    assert found["top-k"].added.dollars > 0
    # Without documents less is written to the cache that nobody reads.
    assert prefix.added.dollars == prefix.alone.dollars > 0
    assert found.together.dollars == sum(e.added.dollars for e in found.levers)


def test_a_lever_that_takes_more_from_others_than_it_adds_is_left_out(
    ledger: TokenLedger, model: Model
) -> None:
    words = " ".join(f"word{number}" for number in range(380))
    rules = SystemMessage("Be brief in all of this. " * 40 + words)
    for number in range(20):  # without the repeats they are too short to be cached
        asked = [rules, HumanMessage(f"What is number {number}?")]
        model("Yes.").invoke(asked, {"callbacks": [ledger]})
    found = what_if(ledger, output_cap=1, embeddings=TOPICS)
    wordy, prefix = found["system prompt"], found["prompt prefix"]
    assert prefix.alone.dollars > wordy.alone.dollars > 0
    assert wordy.added == Saved()
    assert wordy.details[-1] == "not worth it beside prompt prefix"
    assert prefix.added.dollars == prefix.alone.dollars
    cap = found["output cap"].added.dollars
    assert found.together.dollars == prefix.added.dollars + cap > prefix.added.dollars


def test_two_levers_that_are_both_in_the_way_are_both_left_out(
    ledger: TokenLedger, model: Model
) -> None:
    words = " ".join(f"word{number}" for number in range(230))
    rules = SystemMessage("Be brief in all of this. " * 20 + words)
    idle = {"name": "idle", "description": "No use. " * 20, "input_schema": {}}
    for number in range(20):  # without either of the two, too little to be cached
        asked = [rules, HumanMessage(f"What is number {number}?")]
        model("Yes.").bind(tools=[idle]).invoke(asked, {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)
    for name in ("system prompt", "tool schemas"):
        assert found[name].alone.dollars > found[name].added.dollars == 0
        assert found[name].details[-1] == "not worth it beside prompt prefix"
    assert found.together.dollars == found["prompt prefix"].alone.dollars > 0


def test_calls_are_those_of_the_application_everywhere(
    ledger: TokenLedger, model: Model
) -> None:
    def ask(question: str) -> None:
        usage = TokenUsage(input=10)
        ledger.record(model="own", usage=usage, kind="embedding")
        ledger.record(model=MODEL, usage=usage, source="memory")
        model("word " * 100).invoke(question)

    for question in ("Where is Rome?", "Where is Rome?", "Where is Bonn?"):
        RunnableLambda(ask).invoke(question, {"callbacks": [ledger]})
    found = what_if(ledger, output_cap=10, embeddings=TOPICS)
    assert found.calls == 3
    assert found["exact cache"].alone.calls == found["exact cache"].added.calls == 1
    assert found["output cap"].alone.calls == 3
    assert found["output cap"].added.calls == 2
    assert found.together.calls == 3
    assert what_if(ledger, output_cap=1_000, embeddings=TOPICS).together.calls == 1


def test_of_a_long_ledger_the_newest_calls_are_looked_at(
    ledger: TokenLedger, model: Model
) -> None:
    for city in ("Rome", "Rome", "Bonn", "Bonn"):
        model().invoke(f"Where is {city}?", {"callbacks": [ledger]})
    found = what_if(ledger, max_calls=3, embeddings=TOPICS)
    assert (found.calls, found.older) == (3, 1)
    assert found["exact cache"].alone.calls == 1
    assert found.spent == sum(e.cost.total for e in [*ledger.entries()][1:] if e.cost)
    assert "newest 3 calls" in str(found)
    assert "1 older call in no figure" in str(found)
    assert found.to_dict()["older_calls"] == 1
    whole = what_if(ledger, max_calls=4, embeddings=TOPICS)
    assert (whole.calls, whole.older) == (4, 0)
    assert "older" not in str(whole)


def test_where_nothing_has_a_price_dollars_are_unknown(
    ledger: TokenLedger, model: Model
) -> None:
    own = model("word " * 100, model_name="my-own", provider="mine")
    for _ in range(2):
        own.invoke("Where is Rome?", {"callbacks": [ledger]})
    found = what_if(ledger, output_cap=10, embeddings=TOPICS)
    assert not found.priced
    for shown in (str(found), found._repr_html_()):
        assert "spent unknown" in shown
        assert f"saved {found.together.tokens} tokens" in shown
        assert "$" not in shown
    figures = found.to_dict()
    assert figures["spent_usd"] is None
    for saved in (figures["together"], figures["levers"][0]["alone"]):
        assert saved["usd"] is saved["usd_per_1000_calls"] is saved["share"] is None
        assert saved["tokens"] > 0


def test_a_ledger_in_a_file_says_the_same_when_it_is_opened_again(
    make_ledger: Ledgers, model: Model, tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path / 'lean.db'}"
    first = busy(make_ledger(store=store), model)
    found = tried(first)
    first.close()
    assert tried(TokenLedger(store)).to_dict() == found.to_dict()


def test_what_has_no_price_is_counted_in_tokens(
    ledger: TokenLedger, model: Model
) -> None:
    config: Any = {"callbacks": [ledger]}
    own = model("word " * 100, model_name="my-own", provider="mine")
    own.invoke("Where is Rome?", config)
    found = what_if(ledger, output_cap=10, embeddings=TOPICS)
    assert (found.unpriced, found.spent) == (1, 0)
    cap = found["output cap"]
    assert cap.alone.tokens > 0
    assert (cap.alone.dollars, found.share(cap.alone)) == (0, None)
    assert "1 call unpriced" in str(found)


def test_trying_levers_is_in_nobodys_ledger(ledger: TokenLedger, model: Model) -> None:
    busy(ledger, model)
    before = len(list(ledger.entries()))
    with track() as other:
        tried(ledger)
    assert not list(other.entries())
    assert not list(other.steps())
    assert not list(other.notices())
    assert len(list(ledger.entries())) == before


def test_inside_of_a_block_that_sees_all_threads_it_is_refused(
    ledger: TokenLedger, model: Model
) -> None:
    with track(all_threads=True), pytest.raises(ConfigurationError, match="outside"):
        what_if(busy(ledger, model))


def test_progress_goes_from_0_to_1(ledger: TokenLedger, model: Model) -> None:
    seen: list[float] = []
    tried(busy(ledger, model), on_progress=seen.append)
    assert seen == sorted(seen)
    assert 0 < seen[0] < 1 == seen[-1]
    assert len(seen) > 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_docs": 0}, "max_docs="),
        ({"max_doc_tokens": 1.5}, "max_doc_tokens="),
        ({"max_tokens": True}, "max_tokens="),
        ({"memory_tokens": -1}, "memory_tokens="),
        ({"memory_tokens": 100, "keep_tokens": 100}, "less than memory_tokens"),
        ({"max_summary_tokens": 0}, "max_summary_tokens="),
        ({"output_cap": 0}, "output_cap="),
        ({"max_calls": 0}, "max_calls="),
        ({"cheap": CHEAP, "acceptance": 1.5}, "acceptance="),
        ({"acceptance": 0.5}, "give cheap="),
        ({"cheap": ("a", "b", "c")}, "cheap="),
        ({"cheap": ""}, "cheap="),
        ({"tenant_by": "tags"}, "tenant_by="),
        ({"threshold": 2}, "threshold="),
        ({"embeddings": object()}, "embeddings="),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_in_a_sentence(
    ledger: TokenLedger, model: Model, options: dict[str, Any], said: str
) -> None:
    model().invoke("Where is Rome?", {"callbacks": [ledger]})
    with pytest.raises(ConfigurationError) as refused:
        what_if(ledger, **options)
    assert said in str(refused.value)
    assert str(refused.value).endswith(".")


def test_an_empty_ledger_says_so(ledger: TokenLedger) -> None:
    found = what_if(ledger)
    assert "Nothing has been recorded yet" in str(found)
    assert (found.levers, found.calls) == ((), 0)


def test_where_only_older_calls_asked_a_model_it_says_so(
    ledger: TokenLedger, model: Model
) -> None:
    model().invoke("Where is Rome?", {"callbacks": [ledger]})
    ledger.record(
        model="wordllama", usage=TokenUsage(input=1), kind="embedding", provider="mine"
    )
    found = what_if(ledger, max_calls=1)
    assert "None of the newest calls asked a model" in str(found)
    assert (found.levers, found.calls, found.older) == ((), 0, 1)


@pytest.mark.parametrize(
    "answer",
    [
        '[{"name": "Alice"}, {"age": 3}]',
        '[{"name": "Alice"}, "b"]',
        '[{"name": "a"}, {"name": ["x"]}]',
        '[{"name": "Bob"}]',
    ],
)
def test_an_answer_in_json_is_no_call_of_a_tool(
    ledger: TokenLedger, model: Model, answer: str
) -> None:
    for _ in range(2):
        model(answer).invoke("Who is there?", {"callbacks": [ledger]})
    assert what_if(ledger)["exact cache"].alone.calls == 1


def test_it_prints_a_row_and_an_assumption_for_each_lever(
    ledger: TokenLedger, model: Model
) -> None:
    found = tried(busy(ledger, model), cheap=None, acceptance=None)
    printed = str(found)
    for lever in found.levers:
        assert printed.count(lever.name) >= 2
    assert "together" in printed
    assert "give cheap=" in printed
    console = Console(file=StringIO(), width=100)
    console.print(found)
    assert printed.splitlines()[0] in console.file.getvalue()  # type: ignore[attr-defined]


def test_as_html_it_escapes_what_tools_are_called(
    ledger: TokenLedger, model: Model
) -> None:
    tools = [{"name": "<b>bold</b>", "input_schema": {}}]
    model().bind(tools=tools).invoke("Where is Rome?", {"callbacks": [ledger]})
    page = what_if(ledger, embeddings=TOPICS)._repr_html_()
    assert "&lt;b&gt;bold" in page
    assert "<b>" not in page
    assert "needs a model to try" in page
    assert page.count("<tr>") == len(what_if(ledger, embeddings=TOPICS).levers) + 2


def test_as_json_dollars_are_exact(ledger: TokenLedger, model: Model) -> None:
    found = tried(busy(ledger, model))
    figures = json.loads(json.dumps(found.to_dict()))
    assert Decimal(figures["spent_usd"]) == found.spent
    rows = {row["name"]: row for row in figures["levers"]}
    for lever in found.levers:
        assert Decimal(rows[lever.name]["alone"]["usd"]) == lever.alone.dollars
        assert rows[lever.name]["sure"] == lever.sure
    assert figures["together"]["tokens"] == found.together.tokens


def test_a_lever_without_a_row_is_no_key(ledger: TokenLedger, model: Model) -> None:
    model().invoke("Where is Rome?", {"callbacks": [ledger]})
    with pytest.raises(KeyError):
        what_if(ledger, embeddings=TOPICS)["cheap first"]


TURN = st.tuples(
    st.sampled_from(["Rome", "Bonn", "word " * 300]),
    st.sampled_from(["Yes.", "word " * 60]),
    st.integers(0, 4),
    st.sampled_from([MODEL, CHEAP, "gpt-4.1", "unknown"]),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    chats=st.lists(st.lists(TURN, min_size=1, max_size=5), min_size=1, max_size=4),
    keep_text=st.booleans(),
    acceptance=st.floats(0, 1),
    output_cap=st.integers(1, 80),
    max_docs=st.integers(1, 5),
)
def test_no_lever_saves_less_than_nothing_and_all_save_less_than_was_spent(
    chats: list[list[tuple[str, str, int, str]]],
    keep_text: bool,
    acceptance: float,
    output_cap: int,
    max_docs: int,
) -> None:
    documents = [Document(f"Document {n} says this. And that.") for n in range(4)]
    with TokenLedger(prices=PRICES, keep_text=keep_text) as ledger:
        for number, turns in enumerate(chats):
            prompt: list[Any] = [SystemMessage("Be brief. " * 40 * number)]
            for question, answer, found, name in turns:
                model = ScriptedChatModel(
                    responses=[answer], loop=True, model_name=name, provider=PROVIDER
                )

                def ask(
                    asked: str, model: Any = model, prompt: Any = prompt
                ) -> AIMessage:
                    return model.invoke([*prompt, HumanMessage(asked)])

                chain = Found(documents=documents[:found]) | (
                    lambda seen, q=question: f"{seen}{q}"
                )
                chain = chain | ask
                prompt.append(HumanMessage(question))
                config: Any = {"callbacks": [ledger]}
                prompt.append(chain.invoke(question, config))
        seen = what_if(
            ledger,
            cheap=CHEAP,
            acceptance=acceptance,
            output_cap=output_cap,
            max_docs=max_docs,
            max_doc_tokens=5,
            memory_tokens=300,
            keep_tokens=50,
            max_summary_tokens=30,
            embeddings=TOPICS,
        )
        usage = ledger.totals().usage
    for lever in seen.levers:
        assert 0 <= lever.added.dollars <= lever.alone.dollars <= seen.spent
        assert 0 <= lever.added.tokens <= lever.alone.tokens <= usage.total
    assert seen.together.dollars <= seen.spent
    assert seen.together.tokens <= seen.tokens == usage.total
    assert seen.together.dollars == sum(lever.added.dollars for lever in seen.levers)
    assert seen.together.tokens == sum(lever.added.tokens for lever in seen.levers)
    assert seen.together.dollars >= max(e.alone.dollars for e in seen.levers)
    assert max(e.alone.calls for e in seen.levers) <= seen.calls
    assert seen.together.calls <= seen.calls


def test_a_usage_without_a_prompt_is_no_obstacle(ledger: TokenLedger) -> None:
    ledger.record(model=MODEL, usage=TokenUsage(input=100, output=10))
    found = what_if(ledger, cheap=CHEAP, acceptance=1.0, embeddings=TOPICS)
    assert found.calls == 1
    assert found["cheap first"].alone.dollars == Decimal("0.0018")
