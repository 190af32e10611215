"""A monitor of prompt prefixes: what changed, where, and what that cost."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, TypedDict
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph

from langchain_lean import PriceBook
from langchain_lean.context.prefix import PrefixChange, PrefixMonitor, PromptPrefix
from langchain_lean.testing import ScriptedChatModel

MODEL = "claude-sonnet-4-5"
PRICES = PriceBook().with_price(
    MODEL, input="3", output="15", cache_read="0.3", cache_write="3.75"
)
RULES = "Be kind to all who ask. " * 100


@tool
def search(q: str) -> str:
    """Search."""
    return q


@tool
def add(a: int) -> int:
    """Add."""
    return a


def answer(tokens: int = 2_000, **details: int) -> AIMessage:
    """An answer whose provider counted so many tokens."""
    usage: Any = {
        "input_tokens": tokens,
        "output_tokens": 10,
        "total_tokens": tokens + 10,
        "input_token_details": details,
    }
    return AIMessage("Ok.", usage_metadata=usage)


def model(*answers: Any, **options: Any) -> ScriptedChatModel:
    settings = {"model_name": MODEL, "provider": "anthropic", **options}
    return ScriptedChatModel(responses=answers or [answer()], loop=True, **settings)


def monitored(*prompts: Any, model: Any = model(), **config: Any) -> PrefixMonitor:  # noqa: B008
    """A monitor that has seen these prompts."""
    monitor = PrefixMonitor(prices=PRICES)
    for prompt in prompts:
        model.invoke(prompt, {"callbacks": [monitor], **config})
    return monitor


def only(monitor: PrefixMonitor) -> PromptPrefix:
    [row] = monitor.report().prompts
    return row


def chat(system: str, *turns: str) -> list[BaseMessage]:
    kinds = (HumanMessage, AIMessage)
    said = [kinds[n % 2](text) for n, text in enumerate(turns)]
    return [SystemMessage(system), *said]


def place(change: PrefixChange) -> tuple[str, int, str, int]:
    return change.kind, change.index, change.name, change.offset


def test_a_change_in_the_system_prompt_is_found_to_the_byte() -> None:
    monitor = monitored(chat("Now é 15:00.", "Hi"), chat("Now é 16:00.", "Hi"))
    [change] = monitor.changes()
    assert place(change) == ("message", 0, "system", 8)  # é has two bytes
    assert change.where == "message 0 (system), byte 8"


@settings(deadline=None)
@given(st.text(min_size=1), st.text(max_size=20), st.text(max_size=20))
def test_the_offset_is_where_both_texts_part(start: str, one: str, other: str) -> None:
    monitor = monitored(chat(start + "a" + one, "Hi"), chat(start + "b" + other, "Hi"))
    [change] = monitor.changes()
    assert change.offset == len(start.encode("utf-8", "surrogatepass"))


def test_an_appended_turn_is_no_change() -> None:
    first, second = chat(RULES, "Hi"), chat(RULES, "Hi", "Hello.", "Why?")
    monitor = monitored(first, second)
    assert monitor.changes() == ()
    row = only(monitor)
    shared = len(RULES) + len("Hi")
    whole = shared + len("Hello.Why?")
    assert row.common_tokens == shared * 2_000 // whole
    assert (row.calls, row.changes) == (2, 0)


MESSAGES = st.lists(st.text("ab", max_size=4).map(HumanMessage), min_size=1, max_size=5)


@settings(deadline=None)
@given(MESSAGES, MESSAGES)
def test_what_is_common_and_what_is_lost_never_overlap(one: Any, other: Any) -> None:
    monitor = monitored(one, other, model=model(provider="openai"))
    row = only(monitor)
    assert row.common_tokens + row.lost_tokens <= 2_000
    assert one != other or not row.changes


@pytest.mark.parametrize("texts", [("Hi", "Hi there"), ("Hi there", "Hi")])
def test_a_last_message_that_goes_on_or_ends_is_no_change(texts: Any) -> None:
    monitor = monitored(*texts)
    assert monitor.changes() == ()
    assert only(monitor).common_tokens > 0


def test_the_same_prompt_is_no_change() -> None:
    monitor = monitored(chat(RULES, "Hi"), chat(RULES, "Hi"))
    assert monitor.changes() == ()
    assert only(monitor).common_tokens == 2_000


def test_swapped_tools_are_reported_as_the_tool() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    bare = model(answer(cache_creation=1_900))
    for tools in ([add, search], [search, add]):
        bare.bind_tools(tools).invoke(chat(RULES, "Hi"), {"callbacks": [monitor]})
    [change] = monitor.changes()
    assert place(change) == ("tool", 0, "search", 0)
    assert change.common_tokens == 0
    assert change.lost_tokens == 1_900


def test_a_schema_in_another_order_is_a_change() -> None:
    def schema(*keys: str) -> dict[str, Any]:
        values = {"type": "object", "properties": {}}
        parameters = {key: values[key] for key in keys}
        return {"name": "move", "description": "", "parameters": parameters}

    monitor = PrefixMonitor()
    for keys in (("type", "properties"), ("properties", "type")):
        asked = model().bind_tools([schema(*keys)])
        asked.invoke("Hi", {"callbacks": [monitor]})
    [change] = monitor.changes()
    assert (change.kind, change.name) == ("tool", "move")


def test_tools_that_come_and_go_are_seen_in_a_node() -> None:
    monitor = PrefixMonitor()
    for tools in ([add], [add, search], [add]):
        config: Any = {"callbacks": [monitor], "metadata": {"langgraph_node": "agent"}}
        model().bind_tools(tools).invoke("Hi", config)
    [change] = monitor.changes()  # the third is as the first, which is cached
    assert place(change)[:3] == ("tool", 1, "search")


def test_cache_marks_are_no_change() -> None:
    marked: Any = [{"type": "text", "text": RULES, "cache_control": {"type": "e"}}]
    pointed: Any = [{"type": "text", "text": RULES}, {"cachePoint": {"type": "d"}}]
    prompts = [[SystemMessage(c), HumanMessage("Hi")] for c in (RULES, marked, pointed)]
    assert monitored(*prompts).changes() == ()


def test_an_edited_tool_call_is_a_change() -> None:
    def step(q: str) -> list[BaseMessage]:
        call: Any = {"name": "search", "args": {"q": q}, "id": q}
        return [HumanMessage("Hi"), AIMessage("", tool_calls=[call])]

    later = [HumanMessage("And?")]
    [change] = monitored([*step("x"), *later], [*step("y"), *later]).changes()
    assert place(change)[:3] == ("message", 1, "ai")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"call_id": "c1"}, {"call_id": "c2"}),
        ({"file": "file_1"}, {"file": "file_2"}),
        ({"name": "ada"}, {"name": "bob"}),
    ],
)
def test_ids_and_names_that_the_provider_is_sent_are_part_of_the_prompt(
    one: Any, other: Any
) -> None:
    def prompt(
        call_id: str = "c", file: str = "f", name: str = "n"
    ) -> list[BaseMessage]:
        call: Any = {"name": "search", "args": {}, "id": call_id}
        picture: Any = [{"type": "image", "source_type": "id", "id": file}]
        return [
            HumanMessage(picture, name=name),
            AIMessage("", tool_calls=[call]),
            ToolMessage("Found.", tool_call_id=call_id),
            HumanMessage("And?"),
        ]

    assert len(monitored(prompt(**one), prompt(**other)).changes()) == 1
    assert monitored(prompt(**one), prompt(**one)).changes() == ()


def test_ids_that_langchain_gives_to_blocks_are_no_change() -> None:
    def prompt(block: str) -> list[BaseMessage]:
        picture: Any = [{"type": "image", "url": "https://x.example/a", "id": block}]
        return [HumanMessage(picture), HumanMessage("And?")]

    assert monitored(prompt("lc_1"), prompt("lc_2")).changes() == ()


def test_the_next_question_is_no_change() -> None:
    step: Any = [AIMessage("One."), HumanMessage("It is now 15:00.")]
    monitor = monitored(
        chat(RULES, "Hi"), chat(RULES, "Why?"), [*chat(RULES, "Why?"), *step]
    )
    assert monitor.changes() == ()
    assert only(monitor).common_tokens > 0


def test_a_change_of_the_question_counts_where_tokens_were_lost() -> None:
    answers = [answer(cache_creation=1_900), answer(cache_creation=1_900)]
    prompts = [f"15:00 {RULES}", f"16:00 {RULES}"]
    [change] = monitored(*prompts, model=model(*answers)).changes()
    assert change.lost_tokens == 1_900


def test_prompts_that_take_turns_are_each_compared_with_their_own() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    for turn in range(4):
        for system in ("Sort it.", "Answer it.", "Check it."):
            prompt = chat(system + RULES, f"Question {turn}")
            model().invoke(prompt, {"callbacks": [monitor]})
    assert len(monitor.changes()) == 2  # where the second and the third come up
    assert only(monitor).common_rate > 0.7


def test_the_hit_rate_is_what_the_provider_read_from_its_cache() -> None:
    answers = [answer(cache_creation=1_500), answer(cache_read=1_500)]
    row = only(monitored("Hi", "Hi", model=model(*answers)))
    assert row.hit_rate == 1_500 / 4_000
    assert row.usage.cache_write_5m == 1_500


def test_dollars_won_are_those_of_reads_less_the_premium_of_writes() -> None:
    answers = [answer(cache_creation=1_000), answer(cache_read=1_000)]
    row = only(monitored("Hi", "Hi", model=model(*answers)))
    assert row.won == Decimal("0.00195")  # 1,000 * (2.70 - 0.75) millionths
    assert row.lost == 0


def test_dollars_lost_are_those_of_common_text_behind_the_change() -> None:
    answers = [answer(cache_creation=1_900), answer(cache_creation=1_900)]
    prompts = [chat("15:00." + RULES, "Hi"), chat("16:00." + RULES, "Hi")]
    monitor = monitored(*prompts, model=model(*answers))
    row = only(monitor)
    [change] = monitor.changes()
    assert change.lost_tokens == row.lost_tokens == 1_900
    assert row.lost == change.lost_tokens * Decimal("0.00000345")  # 3.75 less 0.30


@pytest.mark.parametrize("provider", ["anthropic", "openai", "mistralai"])
def test_nothing_is_lost_that_the_provider_had_not_cached(provider: str) -> None:
    prompts = [chat("15:00." + RULES, "Hi"), chat("16:00." + RULES, "Hi")]
    monitor = monitored(*prompts, model=model(provider=provider))
    caches_unasked = provider == "openai"
    assert (only(monitor).lost_tokens > 0) is caches_unasked


def test_nothing_is_lost_of_a_prefix_below_the_minimum() -> None:
    prompts = [chat("15:00." + RULES, "Hi"), chat("16:00." + RULES, "Hi")]
    small = model(answer(1_000), provider="openai")
    assert only(monitored(*prompts, model=small)).lost_tokens == 0


@pytest.mark.parametrize(("seconds", "lost"), [(299, True), (301, False)])
def test_nothing_is_lost_that_had_expired(seconds: float, lost: bool) -> None:
    now = 0.0
    monitor = PrefixMonitor(clock=lambda: now)
    written = model(answer(cache_creation=1_900))
    for time in ("15:00.", "16:00."):
        written.invoke(chat(time + RULES, "Hi"), {"callbacks": [monitor]})
        now += seconds
    assert (monitor.changes()[0].lost_tokens > 0) is lost


def test_a_model_without_a_price_is_unpriced_and_never_free() -> None:
    monitor = monitored("Hi", "Hi", model=model(model_name="my-llm", provider="me"))
    assert only(monitor).unpriced == 2
    assert "won unpriced · lost unpriced\n2 calls unpriced\n" in str(monitor.report())


async def invoke(model: Any, prompt: Any, config: Any) -> None:
    model.invoke(prompt, config)


async def ainvoke(model: Any, prompt: Any, config: Any) -> None:
    await model.ainvoke(prompt, config)


async def stream(model: Any, prompt: Any, config: Any) -> None:
    list(model.stream(prompt, config))


async def astream(model: Any, prompt: Any, config: Any) -> None:
    async for _ in model.astream(prompt, config):
        pass


async def batch(model: Any, prompt: Any, config: Any) -> None:
    model.batch([prompt], config)


every_way = pytest.mark.parametrize("ask", [invoke, ainvoke, stream, astream, batch])


@every_way
async def test_every_way_to_call_is_seen(ask: Callable[..., Awaitable[None]]) -> None:
    monitor = PrefixMonitor(prices=PRICES)
    read = model(answer(cache_read=1_500))
    for time in ("15:00", "16:00"):
        await ask(read, chat(time, "Hi"), {"callbacks": [monitor]})
    assert [place(change) for change in monitor.changes()] == [
        ("message", 0, "system", 1)
    ]
    assert only(monitor).hit_rate == 0.75


def test_threads_are_kept_apart() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    for thread in ("a", "b", "a"):
        config: Any = {"callbacks": [monitor], "metadata": {"thread_id": thread}}
        model().invoke(f"Hi from {thread}", config)
    assert monitor.changes() == ()
    report = monitor.report()
    assert {p.prompt.thread: p.calls for p in report.prompts} == {"a": 2, "b": 1}
    assert [p.calls for p in report.thread("a")] == [2]


def test_nodes_of_one_thread_are_kept_apart_and_named() -> None:
    class State(TypedDict):
        turn: int

    def draft(state: State) -> Any:
        model().invoke(chat(f"Draft {state['turn']}", "Hi"))

    def check(state: State) -> Any:
        model().invoke("Check.")

    builder: Any = StateGraph(State)
    builder.add_sequence([draft, check])
    builder.add_edge(START, "draft")
    monitor = PrefixMonitor(prices=PRICES)
    graph = builder.compile()
    for turn in (1, 2):
        config = {"callbacks": [monitor], "metadata": {"thread_id": "a"}}
        graph.invoke({"turn": turn}, config)
    [change] = monitor.changes()
    assert change.prompt.node == "draft"
    assert place(change) == ("message", 0, "system", 6)
    assert {p.prompt.node for p in monitor.report().prompts} == {"draft", "check"}


def test_agents_and_levers_of_one_thread_are_kept_apart_and_named() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    for who in ({"lc_agent_name": "helper"}, {"lc_source": "memory"}):
        model().invoke(f"Hi {who}", {"callbacks": [monitor], "metadata": who})
    assert monitor.changes() == ()
    names = {str(row.prompt) for row in monitor.report().prompts}
    assert names == {f"helper · {MODEL}", f"memory · {MODEL}"}


def test_bare_calls_are_kept_apart_by_their_tools() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    for tools in ([search], [add], [search]):
        model().bind_tools(tools).invoke("Hi", {"callbacks": [monitor]})
    assert monitor.changes() == ()
    assert len(monitor.report().prompts) == 2


def test_models_are_kept_apart() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    for name in ("gpt-5", "gpt-5-mini"):
        model(model_name=name).invoke(f"Hi {name}", {"callbacks": [monitor]})
    assert monitor.changes() == ()


def test_a_handler_that_is_given_twice_counts_once() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    model().invoke("Hi", {"callbacks": [monitor, monitor]})
    assert only(monitor).calls == 1


def test_a_failed_call_is_not_compared_with() -> None:
    prompts = [chat(RULES, "Hi"), chat("Else.", "Hi"), chat(RULES, "Hi")]
    failing = model(answer(), ConnectionError("gone"), answer())
    monitor = PrefixMonitor(prices=PRICES)
    failing.invoke(prompts[0], {"callbacks": [monitor]})
    with pytest.raises(ConnectionError):
        failing.invoke(prompts[1], {"callbacks": [monitor]})
    failing.invoke(prompts[2], {"callbacks": [monitor]})
    assert monitor.changes() == ()
    assert only(monitor).calls == 2


def test_a_stream_that_the_caller_closes_counts() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    for time in ("15:00", "16:00"):
        asked, config = chat(time, "Hi"), {"callbacks": [monitor]}
        pieces = model(AIMessage("One two.")).stream(asked, config)  # type: ignore[arg-type]
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
    assert len(monitor.changes()) == 1


def test_an_answer_from_langchains_cache_is_left_out() -> None:
    cached = model(cache=InMemoryCache())
    assert only(monitored("Hi", "Hi", "Hi", model=cached)).calls == 1


def test_what_cannot_be_read_breaks_no_chain(caplog: pytest.LogCaptureFixture) -> None:
    unreadable: Any = HumanMessage("Hi")
    unreadable.content = 7
    monitor = PrefixMonitor()
    for _ in range(2):
        run_id = uuid4()
        monitor.on_chat_model_start({}, [[unreadable]], run_id=run_id)
        monitor.on_llm_end(LLMResult(generations=[]), run_id=run_id)
    assert len(caplog.messages) == 1
    assert monitor.report().total.calls == 0


def test_many_threads_at_once_are_all_counted() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    asked = model()

    def ask(thread: int) -> None:
        config: Any = {"callbacks": [monitor], "metadata": {"thread_id": str(thread)}}
        for _ in range(20):
            asked.invoke("Hi", config)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        monitor.report()
    total = monitor.report().total
    assert (total.calls, total.changes, total.usage.input) == (160, 0, 320_000)


def test_no_more_than_a_thousand_prompts_are_kept_and_none_is_forgotten() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    for thread in range(1_010):
        end = answer(cache_read=1_000)
        config: Any = {"callbacks": [monitor], "metadata": {"thread_id": str(thread)}}
        model(end).invoke("Hi", config)
    report = monitor.report()
    assert len(report.prompts) == 1_000
    assert report.older.calls == 10
    assert report.total.calls == 1_010
    assert report.total.won == 1_010 * Decimal("0.0027")


def ask(monitor: PrefixMonitor, text: str, thread: str = "a") -> None:
    run_id, metadata = uuid4(), {"thread_id": thread, "ls_model_name": MODEL}
    prompt = [chat(text, "Hi")]
    monitor.on_chat_model_start({}, prompt, run_id=run_id, metadata=metadata)
    result = LLMResult(generations=[[ChatGeneration(message=answer())]])
    monitor.on_llm_end(result, run_id=run_id)


def test_no_more_than_ten_thousand_calls_wait_for_their_prices() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    for _ in range(10_003):
        ask(monitor, "Hi")
    total = monitor.report().total
    assert (total.calls, total.unpriced) == (10_003, 3)


def test_no_more_than_64_megabytes_of_prompts_are_kept() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    for thread in "abcdefg":
        ask(monitor, thread * 10_000_000, thread)
    ask(monitor, "changed", "a")  # the oldest, and not there any more
    assert monitor.changes() == ()
    ask(monitor, "changed", "g")
    assert len(monitor.changes()) == 1


def test_calls_under_way_count_for_the_64_megabytes_and_are_not_forgotten() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    metadata = {"ls_model_name": MODEL}
    calls = [uuid4() for _ in range(8)]
    tracemalloc.start()
    for run_id in calls:
        prompt = [[HumanMessage("x" * 10_000_000)]]
        monitor.on_chat_model_start({}, prompt, run_id=run_id, metadata=metadata)
    del prompt
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 75_000_000
    result = LLMResult(generations=[[ChatGeneration(message=answer())]])
    for run_id in calls:
        monitor.on_llm_end(result, run_id=run_id)
    assert only(monitor).calls == 8


def test_no_more_than_a_thousand_calls_wait_for_their_end() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    calls = [uuid4() for _ in range(1_001)]
    for run_id in calls:
        prompt: Any = [[HumanMessage("Hi")]]
        monitor.on_chat_model_start({}, prompt, run_id=run_id, metadata={})
    result = LLMResult(generations=[[ChatGeneration(message=answer())]])
    for run_id in calls:
        monitor.on_llm_end(result, run_id=run_id)
    assert only(monitor).calls == 1_000


def test_an_hour_lasts_where_the_thread_wrote_for_one_and_only_read_since() -> None:
    now = 0.0
    monitor = PrefixMonitor(prices=PRICES, clock=lambda: now)
    written = answer(ephemeral_1h_input_tokens=1_900)
    read = answer(cache_read=1_900)
    for text, end in (("A.", written), ("A.", read), ("B.", written)):
        prompt = chat(text + RULES, "Hi")
        model(end).invoke(prompt, {"callbacks": [monitor]})
        now += 1_200
    assert monitor.changes()[0].lost_tokens == 1_900


def test_a_book_that_breaks_leaves_the_calls_unpriced_and_loses_none() -> None:
    class Broken(PriceBook):
        def cost(self, *args: Any, **kwargs: Any) -> Any:
            raise OSError

    monitor = PrefixMonitor(prices=Broken())
    for _ in range(3):
        ask(monitor, "Hi")
    total = monitor.report().total
    assert (total.calls, total.unpriced) == (3, 3)


UNTOLD = "nothing was cached; set cache points"


@pytest.mark.parametrize(
    ("provider", "tokens", "details", "said"),
    [
        ("anthropic", 2_000, {}, True),
        ("bedrock", 2_000, {}, True),
        ("openai", 2_000, {}, False),
        ("anthropic", 1_000, {}, False),
        ("anthropic", 2_000, {"cache_read": 1_900}, False),
        ("anthropic", 2_000, {"cache_creation": 1_900}, False),
    ],
)
def test_the_report_says_where_nothing_was_cached_for_want_of_marks(
    provider: str, tokens: int, details: Any, said: bool
) -> None:
    asked = model(answer(tokens, **details), provider=provider)
    report = monitored("Hi", "Hi", model=asked).report()
    assert (UNTOLD in str(report)) is said
    assert report.total.untold == 2 * said


def test_the_lines_of_a_report_name_the_thread() -> None:
    monitor = PrefixMonitor(prices=PRICES)
    for thread in ("t1", "t2"):
        for text in ("15:00", "16:00"):
            ask(monitor, text, thread)
    lines = [str(change) for change in monitor.changes()]
    assert [line.count("thread t1") for line in lines] == [1, 0]
    for line in lines:
        assert line in str(monitor.report())


def test_the_report_holds_no_text_of_a_prompt() -> None:
    prompts = [chat("Secret 15:00", "whisper"), chat("Secret 16:00", "whisper")]
    monitor = monitored(*prompts)
    said = f"{monitor.report()}{monitor.report()!r}{monitor.changes()!r}"
    assert "Secret" not in said
    assert "whisper" not in said


def test_the_report_says_what_was_won_and_lost_and_where() -> None:
    answers = [answer(cache_creation=1_900), answer(cache_creation=1_900)]
    prompts = [chat("15:00." + RULES, "Hi"), chat("16:00." + RULES, "Hi")]
    metadata = {"thread_id": "t1", "langgraph_node": "draft"}
    monitor = monitored(*prompts, model=model(*answers), metadata=metadata)
    text = str(monitor.report())
    assert "2 calls" in text
    assert "draft · claude-sonnet-4-5" in text
    assert "t1" in text
    assert "message 0 (system), byte 1" in text
    assert "lost $0.00" in text


def test_an_empty_report_says_so() -> None:
    report = PrefixMonitor().report()
    assert report.prompts == ()
    assert "0 calls" in str(report)
