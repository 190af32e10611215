"""The lean graph: which nodes it has, and which way a question goes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import InjectedState
from langgraph.types import Command, interrupt

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    SemanticCache,
    StepCap,
    SummaryMemory,
    TokenLedger,
)
from langchain_lean import (
    track as tracked,
)
from langchain_lean.errors import ConfigurationError
from langchain_lean.graph import LeanState
from langchain_lean.routing.policies import AnswerChecks
from tests.unit.caching.caches import WordEmbeddings
from tests.unit.graph.desks import (
    AT_NINE,
    CHEAP,
    ESCALATE,
    HELLO,
    LEDGER,
    MEDIUM,
    OPEN,
    PAGE,
    PARCEL,
    STRONG,
    Call,
    Pages,
    ask,
    both,
    calls_tool,
    cheap_model,
    classifies,
    desk,
    every_form,
    need,
    said,
    shown,
    stand_in,
    track,
)

ALWAYS = {"__start__", "__end__", "agent", "verify", "answer"}

PARTS = (
    ({}, set()),
    ({"retriever": Pages()}, {"retrieve", "classify", "rag"}),
    ({"faq": {OPEN: AT_NINE}}, {"classify", "faq"}),
    ({"tools": [track]}, {"tools"}),
    ({"memory": SummaryMemory(None)}, {"memory"}),
    ({"cache": SemanticCache(WordEmbeddings())}, {"cache", "keep"}),
    ({"guard": BudgetGuard(Budget(calls=9, per="day"))}, set()),
)


class TestNodes:
    @pytest.mark.parametrize(("parts", "nodes"), PARTS)
    def test_a_part_has_its_nodes_and_one_that_is_not_given_none(
        self, parts: dict[str, Any], nodes: set[str]
    ) -> None:
        assert set(desk(**parts).get_graph().nodes) == ALWAYS | nodes

    def test_with_all_parts_it_is_drawn_as_in_its_guide(self) -> None:
        parts = {name: part for given, _ in PARTS for name, part in given.items()}
        drawn = desk(**parts).get_graph().draw_mermaid()
        page = Path(__file__).parents[3] / "docs" / "graph.md"
        guide = page.read_text(encoding="utf-8")
        [shown_there] = re.findall(r"```mermaid\n(.*?)```", guide, re.DOTALL)
        assert edges(shown_there) == edges(drawn)


def edges(drawn: str) -> list[str]:
    return [line for line in drawn.splitlines() if ">" in line and line.endswith(";")]


class TestWays:
    @every_form
    def test_a_question_for_nobody_in_particular_is_answered_by_the_cheap_model(
        self, call: Call
    ) -> None:
        state = ask(call, desk(retriever=Pages()), HELLO)
        assert said(state) == CHEAP
        assert state["route"]["model"] == "cheap"
        assert state["need"]["route"] == "agent"

    @every_form
    def test_documents_stand_before_the_question_they_were_found_for(
        self, call: Call
    ) -> None:
        cheap, pages = cheap_model(), Pages()
        state = ask(call, desk(cheap=cheap, retriever=pages), LEDGER)
        assert said(state) == CHEAP
        assert str(cheap.calls[-1].messages[-1].text) == f"{PAGE}\n\n{LEDGER}"
        assert pages.asked == [LEDGER]
        assert [m.type for m in state["messages"]] == ["human", "ai"]
        assert state["messages"][0].text == LEDGER

    @both
    def test_the_medium_model_drafts_from_documents_and_nothing_else(
        self, call: Call
    ) -> None:
        medium = stand_in(MEDIUM, name="claude-haiku-4-5")
        graph = desk(medium=medium, retriever=Pages())
        state = ask(call, graph, LEDGER)
        assert (said(state), state["route"]["model"]) == (MEDIUM, "medium")
        assert said(ask(call, graph, HELLO)) == CHEAP
        assert len(medium.calls) == 1

    @every_form
    def test_tools_are_called_by_the_cheap_model(self, call: Call) -> None:
        strong = stand_in(STRONG)
        state = ask(call, desk(strong=strong, tools=[track]), PARCEL)
        assert [m.type for m in state["messages"]] == ["human", "ai", "tool", "ai"]
        assert state["messages"][2].text == "Parcel 7 is in Bergen."
        assert said(state) == CHEAP
        assert strong.calls == []

    @both
    def test_a_question_that_takes_documents_and_tools_gets_both(
        self, call: Call
    ) -> None:
        def reply(messages: Any) -> Any:
            if classifies(messages):
                return need("agent", needs_rag=True, needs_tools=True)
            return CHEAP if messages[-1].type == "tool" else calls_tool()

        cheap = cheap_model(reply)
        state = ask(call, desk(cheap=cheap, retriever=Pages(), tools=[track]), PARCEL)
        assert [m.type for m in state["messages"]] == ["human", "ai", "tool", "ai"]
        assert PAGE in str(cheap.calls[-1].messages[1].text)

    @every_form
    def test_a_set_question_is_answered_without_a_call(self, call: Call) -> None:
        cheap = cheap_model()
        graph = desk(cheap=cheap, faq={OPEN: AT_NINE})
        state = ask(call, graph, "when do you open")
        assert (said(state), state["route"]["model"]) == (AT_NINE, "faq")
        assert cheap.calls == []

    @both
    @pytest.mark.parametrize("other", ["What is C#?", "What is C++?", "What is B?"])
    def test_a_sign_makes_it_another_question(self, call: Call, other: str) -> None:
        cheap = cheap_model(lambda m: need("agent") if classifies(m) else CHEAP)
        graph = desk(cheap=cheap, faq={"What is C?": "A language."})
        assert said(ask(call, graph, other)) == CHEAP
        assert said(ask(call, graph, "what is  c")) == "A language."

    @both
    def test_a_set_answer_is_found_in_other_words_by_the_cheap_model(
        self, call: Call
    ) -> None:
        cheap = cheap_model()
        graph = desk(cheap=cheap, faq={OPEN: AT_NINE})
        assert said(ask(call, graph, "Are you open today?")) == AT_NINE
        assert OPEN in str(cheap.calls[0].messages[0].text)
        assert len(cheap.calls) == 1

    @both
    def test_a_retriever_may_hold_the_set_answers(self, call: Call) -> None:
        class Set(BaseRetriever):
            def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
                return [Document(OPEN, metadata={"answer": AT_NINE})]

        assert said(ask(call, desk(faq=Set()), "Are you open today?")) == AT_NINE

    @both
    def test_no_set_answers_are_as_none_given(self, call: Call) -> None:
        cheap = cheap_model()
        ask(call, desk(cheap=cheap, faq={}), HELLO)
        assert len(cheap.calls) == 1

    @both
    def test_a_long_question_is_short_for_the_classifier(self, call: Call) -> None:
        cheap = cheap_model(lambda m: need("agent") if classifies(m) else CHEAP)
        ask(call, desk(cheap=cheap, retriever=Pages()), "word " * 20_000)
        assert len(str(cheap.calls[0].messages[-1].text)) < 5_000

    @both
    def test_documents_go_to_models_without_tools(self, call: Call) -> None:
        cheap = cheap_model()
        graph = desk(
            cheap=cheap,
            retriever=Pages(),
            tools=[track],
            checkpointer=InMemorySaver(),
        )
        ask(call, graph, PARCEL, thread="1")
        state = ask(call, graph, LEDGER, thread="1")
        assert state["need"]["route"] == "rag"
        sent = cheap.calls[-1].messages
        assert not any(m.type == "tool" or getattr(m, "tool_calls", ()) for m in sent)
        assert "Bergen" in str(sent)

    @both
    def test_a_tool_that_is_called_from_documents_is_run(self, call: Call) -> None:
        def reply(messages: Any) -> Any:
            if classifies(messages):
                return need("rag")
            return CHEAP if messages[-1].type == "tool" else calls_tool()

        graph = desk(cheap=cheap_model(reply), retriever=Pages(), tools=[track])
        assert ask(call, graph, LEDGER)["messages"][-1].type == "ai"

    @both
    def test_a_number_that_no_set_answer_has_gives_none(self, call: Call) -> None:
        def reply(messages: Any) -> Any:
            known = {"needs_rag": False, "needs_tools": False}
            return (
                {"route": "faq", "faq": 4, **known} if classifies(messages) else CHEAP
            )

        graph = desk(cheap=cheap_model(reply), faq={OPEN: AT_NINE})
        assert said(ask(call, graph, HELLO)) == CHEAP

    @both
    def test_the_system_prompt_stands_before_what_answers(self, call: Call) -> None:
        cheap = cheap_model()
        ask(call, desk(cheap=cheap, system_prompt="Be kind."), HELLO)
        assert str(cheap.calls[0].messages[0].text).startswith("Be kind.")

    @both
    def test_a_classifier_that_fails_leaves_everything_open(self, call: Call) -> None:
        def reply(messages: Any) -> Any:
            if classifies(messages):
                raise TimeoutError
            return CHEAP

        ledger = TokenLedger()
        cheap = cheap_model(reply)
        with tracked(ledger):
            state = ask(call, desk(cheap=cheap, retriever=Pages()), LEDGER)
        assert said(state) == CHEAP
        assert PAGE in str(cheap.calls[-1].messages[-1].text)
        [notice] = ledger.notices()
        assert (notice.lever, notice.reason) == ("classify", "TimeoutError")

    @both
    def test_a_decision_that_cannot_be_read_leaves_everything_open(
        self, call: Call
    ) -> None:
        cheap = cheap_model(lambda m: "I do not know." if classifies(m) else CHEAP)
        state = ask(call, desk(cheap=cheap, retriever=Pages()), HELLO)
        assert said(state) == CHEAP
        assert state["need"]["needs_rag"]

    @both
    def test_the_classifier_sees_what_the_question_leans_on(self, call: Call) -> None:
        cheap = cheap_model()
        graph = desk(cheap=cheap, retriever=Pages())
        earlier = [HumanMessage("I ask about ledgers."), AIMessage("Go on.")]
        call(graph, {"messages": [*earlier, HumanMessage(LEDGER)]})
        asked = str(cheap.calls[0].messages[-1].text)
        assert asked == f"human: I ask about ledgers.\nai: Go on.\nhuman: {LEDGER}"


class TestThreads:
    @both
    def test_a_thread_goes_on_with_its_history(self, call: Call) -> None:
        cheap = cheap_model()
        graph = desk(cheap=cheap, checkpointer=InMemorySaver())
        ask(call, graph, HELLO, thread="1")
        state = ask(call, graph, HELLO, thread="1")
        assert len(state["messages"]) == 4
        assert len([m for m in cheap.calls[-1].messages if m.type != "system"]) == 3
        assert state["draft"] is None

    @both
    def test_a_tool_may_interrupt_and_be_resumed(self, call: Call) -> None:
        @tool(track.name)
        def asks(parcel: int) -> str:
            """Track a parcel."""
            return f"Parcel {parcel}: {interrupt('Which carrier?')}"

        graph = desk(tools=[asks], checkpointer=InMemorySaver())
        ask(call, graph, PARCEL, thread="1")
        config = {"configurable": {"thread_id": "1"}}
        state = call(graph, Command(resume="by ship"), config)
        assert state["messages"][2].text == "Parcel 7: by ship"
        assert said(state) == CHEAP

    @both
    def test_a_draft_can_be_looked_at_before_it_is_given(self, call: Call) -> None:
        graph = desk(checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "1"}}
        graph.interrupt_before_nodes = ["answer"]
        call(graph, {"messages": [HELLO]}, config)
        drafted = graph.get_state(config).values["draft"]
        assert (drafted["answer"].text, drafted["status"]) == (CHEAP, "accepted")
        assert said(call(graph, None, config)) == CHEAP

    @both
    def test_a_memory_shortens_what_is_sent(self, call: Call) -> None:
        cheap = cheap_model()
        memory = SummaryMemory(None, max_tokens=60, keep_tokens=20)
        graph = desk(cheap=cheap, memory=memory, retriever=Pages())
        old = [HumanMessage("word " * 60), AIMessage("word " * 60)]
        state = call(graph, {"messages": [*old, HumanMessage(HELLO)]})
        assert len(state["messages"]) < 4
        assert "word word" not in str(cheap.calls[-1].messages)

    @both
    def test_a_memory_that_keeps_the_history_shortens_only_what_is_sent(
        self, call: Call
    ) -> None:
        cheap = cheap_model()
        memory = SummaryMemory(None, max_tokens=60, keep_tokens=20, keep_history=True)
        graph = desk(cheap=cheap, memory=memory)
        old = [HumanMessage("word " * 60), AIMessage("word " * 60)]
        state = call(graph, {"messages": [*old, HumanMessage(HELLO)]})
        assert len(state["messages"]) == 4
        assert "word word" not in str(cheap.calls[-1].messages)

    @both
    def test_and_what_tools_said_since_is_sent_behind_it(self, call: Call) -> None:
        cheap = cheap_model()
        memory = SummaryMemory(None, max_tokens=60, keep_tokens=20, keep_history=True)
        graph = desk(cheap=cheap, memory=memory, tools=[track])
        old = [HumanMessage("word " * 60), AIMessage("word " * 60)]
        state = call(graph, {"messages": [*old, HumanMessage(PARCEL)]})
        assert said(state) == CHEAP
        assert [m.type for m in cheap.calls[-1].messages][-3:] == [
            "human",
            "ai",
            "tool",
        ]


class TestCache:
    @every_form
    def test_what_was_asked_before_is_not_asked_again(self, call: Call) -> None:
        cheap = cheap_model()
        graph = desk(cheap=cheap, cache=SemanticCache(WordEmbeddings()))
        ask(call, graph, HELLO)
        made = len(cheap.calls)
        state = ask(call, graph, HELLO)
        assert (said(state), state["route"]["model"]) == (CHEAP, "cache")
        assert len(cheap.calls) == made

    @both
    def test_other_words_do_where_they_are_close_enough(self, call: Call) -> None:
        cache = SemanticCache(WordEmbeddings(), threshold=0.8)
        graph = desk(cache=cache, retriever=Pages())
        ask(call, graph, LEDGER)
        state = ask(call, graph, "What does a ledger keep now?")
        assert state["route"]["model"] == "cache"

    @both
    def test_an_answer_that_rests_on_tools_is_asked_anew(self, call: Call) -> None:
        graph = desk(tools=[track], cache=SemanticCache(WordEmbeddings()))
        ask(call, graph, PARCEL)
        assert ask(call, graph, PARCEL)["route"]["model"] == "cheap"

    @both
    def test_unless_the_cache_keeps_such_answers(self, call: Call) -> None:
        cache = SemanticCache(WordEmbeddings(), tool_calls=True)
        graph = desk(tools=[track], cache=cache)
        ask(call, graph, PARCEL)
        assert ask(call, graph, PARCEL)["route"]["model"] == "cache"

    @both
    def test_what_the_cache_answers_needs_nothing(self, call: Call) -> None:
        cache = SemanticCache(WordEmbeddings())
        graph = desk(cache=cache, retriever=Pages(), checkpointer=InMemorySaver())
        for thread in ("1", "2"):
            ask(call, graph, LEDGER, thread=thread)
        assert ask(call, graph, HELLO, thread="1")["need"] is not None
        assert ask(call, graph, HELLO, thread="2")["need"] is None

    @both
    def test_another_medium_model_has_other_answers(self, call: Call) -> None:
        cache = SemanticCache(WordEmbeddings())
        for name in ("gpt-5-mini", "gpt-5-nano"):
            medium = stand_in(name, name=name)
            graph = desk(medium=medium, cache=cache, retriever=Pages())
            assert said(ask(call, graph, LEDGER)) == name

    @both
    def test_another_prompt_has_other_answers(self, call: Call) -> None:
        cache = SemanticCache(WordEmbeddings())
        ask(call, desk(cache=cache), HELLO)
        state = ask(call, desk(cache=cache, system_prompt="Be kind."), HELLO)
        assert state["route"]["model"] == "cheap"

    @both
    def test_a_cache_may_come_with_a_name_of_its_own(self, call: Call) -> None:
        nodes = SemanticCache(WordEmbeddings()).nodes("desk, May")
        ask(call, desk(cache=nodes), HELLO)
        state = ask(call, desk(cache=nodes, system_prompt="Be kind."), HELLO)
        assert state["route"]["model"] == "cache"

    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_kept_answer_is_streamed(self, is_async: bool) -> None:
        graph = desk(cache=SemanticCache(WordEmbeddings()))
        graph.invoke({"messages": [HELLO]})
        assert "".join(shown(graph, HELLO, is_async=is_async)) == CHEAP


class TestBudgets:
    @both
    def test_over_budget_the_draft_is_given_and_says_so(self, call: Call) -> None:
        checks = AnswerChecks(max_words=2)
        guard = BudgetGuard(Budget(calls=1, per="run"))
        state = ask(call, desk(guard=guard, verify=checks), HELLO)
        assert said(state) == CHEAP
        assert state["messages"][-1].response_metadata["lean"][-1]["action"] == "kept"

    @both
    def test_without_a_budget_for_a_draft_the_call_is_refused(self, call: Call) -> None:
        ledger = TokenLedger()
        guard = BudgetGuard(Budget(calls=0, per="run"))
        with tracked(ledger), pytest.raises(BudgetExceededError):
            ask(call, desk(guard=guard, retriever=Pages()), LEDGER)
        assert all(entry.blocked for entry in ledger.entries())

    @both
    def test_the_cap_counts_every_call_for_one_input(self, call: Call) -> None:
        cheap = cheap_model(lambda messages: calls_tool(len(messages)))
        strong = stand_in(STRONG)
        graph = desk(cheap=cheap, strong=strong, tools=[track], max_calls=4)
        state = ask(call, graph, PARCEL)
        assert len(cheap.calls) + len(strong.calls) == 5
        last = state["messages"][-1]
        assert any(n["lever"] == "steps" for n in last.response_metadata["lean"])

    @both
    def test_handlers_of_the_call_stand_beside_its_own(self, call: Call) -> None:
        ledger, guard = TokenLedger(), BudgetGuard(Budget(calls=1, per="run"))
        config = {"callbacks": [ledger, guard]}
        call(desk(guard=guard), {"messages": [HELLO]}, config)
        assert [entry.node for entry in ledger.entries()] == ["agent"]

    @both
    @pytest.mark.parametrize("most", [0, 2])
    def test_the_last_answer_of_a_run_is_no_mark(self, call: Call, most: int) -> None:
        def reply(messages: Any) -> Any:
            if "reply only with [[ESCALATE]]" in str(messages[0].content):
                return ESCALATE if most == 0 else calls_tool(len(messages))
            return CHEAP

        cheap = cheap_model(reply)
        graph = desk(cheap=cheap, tools=[track], max_calls=most, final="strong")
        state = ask(call, graph, PARCEL)
        assert said(state) == CHEAP

    @both
    def test_a_loop_ends_in_the_strong_models_answer_where_it_must(
        self, call: Call
    ) -> None:
        def reply(messages: Any) -> Any:
            asked = str(messages[-1].text)
            return ESCALATE if "Nothing more can" in asked else calls_tool()

        state = ask(call, desk(cheap=cheap_model(reply), tools=[track]), PARCEL)
        assert said(state) == STRONG

    @both
    def test_a_cap_of_your_own_can_be_reset(self, call: Call) -> None:
        cap = StepCap(max_calls=1)
        graph = desk(max_calls=cap, checkpointer=InMemorySaver())
        ask(call, graph, HELLO, thread="1")
        [status] = cap.status(thread_id="1")
        assert status.used == 1

    @both
    def test_each_user_has_a_budget(self, call: Call) -> None:
        guard = BudgetGuard(Budget(calls=1, per="day", by="user_id"))
        graph = desk(guard=guard)
        ask(call, graph, HELLO, user_id="ada")
        ask(call, graph, HELLO, user_id="bob")
        with pytest.raises(BudgetExceededError):
            ask(call, graph, HELLO, user_id="ada")


class TestInsideOfOthers:
    @both
    def test_it_is_a_node_of_another_graph(self, call: Call) -> None:
        builder: Any = StateGraph(LeanState)
        builder.add_node("desk", desk(tools=[track]))
        builder.add_edge(START, "desk")
        assert said(ask(call, builder.compile(), PARCEL)) == CHEAP

    @both
    def test_tools_read_what_the_state_was_extended_by(self, call: Call) -> None:
        class MyState(LeanState):
            country: str

        @tool(track.name)
        def tells(parcel: int, state: Annotated[dict[str, Any], InjectedState]) -> str:
            """Track a parcel."""
            return f"It is in {state['country']}."

        graph = desk(tools=[tells], state_schema=MyState)
        state = call(graph, {"messages": [PARCEL], "country": "Norway"})
        assert state["messages"][2].text == "It is in Norway."


class TestBadInput:
    @pytest.mark.parametrize(
        ("parts", "words"),
        [
            ({"cheap": "haiku"}, "are chat models, not str"),
            ({"retriever": [Pages()]}, "retriever= is for BaseRetriever"),
            ({"memory": "long"}, "memory= is for SummaryMemory"),
            ({"guard": Budget(calls=1, per="day")}, "guard= is for BudgetGuard"),
            ({"verify": "checks"}, "verify= is for EscalationPolicy"),
            ({"final": "cheap"}, 'final= is "strong" or None'),
            ({"max_calls": -1}, "max_calls"),
            ({"state_schema": dict}, "subclass of LeanState"),
            ({"faq": ["When?"]}, "faq= is for"),
            ({"cache": "memory://"}, "cache= is for"),
            ({"tools": [3]}, "tools= takes"),
            ({"system_prompt": 3}, "system_prompt= is for"),
            ({"faq": {OPEN: None}}, "faq= takes questions"),
            ({"memory": SummaryMemory(None, messages_key="chat")}, "the usual keys"),
        ],
    )
    def test_what_cannot_be_worked_with_is_refused(
        self, parts: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=words):
            desk(**parts)

    def test_a_budgeted_model_goes_to_the_guard(self) -> None:
        guard = BudgetGuard(Budget(calls=1, per="day"))
        with pytest.raises(ConfigurationError, match="guard="):
            desk(strong=guard.model(stand_in(STRONG)))

    @both
    def test_nothing_to_answer_is_said(self, call: Call) -> None:
        with pytest.raises(ConfigurationError, match="at least one message"):
            call(desk(), {"messages": []})


def test_a_system_message_of_the_conversation_stays() -> None:
    cheap = cheap_model()
    messages = [SystemMessage("Be kind."), HumanMessage(HELLO)]
    desk(cheap=cheap).invoke({"messages": messages})
    assert str(cheap.calls[0].messages[0].text).startswith("Be kind.")
