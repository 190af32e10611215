"""`LearnedPolicy`: fitted to judged answers, asked about new ones, kept in a file."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.messages.tool import tool_call
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.config import ensure_config

from langchain_lean import EscalationRouter, TokenLedger, embeddings, track
from langchain_lean.errors import ConfigurationError, StorageError
from langchain_lean.models import own_call
from langchain_lean.routing.answer_checks import AnswerChecks
from langchain_lean.routing.learned import (
    LearnedPolicy,
    calibrate,
    logged_outcomes,
)
from langchain_lean.routing.learning.features import (
    ANSWER_FEATURES,
    QUESTION_FEATURES,
    answer_features,
    question_features,
)
from langchain_lean.routing.learning.fitting import fit_weights
from langchain_lean.testing import ScriptedChatModel
from tests.benchmarks import routing_data, routing_methods, routing_promise

ASKED = "What is 2 plus 3?"
RIGHT, WRONG = "2 + 3 = 5.", "2 + 3 = 6."


def sums(first: int = 0, count: int = 60, **more: Any) -> list[dict[str, Any]]:
    """Sums, of which every other one is wrong."""
    rows = []
    for n in range(first, first + count):
        said = 2 * n + 1 + n % 2
        answer = f"We add them: {n} + {n + 1} = {said}."
        question = f"What is {n} plus {n + 1}?"
        row = {"question": question, "answer": answer, "good": n % 2 == 0, **more}
        rows.append(row)
    return rows


def questions(**more: Any) -> list[dict[str, Any]]:
    """Questions of which the long ones were answered badly."""
    return [
        {"question": f"Why {n}? " * (1 + 9 * (n % 2)), "good": n % 2 == 0, **more}
        for n in range(60)
    ]


class Counted(Embeddings):
    """Embeddings that count their calls; the sync form may be forbidden."""

    model = "counted"

    def __init__(self, size: int = 4, *, allow_sync: bool = True) -> None:
        self.inner = DeterministicFakeEmbedding(size=size)
        self.allow_sync = allow_sync
        self.calls: list[list[str]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        assert self.allow_sync, "the event loop is blocked"
        self.calls.append(texts)
        return self.inner.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(texts)
        return self.inner.embed_documents(texts)


@pytest.fixture(scope="module")
def judging() -> LearnedPolicy:
    return LearnedPolicy.fit(sums(), embeddings=False)


@pytest.fixture(scope="module")
def screening() -> LearnedPolicy:
    return LearnedPolicy.fit(questions(), embeddings=False)


class TestLearning:
    """What it learns, and from what."""

    def test_answers_like_the_good_ones_score_higher_than_others(
        self, judging: LearnedPolicy
    ) -> None:
        rows = sums(first=100)
        scores = judging.scores(rows)
        good = np.array([row["good"] for row in rows])
        assert scores[good].min() > 0.8
        assert scores[~good].max() < 0.2

    def test_questions_alone_are_enough_to_learn_from(
        self, screening: LearnedPolicy
    ) -> None:
        assert screening.score("Why not?") > 0.8
        assert screening.score("Why is that so, do you think? " * 10) < 0.2

    def test_topics_are_learned_from_embeddings(self) -> None:
        pytest.importorskip("wordllama")
        topics = {True: ("bread", "soup", "cheese"), False: ("taxes", "law", "courts")}
        rows = [
            {"question": f"Tell me of {thing}, part {part}.", "good": good}
            for good, things in topics.items()
            for thing in things
            for part in range(10)
        ]
        policy = LearnedPolicy.fit(rows)
        assert policy.score("Tell me of soups, part 3.") > 0.5
        assert policy.score("Tell me of lawyers, part 3.") < 0.5

    def test_the_same_rows_give_the_same_policy(self) -> None:
        one, other = (LearnedPolicy.fit(sums(), embeddings=Counted()) for _ in range(2))
        assert one.weights.features.tolist() == other.weights.features.tolist()
        assert one.weights.embeddings.tolist() == other.weights.embeddings.tolist()

    def test_where_there_is_nothing_to_learn_the_score_is_the_share_of_good_ones(
        self,
    ) -> None:
        rows = [{"question": "Why?", "good": n % 4 > 0} for n in range(80)]
        policy = LearnedPolicy.fit(rows, embeddings=Counted())
        for question in ("Why?", "Something else entirely."):
            assert policy.score(question) == pytest.approx(0.75, abs=0.001)

    def test_what_does_not_hold_on_other_rows_is_not_turned_around(self) -> None:
        chance, rows = np.random.default_rng(3), 40
        turned = 0
        for _ in range(20):
            noise = chance.normal(size=(rows, 5))
            good = chance.permutation(rows) % 2 == 0
            weights = fit_weights(noise, np.zeros((rows, 0, 0)), good)
            scores = weights.probabilities(noise, np.zeros((rows, 0, 0)))
            turned += scores[good].mean() < scores[~good].mean() - 1e-9
        assert turned == 0

    def test_scores_are_probabilities(self) -> None:
        """Good with a chance of 0.9 or 0.3, and that can be seen."""
        chance = np.random.default_rng(7)
        rows = []
        for n in range(1_000):
            right = n % 2 == 0
            row = {**sums(n, 1)[0], "good": bool(chance.random() < 0.3 + 0.6 * right)}
            rows.append(row)
        policy = LearnedPolicy.fit(rows, embeddings=False)
        assert policy.score(ASKED, sums(200, 1)[0]["answer"]) == pytest.approx(
            0.9, abs=0.06
        )
        assert policy.score(ASKED, sums(201, 1)[0]["answer"]) == pytest.approx(
            0.3, abs=0.06
        )

    def test_what_the_strong_model_gets_wrong_too_counts_as_good_enough(self) -> None:
        rows = [{**row, "strong_good": row["good"]} for row in sums()]
        for row in rows[::4]:
            row.update(good=False, strong_good=True)
        policy = LearnedPolicy.fit(rows, embeddings=False)
        wrong = LearnedPolicy.fit(
            [{k: row[k] for k in ("question", "answer", "good")} for row in rows],
            embeddings=False,
        )
        lost = sums(201, 1)[0]  # neither gets it right: there is nothing to gain
        assert policy.score(ASKED, lost["answer"]) > wrong.score(ASKED, lost["answer"])

    def test_a_data_frame_will_do(self) -> None:
        frame = pd.DataFrame(sums())
        policy = LearnedPolicy.fit(frame, embeddings=False)
        expected = LearnedPolicy.fit(sums(), embeddings=False)
        assert policy.scores(frame).tolist() == expected.scores(sums()).tolist()

    @pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
    def test_a_missing_answer_of_a_data_frame_is_none(self, missing: Any) -> None:
        frame = pd.DataFrame(questions())
        frame["answer"] = pd.Series([missing] * len(frame), dtype=object)
        assert not LearnedPolicy.fit(frame, embeddings=False).reads_answers

    def test_of_messages_the_last_human_text_is_read(
        self, judging: LearnedPolicy
    ) -> None:
        chat = [SystemMessage("Add."), HumanMessage("Hi!"), HumanMessage(ASKED)]
        assert judging.score(chat, AIMessage(RIGHT)) == judging.score(ASKED, RIGHT)

    def test_outcomes_may_be_messages_and_come_one_by_one(self) -> None:
        rows = (
            {
                **row,
                "question": [("user", row["question"])],
                "answer": AIMessage(row["answer"]),
                "good": np.bool_(row["good"]),
            }
            for row in sums()
        )
        policy = LearnedPolicy.fit(rows, embeddings=False)
        expected = LearnedPolicy.fit(sums(), embeddings=False)
        assert policy.score(ASKED, RIGHT) == expected.score(ASKED, RIGHT)


class TestFeatures:
    """What can be seen of any text."""

    def test_each_has_a_name(self) -> None:
        assert len(question_features("Why?")) == len(QUESTION_FEATURES)
        assert len(answer_features("Why?", "So.")) == len(ANSWER_FEATURES)

    def named(self, question: str, answer: str) -> dict[str, float]:
        values = answer_features(question, answer)
        return dict(zip(ANSWER_FEATURES, values, strict=True))

    @pytest.mark.parametrize(
        ("feature", "less", "more"),
        [
            ("answer: wrong calculations", "2 + 2 = 4", "2 + 2 = 5"),
            ("answer: calculations", "It is 4.", "2 + 2 = 4"),
            ("answer: ends on a result", "2 + 2 = 4, of 9", "of 9, 2 + 2 = 4"),
            ("answer: unused numbers", "I take 7 and 8.", "I take 7."),
            ("answer: numbers from nowhere", "7 + 8 = 15", "It is 15 or 16."),
            ("answer: words of the question", "No.", "Pears are given."),
            ("answer: breaks off", "It is so.", "It is so, because the"),
            ("answer: doubts", "It is so.", "I'm not sure that it is so."),
            ("answer: doubts", "It is so.", "I'm sorry, but I can't help with that."),
            ("answer: repetition", "one two three", "one two one two one two"),
            ("answer: last line", "It is so.\n5", "5\nIt is so."),
            ("answer: characters", "So.", "So it is."),
        ],
    )
    def test_an_answer_shows(self, feature: str, less: str, more: str) -> None:
        asked = "How many are 7 pears and 8 pears?"
        assert self.named(asked, less)[feature] < self.named(asked, more)[feature]

    def test_a_question_shows_its_length_and_its_negations(self) -> None:
        plain = dict(
            zip(QUESTION_FEATURES, question_features("Is it so?"), strict=True)
        )
        other = question_features("It isn't so. Is it not? Is it not? No, never?")
        assert all(
            more > plain[n] for n, more in zip(QUESTION_FEATURES, other, strict=True)
        )

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=200), st.text(max_size=200))
    def test_any_text_has_finite_ones(self, question: str, answer: str) -> None:
        assert np.isfinite(question_features(question)).all()
        assert np.isfinite(answer_features(question, answer)).all()

    @pytest.mark.parametrize(
        "text", ["9" * 5_000, "10^400 = 10^400", "1e999 = 1.5.5.5"]
    )
    def test_numbers_without_measure_are_numbers(self, text: str) -> None:
        assert not np.isnan(answer_features(text, text)).any()

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.text(max_size=300), st.text(max_size=300))
    def test_any_text_has_a_probability(
        self, judging: LearnedPolicy, question: str, answer: str
    ) -> None:
        assert 0 < judging.score(question, answer) < 1


class TestVerdicts:
    """An escalation policy that screens or judges."""

    def test_fitted_on_answers_it_judges_and_does_not_screen(
        self, judging: LearnedPolicy
    ) -> None:
        asked = [HumanMessage(ASKED)]
        assert judging.screen(asked) is None
        right, wrong = (judging.judge(asked, AIMessage(t)) for t in (RIGHT, WRONG))
        assert right is not None
        assert wrong is not None
        assert (right.escalate, wrong.escalate) == (False, True)
        assert right.score == judging.score(ASKED, RIGHT)

    def test_fitted_on_questions_it_screens_and_does_not_judge(
        self, screening: LearnedPolicy
    ) -> None:
        asked = [HumanMessage("Why not?")]
        assert screening.judge(asked, AIMessage("So.")) is None
        verdict = screening.screen(asked)
        assert verdict is not None
        assert not verdict.escalate
        assert verdict.score == screening.score("Why not?")
        assert verdict.score == screening.score("Why not?", "whatever")

    async def test_the_async_forms_say_the_same(
        self, judging: LearnedPolicy, screening: LearnedPolicy
    ) -> None:
        asked, answer = [HumanMessage(ASKED)], AIMessage(WRONG)
        for policy in (judging, screening):
            assert await policy.ascreen(asked) == policy.screen(asked)
            assert await policy.ajudge(asked, answer) == policy.judge(asked, answer)
            assert await policy.ascore(ASKED, WRONG) == policy.score(ASKED, WRONG)

    def test_the_threshold_decides(self, judging: LearnedPolicy) -> None:
        lenient = LearnedPolicy.fit(sums(), embeddings=False, threshold=0.0)
        verdict = lenient.judge([HumanMessage(ASKED)], AIMessage(WRONG))
        assert verdict is not None
        assert not verdict.escalate

    def test_an_answer_that_calls_tools_is_not_judged(
        self, judging: LearnedPolicy
    ) -> None:
        call = tool_call(name="add", args={"a": 2}, id="1")
        answer = AIMessage("", tool_calls=[call])
        assert judging.judge([HumanMessage(ASKED)], answer) is None

    def test_a_reason_has_nothing_that_was_written(
        self, judging: LearnedPolicy
    ) -> None:
        verdict = judging.judge([HumanMessage("secret")], AIMessage("secret"))
        assert verdict is not None
        assert verdict.reason.startswith("score 0.")
        assert "secret" not in verdict.reason

    def test_in_a_router_a_wrong_answer_goes_up(self, judging: LearnedPolicy) -> None:
        cheap, strong = (ScriptedChatModel(responses=[t]) for t in (WRONG, RIGHT))
        router = EscalationRouter({"cheap": cheap, "strong": strong}, policy=judging)
        result = router.invoke({"messages": [HumanMessage(ASKED)]})
        assert result["messages"][-1].text == RIGHT
        assert result["route"]["verdicts"][0]["policy"] == "LearnedPolicy"


class TestEmbeddings:
    """Whose they are, and how often they are asked."""

    def test_a_decision_asks_once_for_question_and_answer(self) -> None:
        counted = Counted()
        policy = LearnedPolicy.fit(sums(), embeddings=counted)
        assert [len(texts) for texts in counted.calls] == [120]
        policy.score(ASKED, RIGHT)
        policy.scores(sums(100, 10))
        assert counted.calls[1:] == [[ASKED, RIGHT], counted.calls[2]]
        assert len(counted.calls[2]) == 20

    def test_their_length_does_not_count(self) -> None:
        class Longer(Counted):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                found = super().embed_documents(texts)
                return [[1_000 * len(texts) * x for x in vector] for vector in found]

        plain, longer = (
            LearnedPolicy.fit(sums(), embeddings=each) for each in (Counted(), Longer())
        )
        assert longer.score(ASKED, RIGHT) == pytest.approx(plain.score(ASKED, RIGHT))

    async def test_asyncio_waits_for_their_async_form(self) -> None:
        counted = Counted()
        policy = LearnedPolicy.fit(sums(), embeddings=counted)
        counted.allow_sync = False
        assert 0 < await policy.ascore(ASKED, RIGHT) < 1
        assert await policy.ajudge([HumanMessage(ASKED)], AIMessage(RIGHT))

    def test_a_provider_s_stand_in_the_ledger_as_the_router_s_own_cost(self) -> None:
        class Provided(Counted):
            __module__ = "langchain_openai.embeddings"

        with track() as ledger:
            LearnedPolicy.fit(sums(), embeddings=Provided())
        assert [entry.source for entry in ledger.entries()] == ["routing"]

    def test_without_the_local_extra_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embeddings, "find_spec", lambda name: None)
        with pytest.raises(ConfigurationError, match=r"langchain-lean-ai\[local\]"):
            LearnedPolicy.fit(sums())

    def test_what_are_none_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"embeddings= takes .* not str"):
            LearnedPolicy.fit(sums(), embeddings="text-embedding-3")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "vectors", [[[float("nan")] * 4] * 120, [[1.0]] * 7, [["a"]] * 120, [[], [1]]]
    )
    def test_what_they_give_is_looked_at(self, vectors: Any) -> None:
        class Broken(Counted):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return vectors  # type: ignore[no-any-return]

        with pytest.raises(ValueError, match="not one finite vector for each text"):
            LearnedPolicy.fit(sums(), embeddings=Broken())

    def test_other_dimensions_than_at_the_fit_are_refused(self) -> None:
        counted = Counted()
        policy = LearnedPolicy.fit(sums(), embeddings=counted)
        counted.inner = DeterministicFakeEmbedding(size=5)
        with pytest.raises(ConfigurationError, match="other dimensions: 4, not 5"):
            policy.score(ASKED, RIGHT)


class TestBadInput:
    """A sentence each."""

    @pytest.mark.parametrize(
        ("outcomes", "said"),
        [
            ([], "There are no outcomes"),
            ("outcomes", "Outcomes are mappings .* not str"),
            (7, "Outcomes are mappings .* not int"),
            ({"question": "a", "good": True}, "Outcomes are mappings .* not dict"),
            ([("a", True)], "Outcome 0 is no mapping but tuple"),
            ([{"good": True}], "Outcome 0 has no 'question'"),
            ([{"question": "a"}], "Outcome 0 has no 'good'"),
            ([{"question": 7, "good": True}], "Outcome 0: A question .* not int"),
            ([{"question": None, "good": True}], "Outcome 0: A question .* not None"),
            ([{"question": [7], "good": True}], "Outcome 0: A question .* not list"),
            (
                [{"question": "a", "answer": 7, "good": True}],
                "Outcome 0: An answer .* not int",
            ),
            (
                [{"question": "a", "answer": HumanMessage("b"), "good": True}],
                "Outcome 0: An answer .* not HumanMessage",
            ),
            ([{"question": "a", "good": None}], "Outcome 0: good is True or False"),
            ([{"question": "a", "good": "yes"}], "good is True or False, not str"),
            ([{"question": "a", "good": 0.5}], "good is True or False, not 0.5"),
            ([{"question": "a", "good": float("nan")}], "True or False, not nan"),
            (
                [{"question": "a", "good": True, "strong_good": "no"}],
                "strong_good is True or False, not str",
            ),
            (sums()[:50] + questions()[:9], "9 of 59 outcomes have no answer"),
            (
                sums()[:1] + sums(1, 50, strong_good=True),
                "1 of 51 outcomes have no strong_good",
            ),
            (sums(count=19), "10 good outcomes and 10 bad ones .* not 10 and 9"),
            ([r for r in sums() if r["good"]], "at least, not 30 and 0"),
        ],
    )
    def test_outcomes_that_cannot_be_learned_from(
        self, outcomes: Any, said: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=said):
            LearnedPolicy.fit(outcomes, embeddings=False)

    def test_a_threshold_is_from_0_to_1(self) -> None:
        with pytest.raises(ConfigurationError, match="threshold= is a number from 0"):
            LearnedPolicy.fit(sums(), embeddings=False, threshold=50)

    def test_an_answer_is_needed_where_it_was_fitted_on_answers(
        self, judging: LearnedPolicy
    ) -> None:
        with pytest.raises(ConfigurationError, match="fitted on answers"):
            judging.score(ASKED)

    def test_without_scikit_learn_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
        with pytest.raises(ConfigurationError, match=r"langchain-lean-ai\[learn\]"):
            LearnedPolicy.fit(sums(), embeddings=False)


class TestFiles:
    """Kept in a file, without pickle and without a text."""

    @pytest.mark.parametrize("embed", [False, Counted()], ids=["plain", "embedded"])
    @pytest.mark.parametrize("rows", [sums(), questions()], ids=["answers", "asked"])
    def test_a_policy_comes_back_as_it_was(
        self, tmp_path: Path, embed: Any, rows: list[dict[str, Any]]
    ) -> None:
        policy = LearnedPolicy.fit(rows, embeddings=embed, threshold=0.25)
        policy.save(tmp_path / "policy")
        back = LearnedPolicy.load(tmp_path / "policy", embeddings=embed)
        assert back.scores(rows).tolist() == policy.scores(rows).tolist()
        assert back.threshold == 0.25
        assert back.calibration is None
        assert [each.name for each in tmp_path.iterdir()] == ["policy"]

    def test_so_does_what_calibrate_promised(
        self, tmp_path: Path, judging: LearnedPolicy
    ) -> None:
        policy = calibrate(judging, sums(100, 200))
        policy.save(tmp_path / "policy.npz")
        back = LearnedPolicy.load(tmp_path / "policy.npz")
        assert back.calibration == policy.calibration
        assert back.threshold == policy.threshold
        with pytest.raises(ConfigurationError, match="fitted on all of the 60"):
            calibrate(back, sums())

    def test_a_loaded_policy_runs_without_scikit_learn(
        self, tmp_path: Path, judging: LearnedPolicy
    ) -> None:
        path = tmp_path / "policy.npz"
        judging.save(path)
        code = (
            "import sys\n"
            "from langchain_lean.routing.learned import LearnedPolicy, calibrate\n"
            f"policy = LearnedPolicy.load({str(path)!r})\n"
            f"print(policy.score({ASKED!r}, {RIGHT!r}))\n"
            "row = {'question': 'q', 'answer': 'a', 'good': True}\n"
            "calibrate(policy, [row] * 100)\n"
            "print([n for n in sys.modules if n.startswith(('sklearn', 'scipy'))])"
        )
        said = subprocess.check_output([sys.executable, "-c", code], text=True)
        score, loaded = said.split("\n")[:2]
        assert float(score) == judging.score(ASKED, RIGHT)
        assert loaded == "[]"

    def test_it_has_no_text_of_a_row(self, tmp_path: Path) -> None:
        rows = [
            {**row, "question": f"Pumpernickel {n}?"} for n, row in enumerate(sums())
        ]
        LearnedPolicy.fit(rows, embeddings=Counted()).save(tmp_path / "policy")
        with zipfile.ZipFile(tmp_path / "policy") as packed:
            parts = [packed.read(name) for name in packed.namelist()]
        assert not any(b"umpernickel" in part for part in parts)

    def test_it_takes_the_place_of_an_earlier_one(
        self, tmp_path: Path, judging: LearnedPolicy, screening: LearnedPolicy
    ) -> None:
        judging.save(tmp_path / "policy")
        screening.save(tmp_path / "policy")
        assert not LearnedPolicy.load(tmp_path / "policy").reads_answers

    def test_where_it_cannot_be_written_the_earlier_one_stays(
        self,
        tmp_path: Path,
        judging: LearnedPolicy,
        screening: LearnedPolicy,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail(*_: Any) -> None:
            raise PermissionError

        judging.save(tmp_path / "policy")
        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(PermissionError):
            screening.save(tmp_path / "policy")
        assert LearnedPolicy.load(tmp_path / "policy").reads_answers
        assert len([*tmp_path.iterdir()]) == 1

    def test_other_embeddings_are_refused(self, tmp_path: Path) -> None:
        LearnedPolicy.fit(sums(), embeddings=Counted()).save(tmp_path / "policy")
        others: list[Any] = [False, DeterministicFakeEmbedding(size=4)]
        for given_ in others:
            with pytest.raises(ConfigurationError, match="embeddings counted of 4 dim"):
                LearnedPolicy.load(tmp_path / "policy", embeddings=given_)

    def test_those_of_the_local_extra_need_not_be_given(self, tmp_path: Path) -> None:
        pytest.importorskip("wordllama")
        policy = LearnedPolicy.fit(sums())
        policy.save(tmp_path / "policy")
        back = LearnedPolicy.load(tmp_path / "policy")
        assert back.score(ASKED, RIGHT) == policy.score(ASKED, RIGHT)

    def test_a_file_that_is_not_there_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            LearnedPolicy.load(tmp_path / "policy")

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def test_a_damaged_file_says_so_or_is_read_as_it_was(
        self, tmp_path: Path, judging: LearnedPolicy, data: st.DataObject
    ) -> None:
        path = tmp_path / "policy"
        judging.save(path)
        whole = bytearray(path.read_bytes())
        cut = data.draw(st.integers(0, len(whole)), label="cut")
        at = data.draw(st.integers(0, max(0, cut - 1)), label="at")
        damaged = whole[:cut]
        damaged[at : at + 1] = data.draw(st.binary(max_size=3), label="bytes")
        path.write_bytes(damaged)
        try:
            back = LearnedPolicy.load(path)
        except StorageError as error:
            assert "damaged" in str(error) or "another version" in str(error)  # noqa: PT017
        else:
            assert back.score(ASKED, RIGHT) == judging.score(ASKED, RIGHT)

    @pytest.mark.parametrize(
        "change",
        [
            lambda head, arrays: head.update(version=2),
            lambda head, arrays: head.update(features=["length"]),
        ],
    )
    def test_another_version_is_refused(
        self, tmp_path: Path, judging: LearnedPolicy, change: Any
    ) -> None:
        path = rewritten(judging, tmp_path, change)
        with pytest.raises(StorageError, match="written by another version"):
            LearnedPolicy.load(path)

    @pytest.mark.parametrize(
        "change",
        [
            lambda head, arrays: head.pop("threshold"),
            lambda head, arrays: head.update(threshold="high"),
            lambda head, arrays: head.update(embeddings="wordllama"),
            lambda head, arrays: head.update(calibration={"rows": 3}),
            lambda head, arrays: arrays.pop("bias"),
            lambda head, arrays: arrays.update(more=np.zeros(2)),
            lambda head, arrays: arrays.update(center=np.zeros(3)),
            lambda head, arrays: arrays.update(scale=0 * arrays["scale"]),
            lambda head, arrays: arrays.update(features=arrays["features"] * np.nan),
            lambda head, arrays: arrays.update(features=np.array(["a"] * 16)),
            lambda head, arrays: arrays.update(fitted_on=np.zeros(3)),
        ],
    )
    def test_parts_that_do_not_fit_together_are_damage(
        self, tmp_path: Path, judging: LearnedPolicy, change: Any
    ) -> None:
        path = rewritten(judging, tmp_path, change)
        with pytest.raises(StorageError, match="is damaged"):
            LearnedPolicy.load(path)

    def test_a_pickle_is_not_opened(
        self, tmp_path: Path, judging: LearnedPolicy
    ) -> None:
        class Trap:
            def __reduce__(self) -> Any:
                return (Path.touch, (tmp_path / "sprung",))

        def change(head: Any, arrays: Any) -> None:
            arrays["center"] = np.array([Trap()], dtype=object)

        path = rewritten(judging, tmp_path, change)
        path_of_pickle = tmp_path / "pickle"
        path_of_pickle.write_bytes(pickle.dumps(Trap()))
        for each in (path, path_of_pickle):
            with pytest.raises(StorageError, match="is damaged"):
                LearnedPolicy.load(each)
        assert not (tmp_path / "sprung").exists()


def rewritten(policy: LearnedPolicy, folder: Path, change: Any) -> Path:
    """A saved policy, with something changed in its parts."""
    path = folder / "policy"
    policy.save(path)
    with np.load(io.BytesIO(path.read_bytes())) as found:
        arrays = {name: found[name] for name in found.files}
    head = json.loads(arrays.pop("head.json").tobytes())
    change(head, arrays)
    arrays["head.json"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


class TestLogged:
    """Outcomes out of a ledger."""

    def asked(self, ledger: TokenLedger, *answers: str, name: str = "haiku") -> None:
        model = ScriptedChatModel(responses=list(answers), model_name=name)
        for number, _ in enumerate(answers):
            chat: list[BaseMessage] = [
                HumanMessage("Hello"),
                AIMessage("Hi"),
                HumanMessage(f"question {number}"),
            ]
            model.invoke(chat, {"callbacks": [ledger]})

    def test_judged_calls_become_outcomes_with_their_last_question(self) -> None:
        ledger = TokenLedger(keep_text=True)
        self.asked(ledger, "one", "two", "three")
        runs = [entry.run_id for entry in ledger.entries()]
        ledger.feedback(runs[0], good=True)
        ledger.feedback(runs[2], good=False)
        assert logged_outcomes(ledger, model="haiku") == [
            {"question": "question 0", "answer": "one", "good": True},
            {"question": "question 2", "answer": "three", "good": False},
        ]

    def test_a_judged_chain_is_about_its_last_answer(self) -> None:
        ledger = TokenLedger(keep_text=True)
        model = ScriptedChatModel(responses=["draft", "final"], model_name="haiku")
        chain = RunnableLambda(lambda text: [model.invoke(text) for _ in range(2)])
        chain.invoke("Write.", {"callbacks": [ledger]})
        ledger.feedback(next(ledger.entries()).trace_id, good=True)
        [outcome] = logged_outcomes(ledger, model="haiku")
        assert outcome["answer"] == "final"

    def test_a_judged_chain_is_not_about_what_a_lever_asked_for_itself(self) -> None:
        ledger = TokenLedger(keep_text=True)
        model = ScriptedChatModel(responses=["final", "grade"], model_name="haiku")

        def answered(text: str) -> None:
            model.invoke(text)
            model.invoke("Grade it.", own_call(ensure_config(), "routing"))

        RunnableLambda(answered).invoke("Write.", {"callbacks": [ledger]})
        ledger.feedback(next(ledger.entries()).trace_id, good=True)
        [outcome] = logged_outcomes(ledger, model="haiku")
        assert outcome["answer"] == "final"

    def test_a_judged_chain_says_nothing_about_an_answer_that_was_rejected(
        self,
    ) -> None:
        ledger = TokenLedger(keep_text=True)
        cheap, strong = (
            ScriptedChatModel(responses=[text], model_name=name)
            for text, name in [(WRONG, "haiku"), (RIGHT, "sonnet")]
        )
        router = EscalationRouter(
            {"haiku": cheap, "sonnet": strong}, policy=AnswerChecks()
        )
        router.invoke({"messages": [HumanMessage(ASKED)]}, {"callbacks": [ledger]})
        ledger.feedback(next(ledger.entries()).trace_id, good=True)
        [outcome] = logged_outcomes(ledger, model="sonnet")
        assert outcome == {"question": ASKED, "answer": RIGHT, "good": True}
        with pytest.raises(ConfigurationError, match="but answers of sonnet"):
            logged_outcomes(ledger, model="haiku")
        ledger.feedback(next(ledger.entries()).run_id, good=False)
        [rejected] = logged_outcomes(ledger, model="haiku")
        assert rejected == {"question": ASKED, "answer": WRONG, "good": False}

    def test_a_judgement_of_the_call_itself_counts_more_than_one_of_its_chain(
        self,
    ) -> None:
        ledger = TokenLedger(keep_text=True)
        model = ScriptedChatModel(responses=["yes"], model_name="haiku")
        chain = RunnableLambda(lambda text: model.invoke(text)) | RunnableLambda(str)
        chain.invoke("Well?", {"callbacks": [ledger]})
        [entry] = ledger.entries()
        ledger.feedback(entry.trace_id, good=True)
        ledger.feedback(entry.run_id, good=False)
        [outcome] = logged_outcomes(ledger, model="haiku")
        assert outcome["good"] is False

    def test_where_no_text_was_kept_it_says_how_to_keep_it(self) -> None:
        ledger = TokenLedger()
        self.asked(ledger, "one")
        ledger.feedback(next(ledger.entries()).run_id, good=True)
        with pytest.raises(
            ConfigurationError, match=r"kept no text of the judged .*keep_text=True"
        ):
            logged_outcomes(ledger, model="haiku")

    def test_what_was_logged_before_texts_were_kept_is_left_out_and_counted(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = f"sqlite:///{tmp_path}/lean.db"
        for keep_text in (False, True):
            with TokenLedger(url, keep_text=keep_text) as ledger:
                self.asked(ledger, f"kept: {keep_text}")
                for entry in [*ledger.entries()]:
                    ledger.feedback(entry.run_id, good=True)
                ledger.flush()
                if keep_text:
                    [outcome] = logged_outcomes(ledger, model="haiku")
        assert outcome["answer"] == "kept: True"
        assert "1 judged answers have no text" in caplog.text

    def test_a_policy_is_fitted_to_them(self) -> None:
        ledger = TokenLedger(keep_text=True)
        rows = sums()
        self.asked(ledger, *[row["answer"] for row in rows])
        for entry, row in zip(ledger.entries(), rows, strict=True):
            ledger.feedback(entry.run_id, good=row["good"])
        outcomes = logged_outcomes(ledger, model="haiku")
        policy = LearnedPolicy.fit(outcomes, embeddings=False)
        assert policy.score(ASKED, RIGHT) > 0.5 > policy.score(ASKED, WRONG)


@pytest.mark.evaluation_data
class TestRecordedAnswers:
    """On recorded answers, some seeds and draws of tests/benchmarks/routing.py."""

    @pytest.fixture(autouse=True)
    def fewer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if not (routing_data.DATA / "routing" / "gsm8k.jsonl").is_file():
            pytest.skip(f"needs routing/*.jsonl in LEAN_DATA ({routing_data.DATA})")
        monkeypatch.setattr(routing_methods, "SEEDS", 5)
        monkeypatch.setattr(routing_promise, "DRAWS", 20)

    def test_it_recovers_the_gap_with_few_strong_calls_and_keeps_its_promise(
        self,
    ) -> None:
        data = routing_data.Set.read("gsm8k")
        row = routing_methods.figures(
            data, routing_methods.METHODS["gsm8k"]["LearnedPolicy"]
        )
        assert row.area.mean() >= 0.67
        assert row.calls[:, 0].mean() <= 26
        draws = routing_promise.draws(data, routing_methods.learned("answers"))
        assert draws.kept >= 0.95
        assert draws.cheap.mean() >= 0.1
