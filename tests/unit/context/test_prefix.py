"""Prompts whose prefix stays: what moves, what is marked, and what is worth it."""

from __future__ import annotations

import re
import time
from collections import Counter
from decimal import Decimal
from itertools import pairwise, takewhile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_anthropic import ChatAnthropic
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_lean import PriceBook, TokenUsage, UnpricedModelError
from langchain_lean.context.prefix import (
    before_question,
    behind_prefix,
    bundle_or_retrieve,
    cache_points,
    in_thread_order,
    is_volatile,
    stable_prefix,
)
from langchain_lean.errors import ConfigurationError
from langchain_lean.messages import message_text, unpaired_tool_messages
from langchain_lean.testing import ScriptedChatModel

SONNET = ("claude-sonnet-4-5", "anthropic")
RULES = "Be kind to all who ask. " * 300
NOW = "The current time is 2024-05-15 15:00:00 EST."
PRICES = PriceBook().with_price(
    "claude-sonnet-4-5", input="3", output="15", cache_read="0.3", cache_write="3.75"
)
CALL: Any = {"name": "search", "args": {"q": "x"}, "id": "c1"}


@tool
def search(q: str) -> str:
    """Search."""
    return q


@tool
def add(a: int) -> int:
    """Add."""
    return a


class Answer(BaseModel):
    """An answer."""

    text: str


def texts(messages: Any) -> list[str]:
    return [message_text(message) for message in messages]


LINES_THAT_MOVE = [
    NOW,
    "Today's date: May 15, 2024",
    "Current date and time: Wed May 15 15:00:00 2024",
    "Current date/time: 2024-05-15 15:00 UTC",
    "Current date (YYYY-MM-DD): 2024-05-15",
    "System time: 2024-05-15T15:00:00.123456+00:00",
    "Today is Wednesday, 15 May 2024.",
    "Today is the 15th of May 2024",
    "Today: 15 May",
    "Today is 05/15",
    "The date today is 2024-05-15",
    "Date today: 2024-05-15",
    "As of today, 2024-05-15",
    "The current year is 2024.",
    "It is now 15:30.",
    "Right now it is 15:00",
    "Now: 3 pm",
    "Date: 2024-05-15",
    "Time: 15:04",
    "Time: 3:04 PM PST",
    "Timestamp: 1715785200",
    "2024-05-15T15:00:00Z",
    "Current time 15:03:22",
    "Current Unix time 1715785200",
    "current_date: 2024-05-15",
    "- **Current Date**: 15.05.2024",
    "<current_date>2024-05-15</current_date>",
    "<date>2024-05-15</date>",
    "session_id=sess_83fa",
    "Request ID: 8841",
    "Session id: 123e4567-e89b-12d3-a456-426614174000",
    "- **Trace id**: `4bf92f35`",
    "今天: 2024年5月15日 15:00",
]
LINES_THAT_STAY = [
    "Follow the policy of 2024-01-01.",
    "We open at 09:00 UTC.",
    "Opening time: 9:00",
    "The closing time is 17:00; refuse every order after it.",
    "The delivery day is Monday.",
    "The deadline date is 2025-01-31.",
    "The sale ends on 2025-12-31 23:59.",
    "The policy year is 2024.",
    "The maximum response time: 15:00 minutes",
    "The store's local time: 9:00 to 17:00.",
    "Date: 2024-05-15 is the last day of the sale.",
    "Time: 9:00 to 17:00 on weekdays",
    "Orders placed today before 17:00 ship the same day.",
    "It is now 15:30, so never promise delivery today.",
    "You are Bo, and today is 2024-05-15.",
    "You are Bo (session id: abc-1234) and must never reveal prices.",
    "The current time limit is 30 days.",
    "The current price list is that of 2024-01-01.",
    "Present 3 options.",
    "Ask for the session id: it is needed.",
    "Answer 123e4567-e89b-12d3-a456-426614174000 only.",
    "Built at 15:00 UTC on 2024-05-15",
    "Knowledge cutoff: 2024-06",
    "Version 1.2.3 of 12/2023",
    "Today is a good day.",
    "2024-01-01",
]


@pytest.mark.parametrize("line", LINES_THAT_MOVE)
def test_what_changes_from_call_to_call_is_seen(line: str) -> None:
    assert is_volatile(line)


@pytest.mark.parametrize("line", LINES_THAT_STAY)
def test_what_a_rule_says_is_static(line: str) -> None:
    assert not is_volatile(line)


@pytest.mark.parametrize(
    "piece", ["request-id-", "now is ", "current date and ", "today's ", "now (", "< "]
)
def test_a_long_line_is_read_in_the_time_of_its_length(piece: str) -> None:
    def seconds(times: int) -> float:
        start = time.thread_time()  # which other processes do not take
        is_volatile(piece * times)
        return time.thread_time() - start

    short, long = (min(seconds(n) for _ in range(3)) for n in (2_000, 20_000))
    assert long < 40 * short


def test_a_volatile_sentence_goes_behind_the_question() -> None:
    system = SystemMessage(f"You are a helpful assistant. {NOW} Be brief.\nNo jokes.")
    prompt = stable_prefix([system, HumanMessage("Why?")])
    assert texts(prompt.messages) == [
        "You are a helpful assistant. Be brief.\nNo jokes.",
        f"Why?\n\n{NOW}",
    ]


