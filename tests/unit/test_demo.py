"""The demo: its questions, its help desk and its command line."""

import asyncio
import json
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.vectorstores import VectorStore

from langchain_lean.accounting.entry import Totals
from langchain_lean.accounting.ledger import track
from langchain_lean.accounting.report.data import Report
from langchain_lean.accounting.tokens.counter import TokenCounter
from langchain_lean.demo import main
from langchain_lean.demo_arms import (
    MAX_TOKENS,
    Arm,
    lean_arm,
    naive_arm,
    names_no_part,
    run_arm,
)
from langchain_lean.demo_chats import CHATS, Chat, Question, first_questions
from langchain_lean.demo_comparison import Comparison
from langchain_lean.demo_data import EMBEDDINGS, build_index, documents, signature
from langchain_lean.demo_models import (
    SMALL,
    STRONG,
    HelpDeskStandIn,
    cheap_model,
    provider_errors,
    small_model,
    strong_model,
    what_is_needed,
)
from langchain_lean.demo_results import Answer, ArmResult
from langchain_lean.demo_time import SimulatedTime
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ScriptedChatModel

CLAUDE = "global.anthropic.claude-sonnet-5-5"
QUESTIONS = [question for chat in CHATS for question in chat.questions]
LONG = max(CHATS, key=lambda chat: len(chat.questions))
STRONG_NAME, SMALL_NAME = STRONG["standin"], SMALL["standin"]

Build = Callable[[SimulatedTime], Arm]


def standin() -> HelpDeskStandIn:
    model = strong_model("standin", STRONG_NAME)
    assert isinstance(model, HelpDeskStandIn)
    return model


def small_standin() -> HelpDeskStandIn:
    model = cheap_model("standin")
    assert isinstance(model, HelpDeskStandIn)
    return model


def naive(index: VectorStore, model: BaseChatModel | None = None) -> Build:
    return lambda time: naive_arm(model or standin(), index, time)


def lean(
    index: VectorStore,
    strong: BaseChatModel | None = None,
    cheap: BaseChatModel | None = None,
    notes: BaseChatModel | None = None,
) -> Build:
    return lambda time: lean_arm(
        strong or standin(),
        cheap or small_standin(),
        notes or small_model("standin"),
        index,
        documents(),
        time,
    )


def held(build: Build, chats: Sequence[Chat], **more: Any) -> ArmResult:
    time = SimulatedTime()
    with asyncio.Runner(loop_factory=time.loop) as runner:
        return runner.run(run_arm(build(time), chats, **more))


def chats(*threads: str) -> list[Chat]:
    return [chat for chat in CHATS if chat.thread_id in threads]


@dataclass
class Asked:
    """Both arms, asked everything, and what the small stand-in was given."""

    naive: ArmResult
    lean: ArmResult
    small: HelpDeskStandIn


@pytest.fixture(scope="module")
def index() -> VectorStore:
    return build_index()


