"""The report as a page: complete in itself, safe with any name, readable by anyone."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_lean.accounting.anatomy import Anatomy
from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.accounting.ledger import TokenLedger
from langchain_lean.accounting.prices.book import PriceBook
from langchain_lean.accounting.report.data import make_report
from langchain_lean.accounting.reporting import report_notice, report_saving
from langchain_lean.accounting.store import Batch
from langchain_lean.accounting.usage import TokenUsage

VOID = {"meta", "link", "br", "img", "input", "hr"}
KNOWN = {
    *("html", "head", "meta", "title", "style", "body", "main", "div", "section"),
    *("h1", "h2", "p", "dl", "dt", "dd", "ul", "li", "span"),
    *("table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "desc", "g", "rect", "text"),
}
PRICES = PriceBook().with_price("cheap", input="1", output="2")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
HOSTILE = st.one_of(
    TEXT,
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</title></svg></style><img src=x onerror=alert(1)>",
            '" onload="alert(1)',
            "' style='x",
            "<!-- &amp; ]]>",
            "{{7*7}} ${x} %s",
        ]
    ),
)


class Page(HTMLParser):
    """The tags of a document, with a check that each is closed where it should be."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts, self._open = [], [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.texts.append(data)

    def values(self, tag, name):
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]


def entry(**fields):
    defaults = {
        "run_id": "run",
        "model": "cheap",
        "start": datetime(2026, 11, 22, tzinfo=UTC),
        "seconds": 2.0,
        "usage": TokenUsage(input=80_000, output=20_000),
        "anatomy": Anatomy(system=30_000, retrieved=50_000, output=20_000),
    }
    return LedgerEntry(**{**defaults, **fields})


def report_of(*entries, savings=(), notices=(), title="langchain_lean"):
    ledger = TokenLedger(prices=PRICES)
    whole = [entry._replace(trace_id=f"trace of {entry.run_id}") for entry in entries]
    ledger.store.add(Batch(entries=whole))
    for lever, tokens, fields in savings:
        usage = TokenUsage(input=tokens)
        report_saving(lever, avoided=usage, model="cheap", callbacks=ledger, **fields)
    for lever, action, reason in notices:
        report_notice(lever, action=action, reason=reason, callbacks=ledger)
    return make_report(ledger, title=title)


@pytest.fixture
def report():
    return report_of(
        entry(run_id="1", node="draft", user_id="ada"),
        entry(run_id="2", node="review", user_id="bob", model="my-llm"),
        entry(run_id="3", source="judge", usage=TokenUsage(input=10_000)),
        savings=[
            ("cache", 300_000, {"kind": "exact"}),
            ("routing", 600_000, {"baseline": "the strong model"}),
        ],
        notices=[("retriever", "skipped", "it failed")],
    )


def widths(html, kind):
    """The widths, in percent, of the rectangles of a class."""
    return [
        float(w) for w in re.findall(rf'class="{kind}"[^>]*width="([\d.]+)%"', html)
    ]


class TestThePage:
    def test_is_balanced_html_of_known_elements(self, report):
        html = report.to_html()
        assert html.startswith("<!DOCTYPE html>\n")
        assert set(Page(html).tags) <= KNOWN

    def test_says_what_the_terminal_says(self, report):
        texts = Page(report.to_html()).texts
        for figure in ("$0.130", "$1.02", "$0.890", "$0.300", "$0.600", "unpriced"):
            assert figure in texts
        for name in ("cheap", "my-llm", "draft", "review", "ada", "bob", "judge"):
            assert (name in texts) == (name != "judge")
        assert "1 call unpriced" in texts
        assert "the strong model" in texts
        assert "retriever: skipped 1 × (it failed)" in texts

    def test_runs_nothing_and_loads_nothing(self, report):
        html = report.to_html()
        page = Page(html)
        assert "script" not in page.tags
        names = {name for _, name, _ in page.attributes}
        assert not names & {"src", "href", "style", "srcset"}
        assert not [name for name in names if name.startswith("on")]
        assert not re.search(r"https?:|//|url\(|@import", html)

    def test_fits_phones_and_follows_the_readers_light_or_dark(self, report):
        html = report.to_html()
        assert 'name="viewport" content="width=device-width, initial-scale=1"' in html
        assert "@media (prefers-color-scheme: dark)" in html

    def test_bears_its_title(self):
        page = Page(report_of(entry(), title="Help <desk>").to_html())
        assert page.texts.count("Help <desk>") == 2

    def test_is_written_as_utf_8(self, tmp_path):
        report = report_of(entry(user_id="Åsa 日本"))
        report.write_html(tmp_path / "report.html")
        written = (tmp_path / "report.html").read_bytes().decode()
        assert written == report.to_html()
        assert "Åsa 日本" in written

    def test_of_an_empty_ledger_says_how_to_attach_it(self):
        page = Page(TokenLedger().report().to_html())
        assert any("Nothing has been recorded yet" in text for text in page.texts)
        assert "svg" not in page.tags
        assert "table" not in page.tags

    def test_leaves_out_what_nothing_is_known_about(self):
        html = report_of(entry(seconds=0.0, anatomy=Anatomy())).to_html()
        headings = re.findall("<h2>(.*?)</h2>", html)
        assert headings == ["Cost by model"]


