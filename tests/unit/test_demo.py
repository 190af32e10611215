"""The demo: its questions, its help desk and its command line."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.vectorstores import VectorStore

from langchain_lean.accounting.entry import Totals
from langchain_lean.accounting.ledger import track
from langchain_lean.accounting.report.data import Report
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.caching.cache import SemanticCache
from langchain_lean.demo import main
from langchain_lean.demo_arms import (
    MAX_TOKENS,
    Answer,
    Arm,
    ArmResult,
    HelpState,
    lean_arm,
    naive_arm,
    names_no_part,
    run_arm,
)
from langchain_lean.demo_comparison import Comparison
from langchain_lean.demo_data import (
    CHATS,
    EMBEDDINGS,
    Question,
    build_index,
    documents,
    first_questions,
)
from langchain_lean.demo_models import (
    SMALL,
    STRONG,
    cheap_model,
    small_model,
    strong_model,
)
from langchain_lean.embeddings import local_embeddings
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ExtractiveChatModel, ScriptedChatModel

CLAUDE = "global.anthropic.claude-sonnet-5-5"
QUESTIONS = [question for chat in CHATS for question in chat.questions]
LONG = max(CHATS, key=lambda chat: len(chat.questions))
STRONG_NAME, SMALL_NAME = STRONG["standin"], SMALL["standin"]


def standin() -> BaseChatModel:
    return strong_model("standin", STRONG_NAME)


def lean(index: VectorStore, model: BaseChatModel | None = None) -> Arm:
    return lean_arm(model or standin(), small_model("standin"), index, documents())


@pytest.fixture(scope="module")
def index() -> VectorStore:
    return build_index()


@pytest.fixture(scope="module")
def long_chat(index: VectorStore) -> tuple[ExtractiveChatModel, ArmResult]:
    """What the lean arm's model was asked in the long chat, and the result."""
    model = standin()
    assert isinstance(model, ExtractiveChatModel)
    return model, run_arm(lean(index, model), [LONG])


@pytest.fixture(scope="module")
def routed(index: VectorStore) -> ArmResult:
    """All questions, to a lean arm with a cheap model."""
    cheap, notes = cheap_model("standin"), small_model("standin")
    arm = lean_arm(standin(), notes, index, documents(), cheap=cheap)
    return run_arm(arm, CHATS)


