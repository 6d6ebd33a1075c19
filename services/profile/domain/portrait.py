"""The fold: a customer is the sum of its contributions.

A portrait is a commutative monoid: `blank` is its zero and `merge` its sum, so folding in any order, in any batches or
from any stored state gives the same portrait. Taking something away is not an operation: it means folding again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import reduce

from services.profile.domain.contribution import Content
from services.profile.domain.golden import Claim, Golden, Standings, Value, choose, combine_all, standing


@dataclass(frozen=True, slots=True)
class Tally:
    """What is counted from the clear envelopes.

    Attributes:
        kinds: contributions by submission kind.
        order_count: transactions with at least one order line.
        revenue_minor: sum of order lines by currency, in its smallest unit.
    """

    kinds: Mapping[str, int] = field(default_factory=dict)
    order_count: int = 0
    revenue_minor: Mapping[str, int] = field(default_factory=dict)
    first_on: date | None = None
    last_on: date | None = None


@dataclass(frozen=True, slots=True)
class Likeness:
    """What is known from opened bodies.

    Attributes:
        standings: by field name.
        tokens: blind index tokens that the customer can be looked up by.
    """

    standings: Mapping[str, Standings] = field(default_factory=dict)
    tokens: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Portrait:
    """All that a customer's contributions amount to."""

    tally: Tally = Tally()
    likeness: Likeness = Likeness()


BLANK = Portrait()


def tally_of(contents: Iterable[Content]) -> Tally:
    """The tally of these contributions, in any order."""
    kinds: Counter[str] = Counter()
    revenue: Counter[str] = Counter()
    orders, days = 0, []
    for content in contents:
        kinds[content.kind] += 1
        days.append(content.occurred_on)
        orders += bool(content.order_lines)
        for line in content.order_lines:
            revenue[line.currency] += line.amount_minor
    if not days:
        return Tally()
    return Tally(dict(kinds), orders, dict(revenue), min(days), max(days))


def likeness_of(fields: Mapping[str, Value], source: Claim, tokens: frozenset[bytes]) -> Likeness:
    """What one opened body says.

    Args:
        source: who said it and when; its own value is not looked at.
    """
    claims = {name: Claim(value, source.submission_id, source.channel_id, source.trust, source.occurred_at) for name, value in fields.items()}
    return Likeness({name: {claim.value: standing(claim)} for name, claim in claims.items()}, tokens)


def merge(one: Portrait, other: Portrait) -> Portrait:
    """The portrait of two disjoint sets of contributions together."""
    return Portrait(merge_tallies(one.tally, other.tally), merge_likenesses(one.likeness, other.likeness))


def merge_tallies(one: Tally, other: Tally) -> Tally:
    """Two tallies together."""
    firsts = [day for day in (one.first_on, other.first_on) if day is not None]
    lasts = [day for day in (one.last_on, other.last_on) if day is not None]
    return Tally(
        _added(one.kinds, other.kinds),
        one.order_count + other.order_count,
        _added(one.revenue_minor, other.revenue_minor),
        min(firsts, default=None),
        max(lasts, default=None),
    )


def merge_likenesses(one: Likeness, other: Likeness) -> Likeness:
    """Two likenesses together."""
    standings = dict(one.standings)
    for name, found in other.standings.items():
        standings[name] = combine_all(standings.get(name, {}), found)
    return Likeness(standings, one.tokens | other.tokens)


def likeness_together(likenesses: Iterable[Likeness]) -> Likeness:
    """Any number of likenesses together."""
    return reduce(merge_likenesses, likenesses, Likeness())


def golden_record(standings: Mapping[str, Standings], rules: Mapping[str, str], default_rule: str = "most_recent") -> dict[str, Golden]:
    """The believed value of every field.

    Args:
        rules: survivorship rule by field name, from the catalogue.
        default_rule: for a field that the catalogue no longer declares.
    """
    return {name: choose(found, rules.get(name, default_rule)) for name, found in sorted(standings.items())}


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    if not other:
        return one
    together = dict(one)
    for name, number in other.items():
        together[name] = together.get(name, 0) + number
    return together
