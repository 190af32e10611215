"""Whether two answers say the same."""

import re
import unicodedata

_PIECE = re.compile(r"-?\d+(?:[.,]\d+)*|\w+|[^\w\s]")


def same_answer(one: str, other: str) -> bool:
    """Whether two texts are equal but for white space, case and punctuation.

    Signs and points within numbers count, and so do symbols such as `%`, `$` or `=`.
    """
    pieces, others = _pieces(one), _pieces(other)
    if not pieces and not others:
        return one.strip() == other.strip()
    return pieces == others


def _pieces(text: str) -> list[str]:
    pieces = _PIECE.findall(text.casefold())
    return [piece for piece in pieces if not _is_punctuation(piece)]


def _is_punctuation(piece: str) -> bool:
    single = len(piece) == 1 and piece != "%"
    return single and unicodedata.category(piece).startswith("P")