class TestNamesFromElsewhere:
    @settings(max_examples=60, deadline=None)
    @given(model=HOSTILE, node=HOSTILE, user=HOSTILE, lever=HOSTILE, title=HOSTILE)
    def test_are_always_text_and_never_markup(self, model, node, user, lever, title):
        report = report_of(
            entry(model=model, node=node, user_id=user),
            savings=[(lever, 10, {"baseline": f"b{user}"})],
            notices=[(lever, node, user)],
            title=title,
        )
        page = Page(report.to_html())
        assert set(page.tags) <= KNOWN
        assert not [n for _, n, _ in page.attributes if n.startswith(("on", "style"))]
        for line in (*report.models, *report.nodes, *report.users):
            assert line.name in page.texts

    def test_have_no_characters_that_a_page_must_not_have(self):
        html = report_of(entry(user_id="a\x00b\x1bc\u202ed")).to_html()
        assert "a�b�c�d" in html
        assert not {"\x00", "\x1b", "\u202e"} & set(html)


class TestPlots:
    def test_each_has_a_title_and_a_description_that_tells_its_figures(self, report):
        html = report.to_html()
        plots = re.findall(
            r'<svg [^>]*role="img"[^>]*><title>(.*?)</title><desc>(.*?)</desc>',
            html,
        )
        assert dict(plots) == {
            "Where the tokens go": "system 30 %, retrieved 50 %, output 20 %",
            "Cost by model": "cheap: $0.130; my-llm: unpriced",
            "Savings by lever": "routing: $0.600; cache: $0.300; "
            "their own cost: -$0.010",
            "Cost by node": "draft: $0.120; (no node): $0.010; review: unpriced",
            "Cost by user": "ada: $0.120; (nobody): $0.010; bob: unpriced",
            "Latency": "generation: 2.0 s · 2.0 s",
        }

    def test_the_band_is_filled_by_the_shares_of_its_parts(self, report):
        html = report.to_html()
        parts = [widths(html, name) for name in ("system", "retrieved", "output")]
        assert parts == [[30.0], [50.0], [20.0]]

    def test_exact_and_counterfactual_savings_are_told_apart(self):
        report = report_of(
            entry(),
            savings=[
                ("cache", 100, {"kind": "exact"}),
                ("cache", 300, {"baseline": "none"}),
            ],
        )
        html = report.to_html()
        savings = html[html.index("Savings by lever</h2>") : html.index("Latency</h2>")]
        assert widths(savings, "accent") == [25.0]
        assert widths(savings, "pale") == [75.0]

    @settings(max_examples=40, deadline=None)
    @given(
        savings=st.lists(
            st.tuples(
                st.sampled_from(["cache", "routing", "memory"]),
                st.integers(0, 10**6),
                st.integers(0, 10**6),
                st.booleans(),
            ),
            max_size=5,
        )
    )
    def test_no_bar_leaves_its_plot_whatever_was_saved_or_lost(self, savings):
        found = [
            (
                lever,
                avoided,
                {
                    "spent": TokenUsage(input=spent),
                    "kind": "exact" if exact else "counterfactual",
                    "baseline": "before",
                },
            )
            for lever, avoided, spent, exact in savings
        ]
        html = report_of(entry(), savings=found).to_html()
        for x, width in re.findall(r' x="([\d.-]+)%"[^>]* width="([\d.-]+)%"', html):
            assert float(x) >= 0
            assert float(width) >= 0
            assert float(x) + float(width) <= 100.02

    def test_a_long_label_keeps_its_ends_and_its_whole_name_on_the_side(self):
        name = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/ab12cd34"
        html = report_of(entry(model=name)).to_html()
        assert ">arn:aws:bed…file/ab12cd34<" in html
        assert f"<title>{name}: unpriced</title>" in html


class TestTables:
    def test_head_and_first_cells_say_what_they_head(self, report):
        page = Page(report.to_html())
        scopes = page.values("th", "scope")
        assert set(scopes) == {"col", "row"}
        assert len(scopes) == page.tags.count("th")

    def test_scroll_in_boxes_that_the_keyboard_reaches_by_name(self, report):
        page = Page(report.to_html())
        boxes = page.values("div", "role").count("region")
        assert boxes == page.tags.count("table") == 5
        assert page.values("div", "tabindex") == ["0"] * boxes
        assert len(page.values("div", "aria-label")) == boxes


class TestInANotebook:
    def test_it_is_a_piece_of_the_page_with_its_own_style(self, report):
        piece = report._repr_html_()
        content = re.search('<div class="lean">(.*)</div>', piece, re.DOTALL)[1]
        assert f'<main class="lean">{content}</main>' in report.to_html()
        assert not {"html", "head", "body", "main"} & set(Page(piece).tags)

    def test_its_style_touches_nothing_outside_of_it(self, report):
        piece = report._repr_html_()
        style = re.search("<style>(.*?)</style>", piece, re.DOTALL)[1]
        rules = re.sub(r"@media[^{]*", "", style)
        selectors = re.findall(r"([^{}]+)\{", rules)
        for selector in ",".join(s for s in selectors if s.strip()).split(","):
            assert selector.strip().startswith(".lean")

    def test_two_of_them_share_no_ids(self, report):
        assert "id" not in {name for _, name, _ in Page(report.to_html()).attributes}


