"""A router as a node of a graph and in a chain: who answers, and what it says of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.messages.tool import tool_call
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    StepCap,
    TokenLedger,
    TokenUsage,
)
from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.combined import any_of
from langchain_lean.routing.router import EscalationRouter, RouteState
from langchain_lean.routing.self_screen import SelfScreen
from langchain_lean.routing.verdict import EscalationPolicy, Verdict
from langchain_lean.testing import ScriptedChatModel
from tests.unit.routing.ladders import (
    ASKED,
    BAD,
    CHEAP,
    GOOD,
    STRONG,
    Bad,
    Fails,
    Run,
    Screen,
    both,
    calls,
    graph,
    lean,
    model,
    router,
)

PROMPT = ChatPromptTemplate([("human", "{question}")])


@tool
def look_up(topic: str) -> str:
    """Look something up."""
    return f"All about {topic}."


def calling(number: int = 1) -> AIMessage:
    call = tool_call(name="look_up", args={"topic": "it"}, id=f"call-{number}")
    return AIMessage("", tool_calls=[call])


def agent(asked: EscalationRouter, **options: Any) -> Any:
    """An agent whose model is a router."""
    builder = StateGraph(RouteState)
    builder.add_node("agent", asked.bind_tools([look_up]))
    builder.add_node("tools", ToolNode([look_up]))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile(**options)


class TestWhoAnswers:
    @both
    async def test_a_good_cheap_answer_stands(self, run: Run) -> None:
        asked = router(GOOD)
        state = await run(graph(asked), {"messages": ASKED}, None)
        assert state["messages"][-1].text == GOOD
        assert calls(asked) == {"haiku": 1, "sonnet": 0}
        assert state["route"] == {
            "model": "haiku",
            "escalated": False,
            "reason": "it is good",
            "verdicts": [
                {
                    "model": "haiku",
                    "question": "judge",
                    "policy": "Bad",
                    "escalate": False,
                    "score": 0.9,
                    "reason": "it is good",
                }
            ],
            "decision_usd": "0",
        }

    @both
    async def test_a_bad_one_is_replaced_by_the_strong_answer(self, run: Run) -> None:
        asked = router(BAD)
        state = await run(graph(asked), {"messages": ASKED}, None)
        assert [m.text for m in state["messages"]] == ["Why?", "The strong answer."]
        route = state["route"]
        assert (route["model"], route["escalated"]) == ("sonnet", True)
        assert route["reason"] == "it is bad"
        assert Decimal(route["decision_usd"]) > 0

    @both
    async def test_a_screened_request_never_sees_the_cheap_model(
        self, run: Run
    ) -> None:
        asked = router(policy=Screen(True))
        state = await run(graph(asked), {"messages": ASKED}, None)
        assert calls(asked) == {"haiku": 0, "sonnet": 1}
        assert state["route"]["verdicts"][0]["question"] == "screen"
        assert state["route"]["escalated"]

    @both
    async def test_a_screen_that_lets_pass_leaves_it_to_the_cheap_model(
        self, run: Run
    ) -> None:
        asked = router(BAD, policy=Screen(False))
        state = await run(graph(asked), {"messages": ASKED}, None)
        assert state["messages"][-1].text == BAD
        assert state["route"]["reason"] == "it was screened"

    def test_a_ladder_is_climbed_rung_by_rung(self) -> None:
        models = {
            "small": model(BAD),
            "middle": model("As bad."),
            "large": model("The last word.", name=STRONG),
        }
        asked = EscalationRouter(models, policy=Bad())
        state = graph(asked).invoke({"messages": ASKED})
        assert state["messages"][-1].text == "The last word."
        judged = [row["model"] for row in state["route"]["verdicts"]]
        assert judged == ["small", "middle"]

    def test_a_ladder_is_climbed_no_further_than_needed(self) -> None:
        models = {"small": model(BAD), "middle": model(GOOD), "large": model("?")}
        asked = EscalationRouter(models, policy=Bad())
        state = graph(asked).invoke({"messages": ASKED})
        assert state["route"]["model"] == "middle"
        assert calls(asked) == {"small": 1, "middle": 1, "large": 0}

    def test_the_strongest_answer_is_not_judged(self) -> None:
        state = graph(router(BAD, "As bad.")).invoke({"messages": ASKED})
        assert state["messages"][-1].text == "As bad."
        assert len(state["route"]["verdicts"]) == 1

    def test_a_policy_without_an_opinion_lets_the_answer_stand(self) -> None:
        state = graph(router(BAD, policy=EscalationPolicy())).invoke(
            {"messages": ASKED}
        )
        assert state["route"]["model"] == "haiku"
        assert state["route"]["reason"] == "the policy had no opinion"

    def test_models_are_asked_what_the_state_holds(self) -> None:
        cheap, strong = model(BAD), model("So.", name=STRONG)
        system = SystemMessage("Be brief.", id="system")
        graph(router(cheap, strong)).invoke({"messages": [system, *ASKED]})
        for asked in (cheap, strong):
            assert list(asked.calls[0].messages) == [system, *ASKED]

    def test_models_that_keep_a_budget_can_be_on_the_ladder(self) -> None:
        guard = BudgetGuard(Budget(calls=5, per="total"))
        asked = router(guard.model(model(BAD)), guard.model(model("So.", name=STRONG)))
        assert asked.invoke("Why?").text == "So."
        assert guard.status()[0].used == 2


class TestWhatItSays:
    def test_the_route_stands_on_the_answer_too(self) -> None:
        state = graph(router(BAD)).invoke({"messages": ASKED})
        [noted] = lean(state["messages"][-1])
        assert noted["lever"] == "routing"
        assert noted["action"] == "escalated"
        assert noted["reason"] == "it is bad"
        assert noted["route"] == state["route"]

    def test_the_route_stands_on_the_answer_where_the_state_has_no_key(self) -> None:
        state = graph(router(BAD), MessagesState).invoke({"messages": ASKED})
        assert lean(state["messages"][-1])[0]["route"]["model"] == "sonnet"

    def test_a_route_is_plain_values(self) -> None:
        route = graph(router(BAD)).invoke({"messages": ASKED})["route"]
        assert json.loads(json.dumps(route)) == route
        serde = JsonPlusSerializer(pickle_fallback=False)
        assert serde.loads_typed(serde.dumps_typed(route)) == route

    def test_notes_do_not_pile_up_on_an_answer_from_a_cache(self) -> None:
        set_llm_cache(InMemoryCache())
        try:
            asked = router(GOOD)
            answers = [asked.invoke("Why?") for _ in range(3)]
        finally:
            set_llm_cache(None)
        assert [len(lean(answer)) for answer in answers] == [1, 1, 1]

    def test_what_others_noted_stays(self) -> None:
        noted = {"lever": "budget", "action": "trim", "reason": "one turn"}
        cheap = model(AIMessage(GOOD, response_metadata={"lean": [noted]}))
        assert [n["lever"] for n in lean(router(cheap).invoke("Why?"))] == [
            "budget",
            "routing",
        ]

    def test_the_decision_costs_what_was_rejected_and_what_decided(self) -> None:
        ledger = TokenLedger()
        asked = router(BAD)
        state = graph(asked).invoke({"messages": ASKED}, {"callbacks": [ledger]})
        rejected = ledger.totals(by="source")["routing"]
        assert Decimal(state["route"]["decision_usd"]) == rejected.cost

    def test_a_cost_that_is_not_known_is_none(self) -> None:
        cheap = model(BAD, name="my-own-model")
        state = graph(router(cheap)).invoke({"messages": ASKED})
        assert state["route"]["decision_usd"] is None


class TestForms:
    @both
    async def test_in_a_chain_it_takes_and_gives_what_a_model_does(
        self, run: Run
    ) -> None:
        answer = await run(PROMPT | router(BAD), {"question": "Why?"}, None)
        assert isinstance(answer, AIMessage)
        assert answer.text == "The strong answer."

    @pytest.mark.parametrize(
        "given", ["Why?", ASKED, PROMPT.invoke({"question": "Why?"}), [("user", "Hm?")]]
    )
    def test_it_takes_every_kind_of_prompt(self, given: Any) -> None:
        assert router(GOOD).invoke(given).text == GOOD

    def test_states_of_every_kind_are_read(self) -> None:
        class Model(BaseModel):
            messages: list[AnyMessage]

        @dataclass
        class Data:
            messages: list[AnyMessage] = field(default_factory=list)

        for state in ({"messages": ASKED}, Model(messages=ASKED), Data(ASKED)):
            assert router(GOOD).invoke(state)["messages"][0].text == GOOD

    def test_messages_may_have_another_key(self) -> None:
        asked = router(GOOD, messages_key="chat")
        update = asked.invoke({"chat": ASKED})
        assert set(update) == {"chat", "route"}

    def test_options_of_a_call_reach_the_models(self) -> None:
        cheap = model(GOOD)
        router(cheap).invoke("Why?", stop=["!"])
        assert cheap.calls[0].kwargs["stop"] == ["!"]

    @both
    async def test_a_batch_answers_each(self, run: Run) -> None:
        answers = router(BAD).batch(["Why?", "How?"])
        answers += await router(BAD).abatch(["Why?", "How?"])
        assert [answer.text for answer in answers] == ["The strong answer."] * 4

    def test_in_a_sub_graph(self) -> None:
        inner = graph(router(BAD))
        outer = graph(inner)
        state = outer.invoke({"messages": ASKED})
        assert state["route"]["model"] == "sonnet"

    def test_nodes_of_your_own_answer_behind_a_screen(self) -> None:
        for escalate, name in ((False, "haiku"), (True, "sonnet")):
            asked = router(policy=Screen(escalate))
            builder = StateGraph(RouteState)
            builder.add_node("screen", asked.screen)
            for node in asked.models:
                said = {"messages": [AIMessage(f"It is {node}.")]}
                builder.add_node(node, lambda state, said=said: said)
            builder.add_edge(START, "screen")
            builder.add_conditional_edges("screen", asked.route, list(asked.models))
            state = builder.compile().invoke({"messages": ASKED})
            assert state["messages"][-1].text == f"It is {name}."
            assert state["route"]["model"] == name
            assert state["route"]["escalated"] == escalate

    def test_a_screen_is_as_sticky_as_its_router(self) -> None:
        for sticky, name in ((False, "haiku"), (True, "sonnet")):
            asked = router(policy=Screen(False), sticky=sticky)
            state = {"messages": ASKED, "route": {"model": "sonnet"}}
            assert asked.screen.invoke(state)["route"]["model"] == name

    def test_a_screen_leaves_the_steps_of_a_turn_to_one_model(self) -> None:
        state = {"messages": [*ASKED, calling()], "route": {"model": "sonnet"}}
        update = router(policy=Screen(False)).screen.invoke(state)
        assert update["route"]["model"] == "sonnet"
        assert update["route"]["reason"] == "it answered the step before"

    async def test_a_screen_has_an_async_form(self) -> None:
        class Async(Screen):
            async def ascreen(self, messages: Sequence[BaseMessage]) -> Verdict:
                return Verdict(True, None, "asked in asyncio")

        asked = router(policy=Async(False))
        update = await asked.screen.ainvoke({"messages": ASKED})
        assert update["route"]["reason"] == "asked in asyncio"
        assert asked.screen.invoke({"messages": ASKED})["route"]["model"] == "haiku"


class TestSchemas:
    def test_a_graph_with_a_route_has_schemas(self) -> None:
        asked = graph(router())
        assert "route" in asked.get_output_jsonschema()["properties"]
        assert asked.get_input_jsonschema()

    def test_two_routers_may_answer_at_once(self) -> None:
        builder = StateGraph(RouteState)
        builder.add_node("one", router(GOOD))
        builder.add_node("other", router(BAD))
        builder.add_edge(START, "one")
        builder.add_edge(START, "other")
        state = builder.compile().invoke({"messages": ASKED})
        assert len(state["messages"]) == 3
        assert state["route"]["model"] in ("haiku", "sonnet")

    def test_an_edge_reads_states_that_are_objects(self) -> None:
        @dataclass(slots=True)
        class State:
            route: Any

        assert router().route(State({"model": "sonnet"})) == "sonnet"


class TestConversations:
    def test_the_next_turn_begins_with_the_cheap_model_again(self) -> None:
        asked = router(model(BAD, GOOD))
        chat = graph(asked, checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "1"}}
        chat.invoke({"messages": ASKED}, config)
        state = chat.invoke({"messages": [HumanMessage("And now?")]}, config)
        assert state["route"]["model"] == "haiku"

    def test_a_sticky_router_stays_with_the_stronger_model(self) -> None:
        asked = router(model(BAD, GOOD), sticky=True)
        chat = graph(asked, MessagesState, checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "1"}}
        chat.invoke({"messages": ASKED}, config)
        state = chat.invoke({"messages": [HumanMessage("And now?")]}, config)
        [noted] = lean(state["messages"][-1])
        assert noted["route"]["model"] == "sonnet"
        assert noted["reason"] == "it answered before in this conversation"
        assert calls(asked) == {"haiku": 1, "sonnet": 2}

    def test_a_sticky_router_screens_as_long_as_the_cheap_model_answers(self) -> None:
        asked = router(GOOD, policy=Bad(), sticky=True)
        first = asked.invoke(ASKED)
        second = router(BAD, sticky=True).invoke([*ASKED, first, HumanMessage("Hm?")])
        assert lean(second)[0]["route"]["model"] == "sonnet"

    def test_a_sticky_router_forgets_models_it_does_not_have(self) -> None:
        first = router(BAD).invoke(ASKED)
        models = {"small": model(GOOD), "large": model("So.", name=STRONG)}
        asked = EscalationRouter(models, policy=Bad(), sticky=True)
        answer = asked.invoke([*ASKED, first, HumanMessage("Hm?")])
        assert lean(answer)[0]["route"]["model"] == "small"

    @both
    async def test_the_steps_of_a_turn_stay_with_one_model(self, run: Run) -> None:
        strong = model(calling(1), calling(2), "Done.", name=STRONG)
        asked = router(BAD, strong)
        state = await run(agent(asked), {"messages": ASKED}, None)
        assert state["messages"][-1].text == "Done."
        assert calls(asked) == {"haiku": 1, "sonnet": 3}
        assert state["route"]["reason"] == "it answered the step before"

    def test_another_router_of_the_turn_begins_anew(self) -> None:
        builder = StateGraph(RouteState)
        builder.add_sequence([("one", router(BAD)), ("other", router(GOOD))])
        builder.add_edge(START, "one")
        state = builder.compile().invoke({"messages": ASKED})
        assert state["route"]["model"] == "haiku"

    def test_a_tool_call_is_not_judged(self) -> None:
        cheap = model(calling(), "All about bad things.")
        state = agent(router(cheap)).invoke({"messages": ASKED})
        first = lean(state["messages"][1])[0]
        assert first["reason"] == "it calls tools, which is not judged"
        assert state["route"]["model"] == "sonnet"  # the answer after it is

    def test_the_last_answer_of_a_capped_run_is_not_judged(self) -> None:
        cap = StepCap(max_calls=1)
        cheap = model(calling(), "All about bad things.")
        asked = router(cap.model(cheap), cap.model(model("So.", name=STRONG)))
        config = {"callbacks": [cap]}
        state = agent(asked).invoke({"messages": ASKED}, config)
        assert state["messages"][-1].text == "All about bad things."
        said = "it is the last one of a run that reached its step cap"
        assert state["route"]["reason"] == said

    def test_a_policy_may_interrupt_and_the_graph_resumes(self) -> None:
        class Asks(EscalationPolicy):
            def judge(
                self, messages: Sequence[BaseMessage], answer: AIMessage
            ) -> Verdict:
                return Verdict(interrupt("Good enough?") == "no", None, "a person said")

        asked = router(GOOD, policy=Asks())
        chat = graph(asked, checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "1"}}
        assert chat.invoke({"messages": ASKED}, config)["__interrupt__"]
        state = chat.invoke(Command(resume="no"), config)
        assert state["route"]["model"] == "sonnet"
        assert state["route"]["reason"] == "a person said"


class TestTrouble:
    @both
    @pytest.mark.parametrize("error", [TimeoutError("slow Ada"), ValueError("no Ada")])
    async def test_a_policy_that_fails_escalates_and_says_so(
        self, run: Run, error: Exception
    ) -> None:
        state = await run(graph(router(policy=Fails(error))), {"messages": ASKED}, None)
        assert state["route"]["model"] == "sonnet"
        said = f"the policy failed: {type(error).__name__}"
        assert state["route"]["reason"] == said
        assert "Ada" not in str(state["route"])

    def test_a_policy_that_fails_stands_in_the_report(self) -> None:
        ledger = TokenLedger()
        asked = graph(router(policy=Fails(TimeoutError())))
        asked.invoke({"messages": ASKED}, {"callbacks": [ledger]})
        [notice] = ledger.notices()
        assert (notice.lever, notice.action) == ("routing", "escalated")
        assert notice.reason == "the policy failed: TimeoutError"

    def test_a_model_that_fails_fails_the_node(self) -> None:
        cheap = model(ConnectionError("gone"))
        with pytest.raises(ConnectionError, match="gone"):
            graph(router(cheap)).invoke({"messages": ASKED})

    @both
    async def test_a_strong_model_over_budget_leaves_the_cheap_answer(
        self, run: Run
    ) -> None:
        ledger = TokenLedger()
        guard = BudgetGuard(Budget(calls=1, per="run"))
        config = {"callbacks": [ledger, guard]}
        state = await run(graph(router(BAD)), {"messages": ASKED}, config)
        assert state["messages"][-1].text == BAD
        [noted] = lean(state["messages"][-1])
        assert noted["action"] == "kept"
        assert noted["reason"] == "the stronger model was over budget"
        assert state["route"]["model"] == "haiku"
        [notice] = ledger.notices()
        assert (notice.lever, notice.action) == ("routing", "kept")
        assert ledger.savings().levers.get("routing") is None
        assert set(ledger.totals(by="source")) == {None}

    @both
    async def test_a_request_screened_up_over_budget_is_answered_by_the_cheap_model(
        self, run: Run
    ) -> None:
        guard = BudgetGuard(Budget(usd="0.0001", per="run"))
        strong = model("So.", name=STRONG, max_tokens=500)
        cheap = model(GOOD, max_tokens=10)
        asked = router(cheap, strong, policy=Screen(True))
        config = {"callbacks": [guard]}
        state = await run(graph(asked), {"messages": ASKED}, config)
        assert state["messages"][-1].text == GOOD
        assert lean(state["messages"][-1])[0]["action"] == "kept"

    def test_where_no_model_may_be_asked_the_refusal_is_raised(self) -> None:
        guard = BudgetGuard(Budget(calls=0, per="run"))
        for policy in (Bad(), Screen(True)):
            with pytest.raises(BudgetExceededError):
                graph(router(policy=policy)).invoke(
                    {"messages": ASKED}, {"callbacks": [guard]}
                )

    def test_a_mark_is_never_the_answer_over_budget(self) -> None:
        guard = BudgetGuard(Budget(calls=2, per="run"))
        refusing = model(BudgetExceededError, name=STRONG)
        cheap = model("[[ESCALATE]]", "As well as I can.")
        strong = guard_at(refusing)
        asked = router(cheap, strong, policy=SelfScreen())
        state = graph(asked).invoke({"messages": ASKED}, {"callbacks": [guard]})
        assert state["messages"][-1].text == "As well as I can."
        assert cheap.calls[-1].messages == tuple(ASKED)


def guard_at(strong: ScriptedChatModel) -> Any:
    """A model whose budget is used up."""
    return BudgetGuard(Budget(calls=0, per="total")).model(strong)


class TestLedger:
    @both
    async def test_an_answer_that_stands_is_the_applications_with_tools_bound(
        self, run: Run
    ) -> None:
        models = {"cheap": model(GOOD), "strong": model(GOOD, name=STRONG)}
        asked = EscalationRouter(models, policy=Bad()).bind_tools([look_up])
        ledger = TokenLedger()
        await run(asked, ASKED, {"callbacks": [ledger]})
        assert [entry.source for entry in ledger.entries()] == [None]

    def test_a_cheap_answer_saves_the_strong_price_of_its_tokens(self) -> None:
        ledger = TokenLedger()
        graph(router(GOOD)).invoke({"messages": ASKED}, {"callbacks": [ledger]})
        [entry] = ledger.entries()
        cost = ledger.prices.cost
        assert entry.source is None
        saved = cost(entry.usage, STRONG).total - cost(entry.usage, CHEAP).total
        lever = ledger.savings().levers["routing"]
        assert lever.counterfactual == saved > 0
        assert lever.exact == 0
        assert lever.baselines == (f"{STRONG} in as many tokens",)

    @both
    async def test_a_rejected_answer_is_the_routers_own_cost(self, run: Run) -> None:
        ledger = TokenLedger()
        config = {"callbacks": [ledger]}
        await run(graph(router(BAD)), {"messages": ASKED}, config)
        sources = {entry.model: entry.source for entry in ledger.entries()}
        assert sources == {CHEAP: "routing", STRONG: None}
        savings = ledger.savings()
        assert not savings.levers
        assert savings.total == -savings.own_cost["routing"] < 0

    def test_where_the_strong_model_fails_the_rejected_answer_is_its_own_cost_too(
        self,
    ) -> None:
        ledger = TokenLedger()
        asked = graph(router(BAD, model(ConnectionError("gone"), name=STRONG)))
        with pytest.raises(ConnectionError):
            asked.invoke({"messages": ASKED}, {"callbacks": [ledger]})
        sources = {entry.model: entry.source for entry in ledger.entries()}
        assert sources[CHEAP] == "routing"

    def test_the_report_counts_only_answers_that_were_given(self) -> None:
        ledger = TokenLedger()
        asked = graph(router(model(GOOD, BAD, GOOD, GOOD)))
        for _ in range(4):
            asked.invoke({"messages": ASKED}, {"callbacks": [ledger]})
        assert ledger.report().cheapest == 0.75

    def test_what_is_saved_has_the_price_of_its_tier(self) -> None:
        usage: Any = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
        said = AIMessage(
            GOOD, usage_metadata=usage, response_metadata={"service_tier": "flex"}
        )
        models = {
            name: ScriptedChatModel(
                responses=[said], model_name=name, provider="openai"
            )
            for name in ("gpt-5-mini", "gpt-5")
        }
        ledger = TokenLedger()
        asked = EscalationRouter(models, policy=Bad())
        asked.invoke("Why?", {"callbacks": [ledger]})
        [entry] = ledger.entries()
        assert entry.usage.service_tier == "flex"
        cost = ledger.prices.cost
        saved = cost(entry.usage, "gpt-5").total - cost(entry.usage, "gpt-5-mini").total
        assert ledger.savings().levers["routing"].counterfactual == saved

    def test_a_prompt_of_sounds_is_answered_and_counted(self) -> None:
        usage: Any = {
            "input_tokens": 60,
            "output_tokens": 4,
            "total_tokens": 64,
            "input_token_details": {"audio": 55},
        }
        ledger = TokenLedger()
        cheap = model(AIMessage(GOOD, usage_metadata=usage))
        asked = router(cheap, policy=SelfScreen())
        assert asked.invoke("Why?", {"callbacks": [ledger]}).text == GOOD
        assert ledger.savings().levers["routing"].count == 1

    def test_a_dearer_fallback_saves_nothing(self) -> None:
        ledger = TokenLedger()
        fails, opus = (
            model(ConnectionError("gone")),
            model(GOOD, name="claude-opus-4-1"),
        )
        asked = router(fails.with_fallbacks([opus]))
        graph(asked).invoke({"messages": ASKED}, {"callbacks": [ledger]})
        assert ledger.savings().levers["routing"].counterfactual < 0

    def test_models_of_two_providers_are_priced_each_by_its_own(self) -> None:
        ledger = TokenLedger()
        cheap = ScriptedChatModel(
            responses=[GOOD], model_name="gpt-5-mini", provider="openai"
        )
        graph(router(cheap)).invoke({"messages": ASKED}, {"callbacks": [ledger]})
        [entry] = ledger.entries()
        cost = ledger.prices.cost
        saved = cost(entry.usage, STRONG).total - cost(entry.usage, "gpt-5-mini").total
        assert ledger.savings().levers["routing"].counterfactual == saved > 0

    def test_an_answer_from_a_cache_saves_nothing_here(self) -> None:
        ledger = TokenLedger()
        set_llm_cache(InMemoryCache())
        try:
            asked = router(GOOD)
            asked.invoke("Why?")
            asked.invoke("Why?", {"callbacks": [ledger]})
        finally:
            set_llm_cache(None)
        assert set(ledger.savings().levers) == {"cache"}

    def test_what_a_self_screen_adds_is_not_claimed(self) -> None:
        plain, screened = TokenLedger(), TokenLedger()
        router(GOOD).invoke("Why?", {"callbacks": [plain]})
        asked = router(GOOD, policy=SelfScreen())
        asked.invoke("Why?", {"callbacks": [screened]})
        [without], [with_it] = plain.entries(), screened.entries()
        assert with_it.usage.input > without.usage.input + 20
        cost = plain.prices.cost
        spent = cost(with_it.usage, CHEAP).total
        claimed = screened.savings().levers["routing"].counterfactual + spent
        honest = cost(without.usage, STRONG).total
        assert abs(claimed - honest) <= cost(TokenUsage(input=2), STRONG).total


class TestBadInput:
    @pytest.mark.parametrize(
        "models",
        [{}, {"haiku": model(GOOD)}, [model(GOOD), model(GOOD)], model(GOOD)],
    )
    def test_fewer_than_two_models_are_refused(self, models: Any) -> None:
        with pytest.raises(ConfigurationError, match="two models or more by name"):
            EscalationRouter(models, policy=Bad())

    @pytest.mark.parametrize("name", ["", 1, None])
    def test_a_name_that_is_none_is_refused(self, name: Any) -> None:
        with pytest.raises(ConfigurationError, match="names that are texts"):
            EscalationRouter({name: model(GOOD), "b": model(GOOD)}, policy=Bad())

    def test_what_is_no_chat_model_is_refused(self) -> None:
        models: Any = {"a": model(GOOD), "b": len}
        with pytest.raises(ConfigurationError, match="takes a chat model"):
            EscalationRouter(models, policy=Bad())

    @pytest.mark.parametrize("name", ["nonsense", "nobody:model", "mistralai:any"])
    def test_a_name_of_no_model_is_an_error(self, name: str) -> None:
        said = f"'{name}' cannot be made a chat model: "
        with pytest.raises(ConfigurationError, match=said):
            EscalationRouter({"a": name, "b": model(GOOD)}, policy=Bad())

    def test_a_name_of_a_model_makes_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        models = {"mini": "openai:gpt-4o-mini", "large": model(GOOD)}
        asked = EscalationRouter(models, policy=Bad())
        assert asked.models["mini"].model_name == "gpt-4o-mini"  # type: ignore[attr-defined]

    @pytest.mark.parametrize("policy", [None, len, "SelfScreen", SelfScreen])
    def test_what_is_no_policy_is_refused(self, policy: Any) -> None:
        with pytest.raises(ConfigurationError, match="policy= an EscalationPolicy"):
            router(policy=policy)

    @both
    @pytest.mark.parametrize("given", [{"messages": []}, []])
    async def test_nothing_to_answer_is_an_error(self, run: Run, given: Any) -> None:
        with pytest.raises(ConfigurationError, match="nothing to answer"):
            await run(router(), given, None)

    @pytest.mark.parametrize("given", [{"chat": ASKED}, 7, {"messages": "Why?"}])
    def test_what_holds_no_messages_is_an_error(self, given: Any) -> None:
        with pytest.raises(ConfigurationError, match="takes messages, a prompt, or"):
            router().invoke(given)

    @both
    @pytest.mark.parametrize("verdict", [True, "no", 0.3, ("escalate",)])
    async def test_a_policy_that_returns_no_verdict_is_an_error(
        self, run: Run, verdict: Any
    ) -> None:
        class Wrong(EscalationPolicy):
            def judge(self, *_: Any) -> Any:
                return verdict

        said = f"Wrong returned {type(verdict).__name__}; a policy returns a Verdict"
        with pytest.raises(ConfigurationError, match=said):
            await run(router(policy=Wrong()), "Why?", None)

    @pytest.mark.parametrize(
        "values", [("yes",), (None,), (True, 2), (True, float("nan")), (True, None, 3)]
    )
    def test_a_verdict_that_makes_no_sense_is_an_error(self, values: Any) -> None:
        with pytest.raises(ConfigurationError, match="of a Verdict is"):
            Verdict(*values)

    def test_models_that_cannot_bind_tools_are_named(self) -> None:
        class Plain(ScriptedChatModel):
            def bind_tools(self, *_: Any, **__: Any) -> Any:
                raise NotImplementedError

        plain = Plain(responses=[GOOD])
        with pytest.raises(ConfigurationError, match="'sonnet' cannot bind tools"):
            router(GOOD, plain).bind_tools([look_up])

    def test_a_model_that_answers_with_something_else_is_an_error(self) -> None:
        class Answer(BaseModel):
            text: str

        cheap = model({"text": "So."}).with_structured_output(Answer)
        with pytest.raises(ConfigurationError, match="messages, not Answer"):
            router(cheap).invoke("Why?")

    @pytest.mark.parametrize("policy", [Bad(), any_of(Bad(), Bad())])
    def test_a_policy_that_only_judges_makes_no_screen(
        self, policy: EscalationPolicy
    ) -> None:
        with pytest.raises(ConfigurationError, match="judges answers and cannot"):
            _ = router(policy=policy).screen

    def test_messages_that_are_none_are_said_to_be(self) -> None:
        with pytest.raises(ConfigurationError, match="are messages, not of str"):
            router().invoke({"messages": ["Why?"]})

    def test_models_in_the_wrong_order_are_warned_of(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        models = {"sonnet": model(GOOD, name=STRONG), "haiku": model(GOOD)}
        EscalationRouter(models, policy=Bad())
        assert "haiku costs less than sonnet" in caplog.text

    def test_models_in_the_right_order_are_not(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        router()
        assert not caplog.text

    def test_an_edge_without_a_screen_is_an_error(self) -> None:
        with pytest.raises(ConfigurationError, match="put the node router"):
            router().route({"messages": ASKED})

    def test_an_edge_to_a_model_that_is_not_there_is_an_error(self) -> None:
        with pytest.raises(ConfigurationError, match="it has haiku, sonnet"):
            router().route({"route": {"model": "opus"}})

    def test_the_messages_cannot_stand_where_the_route_does(self) -> None:
        with pytest.raises(ConfigurationError, match="another name than 'route'"):
            router(messages_key="route")