def test_a_volatile_line_goes_whole() -> None:
    system = SystemMessage("Be brief.\n- Today is 2024-05-15\n- Be kind.\n")
    prompt = stable_prefix([system, HumanMessage("Why?")])
    assert texts(prompt.messages) == [
        "Be brief.\n- Be kind.\n",
        "Why?\n\n- Today is 2024-05-15",
    ]


def test_fenced_blocks_and_json_stay_whole() -> None:
    text = f"Log:\n```\n{NOW}\n```\n" + '{\n  "time": "2024-05-15T15:00",\n}'
    messages = [SystemMessage(text), HumanMessage("Why?")]
    assert texts(stable_prefix(messages).messages) == texts(messages)


@pytest.mark.parametrize("content", [NOW, [{"type": "text", "text": NOW}]])
def test_a_system_message_that_is_a_clock_goes_but_never_the_only_one(
    content: Any,
) -> None:
    clock, question = SystemMessage(content), HumanMessage("Why?")
    prompt = stable_prefix([clock, SystemMessage("Be brief."), question])
    assert texts(prompt.messages) == ["Be brief.", f"Why?\n\n{NOW}"]
    assert prompt.moved == (NOW,)
    assert list(stable_prefix([clock, question]).messages) == [clock, question]


def test_lines_of_records_stay_with_their_records() -> None:
    text = (
        "Mails.\nFrom: Ann\nDate: 2024-05-13\nSubject: Invoice\n\nDate: 2024-05-14\n"
        "From: Bob\n\nTransaction id: TX-1001\nAmount: 50 EUR\n\nTime: 22:00-23:00"
    )
    messages = [SystemMessage(text), HumanMessage("When did Bob write?")]
    assert list(stable_prefix(messages).messages) == messages
    assert cache_points(
        [SystemMessage(text + RULES), messages[1]], model=SONNET, calls=9
    ).points == (0,)


def test_what_is_called_current_is_no_part_of_a_record() -> None:
    system = SystemMessage("User: Ann\nCurrent date: 2024-05-15\nRole: admin")
    assert stable_prefix([system, HumanMessage("Hi")]).moved == (
        "Current date: 2024-05-15",
    )


@pytest.mark.parametrize(
    "rule",
    [
        "The store is open now: Monday to Friday.",
        "Opening hours today: Monday 9:00 to 17:00",
        "The offer is valid today, 2024-05-15, and closes at 17:00.",
        "Current date 2024-01-01 marks the fiscal new year; the old rates are gone.",
    ],
)
def test_a_sentence_that_says_more_than_the_time_stays(rule: str) -> None:
    assert not is_volatile(rule)


@pytest.mark.parametrize(
    ("line", "points"),
    [
        ("Current year: 2024", (0,)),
        ("Current date: 15 May 2024", (0,)),
        ("Current time in UTC: 15:04:22", ()),
        ("2024-05-15 15:04:22 America/New_York", ()),
        ("You are a bot and the current time is 15:04:22.", ()),
        ("Session: 3f2504e0-4f89-11d3-9a0c-0305e82c3301", ()),
    ],
)
def test_only_what_changes_while_a_cache_lasts_stops_marks(
    line: str, points: tuple[int, ...]
) -> None:
    messages = [SystemMessage(f"{line}\n{RULES}"), HumanMessage("Why?")]
    assert cache_points(messages, model=SONNET, calls=9).points == points


def test_nova_finds_the_step_before_at_its_mark() -> None:
    messages: list[BaseMessage] = [SystemMessage(RULES), HumanMessage("Why?")]
    points = []
    for step in range(3):
        call = {"name": "look", "args": {}, "id": f"c{step}"}
        messages += [AIMessage("", tool_calls=[call])]
        messages += [ToolMessage(RULES, tool_call_id=f"c{step}")]
        nova = ("amazon.nova-pro-v1:0", "amazon_bedrock")
        points.append(cache_points(messages, model=nova, calls=9).points)
    assert points == [(0, 1, 3), (0, 3, 5), (0, 5, 7)]


def test_fallbacks_get_what_all_of_them_take() -> None:
    sonnet = scripted(*SONNET)
    haiku = scripted("claude-haiku-4-5", "anthropic")  # caches from 4,096 tokens on
    asked = sonnet.with_fallbacks([haiku])
    assert cache_points(CHAT, model=sonnet, calls=5).points
    assert cache_points(CHAT, model=asked, calls=5).points == ()


def test_a_json_schema_is_marked_outside_of_its_schema() -> None:
    tool = {"title": "Look", "description": RULES, "type": "object", "properties": {}}
    prompt = cache_points("Hi", tools=[tool], model=SONNET, calls=9)
    [marked_tool] = prompt.tools
    sent = ChatAnthropic(model=SONNET[0], api_key="none").bind_tools([marked_tool])
    [wire] = sent.kwargs["tools"]
    assert "cache_control" in wire
    assert "cache_control" not in wire["input_schema"]


def test_what_was_moved_is_said() -> None:
    system = SystemMessage(f"Be brief. {NOW}\nRequest ID: 8841")
    prompt = stable_prefix([system, HumanMessage("Why?")])
    assert prompt.moved == (NOW, "Request ID: 8841")


def test_a_clock_beside_a_rule_moves_and_the_rule_stays() -> None:
    system = SystemMessage(f"Never lie. {NOW} Refuse orders after 17:00.")
    prompt = stable_prefix([system, HumanMessage("Why?")])
    assert message_text(prompt.messages[0]) == "Never lie. Refuse orders after 17:00."


