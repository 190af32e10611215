"""Pairs of words of which one turns an answer round."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from langchain_lean.caching.checking.words import stem

_PAIRS = """
enable activate reactivate allow permit unblock unfreeze unmute / disable deactivate forbid prohibit block freeze mute
on / off
in into / out
start begin launch resume / stop end finish pause quit
open opened opening / close closed closing shut
increase raise rise grow growth raising rising higher / decrease lower reduce fall drop shrink lowering falling
up upgrade / down downgrade
buy bought purchase / sell sold sale selling
before / after
min minimum least / max maximum most
minimum lowest smallest / maximum highest largest biggest
cheapest cheap cheaper / expensive priciest dearest
import / export
encrypt / decrypt
encode / decode
compress zip / decompress unzip
serialize / deserialize
upload / download
install / uninstall
subscribe resubscribe / unsubscribe
follow / unfollow
lock / unlock
with / without
include including included / exclude excluding excluded except
add insert append added adding / remove delete subtract removed removing
create / delete destroy
push / pull
read reading / write writing wrote written
send sent sending / receive received receiving
deposit / withdraw withdrawal withdrawing
lend lent lending / borrow borrowed borrowing
credit / debit
accept approve accepted approved / reject decline refuse deny rejected declined denied
win won winning / lose lost losing
gain gained gaining / lose lost losing
hot hottest warm warmest / cold coldest cool coolest
fast fastest faster quickest / slow slowest slower
best better / worst worse
good benefits advantages pros / bad drawbacks disadvantages cons risks
more / less fewer
first / last
over above / under below
inside indoor indoors / outside outdoor outdoors
left / right
north northern / south southern
east eastern / west western
old oldest older / new newest newer young youngest younger
long longest longer / short shortest shorter
big large largest bigger larger biggest / small smallest smaller
tall tallest highest / shortest lowest
early earliest earlier / late latest later
ascending asc / descending desc
horizontal horizontally / vertical vertically
sunrise / sunset
summer / winter
day / night
arrive arrival arriving / depart departure leave departing leaving
enter entering / exit exiting leave
public / private
positive / negative
true / false
male man men boy boys / female woman women girl girls
husband / wife
mother mom mum / father dad
brother / sister
son / daughter
employer / employee
landlord / tenant
plaintiff / defendant
parent parents / child children
input / output
client / server
internal / external
domestic / international
single / married
legal / illegal
plus + / minus -
multiply times × / divide ÷
> / <
attach / detach
connect / disconnect
mount / unmount
show reveal unhide / hide
expand / collapse
ally allies / enemy enemies
acid / base alkaline
liquid / solid gas
hypertension / hypotension
hyperthyroidism / hypothyroidism
hyperglycemia / hypoglycemia
arteries artery / veins vein
viral virus / bacterial bacteria
marriage marry / divorce
hire hiring / fire firing
earn / spend
give giving / take taking
teach teaching / learn learning
lossy / lossless
static / dynamic
synchronous sync / asynchronous async
"""  # noqa: E501 - one pair of sides a line

_INTO_TWO = [tuple(line.split(" / ")) for line in _PAIRS.strip().splitlines()]
_SIDES = [
    (frozenset(map(stem, one.split())), frozenset(map(stem, other.split())))
    for one, other in _INTO_TWO
]
_KNOWN = frozenset().union(*(side for sides in _SIDES for side in sides))


def opposed(one: AbstractSet[str], other: AbstractSet[str]) -> bool:
    """Whether one set of stems has a word, and the other one its opposite alone."""
    one, other = one & _KNOWN, other & _KNOWN
    if not one or not other or one == other:
        return False
    return any(
        (_only(one, left, right) and _only(other, right, left))
        or (_only(one, right, left) and _only(other, left, right))
        for left, right in _SIDES
    )  # fmt: skip


def _only(
    stems: AbstractSet[str], side: AbstractSet[str], back: AbstractSet[str]
) -> bool:
    return not stems.isdisjoint(side) and stems.isdisjoint(back)
