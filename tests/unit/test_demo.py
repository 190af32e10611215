"""The demo: its questions, its help desk and its command line."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.vectorstores import VectorStore

from langchain_lean.accounting.ledger import track
from langchain_lean.demo import main, strong_model
from langchain_lean.demo_arms import naive_arm, run_arm
from langchain_lean.demo_data import (
    CHATS,
    EMBEDDINGS,
    Question,
    build_index,
    documents,
    first_questions,
)
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ExtractiveChatModel, ScriptedChatModel

CLAUDE = "global.anthropic.claude-sonnet-5-5"
QUESTIONS = [question for chat in CHATS for question in chat.questions]


@pytest.fixture(scope="module")
def index() -> VectorStore:
    return build_index()


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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
        """A right answer to every question is among the documents."""
        documented = {page.metadata["symbol"] for page in documents()}
        asked = {symbol for question in QUESTIONS for symbol in question.symbols}
        assert asked <= documented

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
        """Among 20 documents is the right one for 27 of 30 questions or more."""
        found = [
            question.text
            for question in QUESTIONS
            if {
                p.metadata["symbol"] for p in index.similarity_search(question.text, 20)
            }
            & set(question.symbols)
        ]
        assert len(found) >= 27

    def test_indexing_is_in_no_ledger(self) -> None:
        """Building an index outside of `track()` is not accounted, its queries are."""
        index = build_index()
        with track() as ledger:
            index.similarity_search("How do I count?")
        assert [entry.kind for entry in ledger.entries()] == ["embedding"]

    def test_every_prompt_has_all_there_is(self, index: VectorStore) -> None:
        """The third prompt of a chat has both earlier turns and 20 documents."""
        model = ExtractiveChatModel()
        result = run_arm(naive_arm(model, index), first_questions(3))
        _, *history, last = model.calls[2].messages
        asked = [(a.question.text, a.text) for a in result.answers[:2]]
        assert [str(m.text) for m in history] == [
            text for pair in asked for text in pair
        ]
        pages = index.similarity_search(result.answers[2].question.text, 20)
        assert all(page.page_content in str(last.text) for page in pages)

    def test_chats_do_not_share_their_history(self, index: VectorStore) -> None:
        """The first prompt of the second chat has rules and a question only."""
        model = ExtractiveChatModel()
        run_arm(naive_arm(model, index), first_questions(4))
        assert [len(call.messages) for call in model.calls] == [2, 4, 6, 2]

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
        arm = naive_arm(strong_model("standin", "gpt-6.1-sol"), index)
        figures = run_arm(arm, first_questions(4)).figures()
        assert figures["by_node"].keys() == {"retrieve", "answer"}
        assert figures["by_node"]["retrieve"]["usd"] == "0"
        assert figures["by_model"][EMBEDDINGS]["calls"] == 4
        assert {u: s["calls"] for u, s in figures["by_user"].items()} == {
            "ada": 6,
            "grace": 2,
        }
        assert float(figures["usd"]) > 0.005
        assert arm.ledger.totals().unpriced == 0
        assert arm.ledger.totals(by="thread_id").keys() == {"counting", "folders"}
        assert figures["shares"]["retrieved"] > 0.5
        assert figures["shares"]["history"] > 0


class TestCommand:
    def test_it_says_first_that_a_stand_in_answers(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A stand-in is called one in the first line, the report and the page."""
        assert main(["--questions", "6"]) == 0
        printed, errors = capsys.readouterr()
        lines = printed.splitlines()
        assert "stand-in priced as gpt-6.1-sol" in lines[0]
        assert re.search(r"^[3-6] of 6 answers name ", printed, re.MULTILINE)
        assert re.search(r"^answer +6 .*\$0\.0", printed, re.MULTILINE)
        assert re.search(r"^grace +6 ", printed, re.MULTILINE)
        assert "\x1b" not in printed
        assert "\n\n\n" not in printed
        assert not errors
        page = Path("lean-report.html").read_text(encoding="utf-8")
        assert "stand-in priced as gpt-6.1-sol" in page
        assert [path.name for path in Path().iterdir()] == ["lean-report.html"]

    def test_json_is_all_it_prints_and_the_same_each_time(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Two runs print JSON only, and equal figures but for the seconds."""
        runs = []
        for _ in range(2):
            assert main(["--json", "--questions", "5", "--output", "page.html"]) == 0
            runs.append(json.loads(capsys.readouterr().out))
            assert runs[-1].pop("seconds_p50")["generation"] > 0
        assert runs[0] == runs[1]
        assert runs[0]["stand_in"] is True
        assert runs[0]["questions"] == 5
        assert runs[0]["input_tokens"] > 5_000
        assert Path("page.html").exists()

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
        assert "bills you" in printed.splitlines()[0]
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
        assert "of 1 answers" in printed
        assert "directory" in errors.lower()