def test_a_label_goes_with_the_timestamp_below_it() -> None:
    system = SystemMessage("Be brief.\nIt is:\n2024-05-15 15:00:00\nBe kind.")
    prompt = stable_prefix([system, HumanMessage("Why?")])
    assert texts(prompt.messages) == [
        "Be brief.\nBe kind.",
        "Why?\n\nIt is:\n2024-05-15 15:00:00",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Refuse orders after:\n2024-05-15 15:00:00\nBe kind.",
        "Be kind.\nUser: What is it?\nAssistant: It is now 15:00.\nQ: Date: 2024-05-15",
    ],
)
def test_rules_and_examples_stay(text: str) -> None:
    messages = [SystemMessage(text), HumanMessage("Why?")]
    assert list(stable_prefix(messages).messages) == messages


def test_behind_tool_results_the_time_is_a_message_of_its_own() -> None:
    chat = [SystemMessage(f"Be brief. {NOW}"), HumanMessage("Why?"), *AGENT_STEP]
    prompt = stable_prefix(chat)
    assert prompt.messages == (
        SystemMessage("Be brief."),
        *chat[1:],
        HumanMessage(NOW),
    )


def test_no_time_stands_between_a_call_and_its_missing_result() -> None:
    both: Any = [CALL, {**CALL, "id": "c2"}]
    waiting = [AIMessage("", tool_calls=both), AGENT_STEP[1]]
    chat = [SystemMessage(f"Be brief. {NOW}"), HumanMessage("Why?"), *waiting]
    prompt = stable_prefix(chat)
    assert texts(prompt.messages)[1] == f"Why?\n\n{NOW}"
    assert len(prompt.messages) == len(chat)


def test_blocks_are_kept_as_blocks() -> None:
    blocks: list[Any] = [
        {"type": "text", "text": f"Be brief. {NOW}"},
        {"type": "text", "text": NOW},
        {"type": "text", "text": NOW, "cache_control": {"type": "ephemeral"}},
    ]
    question: list[Any] = [{"type": "image", "url": "https://x.example/a.png"}]
    prompt = stable_prefix([SystemMessage(blocks), HumanMessage(question)])
    system, asked = prompt.messages
    assert system.content == [{"type": "text", "text": "Be brief."}, blocks[2]]
    assert asked.content == [*question, {"type": "text", "text": f"{NOW}\n{NOW}"}]


def test_volatile_text_stays_where_no_human_message_follows() -> None:
    messages = [SystemMessage(NOW), AIMessage("Hello.")]
    assert list(stable_prefix(messages).messages) == messages


def test_an_example_keeps_its_dates() -> None:
    messages = [
        SystemMessage("Be brief."),
        SystemMessage(NOW, name="example_user"),
        SystemMessage("Ok.", name="example_assistant"),
        HumanMessage("Why?"),
    ]
    assert list(stable_prefix(messages).messages) == messages


@pytest.mark.parametrize(
    "volatile", [re.compile("weather"), lambda line: "weather" in line]
)
def test_one_can_say_oneself_what_is_volatile(volatile: Any) -> None:
    system = SystemMessage(f"The weather is fine. {NOW}")
    prompt = stable_prefix([system, HumanMessage("Why?")], volatile=volatile)
    assert texts(prompt.messages) == [NOW, "Why?\n\nThe weather is fine."]


def test_volatile_must_be_a_pattern_or_a_predicate() -> None:
    with pytest.raises(ConfigurationError, match="pattern or a predicate"):
        stable_prefix("Hi", volatile="weather")  # type: ignore[arg-type]


def test_system_messages_behind_the_chat_come_first_where_none_leads() -> None:
    messages = [HumanMessage("Why?"), SystemMessage("Be brief.")]
    assert texts(stable_prefix(messages).messages) == ["Be brief.", "Why?"]


def test_a_later_system_message_stays_where_one_leads() -> None:
    messages = [
        SystemMessage("Be brief."),
        HumanMessage("Why?"),
        SystemMessage("From now on in French."),
        HumanMessage("Why?"),
    ]
    assert list(stable_prefix(messages).messages) == messages


def test_tools_stand_by_name_whatever_their_form() -> None:
    schema = {"type": "function", "function": {"name": "fetch", "parameters": {}}}
    builtin = {"type": "web_search_20250305"}
    tools = [search, builtin, Answer, schema, add]
    ordered = stable_prefix("Hi", tools).tools
    assert ordered == (Answer, add, schema, search, builtin)
    assert stable_prefix("Hi", tools[::-1]).tools == ordered


def test_keys_of_schemas_have_one_order_and_arguments_keep_theirs() -> None:
    def schema(*keys: str) -> dict[str, Any]:
        values = {
            "type": "object",
            "properties": {"to": {"type": "string"}, "from": {"type": "string"}},
            "required": ["to"],
        }
        return {"parameters": {key: values[key] for key in keys}, "name": "move"}

    [one] = stable_prefix("Hi", [schema("type", "properties", "required")]).tools
    [other] = stable_prefix("Hi", [schema("required", "properties", "type")]).tools
    assert str(one) == str(other)
    assert list(one["parameters"]["properties"]) == ["to", "from"]


