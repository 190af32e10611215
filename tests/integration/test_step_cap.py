"""The step cap in real graphs: sub-agents, branches, retries, interrupts, threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, RetryPolicy, Send, interrupt

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    SummaryMemory,
    TokenLedger,
    scope,
)
from langchain_lean.budgets.finish import INSTRUCTION, OUTPUT
from langchain_lean.budgets.storage.memory import MemoryStorage
from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.steps import StepCap
from langchain_lean.testing import ScriptedChatModel
from tests.integration.conftest import MakeChatBedrock, MakeChatOpenAI
from tests.integration.provider_server import ProviderServer
from tests.storage.conftest import redis_server, redis_url
from tests.storage.moto_server import aws, dynamodb_url, moto_endpoint

__all__ = ["aws", "dynamodb_url", "moto_endpoint", "redis_server", "redis_url"]

Go = Callable[[Any, Any, Any], Awaitable[Any]]

ASKED = {"messages": [("user", "Where is it?")]}
AT_ONCE = RetryPolicy(max_attempts=9, initial_interval=0, jitter=False)


async def invoke(graph: Any, given: Any, config: Any) -> Any:
    return graph.invoke(given, config)


async def ainvoke(graph: Any, given: Any, config: Any) -> Any:
    return await graph.ainvoke(given, config)


async def stream(graph: Any, given: Any, config: Any) -> Any:
    return [*graph.stream(given, config, stream_mode="values")][-1]


async def astream(graph: Any, given: Any, config: Any) -> Any:
    states = graph.astream(given, config, stream_mode="values")
    return [state async for state in states][-1]


every_way = pytest.mark.parametrize("go", [invoke, ainvoke, stream, astream])
both = pytest.mark.parametrize("go", [invoke, ainvoke])


@pytest.fixture(params=["sqlite", "redis", "dynamodb"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that processes share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/steps.db"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


class Restless(ScriptedChatModel):
    """Calls the tool with other words each time, and answers only when it must.

    Every so many calls it fails.
    """

    def __init__(
        self, called: str = "search", *, fails: int = 0, **options: Any
    ) -> None:
        numbers = count(1)

        def answer(messages: list[BaseMessage]) -> AIMessage:
            number = next(numbers)
            if fails and number % fails == 0:
                raise ConnectionError("down")
            if messages[-1].content == INSTRUCTION:
                return AIMessage("I could not find it.")
            call = tool_call(
                name=called, args={"query": f"{number}"}, id=f"call-{number}"
            )
            return AIMessage("", tool_calls=[call])

        super().__init__(responses=[answer], loop=True, **options)


@tool
def search(query: str) -> str:
    """Search."""
    return f"Nothing about {query}."


def agent(
    model: Any, tools: list[BaseTool], *, cap: StepCap | None = None, **options: Any
) -> Any:
    """An agent of one's own: a node that asks the model, and one for its tools."""

    def ask(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    async def aask(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    wraps = {}
    if cap is not None:
        wraps = {
            "wrap_tool_call": cap.wrap_tool_call,
            "awrap_tool_call": cap.awrap_tool_call,
        }
    graph = StateGraph(MessagesState)
    graph.add_node("ask", RunnableLambda(ask, aask), retry_policy=AT_ONCE)
    graph.add_node("tools", ToolNode(tools, **wraps))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition)
    graph.add_edge("tools", "ask")
    return graph.compile(**options)


def as_tool(graph: Any, name: str, thread: str | None = None) -> BaseTool:
    """A tool that asks a graph."""
    config: Any = {"configurable": {"thread_id": thread}} if thread else None

    @tool(name)
    async def delegate(query: str) -> str:
        """Delegate."""
        found = await graph.ainvoke({"messages": [("user", query)]}, config)
        return str(found["messages"][-1].content)

    def sync(query: str) -> str:
        found = graph.invoke({"messages": [("user", query)]}, config)
        return str(found["messages"][-1].content)

    delegate.func = sync  # type: ignore[attr-defined]
    return delegate


def nested(model: Any, cap: StepCap) -> Any:
    """An agent whose tool is an agent whose tool is an agent."""
    inner = agent(model, [search], cap=cap)
    middle = agent(model, [as_tool(inner, "search")], cap=cap)
    return agent(model, [as_tool(middle, "search")], cap=cap)


def before(sub: Any, last: Any) -> Any:
    """A graph that is a node, and a node that asks the model afterwards."""

    def write(state: MessagesState) -> Any:
        return {"messages": [last.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("sub", sub)
    graph.add_node("write", write)
    graph.add_edge(START, "sub")
    graph.add_edge("sub", "write")
    return graph.compile()


@tool
def ask_user(query: str) -> str:
    """Ask the user."""
    return str(interrupt(query))


def asking(model: Any, saver: Any = None, *, below: bool = False) -> Any:
    """An agent that asks its user, which may be the node of another graph."""
    saver = saver or InMemorySaver()
    if not below:
        return agent(model, [ask_user], checkpointer=saver)
    graph = StateGraph(MessagesState)
    graph.add_node("sub", agent(model, [ask_user]))
    graph.add_edge(START, "sub")
    return graph.compile(checkpointer=saver)


def on(thread: str, cap: StepCap) -> Any:
    return {"callbacks": [cap], "configurable": {"thread_id": thread}}


def retried(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The model, tried twice without a pause."""
    return model.with_retry(stop_after_attempt=2, wait_exponential_jitter=False)


def done(message: AnyMessage) -> list[tuple[str, str]]:
    notes = message.response_metadata.get("lean", [])
    return [(note["lever"], note["action"]) for note in notes]


CAPPED, STOPPED = [("steps", "capped")], [("steps", "stopped")]


class TestAnAgent:
    @every_way
    async def test_it_answers_where_the_recursion_limit_would_raise(
        self, go: Go
    ) -> None:
        limit = {"recursion_limit": 60}
        model, cap = Restless(), StepCap(20)
        with pytest.raises(GraphRecursionError):
            await go(agent(model.bind_tools([search]), [search]), ASKED, limit)
        assert len(model.calls) == 30
        model = Restless()
        capped = agent(cap.model(model.bind_tools([search])), [search])
        state = await go(capped, ASKED, {"callbacks": [cap], **limit})
        answer = state["messages"][-1]
        assert answer.content == "I could not find it."
        assert done(answer) == CAPPED
        assert len(model.calls) == 21

    @every_way
    async def test_one_that_is_done_before_is_left_alone(self, go: Go) -> None:
        call = tool_call(name="search", args={"query": "it"}, id="call")
        model = ScriptedChatModel(
            responses=[AIMessage("", tool_calls=[call]), "There."]
        )
        cap, ledger = StepCap(2), TokenLedger()
        graph = agent(cap.model(model.bind_tools([search])), [search])
        state = await go(graph, ASKED, {"callbacks": [ledger, cap]})
        assert state["messages"][-1].content == "There."
        assert [done(message) for message in state["messages"]] == [[]] * 4
        assert [*ledger.notices()] == []

    @every_way
    async def test_one_that_goes_round_answers_after_three_times(self, go: Go) -> None:
        def answer(messages: list[BaseMessage]) -> AIMessage:
            if messages[-1].content == INSTRUCTION:
                return AIMessage("I could not find it.")
            call = tool_call(name="search", args={"query": "it"}, id=f"{len(messages)}")
            return AIMessage("", tool_calls=[call])

        model, cap = ScriptedChatModel(responses=[answer], loop=True), StepCap(20)
        graph = agent(cap.model(model.bind_tools([search])), [search])
        state = await go(graph, ASKED, {"callbacks": [cap]})
        assert done(state["messages"][-1]) == [("steps", "looped")]
        assert len(model.calls) == 4

    def test_a_stream_of_messages_shows_the_last_answer_once(self) -> None:
        model, cap = Restless(), StepCap(2)
        graph = agent(cap.model(model.bind_tools([search])), [search])
        parts = graph.stream(ASKED, {"callbacks": [cap]}, stream_mode="messages")
        said = [m.content for m, _ in parts if not isinstance(m, ToolMessage)]
        assert "".join(map(str, said)) == "I could not find it."

    async def test_events_tell_of_it(self) -> None:
        model, cap = Restless(), StepCap(1)
        graph = agent(cap.model(model.bind_tools([search])), [search])
        events = graph.astream_events(ASKED, {"callbacks": [cap]}, version="v2")
        told = [e["data"] async for e in events if e["event"] == "on_custom_event"]
        assert [each["action"] for each in told] == ["capped"]

    @pytest.mark.parametrize("order", [0, 1, 2])
    @every_way
    async def test_it_works_beside_a_guard_and_a_ledger_in_any_order(
        self, go: Go, order: int
    ) -> None:
        model, cap, ledger = Restless(), StepCap(4), TokenLedger()
        guard = BudgetGuard(Budget(calls=99, per="day"), ledger=ledger)
        handlers = [cap, guard, ledger]
        handlers = handlers[order:] + handlers[:order]
        graph = agent(cap.model(model.bind_tools([search])), [search])
        state = await go(graph, ASKED, {"callbacks": handlers})
        assert done(state["messages"][-1]) == CAPPED
        (status,) = guard.status()
        assert (status.used, status.held) == (5, 0)
        assert ledger.totals().calls == 5

    @every_way
    async def test_a_guard_that_refuses_is_not_answered_for(self, go: Go) -> None:
        model, cap = Restless(), StepCap(20)
        guard = BudgetGuard(Budget(calls=3, per="run"))
        graph = agent(cap.model(model.bind_tools([search])), [search], cap=cap)
        with pytest.raises(BudgetExceededError) as caught:
            await go(graph, ASKED, {"callbacks": [cap, guard]})
        assert caught.value.budget is guard.budgets[0]

    @every_way
    async def test_callbacks_of_a_call_alone_do_not_do(self, go: Go) -> None:
        cap = StepCap(2)
        model = cap.model(Restless().bind_tools([search]))
        graph = agent(model.with_config(callbacks=[cap]), [search])
        with pytest.raises(ConfigurationError, match="does not see this run"):
            await go(graph, ASKED, {"recursion_limit": 60})

    @every_way
    async def test_what_other_levers_ask_counts_and_stops_nobody(self, go: Go) -> None:
        model, notes = Restless(), ScriptedChatModel(responses=["Not here."], loop=True)
        cap = StepCap(16)
        memory = SummaryMemory(
            notes, max_tokens=150, keep_tokens=40, always=True, split_last_turn=True
        )
        capped = cap.model(model.bind_tools([search]))

        def ask(state: MessagesState) -> Any:
            return {"messages": [capped.invoke(state["messages"])]}

        graph = StateGraph(MessagesState)
        graph.add_node("memory", memory)
        graph.add_node("ask", ask)
        graph.add_node("tools", ToolNode([search]))
        graph.add_edge(START, "memory")
        graph.add_edge("memory", "ask")
        graph.add_conditional_edges("ask", tools_condition)
        graph.add_edge("tools", "memory")
        state = await go(graph.compile(), ASKED, {"callbacks": [cap]})
        assert done(state["messages"][-1]) == CAPPED
        assert notes.calls
        assert len(model.calls) + len(notes.calls) == 17


class TestRealClients:
    """The last answer as providers get it: they refuse tool calls without tools."""

    @pytest.mark.parametrize("go", [invoke, ainvoke])
    async def test_openai(
        self, go: Go, chat_openai: MakeChatOpenAI, openai_server: ProviderServer
    ) -> None:
        request = await self.asked_last(go, chat_openai(), openai_server)
        assert "tools" not in request
        assert request["max_completion_tokens"] == OUTPUT
        assert {message["role"] for message in request["messages"]} == {
            "user",
            "assistant",
        }
        assert not any("tool_calls" in message for message in request["messages"])

    @pytest.mark.parametrize("go", [invoke, ainvoke])
    async def test_bedrock(
        self, go: Go, chat_bedrock: MakeChatBedrock, bedrock_server: ProviderServer
    ) -> None:
        request = await self.asked_last(go, chat_bedrock(), bedrock_server)
        assert "toolConfig" not in request
        assert request["inferenceConfig"]["maxTokens"] == OUTPUT
        blocks = [b for message in request["messages"] for b in message["content"]]
        assert {key for block in blocks for key in block} == {"text"}

    async def asked_last(self, go: Go, model: Any, server: ProviderServer) -> Any:
        cap = StepCap(0)
        call = tool_call(name="search", args={"query": "it"}, id="call")
        said = [
            AIMessage("", tool_calls=[call]),
            ToolMessage("No.", tool_call_id="call"),
        ]
        given = {"messages": [*ASKED["messages"], *said]}
        graph = agent(cap.model(model.bind_tools([search])), [search])
        state = await go(graph, given, {"callbacks": [cap]})
        assert done(state["messages"][-1]) == CAPPED
        (request,) = server.requests
        return request


class TestSubAgents:
    @every_way
    async def test_they_stop_and_only_the_outermost_answers(self, go: Go) -> None:
        model, cap = Restless(), StepCap(7)
        graph = nested(cap.model(model.bind_tools([search])), cap)
        state = await go(graph, ASKED, {"callbacks": [cap]})
        *_, result, answer = state["messages"]
        assert result.content.startswith("Stopped, because the run reached its cap")
        assert (answer.content, done(answer)) == ("I could not find it.", CAPPED)
        assert len(model.calls) == 8

    @every_way
    async def test_on_models_of_their_own_their_tool_says_so(self, go: Go) -> None:
        outer, inner, cap = Restless("delegate"), Restless(), StepCap(7)
        sub = agent(inner.bind_tools([search]), [search])
        delegate = as_tool(sub, "delegate")
        graph = agent(cap.model(outer.bind_tools([delegate])), [delegate], cap=cap)
        ledger = TokenLedger()
        state = await go(graph, ASKED, {"callbacks": [ledger, cap]})
        *_, result, answer = state["messages"]
        assert (result.status, done(result)) == ("error", STOPPED)
        assert result.content == cap.stopped
        assert (answer.content, done(answer)) == ("I could not find it.", CAPPED)
        assert len(outer.calls) + len(inner.calls) == 8
        assert [n.action for n in ledger.notices()] == ["stopped", "capped"]

    @every_way
    async def test_the_refusal_of_a_guard_is_no_result_of_a_tool(self, go: Go) -> None:
        outer, inner, cap = Restless("delegate"), Restless(), StepCap(7)
        guard = BudgetGuard(Budget(calls=1, per="run"))
        delegate = as_tool(agent(inner.bind_tools([search]), [search]), "delegate")
        graph = agent(cap.model(outer.bind_tools([delegate])), [delegate], cap=cap)
        with pytest.raises(BudgetExceededError) as caught:
            await go(graph, ASKED, {"callbacks": [cap, guard]})
        assert caught.value.budget is guard.budgets[0]

    @every_way
    async def test_a_graph_that_is_a_node_stops_too(self, go: Go) -> None:
        inner, last, cap = Restless(), ScriptedChatModel(responses=["So."]), StepCap(3)
        sub = agent(cap.model(inner.bind_tools([search])), [search])
        state = await go(before(sub, cap.model(last)), ASKED, {"callbacks": [cap]})
        *_, stopped, answer = state["messages"]
        assert done(stopped) == STOPPED
        assert (answer.content, done(answer)) == ("So.", CAPPED)
        assert len(inner.calls) == 3

    @every_way
    async def test_a_graph_that_is_a_node_may_be_told_to_answer(self, go: Go) -> None:
        inner, last, cap = Restless(), ScriptedChatModel(responses=["So."]), StepCap(3)
        sub = agent(cap.model(inner.bind_tools([search]), final=True), [search])
        state = await go(before(sub, cap.model(last)), ASKED, {"callbacks": [cap]})
        *_, answer, stopped = state["messages"]
        assert (done(answer), done(stopped)) == (CAPPED, STOPPED)
        assert (len(inner.calls), len(last.calls)) == (4, 0)

    @every_way
    async def test_the_outermost_may_be_told_not_to_answer(self, go: Go) -> None:
        model, cap = Restless(), StepCap(3)
        graph = agent(cap.model(model.bind_tools([search]), final=False), [search])
        state = await go(graph, ASKED, {"callbacks": [cap]})
        assert done(state["messages"][-1]) == STOPPED
        assert len(model.calls) == 3

    @pytest.mark.parametrize("go", [invoke, ainvoke])
    async def test_the_tasks_of_a_workflow_are_none(self, go: Go) -> None:
        model, cap = Restless(), StepCap(3)
        capped = cap.model(model.bind_tools([search]))
        config: Any = {"callbacks": [cap], "configurable": {"thread_id": "t"}}

        @task
        def ask() -> Any:
            return capped.invoke("Where is it?")

        @entrypoint(checkpointer=InMemorySaver())
        def workflow(_: str) -> Any:
            answers = [ask().result() for _ in range(5)]
            return answers[-2:]

        answer, stopped = await go(workflow, "", config)
        assert (done(answer), done(stopped)) == (CAPPED, STOPPED)

    @every_way
    async def test_a_thread_of_its_own_makes_no_outermost_agent(self, go: Go) -> None:
        outer, inner, cap = Restless("delegate"), Restless(), StepCap(4)
        saver = InMemorySaver()
        sub = agent(cap.model(inner.bind_tools([search])), [search], checkpointer=saver)
        delegate = as_tool(sub, "delegate", "its own")
        graph = agent(cap.model(outer.bind_tools([delegate])), [delegate])
        state = await go(graph, ASKED, {"callbacks": [cap]})
        assert done(state["messages"][-1]) == CAPPED
        assert (len(outer.calls), len(inner.calls)) == (2, 3)

    @every_way
    async def test_a_model_in_a_tool_is_not_the_outermost(self, go: Go) -> None:
        outer, inner, cap = (
            Restless("look_up"),
            ScriptedChatModel(responses=["So."], loop=True),
            StepCap(1),
        )
        helper = cap.model(inner)

        @tool
        def look_up(query: str) -> str:
            """Look it up."""
            return str(helper.invoke(query).content)

        graph = agent(cap.model(outer.bind_tools([look_up])), [look_up])
        state = await go(graph, ASKED, {"callbacks": [cap]})
        assert done(state["messages"][-1]) == CAPPED
        assert (len(outer.calls), len(inner.calls)) == (2, 0)

    @every_way
    async def test_the_outermost_graph_the_cap_sees_is_the_one_it_is_given_to(
        self, go: Go
    ) -> None:
        model, cap = Restless(), StepCap(3)
        inner = agent(cap.model(model.bind_tools([search])), [search])

        def node(state: MessagesState) -> Any:
            found = inner.invoke(ASKED, {"callbacks": [cap]})
            return {"messages": found["messages"][-1:]}

        graph = StateGraph(MessagesState)
        graph.add_node("node", node)
        graph.add_edge(START, "node")
        state = await go(graph.compile(), ASKED, {})
        assert done(state["messages"][-1]) == CAPPED


class TestNewInputsAndResumes:
    @every_way
    async def test_each_new_input_of_a_thread_begins_at_zero(self, go: Go) -> None:
        model, cap = Restless(), StepCap(3)
        graph = agent(
            cap.model(model.bind_tools([search])),
            [search],
            checkpointer=InMemorySaver(),
        )
        for number in range(1, 4):
            state = await go(graph, ASKED, on("t", cap))
            assert done(state["messages"][-1]) == CAPPED
            assert len(model.calls) == 4 * number
            assert cap.status(thread_id="t")[0].used == 4
            assert (await cap.astatus(thread_id="t"))[0].overshoot == 1

    @every_way
    @pytest.mark.parametrize("below", [False, True])
    async def test_a_run_goes_on_counting_after_an_interrupt(
        self, go: Go, below: bool
    ) -> None:
        model, cap = Restless("ask_user"), StepCap(3)
        graph = asking(cap.model(model.bind_tools([ask_user])), below=below)
        await go(graph, ASKED, on("t", cap))
        for made in (1, 2):
            assert len(model.calls) == made
            await go(graph, Command(resume="Go on."), on("t", cap))
        state = await go(graph, Command(resume="Go on."), on("t", cap))
        answers = state["messages"]
        assert done(answers[-1]) == (STOPPED if below else CAPPED)
        assert len(model.calls) == (3 if below else 4)

    @every_way
    async def test_a_run_that_was_refused_goes_on_when_it_is_allowed_to(
        self, go: Go
    ) -> None:
        model, cap = Restless(), StepCap(2)
        graph = agent(
            model.bind_tools([search]), [search], checkpointer=InMemorySaver()
        )
        with pytest.raises(BudgetExceededError):
            await go(graph, ASKED, on("t", cap))
        for _ in range(2):
            with pytest.raises(BudgetExceededError):
                await go(graph, None, on("t", cap))
        assert len(model.calls) == 2
        cap.reset(thread_id="t")
        with pytest.raises(BudgetExceededError):
            await go(graph, None, on("t", cap))
        assert len(model.calls) == 4
        await cap.areset(thread_id="t")
        with pytest.raises(BudgetExceededError):
            await go(graph, None, on("t", cap))
        assert len(model.calls) == 6

    @pytest.mark.parametrize("go", [invoke, ainvoke])
    async def test_it_goes_on_counting_in_another_process(
        self, go: Go, shared: str
    ) -> None:
        model, saver = Restless("ask_user"), InMemorySaver()
        given = [ASKED, Command(resume="Go on."), Command(resume="Go on.")]
        for turn in range(2):
            for each in given:
                with closing(StepCap(2, store=shared)) as cap:  # as each process has
                    capped = cap.model(model.bind_tools([ask_user]))
                    state = await go(asking(capped, saver), each, on("t", cap))
                    await cap.storage.aclose()
            assert done(state["messages"][-1]) == CAPPED
            assert len(model.calls) == 3 * (turn + 1)

    @pytest.mark.parametrize("go", [invoke, ainvoke])
    async def test_a_graph_inside_of_a_chain_goes_on_counting(self, go: Go) -> None:
        model, cap = Restless("ask_user"), StepCap(1)
        graph = asking(cap.model(model.bind_tools([ask_user]))).with_retry()
        await go(graph, ASKED, on("t", cap))
        state = await go(graph, Command(resume="Go on."), on("t", cap))
        assert done(state["messages"][-1]) == CAPPED

    @every_way
    async def test_a_jump_is_a_new_input(self, go: Go) -> None:
        model, cap = Restless("ask_user"), StepCap(1)
        graph = asking(cap.model(model.bind_tools([ask_user])))
        for number, given in enumerate([ASKED, Command(update=ASKED, goto="ask")], 1):
            state = await go(graph, given, on("t", cap))
            assert done(state["messages"][-1]) == []
            assert len(model.calls) == number

    @both
    async def test_a_call_before_the_graph_does_not_lose_the_count(
        self, go: Go
    ) -> None:
        cap, model = StepCap(4), Restless("ask_user")
        before = ScriptedChatModel(responses=["en"], loop=True)
        graph = asking(cap.model(model.bind_tools([ask_user])))

        def first(given: Any) -> Any:
            before.invoke("Which language?")
            return graph.invoke(given, {"configurable": {"thread_id": "t"}})

        chain, config = RunnableLambda(first), {"callbacks": [cap]}
        await go(chain, ASKED, config)
        await go(chain, Command(resume="Go on."), config)
        state = await go(chain, Command(resume="Go on."), config)
        assert done(state["messages"][-1]) == CAPPED
        assert len(model.calls) == 3
        assert len(before.calls) == 3

    def test_a_thread_that_rested_for_long_begins_at_zero(self) -> None:
        now = [1e9]
        cap = StepCap(max_calls=1, clock=lambda: now[0])
        graph = agent(cap.model(Restless().bind_tools([search])), [search])
        for days in (0.0, 90.5, 90.5, 96.0, 97.5):
            now[0] += days * 86_400
            state = graph.invoke(ASKED, on("t", cap))
            assert done(state["messages"][-1]) == CAPPED

    @every_way
    async def test_other_chains_of_the_thread_are_no_inputs(self, go: Go) -> None:
        model, cap = Restless("ask_user"), StepCap(1)
        graph = asking(cap.model(model.bind_tools([ask_user])))
        title = RunnableLambda(str)
        with scope(thread_id="t"):
            await go(graph, ASKED, on("t", cap))
            title.invoke("", {"callbacks": [cap]})
            state = await go(graph, Command(resume="Go on."), on("t", cap))
        assert done(state["messages"][-1]) == CAPPED

    @every_way
    async def test_without_a_thread_each_run_is_its_own(self, go: Go) -> None:
        model, cap = Restless(), StepCap(2)
        graph = agent(cap.model(model.bind_tools([search])), [search])
        for number in (1, 2):
            await go(graph, ASKED, {"callbacks": [cap]})
            assert len(model.calls) == 3 * number

    async def test_a_count_is_kept_while_a_person_is_waited_for(self) -> None:
        now = [0.0]
        store = MemoryStorage(clock=lambda: now[0])
        model, cap = Restless("ask_user"), StepCap(1, store=store)
        graph = asking(cap.model(model.bind_tools([ask_user])))
        graph.invoke(ASKED, on("t", cap))
        now[0] += 30 * 86_400
        state = graph.invoke(Command(resume="Go on."), on("t", cap))
        assert done(state["messages"][-1]) == CAPPED

    async def test_inputs_long_after_each_other_begin_at_zero(self) -> None:
        now = [0.0]
        store = MemoryStorage(clock=lambda: now[0])
        model, cap = Restless(), StepCap(1, store=store)
        graph = agent(cap.model(model.bind_tools([search])), [search])
        for number in range(1, 4):
            graph.invoke(ASKED, on("t", cap))
            assert len(model.calls) == 2 * number
            now[0] += 30 * 86_400

    def test_runs_of_one_thread_at_the_same_time_do_not_count_together(self) -> None:
        cap, together = StepCap(4), threading.Barrier(8)
        models = [Restless() for _ in range(8)]
        graphs = [agent(cap.model(m.bind_tools([search])), [search]) for m in models]

        def run(graph: Any) -> Any:
            together.wait()
            return graph.invoke(ASKED, on("t", cap))["messages"][-1]

        with ThreadPoolExecutor(8) as pool:
            answers = [*pool.map(run, graphs)]
        assert [done(answer) for answer in answers] == [CAPPED] * 8
        assert [len(model.calls) for model in models] == [5] * 8


class Fanned(TypedDict):
    """What parallel branches found."""

    messages: Annotated[list[Any], add]


def fanned(model: Any, below: Any) -> Any:
    """Four branches at the same time, and a node that asks the model afterwards.

    Each branch asks the graph below it, or the model until it calls no tool.
    """

    def branch(state: Any) -> Any:
        if below is not None:
            return {"messages": below.invoke(ASKED)["messages"][-1:]}
        answer = model.invoke("Where is it?")
        while answer.tool_calls:
            answer = model.invoke("Where is it?")
        return {"messages": [answer]}

    async def abranch(state: Any) -> Any:
        if below is not None:
            found = await below.ainvoke(ASKED)
            return {"messages": found["messages"][-1:]}
        answer = await model.ainvoke("Where is it?")
        while answer.tool_calls:
            answer = await model.ainvoke("Where is it?")
        return {"messages": [answer]}

    def write(state: Any) -> Any:
        return {"messages": [model.invoke("Sum up.")]}

    async def awrite(state: Any) -> Any:
        return {"messages": [await model.ainvoke("Sum up.")]}

    graph = StateGraph(Fanned)
    graph.add_node("branch", RunnableLambda(branch, abranch), retry_policy=AT_ONCE)
    graph.add_node("write", RunnableLambda(write, awrite), retry_policy=AT_ONCE)
    graph.add_conditional_edges(START, lambda _: [Send("branch", {})] * 4, ["branch"])
    graph.add_edge("branch", "write")
    return graph.compile()


class TestExactly:
    """Never one call more than the cap and the last answer, and those if need be."""

    @every_way
    async def test_parallel_branches(self, go: Go) -> None:
        model, cap = Restless(), StepCap(10)
        graph = fanned(cap.model(model.bind_tools([search])), below=None)
        state = await go(graph, {"messages": []}, {"callbacks": [cap]})
        answers = [done(m) for m in state["messages"] if isinstance(m, AIMessage)]
        assert answers.count(CAPPED) == 1
        assert len(model.calls) == 11

    @pytest.mark.parametrize("repetition", range(2))
    @pytest.mark.parametrize("max_calls", [0, 1, 7, 20])
    @pytest.mark.parametrize("fails", [0, 3, 4])
    @pytest.mark.parametrize("go", [invoke, ainvoke])
    async def test_parallel_branches_of_nested_agents_with_retries(
        self, go: Go, fails: int, max_calls: int, repetition: int, hurried: None
    ) -> None:
        cap, model = StepCap(max_calls), Restless(fails=fails)
        capped = cap.model(retried(model.bind_tools([search])))
        graph = fanned(capped, below=nested(capped, cap))
        state = await go(graph, {"messages": []}, {"callbacks": [cap]})
        assert len(model.calls) == max_calls + 1
        assert state["messages"][-1].content

    @pytest.mark.parametrize("go", [invoke, ainvoke])
    async def test_in_a_shared_store(self, go: Go, shared: str) -> None:
        with closing(StepCap(9, store=shared)) as cap:
            model = Restless(fails=4)
            capped = cap.model(model.bind_tools([search]))
            graph = fanned(capped, below=nested(capped, cap))
            await go(graph, {"messages": []}, on("t", cap))
            await cap.storage.aclose()
        assert len(model.calls) == 10

    @pytest.mark.parametrize("go", [invoke, ainvoke])
    async def test_models_it_was_not_told_of_are_refused(
        self, go: Go, hurried: None
    ) -> None:
        cap, model = StepCap(9), Restless(fails=4)
        plain = model.bind_tools([search])
        graph = fanned(plain, below=nested(plain, cap))
        with pytest.raises(BudgetExceededError):
            await go(graph, {"messages": []}, {"callbacks": [cap]})
        assert len(model.calls) == 9


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
