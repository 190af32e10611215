"""Reports and notebooks in a browser: quiet, complete in themselves, easy to read."""

from pathlib import Path

import nbformat
import pytest

from langchain_lean.whatif import what_if
from tests.browser.ledgers import LEDGERS, help_desk, many_levers
from tests.browser.notebook import OUTPUTS, export, notebook_of

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_where_tokens_go.ipynb"
SURFACES = {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 27)"}
SURFACES_SHOWN = """() => [...document.querySelectorAll(".lean")]
    .map(element => getComputedStyle(element).backgroundColor)"""
SHOWN = ".lean :is(h1, h2, p, dl, dt, dd, ul, li, table, th, td, svg, text)"
LOOKS = """shown => [...document.querySelectorAll(shown)].map(element => {
    const style = getComputedStyle(element);
    const looks = ["borderBottom", "color", "display", "float", "fontSize",
        "fontWeight", "lineHeight", "listStyleType", "marginBottom", "marginTop",
        "maxWidth", "paddingLeft", "paddingTop", "tableLayout", "textAlign",
        "verticalAlign", "whiteSpace"].map(name => [name, style[name]]);
    const { backgroundColor } = getComputedStyle(element.parentElement);
    const text = element.textContent;
    return { text, backgroundColor, ...Object.fromEntries(looks) };
})"""

widths = pytest.mark.parametrize("width", [400, 1400])
schemes = pytest.mark.parametrize("scheme", SURFACES)
themes = pytest.mark.parametrize("theme", SURFACES)


def surfaces(page):
    """The colors that fragments of ours stand on."""
    return page.evaluate(SURFACES_SHOWN)


@schemes
@widths
@pytest.mark.parametrize("name", LEDGERS)
def test_a_report_is_quiet_complete_and_legible(
    chromium, tmp_path, name, width, scheme
):
    page = tmp_path / "report.html"
    LEDGERS[name]().report().write_html(page)
    seen = chromium.see(page, width=width, scheme=scheme, look=surfaces)
    assert seen.faults == ()
    assert seen.told == [SURFACES[scheme]]


def test_every_table_of_a_report_is_reached_and_scrolled_by_the_keyboard(
    chromium, tmp_path
):
    def with_keys(page):
        reached = []
        for box in page.locator(".scroll").all():
            page.keyboard.press("Tab")
            label = page.evaluate("document.activeElement.ariaLabel")
            if box.evaluate("box => box.scrollWidth > box.clientWidth"):
                page.keyboard.press("ArrowRight")
                page.wait_for_function("document.activeElement.scrollLeft > 0")
            reached.append(label)
        return reached

    page = tmp_path / "report.html"
    many_levers().report().write_html(page)
    seen = chromium.see(page, width=400, look=with_keys)
    assert seen.told == ["Cost by model", "Savings by lever", "Latency"]


@pytest.fixture(scope="module")
def notebook():
    """A notebook that shows all that is made for one."""
    ledger = help_desk()
    return notebook_of(
        "# Where tokens go\n\nStand-ins answer here.",
        **{
            "ledger": ledger,
            "ledger.report()": ledger.report(),
            "ledger.plot()": ledger.plot(),
            "what_if(ledger)": what_if(ledger),
        },
    )


class TestInANotebook:
    @themes
    @widths
    @pytest.mark.parametrize("which", ["made here", "committed"])
    def test_outputs_are_quiet_complete_and_legible_in_the_notebooks_theme(
        self, chromium, tmp_path, notebook, which, width, theme
    ):
        shown = notebook if which == "made here" else nbformat.read(NOTEBOOK, 4)
        page = tmp_path / "notebook.html"
        page.write_text(export(shown, theme), encoding="utf-8")
        other = {"light": "dark", "dark": "light"}[theme]
        for preferred in (theme, other):
            seen = chromium.see(
                page, width=width, scheme=preferred, within=OUTPUTS, look=surfaces
            )
            assert seen.faults == ()
            assert seen.told
            assert set(seen.told) == {SURFACES[theme]}

    def test_a_fragment_looks_as_it_does_where_no_notebook_styles_outputs(
        self, chromium, tmp_path
    ):
        report = many_levers().report()
        alone, within = tmp_path / "alone.html", tmp_path / "within.html"
        alone.write_text(f"<!DOCTYPE html>{report._repr_html_()}", encoding="utf-8")
        shown = notebook_of("# Its report", report=report)
        within.write_text(export(shown, "light"), encoding="utf-8")
        looks = [
            chromium.see(page, look=lambda page: page.evaluate(LOOKS, SHOWN)).told
            for page in (alone, within)
        ]
        assert looks[0]
        assert looks[1] == looks[0]

    @schemes
    @pytest.mark.parametrize(
        ("host", "theme"),
        [
            ('<body data-jp-theme-light="false">', "dark"),
            ('<body data-jp-theme-light="true">', "light"),
            ('<body class="vscode-dark">', "dark"),
            ('<body class="vscode-light">', "light"),
            ('<body class="vscode-high-contrast">', "dark"),
            ('<body class="vscode-high-contrast vscode-high-contrast-light">', "light"),
            ('<html theme="dark"><body>', "dark"),
            ('<html data-theme="light"><body>', "light"),
            ("<body>", None),
        ],
    )
    def test_a_fragment_has_its_pages_theme_else_what_the_reader_prefers(
        self, chromium, tmp_path, host, theme, scheme
    ):
        page = tmp_path / "page.html"
        fragment = help_desk().report()._repr_html_()
        page.write_text(f"<!DOCTYPE html>{host}{fragment}", encoding="utf-8")
        seen = chromium.see(page, scheme=scheme, look=surfaces)
        assert seen.told == [SURFACES[theme or scheme]]
        assert seen.illegible == ()
