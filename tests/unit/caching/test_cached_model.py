"""A cached model in chains and graphs: what it gives, streams and shares."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, TypedDict

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.messages.tool import tool_call
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel

from langchain_lean import (
    Budget,
    BudgetExceededError,
    BudgetGuard,
    EscalationRouter,
    TokenLedger,
    scope,
    track,
)
from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.answer_checks import AnswerChecks
from tests.unit.caching.caches import (
    CARD,
    CARD_TOO,
    RATE,
    Ask,
    all_forms,
    astream,
    both,
    invoke,
    lean,
    model,
    semantic,
    stream,
)

_WAIT = 60  # seconds for a thread on a busy machine


def graph(node: Any, **options: Any) -> Any:
    built = StateGraph(MessagesState).add_node("answer", node)
    return built.add_edge(START, "answer").compile(**options)


class Gate:
    """A model's answer that waits until it is let through."""

    def __init__(self, error: Exception | None = None) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.error = error
        self.count = 0
        self._lock = threading.Lock()

    def __call__(self, messages: Any) -> str:
        with self._lock:
            self.count += 1
            first = self.count == 1
        self.entered.set()
        assert self.open.wait(_WAIT)
        if first and self.error is not None:
            raise self.error
        return f"answer {self.count}"


@all_forms
class TestInEveryForm:
    async def test_what_was_asked_before_is_not_asked_again(self, ask: Ask) -> None:
        inner = model()
        cached = semantic().model(inner)
        first = await ask(cached, CARD)
        same, other = await ask(cached, CARD), await ask(cached, CARD_TOO)
        assert first.text == same.text == other.text
        assert (lean(same)["kind"], lean(other)["kind"]) == ("exact", "semantic")
        assert len(inner.calls) == 1

    async def test_a_hit_has_the_marks_of_langchain_and_an_id_of_its_own(
        self, ask: Ask
    ) -> None:
        cached = semantic().model(model())
        first = await ask(cached, CARD)
        hits = [await ask(cached, CARD) for _ in range(2)]
        assert len({first.id, *(hit.id for hit in hits)}) == 3
        for hit in hits:
            assert hit.usage_metadata["total_cost"] == 0
            assert hit.usage_metadata["input_tokens"] > 0
            assert Decimal(lean(hit)["saved_usd"]) > 0
            assert lean(hit)["age_seconds"] >= 0

    async def test_the_ledger_has_what_hits_saved_and_how_often_there_was_none(
        self, ask: Ask
    ) -> None:
        cached = semantic().model(model())
        with track(TokenLedger()) as ledger:
            for question in (CARD, CARD, CARD_TOO, RATE):
                await ask(cached, question)
        saved = ledger.savings().levers["cache"]
        assert (saved.count, saved.misses) == (2, 2)
        assert saved.exact > 0
        assert saved.counterfactual > 0
        assert ledger.totals().calls == 2

    async def test_it_finds_what_a_model_with_the_cache_inside_has_kept(
        self, ask: Ask
    ) -> None:
        cache = semantic()
        await asyncio.to_thread(model(cache=cache).invoke, CARD)
        assert lean(await ask(cache.model(model()), CARD))["kind"] == "exact"

    async def test_a_prompt_in_front_and_a_parser_behind_work(self, ask: Ask) -> None:
        prompt = ChatPromptTemplate.from_messages(
            [("system", "Be kind."), ("human", "{question}")]
        )
        inner = model()
        chain = prompt | semantic().model(inner) | StrOutputParser()
        answers = [await ask(chain, {"question": q}) for q in (CARD, CARD_TOO)]
        assert answers[0] == answers[1]
        assert len(inner.calls) == 1

    async def test_a_fresh_answer_says_why_the_cache_had_none(self, ask: Ask) -> None:
        cached = semantic(threshold=0.95).model(model())
        assert lean(await ask(cached, CARD)) == {
            "lever": "cache",
            "action": "missed",
            "reason": "no question that is close enough was asked before",
            "similarity": None,
        }
        found = await ask(cached, CARD_TOO)
        assert lean(found)["similarity"] == pytest.approx(0.894, abs=0.001)

    async def test_an_answer_without_usage_comes_again(self, ask: Ask) -> None:
        silent = FakeListChatModel(responses=["one two three four five", "other"])
        cached = semantic().model(silent)
        await invoke(cached, CARD)
        found = await ask(cached, CARD)
        assert found.text == "one two three four five"
        assert found.usage_metadata is None

    async def test_a_model_that_fails_raises_and_keeps_nothing(self, ask: Ask) -> None:
        cached = semantic().model(model(TimeoutError("no answer")))
        for _ in range(2):
            with pytest.raises(TimeoutError, match="no answer"):
                await ask(cached, CARD)


