"""The calculations a text states, and whether they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from langchain_lean.routing.checking.expressions import Expression, Line, Reading

# What is sure to part two calculations. A line that begins with "=" goes on.
_PARTS = re.compile(
    r"""\n(?![ \t&]*(?:[=≈]|\\approx))|[;?!"“”|•](?<!\\.)|[.,](?![0-9}])(?<!\\.)"""
)
_STATED = re.compile(r"[=≈≃≅]|[Ee]quals|\\approx")
_CALCULATOR_NOTE = re.compile(r"<<([^<>\n]*+)>>")

_FLOAT_NOISE = Fraction(1, 10**12)  # relative; doubles carry 15 to 17 digits
_ROUGH = Fraction(1, 10)  # of what is said: how far an estimate may be off
_ROUGHLY = ("≈", "about", "approximately", "around", "roughly", "nearly", "almost")
_EXACTLY = ("exactly", "only", "just")
_READINGS = (
    Reading(),
    Reading(percent="unit"),
    Reading(percent="share"),
    Reading(dots_group=True),
    Reading(tight_fractions=True),
)
_COINS = frozenset(("cent", "penny", "pennie", "dime", "nickel", "quarter", "pence"))
_MEASURES = _COINS | {
    "second", "sec", "minute", "min", "hour", "hr", "day", "week", "month", "year",
    "mm", "cm", "km", "meter", "metre", "centimeter", "centimetre", "millimeter",
    "millimetre", "kilometer", "kilometre", "mile", "yard", "inch", "inche", "feet",
    "foot", "ft", "mg", "kg", "gram", "milligram", "kilogram", "pound", "lb",
    "ounce", "oz", "ton", "tonne", "ml", "liter", "litre", "milliliter",
    "millilitre", "gallon", "quart", "pint", "cup", "tablespoon", "teaspoon", "bit",
    "byte", "kb", "mb", "gb", "tb", "dollar", "watt", "wh", "kwh", "decade",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Calculation:
    """A calculation that stands in a text, such as `3 x 60 = 180`.

    Attributes:
        start: Where it begins in the text.
        end: Where it ends.
        exact: The exact value of the formula.
        said: What the text says it is.
        holds: Whether the two are equal, as far as the digits shown can say.
    """

    start: int
    end: int
    exact: Fraction
    said: Fraction
    holds: bool


def calculations(text: str) -> list[Calculation]:
    """Find the calculations a text states, and check them.

    A calculation is a formula of numbers alone, an equals sign (or `≈`, or "equals")
    and a number or another formula, in prose, Markdown, LaTeX or code. Numbers may
    have units, currency signs, percent signs and separated thousands. It holds where
    what is said is the exact value, or that value rounded (half either way) or
    truncated to the digits shown: people write `10 / 3 = 3.33`, and programs
    `7 / 2 = 3`. An estimate (`≈`, "about") may be off by a tenth. Where a notation has
    several meanings, one that holds is enough.

    What is not understood is not judged: variables, functions, ranges, dates, units
    that are converted on the way.

    Args:
        text: Any text. The time taken is in proportion to its length.

    Returns:
        The calculations, in the order in which they begin.
    """
    found: list[Calculation] = []
    if not _STATED.search(text):
        return []
    for note in _CALCULATOR_NOTE.finditer(text):
        found += _in_part(note.group(1), note.start(1))
    text = _CALCULATOR_NOTE.sub(lambda note: " " * len(note.group()), text)
    start = 0
    for part in _PARTS.split(text):
        found += _in_part(part, start)
        start += len(part) + 1
    return sorted(found, key=lambda each: each.start)


def _in_part(text: str, offset: int) -> Iterator[Calculation]:
    if not _STATED.search(text):
        return
    line = Line.of(text)
    for sides in _clauses(line):
        for place, (left, right) in enumerate(pairwise(sides)):
            stated = _stated(line, left, right, follows=place > 0)
            if stated:
                start, end = stated.start + offset, stated.end + offset
                yield replace(stated, start=start, end=end)


def _clauses(line: Line) -> Iterator[list[tuple[int, int]]]:
    """What stands between equals signs, from break to break."""
    sides: list[tuple[int, int]] = []
    start = 0
    for place, token in enumerate(line.tokens):
        if token.kind in ("break", "equals"):
            sides.append((start, place))
            start = place + 1
        if token.kind == "break":
            yield sides
            sides = []
    yield [*sides, (start, len(line.tokens))]


def _stated(
    line: Line, left: tuple[int, int], right: tuple[int, int], *, follows: bool
) -> Calculation | None:
    """What stands on both sides of an equals sign, if it is a calculation."""
    begins, roughly = _after_hedges(line, *right)
    failed = None
    for reading in _READINGS:
        formula = line.last(*left, reading)
        result = line.first(begins, right[1], reading)
        if formula is None or result is None:
            return None
        if not formula.operators and not (follows and formula.first == left[0]):
            return None  # a name with a number: "plan 2 = 3 * 4"
        stated = _compared(line, formula, result, roughly=roughly)
        if stated is None:
            return None
        if not stated.holds:
            # "= 15 + 4 = 19" and "= 25% of 60" may go on with a result said before.
            said = line.operand(begins, right[1], reading) or result
            stated = _compared(line, formula, said, roughly=roughly) or stated
        if stated.holds:
            return stated
        failed = failed or (stated, formula, result)
    if failed is None or _may_mean_else(line, *failed[1:]):
        return None
    return failed[0]


def _compared(
    line: Line, formula: Expression, result: Expression, *, roughly: bool
) -> Calculation | None:
    if not formula.operators and not result.operators:
        return None
    exact, said, unit = formula.value, result.value, result.unit
    if not formula.operators:
        exact, said, unit = said, exact, formula.unit
    if exact is None or said is None:
        return None
    if unit is None:
        unit = abs(said) * line.coarseness(result)
    near = roughly and abs(exact - said) <= abs(said) * _ROUGH
    holds = near or _is_rounded(exact, said, unit)
    start, end = line.tokens[formula.first].start, line.tokens[result.after - 1].end
    return Calculation(start, end, exact, said, holds)


def _is_rounded(exact: Fraction, said: Fraction, unit: Fraction) -> bool:
    """Whether what is said is a value rounded or truncated to multiples of a unit."""
    if exact == said:
        return True
    difference = abs(exact - said)
    if 2 * difference <= unit or difference <= abs(exact) * _FLOAT_NOISE:
        return True
    truncated = abs(said) <= abs(exact) and exact * said >= 0
    return truncated and difference < unit


def _after_hedges(line: Line, start: int, stop: int) -> tuple[int, bool]:
    """Behind words such as "about", and whether they, or the sign, say so."""
    roughly = line.tokens[start - 1].text in _ROUGHLY
    while start < stop and line.tokens[start].text in _ROUGHLY + _EXACTLY:
        roughly = roughly or line.tokens[start].text in _ROUGHLY
        start += 1
    return start, roughly


def _may_mean_else(line: Line, formula: Expression, result: Expression) -> bool:
    """Whether it is a range (`9-5`), or measures are converted on the way."""
    tokens = line.tokens[formula.first : formula.after]
    if formula.operators == 1 and tokens[1].text == "-" and tokens[1].glued:
        rises = formula.value is not None and formula.value < 0
        if rises and tokens[2].glued:
            return True
    said = line.tokens[result.first : result.after]
    measures = {token.text.rstrip("s") for token in (*tokens, *said)} & _MEASURES
    return len(measures) > 1 or bool(measures & _COINS)