def test_two_calls_that_differ_in_the_date_share_the_whole_static_prefix() -> None:
    def prompt(day: int) -> list[BaseMessage]:
        time = f"The current time is 2024-05-{day} 15:00:00."
        return [SystemMessage(f"{time} {RULES}"), HumanMessage("Why?")]

    one, other = (stable_prefix(prompt(day)).messages for day in (15, 16))
    assert one[0] == other[0] == SystemMessage(RULES)
    assert one[1] != other[1]


SENTENCES = st.sampled_from(
    [
        NOW,
        "Be brief.",
        "Today's date: 2024-05-15",
        "- Request ID: ab12",
        "\n",
        " ",
        "\n\n",
        "Since 2024-01-01 all is well!",
        "```\n",
        "“Ünïcode。” ",
    ]
)
TEXTS = st.lists(SENTENCES, max_size=6).map("".join)
AGENT_STEP: list[BaseMessage] = [
    AIMessage("", tool_calls=[CALL]),
    ToolMessage("Found.", tool_call_id="c1"),
]
CHATS = st.lists(
    st.one_of(
        TEXTS.map(lambda text: [SystemMessage(text)]),
        TEXTS.map(lambda text: [HumanMessage(text)]),
        TEXTS.map(lambda text: [SystemMessage([{"type": "text", "text": text}])]),
        TEXTS.map(lambda text: [AIMessage(text)]),
        st.just(AGENT_STEP),
    ),
    max_size=6,
).map(lambda parts: [message for part in parts for message in part])


UNFENCED = TEXTS.map(lambda text: text.replace("```", ""))


@settings(deadline=None)
@given(UNFENCED, UNFENCED, st.integers(0, 23), st.integers(0, 23))
def test_whatever_stands_around_the_time_two_calls_share_their_system_prompt(
    start: str, end: str, one: int, other: int
) -> None:
    def system(hour: int) -> list[BaseMessage]:
        text = f"{start}\nBe kind.\nIt is now {hour}:00.\n{end}"
        messages = [SystemMessage(text), HumanMessage("Why?")]
        return [m for m in stable_prefix(messages).messages if m.type == "system"]

    assert system(one) == system(other)


def test_a_line_with_a_fence_stays_whole() -> None:
    text = f"{NOW}```\n```\n{NOW}\n"
    messages = [SystemMessage(text), HumanMessage("Why?")]
    assert list(stable_prefix(messages).messages) == messages


def characters(messages: Any) -> Counter[str]:
    return Counter("".join("".join(texts(messages)).split()))


@settings(deadline=None)
@given(CHATS)
def test_nothing_is_lost(messages: list[BaseMessage]) -> None:
    assert characters(stable_prefix(messages).messages) == characters(messages)


@settings(deadline=None)
@given(CHATS)
def test_done_again_it_changes_nothing(messages: list[BaseMessage]) -> None:
    once = stable_prefix(messages)
    again = stable_prefix(once.messages)
    assert again.messages == once.messages
    assert not again.moved


@settings(deadline=None)
@given(CHATS)
def test_results_stay_with_their_calls_and_turns_in_order(
    messages: list[BaseMessage],
) -> None:
    ordered = stable_prefix(messages).messages
    assert len(unpaired_tool_messages(ordered)) == len(unpaired_tool_messages(messages))
    kinds = [m.type for m in ordered if m.type != "system"]
    before = [m.type for m in messages if m.type != "system"]
    assert kinds in (before, [*before, "human"])
    assert len(ordered) - len(kinds) <= len(messages) - len(before)


@settings(deadline=None)
@given(CHATS)
def test_the_input_stays_as_it_is(messages: list[BaseMessage]) -> None:
    before = [message.model_copy(deep=True) for message in messages]
    stable_prefix(messages, [search, add])
    assert messages == before


def test_documents_stand_in_front_of_the_question() -> None:
    messages = [SystemMessage("Be brief."), HumanMessage("Why?")]
    documents = [Document("One."), Document("Two.")]
    prompt = before_question(messages, documents)
    assert texts(prompt) == ["Be brief.", "One.\n\nTwo.\n\nWhy?"]
    assert texts(messages) == ["Be brief.", "Why?"]
    assert before_question(messages, []) == messages


def test_documents_are_rendered_as_one_says() -> None:
    prompt = before_question(
        [HumanMessage([{"type": "text", "text": "Why?"}])],
        [Document("One.")],
        render=lambda documents: f"<doc>{documents[0].page_content}</doc>",
    )
    assert texts(prompt) == ["<doc>One.</doc>\nWhy?"]


def test_documents_without_a_question_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="human message"):
        before_question([SystemMessage("Be brief.")], [Document("One.")])


def test_documents_can_stand_behind_the_prefix_in_front_of_the_history() -> None:
    messages = [*CHAT[:3], HumanMessage("Why?")]
    prompt = behind_prefix(messages, [Document("One."), Document("Two.")])
    assert prompt == [CHAT[0], HumanMessage("One.\n\nTwo."), *messages[1:]]
    assert behind_prefix(messages, []) == messages
    [_, shown, *_] = behind_prefix(messages, [Document("One.")], render=str)
    assert "page_content" in message_text(shown)


def test_documents_behind_a_prefix_alone_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="human message"):
        behind_prefix([SystemMessage("Be brief.")], [Document("One.")])


DOCUMENTS = [Document(f"Document {n}. " + "It says much. " * 30) for n in range(4)]