class TestStreams:
    def test_a_hit_comes_in_pieces_that_make_the_whole_answer(self) -> None:
        text = "One, two,  three\n\nfour five six seven. " * 5 + "日本語のテキスト" * 9
        cached = semantic().model(model(text))
        first = cached.invoke(CARD)
        chunks = list(cached.stream(CARD))
        assert len(chunks) > 5
        assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
        whole = sum(chunks[1:], start=chunks[0])
        assert whole.text == first.text
        assert (
            whole.usage_metadata["input_tokens"] == first.usage_metadata["input_tokens"]
        )
        assert lean(whole)["kind"] == "exact"

    def test_a_hit_with_tool_calls_keeps_them(self) -> None:
        called = AIMessage(
            "Wait.", tool_calls=[tool_call(name="f", args={"a": 1}, id="1")]
        )
        cached = semantic(tool_calls=True).model(model(called))
        cached.invoke(CARD)
        first, *others = cached.stream(CARD)
        assert sum(others, start=first).tool_calls[0]["args"] == {"a": 1}

    @pytest.mark.parametrize("half", ["half", "h"])  # a character is a piece
    def test_a_stream_that_does_not_say_how_it_ended_may_be_cut_and_is_not_kept(
        self, half: str
    ) -> None:
        cached = semantic().model(FakeListChatModel(responses=[half, "whole"]))
        assert "".join(chunk.text for chunk in cached.stream(CARD)) == half
        assert cached.invoke(CARD).text == "whole"

    def test_a_stream_that_is_not_read_to_its_end_keeps_nothing(self) -> None:
        inner = model("one two three four five six")
        cached = semantic().model(inner)
        stream = cached.stream(CARD)
        next(stream)
        stream.close()
        assert lean(cached.invoke(CARD))["action"] == "missed"
        assert len(inner.calls) == 2

    async def test_a_graph_shows_a_hit_in_pieces_once(self) -> None:
        agent = graph(semantic().model(model("one two three four five six seven")))
        given = {"messages": [HumanMessage(CARD)]}
        await agent.ainvoke(given)
        shown = [
            chunk async for chunk, _ in agent.astream(given, stream_mode="messages")
        ]
        assert len(shown) > 1
        assert (
            "".join(chunk.text for chunk in shown)
            == "one two three four five six seven"
        )


@both
class TestInAGraph:
    async def test_it_is_a_node(self, ask: Ask) -> None:
        agent = graph(semantic().model(model()))
        first = (await ask(agent, {"messages": [HumanMessage(CARD)]}))["messages"]
        again = (await ask(agent, {"messages": [HumanMessage(CARD_TOO)]}))["messages"]
        assert again[-1].text == first[-1].text
        assert lean(again[-1])["kind"] == "semantic"

    async def test_an_answer_that_comes_again_in_a_thread_replaces_no_earlier_one(
        self, ask: Ask
    ) -> None:
        saver = InMemorySaver()
        agent = graph(semantic().model(model()), checkpointer=saver).with_config(
            configurable={"thread_id": "1"}
        )
        other = agent.with_config(configurable={"thread_id": "2"})
        for each in (agent, other):
            for _ in range(2):
                state = await ask(each, {"messages": [HumanMessage("Hi")]})
        assert len(state["messages"]) == 4

    async def test_a_node_takes_messages_from_a_key_of_its_own(self, ask: Ask) -> None:
        cached = semantic().model(model(), messages_key="chat")
        given = {"chat": [HumanMessage(CARD)]}
        await ask(cached, given)
        [found] = (await ask(cached, given))["chat"]
        assert lean(found)["kind"] == "exact"

    async def test_a_state_without_messages_is_refused(self, ask: Ask) -> None:
        with pytest.raises(ConfigurationError, match="takes messages, a prompt, or"):
            await ask(semantic().model(model()), {"other": 1})


