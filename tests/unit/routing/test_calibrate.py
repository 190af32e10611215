"""`calibrate`: the threshold that keeps a promise, and `curve`: what it costs."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.errors import GraphInterrupt

from langchain_lean.errors import ConfigurationError
from langchain_lean.routing.answer_checks import AnswerChecks
from langchain_lean.routing.combined import any_of
from langchain_lean.routing.learned import (
    CalibratedPolicy,
    CalibrationError,
    LearnedPolicy,
    calibrate,
    curve,
    curve_points,
)
from langchain_lean.routing.learning.bound import (
    fewest_rows,
    lowest_cut,
    most_bad,
    upper_bound,
)
from langchain_lean.routing.self_screen import SelfScreen
from langchain_lean.routing.verdict import Attempt, EscalationPolicy, Verdict
from tests.unit.routing.ladders import ASKED, Fails, Screen, model


def at_most(bad: int, rows: int, share: float) -> float:
    """The probability of at most so many, summed exactly."""
    return math.fsum(
        math.comb(rows, k) * share**k * (1 - share) ** (rows - k)
        for k in range(bad + 1)
    )


@dataclass
class Scored(EscalationPolicy):
    """Judges by a number that stands in the answer; None where there is none."""

    asked: list[str] = field(default_factory=list)

    def judge(self, messages: Sequence[BaseMessage], answer: AIMessage) -> Verdict:
        self.asked.append(answer.text)
        said = answer.text.strip("!")
        score = float(said) if said else None
        return Verdict(score is None, score, "said so", unusable="!" in answer.text)


@dataclass
class ScoredQuestion(EscalationPolicy):
    """Screens by a number that is the question."""

    def screen(self, messages: Sequence[BaseMessage]) -> Verdict:
        return Verdict(False, float(messages[-1].text))


@dataclass
class AlsoScreens(Scored):
    """Screens everything up, too."""

    def screen(self, messages: Sequence[BaseMessage]) -> Verdict:
        return Screen(True).screen(messages)


@dataclass
class AsksForTheMark(Scored):
    """Asks as `SelfScreen` does."""

    def attempt(self, attempt: Attempt, model: Any) -> Attempt:
        return SelfScreen().attempt(attempt, model)


def outcomes(*rows: tuple[Any, bool]) -> list[dict[str, Any]]:
    """Outcomes with a score and whether they are good."""
    return [
        {"question": f"question {number}", "answer": f"{score}", "good": good}
        for number, (score, good) in enumerate(rows)
    ]


def many(good: int, bad: int) -> list[dict[str, Any]]:
    """Good ones scored from 0.9 down, then bad ones from 0.1 down."""
    return outcomes(
        *((0.9 - k / 10_000, True) for k in range(good)),
        *((0.1 - k / 10_000, False) for k in range(bad)),
    )


class TestBound:
    """The largest share that what was seen leaves possible."""

    @settings(deadline=None)
    @given(st.integers(1, 60), st.data(), st.floats(0.01, 0.999))
    def test_at_the_bound_so_few_are_as_unlikely_as_allowed(
        self, rows: int, data: st.DataObject, confidence: float
    ) -> None:
        bad = data.draw(st.integers(0, rows - 1))
        bound = upper_bound(bad, rows, confidence)
        assert at_most(bad, rows, bound) == pytest.approx(1 - confidence, abs=1e-9)

    @settings(deadline=None)
    @given(st.integers(1, 25), st.floats(0.001, 0.999), st.floats(0.5, 0.999))
    def test_the_true_share_lies_above_it_no_more_often_than_allowed(
        self, rows: int, share: float, confidence: float
    ) -> None:
        missed = math.fsum(
            math.comb(rows, bad) * share**bad * (1 - share) ** (rows - bad)
            for bad in range(rows + 1)
            if upper_bound(bad, rows, confidence) < share
        )
        assert missed <= 1 - confidence + 1e-9

    def test_it_is_that_of_clopper_and_pearson_for_many_rows_too(self) -> None:
        beta = pytest.importorskip("scipy.stats").beta
        for bad, rows in [(0, 1), (4, 200), (37, 1_000), (5_000, 100_000)]:
            expected = beta.ppf(0.95, bad + 1, rows - bad)
            assert upper_bound(bad, rows, 0.95) == pytest.approx(expected, rel=1e-8)

    def test_where_all_are_bad_it_is_one(self) -> None:
        assert upper_bound(7, 7, 0.95) == 1.0

    @settings(deadline=None)
    @given(st.integers(1, 300), st.floats(0.01, 0.5), st.floats(0.5, 0.99))
    def test_so_many_may_be_bad_as_keep_the_bound_and_one_more_does_not(
        self, rows: int, max_bad: float, confidence: float
    ) -> None:
        allowed = most_bad(rows, max_bad, confidence)
        if allowed >= 0:
            assert upper_bound(allowed, rows, confidence) <= max_bad + 1e-9
        assert upper_bound(allowed + 1, rows, confidence) > max_bad - 1e-9

    @settings(deadline=None)
    @given(st.floats(0.01, 0.5), st.floats(0.5, 0.99))
    def test_with_the_fewest_rows_none_may_be_bad_and_with_fewer_nothing_goes(
        self, max_bad: float, confidence: float
    ) -> None:
        fewest = fewest_rows(max_bad, confidence)
        assert most_bad(fewest, max_bad, confidence) >= 0
        assert fewest == 1 or most_bad(fewest - 1, max_bad, confidence) == -1


JUST_ABOVE = math.nextafter(0.5, 1)
SCORES = st.sampled_from([0.0, 0.1, 0.5, JUST_ABOVE, 0.9, 1.0]) | st.floats(0, 1)
ROWS = st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=30)


class TestThreshold:
    """The lowest threshold with few enough bad rows at or above it."""

    @settings(deadline=None)
    @given(ROWS, st.integers(0, 5))
    def test_it_serves_as_few_bad_rows_as_allowed_and_lower_ones_would_not(
        self, rows: list[tuple[float, bool]], allowed: int
    ) -> None:
        scores, good = (np.array(column) for column in zip(*rows, strict=True))
        cut = lowest_cut(scores, good, allowed)
        served = scores >= cut.threshold
        assert (cut.served, cut.bad) == (served.sum(), (served & ~good).sum())
        assert cut.bad <= allowed
        for lower in scores[scores < cut.threshold]:
            assert ((scores >= lower) & ~good).sum() > allowed

    @settings(deadline=None)
    @given(ROWS)
    def test_the_more_may_be_bad_the_lower_it_is(
        self, rows: list[tuple[float, bool]]
    ) -> None:
        scores, good = (np.array(column) for column in zip(*rows, strict=True))
        cuts = [lowest_cut(scores, good, allowed) for allowed in range(6)]
        thresholds = [cut.threshold for cut in cuts]
        assert thresholds == sorted(thresholds, reverse=True)

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(st.integers(0, 8), min_size=6, max_size=6).filter(sum),
        st.floats(0.05, 0.6),
        st.floats(0.5, 0.95),
    )
    def test_with_ties_and_all_draws_counted_the_promise_is_broken_no_more_than_allowed(
        self, weights: list[int], max_bad: float, confidence: float
    ) -> None:
        """Requests of six kinds: three scores, good and bad; every sample of 7."""
        kinds = [*product((0.9, 0.5, 0.1), (True, False))]
        chances = np.array(weights) / sum(weights)
        rows = 7
        allowed = most_bad(rows, max_bad, confidence)
        if allowed < 0:
            return
        broken = 0.0
        for counts in samples(rows, len(kinds)):
            drawn = [
                kind for kind, n in zip(kinds, counts, strict=True) for _ in [0] * n
            ]
            scores, good = (np.array(column) for column in zip(*drawn, strict=True))
            threshold = lowest_cut(scores, good > 0, allowed).threshold
            risk = sum(
                chance
                for (score, fine), chance in zip(kinds, chances, strict=True)
                if score >= threshold and not fine
            )
            if risk > max_bad + 1e-12:
                ways = math.factorial(rows) / math.prod(map(math.factorial, counts))
                broken += ways * float(np.prod(chances**counts))
        assert broken <= 1 - confidence + 1e-9


def samples(rows: int, kinds: int) -> Iterator[tuple[int, ...]]:
    """How often each kind is drawn, in every way."""
    if kinds == 1:
        yield (rows,)
        return
    for first in range(rows + 1):
        for rest in samples(rows - first, kinds - 1):
            yield (first, *rest)


class TestCalibrate:
    """A policy with the threshold that keeps the promise."""

    def test_it_serves_down_to_the_bad_row_that_is_too_many(self) -> None:
        rows = many(100, 100)  # of 200, 4 may be bad
        calibrated = calibrate(Scored(), rows)
        found = calibrated.calibration
        assert found is not None
        assert (found.rows, found.served, found.bad) == (200, 104, 4)
        assert found.cheap == 0.52
        assert 0.045 < found.bound < 0.05
        assert 0.0996 < calibrated.threshold <= 0.0997

    def test_where_few_are_bad_at_all_everything_is_served(self) -> None:
        found = calibrate(Scored(), many(198, 2)).calibration
        assert found is not None
        assert (found.threshold, found.cheap) == (0.0, 1.0)

    def test_a_laxer_promise_serves_more(self) -> None:
        shares = [
            calibrate(Scored(), many(100, 100), max_bad=share).calibration
            for share in (0.02, 0.05, 0.1, 0.3)
        ]
        served = [found.served for found in shares if found]
        assert served == sorted(served)
        assert len(set(served)) == 4

    def test_below_the_threshold_it_escalates_and_says_so_in_numbers(self) -> None:
        calibrated = calibrate(Scored(), many(100, 100))
        high = calibrated.judge(ASKED, AIMessage("0.7"))
        low = calibrated.judge(ASKED, AIMessage("0.05"))
        assert high == Verdict(False, 0.7, "score 0.700 >= 0.100")
        assert low == Verdict(True, 0.05, "score 0.050 < 0.100")

    async def test_the_async_form_says_the_same(self) -> None:
        calibrated = calibrate(Scored(), many(100, 100))
        for text in ("0.7", "0.05", "", "0.9!"):
            answer = AIMessage(text)
            assert await calibrated.ajudge(ASKED, answer) == (
                calibrated.judge(ASKED, answer)
            )

    @pytest.mark.parametrize("text", ["", "0.9!"], ids=["no score", "unusable"])
    def test_without_a_score_or_unusable_it_escalates(self, text: str) -> None:
        verdict = calibrate(Scored(), many(100, 100)).judge(ASKED, AIMessage(text))
        assert verdict is not None
        assert verdict.escalate

    def test_rows_without_a_score_are_never_served(self) -> None:
        rows = many(150, 0) + outcomes(*([("", True)] * 50))
        found = calibrate(Scored(), rows).calibration
        assert found is not None
        assert found.served == 150

    def test_without_answers_it_screens(self) -> None:
        rows = [{"question": f"{0.9 - k / 1_000}", "good": k < 100} for k in range(200)]
        calibrated = calibrate(ScoredQuestion(), rows)
        assert calibrated.judge(ASKED, AIMessage("0.9")) is None
        verdicts = [calibrated.screen([message(s)]) for s in ("0.89", "0.7")]
        assert [v.escalate for v in verdicts if v] == [False, True]

    async def test_it_screens_the_same_on_asyncio(self) -> None:
        rows = [{"question": f"{k / 100}", "good": True} for k in range(100)]
        calibrated = calibrate(ScoredQuestion(), rows)
        asked = [message("0.5")]
        assert await calibrated.ascreen(asked) == calibrated.screen(asked)

    def test_a_policy_that_only_screens_is_calibrated_on_rows_with_answers_too(
        self,
    ) -> None:
        rows = [{"question": "0.5", "answer": "yes", "good": True} for _ in range(100)]
        assert calibrate(ScoredQuestion(), rows).threshold == 0

    def test_the_other_verdict_of_a_policy_stays_as_it_is(self) -> None:
        policy = AlsoScreens()
        calibrated = calibrate(policy, many(100, 100))
        screened = calibrated.screen(ASKED)
        assert screened == policy.screen(ASKED)
        assert screened is not None
        assert screened.escalate

    def test_it_asks_in_the_way_of_the_policy_and_decides_on_whole_answers(
        self,
    ) -> None:
        calibrated = calibrate(AsksForTheMark(), many(100, 100))
        attempt = calibrated.attempt(Attempt(ASKED), model())
        assert "ESCALATE" in attempt.added
        assert calibrated.peek("0.9") is None

    def test_a_calibrated_policy_can_be_calibrated_anew(self) -> None:
        again = calibrate(calibrate(Scored(), many(100, 100)), many(150, 0))
        assert isinstance(again, CalibratedPolicy)
        assert again.threshold == 0

    def test_its_name_says_what_it_is(self) -> None:
        assert calibrate(Scored(), many(100, 0)).name == "calibrated Scored"


def message(text: str) -> BaseMessage:
    return type(ASKED[0])(text)


class TestRefusals:
    """Where the rows cannot support the promise, and where it makes no sense."""

    def test_too_few_rows_are_refused_with_the_number_it_takes(self) -> None:
        assert calibrate(Scored(), many(59, 0)).threshold == 0
        with pytest.raises(CalibrationError, match=r"takes 59 outcomes .* not 58"):
            calibrate(Scored(), many(58, 0))

    def test_equal_scores_with_too_many_bad_ones_are_refused(self) -> None:
        rows = outcomes(*[(0.5, number % 2 == 0) for number in range(200)])
        with pytest.raises(CalibrationError, match=r"200 outcomes .* 100 are bad, wh"):
            calibrate(Scored(), rows)

    def test_a_refusal_is_a_configuration_error(self) -> None:
        assert issubclass(CalibrationError, ConfigurationError)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"max_bad": 0}, "max_bad= lies between 0 and 1"),
            ({"max_bad": 1}, "max_bad= lies between"),
            ({"max_bad": float("nan")}, "max_bad= is a number"),
            ({"confidence": 95}, "confidence= is a number from 0 to 1"),
            ({"confidence": 1.0}, "confidence= lies between"),
            ({"confidence": True}, "confidence= is a number"),
        ],
    )
    def test_shares_are_between_0_and_1(self, options: Any, said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            calibrate(Scored(), many(100, 0), **options)

    def test_a_policy_without_scores_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="Fails gives no score"):
            calibrate(Fails(TimeoutError()), many(100, 0))

    def test_a_policy_without_an_opinion_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="has no opinion on some"):
            calibrate(EscalationPolicy(), many(100, 0))

    def test_what_is_no_policy_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="is an EscalationPolicy, not str"):
            calibrate("haiku", many(100, 0))  # type: ignore[call-overload]

    def test_a_policy_that_judges_some_and_screens_others_is_refused(self) -> None:
        class Mixed(ScoredQuestion):
            def judge(
                self, messages: Sequence[BaseMessage], answer: AIMessage
            ) -> Verdict | None:
                return Verdict(False, 0.5) if answer.text == "yes" else None

        rows = [
            {"question": "0.5", "answer": each, "good": True}
            for each in ["yes", "no"] * 50
        ]
        with pytest.raises(ConfigurationError, match=r"judges some .* screens others"):
            calibrate(Mixed(), rows)

    def test_an_interrupt_passes(self) -> None:
        with pytest.raises(GraphInterrupt):
            calibrate(Fails(GraphInterrupt()), many(100, 0))


STRONG = [
    {"question": "a", "answer": "0.2", "good": False, "strong_good": True},
    {"question": "b", "answer": "0.4", "good": False, "strong_good": False},
    {"question": "c", "answer": "0.4", "good": True, "strong_good": True},
    {"question": "d", "answer": "0.8", "good": True, "strong_good": True},
]


class TestCurve:
    """Cost against quality at each threshold."""

    def test_each_threshold_that_makes_a_difference_is_a_point(self) -> None:
        points = curve_points(Scored(), STRONG, costs=(1, 10))
        assert [p.cheap for p in points] == [1, 0.75, 0.25, 0]
        assert [p.quality for p in points] == [0.5, 0.75, 0.75, 0.75]
        assert [p.bad for p in points] == [0.5, 0.25, 0, 0]
        assert [p.cost for p in points] == [1, 3.5, 8.5, 11]
        assert [round(p.threshold, 9) for p in points] == [0, 0.2, 0.4, 0.8]

    def test_a_policy_that_screens_pays_the_cheap_model_for_what_it_answers(
        self,
    ) -> None:
        rows = [{**row, "question": row["answer"], "answer": None} for row in STRONG]
        points = curve_points(ScoredQuestion(), rows, costs=(1, 10))
        assert [p.cost for p in points] == [1, 3.25, 7.75, 10]

    def test_by_default_the_cost_is_the_share_of_strong_calls(self) -> None:
        points = curve_points(Scored(), STRONG)
        assert [p.cost for p in points] == [1 - p.cheap for p in points]

    def test_how_good_the_strong_model_is_can_be_a_share(self) -> None:
        rows = [{**row, "strong_good": None} for row in STRONG]
        points = curve_points(Scored(), rows, strong_good=0.9)
        assert [round(p.quality, 3) for p in points] == [0.5, 0.725, 0.925, 0.9]

    def test_where_that_is_not_known_it_says_what_to_give(self) -> None:
        rows = [{**row, "strong_good": None} for row in STRONG]
        with pytest.raises(ConfigurationError, match="How good is the strong model"):
            curve_points(Scored(), rows)

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(
            st.tuples(st.floats(0, 1), st.booleans(), st.booleans()),
            min_size=1,
            max_size=20,
        )
    )
    def test_a_point_is_what_comes_of_its_threshold(
        self, rows: list[tuple[float, bool, bool]]
    ) -> None:
        given = [
            {"question": "q", "answer": f"{s}", "good": good, "strong_good": strong}
            for s, good, strong in rows
        ]
        for point in curve_points(Scored(), given, costs=(0.1, 1)):
            served = [score >= point.threshold for score, _, _ in rows]
            kept = [g if s else b for s, (_, g, b) in zip(served, rows, strict=True)]
            assert point.cheap == pytest.approx(sum(served) / len(rows))
            assert point.quality == pytest.approx(sum(kept) / len(rows))
            assert point.cost == pytest.approx(0.1 + 1 - point.cheap)

    def test_the_plot_names_the_models_and_the_threshold(self) -> None:
        pytest.importorskip("matplotlib")
        rows = STRONG * 25
        figure = curve(calibrate(Scored(), rows, max_bad=0.4), rows, costs=(0.1, 1))
        [axes] = figure.axes
        texts = [text.get_text() for text in axes.texts]
        assert texts[:2] == ["cheap alone", "strong alone"]
        assert texts[2] == "threshold 0.20"
        assert axes.get_xlabel() == "Dollars per request"

    def test_a_policy_without_a_threshold_has_no_point_of_its_own(self) -> None:
        pytest.importorskip("matplotlib")
        [axes] = curve(Scored(), STRONG).axes
        assert len(axes.texts) == 2
        assert axes.get_xlabel() == "Requests to the strong model"

    def test_without_matplotlib_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawing = "langchain_lean.accounting.report.figure"
        monkeypatch.delitem(sys.modules, drawing, raising=False)
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ConfigurationError, match=r"langchain-lean-ai\[notebooks\]"):
            curve(Scored(), STRONG)


SUMS = [
    {"question": f"q{n}", "answer": "2 + 2 = 4." * (n % 2), "good": bool(n % 2)}
    for n in range(100)
]
OTHERS = [{**row, "question": f"other {row['question']}"} for row in SUMS]


class TestSeenRows:
    """Rows a policy was fitted on know too much about it."""

    def test_they_are_refused(self) -> None:
        policy = LearnedPolicy.fit(SUMS, embeddings=False)
        with pytest.raises(ConfigurationError, match="fitted on all of the 100"):
            calibrate(policy, SUMS)

    def test_requests_that_came_again_are_warned_of(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        policy = LearnedPolicy.fit(SUMS, embeddings=False)
        calibrate(policy, OTHERS + SUMS[:3])
        assert "fitted on 3 of the 103 outcomes" in caplog.text

    def test_a_combined_policy_is_calibrated_before_it_is_combined(self) -> None:
        learned = LearnedPolicy.fit(SUMS, embeddings=False)
        with pytest.raises(ConfigurationError, match="calibrate one policy, and comb"):
            calibrate(any_of(AnswerChecks(), learned), OTHERS)
        policy = any_of(AnswerChecks(), calibrate(learned, OTHERS))
        verdict = policy.judge(ASKED, AIMessage("I'm sorry, but I can't help."))
        assert verdict is not None
        assert verdict.escalate

    def test_a_learned_policy_stays_one(self) -> None:
        policy = LearnedPolicy.fit(SUMS, embeddings=False)
        calibrated = calibrate(policy, OTHERS)
        assert isinstance(calibrated, LearnedPolicy)
        assert calibrated.calibration is not None
        assert calibrated.threshold == calibrated.calibration.threshold
        assert (policy.threshold, policy.calibration) == (0.5, None)
        assert list(calibrated.scores(SUMS)) == list(policy.scores(SUMS))

    def test_questions_it_was_fitted_on_are_known_with_any_answer(self) -> None:
        asked = [{**row, "answer": None} for row in SUMS]
        policy = LearnedPolicy.fit(asked, embeddings=False)
        with pytest.raises(ConfigurationError, match="fitted on all of the 100"):
            calibrate(policy, SUMS)