def common(one: Any, other: Any) -> int:
    """How many characters two prompts begin with alike."""
    pairs = zip("\0".join(texts(one)), "\0".join(texts(other)), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def size(messages: Any) -> int:
    return len("\0".join(texts(messages)))


def test_the_same_documents_in_thread_order_keep_prefix_and_history_cached() -> None:
    first = behind_prefix(CHAT[:2], DOCUMENTS)
    now = in_thread_order(DOCUMENTS[::-1], DOCUMENTS)
    second = behind_prefix(CHAT[:4], now)
    assert common(first, second) == size(first)
    ranked = behind_prefix(CHAT[:4], DOCUMENTS[::-1])
    assert common(first, ranked) < size(CHAT[:1]) + 20


def test_other_documents_in_front_of_the_question_leave_the_history_cached() -> None:
    first = before_question(CHAT[:4], DOCUMENTS[:2])
    second = before_question(CHAT, DOCUMENTS[2:])
    assert common(first, second) > size(CHAT[:3])
    behind = behind_prefix(CHAT[:4], DOCUMENTS[:2]), behind_prefix(CHAT, DOCUMENTS[2:])
    assert common(*behind) < size(CHAT[:1]) + 20


def test_known_documents_come_first_in_their_earlier_order() -> None:
    before = [Document("b", id="1"), Document("a"), Document("gone")]
    now = [Document("new"), Document("a"), Document("newer"), Document("b", id="2")]
    ordered = in_thread_order(now, before)
    assert [d.page_content for d in ordered] == ["b", "a", "new", "newer"]


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdef")), st.lists(st.sampled_from("abcdef")))
def test_in_thread_order_loses_and_adds_no_document(now: str, before: str) -> None:
    ordered = in_thread_order(map(Document, now), map(Document, before))
    assert Counter(d.page_content for d in ordered) == Counter(now)


CHAT = [
    SystemMessage(RULES),
    HumanMessage("First?"),
    AIMessage("One."),
    HumanMessage("Second?"),
    AIMessage("Two."),
    HumanMessage("Third?"),
]


def test_marks_go_behind_the_static_prefix_and_the_history() -> None:
    prompt = cache_points(CHAT, model=SONNET, tools=[search], calls=5)
    assert prompt.points == (0, 4)
    assert prompt.tools == (search,)
    assert prompt.reason == ""
    assert texts(prompt.messages) == texts(CHAT)


def test_a_few_shot_prompt_is_marked_behind_its_examples() -> None:
    examples = [
        HumanMessage("1+1?", name="example_user"),
        AIMessage("2", name="example_assistant"),
    ]
    prompt = [CHAT[0], *examples, HumanMessage("2+2?")]
    assert cache_points(prompt, model=SONNET, calls=5).points == (2,)


def test_an_agent_at_work_is_marked_behind_its_newest_result() -> None:
    prompt = [*CHAT, *AGENT_STEP]
    assert cache_points(prompt, model=SONNET, calls=5).points == (0, 4, 7)


def agent_run(steps: int) -> list[tuple[BaseMessage, ...]]:
    """What an agent sends step by step, with the time in its system prompt."""
    prompts, done = [], []
    for step in range(steps):
        clock = f"The current time is 2024-05-15 15:00:0{step}."
        system = SystemMessage(f"{clock} {RULES}")
        stable = stable_prefix([system, HumanMessage("Why?"), *done])
        prompts.append(stable.messages)
        call = {**CALL, "id": f"c{step}"}
        result = ToolMessage("A line of code.\n" * 400, tool_call_id=call["id"])
        done += [AIMessage("", tool_calls=[call]), result]
    return prompts


def test_each_step_of_an_agent_has_all_of_the_step_before_but_the_time() -> None:
    run = agent_run(6)
    for before, now in pairwise(run):
        clock = len("\n\nThe current time is 2024-05-15 15:00:00.")
        assert common(before, now) >= size(before) - clock


def input_cost(prompts: Any, *, marked: bool) -> Decimal:
    """Dollars of input at a provider that finds what it was told to keep."""
    kept: set[str] = set()
    dollars = Decimal(0)
    for prompt in prompts:
        points = cache_points(prompt, model=SONNET, calls=6).points if marked else ()
        ends = {
            size(prompt[: at + 1]): "\0".join(texts(prompt[: at + 1])) for at in points
        }
        whole = "\0".join(texts(prompt))
        read = max((len(k) for k in kept if whole.startswith(k)), default=0)
        written = max(max(ends, default=0) - read, 0)
        kept |= set(ends.values())
        usage = TokenUsage(
            input=len(whole), cache_read=read, cache_write_5m=written
        )  # a character is taken for a token
        dollars += PRICES.cost(usage, *SONNET).input
    return dollars


def test_an_agent_pays_the_write_of_its_steps_once_and_no_more() -> None:
    run = agent_run(6)
    last = size(run[-1])
    millionths = Decimal(1) / 1_000_000
    least = last * Decimal("3.75") * millionths
    reads = sum(map(size, run[:-1])) * Decimal("0.3") * millionths
    clocks = Decimal("1.01")
    assert input_cost(run, marked=True) <= (least + reads) * clocks
    assert input_cost(run, marked=True) < input_cost(run, marked=False) / 2


def test_a_mark_stands_on_the_newest_result_in_front_of_the_time() -> None:
    prompt = [*CHAT, *AGENT_STEP, HumanMessage(NOW)]
    assert cache_points(prompt, model=SONNET, calls=5).points == (0, 4, 7)


def fan_out(width: int, step: int) -> list[BaseMessage]:
    calls: Any = [{**CALL, "id": f"{step}-{n}"} for n in range(width)]
    found = [ToolMessage("Found.", tool_call_id=call["id"]) for call in calls]
    return [AIMessage("", tool_calls=calls), *found]


@pytest.mark.parametrize(("width", "points"), [(4, (0, 11)), (12, (0, 14, 27))])
def test_a_wide_step_has_the_step_before_it_marked_too(width: int, points: Any) -> None:
    prompt = [*CHAT[:2], *fan_out(width, 1), *fan_out(width, 2)]
    assert cache_points(prompt, model=SONNET, calls=5).points == points


def test_no_mark_goes_between_a_tool_call_and_its_result() -> None:
    looking = AIMessage("I look it up.", tool_calls=[CALL])
    empty = ToolMessage("", tool_call_id="c1")
    prompt = [*CHAT[:2], looking, empty]
    assert cache_points(prompt, model=SONNET, calls=5).points == (0, 1)


@pytest.mark.parametrize(
    ("model", "points"),
    [
        (("amazon.nova-pro-v1:0", "bedrock"), (0, 2, 4)),
        (("gpt-5.6", "openai"), (0, 1, 3)),
    ],
)
def test_where_marks_alone_are_found_the_earlier_end_of_history_is_marked_too(
    model: tuple[str, str], points: tuple[int, ...]
) -> None:
    assert cache_points(CHAT, model=model, calls=5).points == points


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (("claude-opus-4-5", "anthropic"), "minimum"),
        (("claude-from-tomorrow-9", "anthropic"), "minimum"),
        (("mistral-large", "mistralai"), "no cache points"),
        (("anthropic.claude-3-haiku-20240307-v1:0", "bedrock"), "no cache points"),
        (("claude-sonnet-4-5-secret", "google_vertexai"), "no cache points"),
    ],
)
def test_where_the_provider_would_not_cache_the_prompt_stays(
    model: tuple[str, str], reason: str
) -> None:
    prompt = cache_points(CHAT, model=model, tools=[search], calls=5)
    assert (list(prompt.messages), prompt.tools) == (CHAT, (search,))
    assert not prompt.options
    assert not prompt.points
    assert reason in prompt.reason