@both
class TestWhoIsAsked:
    async def test_tools_that_are_bound_later_are_part_of_the_key(
        self, ask: Ask
    ) -> None:
        @tool
        def refund(order: int) -> str:
            """Pay an order back."""
            return "done"

        inner = model()
        cached = semantic().model(inner)
        await ask(cached, CARD)
        await ask(cached.bind_tools([refund]), CARD)
        await ask(cached.bind_tools([refund]), CARD)
        assert len(inner.calls) == 2

    async def test_a_model_with_a_budget_is_asked_within_it(self, ask: Ask) -> None:
        guard = BudgetGuard(Budget(calls=1, per="total"))
        inner = model()
        cached = semantic().model(guard.model(inner))
        first = await ask(cached, CARD)
        assert (await ask(cached, CARD)).text == first.text
        with pytest.raises(BudgetExceededError):
            await ask(cached, RATE)

    async def test_a_router_needs_an_identity(self, ask: Ask) -> None:
        router = EscalationRouter(
            {"cheap": model(), "strong": model(model_name="claude-sonnet-4-5")},
            policy=AnswerChecks(),
        )
        with pytest.raises(ConfigurationError, match="identity="):
            semantic().model(router)
        cached = semantic().model(router, identity="desk 1")
        await ask(cached, CARD)
        assert lean(await ask(cached, CARD_TOO))["kind"] == "semantic"

    async def test_a_whole_graph_is_cached(self, ask: Ask) -> None:
        inner = model()
        cached = semantic().model(graph(inner_node(inner)), identity="desk")
        outer = graph(cached)
        given = {"messages": [HumanMessage(CARD)]}
        first = (await ask(outer, given))["messages"][-1]
        again = (await ask(outer, given))["messages"]
        assert [message.text for message in again] == [CARD, first.text]
        assert len(inner.calls) == 1

    async def test_models_with_fallbacks_are_a_node_with_an_identity(
        self, ask: Ask
    ) -> None:
        inner = model()
        both_models = inner.with_fallbacks([model()])
        with pytest.raises(ConfigurationError, match="identity="):
            semantic().model(both_models)
        agent = graph(semantic().model(both_models, identity="1"))
        for _ in range(2):
            state = await ask(agent, {"messages": [HumanMessage(CARD)]})
        assert lean(state["messages"][-1])["kind"] == "exact"

    async def test_an_identity_does_not_replace_the_model_and_its_parameters(
        self, ask: Ask
    ) -> None:
        cache = semantic()
        await ask(cache.model(model(), identity="desk"), CARD)
        other = model(model_name="claude-sonnet-4-5")
        found = await ask(cache.model(other, identity="desk"), CARD)
        assert lean(found)["action"] == "missed"
        hot = cache.model(model().bind(temperature=1), identity="desk")
        for _ in range(2):
            assert not lean(await ask(hot, CARD))

    async def test_what_else_stands_in_the_state_of_a_graph_is_part_of_the_key(
        self, ask: Ask
    ) -> None:
        class State(MessagesState):
            lang: str

        def answer(state: State) -> dict[str, Any]:
            return {"messages": [AIMessage(f"in {state['lang']}")]}

        inner = StateGraph(State).add_node("a", answer).add_edge(START, "a").compile()
        cached = semantic().model(inner, identity="desk")
        said = []
        for lang in ("de", "fr", "de"):
            given = {"messages": [HumanMessage(CARD)], "lang": lang}
            state = await ask(cached, given)
            said.append((state["messages"][-1].text, state["lang"]))
        assert said == [("in de", "de"), ("in fr", "fr"), ("in de", "de")]
        assert lean(state["messages"][-1])["kind"] == "exact"
        assert (await ask(cached, {**given, "lang": object()}))["messages"]

    async def test_a_graph_that_remembers_its_threads_is_not_cached_in_one(
        self, ask: Ask, caplog: pytest.LogCaptureFixture
    ) -> None:
        inner = model()
        remembering = graph(inner_node(inner), checkpointer=InMemorySaver())
        cached = semantic().model(remembering, identity="desk")
        for user in ("ada", "bob"):
            thread = cached.with_config(configurable={"thread_id": user})
            state = await ask(thread, {"messages": [HumanMessage(CARD)]})
            assert not lean(state["messages"][-1])
        assert caplog.text.count("cache.nodes") == 1

    @pytest.mark.parametrize(
        "messages",
        ["Where?", [("user", "Where?")], [{"role": "user", "content": "Where?"}]],
    )
    async def test_a_graph_takes_messages_in_any_form(
        self, ask: Ask, messages: Any
    ) -> None:
        cached = semantic().model(graph(inner_node(model())), identity="desk")
        for _ in range(2):
            state = await ask(cached, {"messages": messages})
        assert lean(state["messages"][-1])["kind"] == "exact"

    async def test_a_graph_that_is_interrupted_is_let_be(self, ask: Ask) -> None:
        def answer(state: MessagesState) -> dict[str, Any]:
            return {"messages": [AIMessage(interrupt("Really?"))]}

        cached = semantic().model(graph(answer), identity="desk")
        saver = graph(cached, checkpointer=InMemorySaver())
        thread = saver.with_config(configurable={"thread_id": "1"})
        state = await ask(thread, {"messages": [HumanMessage(CARD)]})
        assert state["__interrupt__"][0].value == "Really?"

    @pytest.mark.parametrize("streaming", [stream, astream])
    async def test_a_graph_s_stream_of_a_text_is_its_answer(
        self, ask: Ask, streaming: Ask
    ) -> None:
        cached = semantic().model(graph(inner_node(model())), identity="desk")
        first = await ask(cached, CARD)
        assert (await streaming(cached, CARD)).text == first.text

    async def test_a_graph_takes_a_text(self, ask: Ask) -> None:
        cached = semantic().model(graph(inner_node(model())), identity="desk")
        first = await ask(cached, CARD)
        assert (await ask(cached, CARD)).text == first.text

    async def test_a_cache_inside_and_around_counts_once(self, ask: Ask) -> None:
        cache = semantic()
        inner = model(cache=cache)
        with track(TokenLedger()) as ledger:
            for _ in range(2):
                await ask(cache.model(inner), CARD)
        saved = ledger.savings().levers["cache"]
        assert (saved.count, saved.misses) == (1, 1)

    async def test_another_identity_misses(self, ask: Ask) -> None:
        cache, inner = semantic(), model()
        for name in ("May", "June"):
            await ask(cache.model(inner, identity=name), CARD)
        assert len(inner.calls) == 2

    async def test_what_answers_without_a_message_is_refused(self, ask: Ask) -> None:
        cached = semantic().model(model() | StrOutputParser(), identity="x")
        with pytest.raises(ConfigurationError, match="put a parser behind"):
            await ask(cached, CARD)

    @pytest.mark.parametrize("given", ["gpt-4o", None, RunnableLambda(lambda x: x)])
    async def test_what_is_no_model_is_refused(self, ask: Ask, given: Any) -> None:
        with pytest.raises(ConfigurationError):
            semantic().model(given)


