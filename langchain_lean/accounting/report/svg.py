"""The plots of a report: pure functions from shares to inline SVG.

Lengths are percentages of the width a plot is given and text keeps its size, so one
drawing is readable on a phone and on a wide screen. Colors are classes, which the page
styles for light and dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from langchain_lean.accounting.report import words

_ROW = 44
_BAR = 8
_BAND = 32
_METER = 96


class Span(NamedTuple):
    """A piece of a bar: where it starts and how long it is (0 to 1), and its class."""

    start: float
    length: float
    kind: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a bar chart.

    Attributes:
        label: What it is about.
        value: Its figure, written out.
        spans: Its pieces, a later one over an earlier one.
    """

    label: str
    value: str
    spans: Sequence[Span]


def element(name: str, *children: str, **attributes: object) -> str:
    """An element of HTML or SVG.

    Args:
        name: Its name.
        *children: What is in it, already escaped.
        **attributes: Its attributes, escaped here; `class_` and `aria_label` stand
            for `class` and `aria-label`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{''.join(children)}</{name}>"


def bars(title: str, description: str, rows: Sequence[Bar]) -> str:
    """A chart of horizontal bars, each under its label.

    Args:
        title: What is shown, in a few words.
        description: What a reader who cannot see it should know.
        rows: The bars, from the top.
    """
    drawn = (_row(number * _ROW, row) for number, row in enumerate(rows))
    return _plot("bars", title, description, len(rows) * _ROW, *drawn)


def band(title: str, description: str, spans: Sequence[tuple[str, Span]]) -> str:
    """A single bar that is cut into named parts.

    Args:
        title: What is shown, in a few words.
        description: What a reader who cannot see it should know.
        spans: The parts with their names.
    """
    drawn = (
        element("g", element("title", escape(name)), _rect(span, 0, _BAND))
        for name, span in spans
    )
    return _plot("band", title, description, _BAND, *drawn)


def meter(description: str, spans: Sequence[Span]) -> str:
    """A bar that is small enough for a cell of a table.

    Args:
        description: What it shows, with its figures.
        spans: Its pieces.
    """
    return element(
        "svg",
        element("title", escape(description)),
        _rect(Span(0, 1, "rail"), 0, _BAR),
        *(_rect(span, 0, _BAR) for span in spans if span.length > 0),
        role="img",
        width=_METER,
        height=_BAR,
    )


def _plot(kind: str, title: str, description: str, height: int, *drawn: str) -> str:
    return element(
        "svg",
        element("title", escape(title)),
        element("desc", escape(description)),
        *drawn,
        class_=kind,
        role="img",
        width="100%",
        height=height,
    )


def _row(top: int, row: Bar) -> str:
    label = element("text", escape(words.short(row.label)), y=15)
    return element(
        "g",
        element("title", escape(f"{row.label}: {row.value}")),
        element("svg", label, y=top, width="60%", height=20),  # cuts off what is wide
        element("text", escape(row.value), class_="value", x="100%", y=top + 15),
        _rect(Span(0, 1, "rail"), top + 22, _BAR),
        *(_rect(span, top + 22, _BAR) for span in row.spans if span.length > 0),
    )


def _rect(span: Span, top: int, height: int) -> str:
    return element(
        "rect",
        class_=span.kind,
        x=f"{100 * span.start:.2f}%",
        y=top,
        width=f"{100 * span.length:.2f}%",
        height=height,
    )