def test_a_prefix_below_the_minimum_is_not_marked_but_a_longer_one_is() -> None:
    long = [SystemMessage("Be brief."), HumanMessage(RULES), *CHAT[2:]]
    assert cache_points(long, model=SONNET, calls=5).points == (4,)
    short = [SystemMessage("Be brief."), *CHAT[1:]]
    assert cache_points(short, model=SONNET, calls=5).reason
    assert not cache_points(short, model=("gpt-4o", "openai"), calls=5).options


@pytest.mark.parametrize(
    ("calls", "lifetime", "marked"),
    [(1, "5m", False), (2, "5m", True), (2, "1h", False), (3, "1h", True)],
)
def test_re_use_must_pay_the_write(calls: int, lifetime: Any, marked: bool) -> None:
    prompt = cache_points(CHAT, model=SONNET, calls=calls, lifetime=lifetime)
    assert bool(prompt.points) is marked
    assert bool(prompt.reason) is not marked


def test_a_thread_of_one_call_has_its_history_left_unmarked() -> None:
    prompt = cache_points(CHAT, model=SONNET, calls=50, thread_calls=1)
    assert prompt.points == (0,)


def test_own_prices_decide_and_a_model_without_one_stays_as_it_is() -> None:
    model = ("claude-sonnet-4-5", "anthropic")
    dear = PriceBook().with_price(
        "claude-sonnet-4-5", input="1", output="5", cache_read="0.9", cache_write="2"
    )
    assert not cache_points(CHAT, model=model, calls=10, prices=dear).points
    assert cache_points(CHAT, model=model, calls=12, prices=dear).points
    unknown = cache_points(
        [SystemMessage(RULES * 5), *CHAT[1:]], model=("claude-x", "anthropic"), calls=9
    )
    assert "price" in unknown.reason


def marked(text: str, **ttl: str) -> list[Any]:
    control = {"type": "ephemeral", **ttl}
    return [{"type": "text", "text": text, "cache_control": control}]


def test_marks_that_are_there_stay_and_count() -> None:
    chat = [
        SystemMessage(marked(RULES)),
        *(HumanMessage(marked(text)) for text in "ab"),
        *CHAT[1:],
    ]
    prompt = cache_points(chat, model=SONNET, calls=5)
    assert prompt.points == (6,)
    full = cache_points(prompt.messages, model=SONNET, calls=5)
    assert not full.points
    assert full.messages == prompt.messages
    assert "already" in full.reason


@pytest.mark.parametrize(("given", "ours"), [("1h", (0, 4)), ("5m", (0,))])
def test_an_hour_is_never_marked_behind_five_minutes(given: str, ours: Any) -> None:
    chat: list[BaseMessage] = [*CHAT]
    chat[1] = HumanMessage(marked("First?", ttl=given))
    prompt = cache_points(chat, model=SONNET, calls=5, lifetime="1h")
    assert prompt.points == ours


def test_a_prompt_never_has_more_marks_than_the_provider_takes() -> None:
    chat = [*CHAT, *AGENT_STEP]
    chat[1:2] = [HumanMessage([*marked("a"), *marked("b")])]
    prompt = cache_points(chat, model=SONNET, calls=5)
    assert str(prompt.messages).count("cache_control") == 4
    assert prompt.points == (0, 4)