class Refund(BaseModel):
    """A refund."""

    order: int


@both
class TestStructuredOutput:
    async def test_answers_of_a_schema_are_kept(self, ask: Ask) -> None:
        inner = model({"order": 7})
        cached = semantic().model(inner).with_structured_output(Refund)
        answers = [await ask(cached, CARD) for _ in range(2)]
        assert answers == [Refund(order=7)] * 2
        assert len(inner.calls) == 1

    async def test_a_typed_dict_is_a_schema_too(self, ask: Ask) -> None:
        class Local(TypedDict):
            """A refund."""

            order: int

        inner = model({"order": 7})
        cached = semantic().model(inner).with_structured_output(Local)
        for _ in range(2):
            assert await ask(cached, CARD) == {"order": 7}
        assert len(inner.calls) == 1

    async def test_another_schema_misses(self, ask: Ask) -> None:
        class Order(BaseModel):
            """An order."""

            order: int

        inner = model({"order": 7})
        for schema in (Refund, Order):
            cached = semantic().model(inner).with_structured_output(schema)
            await ask(cached, CARD)
        assert len(inner.calls) == 2

    async def test_what_has_no_such_answers_is_refused(self, ask: Ask) -> None:
        for cached, more in (
            (semantic().model(RunnableLambda(str), identity="x"), {}),
            (semantic().model(model({"order": 7})), {"include_raw": True}),
        ):
            with pytest.raises(ConfigurationError, match="put a parser behind"):
                cached.with_structured_output(Refund, **more)


