"""The pictures of a ledger: what they show, and that they leave no trace."""

import gc
import re
import subprocess
import sys
import warnings
import weakref
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import count, pairwise

import matplotlib as mpl
import pytest
from matplotlib.colors import to_hex

from langchain_lean.accounting.anatomy import Anatomy
from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.accounting.ledger import TokenLedger
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.reporting import report_saving
from langchain_lean.accounting.store import Batch, MemoryStore
from langchain_lean.accounting.usage import TokenUsage
from langchain_lean.errors import ConfigurationError
from tests.unit.kernels import outputs

KINDS = ("anatomy", "timeline", "savings", "latency")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PRICES = (
    PriceBook()
    .with_price("cheap", input="1", output="1")
    .with_price("strong", input="10", output="10")
)
ODD_NAMES = (
    *("_hidden", "$a$ costs $5", "$\\frac{1$", "\\frac{1", "a\x1b[2J\nb", "<b>"),
    *("x" * 200, "", "日本語モデル", "हिन्दी"),
)
_ids = count()


def call(model="cheap", *, after=0, **fields):
    """A call of a thousand tokens, seconds after noon."""
    anatomy = Anatomy(system=100, history=600, question=100, output=200)
    run = f"run {next(_ids)}"
    given = {
        "run_id": run,
        "trace_id": run,
        "model": model,
        "start": NOON + timedelta(seconds=after),
        "usage": TokenUsage(input=800, output=200),
        "anatomy": anatomy,
    }
    return LedgerEntry(**{**given, **fields})


def ledger_of(*entries, store="memory://"):
    ledger = TokenLedger(store, prices=PRICES)
    ledger.store.add(Batch(entries=entries))
    return ledger


def save(ledger, lever, tokens, **fields):
    usage = TokenUsage(input=tokens)
    given = {"baseline": "before"} if fields.get("kind") != "exact" else {}
    report_saving(
        lever, avoided=usage, model="cheap", callbacks=ledger, **given, **fields
    )


def texts(figure):
    """All that is written in a figure."""
    figure.draw_without_rendering()
    [axes] = figure.axes or [None]
    found = [each.get_text() for each in figure.texts]
    if axes is not None:
        found += [axes.get_title(loc="left"), *(each.get_text() for each in axes.texts)]
        found += [tick.get_text() for tick in axes.get_yticklabels()]
    return found


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def pieces(figure):
    """Of each bar, from the top: where its pieces start, their length and color."""
    bars = {}
    for drawn in figure.axes[0].patches:
        place = round(drawn.get_y() + drawn.get_height() / 2)
        color = to_hex(drawn.get_facecolor())
        bars.setdefault(place, []).append(
            (round(drawn.get_x(), 9), round(drawn.get_width(), 9), color)
        )
    return [bars[place] for place in sorted(bars)]


def heights(figure):
    """The upper end of each area of a timeline, at the right."""
    areas = figure.axes[0].collections
    paths = [area.get_paths()[0] for area in areas if len(area.get_paths()[0]) > 100]
    return [float(path.vertices[:, 1].max()) for path in paths]


def steps(figure):
    """How many days pass from each rise of a timeline's lowest area to the next."""
    area = figure.axes[0].collections[0].get_paths()[0].vertices
    upper = area[area[:, 1] > 0]
    heights = sorted({round(height, 9) for height in upper[:, 1]})
    days = [upper[upper[:, 1] >= h - 1e-9][:, 0].min() for h in heights]
    return [later - day for day, later in pairwise(days)]


def colors():
    """The colors of the report's light page by name; it stands first."""
    html = ledger_of(call()).report().to_html()
    return dict(reversed(re.findall(r"--(\w+): (#\w+);", html)))


@pytest.fixture
def ledger():
    """Two models, a failed and a refused call, a judge, and three levers."""
    nothing = {"usage": TokenUsage(), "anatomy": Anatomy()}
    ledger = ledger_of(
        call("cheap", seconds=1.0),
        call("strong", after=60, seconds=3.0),
        call("cheap", after=120, failed=True),
        call("cheap", after=180, blocked=True, **nothing),
        call("cheap", after=240, source="judge"),
    )
    save(ledger, "cache", 3_000, kind="exact")
    save(ledger, "cache", 1_000)
    save(ledger, "memory", 0, spent=TokenUsage(input=2_000))
    return ledger


class TestWhereTheTokensGo:
    def test_is_a_bar_for_each_model_cut_into_parts_in_the_reports_colors(self, ledger):
        figure, known = ledger.plot("anatomy"), colors()
        cheap, strong = pieces(figure)
        assert strong == [
            (0, 100, known["system"]),
            (100, 600, known["history"]),
            (700, 100, known["question"]),
            (800, 200, known["output"]),
        ]
        assert [length for _, length, _ in cheap] == [300, 1800, 300, 600]
        assert {"cheap", "strong", "3.0k", "1.0k"} <= {*texts(figure)}

    def test_is_what_a_plot_is_about_if_nothing_else_is_said(self, ledger):
        assert texts(ledger.plot()) == texts(ledger.plot("anatomy"))

    def test_names_the_parts_that_have_tokens_with_their_shares(self, ledger):
        shares = ["system 10 %", "history 60 %", "question 10 %", "output 20 %"]
        assert legend(ledger.plot()) == shares
        assert "4.0k tokens in 5 calls" in texts(ledger.plot())

    def test_puts_models_beyond_ten_into_one_bar(self):
        calls = [call(f"model {n}") for n in range(14)]
        figure = ledger_of(*calls).plot()
        assert len(pieces(figure)) == 11
        assert "(4 more)" in texts(figure)
        assert sum(sum(size for _, size, _ in bar) for bar in pieces(figure)) == 14_000


