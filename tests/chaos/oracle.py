"""What must be true afterwards, computed from what was sent and from nothing else. Shares no code with the product."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from tests.chaos.stream import Sent

Name = tuple[str, str]


@dataclass(slots=True)
class Expected:
    """The one right outcome.

    Attributes:
        clusters: which submissions belong to one person, by the identifiers they share.
        submissions_by_channel_day: over all submissions.
        revenue_minor, quantity: by product.
        consents: by cluster, the choice in force for each purpose.
        gone: submissions of the erased, which nothing else speaks of any more.
    """

    clusters: set[frozenset[Name]] = field(default_factory=set)
    submissions_by_kind: Counter[str] = field(default_factory=Counter)
    submissions_by_channel_day: Counter[tuple[str, str]] = field(default_factory=Counter)
    orders: int = 0
    revenue_minor: Counter[str] = field(default_factory=Counter)
    quantity: Counter[str] = field(default_factory=Counter)
    new_buyers: Counter[str] = field(default_factory=Counter)
    returning_buyers: Counter[str] = field(default_factory=Counter)
    consents: dict[frozenset[Name], dict[str, str]] = field(default_factory=dict)
    gone: set[Name] = field(default_factory=set)


def expected(sent: Iterable[Sent], erased: Iterable[Sent] = ()) -> Expected:
    """The outcome that every run over these submissions must reach, whatever crashed on the way.

    Args:
        sent: of those who stay.
        erased: of those who were erased once all of theirs had come.
    """
    submissions = {each.name: each for each in sent}
    result = Expected(clusters=clusters(submissions.values()), gone={each.name for each in erased})
    for each in submissions.values():
        _count(each, result)
    for cluster in result.clusters:
        members = [submissions[name] for name in cluster]
        _count_buyer(members, result)
        result.consents[cluster] = _consents(members)
    return result


def clusters(sent: Collection[Sent]) -> set[frozenset[Name]]:
    """Who is one person: submissions that hang together by shared identifiers."""
    parent: dict[object, object] = {}

    def root(node: object) -> object:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    groups: defaultdict[object, set[Name]] = defaultdict(set)
    for each in sent:
        for identifier in _identifiers(each):
            parent[root(identifier)] = root(each.name)
    for each in sent:
        groups[root(each.name)].add(each.name)
    return {frozenset(group) for group in groups.values()}


def _identifiers(each: Sent) -> list[str]:
    fields = each.body.get("fields", {})
    found = [f"{identifier['type']}:{identifier['value']}" for identifier in each.body.get("identifiers", [])]
    return found + [f"{name}:{fields[name]}" for name in ("email", "phone") if name in fields]


def _day(each: Sent) -> str:
    return str(each.body["occurred_at"])[:10]


def _count(each: Sent, result: Expected) -> None:
    result.submissions_by_kind[each.body["kind"]] += 1
    result.submissions_by_channel_day[each.channel, _day(each)] += 1
    if "order" in each.body:
        result.orders += 1
        for line in each.body["order"]["lines"]:
            result.revenue_minor[line["product_code"]] += int(Decimal(line["amount"]) * 100)
            result.quantity[line["product_code"]] += line["quantity"]


def _count_buyer(members: list[Sent], result: Expected) -> None:
    months = {_day(each)[:7] for each in members if "order" in each.body}
    if months:
        first = min(months)
        result.new_buyers[first] += 1
        result.returning_buyers.update(months - {first})


def _consents(members: list[Sent]) -> dict[str, str]:
    state: dict[str, str] = {}
    for each in sorted(members, key=lambda each: str(each.body["occurred_at"])):
        for consent in each.body.get("consents", []):
            state[consent["purpose"]] = consent["state"]
    return state
