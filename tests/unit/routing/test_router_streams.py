"""What a stream shows of a routed answer: its tokens once it stands, never others."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver

from langchain_lean import TokenLedger
from langchain_lean.accounting.recording.events import TRIAL
from langchain_lean.routing.combined import all_of, any_of
from langchain_lean.routing.self_screen import SelfScreen
from langchain_lean.routing.verdict import EscalationPolicy, Verdict
from tests.unit.routing.ladders import (
    ASKED,
    BAD,
    STRONG,
    Bad,
    graph,
    lean,
    model,
    router,
)

MODES = ("values", "updates", "messages", "custom", "debug", "tasks", "checkpoints")
GOOD = "This is a good answer in seven words."
SECRET = "Hidden: a bad answer."

Parts = Callable[..., Awaitable[list[Any]]]


async def stream(runnable: Any, given: Any, **options: Any) -> list[Any]:
    return list(runnable.stream(given, **options))


async def astream(runnable: Any, given: Any, **options: Any) -> list[Any]:
    return [part async for part in runnable.astream(given, **options)]


both = pytest.mark.parametrize("parts", [stream, astream])


def tokens(parts: Sequence[tuple[Any, Any]]) -> list[str]:
    """The texts of a stream of messages that are not empty."""
    return [message.text for message, _ in parts if message.text]


class Watching(EscalationPolicy):
    """Lets everything pass, and remembers when it was asked."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def judge(self, messages: Sequence[BaseMessage], answer: AIMessage) -> Verdict:
        self.seen.append("judged")
        return Verdict(False)


class TestInAGraph:
    @both
    async def test_an_accepted_cheap_answer_comes_token_by_token(
        self, parts: Parts
    ) -> None:
        given = await parts(
            graph(router(GOOD)), {"messages": ASKED}, stream_mode="messages"
        )
        assert tokens(given) == re.findall(r"\S+ ?", GOOD)
        assert all(isinstance(message, AIMessageChunk) for message, _ in given)
        assert len({message.id for message, _ in given}) == 1
        assert {meta["langgraph_node"] for _, meta in given} == {"answer"}
        assert not any("lc_source" in meta for _, meta in given)

    @both
    async def test_the_strong_answer_comes_token_by_token(self, parts: Parts) -> None:
        given = await parts(
            graph(router(BAD, GOOD)), {"messages": ASKED}, stream_mode="messages"
        )
        assert "".join(tokens(given)) == GOOD
        assert len(tokens(given)) == 8

    @both
    @pytest.mark.parametrize("mode", MODES)
    async def test_no_mode_shows_a_rejected_answer(
        self, parts: Parts, mode: str
    ) -> None:
        for policy in (Bad(), any_of(SelfScreen(), Bad())):
            asked = graph(router(SECRET, GOOD, policy=policy))
            given = await parts(asked, {"messages": ASKED}, stream_mode=mode)
            assert "Hidden" not in str(given)

    @both
    async def test_all_modes_at_once_in_a_sub_graph_show_none_either(
        self, parts: Parts
    ) -> None:
        asked = graph(graph(router(SECRET, GOOD)), checkpointer=InMemorySaver())
        given = await parts(
            asked,
            {"messages": ASKED},
            config={"configurable": {"thread_id": "1"}},
            stream_mode=list(MODES),
            subgraphs=True,
        )
        assert "Hidden" not in str(given)
        shown = [data for _, mode, data in given if mode == "messages"]
        assert "".join(tokens(shown)) == GOOD

    def test_a_sub_graph_streams_the_accepted_answer(self) -> None:
        asked = graph(graph(router(GOOD)))
        given = asked.stream(
            {"messages": ASKED}, stream_mode="messages", subgraphs=True
        )
        assert len(tokens([data for _, data in given])) == 8

    @both
    async def test_the_route_comes_with_a_last_empty_chunk(self, parts: Parts) -> None:
        given = await parts(
            graph(router(BAD, GOOD)), {"messages": ASKED}, stream_mode="messages"
        )
        last, _ = given[-1]
        assert last.text == ""
        assert lean(last)[0]["route"]["model"] == "sonnet"

    @both
    async def test_nothing_is_shown_before_the_verdict(self, parts: Parts) -> None:
        seen: list[str] = []
        asked = graph(router(GOOD, policy=Watching(seen)))
        for message, _ in asked.stream({"messages": ASKED}, stream_mode="messages"):
            seen.append(message.text)
        assert seen[0] == "judged"
        assert "".join(seen[1:]) == GOOD

    @both
    async def test_a_model_is_tried_again_there_too(self, parts: Parts) -> None:
        flaky = model(ConnectionError("gone"), GOOD)
        others = model(ConnectionError("gone")).with_fallbacks([model(GOOD)])
        retried = flaky.with_retry(wait_exponential_jitter=False)
        for cheap in (retried, others):
            given = await parts(
                graph(router(cheap)), {"messages": ASKED}, stream_mode="messages"
            )
            assert "".join(tokens(given)) == GOOD

    @both
    async def test_what_a_policy_of_your_own_asks_is_not_shown(
        self, parts: Parts
    ) -> None:
        judge = model("Hidden: 3 of 10.")

        class Asks(EscalationPolicy):
            def judge(
                self, messages: Sequence[BaseMessage], answer: AIMessage
            ) -> Verdict:
                return Verdict("3" in judge.invoke("How good is it?").text)

        ledger = TokenLedger()
        given = await parts(
            graph(router(SECRET, GOOD, policy=Asks())),
            {"messages": ASKED},
            config={"callbacks": [ledger]},
            stream_mode="messages",
        )
        assert "".join(tokens(given)) == GOOD
        assert ledger.totals(by="source")["routing"].calls == 2

    def test_a_node_that_shows_nothing_shows_no_accepted_answer_either(self) -> None:
        asked = router(GOOD)

        def silent(state: Any) -> Any:
            return {"note": asked.invoke(state["messages"], {"tags": ["nostream"]}).id}

        given = graph(silent).stream({"messages": ASKED}, stream_mode="messages")
        assert tokens(list(given)) == []

    @both
    async def test_answers_that_a_function_made_are_shown(self, parts: Parts) -> None:
        cheap = model(GOOD) | RunnableLambda(lambda said: AIMessage(said.text))
        given = await parts(
            graph(router(cheap)), {"messages": ASKED}, stream_mode="messages"
        )
        assert "".join(tokens(given)) == GOOD

    def test_the_state_holds_the_answer_once(self) -> None:
        *_, state = graph(router(GOOD)).stream(
            {"messages": ASKED}, stream_mode="values"
        )
        assert [message.text for message in state["messages"]] == ["Why?", GOOD]

    @pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
    def test_events_of_version_three_give_the_answer_once(self) -> None:
        for cheap, shown in ((GOOD, GOOD), (SECRET, "The strong answer.")):
            run = graph(router(cheap)).stream_events({"messages": ASKED}, version="v3")
            texts = [str(message.text) for message in run.messages]
            assert texts == [shown]

    async def test_every_call_stands_in_the_event_log_and_trials_are_marked(
        self,
    ) -> None:
        asked = graph(router(SECRET, GOOD))
        events = [
            event
            async for event in asked.astream_events({"messages": ASKED}, version="v2")
            if event["event"] == "on_chat_model_start"
        ]
        assert [TRIAL in event["metadata"] for event in events] == [True, False]
        named = [event["metadata"]["lean_route"] for event in events]
        assert named == ["haiku", "sonnet"]