def ledger_with(*entries, savings=(), store="memory://"):
    ledger = TokenLedger(store, prices=PRICES)
    ledger.store.add(Batch(entries=entries))
    for lever, tokens in savings:
        usage = TokenUsage(input=tokens)
        report_saving(
            lever, avoided=usage, model="cheap", kind="exact", callbacks=ledger
        )
    return ledger


class TestALedgerInANotebook:
    def test_shows_its_sums_and_its_newest_calls(self):
        ledger = ledger_with(
            entry(run_id="1", node="draft"),
            entry(run_id="2", model="my-llm", failed=True),
            savings=[("cache", 300_000)],
        )
        page = Page(ledger._repr_html_())
        page.texts = [text for text in page.texts if text.strip()]
        assert page.texts[:2] == ["TokenLedger", "2 calls · 4.0 s in models"]
        for figure in ("spent", "$0.120", "saved", "$0.300", "160.0k", "40.0k"):
            assert figure in page.texts
        first = page.texts.index("my-llm")
        assert page.texts[first:] == [
            *("my-llm", "unpriced", "100,000 tokens", "80.0k", "-", "20.0k"),
            *("2.0 s", "2026-11-22 00:00:00", "failed"),
            *("cheap", "draft", "$0.120", "100,000 tokens", "80.0k", "-", "20.0k"),
            *("2.0 s", "2026-11-22 00:00:00", "input", "cached", "output"),
        ]

    def test_shows_ten_calls_the_newest_first(self):
        calls = [entry(run_id=f"{n}", model=f"model {n}") for n in range(12)]
        texts = Page(ledger_with(*calls)._repr_html_()).texts
        models = [text for text in texts if text.startswith("model ")]
        assert models == [f"model {n}" for n in range(11, 1, -1)]

    def test_bars_are_as_long_as_the_tokens_of_the_largest_call(self):
        usage = TokenUsage(input=80, cache_read=20, output=20)
        calls = [entry(run_id="1", usage=usage)]
        calls.append(entry(run_id="2", usage=TokenUsage(input=25)))
        html = ledger_with(*calls)._repr_html_()
        assert widths(html, "accent") == [25.0, 60.0]
        assert widths(html, "pale") == [20.0]
        assert widths(html, "output") == [20.0]

    def test_leaves_out_columns_with_nothing_in_them(self):
        page = Page(ledger_with(entry())._repr_html_())
        assert "node" not in page.texts
        assert len(page.values("th", "scope")) == 9

    def test_empty_says_how_to_attach_it(self):
        texts = Page(TokenLedger()._repr_html_()).texts
        assert any("Nothing has been recorded yet" in text for text in texts)

    def test_of_which_only_savings_are_known_shows_these(self):
        page = Page(ledger_with(savings=[("cache", 300_000)])._repr_html_())
        assert "$0.300" in page.texts
        assert "table" not in page.tags

    @settings(max_examples=40, deadline=None)
    @given(model=HOSTILE, node=HOSTILE, user=HOSTILE)
    def test_shows_names_as_text_and_never_as_markup(self, model, node, user):
        ledger = ledger_with(entry(model=model, node=node, user_id=user))
        page = Page(ledger._repr_html_())
        assert set(page.tags) <= KNOWN | {"div"}
        assert not [n for _, n, _ in page.attributes if n.startswith(("on", "style"))]

    def test_that_was_closed_shows_what_it_holds(self, tmp_path):
        ledger = ledger_with(entry(), store=f"sqlite:///{tmp_path}/lean.db")
        ledger.close()
        assert "$0.120" in Page(ledger._repr_html_()).texts

    def test_that_is_damaged_says_so_in_place_of_its_figures(self, tmp_path):
        ledger = ledger_with(entry(), store=f"sqlite:///{tmp_path}/lean.db")
        ledger.close()
        (tmp_path / "lean.db").write_bytes(b"<script>" * 1_000)
        page = Page(ledger._repr_html_())
        assert any("is damaged or no SQLite file" in text for text in page.texts)
        assert "script" not in page.tags


def _luminance(color):
    digits = color if len(color) == 6 else "".join(2 * digit for digit in color)
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("name", "ratio"),
    [
        *(("text", 7.0), ("soft", 4.5), ("accent", 3.0), ("spent", 3.0)),
        *((part, 2.6) for part in Anatomy().parts()),
    ],
)
def test_text_and_bars_stand_out_from_the_page(report, scheme, name, ratio):
    html = report.to_html()
    surface = _luminance(re.findall("--surface: #([0-9a-f]+);", html)[scheme])
    color = _luminance(re.findall(f"--{name}: #([0-9a-f]+);", html)[scheme])
    lighter, darker = max(surface, color), min(surface, color)
    assert (lighter + 0.05) / (darker + 0.05) >= ratio
