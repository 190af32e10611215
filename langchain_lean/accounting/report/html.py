"""A report as one HTML page with inline SVG plots, complete in itself."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING

from langchain_lean.accounting.report import words
from langchain_lean.accounting.report.style import CSS
from langchain_lean.accounting.report.svg import Bar, Span, band, bars, element

if TYPE_CHECKING:
    from langchain_lean.accounting.report.data import Line, Report

_KINDS = {
    "against": "prose",
    **dict.fromkeys(("known", "node", ""), "remark"),
}


class Markup(str):
    """A cell that is HTML already; every other one is text."""

    __slots__ = ()


def page(report: "Report") -> str:
    """A whole page: no scripts, nothing loaded from elsewhere.

    Args:
        report: The report.

    Returns:
        An HTML5 document, to be written as UTF-8.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"{element('title', escape(words.headline(report)[0]))}\n"
        f"{element('style', CSS)}\n</head>\n"
        f'<body class="lean-page">\n{_content("main", report)}\n</body>\n</html>\n'
    )


def fragment(report: "Report") -> str:
    """The report without the page around it, as a notebook shows it.

    Args:
        report: The report.

    Returns:
        A style that touches nothing outside of it, and one element.
    """
    return element("style", CSS) + _content("div", report)


def _content(name: str, report: "Report") -> str:
    return element(name, "\n".join(_parts(report)), class_="lean")


def _parts(report: "Report") -> Iterator[str]:
    title, *rest = words.headline(report)
    yield element("h1", escape(title))
    if report.empty:
        yield element("p", escape(words.NOTHING_YET), class_="lead")
        return
    yield element("p", escape(" · ".join(rest)), class_="lead")
    yield figures(report)
    yield paragraphs(words.provider_cache(report))
    yield paragraphs([" · ".join(words.remarks(report)), *words.notices(report)])
    yield _tokens(report)
    yield _costs("model", report.models)
    yield _savings(report)
    yield paragraphs(words.hit_rates(report))
    yield _costs("node", report.nodes)
    yield _costs("user", report.users)
    yield _latency(report)


def paragraphs(texts: Iterable[str]) -> str:
    """Small print, a paragraph for each text that says something."""
    return "".join(element("p", escape(t), class_="note") for t in texts if t)


def figures(report: "Report") -> str:
    """The few figures everything else explains."""
    usage = report.total.usage
    shown = [("spent", *words.spent(report))]
    if words.levered(report):
        shown.append(("without the levers", *words.without(report)))
        shown.append(("saved", *words.saved(report)))
    cached = f"{words.count(usage.cache_read)} from the provider's cache"
    shown += [
        ("input tokens", words.count(usage.input), cached if usage.cache_read else ""),
        ("output tokens", words.count(usage.output), ""),
    ]
    return element("dl", *(_figure(*figure) for figure in shown), class_="figures")


def _figure(name: str, value: str, note: str) -> str:
    more = element("dd", escape(note), class_="note") if note else ""
    return element("div", element("dt", name), element("dd", escape(value)), more)


def _tokens(report: "Report") -> str:
    anatomy = report.total.anatomy
    parts = [(name, part) for name, part in anatomy.shares().items() if part]
    if not parts:
        return ""
    spans, start = [], 0.0
    for name, part in parts:
        spans.append((f"{name}: {words.share(part)}", Span(start, part, name)))
        start += part
    said = ", ".join(f"{name} {words.share(part)}" for name, part in parts)
    counts = anatomy.parts()
    keys = (_key(name, part, counts[name]) for name, part in parts)
    heading = "Where the tokens go"
    plot = band(heading, said, spans) + element("ul", *keys, class_="legend parts")
    return _section(heading, plot)


def _key(name: str, part: float, tokens: int) -> str:
    swatch = element("span", class_=f"key {name}", aria_hidden="true")
    figures = f"{words.share(part)} · {words.count(tokens)}"
    return element("li", swatch, name, element("span", figures, class_="note"))