def test_a_mark_that_is_an_option_of_the_model_counts() -> None:
    name, provider = SONNET
    model = ScriptedChatModel(responses=[], model_name=name, provider=provider)
    bound = model.bind(cache_control={"type": "ephemeral"})
    chat = [*CHAT, *AGENT_STEP]
    chat[1] = HumanMessage(marked("First?"))
    assert cache_points(chat, model=model, calls=5).points == (0, 4, 7)
    assert cache_points(chat, model=bound, calls=5).points == (0, 4)


def test_the_input_of_cache_points_stays_as_it_is() -> None:
    before = [message.model_copy(deep=True) for message in CHAT]
    cache_points(CHAT, model=SONNET, tools=[search], calls=5)
    assert before == CHAT
    cache_points(CHAT[1:2], model=SONNET, tools=[search], calls=5)
    assert search.extras is None


def test_the_key_of_openai_is_that_of_the_static_prefix() -> None:
    def key(chat: list[BaseMessage], **options: Any) -> Any:
        prompt = cache_points(chat, model=("gpt-4o", "openai"), calls=5, **options)
        return prompt.options["prompt_cache_key"]

    assert key(CHAT) == key(CHAT[:2])
    assert key(CHAT) != key([SystemMessage(RULES + "!"), *CHAT[1:]])
    assert key(CHAT) != key(CHAT, tools=[search])
    assert key(CHAT, cache_key="support-v1") == "support-v1"


def test_options_that_are_bound_to_the_model_stay() -> None:
    model = ScriptedChatModel(responses=[], model_name="gpt-5.6", provider="openai")
    mine = {"prompt_cache_key": "mine", "prompt_cache_options": {"mode": "implicit"}}
    assert not cache_points(CHAT, model=model.bind(**mine), calls=5).options
    assert cache_points(CHAT, model=model, calls=5).options