@pytest.fixture(scope="module")
def asked(index: VectorStore) -> Asked:
    small = small_standin()
    return Asked(
        naive=held(naive(index), CHATS),
        lean=held(lean(index, cheap=small), CHATS),
        small=small,
    )


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
        asked = {s for q in QUESTIONS if q.knows == "documents" for s in q.symbols}
        assert asked <= documented

    def test_what_is_to_recall_was_said_once_and_early(self) -> None:
        """The user said it in the first third of the chat, and no document has it."""
        pages = [page.page_content for page in documents()]
        early = "\n".join(q.text for q in LONG.questions[: len(LONG.questions) // 3])
        said = "\n".join(q.text for q in QUESTIONS)
        recalling = [q for q in QUESTIONS if q.knows == "user"]
        assert len(recalling) == 3
        for question in recalling:
            assert question in LONG.questions
            assert question.answered_by(early)
            assert said.count(question.symbols[0]) == 1
            assert not any(question.answered_by(page) for page in pages)

    def test_only_the_tool_knows_some_answers(self) -> None:
        """No document has the parameter that is asked for; a signature does."""
        pages = [page.page_content for page in documents()]
        asked = [question for question in QUESTIONS if question.knows == "tool"]
        assert len(asked) == 4
        for question in asked:
            name = question.text.split("`")[1]
            assert question.answered_by(signature.invoke({"name": name}))
            assert not any(question.answered_by(page) for page in pages)

    @pytest.mark.parametrize("name", ["min", "Nobody", "__doc__", ""])
    def test_the_tool_says_what_it_does_not_know(self, name: str) -> None:
        """It needs a built-in function that has a signature."""
        assert signature.invoke({"name": name}) == f"{name} has no signature."

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
        """Four chats open with what another user has asked first."""
        opened: dict[tuple[str, ...], list[str]] = {}
        for chat in CHATS:
            opened.setdefault(chat.questions[0].symbols, []).append(chat.user_id)
        again = [users for users in opened.values() if len(users) > 1]
        assert len(again) == 4
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
        """Among 20 documents is the right one for eight questions of ten."""
        asked = [question for question in QUESTIONS if question.knows == "documents"]
        found = [
            question.text
            for question in asked
            if {
                p.metadata["symbol"] for p in index.similarity_search(question.text, 20)
            }
            & set(question.symbols)
        ]
        assert len(found) >= 0.8 * len(asked)

    def test_indexing_is_in_no_ledger(self) -> None:
        """Building an index outside of `track()` is not accounted, its queries are."""
        index = build_index()
        with track() as ledger:
            index.similarity_search("How do I count?")
        assert [entry.kind for entry in ledger.entries()] == ["embedding"]

    def test_every_prompt_has_all_there_is(self, index: VectorStore) -> None:
        """The last prompt of a chat has all earlier turns and 20 documents."""
        model, chat = standin(), chats("bytes")
        result = held(naive(index, model), chat)
        _, *history, last = model.calls[-1].messages
        *earlier, newest = result.answers
        said = [(answer.question.text, answer.text) for answer in earlier]
        assert [str(m.text) for m in history] == [
            text for pair in said for text in pair
        ]
        pages = index.similarity_search(newest.question.text, 20)
        assert all(page.page_content in str(last.text) for page in pages)

    def test_chats_do_not_share_their_history(self, index: VectorStore) -> None:
        """The first prompt of the second chat has rules and a question only."""
        model = standin()
        held(naive(index, model), first_questions(4))
        assert [len(call.messages) for call in model.calls] == [2, 4, 2, 4]

    def test_answers_are_judged_one_by_one(self, index: VectorStore) -> None:
        """Each answer is held against the symbols of its own question."""
        model = ScriptedChatModel(responses=["collections.Counter"], loop=True)
        heard: list[Answer] = []
        result = held(naive(index, model), first_questions(2), on_answer=heard.append)
        assert [answer.right for answer in result.answers] == [True, False]
        assert result.right() == (1, 2)
        assert heard == list(result.answers)

    def test_calls_are_told_apart(self, index: VectorStore) -> None:
        """Calls stand under their node, user and thread; local queries cost nothing."""
        built: list[Arm] = []

        def build(time: SimulatedTime) -> Arm:
            built.append(naive(index)(time))
            return built[0]

        figures = held(build, first_questions(3)).figures()
        ledger = built[0].ledger
        assert figures["by_node"].keys() == {"retrieve", "answer"}
        assert figures["by_node"]["retrieve"]["usd"] == "0"
        assert figures["by_model"][EMBEDDINGS]["calls"] == 3
        assert {u: s["calls"] for u, s in figures["by_user"].items()} == {
            "ada": 4,
            "grace": 2,
        }
        assert float(figures["usd"]) > 0.005
        assert ledger.totals().unpriced == 0
        assert ledger.totals(by="thread_id").keys() == {"counting", "folders"}
        assert figures["shares"]["retrieved"] > 0.5
        assert figures["shares"]["history"] > 0

    def test_no_arm_takes_the_network(
        self, index: VectorStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Questions to documents, the tool and the cache connect to nothing."""
        asked: list[object] = []

        def refuse(*whom: object) -> None:
            asked.append(whom)
            raise OSError

        for name in ("connect", "connect_ex", "sendto"):
            monkeypatch.setattr(socket.socket, name, refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        for build in (naive(index), lean(index)):
            held(build, chats("counting", "signatures", "arguments"))
        assert not asked


class TestStandIns:
    @pytest.mark.parametrize(
        ("question", "route", "needs"),
        [
            ("How do I count?", "rag", "needs_rag"),
            ("What is the signature of `sum`?", "agent", "needs_tools"),
            ("What is our machine named?", "agent", None),
        ],
    )
    def test_what_is_needed_is_told_by_a_word(
        self, question: str, route: str, needs: str | None
    ) -> None:
        """It is a rule that is easy to see through, and no model."""
        expected = {"route": route} if needs is None else {"route": route, needs: True}
        assert what_is_needed(question) == expected

    def test_the_strong_one_is_right_where_the_small_one_is_wrong(
        self, index: VectorStore
    ) -> None:
        """A harder question is lost where the small stand-in plays both models."""
        hard = [Chat("ada", "hard", chats("decorators")[0].questions[:1])]
        small = small_standin()
        assert held(lean(index, strong=small, cheap=small), hard).right() == (0, 1)
        assert held(lean(index), hard).right() == (1, 1)

    def test_simulated_time_takes_none_and_passes_side_by_side(self) -> None:
        """Two waits side by side pass as one, and work on threads passes none."""
        time = SimulatedTime()

        async def work() -> str:
            hours = (asyncio.sleep(3600), asyncio.sleep(600))
            await asyncio.gather(*hours)
            return await asyncio.to_thread(str, 5)

        began = time.clock()
        with asyncio.Runner(loop_factory=time.loop) as runner:
            assert runner.run(work()) == "5"
        assert time.timer() == pytest.approx(3600)
        assert time.clock() - began == pytest.approx(3600)

    def test_what_fails_on_a_thread_fails_in_simulated_time(self) -> None:
        with (
            asyncio.Runner(loop_factory=SimulatedTime().loop) as runner,
            pytest.raises(ValueError, match="invalid literal"),
        ):
            runner.run(asyncio.to_thread(int, "x"))


class TestBothArms:
    def test_the_lean_arm_costs_a_fifth_at_no_fewer_right_answers(
        self, asked: Asked
    ) -> None:
        """A smoke test: models and questions are the demo's own."""
        both = Comparison(asked.naive, asked.lean)
        costs = [result.report.total.cost for result in (asked.naive, asked.lean)]
        assert 0 < costs[1] <= costs[0] / 5
        assert both.saved == costs[0] - costs[1]
        right, of = asked.naive.right()
        assert asked.lean.right()[0] >= right > 0.75 * of
        assert of == len(QUESTIONS) == asked.lean.right()[1]
        assert asked.lean.right("user") == asked.naive.right("user") == (3, 3)
        assert asked.lean.right("tool") == asked.naive.right("tool") == (4, 4)

    def test_the_ledger_claims_no_more_than_is_saved(self, asked: Asked) -> None:
        """Its baselines are the naive arm's documents, chats and model."""
        both = Comparison(asked.naive, asked.lean)
        assert both.saved is not None
        assert both.saved / 2 < both.claimed <= both.saved
        assert not asked.naive.report.savings.levers
        levers = asked.lean.report.savings.levers
        assert levers.keys() == {"retriever", "routing", "memory", "cache"}
        assert all(lever.total > 0 for lever in levers.values())
        assert levers["retriever"].baselines == ("20 whole documents",)
        assert levers["memory"].baselines == ("the whole history",)

    def test_a_claim_is_net_of_what_levers_cost(self, asked: Asked) -> None:
        """Their own calls, those of the classification too, are taken off."""
        figures = asked.lean.figures()
        own = {k: Decimal(v) for k, v in figures["own_cost_usd"].items()}
        assert own.keys() >= {"memory", "classify", "routing"}
        assert own["memory"] == Decimal(figures["by_node"]["memory"]["usd"])
        assert own["classify"] == Decimal(figures["by_node"]["classify"]["usd"])
        saved = sum(map(Decimal, figures["saved_by_lever"].values()))
        assert saved - sum(own.values()) == Decimal(figures["saved_usd"])

    def test_most_questions_are_answered_by_the_small_model(self, asked: Asked) -> None:
        """The rest goes on to the strong one, for less in all."""
        report = asked.lean.report
        assert report.cheapest is not None
        assert 0.5 < report.cheapest < 1
        own_cost = report.savings.own_cost["routing"]
        assert 0 < own_cost < report.savings.levers["routing"].counterfactual

    def test_the_cache_answers_what_others_asked_at_the_start_of_a_chat(
        self, asked: Asked
    ) -> None:
        """One of these answers rests on the tool; all are right."""
        saved = asked.lean.report.savings.levers["cache"]
        assert saved.count == 4
        assert saved.count + saved.misses == len(QUESTIONS)
        assert saved.exact > 0
        given = [answer for answer in asked.lean.answers if not answer.whole]
        assert len(given) == 4
        assert all(answer.right for answer in given)
        assert sum(answer.question.knows == "tool" for answer in given) == 1

    def test_latency_is_what_the_stand_ins_simulate(self, asked: Asked) -> None:
        """The strong one's first token comes after a second; a whole draft, and what
        was decided before, take the small one less than the strong one's answer."""
        naive, lean = asked.naive.latency(), asked.lean.latency()
        first, whole = zip(*(naive["first token"], naive["whole answer"]), strict=True)
        assert 1.0 < first[0] < whole[0]
        assert first[1] <= whole[1]
        assert lean["first token"][0] > naive["first token"][0]
        assert lean["whole answer"][0] < naive["whole answer"][0]

    def test_a_memory_keeps_chats_short(self, asked: Asked) -> None:
        """No prompt of the small model has more of a chat; no notes are cut."""
        count = TokenCounter().count
        assert asked.lean.figures()["by_node"]["memory"]["calls"] >= 1
        assert not asked.lean.report.notices
        for call in asked.small.calls:
            _, *history, _ = call.messages
            assert count(history, model=SMALL_NAME) <= MAX_TOKENS

    def test_what_was_said_early_is_remembered(self, asked: Asked) -> None:
        """The last prompt has it in notes, behind which the oldest turns have left."""
        prompts = [
            [str(message.text) for message in call.messages]
            for call in asked.small.calls
            if LONG.questions[-1].text in str(call.messages[-1].text)
        ]
        _, summed_up, *rest = prompts[-1]
        recalling = [q for q in LONG.questions if q.knows == "user"]
        assert all(question.answered_by(summed_up) for question in recalling)
        assert not [text for text in rest if LONG.questions[0].text in text]


class TestLeanArm:
    def test_its_prompts_have_few_pieces_of_documents(self, index: VectorStore) -> None:
        """The same rules, history and question as in the naive arm, but less else."""
        one, other = standin(), small_standin()
        held(naive(index, one), first_questions(1))
        held(lean(index, cheap=other), first_questions(1))
        whole = [str(message.text) for message in one.calls[0].messages]
        few = [str(message.text) for message in other.calls[-1].messages]
        assert whole[0] == few[0]
        assert whole[-1].split("\n\n")[-1] == few[-1].split("\n\n")[-1]
        assert len(whole) == len(few) == 2
        assert TokenCounter().count(few[-1]) < 1_300 < TokenCounter().count(whole[-1])

    def test_a_memory_that_loses_things_is_found_out(self, index: VectorStore) -> None:
        """With notes that hold nothing, what was said early is answered wrong."""
        forgetful = ScriptedChatModel(
            responses=["The user asked a lot."], loop=True, model_name=SMALL_NAME
        )
        assert held(lean(index, notes=forgetful), [LONG]).right("user")[0] < 3

    @pytest.mark.usefixtures("_no_aws")
    @pytest.mark.parametrize("provider", ["openai", "bedrock"])
    def test_the_claim_has_the_price_of_every_provider(
        self,
        provider: str,
        refusing: str,
        index: VectorStore,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What a model says of itself is enough to price what is saved."""
        for name in ("OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "none")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("OPENAI_BASE_URL", refusing)
        monkeypatch.setenv("AWS_ENDPOINT_URL", refusing)
        strong = strong_model(provider, STRONG[provider])
        small = cheap_model(provider), small_model(provider)
        arm = lean_arm(strong, *small, index, documents())
        with pytest.raises(provider_errors(provider)):
            asyncio.run(run_arm(arm, first_questions(1)))
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
            lean(index, model)(SimulatedTime())

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


class TestComparison:
    @staticmethod
    def result(name: str, right: list[bool], total: Totals) -> ArmResult:
        answers = (
            Answer(question, question.symbols[0] if is_right else "")
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

    def test_latency_has_half_of_the_answers_and_nearly_all(self) -> None:
        """The middle of a hundred answers, and the one that five are slower than."""
        answers = [
            Answer(QUESTIONS[0], "", first_token=n / 10, whole=n) for n in range(100)
        ]
        figures = ArmResult("lean", tuple(answers), Report()).figures()
        assert figures["seconds"] == {
            "first token": {"p50": 5.0, "p95": 9.5},
            "whole answer": {"p50": 50, "p95": 95},
        }

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
        assert any(line.startswith(f"Lean help desk, {both}") for line in lines)
        for page, title in (
            ("lean-report.html", f"Lean help desk, {both}"),
            ("lean-report-naive.html", f"Naive help desk, {label}"),
        ):
            assert f"<h1>{title}</h1>" in Path(page).read_text(encoding="utf-8")

    @pytest.mark.usefixtures("_indexed")
    def test_it_says_what_is_set_and_simulated(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The latency of stand-ins, who is asked first, and the memory's limits."""
        assert main(["--questions", "1"]) == 0
        printed = capsys.readouterr().out
        assert "Simulated are 1.0 s to its first token and 0.015 s for each" in printed
        assert "0.5 s and 0.007 s of smaller ones" in printed
        assert f"a stand-in priced as {SMALL_NAME} says what is needed" in printed
        assert "a chat of 1,000 tokens down to the newest 400 and notes" in printed
        assert "Stand-ins go by a word of the question" in printed
        assert "No prompt is cached" in printed

    @pytest.mark.usefixtures("_indexed")
    def test_a_naive_arm_alone_has_no_memory(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nothing is said of a memory where none is used."""
        assert main(["--questions", "1", "--arm", "naive"]) == 0
        assert "memory" not in capsys.readouterr().out

    @pytest.mark.usefixtures("_indexed")
    def test_both_arms_stand_side_by_side(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Calls, tokens, cost, right answers and time of each, then what is saved."""
        assert main(["--questions", "6"]) == 0
        printed, errors = capsys.readouterr()
        rows = [
            r"arm +naive +lean",
            r"calls +1\d +[12]\d",
            r"cost +\$0\.0\d+ +\$0\.0\d+",
            rf"  {STRONG_NAME} +\$0\.0\d+ +\$0\.0\d+",
            rf"  {SMALL_NAME} +- +\$0\.0\d+",
            r"  retriever +- +\$0\.0\d+",
            r"  their own cost +- +-\$0\.0\d+",
            r"right +[3-6] of 6 +[3-6] of 6",
            r"first token, p50 +1\.0 s +\d\.\d s",
            r"whole answer, p95 +\d\.\d s +\d\.\d s",
        ]
        for row in rows:
            assert re.search(f"^{row}$", printed, re.MULTILINE), row
        assert "recalled  " not in printed
        assert re.search(r"cost \$0\.0\d+ less than the naive one \(\d\d %\)", printed)
        assert re.search(r"claims \$0\.0\d+, <?\d+ % (more|less) than that", printed)
        assert re.search(r"^Right in the naive arm alone: \d\.$", printed, re.MULTILINE)
        assert not errors

    @pytest.mark.usefixtures("_indexed")
    def test_questions_that_one_arm_alone_gets_right_are_named(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A small model that knows nothing, and is believed, loses the first one."""
        wrong = ScriptedChatModel(responses=["Use no.thing."], loop=True)
        monkeypatch.setattr("langchain_lean.demo.cheap_model", lambda _: wrong)
        assert main(["--questions", "1"]) == 0
        printed = capsys.readouterr().out
        assert f"alone: 1.\n  {QUESTIONS[0].text}\nRight in the lean" in printed

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
        assert re.search(r"^rag +6 .*\$0\.0", printed, re.MULTILINE)
        assert re.search(r"^grace +[6-9] ", printed, re.MULTILINE)
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
        assert re.findall(r"^arm +(.*)$", printed, re.MULTILINE) == [arm]
        assert f"{arm.title()} help desk" in printed
        assert "than the naive one" not in printed
        page = {"naive": "lean-report-naive.html", "lean": "lean-report.html"}[arm]
        assert [path.name for path in Path().iterdir()] == [page]

    @pytest.mark.usefixtures("_indexed")
    def test_a_lean_arm_that_costs_more_is_said_to(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the arms exchanged, the difference is called one, without a minus."""
        monkeypatch.setattr(
            "langchain_lean.demo.naive_arm", lambda m, i, t, f: lean(i, m)(t)
        )
        monkeypatch.setattr(
            "langchain_lean.demo.lean_arm", lambda m, s, n, i, d, t, f: naive(i, m)(t)
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
        """Two runs print JSON only, and equal figures, those of latency too."""
        runs = []
        for _ in range(2):
            assert main(["--json", "--questions", "5", "--output", "page.html"]) == 0
            runs.append(json.loads(capsys.readouterr().out))
        assert runs[0] == runs[1]
        assert runs[0]["stand_in"] is True
        naive, lean = runs[0]["arms"]["naive"], runs[0]["arms"]["lean"]
        assert naive["questions"] == lean["questions"] == 5
        assert naive["seconds"]["first token"]["p50"] > 1
        assert lean["seconds"]["whole answer"]["p95"] > 1
        assert runs[0]["simulated_seconds"]["strong"]["first_token"] == 1.0
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

    @pytest.mark.usefixtures("_indexed", "_no_aws")
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
            ["--questions", str(len(QUESTIONS) + 1)],
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

    @pytest.mark.usefixtures("_indexed")
    def test_a_page_that_cannot_be_written_is_said(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The figures are shown, then what is wrong with the output."""
        page = ["--arm", "naive", "--output", "/dev/full"]
        assert main(["--questions", "1", *page]) == 2
        printed, errors = capsys.readouterr()
        assert " 1 of 1" in printed
        assert errors