@pytest.fixture(scope="module")
def cached(index: VectorStore) -> ArmResult:
    """All questions, to a lean arm with a cheap model and a cache."""
    cheap, notes = cheap_model("standin"), small_model("standin")
    cache = SemanticCache(local_embeddings())
    arm = lean_arm(standin(), notes, index, documents(), cheap=cheap, cache=cache)
    return run_arm(arm, CHATS)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _indexed(index: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line that finds the index built; building it takes a second."""
    monkeypatch.setattr("langchain_lean.demo.build_index", lambda: index)


@pytest.fixture
def _no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class _Refuses(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"error": {"message": "no"}, "message": "no"}).encode()
        self.send_response(403)
        self.send_header("x-amzn-errortype", "AccessDeniedException")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Refuses) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class TestData:
    def test_every_symbol_is_documented(self) -> None:
        """A right answer is among the documents, if the user has not said it."""
        documented = {page.metadata["symbol"] for page in documents()}
        asked = {s for q in QUESTIONS if not q.recalls for s in q.symbols}
        assert asked <= documented

    def test_what_is_to_recall_was_said_once_and_early(self) -> None:
        """The user said it in the first third of the chat, and no document has it."""
        pages = [page.page_content for page in documents()]
        early = "\n".join(q.text for q in LONG.questions[: len(LONG.questions) // 3])
        said = "\n".join(q.text for q in QUESTIONS)
        recalling = [q for q in QUESTIONS if q.recalls]
        assert len(recalling) == 3
        for question in recalling:
            assert question in LONG.questions
            assert question.answered_by(early)
            assert said.count(question.symbols[0]) == 1
            assert not any(question.answered_by(page) for page in pages)

    def test_documents_are_named_and_long_enough(self) -> None:
        """A document begins with its symbol, once, and has a text worth finding."""
        pages = documents()
        assert len(pages) > 1000
        assert len({page.metadata["symbol"] for page in pages}) == len(pages)
        for page in pages:
            assert page.page_content.startswith(page.metadata["symbol"])
            assert len(page.page_content) > 60

    def test_documents_hold_no_addresses(self) -> None:
        """Nothing in a document differs from one process to the next."""
        assert not [p for p in documents() if re.search(r"<.* at 0x", p.page_content)]

    def test_questions_do_not_give_the_answer_away(self) -> None:
        """No question names what it is about."""
        assert not [q.text for q in QUESTIONS if q.answered_by(q.text)]

    def test_some_users_ask_what_others_asked(self) -> None:
        """Three chats open with what another user has asked first."""
        opened: dict[tuple[str, ...], list[str]] = {}
        for chat in CHATS:
            opened.setdefault(chat.questions[0].symbols, []).append(chat.user_id)
        again = [users for users in opened.values() if len(users) > 1]
        assert len(again) == 3
        assert all(len(set(users)) == 2 for users in again)

    @given(st.integers(1, len(QUESTIONS)))
    def test_first_questions_are_a_prefix(self, count: int) -> None:
        """The first n questions are n, in order, with the user who asks them."""
        chats = first_questions(count)
        taken = [question for chat in chats for question in chat.questions]
        assert taken == QUESTIONS[:count]
        assert [c.user_id for c in chats] == [c.user_id for c in CHATS][: len(chats)]

    @pytest.mark.parametrize(
        ("answer", "right"),
        [
            ("Use collections.Counter for that.", True),
            ("Import `Counter` from collections.", True),
            ("Counter(words).most_common() does it.", True),
            ("It is in collections: Counter.", False),
            ("A counter counts.", False),
            ("Use MyCounter(words).", False),
            ("Use collections.Counters.", False),
            ("", False),
        ],
    )
    def test_a_right_answer_names_the_symbol_as_code(
        self, answer: str, right: bool
    ) -> None:
        """A name counts with what it belongs to, in backticks, or where called."""
        question = Question("How do I count?", ("collections.Counter",))
        assert question.answered_by(answer) is right

    def test_one_of_several_symbols_is_enough(self) -> None:
        """Where several things answer a question, naming any is right."""
        question = Question("?", ("textwrap.wrap", "textwrap.fill"))
        assert question.answered_by("Call textwrap.fill on it.")


class TestHelpDesk:
    def test_the_index_finds_the_right_documents(self, index: VectorStore) -> None:
        """Among 20 documents is the right one for nine questions of ten."""
        asked = [question for question in QUESTIONS if not question.recalls]
        found = [
            question.text
            for question in asked
            if {
                p.metadata["symbol"] for p in index.similarity_search(question.text, 20)
            }
            & set(question.symbols)
        ]
        assert len(found) >= 0.9 * len(asked)

    def test_indexing_is_in_no_ledger(self) -> None:
        """Building an index outside of `track()` is not accounted, its queries are."""
        index = build_index()
        with track() as ledger:
            index.similarity_search("How do I count?")
        assert [entry.kind for entry in ledger.entries()] == ["embedding"]

    def test_every_prompt_has_all_there_is(self, index: VectorStore) -> None:
        """The last prompt of a long chat has all earlier turns and 20 documents."""
        model = ExtractiveChatModel()
        result = run_arm(naive_arm(model, index), [LONG])
        _, *history, last = model.calls[-1].messages
        *earlier, newest = result.answers
        asked = [(answer.question.text, answer.text) for answer in earlier]
        assert [str(m.text) for m in history] == [
            text for pair in asked for text in pair
        ]
        pages = index.similarity_search(newest.question.text, 20)
        assert all(page.page_content in str(last.text) for page in pages)

    def test_chats_do_not_share_their_history(self, index: VectorStore) -> None:
        """The first prompt of the second chat has rules and a question only."""
        model = ExtractiveChatModel()
        run_arm(naive_arm(model, index), first_questions(4))
        assert [len(call.messages) for call in model.calls] == [2, 4, 2, 4]

    def test_answers_are_judged_one_by_one(self, index: VectorStore) -> None:
        """Each answer is held against the symbols of its own question."""
        model = ScriptedChatModel(responses=["collections.Counter"], loop=True)
        heard: list[Any] = []
        result = run_arm(
            naive_arm(model, index), first_questions(2), on_answer=heard.append
        )
        assert [answer.right for answer in result.answers] == [True, False]
        assert result.right == 1
        assert heard == list(result.answers)

    def test_calls_are_told_apart(self, index: VectorStore) -> None:
        """Calls stand under their node, user and thread; local queries cost nothing."""
        arm = naive_arm(standin(), index)
        figures = run_arm(arm, first_questions(3)).figures()
        assert figures["by_node"].keys() == {"retrieve", "answer"}
        assert figures["by_node"]["retrieve"]["usd"] == "0"
        assert figures["by_model"][EMBEDDINGS]["calls"] == 3
        assert {u: s["calls"] for u, s in figures["by_user"].items()} == {
            "ada": 4,
            "grace": 2,
        }
        assert float(figures["usd"]) > 0.005
        assert arm.ledger.totals().unpriced == 0
        assert arm.ledger.totals(by="thread_id").keys() == {"counting", "folders"}
        assert figures["shares"]["retrieved"] > 0.5
        assert figures["shares"]["history"] > 0


class TestLeanArm:
    def test_a_memory_stands_before_the_answer(self, index: VectorStore) -> None:
        """The graph is that of the naive arm with one node more."""

        def edges(arm: Arm) -> list[tuple[str, str]]:
            return [(e.source, e.target) for e in arm.graph.get_graph().edges]

        naive = [*edges(naive_arm(standin(), index))]
        naive.remove(("retrieve", "answer"))
        added = [("retrieve", "memory"), ("memory", "answer")]
        assert sorted(edges(lean(index))) == sorted(naive + added)

    def test_only_the_documents_of_a_prompt_differ(self, index: VectorStore) -> None:
        """The same rules, history and question, and at most 3 pieces of documents."""
        one, other = (
            ScriptedChatModel(responses=["First.", "Second."], model_name=STRONG_NAME)
            for _ in range(2)
        )
        run_arm(naive_arm(one, index), first_questions(2))
        arm = lean(index, other)
        run_arm(arm, first_questions(2))
        for before, after in zip(one.calls, other.calls, strict=True):
            *earlier, longer = [str(message.text) for message in before.messages]
            *same, shorter = [str(message.text) for message in after.messages]
            assert earlier == same
            assert longer.split("Question:")[1] == shorter.split("Question:")[1]
            assert len(shorter) < len(longer) / 2
        state = arm.graph.get_state({"configurable": {"thread_id": "counting"}})
        kept = state.values["documents"]
        assert 1 <= len(kept) <= 3
        assert sum(page.metadata["lean"]["tokens"] for page in kept) <= 1200

    def test_the_claim_states_its_baseline(self, index: VectorStore) -> None:
        """The retriever saves, against 20 whole documents; the naive arm nothing."""
        naive = run_arm(naive_arm(standin(), index), first_questions(2))
        result = run_arm(lean(index), first_questions(2))
        assert not naive.report.savings.levers
        assert result.report.savings.levers.keys() == {"retriever"}
        lever = result.report.savings.levers["retriever"]
        assert lever.baselines == ("20 whole documents",)
        assert lever.count == 2

    def test_a_long_chat_is_made_shorter_again_and_again(
        self, long_chat: tuple[ExtractiveChatModel, ArmResult]
    ) -> None:
        """Notes are taken twice or more, none are cut, and no chat passes the limit."""
        model, result = long_chat
        report = result.report
        assert result.figures()["by_node"]["memory"]["calls"] >= 2
        assert not report.notices
        count = TokenCounter().count
        for call in model.calls:
            _, *history, _ = call.messages
            assert count(history, model=STRONG_NAME) <= MAX_TOKENS

    def test_the_memory_says_what_it_saves_and_costs(
        self, long_chat: tuple[ExtractiveChatModel, ArmResult]
    ) -> None:
        """It is compared with the whole history; its own calls are in the figures."""
        _, result = long_chat
        figures = result.figures()
        assert result.report.savings.levers["memory"].baselines == (
            "the whole history",
        )
        assert figures["by_model"][SMALL_NAME] == figures["by_node"]["memory"]
        assert figures["own_cost_usd"] == {
            "memory": figures["by_node"]["memory"]["usd"]
        }
        saved = sum(map(Decimal, figures["saved_by_lever"].values()))
        own = Decimal(figures["own_cost_usd"]["memory"])
        assert saved - own == Decimal(figures["saved_usd"])

    def test_what_was_said_early_is_remembered(
        self, long_chat: tuple[ExtractiveChatModel, ArmResult]
    ) -> None:
        """It is answered right after the messages that said it have left."""
        model, result = long_chat
        assert result.recalled == result.to_recall == 3
        for position, answer in enumerate(result.answers):
            if answer.question.recalls:
                _, *history, _ = model.calls[position].messages
                summed_up, *rest = [str(message.text) for message in history]
                assert answer.question.answered_by(summed_up)
                assert LONG.questions[0].text not in rest

    def test_a_memory_that_loses_things_is_found_out(self, index: VectorStore) -> None:
        """With notes that hold nothing, what was said early is answered wrong."""
        forgetful = ScriptedChatModel(
            responses=["The user asked a lot."], loop=True, model_name=SMALL_NAME
        )
        arm = lean_arm(standin(), forgetful, index, documents())
        assert run_arm(arm, [LONG]).recalled == 0

    def test_the_claim_is_near_the_difference(self, index: VectorStore) -> None:
        """Where all answers are equal the ledger claims what is really saved."""
        results = []
        for build in (
            lambda model: naive_arm(model, index),
            lambda model: lean(index, model),
        ):
            model = ScriptedChatModel(
                responses=["It is so. " * 25],
                loop=True,
                model_name=STRONG_NAME,
                provider="anthropic",
            )
            results.append(run_arm(build(model), CHATS))
        both = Comparison(*results)
        assert both.lean.report.savings.levers["memory"].count >= 5
        assert both.saved is not None
        assert float(both.claimed) == pytest.approx(float(both.saved), rel=0.05)

    @pytest.mark.usefixtures("_no_aws")
    @pytest.mark.parametrize("provider", STRONG)
    def test_the_claim_has_the_price_of_every_provider(
        self, provider: str, index: VectorStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a model says of itself is enough to price what is saved."""
        for name in ("OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "none")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        arm = lean_arm(
            strong_model(provider, STRONG[provider]),
            small_model(provider),
            index,
            documents(),
        )
        with track(arm.ledger):
            arm.graph.invoke(
                HelpState(messages=[HumanMessage("How do I count?")], documents=[]),
                {"configurable": {"thread_id": "1"}},
                interrupt_before=["answer"],
            )
        lever = arm.ledger.savings().levers["retriever"]
        assert lever.unpriced == 0
        assert lever.total > 0

    def test_a_model_without_a_name_is_refused(self, index: VectorStore) -> None:
        """What has no name has no price to save."""

        class Nameless(FakeListChatModel):
            def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
                return {}

        model: BaseChatModel = Nameless(responses=["?"])
        with pytest.raises(ConfigurationError, match="needs the model"):
            lean(index, model)


class TestComparison:
    @staticmethod
    def result(name: str, right: list[bool], total: Totals) -> ArmResult:
        answers = (
            Answer(question, "", is_right)
            for question, is_right in zip(QUESTIONS, right, strict=False)
        )
        return ArmResult(name, tuple(answers), Report(total=total))

    def test_what_is_saved_is_the_difference(self) -> None:
        """Dollars are exact, and a share is one of what the naive arm cost."""
        both = Comparison(
            self.result("naive", [], Totals(calls=1, cost=Decimal("0.4"))),
            self.result("lean", [], Totals(calls=1, cost=Decimal("0.1"))),
        )
        assert both.saved == Decimal("0.3")
        assert both.share == 0.75
        assert both.figures()["usd"] == "0.3"

    def test_lost_and_gained_answers_are_told_apart(self) -> None:
        """A question counts where one arm alone answers it right."""
        both = Comparison(
            self.result("naive", [True, True, False, False], Totals()),
            self.result("lean", [True, False, True, False], Totals()),
        )
        assert both.lost == (QUESTIONS[1],)
        assert both.gained == (QUESTIONS[2],)

    def test_without_a_price_nothing_is_said_to_be_saved(self) -> None:
        """One call without a price is enough."""
        unpriced = Totals(calls=2, cost=Decimal("0.1"), flags={"unpriced": 1})
        both = Comparison(
            self.result("naive", [], Totals(calls=2, cost=Decimal("0.4"))),
            self.result("lean", [], unpriced),
        )
        assert both.saved is None
        assert both.figures()["usd"] is None
        assert both.figures()["share"] is None


class TestRouting:
    def test_most_questions_are_answered_by_the_cheap_model(
        self, routed: ArmResult
    ) -> None:
        """The rest goes on to the strong one, for less in all."""
        assert routed.report.cheapest is not None
        assert 0.5 < routed.report.cheapest < 1
        saved = routed.report.savings
        own_cost = saved.own_cost["routing"]
        assert 0 < own_cost < saved.levers["routing"].counterfactual

    def test_as_many_answers_are_right_as_without_it(
        self, index: VectorStore, routed: ArmResult
    ) -> None:
        """What the cheap model gets wrong goes on."""
        assert routed.right >= run_arm(lean(index), CHATS).right
        assert routed.recalled == routed.to_recall

    @pytest.mark.parametrize(
        ("answer", "named"),
        [
            ("Use collections.Counter.", True),
            ("Call `Counter`.", True),
            ("Counter(words) does.", True),
            ("A counter does.", False),
            ("It takes 3.5 seconds.", False),
            ("I do not know.", False),
        ],
    )
    def test_an_answer_names_a_part_of_the_library(
        self, answer: str, named: bool
    ) -> None:
        """A dotted name, a call or code in backticks."""
        problem = names_no_part([], AIMessage(answer))
        assert (problem is None) is named


class TestTheCache:
    def test_it_answers_what_others_have_asked_at_the_start_of_a_chat(
        self, cached: ArmResult
    ) -> None:
        saved = cached.report.savings.levers["cache"]
        assert saved.count == 3
        assert saved.count + saved.misses == len(QUESTIONS)
        assert saved.exact > 0
        assert saved.counterfactual > 0

    def test_those_answers_are_as_right_as_before(
        self, cached: ArmResult, routed: ArmResult
    ) -> None:
        assert cached.right >= routed.right
        assert cached.report.total.cost < routed.report.total.cost


class TestCommand:
    @pytest.mark.usefixtures("_indexed")
    def test_it_says_that_a_stand_in_answers(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A stand-in is called one first, over both arms, in a report and the pages."""
        assert main(["--questions", "1"]) == 0
        label = f"stand-in priced as {STRONG_NAME}"
        both = f"stand-ins priced as {STRONG_NAME} and {SMALL_NAME}"
        lines = capsys.readouterr().out.splitlines()
        assert label in lines[0]
        assert f"The same questions to each arm, {label}" in lines
        assert any(line.startswith(f"Help desk, lean arm, {both}") for line in lines)
        for page, title in (
            ("lean-report.html", f"Help desk, lean arm, {both}"),
            ("lean-report-naive.html", f"Help desk, naive arm, {label}"),
        ):
            assert f"<h1>{title}</h1>" in Path(page).read_text(encoding="utf-8")

    @pytest.mark.usefixtures("_indexed")
    def test_it_says_how_the_memory_is_set(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Its limits, who takes its notes, and that no prompt is cached."""
        assert main(["--questions", "1"]) == 0
        printed = capsys.readouterr().out
        assert "a chat of 1,000 tokens down to the newest 400 and notes" in printed
        assert f"A stand-in priced as {SMALL_NAME} takes the notes" in printed
        assert "No prompt is cached" in printed

    @pytest.mark.usefixtures("_indexed")
    def test_a_naive_arm_alone_has_no_memory(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nothing is said of a memory where none is used."""
        assert main(["--questions", "1", "--arm", "naive"]) == 0
        assert "memory" not in capsys.readouterr().out

    @pytest.mark.usefixtures("_indexed")
    def test_all_questions_are_about_as_often_right_in_both_arms(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The lean arm costs a fifth, with at most two right answers fewer."""
        assert main(["--json"]) == 0
        figures = json.loads(capsys.readouterr().out)
        naive, lean = figures["arms"]["naive"], figures["arms"]["lean"]
        assert naive["questions"] == lean["questions"] == 30
        assert naive["recalled"] == lean["recalled"] == lean["to_recall"] == 3
        assert lean["right"] >= naive["right"] - 2 > 20
        assert 5 * Decimal(lean["usd"]) < Decimal(naive["usd"])
        assert figures["cheap_model"] in lean["by_model"]
        assert figures["memory"]["model"] in lean["by_model"]

    @pytest.mark.usefixtures("_indexed")
    def test_both_arms_stand_side_by_side(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Calls, tokens, cost, right answers and time of each, then what is saved."""
        assert main(["--questions", "6"]) == 0
        printed, errors = capsys.readouterr()
        for name in ("naive", "lean"):
            row = rf"^{name} +1\d +\d\S* +\d\S* +\$0\.0\d+ +[3-6] of 6 +- +\d+ ms$"
            assert re.search(row, printed, re.MULTILINE)
        assert re.search(r"cost \$0\.0\d+ less than the naive one \(\d\d %\)", printed)
        assert re.search(r"claims \$0\.0\d+, <?\d+ % (more|less) than that", printed)
        assert re.search(r"naive arm alone: \d; in the lean arm alone: \d", printed)
        assert not errors

    @pytest.mark.usefixtures("_indexed")
    def test_the_report_of_the_lean_arm_is_shown(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Its tables follow, and it says what its saving is against."""
        assert main(["--questions", "6"]) == 0
        printed, _ = capsys.readouterr()
        assert printed.count("where the tokens go") == 1
        assert "retriever against 20 whole documents" in printed
        assert "routing against claude-sonnet-5-5 in as many tokens" in printed
        assert re.search(r"^answer +[6-9] .*\$0\.0", printed, re.MULTILINE)
        assert re.search(r"^grace +[4-6] ", printed, re.MULTILINE)
        assert "\x1b" not in printed
        assert "\n\n\n" not in printed

    @pytest.mark.usefixtures("_indexed")
    @pytest.mark.parametrize("arm", ["naive", "lean"])
    def test_one_arm_can_be_asked_alone(
        self, arm: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It has the only row, report and page, and nothing is compared."""
        assert main(["--questions", "1", "--arm", arm]) == 0
        printed, _ = capsys.readouterr()
        assert re.findall(r"^(naive|lean) +[23] ", printed, re.MULTILINE) == [arm]
        assert f"Help desk, {arm} arm" in printed
        assert "than the naive one" not in printed
        assert [path.name for path in Path().iterdir()] == ["lean-report.html"]

    @pytest.mark.usefixtures("_indexed")
    def test_a_lean_arm_that_costs_more_is_said_to(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the arms exchanged, the difference is called one, without a minus."""
        monkeypatch.setattr("langchain_lean.demo.naive_arm", lambda m, i: lean(i, m))
        monkeypatch.setattr(
            "langchain_lean.demo.lean_arm", lambda m, s, i, _, **more: naive_arm(m, i)
        )
        assert main(["--questions", "1"]) == 0
        printed, _ = capsys.readouterr()
        assert re.search(r"cost \$0\.0\d+ more than the naive one \(\d+ %\)", printed)
        assert "Its ledger claims $0.00: it" in printed

    @pytest.mark.usefixtures("_indexed")
    def test_without_a_price_no_saving_is_shown(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A model that nobody has a price for leaves the difference open."""
        monkeypatch.setitem(STRONG, "standin", "no-such-model")
        assert main(["--questions", "1"]) == 0
        printed, _ = capsys.readouterr()
        assert "Some calls have no price" in printed
        assert "than the naive one" not in printed

    def test_json_is_all_it_prints_and_the_same_each_time(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Two runs print JSON only, and equal figures but for the seconds."""
        runs = []
        for _ in range(2):
            assert main(["--json", "--questions", "5", "--output", "page.html"]) == 0
            runs.append(json.loads(capsys.readouterr().out))
            for figures in runs[-1]["arms"].values():
                assert figures.pop("seconds_p50")["generation"] > 0
        assert runs[0] == runs[1]
        assert runs[0]["stand_in"] is True
        naive, lean = runs[0]["arms"]["naive"], runs[0]["arms"]["lean"]
        assert naive["questions"] == lean["questions"] == 5
        assert naive["input_tokens"] > 2 * lean["input_tokens"] > 0
        saving = runs[0]["saving"]
        assert Decimal(saving["usd"]) == Decimal(naive["usd"]) - Decimal(lean["usd"])
        assert saving["claimed_usd"] == lean["saved_usd"]
        assert Path("page.html").exists()
        assert Path("page-naive.html").exists()

    @pytest.mark.usefixtures("_indexed")
    def test_json_of_one_arm_has_no_saving(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """There is one arm, and nothing to compare it with."""
        assert main(["--json", "--questions", "1", "--arm", "naive"]) == 0
        figures = json.loads(capsys.readouterr().out)
        assert figures["arms"].keys() == {"naive"}
        assert figures["memory"] is None
        assert figures["saving"] is None

    def test_openai_needs_a_key(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a key it ends with code 2 and one sentence."""
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        assert main(["--provider", "openai"]) == 2
        printed, errors = capsys.readouterr()
        assert errors == "--provider openai needs a key: set OPENAI_API_KEY.\n"
        assert not printed

    @pytest.mark.usefixtures("_no_aws")
    def test_bedrock_needs_credentials(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without credentials it ends with code 2 and one sentence."""
        assert main(["--provider", "bedrock"]) == 2
        printed, errors = capsys.readouterr()
        assert errors.startswith(
            "--provider bedrock needs AWS credentials and a region"
        )
        assert errors.count("\n") == 1
        assert not printed

    @pytest.mark.usefixtures("_no_aws")
    def test_bedrock_needs_a_profile_that_exists(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A profile that is not configured is said to be the problem."""
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(ConfigurationError, match="nobody"):
            strong_model("bedrock", CLAUDE)

    @pytest.mark.usefixtures("_no_aws")
    def test_real_models_get_their_ids(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With credentials the model of the provider is made, by its id."""
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        assert vars(strong_model("openai", "gpt-x"))["model_name"] == "gpt-x"
        for small in (cheap_model, small_model):
            assert vars(small("openai"))["model_name"] == SMALL["openai"]
            assert vars(small("bedrock"))["model_id"] == SMALL["bedrock"]
        assert vars(strong_model("bedrock", CLAUDE))["model_id"] == CLAUDE

    @pytest.mark.usefixtures("_no_aws")
    @pytest.mark.parametrize("provider", ["openai", "bedrock"])
    def test_a_provider_that_refuses_is_quoted(
        self,
        provider: str,
        refusing: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What the provider says is shown on one line, with code 1."""
        for name in ("OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "none")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("OPENAI_BASE_URL", refusing)
        monkeypatch.setenv("AWS_ENDPOINT_URL", refusing)
        assert main(["--provider", provider, "--questions", "1"]) == 1
        printed, errors = capsys.readouterr()
        assert "bills you for those of both arms" in printed.splitlines()[0]
        assert re.search(r"403|AccessDenied", errors.splitlines()[-1])
        assert "Traceback" not in errors
        assert not Path("lean-report.html").exists()

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--questions", "0"],
            ["--questions", "31"],
            ["--questions", "few"],
            ["--provider", "nobody"],
            ["--arm", "third"],
            ["--model", "gpt-6.1-sol"],
            ["--output", "no/such/folder.html"],
        ],
    )
    def test_wrong_options_are_refused(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """An option that cannot work ends with code 2, before anything is asked."""
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "error: " in capsys.readouterr().err

    def test_a_page_that_cannot_be_written_is_said(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The figures are shown, then what is wrong with the output."""
        assert main(["--questions", "1", "--output", "."]) == 2
        printed, errors = capsys.readouterr()
        assert " 1 of 1 " in printed
        assert "directory" in errors.lower()
