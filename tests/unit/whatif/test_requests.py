"""Whole requests: what a cache would have answered, and a cheaper model."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableLambda

from langchain_lean import EscalationRouter, TokenLedger, TokenUsage, track
from langchain_lean.errors import UnpricedModelError
from langchain_lean.routing.policies import AnswerChecks
from langchain_lean.testing import ScriptedChatModel
from langchain_lean.whatif import what_if
from tests.unit.whatif.conftest import CHEAP, MODEL, PROVIDER, TEXTS, Ask, Topics

Model = Callable[..., ScriptedChatModel]
Ledgers = Callable[..., TokenLedger]

TOPICS = Topics()
CALL = {"name": "look_up", "args": {"city": "Rome"}, "id": "1"}


def costs(ledger: TokenLedger) -> list[Decimal]:
    """What each call cost, the oldest first."""
    return [entry.cost.total for entry in ledger.entries() if entry.cost]


@TEXTS
async def test_the_same_request_again_costs_nothing(
    make_ledger: Ledgers, model: Model, ask: Ask, keep_text: bool
) -> None:
    ledger = make_ledger(keep_text)
    asked = ["Where is Rome?", "Where is Bonn?", "Where is Rome?"]
    await ask(model("In Italy, as far as I know."), asked, {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)["exact cache"]
    assert found.alone.dollars == costs(ledger)[2]
    assert found.alone.tokens == list(ledger.entries())[2].usage.total
    assert (found.alone.calls, found.sure) == (1, "simulated")


def test_what_a_cache_looks_at_and_nothing_recorded_tells_is_said(
    ledger: TokenLedger, model: Model
) -> None:
    model().invoke("Where is Rome?", {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)
    for name in ("exact cache", "semantic cache"):
        assert "temperature above 0" in found[name].assumption
        assert "answers ended by themselves" in found[name].assumption


@pytest.mark.parametrize(("first", "hits"), [("whole", 1), ("closed", 0)])
def test_a_stream_that_was_closed_early_leaves_nothing_to_give_again(
    ledger: TokenLedger, model: Model, first: str, hits: int
) -> None:
    config: Any = {"callbacks": [ledger]}
    answering = model("In Italy, as far as I know.")
    stream = answering.stream("Where is Rome?", config)
    if first == "whole":
        list(stream)
    else:
        next(stream)
        stream.close()
    answering.invoke("Where is Rome?", config)
    found = what_if(ledger, embeddings=TOPICS)["exact cache"]
    assert found.alone.calls == hits


@pytest.mark.parametrize(("tool_calls", "hits"), [(False, 0), (True, 1)])
def test_an_answer_that_calls_tools_is_kept_where_that_is_asked_for(
    ledger: TokenLedger, model: Model, tool_calls: bool, hits: int
) -> None:
    for _ in range(2):
        calling = model(AIMessage("Let me see.", tool_calls=[CALL]))
        calling.invoke("Where is Rome?", {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS, tool_calls=tool_calls)
    assert found["exact cache"].alone.calls == hits


@pytest.mark.parametrize(
    ("block", "hits"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAA"}}, 0),
        ({"type": "text", "text": "As in [image] 1."}, 1),
    ],
)
def test_pictures_cannot_be_told_apart_and_are_left_out(
    ledger: TokenLedger, model: Model, block: dict[str, Any], hits: int
) -> None:
    prompt = [HumanMessage([{"type": "text", "text": "What is this?"}, block])]
    for _ in range(2):
        model().invoke(prompt, {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)["exact cache"]
    assert found.alone.calls == hits
    left_out = "2 requests with pictures or other media left out"
    assert (left_out in found.details) == (not hits)


def test_pictures_that_a_provider_counted_are_seen_without_texts(
    make_ledger: Ledgers, model: Model
) -> None:
    usage: Any = {"input_tokens": 300, "output_tokens": 5, "total_tokens": 305}
    usage["input_token_details"] = {"image": 258}
    ledger = make_ledger(keep_text=False)
    for _ in range(2):
        seen = AIMessage("A cat.", usage_metadata=usage)
        model(seen).invoke("What is this?", {"callbacks": [ledger]})
    assert not what_if(ledger)["exact cache"].alone.calls


def test_calls_recorded_by_hand_have_no_prompt_that_could_be_the_same(
    ledger: TokenLedger,
) -> None:
    for _ in range(2):
        ledger.record(model=MODEL, usage=TokenUsage(input=100, output=10))
    assert not what_if(ledger, embeddings=TOPICS)["exact cache"].alone.calls


def test_other_turns_before_it_make_it_another_request(
    ledger: TokenLedger, model: Model
) -> None:
    question = HumanMessage("Where is Rome?")
    chat = [HumanMessage("Hello"), AIMessage("Hello."), question]
    for prompt in ([question], chat):
        model().invoke(prompt, {"callbacks": [ledger]})
    assert not what_if(ledger, embeddings=TOPICS)["exact cache"].alone.calls


async def test_a_question_in_other_words_is_found_by_its_embedding(
    ledger: TokenLedger, model: Model, ask: Ask
) -> None:
    asked = ["Tell me where I find Rome", "In which country is Rome", "And Bonn"]
    await ask(model(), asked, {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)["semantic cache"]
    assert found.alone.dollars == costs(ledger)[1]
    assert found.sure == "simulated"


def test_vetoes_hold_as_in_the_cache(ledger: TokenLedger, model: Model) -> None:
    for question in ("Who ruled in 1848 in Rome", "Who ruled in 1849 in Rome"):
        model().invoke(question, {"callbacks": [ledger]})
    assert not what_if(ledger, embeddings=TOPICS)["semantic cache"].alone.calls


def test_a_threshold_decides_what_is_close_enough(
    ledger: TokenLedger, model: Model
) -> None:
    class Alike(Topics):
        def embed_query(self, text: str) -> list[float]:
            return [1.0, 0.6 if "find" in text else 0.0]

    for question in ("Where do I find Rome", "In which country is Rome"):
        model().invoke(question, {"callbacks": [ledger]})

    def hits(**options: Any) -> int:
        found = what_if(ledger, embeddings=Alike(), **options)
        return found["semantic cache"].alone.calls

    assert (hits(), hits(threshold=0.8)) == (0, 1)


def test_the_same_words_in_other_letters_are_the_same_at_any_threshold(
    ledger: TokenLedger, model: Model
) -> None:
    class Apart(Topics):
        def embed_query(self, text: str) -> list[float]:
            return [1.0, 0.9 if text.isupper() else 0.0]

    for question in ("Where is Rome?", "WHERE IS ROME"):
        model().invoke(question, {"callbacks": [ledger]})
    assert what_if(ledger, embeddings=Apart())["semantic cache"].alone.calls == 1


@pytest.mark.parametrize(("tenant_by", "hits"), [(None, 1), ("user_id", 0)])
def test_tenants_are_given_no_answers_of_others(
    ledger: TokenLedger, model: Model, tenant_by: str | None, hits: int
) -> None:
    for user in ("ada", "bob"):
        config = {"callbacks": [ledger], "metadata": {"user_id": user}}
        model().invoke("Where is Rome?", config)
    found = what_if(ledger, embeddings=TOPICS, tenant_by=tenant_by)
    assert found["exact cache"].alone.calls == hits


@TEXTS
@pytest.mark.parametrize(("tool_calls", "calls"), [(False, 0), (True, 2)])
def test_answers_that_rest_on_tools_are_kept_where_that_is_asked_for(
    make_ledger: Ledgers, model: Model, keep_text: bool, tool_calls: bool, calls: int
) -> None:
    ledger = make_ledger(keep_text)
    agent = model(AIMessage("", tool_calls=[CALL]), "In Italy.")

    def run(question: str) -> None:
        chat: list[Any] = [HumanMessage(question)]
        chat.append(agent.invoke(chat))
        agent.invoke([*chat, ToolMessage("Italy", tool_call_id="1")])

    for _ in range(2):
        RunnableLambda(run).invoke("Where is Rome?", {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS, tool_calls=tool_calls)
    assert found["exact cache"].alone.calls == calls
    assert found.requests == 2


def test_of_a_run_that_asks_several_things_all_must_be_the_same(
    ledger: TokenLedger, model: Model
) -> None:
    def run(questions: list[str]) -> None:
        for question in questions:
            model().invoke(question)

    runs = [["Where is Rome?", "And Bonn?"], ["Where is Rome?", "And Oslo?"]]
    for questions in [*runs, runs[0]]:
        RunnableLambda(run).invoke(questions, {"callbacks": [ledger]})
    found = what_if(ledger, embeddings=TOPICS)["exact cache"]
    assert found.alone.calls == 2
    assert found.alone.dollars == sum(costs(ledger)[4:])


def test_a_cheap_model_answers_first_at_its_own_price(
    ledger: TokenLedger, model: Model
) -> None:
    model().invoke("Where is Rome?", {"callbacks": [ledger]})
    found = what_if(ledger, cheap=CHEAP, acceptance=0.7, embeddings=TOPICS)
    [cost] = costs(ledger)
    assert found["cheap first"].alone.dollars == cost * Decimal("0.6")  # 0.7 - 0.1
    assert found["cheap first"].alone.tokens == 0
    assert found["cheap first"].sure == "assumed"


def test_a_cheap_model_that_is_hardly_ever_right_saves_nothing(
    ledger: TokenLedger, model: Model
) -> None:
    model().invoke("Where is Rome?", {"callbacks": [ledger]})
    found = what_if(ledger, cheap=CHEAP, acceptance=0.05, embeddings=TOPICS)
    assert found["cheap first"].alone.dollars == 0


def test_calls_that_are_cheap_already_are_left_to_their_model(
    ledger: TokenLedger, model: Model
) -> None:
    for name in (MODEL, CHEAP):
        model(model_name=name).invoke("Where is Rome?", {"callbacks": [ledger]})
    found = what_if(ledger, cheap=CHEAP, acceptance=0.7, embeddings=TOPICS)
    assert found["cheap first"].alone.calls == 1
    assert found["cheap first"].alone.dollars == costs(ledger)[0] * Decimal("0.6")


async def test_what_a_router_accepted_is_the_default(
    ledger: TokenLedger, model: Model, ask: Ask
) -> None:
    cheap = model("Paris it is.", "I do not know.", model_name=CHEAP)
    models = {"cheap": cheap, "strong": model("Rome.")}
    router = EscalationRouter(models, policy=AnswerChecks())
    with track(ledger):
        await ask(router, [[HumanMessage("Where?")]] * 4, {})
    found = what_if(ledger, cheap=CHEAP, embeddings=TOPICS)["cheap first"]
    assert "50 % of" in found.assumption
    assert found.details == ("as seen on 4 answers",)


def test_nothing_is_claimed_for_a_cheap_model_nobody_has_seen(
    ledger: TokenLedger, model: Model
) -> None:
    model().invoke("Where is Rome?", {"callbacks": [ledger]})
    unseen = what_if(ledger, cheap=(CHEAP, PROVIDER), embeddings=TOPICS).missing
    assert "give acceptance=" in unseen["cheap first"]
    none = what_if(ledger, embeddings=TOPICS).missing
    assert "give cheap=" in none["cheap first"]
    with pytest.raises(UnpricedModelError):
        what_if(ledger, cheap="my-own", acceptance=0.5, embeddings=TOPICS)


def test_calls_that_cost_nothing_and_those_of_levers_are_not_the_applications(
    ledger: TokenLedger, model: Model
) -> None:
    config = {"callbacks": [ledger]}
    model().invoke("Where is Rome?", config)
    with pytest.raises(ValueError, match="broken"):
        model(ValueError("broken")).invoke("Where is Rome?", config)
    usage = TokenUsage(input=1_000, output=1_000)
    ledger.record(model=MODEL, usage=usage, source="memory")
    found = what_if(ledger, cheap=CHEAP, acceptance=1.0, embeddings=TOPICS)
    assert (found.calls, found.requests) == (1, 1)
    assert found.spent == sum(costs(ledger))
    assert found["cheap first"].alone.dollars == costs(ledger)[0] * Decimal("0.9")


def test_the_system_prompt_is_part_of_a_request(
    ledger: TokenLedger, model: Model
) -> None:
    for rules in ("Be brief.", "Be long."):
        prompt = [SystemMessage(rules), HumanMessage("Where is Rome?")]
        model().invoke(prompt, {"callbacks": [ledger]})
    assert not what_if(ledger, embeddings=TOPICS)["exact cache"].alone.calls
