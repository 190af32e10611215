"""Why the answer to one question must not be served for another one near to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langchain_lean.caching.checking.asking import asked_for
from langchain_lean.caching.checking.dates import DATE_WORDS, dates
from langchain_lean.caching.checking.direction import swapped
from langchain_lean.caching.checking.facts import at_odds, clash
from langchain_lean.caching.checking.names import a_name_is_missing
from langchain_lean.caching.checking.negation import negated, one_is_negated
from langchain_lean.caching.checking.numbers import NUMBER_WORDS, numbers
from langchain_lean.caching.checking.opposites import opposed
from langchain_lean.caching.checking.quotes import a_quotation_is_missing
from langchain_lean.caching.checking.reading import LONGEST, read
from langchain_lean.caching.checking.topic import another_topic
from langchain_lean.caching.checking.units import SYMBOLS, parts_of_a_day, spans, units
from langchain_lean.caching.checking.words import stem

Veto = Callable[[str, str], str | None]
"""Says of two questions, in a fixed phrase without their text, why the answer to one
is none to the other; None where it finds nothing. The order does not matter to it."""

_IN_SEVERAL_FORMS = SYMBOLS | NUMBER_WORDS | DATE_WORDS


def number_differs(one: str, other: str) -> str | None:
    """A number, a rank or a time of day that the other one does not have."""
    if clash(numbers(read(one).words), numbers(read(other).words)):
        return "a number differs"
    return None


def date_differs(one: str, other: str) -> str | None:
    """A month, a day or a week that the other one does not have.

    "Today" may be left unsaid. Spans of time and parts of a day differ where both
    have some.
    """
    here, there = read(one), read(other)
    if (
        clash(dates(here.words, here.folded), dates(there.words, there.folded))
        or at_odds(spans(here.words), spans(there.words))
        or at_odds(parts_of_a_day(here.words), parts_of_a_day(there.words))
    ):
        return "a date or a span of time differs"
    return None


def unit_differs(one: str, other: str) -> str | None:
    """A unit or a currency that the other one does not have."""
    if clash(units(read(one).words), units(read(other).words)):
        return "a unit or a currency differs"
    return None


def negation_differs(one: str, other: str) -> str | None:
    """One negates what the other one says plainly."""
    if one_is_negated(read(one), read(other)):
        return "one of them is negated"
    return None


def opposite_asked(one: str, other: str) -> str | None:
    """One has a word, and the other its opposite, such as enable and disable.

    "Declined" and "not accepted" are no opposites.
    """
    here, there = read(one), read(other)
    ours, theirs = set(map(stem, here.words)), set(map(stem, there.words))
    denied, denied_there = negated(here), negated(there)
    if bool(denied) != bool(denied_there):
        ours, theirs = ours - denied, theirs - denied_there
    if opposed(ours, theirs):
        return "one asks for the opposite"
    return None


def direction_differs(one: str, other: str) -> str | None:
    """The same words, two of them swapped: from A to B, from B to A."""
    if swapped(read(one), read(other)):
        return "the direction differs"
    return None


def name_differs(one: str, other: str) -> str | None:
    """A name, an identifier or an address that is nowhere in the other one."""
    if a_name_is_missing(read(one), read(other), _IN_SEVERAL_FORMS):
        return "a name differs"
    return None


def quotation_differs(one: str, other: str) -> str | None:
    """A quotation, or code in backticks, that is nowhere in the other one."""
    if a_quotation_is_missing(read(one), read(other)):
        return "a quotation differs"
    return None


def asked_differently(one: str, other: str) -> str | None:
    """One asks who, when, where, why or how many, and the other another of these."""
    if at_odds(asked_for(read(one).words), asked_for(read(other).words)):
        return "they ask for different things"
    return None


def topic_differs(one: str, other: str) -> str | None:
    """The same words but for one: safe for dogs, safe for cats."""
    if another_topic(read(one).words, read(other).words, _IN_SEVERAL_FORMS):
        return "what they are about differs"
    return None


VETOES: tuple[Veto, ...] = (
    negation_differs,
    number_differs,
    date_differs,
    unit_differs,
    opposite_asked,
    direction_differs,
    name_differs,
    quotation_differs,
    asked_differently,
    topic_differs,
)
"""All vetoes of this module."""


def differs(one: str, other: str, vetoes: Sequence[Veto] = VETOES) -> str | None:
    """Why the answer to one question must not be served for another one.

    For questions that are near by embedding: embeddings are nearly blind to a "not", a
    number or a name. What is found is reason enough; where nothing is found, the
    questions may still differ. Case, white space and punctuation at the end do not
    matter. Needs no model; about 0.2 ms for two questions of 100 characters.

    Args:
        one: A question.
        other: Another one. The order does not matter.
        vetoes: What is asked, in this order.

    Returns:
        The first reason, in a fixed phrase that has nothing of the questions in it;
        None where there is none. Of questions longer than 4,000 characters, the rest
        must be equal.
    """
    if one[LONGEST:].split() != other[LONGEST:].split():
        return "too long to compare"
    return next((why for veto in vetoes if (why := veto(one, other))), None)