def _costs(what: str, lines: "Sequence[Line]") -> str:
    if not lines:
        return ""
    most = max(line.totals.cost for line in lines)
    rows = [
        Bar(
            line.name,
            words.cost(line.totals),
            [Span(0, _ratio(line.totals.cost, most), _kind(line))],
        )
        for line in lines
    ]
    heading = f"Cost by {what}"
    plot = bars(heading, _described(rows), rows)
    return _section(heading, plot, table(heading, words.table(what, lines)))


def _kind(line: "Line") -> str:
    return "accent" if line.names == 1 else "rest"


def _savings(report: "Report") -> str:
    if not words.levered(report):
        return ""
    own = sum(report.savings.own_cost.values(), Decimal(0))
    levers = words.ranked(report)
    most = max([own, *(lever.total for _, lever in levers)])
    rows: list[Bar] = []
    cells: list[tuple[str, ...]] = [("lever", *words.LEVER_COLUMNS)]
    for name, lever in levers:
        exact = _ratio(lever.exact, most)
        compared = _ratio(lever.counterfactual, most)
        spans = [Span(0, exact, "accent"), Span(exact, compared, "pale")]
        rows.append(Bar(name, words.lever_saved(lever), spans))
        cells.append((name, *words.lever_cells(lever)))
    if cost := words.own_cost(report):
        rows.append(Bar("their own cost", cost, [Span(0, _ratio(own, most), "spent")]))
        cells.append(("their own cost", "", cost, "", ""))
    heading = "Savings by lever"
    kinds = {
        kind: name
        for kind, name in (("accent", "exact"), ("pale", "counterfactual"))
        if any(getattr(lever, name) for _, lever in levers)
    }
    plot = bars(heading, _described(rows), rows) + _legend(kinds)
    return _section(heading, plot, table(heading, cells))


def _latency(report: "Report") -> str:
    if not report.latency:
        return ""
    most = max(row.p95 for row in report.latency)
    rows = [
        Bar(
            row.part,
            f"{words.duration(row.p50)} · {words.duration(row.p95)}",
            [
                Span(0, _ratio(row.p95, most), "pale"),
                Span(0, _ratio(row.p50, most), "accent"),
            ],
        )
        for row in report.latency
    ]
    kinds = {"accent": "p50", "pale": "p95"}
    plot = bars("Latency", _described(rows), rows) + _legend(kinds)
    return _section("Latency", plot, table("Latency", words.times(report.latency)))


def _legend(kinds: Mapping[str, str]) -> str:
    """What the colors of bars mean, by their names in the style."""
    keys = (
        element("li", element("span", class_=f"key {kind}", aria_hidden="true"), name)
        for kind, name in kinds.items()
    )
    return element("ul", *keys, class_="legend") if kinds else ""


def _described(rows: Sequence[Bar]) -> str:
    return "; ".join(f"{row.label}: {row.value}" for row in rows)


def _ratio(part: Decimal | float, whole: Decimal | float) -> float:
    """A bar's length; a negative amount has none and stands as its figure only."""
    return min(max(float(part) / float(whole), 0.0), 1.0) if whole > 0 else 0.0


def _section(heading: str, *columns: str) -> str:
    boxes = (element("div", column) for column in columns)
    body = element("div", *boxes, class_="columns" if len(columns) > 1 else "wide")
    return element("section", element("h2", heading), body)


def table(label: str, rows: Sequence[tuple[str, ...]]) -> str:
    """A table in a box of its own, which scrolls when it is too wide.

    Args:
        label: What it is called.
        rows: The names of its columns, then its cells, each row's name first.
    """
    names = rows[0]
    kinds = ["name", *(_KINDS.get(name, "number") for name in names[1:])]
    head = (
        element("th", name, scope="col", class_=kind) if name else element("td")
        for name, kind in zip(names, kinds, strict=True)
    )
    body = (
        element(
            "tr",
            element("th", escape(row[0]), scope="row"),
            *(
                element("td", _cell(value), class_=kind)
                for value, kind in zip(row[1:], kinds[1:], strict=True)
            ),
        )
        for row in rows[1:]
    )
    table = element(
        "table",
        element("thead", element("tr", *head)),
        element("tbody", *body),
    )
    return element(
        "div", table, class_="scroll", tabindex=0, role="region", aria_label=label
    )


def _cell(value: str) -> str:
    return value if isinstance(value, Markup) else escape(value)
