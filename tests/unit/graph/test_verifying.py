"""Drafts in the lean graph: who sees them, who answers instead, what it costs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph

from langchain_lean import EscalationRouter, TokenLedger
from langchain_lean import track as tracked
from langchain_lean.errors import ConfigurationError
from langchain_lean.graph import LeanState
from langchain_lean.routing.policies import (
    AnswerChecks,
    EscalationPolicy,
    SelfScreen,
    Verdict,
)
from langchain_lean.routing.router import RouteState
from tests.unit.graph.desks import (
    CHEAP,
    ESCALATE,
    HARD,
    HELLO,
    PARCEL,
    STRONG,
    Call,
    ask,
    both,
    calls_tool,
    cheap_model,
    desk,
    every_form,
    said,
    shown,
    stand_in,
    track,
)

MODES = ["messages", "updates", "values", "custom"]


class Never(EscalationPolicy):
    """Finds no draft good enough."""

    def judge(self, messages: Any, answer: Any) -> Verdict:
        return Verdict(True, 0.1, "it is a draft")


class First(EscalationPolicy):
    """Has the strong model answer at once."""

    def screen(self, messages: Any) -> Verdict:
        return Verdict(True, None, "it looks hard")


class TestWhoAnswers:
    @every_form
    def test_a_draft_that_asks_for_more_is_answered_by_the_strong_model(
        self, call: Call
    ) -> None:
        state = ask(call, desk(), HARD)
        assert said(state) == STRONG
        assert [m.type for m in state["messages"]] == ["human", "ai"]
        assert state["route"]["escalated"]
        assert state["draft"] is None

    @every_form
    def test_a_policy_of_your_own_judges_the_draft(self, call: Call) -> None:
        state = ask(call, desk(verify=Never()), HELLO)
        assert said(state) == STRONG
        assert state["route"]["reason"] == "it is a draft"

    @both
    def test_a_policy_that_screens_spares_the_draft(self, call: Call) -> None:
        cheap = cheap_model()
        assert said(ask(call, desk(cheap=cheap, verify=First()), HELLO)) == STRONG
        assert cheap.calls == []

    @both
    def test_the_strong_model_goes_on_behind_the_tools_it_called(
        self, call: Call
    ) -> None:
        cheap = cheap_model(ESCALATE)
        strong = stand_in(calls_tool(), STRONG)
        state = ask(call, desk(cheap=cheap, strong=strong, tools=[track]), PARCEL)
        assert [m.type for m in state["messages"]] == ["human", "ai", "tool", "ai"]
        assert said(state) == STRONG
        assert (len(cheap.calls), len(strong.calls)) == (1, 2)

    @both
    def test_the_last_answer_behind_tools_may_be_the_strong_models(
        self, call: Call
    ) -> None:
        cheap = cheap_model(calls_tool(), ESCALATE)
        strong = stand_in(STRONG)
        graph = desk(cheap=cheap, strong=strong, tools=[track], final="strong")
        state = ask(call, graph, PARCEL)
        assert said(state) == STRONG
        assert (len(cheap.calls), len(strong.calls)) == (2, 1)
        assert state["route"]["reason"] == "the cheap model needs no more tools"

    @both
    def test_and_is_so_whatever_the_cheap_one_says(self, call: Call) -> None:
        graph = desk(tools=[track], final="strong")
        assert said(ask(call, graph, PARCEL)) == STRONG
        assert said(ask(call, graph, HELLO)) == CHEAP


class TestStreams:
    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_draft_is_shown_while_it_is_written_where_that_can_be_told(
        self, is_async: bool
    ) -> None:
        pieces = shown(desk(), HELLO, is_async=is_async)
        assert "".join(pieces) == CHEAP
        assert len(pieces) == len(CHEAP.split())

    @pytest.mark.parametrize("is_async", [False, True])
    def test_else_it_is_shown_in_pieces_once_it_is_verified(
        self, is_async: bool
    ) -> None:
        pieces = shown(desk(verify=AnswerChecks()), HELLO, is_async=is_async)
        assert "".join(pieces) == CHEAP
        assert len(pieces) > 1

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("policy", [SelfScreen(), Never()])
    def test_the_strong_models_answer_is_shown_word_by_word(
        self, policy: EscalationPolicy, is_async: bool
    ) -> None:
        pieces = shown(desk(verify=policy), HARD, is_async=is_async)
        assert "".join(pieces) == STRONG
        assert len(pieces) == len(STRONG.split())

    def test_a_rejected_draft_is_in_no_answer_of_a_stream(self) -> None:
        secret = "A draft that nobody is to see."
        graph = desk(cheap=cheap_model(secret), verify=Never())
        given = {"messages": [HELLO]}
        messages = [m for m, _ in graph.stream(given, stream_mode="messages")]
        assert secret not in str(messages)
        for state in graph.stream(given, stream_mode="values"):
            assert secret not in str(state["messages"])

    def test_every_node_is_told_of_in_its_turn(self) -> None:
        updates = desk(tools=[track]).stream({"messages": [PARCEL]})
        nodes = [name for update in updates for name in update]
        assert nodes == ["agent", "tools", "agent", "verify", "answer"]


class TestCosts:
    @both
    @pytest.mark.parametrize("question", [HELLO, HARD])
    @pytest.mark.parametrize("policy", [SelfScreen(), AnswerChecks(), Never(), First()])
    def test_drafting_verifying_and_answering_apart_comes_to_what_one_router_does(
        self, call: Call, question: str, policy: EscalationPolicy
    ) -> None:
        apart, whole = TokenLedger(), TokenLedger()
        with tracked(apart):
            one = ask(call, desk(verify=policy), question)
        models = {"cheap": cheap_model(), "strong": stand_in(STRONG)}
        builder: Any = StateGraph(RouteState)
        builder.add_node("answer", EscalationRouter(models, policy=policy))
        builder.add_edge(START, "answer")
        with tracked(whole):
            other = ask(call, builder.compile(), question)
        assert said(one) == said(other)
        assert one["route"] == other["route"]
        assert figures(apart) == figures(whole)

    @both
    def test_a_tool_that_nobody_has_is_not_called(self, call: Call) -> None:
        state = ask(call, desk(cheap=cheap_model(calls_tool())), PARCEL)
        assert [m.type for m in state["messages"]] == ["human", "ai"]

    @both
    def test_a_draft_that_calls_tools_costs_no_decision(self, call: Call) -> None:
        state = ask(call, desk(tools=[track]), PARCEL)
        for message in state["messages"]:
            for done in message.response_metadata.get("lean", []):
                if done["lever"] == "routing":
                    assert done["route"]["decision_usd"] == "0"


class TestCheckpoints:
    @both
    def test_a_draft_is_kept_by_a_strict_checkpointer(self, call: Call) -> None:
        serde = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)
        graph = desk(verify=Never(), checkpointer=InMemorySaver(serde=serde))
        graph.interrupt_before_nodes = ["answer"]
        config = {"configurable": {"thread_id": "1"}}
        call(graph, {"messages": [HELLO]}, config)
        draft = graph.get_state(config).values["draft"]
        assert (draft["status"], draft["answer"].text) == ("rejected", CHEAP)
        assert Decimal(draft["answer_usd"]) > 0
        assert said(call(graph, None, config)) == STRONG

    def test_the_state_names_all_that_the_nodes_write(self) -> None:
        names = {"messages", "route", "need", "documents", "draft", "short_messages"}
        assert set(LeanState.__annotations__) == names


def figures(ledger: TokenLedger) -> Any:
    """What calls cost by source, and what the router saved."""
    savings = ledger.savings()
    by_source = {
        source: (totals.calls, totals.usage, totals.cost)
        for source, totals in ledger.totals(by="source").items()
    }
    saved = {name: lever.counterfactual for name, lever in savings.levers.items()}
    return by_source, saved, savings.own_cost


class TestDraftsThatAreFinal:
    @pytest.mark.parametrize("is_async", [False, True])
    def test_an_answer_that_calls_a_tool_nobody_has_is_shown_once(
        self, is_async: bool
    ) -> None:
        called = calls_tool().model_copy(update={"content": "I look it up."})
        graph = desk(cheap=cheap_model(called))
        assert "".join(shown(graph, PARCEL, is_async=is_async)) == "I look it up."

    @both
    def test_the_parts_of_a_router_pass_it_on_as_it_is(self, call: Call) -> None:
        models = {"cheap": cheap_model(calls_tool()), "strong": stand_in(STRONG)}
        parts = EscalationRouter(models, policy=SelfScreen()).bind_tools([track]).parts
        draft = call(parts.draft, PARCEL)
        given = {"messages": PARCEL, "draft": draft}
        given["draft"] = call(parts.verify, given)
        answer = call(parts.answer, given)
        assert answer == draft["answer"]
        assert len(answer.response_metadata["lean"]) == 1

    @both
    def test_a_policy_that_breaks_leaves_the_draft_to_the_routers_own_cost(
        self, call: Call
    ) -> None:
        class Broken(EscalationPolicy):
            def judge(self, messages: Any, answer: Any) -> Any:
                return "no verdict"

        ledger = TokenLedger()
        with tracked(ledger), pytest.raises(ConfigurationError):
            ask(call, desk(verify=Broken()), HELLO)
        assert [entry.source for entry in ledger.entries()] == ["routing"]

    @both
    def test_a_replay_claims_no_saving_again(self, call: Call) -> None:
        graph = desk(checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "1"}}
        ledger = TokenLedger()
        with tracked(ledger):
            call(graph, {"messages": [HELLO]}, config)
            before = next(
                state
                for state in graph.get_state_history(config)
                if state.next == ("answer",)
            )
            call(graph, None, before.config)
        assert ledger.savings().levers["routing"].count == 1