@both
class TestTenants:
    async def test_the_tenant_comes_from_the_metadata_of_the_call(
        self, ask: Ask
    ) -> None:
        cached = semantic(tenant_by="user_id").model(model())
        ada, bob = (
            cached.with_config(metadata={"user_id": user}) for user in ("ada", "bob")
        )
        await ask(ada, CARD)
        assert lean(await ask(bob, CARD_TOO))["action"] == "missed"
        assert lean(await ask(ada, CARD_TOO))["kind"] == "semantic"

    async def test_the_tenant_comes_from_the_scope_or_the_graph(self, ask: Ask) -> None:
        cached = semantic(tenant_by="user_id").model(model())
        agent = graph(cached).with_config(configurable={"user_id": "ada"})
        await ask(agent, {"messages": [HumanMessage(CARD)]})
        with scope(user_id="ada"):
            assert lean(await ask(cached, CARD))["kind"] == "exact"

    @pytest.mark.parametrize("nobody", ["", None])
    async def test_who_says_to_be_nobody_is_not_who_the_scope_names(
        self, ask: Ask, nobody: str | None
    ) -> None:
        cached = semantic(tenant_by="user_id").model(model())
        with scope(user_id="ada"):
            await ask(cached, CARD)
            anybody = cached.with_config(metadata={"user_id": nobody})
            if nobody is not None:  # LangChain drops what is None
                assert not lean(await ask(anybody, CARD))

    async def test_a_tenant_may_be_called_0(self, ask: Ask) -> None:
        cached = semantic(tenant_by="user_id").model(model())
        nought = cached.with_config(metadata={"user_id": 0})
        await ask(nought, CARD)
        assert lean(await ask(nought, CARD))["kind"] == "exact"

    async def test_without_a_tenant_the_model_is_asked(self, ask: Ask) -> None:
        inner = model()
        cached = semantic(tenant_by="user_id").model(inner)
        for _ in range(2):
            assert not lean(await ask(cached, CARD))
        assert len(inner.calls) == 2


@both
async def test_what_was_kept_without_a_tag_is_not_found_with_it(ask: Ask) -> None:
    cache = semantic()
    await ask(cache.model(model()), CARD)
    tagged = cache.model(model(), tags=["prices"])
    assert lean(await ask(tagged, CARD))["action"] == "missed"


class Told(AsyncCallbackHandler):
    """Notes in which loop it is told of an event."""

    def __init__(self) -> None:
        self.loops: list[Any] = []

    async def on_custom_event(self, name: str, data: Any, **more: Any) -> None:
        await asyncio.sleep(0)
        self.loops.append(asyncio.get_running_loop())


async def test_async_handlers_are_told_in_their_own_loop() -> None:
    told = Told()
    cached = semantic().model(model())
    for _ in range(2):
        await cached.ainvoke(CARD, {"callbacks": [told]})
    assert told.loops == [asyncio.get_running_loop()] * 2


@both
async def test_tags_of_a_model_invalidate_its_answers(ask: Ask) -> None:
    cache = semantic(tags=["all"])
    prices, other = cache.model(model(), tags=["prices"]), cache.model(model())
    await ask(prices, CARD)
    await ask(other, RATE)
    assert cache.invalidate(tag="prices") == 1
    assert lean(await ask(prices, CARD))["action"] == "missed"
    assert cache.invalidate(tag="all") == 2


