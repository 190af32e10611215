"""What the caching benchmark asks: questions of bank customers, and many like them."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LEAN_DATA", ROOT.parent / "shared" / "data"))
BANKING = DATA / "cache" / "banking77.jsonl"

NAMES = ("Ada", "Bram", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Jun", "Kofi")
CITIES = ("Oslo", "Porto", "Lyon", "Ghent", "Turin", "Krakow", "Izmir", "Cork", "Graz")
MONTHS = ("January", "March", "April", "June", "August", "October", "December")
CURRENCIES = ("euros", "dollars", "pounds", "francs", "kroner", "lira")
BEFORE = (
    "",
    "Hi, this is {name}.",
    "Good morning, {name} from {city} here.",
    "I paid {amount} {currency} on {day} {month}.",
    "I am travelling to {city} in {month}.",
    "My customer number is {number}.",
)
AFTER = (
    "",
    "It is about {amount} {currency}.",
    "I ask for {name}, who lives in {city}.",
    "The reference is {number}.",
    "This was on {day} {month}.",
    "Please answer before {day} {month}, I leave for {city} then.",
)

WORDINGS = (
    ("how do i", "what do i do to"),
    ("can i", "is it possible for me to"),
    ("why", "for what reason"),
    ("what is", "tell me"),
    ("my", "the"),
    ("i ", "we "),
)


class Row(NamedTuple):
    """A question of a customer.

    Attributes:
        text: What the customer asked.
        intent: What it is about; questions of one intent have one answer.
    """

    text: str
    intent: str


def banking77() -> list[Row]:
    """The rows of banking77, those of an intent one after the other."""
    with BANKING.open(encoding="utf-8") as lines:
        return [Row(**json.loads(line)) for line in lines]


def questions(count: int) -> list[str]:
    """Distinct questions, the same ones every time; fewer are the first of more.

    The rows come first, shuffled, and then again and again with other names, numbers,
    dates and amounts around them.
    """
    return list(islice(_distinct(), count))


def reworded(question: str) -> str:
    """The question in other words, as far as a few replacements go."""
    text = question.casefold()
    for usual, other in WORDINGS:
        text = text.replace(usual, other)
    return text if text != question.casefold() else f"one more thing, {text}"


def _distinct() -> Iterator[str]:
    seen = set()
    for question in _variations():
        if question not in seen:
            seen.add(question)
            yield question


def _variations() -> Iterator[str]:
    chance = random.Random(77)
    texts = [row.text for row in banking77()]
    chance.shuffle(texts)
    yield from texts
    while True:
        for text in texts:
            before, after = chance.choice(BEFORE), chance.choice(AFTER)
            told = {
                "name": chance.choice(NAMES),
                "city": chance.choice(CITIES),
                "month": chance.choice(MONTHS),
                "currency": chance.choice(CURRENCIES),
                "day": chance.randint(1, 28),
                "amount": chance.randint(5, 2_000),
                "number": chance.randint(10_000, 99_999),
            }
            parts = (before.format(**told), text, after.format(**told))
            yield " ".join(part for part in parts if part)
