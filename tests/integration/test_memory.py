"""The memory in graphs, beside other branches, over checkpoints; real clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel

from langchain_lean import SummaryMemory, TokenLedger
from langchain_lean.context.memory import MemoryState
from tests.integration.conftest import MakeChatBedrock, MakeChatOpenAI
from tests.integration.provider_server import ProviderServer, Reply
from tests.unit.context.conversations import (
    chat,
    facts,
    is_summary,
    looked_up,
    memory,
    summarizer,
    texts,
    turn,
    words,
)

LONG = chat(12)
SAID = HumanMessage("From beside.", id="beside")


def beside(state: Any) -> dict[str, Any]:
    return {"messages": [SAID]}


def answering(*answers: Any) -> Callable[[Any], dict[str, Any]]:
    """A node that answers what it is sent, and keeps it."""
    model = summarizer(*answers)

    def answer(state: Any) -> dict[str, Any]:
        sent = state.get("short_messages") or state["messages"]
        return {"messages": [model.invoke(sent)]}

    answer.model = model  # type: ignore[attr-defined]
    return answer


def built(
    nodes: dict[str, Any],
    edges: list[tuple[str, str]],
    state: Any = MessagesState,
    **options: Any,
) -> Any:
    graph = StateGraph(state)
    for name, node in nodes.items():
        graph.add_node(name, node)
    for one, other in edges:
        graph.add_edge(one, other)
    return graph.compile(**options)


def chatting(shorten: SummaryMemory, state: Any = MessagesState, **options: Any) -> Any:
    """A graph that shortens, then answers."""
    return built(
        {"memory": shorten, "answer": answering("So.")},
        [(START, "memory"), ("memory", "answer"), ("answer", END)],
        state,
        **options,
    )


async def run(graph: Any, given: Any, config: Any = None) -> Any:
    return graph.invoke(given, config)


async def arun(graph: Any, given: Any, config: Any = None) -> Any:
    return await graph.ainvoke(given, config)


both = pytest.mark.parametrize("run", [run, arun])


class TestParallelBranches:
    @both
    @pytest.mark.parametrize("order", [("memory", "beside"), ("beside", "memory")])
    @pytest.mark.parametrize("checkpointer", [None, InMemorySaver()])
    async def test_a_branch_that_writes_messages_loses_nothing(
        self, run: Any, order: tuple[str, str], checkpointer: Any
    ) -> None:
        nodes = {"memory": memory(), "beside": beside}
        graph = built(
            {name: nodes[name] for name in order},
            [(START, name) for name in order],
            checkpointer=checkpointer,
        )
        config = {"configurable": {"thread_id": f"{order}{run}"}}
        state = await run(graph, {"messages": LONG}, config)
        kept = state["messages"]
        assert is_summary(kept[0])
        assert SAID in kept
        assert kept[1:] == [*LONG[-len(kept) + 2 :], SAID]

    @both
    @pytest.mark.parametrize("order", [("memory", "beside"), ("beside", "memory")])
    async def test_branches_that_are_sent_to_lose_nothing(
        self, run: Any, order: tuple[str, str]
    ) -> None:
        graph = StateGraph(MessagesState)
        graph.add_node("memory", memory())
        graph.add_node("beside", beside)
        graph.add_conditional_edges(
            START, lambda state: [Send(name, state) for name in order], [*order]
        )
        kept = (await run(graph.compile(), {"messages": LONG}))["messages"]
        assert is_summary(kept[0])
        assert kept[-1] == SAID

    async def test_many_branches_at_once_lose_nothing(self) -> None:
        names = [f"branch-{number}" for number in range(8)]

        def saying(name: str) -> Callable[[Any], dict[str, Any]]:
            return lambda state: {"messages": [HumanMessage(name, id=name)]}

        nodes = {name: saying(name) for name in names}
        nodes = {**dict(list(nodes.items())[:4]), "memory": memory(), **nodes}
        graph = built(nodes, [(START, name) for name in nodes])
        kept = (await graph.ainvoke({"messages": LONG}))["messages"]
        assert {*names} <= {*texts(kept)}
        assert is_summary(kept[0])

    def test_a_branch_beside_the_history_loses_nothing(self) -> None:
        shorten = memory(keep_history=True)
        nodes = {"memory": shorten, "beside": beside, "again": shorten}
        edges = [(START, "memory"), (START, "beside"), ("beside", "again")]
        graph = built(nodes, edges, MemoryState)
        state = graph.invoke({"messages": LONG})
        assert state["messages"] == [*LONG, SAID]
        assert state["short_messages"][-1] == SAID


@pytest.fixture(params=["memory", "sqlite"])
def checkpointer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield InMemorySaver()
        return
    with SqliteSaver.from_conn_string(str(tmp_path / "graph.db")) as saver:
        yield saver


@pytest.fixture(params=["memory", "sqlite"])
async def acheckpointer(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield InMemorySaver()
        return
    path = str(tmp_path / "graph.db")
    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        yield saver


def talked(graph: Any, turns: int, thread: str = "one") -> dict[str, Any]:
    """The state after some turns, each of them a run of the graph."""
    config: Any = {"configurable": {"thread_id": thread}}
    for number in range(turns):
        asked = turn(number, f"Gate {number} is red.")[0]
        state = graph.invoke({"messages": [asked]}, config)
    return dict(state)


class TestCheckpoints:
    def test_a_thread_goes_on_over_many_runs(self, checkpointer: Any) -> None:
        model = summarizer(facts)
        graph = chatting(
            memory(model, max_summary_tokens=300), checkpointer=checkpointer
        )
        kept = talked(graph, 40)["messages"]
        assert len(model.calls) > 1
        assert is_summary(kept[0])
        assert "Gate 0 is red." in kept[0].text
        assert kept[-2].text.startswith("Question 39.")

    async def test_a_thread_goes_on_asynchronously(self, acheckpointer: Any) -> None:
        graph = chatting(memory(), checkpointer=acheckpointer)
        config: Any = {"configurable": {"thread_id": "one"}}
        for number in range(30):
            asked = {"messages": [turn(number)[0]]}
            state = await graph.ainvoke(asked, config)
        assert is_summary(state["messages"][0])
        assert state["messages"][-1].text == "So."

    def test_threads_are_kept_apart(self, checkpointer: Any) -> None:
        graph = chatting(memory(summarizer(facts)), checkpointer=checkpointer)
        one = talked(graph, 20, "one")
        config: Any = {"configurable": {"thread_id": "two"}}
        two = graph.invoke({"messages": chat(12, first=50)}, config)
        assert "Gate 0 is red." in one["messages"][0].text
        assert "Gate" not in two["messages"][0].text

    def test_another_process_goes_on_with_the_view(self, checkpointer: Any) -> None:
        model = summarizer()
        config: Any = {"configurable": {"thread_id": "one"}}
        for given in (LONG, [turn(20)[0]]):
            shorten = memory(model, keep_history=True)  # as if made anew
            graph = chatting(shorten, MemoryState, checkpointer=checkpointer)
            state = graph.invoke({"messages": given}, config)
        assert len(model.calls) == 1
        assert state["short_messages"][-1].text.startswith("Question 20.")
        assert len(state["messages"]) == len(LONG) + 3

    @pytest.mark.parametrize("when", ["interrupt_before", "interrupt_after"])
    def test_an_interrupt_around_the_node_changes_nothing(
        self, when: str, checkpointer: Any
    ) -> None:
        graph = chatting(memory(), checkpointer=checkpointer, **{when: ["memory"]})
        config: Any = {"configurable": {"thread_id": "one"}}
        graph.invoke({"messages": LONG}, config)
        state = graph.invoke(None, config)
        straight = chatting(memory()).invoke({"messages": LONG})
        assert texts(state["messages"]) == texts(straight["messages"])

    def test_a_question_to_a_person_in_a_later_node_changes_nothing(
        self, checkpointer: Any
    ) -> None:
        model = summarizer()

        def ask(state: Any) -> dict[str, Any]:
            return {"messages": [HumanMessage(interrupt("May I?"), id="said")]}

        graph = built(
            {"memory": memory(model), "ask": ask},
            [(START, "memory"), ("memory", "ask")],
            checkpointer=checkpointer,
        )
        config: Any = {"configurable": {"thread_id": "one"}}
        graph.invoke({"messages": LONG}, config)
        kept = graph.invoke(Command(resume="You may."), config)["messages"]
        assert is_summary(kept[0])
        assert kept[-1].text == "You may."
        assert len(model.calls) == 1

    def test_a_summarizer_that_asks_a_person_is_asked_again(
        self, checkpointer: Any
    ) -> None:
        model = summarizer(lambda messages: interrupt("What is to be noted?"))
        graph = chatting(memory(model), checkpointer=checkpointer)
        config: Any = {"configurable": {"thread_id": "one"}}
        paused = graph.invoke({"messages": LONG}, config)
        assert paused["__interrupt__"][0].value == "What is to be noted?"
        assert len(paused["messages"]) == len(LONG)
        kept = graph.invoke(Command(resume="All is well."), config)["messages"]
        assert "All is well." in kept[0].text

    def test_time_travel_finds_the_whole_history(self, checkpointer: Any) -> None:
        graph = chatting(memory(), checkpointer=checkpointer)
        config: Any = {"configurable": {"thread_id": "one"}}
        graph.invoke({"messages": LONG}, config)
        lengths = [
            len(snapshot.values.get("messages", ()))
            for snapshot in graph.get_state_history(config)
        ]
        assert len(LONG) in lengths


class Strict(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages]


class Renamed(TypedDict):
    chat: Annotated[list[AnyMessage], add_messages]
    sent: list[AnyMessage]


class Plain(TypedDict):
    messages: Annotated[list[AnyMessage], add]
    short_messages: list[AnyMessage]


class TestStates:
    def test_a_pydantic_state_is_rewritten(self) -> None:
        graph = built({"memory": memory()}, [(START, "memory")], Strict)
        assert is_summary(graph.invoke({"messages": LONG})["messages"][0])

    def test_other_keys_are_read_and_written(self) -> None:
        shorten = memory(messages_key="chat", short_key="sent", keep_history=True)
        graph = built({"memory": shorten}, [(START, "memory")], Renamed)
        state = graph.invoke({"chat": LONG})
        assert state["chat"] == LONG
        assert is_summary(state["sent"][0])

    def test_messages_that_are_only_appended_have_a_view_too(self) -> None:
        """Such a channel gives no ids."""
        nodes = {"memory": memory(keep_history=True), "answer": answering("So.")}
        edges = [(START, "memory"), ("memory", "answer")]
        graph = built(nodes, edges, Plain, checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": "one"}}
        for number in range(20):
            asked = HumanMessage(words(f"Question {number}."))
            state = graph.invoke({"messages": [asked]}, config)
            assert state["short_messages"][-1].text == asked.text
        assert is_summary(state["short_messages"][0])
        assert len(state["messages"]) == 40

    def test_a_sub_graph_that_shares_its_messages_keeps_a_view_of_its_own(self) -> None:
        model, alone = summarizer(), summarizer()
        inner = chatting(memory(model, keep_history=True), MemoryState)
        graph = built(
            {"inner": inner}, [(START, "inner")], checkpointer=InMemorySaver()
        )
        state = talked(graph, 40)
        straight = chatting(memory(alone), checkpointer=InMemorySaver())
        talked(straight, 40)
        assert len(state["messages"]) == 80
        assert len(model.calls) == len(alone.calls) > 1

    def test_a_sub_graph_that_rewrites_what_it_shares_loses_nothing(self) -> None:
        """Its parent takes over what was added, and not what was removed."""
        inner = chatting(memory())
        graph = built({"inner": inner}, [(START, "inner")])
        kept = graph.invoke({"messages": LONG})["messages"]
        assert is_summary(kept[0])
        assert kept[1:-1] == LONG[1:]

    def test_a_sub_graph_with_its_own_messages_keeps_them_short(self) -> None:
        shorten = memory(messages_key="chat")
        inner = built({"memory": shorten}, [(START, "memory")], Renamed)

        def call(state: Any) -> dict[str, Any]:
            kept = inner.invoke({"chat": state["messages"]})["chat"]
            return {"messages": [HumanMessage(kept[0].text, id="told")]}

        graph = built({"call": call}, [(START, "call")])
        state = graph.invoke({"messages": LONG})
        assert state["messages"][:-1] == LONG
        assert "Notes." in state["messages"][-1].text

    def test_an_agent_that_loops_is_shortened_in_its_turn(self) -> None:
        shorten = memory(split_last_turn=True)

        def act(state: Any) -> dict[str, Any]:
            done = sum(m.type == "tool" for m in state["messages"])
            number = len(state["messages"]) * 1_000 + done
            calls, result = looked_up(number, f"c{number}")[1:3]
            return {"messages": [calls, result], "rounds": 1}

        class State(MessagesState):
            rounds: Annotated[int, add]

        graph = StateGraph(State)
        graph.add_node("memory", shorten)
        graph.add_node("act", act)
        graph.add_edge(START, "memory")
        graph.add_edge("memory", "act")
        graph.add_conditional_edges(
            "act", lambda state: "memory" if state["rounds"] < 30 else END
        )
        kept = graph.compile().invoke({"messages": turn(0)[:1], "rounds": 0})[
            "messages"
        ]
        assert kept[0] == turn(0)[0]
        assert is_summary(kept[1])
        assert len(kept) < 30


NOTES = "Secret notes."


class TestStreams:
    @pytest.mark.parametrize(
        "mode", ["values", "updates", "messages", "custom", "debug", "tasks"]
    )
    @both
    async def test_the_summarizers_answer_is_in_no_stream(
        self, run: Any, mode: str
    ) -> None:
        """Only the state it becomes part of has it."""
        graph = chatting(memory(summarizer(NOTES)))
        if run is arun:
            parts = [
                p async for p in graph.astream({"messages": LONG}, stream_mode=mode)
            ]
        else:
            parts = list(graph.stream({"messages": LONG}, stream_mode=mode))
        if mode == "messages":
            said = "".join(
                message.text for message, _ in parts if message.type != "human"
            )
            assert said == "So."
            answered = [meta for message, meta in parts if message.type != "human"]
            assert {meta["langgraph_node"] for meta in answered} == {"answer"}
        if mode == "custom":
            assert parts == []
        shown = [m for m in found(parts) if NOTES in m.text]
        assert all(is_summary(message) for message in shown)

    async def test_every_event_of_its_call_is_marked(self) -> None:
        graph = chatting(memory(summarizer(NOTES)))
        events = [
            event
            async for event in graph.astream_events({"messages": LONG}, version="v2")
            if event["event"].startswith("on_chat_model")
            and event["metadata"].get("langgraph_node") == "memory"
        ]
        assert events
        assert {event["metadata"]["lc_source"] for event in events} == {"memory"}
        assert all("nostream" in event["tags"] for event in events)


def found(value: Any) -> Iterator[BaseMessage]:
    """All messages in what a stream gave."""
    if isinstance(value, BaseMessage):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from found(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from found(each)


PROMPT = ChatPromptTemplate(
    [SystemMessage("Be brief."), MessagesPlaceholder("history"), ("human", "{ask}")]
)


def asked(chain: Runnable[Any, Any], ledger: TokenLedger) -> Any:
    history = [*turn(90, "My gate is 7."), *looked_up(91, "c1"), *chat(12)[:-1]]
    given = {"history": history, "ask": "Which gate?"}
    return chain.invoke(given, {"callbacks": [ledger]})


class TestRealClients:
    @pytest.mark.parametrize("responses_api", [False, True])
    def test_openai_sums_up_and_answers(
        self,
        responses_api: bool,
        chat_openai: MakeChatOpenAI,
        openai_server: ProviderServer,
    ) -> None:
        ledger = TokenLedger()
        openai_server.reply(Reply(text="The gate is 7."), Reply(text="Gate 7."))
        model: Any = chat_openai(use_responses_api=responses_api)
        answer = asked(PROMPT | memory(model, max_summary_tokens=77) | model, ledger)
        assert answer.text == "Gate 7."
        summing, answering = openai_server.requests
        caps = ("max_completion_tokens", "max_tokens", "max_output_tokens")
        assert [summing[c] for c in caps if c in summing] == [77]
        assert not any(cap in answering for cap in caps)
        assert "My gate is 7." in str(summing)
        assert "The gate is 7." in str(answering)
        assert "My gate is 7." not in str(answering)
        assert [entry.source for entry in ledger.entries()] == ["memory", None]
        assert ledger.savings().levers["memory"].total > 0

    def test_bedrock_sums_up_and_answers(
        self, chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
    ) -> None:
        ledger = TokenLedger()
        bedrock_server.reply(Reply(text="The gate is 7."), Reply(text="Gate 7."))
        model: Any = chat_bedrock()
        answer = asked(PROMPT | memory(model, max_summary_tokens=77) | model, ledger)
        assert answer.text == "Gate 7."
        summing, answering = bedrock_server.requests
        assert summing["inferenceConfig"]["maxTokens"] == 77
        assert "The gate is 7." in str(answering["messages"][0])
        assert "toolConfig" not in summing
        assert [entry.source for entry in ledger.entries()] == ["memory", None]

    @pytest.mark.parametrize("status", [429, 500])
    def test_a_provider_that_refuses_the_summary_still_gets_the_question(
        self, status: int, chat_openai: MakeChatOpenAI, openai_server: ProviderServer
    ) -> None:
        ledger = TokenLedger()
        openai_server.reply(Reply(status=status, text="No."), Reply(text="Gate 7."))
        model: Any = chat_openai()
        assert asked(PROMPT | memory(model) | model, ledger).text == "Gate 7."
        assert "My gate is 7." in str(openai_server.requests[1])
        [notice] = ledger.notices()
        assert notice.action == "kept"

    def test_a_summary_that_openai_filters_is_none(
        self, chat_openai: MakeChatOpenAI, openai_server: ProviderServer
    ) -> None:
        ledger = TokenLedger()
        openai_server.reply(Reply(text="", truncated=True), Reply(text="Gate 7."))
        model: Any = chat_openai()
        assert asked(PROMPT | memory(model) | model, ledger).text == "Gate 7."
        assert [notice.action for notice in ledger.notices()] == ["kept"]