class TestTheTimeline:
    def test_ends_at_what_was_spent_with_one_model_on_the_other(self, ledger):
        figure = ledger.plot("timeline")
        assert heights(figure) == pytest.approx([0.010, 0.013])
        assert legend(figure)[:2] == ["strong", "cheap"]
        assert "$0.013 in 5 calls; times are in UTC" in texts(figure)

    def test_marks_the_calls_that_failed_or_were_refused(self, ledger):
        figure = ledger.plot("timeline")
        assert legend(figure)[2:] == ["1 failed", "1 refused"]
        marks = [c.get_offsets() for c in figure.axes[0].collections][-2:]
        first, last = figure.axes[0].get_xlim()
        places = [(each[0][0] - first) / (last - first) for each in marks]
        assert places == pytest.approx([0.5, 0.75], abs=0.03)

    def test_goes_by_tokens_where_nothing_has_a_price(self):
        figure = ledger_of(call("my-llm"), call("my-llm", after=9)).plot("timeline")
        assert heights(figure) == [2000]
        assert {"Tokens over time", "2.0k"} <= {*texts(figure)}
        assert not any("$" in text for text in texts(figure))

    def test_says_how_many_calls_have_no_price_where_others_have(self):
        figure = ledger_of(call(), call("my-llm", after=9)).plot("timeline")
        assert legend(figure) == ["cheap"]
        assert "$0.00100 + 1 unpriced in 2 calls; times are in UTC" in texts(figure)

    def test_begins_with_nothing_also_where_there_is_one_call(self):
        axes = ledger_of(call()).plot("timeline").axes[0]
        area = axes.collections[0].get_paths()[0].vertices
        assert area[:, 1].min() == 0
        assert area[:, 1].max() == pytest.approx(0.001)

    def test_holds_older_calls_that_are_only_known_by_their_day(self):
        calls = [call(after=-86_400 * n) for n in (3, 2, 1, 0)]
        folded = ledger_of(*calls, store=MemoryStore(b"key", max_entries=2))
        figure = folded.plot("timeline")
        assert heights(figure) == pytest.approx([0.004])
        assert "$0.00400 in 4 calls; times are in UTC" in texts(figure)

    def test_older_calls_stay_on_their_day_where_a_newer_one_is_dated_back(self):
        calls = [call(after=-86_400 * n) for n in (2, 1, 0, 99)]
        folded = ledger_of(*calls, store=MemoryStore(b"key", max_entries=1))
        assert steps(folded.plot("timeline")) == pytest.approx([97.5, 1, 1], abs=0.5)

    def test_older_calls_stand_before_the_newer_ones_of_their_day(self):
        calls = [call(after=3_600 * n) for n in (0, 1, 2)]
        folded = ledger_of(*calls, store=MemoryStore(b"key", max_entries=1))
        first, last = folded.plot("timeline").axes[0].get_xlim()
        assert last - first < 0.1

    def test_puts_models_beyond_seven_into_one_area(self):
        calls = [call(f"model {n}", after=n) for n in range(9)]
        figure = ledger_of(*calls).plot("timeline")
        assert len(heights(figure)) == 7
        assert legend(figure)[-1] == "(3 more)"
        assert heights(figure)[-1] == 9000


class TestSavings:
    def test_exact_and_counterfactual_stand_apart_and_what_is_lost_goes_left(
        self, ledger
    ):
        figure, known = ledger.plot("savings"), colors()
        cache, memory, own = pieces(figure)
        assert cache == [(0, 0.003, known["accent"]), (0.003, 0.001, known["pale"])]
        assert (0, -0.002, known["pale"]) in memory
        assert own == [(0, -0.001, known["spent"])]
        assert legend(figure) == ["exact", "counterfactual", "their own cost"]

    @pytest.mark.parametrize("kind", ["exact", "counterfactual"])
    def test_name_only_the_kinds_there_are(self, kind):
        ledger = ledger_of(call())
        save(ledger, "cache", 3_000, kind=kind)
        assert legend(ledger.plot("savings")) == [kind]
        html = ledger.report().to_html()
        keys = re.findall(r'<li><span class="key \w+"[^>]*></span>(\w+)</li>', html)
        assert [key for key in keys if key in ("exact", "counterfactual")] == [kind]

    def test_are_written_beside_their_bars_and_together_at_the_head(self, ledger):
        said = texts(ledger.plot("savings"))
        assert {"$0.00400", "-$0.00200", "-$0.00100"} <= {*said}
        assert any("saved $0.00100" in text for text in said)

    def test_without_levers_there_are_none(self):
        figure = ledger_of(call()).plot("savings")
        assert texts(figure) == ["No lever has saved anything yet."]


