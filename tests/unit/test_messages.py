"""The helpers on message lists: pure, and never parting a call from its result."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_lean.messages import (
    is_example_pair,
    last_human_index,
    last_human_text,
    message_text,
    static_prefix,
    turns,
    unpaired_tool_messages,
)

SYSTEM = SystemMessage("You help.")
HUMAN = HumanMessage("How much is it?")
ANSWER = AIMessage("Three euros.")
SHOTS = [
    SystemMessage("Two?", name="example_user"),
    SystemMessage("Four.", name="example_assistant"),
]


def calling(*ids: str, content: object = "") -> AIMessage:
    calls = [{"name": "add", "args": {"a": 1}, "id": call_id} for call_id in ids]
    return AIMessage(content=content, tool_calls=calls)


def result(call_id: str) -> ToolMessage:
    return ToolMessage("2", tool_call_id=call_id)


IDS = st.sampled_from("abc")
CHATS = st.lists(
    st.one_of(
        st.just(SYSTEM),
        st.just(HUMAN),
        st.just(ANSWER),
        st.builds(lambda ids: calling(*ids), st.lists(IDS, max_size=2, unique=True)),
        st.builds(result, IDS),
    ),
    max_size=12,
)


class TestText:
    def test_a_text_is_itself(self):
        assert message_text(HUMAN) == "How much is it?"

    def test_text_blocks_stand_on_lines(self):
        message = HumanMessage(["One.", {"type": "text", "text": "Two."}])
        assert message_text(message) == "One.\nTwo."

    @pytest.mark.parametrize(
        ("block", "text"),
        [
            ({"type": "image_url", "image_url": {"url": "A" * 9999}}, "[image_url]"),
            ({"type": "image", "base64": "A" * 9999}, "[image]"),
            ({"type": "audio", "base64": "A" * 9999}, "[audio]"),
            ({"type": "file", "base64": "A" * 9999}, "[file]"),
            ({"image": {"format": "png", "source": {"bytes": b"A"}}}, "[image]"),
            (
                {"type": "document", "title": "a.pdf", "source": {"type": "base64"}},
                "[document]\na.pdf",
            ),
            ({"cachePoint": {"type": "default"}}, ""),
        ],
    )
    def test_media_stand_as_their_kind_and_markers_as_nothing(self, block, text):
        message = HumanMessage([{"type": "text", "text": "See:"}, block])
        assert message_text(message) == f"See:\n{text}"

    def test_tool_calls_are_json_behind_the_text(self):
        message = AIMessage(
            "Adding.", tool_calls=[{"name": "add", "args": {"ä": 1}, "id": "1"}]
        )
        assert message_text(message) == 'Adding.[{"name": "add", "args": {"ä": 1}}]'

    def test_a_call_that_is_also_a_block_is_there_once(self):
        blocks = [
            {"type": "text", "text": "Adding."},
            {"type": "tool_use", "name": "add", "input": {"a": 1}, "id": "1"},
        ]
        assert message_text(calling("1", content=blocks)).count("add") == 1

    def test_arguments_that_are_no_json_have_a_text_all_the_same(self):
        message = AIMessage(
            "", tool_calls=[{"name": "f", "args": {"x": {1}}, "id": "1"}]
        )
        assert message_text(message) == '[{"name": "f", "args": {"x": "{1}"}}]'


class TestLastHuman:
    def test_the_last_of_several_is_found(self):
        messages = [HumanMessage("first"), ANSWER, HUMAN, calling("a"), result("a")]
        assert last_human_index(messages) == 2
        assert last_human_text(messages) == "How much is it?"

    def test_where_there_is_none_the_index_is_below_0_and_the_text_empty(self):
        assert last_human_index([SYSTEM, ANSWER]) == -1
        assert last_human_text([]) == ""


class TestStaticPrefix:
    @pytest.mark.parametrize(
        ("messages", "length"),
        [
            ([], 0),
            ([HUMAN, ANSWER], 0),
            ([SYSTEM], 1),
            ([SYSTEM, SYSTEM, HUMAN], 2),
            ([SYSTEM, *SHOTS, HUMAN], 3),
            ([SYSTEM, HUMAN, ANSWER, SYSTEM, HUMAN], 4),
            ([HUMAN, ANSWER, SYSTEM, HUMAN], 3),
            ([SYSTEM, HUMAN, ANSWER, HUMAN], 1),
            ([SYSTEM, HUMAN, calling("a"), result("a"), SYSTEM], 1),
            ([HumanMessage("Two?", name="example_user"), HUMAN], 1),
        ],
    )
    def test_system_messages_and_examples_at_the_start_are_counted(
        self, messages, length
    ):
        assert static_prefix(messages) == length

    @given(CHATS)
    def test_a_further_turn_never_changes_it(self, messages):
        length = static_prefix(messages)
        assert 0 <= length <= len(messages)
        assert static_prefix([*messages, HUMAN, ANSWER]) == length

    @pytest.mark.parametrize(
        ("pair", "is_one"),
        [
            ([HUMAN, ANSWER], True),
            ([HUMAN], False),
            ([ANSWER, HUMAN], False),
            ([HUMAN, calling("a")], False),
            ([HUMAN, ANSWER, HUMAN], False),
        ],
    )
    def test_an_example_is_a_question_and_an_answer_without_tools(self, pair, is_one):
        assert is_example_pair(pair) is is_one


class TestTurns:
    def test_each_human_message_begins_a_turn(self):
        first = [HUMAN, calling("a", "b"), result("b"), result("a"), ANSWER]
        second = [HUMAN, ANSWER]
        assert turns([*first, *second]) == [first, second]

    def test_what_stands_before_the_first_human_message_is_a_turn(self):
        assert turns([SYSTEM, ANSWER, HUMAN]) == [[SYSTEM, ANSWER], [HUMAN]]

    def test_a_human_message_between_a_call_and_its_result_begins_no_turn(self):
        waiting = [HUMAN, calling("a"), HUMAN, result("a"), ANSWER]
        assert turns([*waiting, HUMAN]) == [waiting, [HUMAN]]

    def test_a_call_id_that_comes_back_holds_no_turns_together(self):
        turn = [HUMAN, calling("a"), result("a"), ANSWER]
        assert turns([*turn, *turn]) == [turn, turn]

    def test_an_agents_turn_is_split_into_steps(self):
        steps = [[calling("a"), result("a")], [calling("b"), result("b")], [ANSWER]]
        whole = [HUMAN, *chain.from_iterable(steps)]
        assert turns(whole, begins="ai") == [[HUMAN], *steps]

    def test_a_call_that_was_never_answered_holds_nothing_together(self):
        assert turns([HUMAN, calling("a"), HUMAN]) == [[HUMAN, calling("a")], [HUMAN]]

    def test_an_empty_chat_has_no_turns(self):
        assert turns([]) == []

    @given(CHATS)
    def test_together_they_are_the_chat(self, messages):
        found = turns(messages)
        assert list(chain.from_iterable(found)) == messages
        assert all(found)

    @given(CHATS)
    def test_no_result_is_parted_from_its_call(self, messages: list[BaseMessage]):
        parted = list(chain.from_iterable(map(unpaired_tool_messages, turns(messages))))
        assert len(parted) == len(unpaired_tool_messages(messages))

    @given(CHATS)
    def test_every_turn_but_the_first_begins_with_a_human_message(self, messages):
        assert all(isinstance(turn[0], HumanMessage) for turn in turns(messages)[1:])


class TestUnpaired:
    def test_a_result_without_a_call_is_found(self):
        lost = result("x")
        messages = [HUMAN, lost, calling("a"), result("a")]
        assert unpaired_tool_messages(messages) == [lost]

    def test_a_result_before_its_call_has_none(self):
        assert unpaired_tool_messages([result("a"), calling("a")]) == [result("a")]

    @given(st.lists(IDS, unique=True))
    def test_calls_with_their_results_leave_none(self, ids):
        messages = [calling(*ids), *map(result, reversed(ids))]
        assert unpaired_tool_messages(messages) == []
