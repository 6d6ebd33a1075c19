"""Survivorship: which value of a field is believed, and what is remembered so that the answer never depends on order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Claim:
    """One source's value for a field.

    Attributes:
        trust: the channel's trust, 0 to 100.
        occurred_at: aware, UTC.
    """

    value: Value
    submission_id: UUID
    channel_id: str
    trust: int
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that is remembered of one value of a field.

    Attributes:
        support: how many submissions say so.
        trusted: the claim that a rule by trust would name.
        recent: the claim that a rule by time would name.
    """

    support: int
    trusted: Claim
    recent: Claim


Standings = Mapping[Value, Standing]
Rank = tuple[int | datetime | UUID, ...]


def by_trust(claim: Claim) -> Rank:
    """Higher trust first, then the later, then the greater submission id, so that no two claims tie."""
    return claim.trust, claim.occurred_at, claim.submission_id


def by_time(claim: Claim) -> Rank:
    """The later first, then higher trust, then the greater submission id."""
    return claim.occurred_at, claim.trust, claim.submission_id


@dataclass(frozen=True, slots=True)
class Golden:
    """The believed value of one field and where it came from.

    Attributes:
        claim: the value with its source.
        alternatives: how many other values were claimed.
    """

    claim: Claim
    alternatives: int


def standing(claim: Claim) -> Standing:
    """What one claim alone amounts to."""
    return Standing(1, claim, claim)


def combine(one: Standing, other: Standing) -> Standing:
    """Two standings of one value together; commutative and associative."""
    return Standing(one.support + other.support, max(one.trusted, other.trusted, key=by_trust), max(one.recent, other.recent, key=by_time))


def combine_all(one: Standings, other: Standings) -> Standings:
    """The standings of a field from two disjoint sets of submissions."""
    if not other:
        return one
    together = dict(one)
    for value, found in other.items():
        known = together.get(value)
        together[value] = found if known is None else combine(known, found)
    return together


def most_trusted(standings: Iterable[Standing]) -> Claim:
    """The claim of the most trusted channel; among equals the most recent."""
    return max((s.trusted for s in standings), key=by_trust)


def most_recent(standings: Iterable[Standing]) -> Claim:
    """The latest claim; among equals the most trusted."""
    return max((s.recent for s in standings), key=by_time)


def most_frequent(standings: Iterable[Standing]) -> Claim:
    """The value that most submissions agree on; among equals the one claimed last."""
    return max(standings, key=lambda s: (s.support, by_time(s.recent))).recent


def most_complete(standings: Iterable[Standing]) -> Claim:
    """The longest value as text; among equals the one claimed last."""
    return max(standings, key=lambda s: (len(str(s.recent.value)), by_time(s.recent))).recent


Rule = Callable[[Iterable[Standing]], Claim]
RULES: Mapping[str, Rule] = {"most_trusted": most_trusted, "most_recent": most_recent, "most_frequent": most_frequent, "most_complete": most_complete}


def choose(standings: Standings, rule: str) -> Golden:
    """The value that survives.

    Args:
        standings: of one field, not empty.
        rule: a key of `RULES`, as the catalogue names it.

    Raises:
        KeyError: no such rule.
    """
    return Golden(RULES[rule](standings.values()), len(standings) - 1)