class TestLatency:
    def test_is_the_median_and_the_tail_of_each_part(self):
        calls = [call(seconds=float(n), first_token_seconds=0.5) for n in range(1, 21)]
        figure, known = ledger_of(*calls).plot("latency"), colors()
        _, first_token, *_ = pieces(figure)
        assert first_token == [(0, 0.5, known["accent"]), (0.5, 0, known["pale"])]
        assert pieces(figure)[0] == [
            (0, 11, known["accent"]),
            (11, 9, known["pale"]),
        ]
        assert {"whole run", "11 s · 20 s", "500 ms · 500 ms"} <= {*texts(figure)}


class TestAnyPlot:
    @pytest.mark.parametrize("kind", KINDS)
    def test_of_an_empty_ledger_says_how_to_attach_it(self, kind):
        figure = TokenLedger().plot(kind)
        assert "Nothing has been recorded yet" in texts(figure)[0]

    @pytest.mark.parametrize("kind", KINDS)
    def test_of_calls_that_used_nothing_can_be_drawn(self, kind):
        nothing = {"usage": TokenUsage(), "anatomy": Anatomy()}
        figure = ledger_of(call(None, blocked=True, **nothing)).plot(kind)
        assert figure._repr_png_().startswith(b"\x89PNG")

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_shows_names_as_they_are_without_a_warning(self, kind, name):
        ledger = ledger_of(call(name), call(name, failed=True))
        save(ledger, name or "cache", 10)
        figure = ledger.plot(kind)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert figure._repr_png_().startswith(b"\x89PNG")
            figure.savefig(BytesIO(), format="svg", bbox_inches="tight")
        if kind == "anatomy" and name.isprintable() and 0 < len(name) < 20:
            assert name in texts(figure)

    @pytest.mark.parametrize("kind", KINDS)
    def test_nothing_is_outside_of_the_picture(self, kind, ledger):
        long = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/"
        ledger.store.add(Batch(entries=[call(f"{long}{n}") for n in range(9)]))
        figure = ledger.plot(kind)
        figure.draw_without_rendering()
        needed, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert needed.x0 >= -0.01
        assert needed.y0 >= -0.01
        assert needed.x1 <= width + 0.01
        assert needed.y1 <= height + 0.01

    @pytest.mark.parametrize("kind", KINDS)
    def test_is_readable_whatever_style_is_set(self, kind, ledger):
        with mpl.rc_context({"text.color": "white", "xtick.color": "white"}):
            figure = ledger.plot(kind)
        figure.draw_without_rendering()
        written = [*figure.axes[0].texts, *figure.axes[0].get_xticklabels()]
        assert {to_hex(text.get_color()) for text in written} == {colors()["text"]}
        assert to_hex(figure.get_facecolor()) == "#ffffff"

    @pytest.mark.parametrize("kind", ["", "Anatomy", None, ["anatomy"]])
    def test_of_an_unknown_kind_names_the_kinds(self, kind, ledger):
        with pytest.raises(ConfigurationError) as raised:
            ledger.plot(kind)
        assert all(repr(known) in str(raised.value) for known in KINDS)

    def test_without_matplotlib_says_what_to_install(self, ledger, monkeypatch):
        for name in ("figure", "plots", "timeline"):
            module = f"langchain_lean.accounting.report.{name}"
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ConfigurationError, match=r"langchain-lean-ai\[notebooks\]"):
            ledger.plot()

    def test_is_gone_with_the_last_who_holds_it(self, ledger):
        held = weakref.ref(ledger.plot())
        gc.collect()
        assert held() is None

    def test_leaves_pyplot_alone(self):
        code = (
            "import sys\nfrom langchain_lean import TokenLedger, TokenUsage\n"
            "ledger = TokenLedger()\n"
            "ledger.record(model='m', usage=TokenUsage(input=5))\n"
            f"for kind in {KINDS}: ledger.plot(kind)._repr_png_()\n"
            "print('matplotlib.pyplot' in sys.modules)"
        )
        found = subprocess.check_output([sys.executable, "-c", code], text=True)
        assert found.strip() == "False"


RECORDED = (
    "from langchain_lean import TokenLedger, TokenUsage\n"
    "ledger = TokenLedger()\n"
    "call = ledger.record(model='m', usage=TokenUsage(input=5))"
)


class TestInANotebook:
    @pytest.mark.parametrize("first", ["", "import matplotlib.pyplot"])
    def test_it_is_shown_exactly_once(self, first):
        *before, plotted, looked_at = outputs(
            first, RECORDED, "ledger.plot()", "ledger"
        )
        assert before == [[], []]
        [[picture], [table]] = plotted, looked_at
        assert picture.output_type == table.output_type == "execute_result"
        assert {*picture.data} == {"image/png", "text/plain"}
        assert {*table.data} == {"text/html", "text/plain"}