class TestInAChain:
    @both
    async def test_chunks_are_those_of_the_accepted_answer(self, parts: Parts) -> None:
        for cheap, strong in ((GOOD, "?"), (SECRET, GOOD)):
            chunks = await parts(router(cheap, strong), "Why?")
            assert "".join(chunk.text for chunk in chunks) == GOOD
            assert len([chunk for chunk in chunks if chunk.text]) == 8
            whole = sum(chunks[1:], chunks[0])
            assert lean(whole)[-1]["lever"] == "routing"

    @both
    async def test_a_state_is_answered_in_one_piece(self, parts: Parts) -> None:
        [update] = await parts(router(GOOD), {"messages": ASKED})
        assert update["route"]["model"] == "haiku"

    @both
    async def test_usage_is_that_of_the_answer(self, parts: Parts) -> None:
        ledger = TokenLedger()
        chunks = await parts(
            router(SECRET, GOOD), "Why?", config={"callbacks": [ledger]}
        )
        whole = sum(chunks[1:], chunks[0])
        entry = next(e for e in ledger.entries() if e.model == STRONG)
        assert whole.usage_metadata["output_tokens"] == entry.usage.output


class TestFromItsBeginning:
    def test_a_self_screened_answer_is_shown_from_its_first_tokens(self) -> None:
        waits: list[str] = []
        ticks = itertools.count()
        cheap = (
            router(GOOD)
            .models["haiku"]
            .model_copy(  # type: ignore[attr-defined]
                update={
                    "latency": (0.1, 0.1),
                    "sleep": lambda _: waits.append(f"waited {next(ticks)}"),
                }
            )
        )
        asked = router(cheap, policy=SelfScreen())
        waits.extend(chunk.text for chunk in asked.stream("Why?"))
        assert waits[:4] == ["waited 0", "This ", "waited 1", "is "]

    def test_an_answer_that_begins_like_the_mark_is_held_until_it_is_none(self) -> None:
        asked = router("[[ESC of it is a key.", policy=SelfScreen())
        chunks = [chunk.text for chunk in asked.stream("Why?") if chunk.text]
        assert "".join(chunks) == "[[ESC of it is a key."

    @both
    async def test_the_mark_is_never_shown(self, parts: Parts) -> None:
        for said in ("[[ESCALATE]]", " [[ESCALATE]] I think so.", "[["):
            asked = router(said, GOOD, policy=SelfScreen())
            chunks = await parts(asked, "Why?")
            assert "".join(chunk.text for chunk in chunks) == GOOD

    def test_a_stream_is_closed_as_soon_as_it_is_rejected(self) -> None:
        ledger = TokenLedger()
        wordy = model("[[ESCALATE]] " + "and so on " * 50, name="takes-no-stop")
        asked = router(wordy, GOOD, policy=SelfScreen())
        list(asked.stream("Why?", {"callbacks": [ledger]}))
        [rejected] = [e for e in ledger.entries() if e.source == "routing"]
        assert rejected.stopped_early
        assert rejected.usage.output < 20

    def test_any_of_waits_for_those_that_need_the_whole_answer(self) -> None:
        asked = router(SECRET, GOOD, policy=any_of(SelfScreen(), Bad()))
        chunks = [chunk.text for chunk in asked.stream("Why?")]
        assert "".join(chunks) == GOOD

    def test_all_of_needs_only_one_that_lets_it_pass(self) -> None:
        asked = router(SECRET, GOOD, policy=all_of(SelfScreen(), Bad()))
        chunks = [chunk.text for chunk in asked.stream("Why?")]
        assert "".join(chunks) == SECRET
