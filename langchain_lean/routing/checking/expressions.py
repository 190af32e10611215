"""Formulas without unknowns, found among tokens and evaluated exactly.

Nothing is executed, values are held to a size, and reading takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from langchain_lean.routing.checking.tokens import Kind, Token, tokens

_ONE = Fraction(1)

_MOST_BITS = 512  # of a value
_MOST_OPERATORS = 100  # of a formula
_DEEPEST = 16  # brackets within brackets
_MOST_UNIT_WORDS = 4

_DOTS_MAY_GROUP = re.compile(r"[0-9]{1,3}\.[0-9]{3}")

_SCALES = {
    "dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6,
    "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
_SCALES |= {f"{name}s": scale for name, scale in _SCALES.items()}
_END_A_UNIT = (
    "and", "or", "so", "then", "which", "that", "is", "are", "was", "were", "if",
    "when", "because", "but", "for", "from", "as", "since", "where", "while", "with",
)  # fmt: skip
_SUMS = ("total", "sum")  # of what follows
_CHANGE_A_NUMBER = (
    "twice", "thrice", "half", "double", "triple", "quarter", "negative", "log",
    "ln", "sin", "cos", "tan", "sqrt", "root", "square", "cube", "squared", "cubed",
    "mod", "modulo", "base", "binary", "octal", "hexadecimal", "hex", "am", "pm",
    "o'clock",
)  # fmt: skip


class Reading(NamedTuple):
    """What is meant by a notation that has several meanings.

    Attributes:
        percent: `hundredth` (20% is 0.2), `unit` (20% is 20; a million is a unit, too)
            or `share` (50 + 20% is 60, as on a pocket calculator).
        dots_group: Whether 1.500 is one thousand five hundred.
        tight_fractions: Whether `8 / 2/5` is 8 divided by two fifths.
    """

    percent: Literal["hundredth", "unit", "share"] = "hundredth"
    dots_group: bool = False
    tight_fractions: bool = False


class Expression(NamedTuple):
    """A formula without unknowns, evaluated.

    Attributes:
        first: The place of its first token.
        after: The place behind its last one, behind units, too.
        operators: How many operators it has.
        value: Its exact value; None where it has none, or one of enormous size.
        unit: What the last digit counts, of a number that stands alone, else None.
        percent: Whether it is a number with a percent sign.
    """

    first: int
    after: int
    operators: int
    value: Fraction | None
    unit: Fraction | None = None
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """The tokens of a line, with its brackets paired.

    Attributes:
        tokens: In order. Brackets without a partner, and those around an equals sign
            or a break, are breaks themselves.
        partners: For the place of an opening bracket, that of its closing one.
    """

    tokens: Sequence[Token]
    partners: dict[int, int]

    @classmethod
    def of(cls, text: str) -> Line:
        """Read a line."""
        read = tokens(text)
        partners = _partners(read)
        paired = {*partners, *partners.values()}
        for place, token in enumerate(read):
            if token.kind in ("open", "close") and place not in paired:
                read[place] = token._replace(kind="break")
        return cls(read, partners)

    def first(self, start: int, stop: int, reading: Reading) -> Expression | None:
        """The expression that begins at a place, if it clearly ends before another."""
        found = self._sum(start, stop, reading)
        if found is None or not self._ends_cleanly(found.after, stop):
            return None
        return found

    def last(self, start: int, stop: int, reading: Reading) -> Expression | None:
        """The expression that ends at a place, if it clearly begins behind another."""
        at = start
        while at < stop:
            found = None
            if not self._is(at, stop, "operator") or self._is_sign(at, start, stop):
                found = self._sum(at, stop, reading)
            if found is None:
                at = self.partners.get(at, at) + 1
            elif found.after < stop:
                at = found.after
            else:
                return found if self._begins_cleanly(at, start) else None
        return None

    def operand(self, at: int, stop: int, reading: Reading) -> Expression | None:
        """The number, fraction or expression in brackets that begins at a place."""
        return self._power(at, stop, reading._replace(tight_fractions=True))

    def coarseness(self, expression: Expression) -> Fraction:
        """How far rounding may have moved its decimals, relative to their values."""
        coarsest = Fraction(0)
        for token in self.tokens[expression.first : expression.after]:
            if token.kind == "number" and "." in token.text:
                value, unit = _read(token.text)
                coarsest = max(coarsest, unit / value if value else coarsest)
        return coarsest

    def _is_sign(self, at: int, start: int, stop: int) -> bool:
        """Whether an operator stands as in "is -5", not as in "x - 5" or "7-5"."""
        if at == start:
            return True
        touches_next = at + 1 < stop and self.tokens[at + 1].glued
        return touches_next and not self.tokens[at].glued

    def _begins_cleanly(self, at: int, start: int) -> bool:
        if at == start:
            return True
        token, before = self.tokens[at], self.tokens[at - 1]
        if token.glued and token.kind == "open":
            return False  # a function
        if before.kind == "close":
            return not token.glued
        if before.text == "of":
            return at > 1 and self.tokens[at - 2].text in _SUMS
        return self._is_plain_word(at - 1)

    def _ends_cleanly(self, at: int, stop: int) -> bool:
        if at >= stop:
            return True
        token = self.tokens[at]
        follows_word = self._is(at + 1, stop, "word")
        if token.kind == "operator":  # a dash between words, or "25% of them"
            return token.text in ("-", "of") and not token.glued and follows_word
        if token.kind == "open":  # a remark, but for "(mod 12)"
            changes = self._is(at + 1, stop, "word", *_CHANGE_A_NUMBER)
            return not token.glued and not changes
        return self._is_plain_word(at)

    def _is_plain_word(self, at: int) -> bool:
        """Whether it is a word that is no variable and does not change a number."""
        token = self.tokens[at]
        if token.kind != "word" or token.text in _CHANGE_A_NUMBER:
            return False
        if token.glued and not (token.text.isascii() and token.text.isalpha()):
            return False
        if token.text == "a" and not token.glued:
            return self._is(at + 1, len(self.tokens), "word")
        return len(token.text) > 1

    def _is(self, at: int, stop: int, kind: Kind, *texts: str) -> bool:
        if at >= stop or self.tokens[at].kind != kind:
            return False
        return not texts or self.tokens[at].text in texts

    def _sum(self, at: int, stop: int, reading: Reading) -> Expression | None:
        left = self._product(at, stop, reading)
        while left and self._is(left.after, stop, "operator", "+", "-"):
            right = self._product(left.after + 1, stop, reading)
            if right is None:
                break
            operator = self.tokens[left.after].text
            if reading.percent == "share" and right.percent and not left.percent:
                one = Expression(0, 0, 0, _ONE)
                right = _combined(one, operator, right)
                operator = "*"
            left = _combined(left, operator, right)
        return left

    def _product(self, at: int, stop: int, reading: Reading) -> Expression | None:
        left = self._power(at, stop, reading)
        while left:
            place, operator = left.after, "*"
            if self._is(place, stop, "operator", "*", "/", "of"):
                operator = self.tokens[place].text.replace("of", "*")
                place += 1
            elif not self._is_juxtaposed(place, stop):
                break
            right = self._power(place, stop, reading)
            if right is None:
                break
            left = _combined(left, operator, right)
        return left

    def _is_juxtaposed(self, at: int, stop: int) -> bool:
        """Whether brackets touch what they multiply, as in `2(3 + 4)`."""
        if not self._is(at, stop, "open") or not self.tokens[at].glued:
            return False
        return self.tokens[at - 1].kind in ("number", "close")

    def _power(self, at: int, stop: int, reading: Reading) -> Expression | None:
        signed = self._is(at, stop, "operator", "-", "+")
        base = self._operand(at + signed, stop, reading)
        if base is None:
            return None
        if reading.tight_fractions and self._is_tight_fraction(base.after, stop):
            below = self._number(base.after + 1, stop, reading)
            base = _combined(base, "/", below)
        if self._is(base.after, stop, "operator", "^"):
            exponent = self._operand(base.after + 1, stop, reading)
            if exponent is None:
                return None
            base = _combined(base, "^", exponent)
        if signed and self.tokens[at].text == "-" and base.value is not None:
            base = base._replace(value=-base.value)
        return base._replace(first=at, after=self._after_unit(base.after, stop))

    def _is_tight_fraction(self, at: int, stop: int) -> bool:
        if not self._is(at, stop, "operator", "/"):
            return False
        follows = self._is(at + 1, stop, "number")
        return follows and self.tokens[at].glued and self.tokens[at + 1].glued

    def _operand(self, at: int, stop: int, reading: Reading) -> Expression | None:
        if self._is(at, stop, "number"):
            return self._number(at, stop, reading)
        if self._is(at, stop, "fraction"):
            above = self._group(at + 1, stop, reading)
            below = above and self._group(above.after, stop, reading)
            return above and below and _combined(above, "/", below)
        return self._group(at, stop, reading)

    def _group(self, at: int, stop: int, reading: Reading) -> Expression | None:
        """What stands in a pair of brackets, if it is an expression."""
        if not self._is(at, stop, "open"):
            return None
        end = self.partners[at]
        inside = self._sum(at + 1, end, reading)
        if inside is None or inside.after != end:
            return None
        return inside._replace(first=at, after=end + 1)

    def _number(self, at: int, stop: int, reading: Reading) -> Expression:
        text = self.tokens[at].text
        if reading.dots_group and _DOTS_MAY_GROUP.fullmatch(text):
            text = text.replace(".", "")
        value, unit = _read(text)
        after, percent, scale = at + 1, False, _ONE
        if self._is(after, stop, "percent"):
            after, percent = after + 1, True
            if reading.percent != "unit":
                scale = Fraction(1, 100)
        elif self._is(after, stop, "word", *_SCALES) and reading.percent != "unit":
            scale = Fraction(_SCALES[self.tokens[after].text])
            after += 1
        if scale is not _ONE:
            value, unit = value * scale, unit * scale
        return Expression(at, after, 0, value, unit, percent)

    def _after_unit(self, at: int, stop: int) -> int:
        """Behind the words that say what was counted, such as `meters per sprint`."""
        words = 0
        while at < stop and words <= _MOST_UNIT_WORDS:
            if self._is_unit(at):
                words, at = words + 1, at + 1
            elif self._is(at, stop, "operator", "/") and self._is_unit(at + 1):
                words, at = words + 1, at + 2
            elif self._is(at, stop, "open") and self._is_note(at):
                at = self.partners[at] + 1
            else:
                break
        return at

    def _is_unit(self, at: int) -> bool:
        if at >= len(self.tokens) or self.tokens[at].text in _END_A_UNIT:
            return False
        return self._is_plain_word(at)

    def _is_note(self, at: int) -> bool:
        """Whether brackets hold words alone."""
        inside = self.tokens[at + 1 : self.partners[at]]
        words = [token for token in inside if token.kind == "word"]
        if any(token.kind in ("number", "unknown") for token in inside):
            return False
        changes = any(word.text in _CHANGE_A_NUMBER for word in words)
        return not changes and any(len(word.text) > 1 for word in words)


def _read(number: str) -> tuple[Fraction, Fraction]:
    """The value of a number, and what its last digit counts: 1/100 in `3.50`."""
    if number.isdecimal():
        return Fraction(int(number)), _ONE
    mantissa, _, exponent = number.lower().partition("e")
    whole, _, decimals = mantissa.partition(".")
    unit = Fraction(10) ** (int(exponent or 0) - len(decimals))
    return int(whole + decimals) * unit, unit


def _combined(left: Expression, operator: str, right: Expression) -> Expression:
    operators = left.operators + 1 + right.operators
    value = None
    if operators <= _MOST_OPERATORS:
        value = _applied(left.value, operator, right.value)
    if value is not None and _bits(value) > _MOST_BITS:
        value = None
    return Expression(left.first, right.after, operators, value)


def _applied(
    left: Fraction | None, operator: str, right: Fraction | None
) -> Fraction | None:
    if left is None or right is None:
        return None
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if operator == "/":
        return left / right if right else None
    if right.denominator != 1 or (not left and right < 0):
        return None
    exponent = int(right)
    return left**exponent if _bits(left) * abs(exponent) <= _MOST_BITS else None


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def _partners(tokens: Sequence[Token]) -> dict[int, int]:
    partners: dict[int, int] = {}
    opened: list[int] = []
    for place, token in enumerate(tokens):
        if token.kind in ("break", "equals"):
            opened.clear()
        elif token.kind == "open":
            opened.append(place)
        elif token.kind == "close" and opened:
            start = opened.pop()
            if len(opened) < _DEEPEST:
                partners[start] = place
    return partners
