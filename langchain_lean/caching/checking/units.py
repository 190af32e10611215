"""The units and currencies of a question."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from langchain_lean.caching.checking.facts import Facts
from langchain_lean.caching.checking.words import word_table

_UNITS = word_table(
    """
    km kms kilometer kilometers kilometre kilometres
    mile miles mi
    meter meters metre metres
    cm cms centimeter centimeters centimetre centimetres
    mm millimeter millimeters millimetre millimetres
    inch inches
    foot feet ft
    yard yards
    kg kgs kilo kilos kilogram kilograms
    gram grams
    mg milligram milligrams
    mcg microgram micrograms µg μg
    lb lbs
    ounce ounces oz
    ton tons tonne tonnes
    ml milliliter milliliters millilitre millilitres
    liter liters litre litres
    gallon gallons
    cup cups
    tablespoon tablespoons tbsp
    teaspoon teaspoons tsp
    celsius centigrade
    fahrenheit
    kelvin
    mph
    kmh kph
    kb kilobyte kilobytes
    mb megabyte megabytes
    gb gigabyte gigabytes
    tb terabyte terabytes
    watt watts
    kw kilowatt kilowatts
    kwh
    hectare hectares
    acre acres
    % percent
    $ usd dollar dollars bucks
    € eur euro euros
    £ gbp sterling pound pounds quid
    ¥ jpy yen
    ₹ inr rupee rupees
    ₩ krw
    ₽ rub ruble rubles rouble roubles
    chf
    cny rmb yuan renminbi
    aud
    cad
    sek
    nok
    dkk
    pln zloty
    czk
    huf
    mxn peso pesos
    brl
    zar
    btc bitcoin bitcoins
    eth ethereum ether
    """
)
_AFTER_A_NUMBER = word_table(
    """
    meter m
    gram g
    liter l
    celsius c
    fahrenheit f
    watt w
    """
)
_MARKS = frozenset(_AFTER_A_NUMBER) | {"cent"}
_TIMES = word_table(
    """
    second seconds secs sec
    minute minutes mins min
    hour hours hourly hrs hr
    day days daily
    week weeks weekly
    month months monthly
    quarter quarters quarterly
    year years yearly annual annually yr yrs
    """
)
_PARTS_OF_A_DAY = word_table(
    """
    morning mornings
    afternoon afternoons
    evening evenings
    night nights tonight
    """
)

SYMBOLS = frozenset(_UNITS)
"""The words that name a unit or a currency."""


def units(words: Sequence[str]) -> Facts:
    """The units and currencies among words. "$", "USD" and "dollars" are equal."""
    found = {_UNITS[word] for word in words if word in _UNITS}
    if _MARKS.isdisjoint(words):
        return Facts(found)
    for word, following in pairwise(words):
        if (following in _AFTER_A_NUMBER and word[-1].isdigit()) or (
            word == "°" and following in ("c", "f")
        ):
            found.add(_AFTER_A_NUMBER[following])
        elif word == "per" and following == "cent":
            found.add("%")
    return Facts(found)


def spans(words: Sequence[str]) -> set[str]:
    """The spans of time among words: "daily" is "day"."""
    return {_TIMES[word] for word in words if word in _TIMES}


def parts_of_a_day(words: Sequence[str]) -> set[str]:
    """Morning, afternoon, evening and night."""
    return {_PARTS_OF_A_DAY[word] for word in words if word in _PARTS_OF_A_DAY}
