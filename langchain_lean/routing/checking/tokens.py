"""Formulas as people and models write them, read into tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

_MOST_DIGITS = 30  # of a number

# What is frequent stands first; "x" multiplies before a number alone.
_TOKEN = re.compile(
    r"""
    (?P<space>[\s$€£¥₹_°]++|&(?=\s?[=≈]))
    |(?P<cross>[xX](?:(?=[\s$€£¥₹]{0,3}\.?[0-9])|(?=\s\()))
    |(?P<word>[^\W\d_]\w*+(?:['’-]\w++)*+)
    |(?P<unknown>(?=[0-9])(?:0[xXbBoO][0-9A-Fa-f]++\b
      |(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}\b
      |[0-9]{1,2}/[0-9]{1,2}/(?:19|20)[0-9]{2}\b
      |[0-9]++(?::[0-9]++)++
      |[0-9]++(?:\.[0-9]++){2,}+))
    |(?P<number>(?:[0-9]++(?:(?:,|\{,\})[0-9]++)*+(?:\.[0-9]++)?|\.[0-9]++)
      (?:[eE][+-]?[0-9]{1,3}(?!\w))?)
    |(?P<comparison>[<>!:+\-*/]=|={2,3}|=>|->|<-|//|<<|>>)
    |(?P<equals>[=≈≃≅])
    |(?P<operator>\*\*|[-+*/^×·⋅∙∗÷∕⁄−–‐‑])
    |(?P<open>[({])|(?P<close>[)}])
    |(?P<percent>%)
    |(?P<break>[.,;:?!"“”„'‘’\[\]|#•`—&<>→])
    |(?P<latex>\\(?:[A-Za-z]++|[^\w\s]|[ ]))
    |(?P<about>~)
    |(?P<other>.)
    """,
    re.VERBOSE,
)
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{2,3})*,[0-9]{3}(?![0-9,])")

Kind = Literal[
    "number", "operator", "equals", "open", "close", "percent", "fraction", "word",
    "break", "unknown",
]  # fmt: skip

_SPELLINGS = {
    "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "x": "*", "X": "*",
    "÷": "/", "∕": "/", "⁄": "/", "−": "-", "–": "-", "‐": "-", "‑": "-", "**": "^",
}  # fmt: skip
_SPOKEN = {"plus": "+", "minus": "-", "times": "*", "multiplied": "*", "divided": "/"}
_LATEX: dict[str, tuple[Kind, str]] = {
    r"\times": ("operator", "*"), r"\cdot": ("operator", "*"),
    r"\ast": ("operator", "*"), r"\*": ("operator", "*"), r"\+": ("operator", "+"),
    r"\-": ("operator", "-"), r"\/": ("operator", "/"), r"\div": ("operator", "/"),
    r"\=": ("equals", "="), r"\approx": ("equals", "≈"), r"\%": ("percent", "%"),
    r"\frac": ("fraction", ""), r"\dfrac": ("fraction", ""),
    r"\tfrac": ("fraction", ""), r"\cfrac": ("fraction", ""),
    r"\(": ("break", ""), r"\)": ("break", ""), r"\[": ("break", ""),
    r"\]": ("break", ""), r"\\": ("break", ""),
}  # fmt: skip
_LATEX_SPACES = frozenset((
    r"\text", r"\mathrm", r"\mathbf", r"\textbf", r"\boxed", r"\left", r"\right",
    r"\,", r"\;", r"\!", r"\:", r"\quad", r"\$", r"\_", "\\ ",
))  # fmt: skip
_AS_THEY_ARE: dict[str, Kind] = {
    "equals": "equals", "open": "open", "close": "close", "percent": "percent",
    "break": "break",
}  # fmt: skip
_UNREADABLE = ("//", "<<", ">>")


class Token(NamedTuple):
    """A piece of a line.

    Attributes:
        kind: What it is. `unknown` may be part of a formula and cannot be read;
            `break` is part of none.
        text: Operators in one spelling, words in lower case, the rest as it stands.
        start: Where it begins in the line.
        end: Where it ends.
        glued: Whether it touches the token before it.
    """

    kind: Kind
    text: str
    start: int
    end: int
    glued: bool


def tokens(text: str) -> list[Token]:
    """Read a line, or a part of one; asterisks that make text bold are left out."""
    return _without_emphasis(_tokens(text), text)


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    before = Token("break", "", -1, -1, False)
    for match in _TOKEN.finditer(text):
        group, piece = match.lastgroup, match.group()
        if group == "space" or piece in _LATEX_SPACES:
            continue
        kind, said = _kind(group or "other", piece)
        start, end = match.span()
        if said == "by" and before.kind == "operator":
            continue  # divided by, multiplied by
        if said == "of" and before.kind in ("number", "percent", "close"):
            kind = "operator"
        if said == "-" and not tokens and text[end : end + 1] == " ":
            kind = "break"  # an item of a list
        before = Token(kind, said, start, end, before.end == start)
        tokens.append(before)
    return tokens


def _kind(group: str, piece: str) -> tuple[Kind, str]:
    """What a piece of text is, and its one spelling."""
    if group == "number":
        text = piece.replace("{,}", ",")
        readable = len(text) <= _MOST_DIGITS and (
            "," not in text or _GROUPED.match(text)
        )
        return ("number", text.replace(",", "")) if readable else ("unknown", text)
    if group == "word":
        word = piece.lower()
        if word in _SPOKEN:
            return "operator", _SPOKEN[word]
        return ("equals", "=") if word == "equals" else ("word", word)
    if group in ("operator", "cross"):
        return "operator", _SPELLINGS.get(piece, piece)
    if piece == "~":
        return "word", "about"
    if group == "latex":
        return _LATEX.get(piece, ("unknown", piece))
    if group == "comparison":
        return ("unknown" if piece in _UNREADABLE else "break"), piece
    return _AS_THEY_ARE.get(group, "unknown"), piece


def _without_emphasis(tokens: list[Token], text: str) -> list[Token]:
    """The tokens without the asterisks that only make text bold."""
    if "*" not in text:
        return tokens
    kept = []
    for place, token in enumerate(tokens):
        star = text[token.start : token.end] in ("*", "**")
        if not star or not _is_emphasis(tokens, place, text):
            kept.append(token)
    return kept


def _is_emphasis(tokens: Sequence[Token], place: int, text: str) -> bool:
    token = tokens[place]
    before = tokens[place - 1].kind if place else "break"
    after = tokens[place + 1].kind if place + 1 < len(tokens) else "break"
    if before in ("break", "equals", "open", "operator"):
        return True
    if after in ("break", "equals", "close"):
        return True
    numeric = before in ("number", "close", "percent")
    if numeric and after in ("number", "open", "fraction"):
        return False
    spaces = text[token.start - 1].isspace(), text[token.end].isspace()
    return spaces[0] != spaces[1]
