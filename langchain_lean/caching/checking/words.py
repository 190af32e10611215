"""Sets and tables of words, and what is left of a word without its ending."""

from __future__ import annotations

from functools import lru_cache

_ENDINGS = (
    "ations", "ation", "ating", "ated", "ates", "ate", "ions", "ion", "ings", "ing",
    "ies", "ied", "ers", "ed", "es", "er", "s", "e",
)  # fmt: skip
_PLURALS = {
    "feet": "foot", "teeth": "tooth", "children": "child", "people": "person",
    "men": "man", "women": "woman", "wives": "wife", "mice": "mouse", "lives": "life",
}  # fmt: skip


def word_set(words: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(words.split())


def word_table(lines: str) -> dict[str, str]:
    """Each word of a line stands for the first one."""
    split = [line.split() for line in lines.strip().splitlines()]
    return {word: words[0] for words in split for word in words}


@lru_cache(maxsize=4_096)
def stem(word: str) -> str:
    """A word without its ending, the same for "activate", "activated", "activation".

    It is coarse, and meant for comparing only.
    """
    word = _PLURALS.get(word, word)
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            word += "y" if ending in ("ies", "ied") else ""
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


FUNCTION_WORDS = word_set(
    """a about all also am an and any are as at be been but by can could did do does
    for from get got had has have having he hello her hi him his how i if in into is it
    its just let like may me might must my of ok okay on or our out please shall she
    should so some than thank thanks that the their them then there these they this
    those to too us up very via vs want was we were what whats when where which while
    who whom whose why will with would you your"""
)
"""Words that carry no topic of their own."""