class TestTheSameAtTheSameTime:
    def test_a_hundred_threads_make_one_call(self) -> None:
        gate = Gate()
        cached = semantic().model(model(gate))
        with ThreadPoolExecutor(100) as pool:
            answers = [pool.submit(cached.invoke, CARD) for _ in range(100)]
            assert gate.entered.wait(_WAIT)
            gate.open.set()
            texts = {answer.result(_WAIT).text for answer in answers}
        assert texts == {"answer 1"}
        assert gate.count == 1

    async def test_a_hundred_tasks_make_one_call(self) -> None:
        gate = Gate()
        gate.open.set()
        cached = semantic().model(model(gate))
        answers = await asyncio.gather(*(cached.ainvoke(CARD) for _ in range(100)))
        assert {answer.text for answer in answers} == {"answer 1"}
        assert gate.count == 1

    def test_a_call_that_fails_frees_the_others(self) -> None:
        gate = Gate(TimeoutError("no answer"))
        cached = semantic().model(model(gate))
        with ThreadPoolExecutor(20) as pool:
            answers = [pool.submit(cached.invoke, CARD) for _ in range(20)]
            assert gate.entered.wait(_WAIT)
            gate.open.set()
            failed = [a for a in answers if a.exception(_WAIT) is not None]
        assert len(failed) == 1
        assert gate.count <= 20

    async def test_a_call_that_is_cancelled_frees_the_others(self) -> None:
        entered, never = asyncio.Event(), asyncio.Event()
        count = 0

        async def answer(messages: Any) -> AIMessage:
            nonlocal count
            count += 1
            if count == 1:
                entered.set()
                await never.wait()
            return AIMessage("here")

        def sync(messages: Any) -> AIMessage:
            raise NotImplementedError

        cached = semantic().model(RunnableLambda(sync, answer), identity="x")
        first = asyncio.create_task(cached.ainvoke(CARD))
        await entered.wait()
        second = asyncio.create_task(cached.ainvoke(CARD))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).text == "here"

    def test_a_stream_that_stops_frees_the_others(self) -> None:
        cached = semantic().model(model("one two three four five six"))
        stream = cached.stream(CARD)
        next(stream)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(cached.invoke, CARD)
            stream.close()
            assert other.result(_WAIT).text.startswith("one")

    async def test_a_sync_call_in_an_event_loop_does_not_wait_for_a_task(self) -> None:
        entered, go = asyncio.Event(), asyncio.Event()

        async def answer(messages: Any) -> AIMessage:
            entered.set()
            await go.wait()
            return AIMessage("async")

        cached = semantic().model(
            RunnableLambda(lambda messages: AIMessage("sync"), answer), identity="x"
        )
        task = asyncio.create_task(cached.ainvoke(CARD))
        await entered.wait()
        assert cached.invoke(CARD).text == "sync"
        go.set()
        assert (await task).text == "async"

    def test_each_who_waited_has_an_answer_of_its_own(self) -> None:
        entered, go = threading.Event(), threading.Event()

        def slow(messages: Any) -> AIMessage:
            entered.set()
            assert go.wait(_WAIT)
            return AIMessage([{"type": "text", "text": "Hi"}])

        cached = semantic().model(RunnableLambda(slow), identity="x")
        with ThreadPoolExecutor(5) as pool:
            asked = [pool.submit(cached.invoke, CARD) for _ in range(5)]
            assert entered.wait(_WAIT)
            go.set()
            answers = [each.result(_WAIT) for each in asked]
        answers[1].content.append("mine")
        assert sum("mine" in answer.content for answer in answers) == 1
        assert all(lean(answer).get("saved_seconds", 0.0) == 0 for answer in answers)

    async def test_a_thread_does_not_wait_for_a_task(self) -> None:
        """Its loop may need the very thread."""
        entered, go = asyncio.Event(), asyncio.Event()

        async def answer(messages: Any) -> AIMessage:
            entered.set()
            await go.wait()
            return AIMessage("async")

        cached = semantic().model(
            RunnableLambda(lambda messages: AIMessage("sync"), answer), identity="x"
        )
        task = asyncio.create_task(cached.ainvoke(CARD))
        await entered.wait()
        others = [asyncio.to_thread(cached.invoke, CARD) for _ in range(40)]
        assert {answer.text for answer in await asyncio.gather(*others)} == {"sync"}
        go.set()
        await task

    def test_a_call_that_asks_the_same_inside_does_not_wait_for_itself(self) -> None:
        inner = model()

        def nested(messages: Any) -> AIMessage:
            if len(calls) < 1:
                calls.append(1)
                return AIMessage(cached.invoke(CARD).text)
            return AIMessage(inner.invoke(messages).text)

        calls: list[int] = []
        cached = semantic().model(RunnableLambda(nested), identity="x")
        assert cached.invoke(CARD).text.startswith("answer 1")

    def test_where_an_answer_is_not_kept_nobody_waits_again(self) -> None:
        gate = Gate()
        cached = semantic(tool_calls=False).model(model(gate).bind(temperature=0))
        empty = semantic().model(model(lambda messages: gate(messages) and " "))
        with ThreadPoolExecutor(10) as pool:
            asked = [pool.submit(empty.invoke, CARD) for _ in range(10)]
            assert gate.entered.wait(_WAIT)
            gate.open.set()
            assert {each.result(_WAIT).text for each in asked} == {" "}
        assert gate.count == 10
        assert cached.invoke(CARD).text

    def test_those_who_waited_say_so_as_a_hit(self) -> None:
        gate = Gate()
        cached = semantic().model(model(gate))
        with track(TokenLedger()) as ledger, ThreadPoolExecutor(2) as pool:
            first = pool.submit(run_in_context(cached.invoke), CARD)
            assert gate.entered.wait(_WAIT)
            second = pool.submit(run_in_context(cached.invoke), CARD)
            gate.open.set()
            assert lean(first.result(_WAIT))["action"] == "missed"
            assert lean(second.result(_WAIT))["kind"] == "exact"
        assert ledger.savings().levers["cache"].count == 1


def run_in_context(call: Any) -> Any:
    from contextvars import copy_context

    context = copy_context()
    return lambda *args: context.run(call, *args)


def inner_node(inner: Any) -> Any:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [inner.invoke(state["messages"])]}

    return answer