def test_an_agent_of_openai_has_its_newest_step_cached_by_the_provider() -> None:
    model = ("gpt-5.6", "openai")
    prompt = cache_points([*CHAT, *AGENT_STEP], model=model, calls=5)
    assert "prompt_cache_options" not in prompt.options
    assert prompt.points
    timed = [*CHAT, *AGENT_STEP, HumanMessage(NOW)]  # which no later step sends again
    assert "prompt_cache_options" in cache_points(timed, model=model, calls=5).options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"calls": 0}, "calls="),
        ({"calls": 2, "thread_calls": 0}, "thread_calls="),
        ({"calls": 2, "lifetime": "1d"}, "lifetime="),
        (
            {
                "calls": 2,
                "lifetime": "1h",
                "model": ("amazon.nova-pro-v1:0", "bedrock"),
            },
            "5 minutes",
        ),
        ({"calls": 2, "model": "claude-sonnet-4-5"}, "chat model"),
        ({"calls": 2, "model": ("claude-sonnet-4-5",)}, "pair"),
    ],
)
def test_what_makes_no_sense_is_said(options: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        cache_points(CHAT, **{"model": SONNET, **options})


def test_many_calls_make_a_cached_bundle_cheaper_than_chunks() -> None:
    found = bundle_or_retrieve(
        bundle_tokens=10_000,
        chunk_tokens=2_000,
        calls=20,
        model="claude-sonnet-4-5",
        prices=PRICES,
    )
    assert found.choice == "bundle"
    assert found.cached
    assert found.bundle_cost == Decimal("0.0945")  # 37,500 + 19 * 3,000 millionths
    assert found.retrieve_cost == Decimal("0.12")
    assert found.break_even_calls == 12  # 34,500 / (6,000 - 3,000), and then one more


@pytest.mark.parametrize("calls", [1, 11, 12, 500])
def test_the_break_even_is_where_the_choice_turns(calls: int) -> None:
    found = bundle_or_retrieve(
        bundle_tokens=10_000,
        chunk_tokens=2_000,
        calls=calls,
        model="claude-sonnet-4-5",
        prices=PRICES,
    )
    assert found.break_even_calls is not None
    turned = calls >= found.break_even_calls
    assert found.choice == ("bundle" if turned else "retrieve")


def test_a_bundle_below_the_minimum_is_not_cached() -> None:
    found = bundle_or_retrieve(
        bundle_tokens=1_000,
        chunk_tokens=300,
        calls=100,
        model="claude-sonnet-4-5",
        prices=PRICES,
    )
    assert (found.choice, found.cached, found.break_even_calls) == (
        "retrieve",
        False,
        None,
    )
    assert found.bundle_cost == Decimal("0.3")


def test_the_instructions_in_front_count_for_the_minimum_and_for_both_costs() -> None:
    found = bundle_or_retrieve(
        bundle_tokens=1_000,
        chunk_tokens=300,
        prefix_tokens=100,
        calls=100,
        model="claude-sonnet-4-5",
        prices=PRICES,
    )
    assert found.cached
    assert found.retrieve_cost == Decimal("0.12")


def test_a_bundle_smaller_than_its_chunks_is_cheaper_from_the_first_call() -> None:
    found = bundle_or_retrieve(
        bundle_tokens=200, chunk_tokens=300, calls=1, model="gpt-5-mini"
    )
    assert (found.choice, found.break_even_calls) == ("bundle", 1)


def test_a_model_without_a_price_is_an_error() -> None:
    with pytest.raises(UnpricedModelError):
        bundle_or_retrieve(bundle_tokens=1, chunk_tokens=1, calls=1, model="my-llm")


@pytest.mark.parametrize(
    "wrong", [{"calls": 0}, {"bundle_tokens": -1}, {"chunk_tokens": 1.5}]
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    options = {"bundle_tokens": 1, "chunk_tokens": 1, "calls": 1, "model": "gpt-5"}
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        bundle_or_retrieve(**{**options, **wrong})


def test_a_clock_left_in_the_system_prompt_gets_no_mark_behind_it() -> None:
    chat = [SystemMessage(f"{NOW} {RULES}"), *CHAT[1:]]
    prompt = cache_points(chat, model=SONNET, calls=5)
    assert not prompt.points
    assert "stable_prefix" in prompt.reason
    assert list(prompt.messages) == chat
    assert cache_points(stable_prefix(chat), model=SONNET, calls=5).points == (0, 4)


def test_what_stands_in_front_of_a_clock_is_marked() -> None:
    chat = [SystemMessage(RULES), SystemMessage(NOW), *CHAT[1:]]
    prompt = cache_points(chat, model=SONNET, calls=5)
    assert prompt.points == (0,)
    assert "message 1" in prompt.reason


def test_a_date_alone_outlasts_the_cache() -> None:
    chat = [SystemMessage(f"Today is Wednesday, 15 May 2024. {RULES}"), *CHAT[1:]]
    assert cache_points(chat, model=SONNET, calls=5).points == (0, 4)


def test_a_stable_prompt_stands_for_its_messages_and_tools() -> None:
    stable = stable_prefix(CHAT, [search])
    prompt = cache_points(stable, model=SONNET, calls=5)
    assert prompt == cache_points(CHAT, model=SONNET, tools=[search], calls=5)
    with pytest.raises(ConfigurationError, match="tools="):
        cache_points(stable, model=SONNET, tools=[add], calls=5)


def scripted(name: str, provider: str) -> ScriptedChatModel:
    return ScriptedChatModel(responses=[], model_name=name, provider=provider)


def test_fallbacks_of_another_form_leave_the_prompt_as_it_is() -> None:
    claude, gpt = scripted(*SONNET), scripted("gpt-5.6", "openai")
    for model in (claude.with_fallbacks([gpt]), gpt.with_fallbacks([claude])):
        for asked in (model, model.with_config(tags=["a"])):
            prompt = cache_points(CHAT, model=asked, calls=5)
            assert list(prompt.messages) == CHAT
            assert not prompt.options
            assert "fallbacks" in prompt.reason
    same = claude.with_fallbacks([scripted("claude-opus-4-1", "anthropic")])
    assert cache_points(CHAT, model=same, calls=5).points == (0, 4)


def test_a_mark_on_the_last_tool_stays_on_the_last_tool() -> None:
    control = {"type": "ephemeral"}
    first = {"name": "z", "description": "", "input_schema": {}}
    marked_tool = {**first, "name": "a", "cache_control": control}
    one, last = stable_prefix("Hi", [first, marked_tool]).tools
    assert (one["name"], last["name"]) == ("a", "z")
    assert "cache_control" not in one
    assert last["cache_control"] == control
    [_, tool_last] = stable_prefix("Hi", [search, marked_tool]).tools
    assert tool_last.extras == {"cache_control": control}
    assert search.extras is None


def test_a_mark_on_a_last_tool_of_langchain_moves_without_touching_the_tool() -> None:
    control = {"type": "ephemeral"}
    marked_tool = add.model_copy(update={"extras": {"cache_control": control}})
    first, last = stable_prefix("Hi", [search, marked_tool]).tools
    assert (first.name, first.extras) == ("add", None)
    assert (last.name, last.extras) == ("search", {"cache_control": control})
    assert marked_tool.extras == {"cache_control": control}


def test_of_several_cache_points_among_tools_one_stays_behind_them() -> None:
    point = {"cachePoint": {"type": "default"}}
    assert stable_prefix("Hi", [point, search, point, add]).tools == (
        add,
        search,
        point,
    )


def test_there_is_no_key_where_there_is_no_static_prefix() -> None:
    long = [HumanMessage(RULES), AIMessage("One."), HumanMessage("Why?")]
    prompt = cache_points(long, model=("gpt-5-mini", "openai"), calls=5)
    assert not prompt.options


def test_a_model_without_a_price_gets_no_key() -> None:
    prompt = cache_points(CHAT, model=("my-own-model", "openai"), calls=5)
    assert not prompt.options
    assert "price" in prompt.reason


def test_the_length_of_the_whole_prompt_decides_its_tier() -> None:
    model = ("claude-sonnet-4-5", "anthropic")
    found = bundle_or_retrieve(
        bundle_tokens=90_000,
        chunk_tokens=60_000,
        prefix_tokens=150_000,
        calls=20,
        model=model[0],
        provider=model[1],
    )
    book = PriceBook()

    def dollars(**cached: int) -> Decimal:
        return book.cost(TokenUsage(input=210_000, **cached), *model).input

    write, read = dollars(cache_write_5m=150_000), dollars(cache_read=150_000)
    assert found.retrieve_cost == write + 19 * read
    apart = book.cost(TokenUsage(input=60_000), *model).input
    assert read > 2 * apart  # both parts are below the tier, their sum is not
