"""The calculations a text states."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langchain_lean.routing.checking.arithmetic import calculations

HOLD = [
    "3 x 60 = 180",
    "4x5=20",
    "12 * $3.50 = $42",
    "20 / 4 = 5 apples",
    "20 ÷ 4 = 5",
    "5 × 4 = 20",
    "5·4 = 20",
    "(3 + 4) * 2 = 14",
    "2(3 + 4) = 14",
    "(2)(3) = 6",
    "2^3 = 8",
    "2**3 = 8",
    "1/2 + 1/4 = 3/4",
    "3e2 * 2 = 600",
    # signs and dashes
    "200-50=150",
    "5 − 10 = −5",
    "-5 + 3 = -2",
    "5 - -3 = 8",
    "-$5 + $3 = -$2",
    "2020-2015 = 5",
    # percent
    "20% of 50 = 10",
    "100% - 20% = 80%",
    "10 / 50 = 20%",
    "10 / 50 * 100 = 20%",
    "50 + 20% = 60",
    "10 / 40 = 25% of them",
    "10 / 40 = 25% of 40 apples",
    # thousands
    "1,000 + 500 = 1,500",
    "1,00,000 * 2 = 2,00,000",
    "1.500 + 500 = 2.000",
    "2 million + 3 million = 5 million",
    "3 dozen + 4 = 40",
    "5 dozen * 12 = 60",
    # units and remarks
    "3 sprints * 60 meters = 180 meters",
    "3 sprints * 60 meters/sprint = 180 meters",
    "4 slices of pizza x 3 = 12 slices of pizza",
    "160 (Toulouse) + 80 (Charleston) = 240",
    "he has 5 + 3 = 8 (eight)",
    "she walks 3 * 2 = 6 miles a day",
    "5kg + 3kg = 8kg",
    "a total of 12 + 12 = 24 toys",
    # chains
    "2+3 = 5 = 10/2",
    "20 + 3 = 23 + 4 = 27",
    "3*60=<<3*60=180>>180",
    "x = 3 * 4 = 12",
    "2/3 + 1 = 0.67 + 1 = 1.67",
    # rounded, truncated, estimated
    "10 / 3 = 3.33",
    "20 / 3 = 6.67",
    "20 / 3 = 6.66",
    "2/3 = 0.666...",
    "7 / 2 = 3",
    "7 / 2 = 4",
    "0.1 + 0.2 = 0.30000000000000004",
    "1234 * 5 ≈ 6,000",
    "10 / 3 = about 3",
    "10 / 3 = ~3",
    "8 / 2/5 = 20",
    # LaTeX and Markdown
    r"$3 \times 60 = 180$",
    r"\( \frac{32}{4} = 8 \)",
    r"\[ \frac{3}{4} \cdot 100\% = 75\% \]",
    r"2 \times 10^{3} = 2000",
    r"\left( 3 + 4 \right) \cdot 2 = \boxed{14}",
    r"1{,}000 + 1 = 1{,}001",
    r"3 \, \text{apples} + 4 = 7",
    "\\begin{align} 3 + 4 &= 7 \\\\ 5 + 1 &= 6 \\end{align}",
    "**3 + 4 = 7**",
    "3 + 4 = **7**",
    "*3 + 4* = *7*",
    r"5 \* 4 = 20",
    "- 5 + 3 = 8",
    "* 5 + 3 = 8",
    "1. 5 + 3 = 8",
    "1) 5 + 3 = 8",
    "3 + 4\n= 7",
    "Total: -5 + 8 = 3.",
    # words
    "5 plus 3 equals 8",
    "6 times 7 equals 42",
    "6 multiplied by 7 equals 42",
    "10 divided by 2 equals 5",
]

FAIL = [
    "3 x 60 = 190",
    "12 * $3.50 = $43",
    "20% of 50 = 11",
    "2/3 * 24 = 32",
    "3 sprints * 60 meters = 181 meters",
    "1,000 + 500 = 1,600",
    r"\( \frac{32}{4} = 9 \)",
    "(3 + 4) * 2 = 15",
    "-5 + 3 = 2",
    "5 - 10 = 5",
    "10 / 3 = 3.34",
    "10 / 3 = 4",
    "1/3 + 1/3 = 1/3",
    "5 plus 3 equals 9",
    "2 million + 3 million = 6 million",
    "**3 + 4 = 8**",
    "200-50=140",
    "3*60=<<3*60=181>>180",
    "x = 3 * 4 = 13",
    "- 5 + 3 = 9",
    "3 + 4\n= 8",
    "0.1 + 0.2 = 0.4",
    "So we get 5 apples + 3 apples = 9 apples in total.",
    "2 + 2 = 4 and 2 + 3 = 6",
    "1234 * 5 ≈ 9,000",
]

NOT_JUDGED = [
    # variables, names, functions
    "x = 3",
    "2x + 3 = 7",
    "3A + 30 = 45",
    "2k + 3 = 7",
    "y + 2 + 3 = 7",
    "5 m + 3 = 10",
    "2πr + 1 = 7",
    r"\alpha + 2 + 3 = 7",
    "5 + 2 * length = 20",
    "5 + 2*length = 20",
    "2 + 3 = 5x",
    "2 + 3 = 4 * y",
    "x_1 = 3 + 4",
    "plan 2 = 3 * 4",
    "Step 1 = 5 + 3",
    "f(2) + 1 = 9",
    "P(A) + 1 = 2",
    "n(n+1)/2 + 1 = 10",
    "log 100 + 3 = 5",
    r"\sqrt{9} + 1 = 4",
    "√9 + 1 = 4",
    "3² + 1 = 10",
    "½ + 1 = 2",
    "5C2 + 1 = 11",
    "half of 50 + 3 = 28",
    "twice 5 + 3 = 13",
    "5 of them + 3 = 8",
    "40% / 240 boys = 60% / x girls",
    # dates, times, ranges, versions
    "ages 5-7 = 3 years",
    "2024-05-15 = 7",
    "12/31/2024 + 1 = 5",
    "10:30 - 9:15 = 1:15",
    "11 + 2 = 1 o'clock",
    "10 + 5 = 3 pm",
    "version 1.2.3 + 1 = 4",
    # other rules
    "7 + 8 = 3 (mod 12)",
    "7 % 3 = 1",
    "7 // 2 + 1 = 4",
    "1 + 1 = 10 in binary",
    "0x10 + 1 = 17",
    "5! + 3 = 123",
    "3 1/2 + 1 = 4 1/2",
    "3,5 + 2 = 5,5",
    "5 / 0 = 7",
    "9 ^ 9999 + 1 = 3",
    "2 ^ 0.5 + 1 = 3",
    "2 ^ x + 1 = 3",
    # converted on the way
    "2 hours + 30 minutes = 150 minutes",
    "$1.50 / 2 = 75 cents",
    # code and markup
    "if 2 + 2 == 5:",
    "2 + 2 != 5",
    "x >= 3 + 4",
    "total += 3 * 2",
    "a[3] = 2 + 3",
    "1 << 2 = 4",
    "?width=100&height=3/4",
    '<a href="x" width=3/4>',
    "2H2 + O2 = 2H2O",
    # no statement
    "3 + 4",
    "3 + 4 =",
    "= 7",
    "",
]


@pytest.mark.parametrize("text", HOLD)
def test_a_calculation_that_is_right_holds(text: str) -> None:
    found = calculations(text)
    assert found
    assert all(each.holds for each in found)


@pytest.mark.parametrize("text", FAIL)
def test_a_calculation_that_is_wrong_does_not_hold(text: str) -> None:
    assert not all(each.holds for each in calculations(text))


@pytest.mark.parametrize("text", NOT_JUDGED)
def test_what_is_not_understood_is_not_judged(text: str) -> None:
    assert all(each.holds for each in calculations(text))


def test_a_calculation_says_where_it_stands_and_what_would_be_right() -> None:
    text = "So he runs 3 x 60 meters = 190 meters. Then 1 + 1 = 2."
    wrong, right = calculations(text)
    assert text[wrong.start : wrong.end] == "3 x 60 meters = 190 meters"
    assert not wrong.holds
    assert (wrong.exact, wrong.said) == (Fraction(180), Fraction(190))
    assert text[right.start : right.end] == "1 + 1 = 2"


def test_a_calculation_is_exact_where_floats_are_not() -> None:
    [found] = calculations("0.1 + 0.2 = 0.3")
    assert found.exact == found.said == Fraction(3, 10)


number = st.integers(-10_000, 10_000)


@given(number, number, st.sampled_from("+-*"), st.integers(-3, 3))
def test_a_sum_holds_exactly_where_it_is_right(
    a: int, b: int, operator: str, off: int
) -> None:
    right = {"+": a + b, "-": a - b, "*": a * b}[operator]
    [found] = calculations(f"It is {a:,} {operator} ({b}) = {right + off:,}.")
    assert found.exact == right
    assert found.holds == (off == 0)


@given(st.integers(0, 10**6), st.integers(1, 10**4), st.integers(0, 6))
def test_a_rounded_quotient_holds(a: int, b: int, digits: int) -> None:
    rounded = round(Fraction(a, b), digits)
    text = f"{a} / {b} = {float(rounded):.{digits}f}"
    assert all(each.holds for each in calculations(text))


@given(st.text(), st.text(alphabet="0123456789.,+-*/^x×=≈%$(){}<>\\ \nabof"))
def test_no_text_raises(text: str, other: str) -> None:
    for each in calculations(text) + calculations(other):
        assert each.start < each.end


@given(st.text(alphabet="0123456789.,+-*/^x×=%$(){}<> \nab"))
@example("1+1=2")
def test_every_place_is_in_the_text(text: str) -> None:
    for each in calculations(text):
        assert 0 <= each.start < each.end <= len(text)
        assert any(sign in text[each.start : each.end] for sign in "=≈")


@pytest.mark.parametrize(
    "text",
    [
        "9" * 10**6 + "+1=2",
        "1+" * 10_000 + "1=5",
        "9*" * 10_000 + "=5",
        "9^" * 10_000 + "9=5",
        "9" * 30 + "^512+" * 2_000 + "1=3",
        "1e999*" * 3_000 + "1=3",
        "(" * 20_000 + "1=3",
        "(1+" * 6_000 + "1" + ")" * 6_000 + "=4",
        ("(" * 20 + "1+" + ")" * 20) * 2_000 + "=3",
        "5(a" * 4_000 + ")" * 4_000 + "=3",
        "5 apples " * 2_000 + "+ 3 = 8",
        "1+(a)" * 4_000 + "=3",
        "x" + " " * 20_000 + "=3",
        "x " * 10_000 + "=3",
        "=" * 20_000,
        "1,000" * 4_000 + "=3",
        "1." * 10_000 + "=3",
        "1:" * 10_000 + "=3",
        "0x" + "a" * 20_000 + "_=3",
        "1**" * 6_000 + "=3",
        "<<" * 10_000 + "=",
        ("\n" + " " * 1000) * 100 + "=3",
        "= about " * 2_000 + "3",
        r"\frac{1}" * 2_000 + "=3",
    ],
    ids=lambda text: text[:12],
)
def test_what_stands_behind_hostile_text_is_still_read(text: str) -> None:
    *_, last = calculations(f"{text}\n2 + 2 = 5")
    assert not last.holds
