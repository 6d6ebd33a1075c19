"""Which customer each cluster is: ids survive where they can, and every change is a move with a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.dedup.domain.model import Entity, Placed, Signature


@dataclass(frozen=True, slots=True)
class Cluster:
    """One person by the rules.

    Attributes:
        old: signatures that were stored before, sorted by id.
        new: signatures of this batch, sorted by id.
        founding_id: the customer id to take if no present customer goes on here.
    """

    old: tuple[Placed, ...]
    new: tuple[Signature, ...]
    founding_id: UUID


@dataclass(frozen=True, slots=True)
class Move:
    """These signatures, and so all their submissions, go from one customer to another."""

    source: UUID
    target: UUID
    signatures: tuple[Placed, ...]
    absorbed: bool
    """The source is nobody's any more and becomes an alias of the target."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a component.

    Attributes:
        customers: the customer of each cluster, in the order given.
        moves: sorted by source and target; empty if everybody stays.
        assignment: the number of all moves: 1 + the highest version of every customer of the component.
    """

    customers: tuple[UUID, ...]
    moves: tuple[Move, ...]
    assignment: int


def plan(clusters: Sequence[Cluster], entities: Mapping[UUID, Entity]) -> Plan:
    """Lets each customer live on in one cluster and moves the rest there.

    The customer with most submissions chooses first (then the one with the lower id, as there is no better reason), and chooses the
    cluster that holds most of its signatures. A cluster that no customer chose is a new customer.
    """
    chosen = _choose(clusters, entities)
    customers = tuple(chosen.get(number, each.founding_id) for number, each in enumerate(clusters))
    kept = set(chosen.values())
    moves = sorted(_moves(zip(clusters, customers, strict=True), kept), key=lambda move: (move.source.bytes, move.target.bytes))
    return Plan(customers, tuple(moves), 1 + max((each.version for each in entities.values()), default=0))


def _choose(clusters: Sequence[Cluster], entities: Mapping[UUID, Entity]) -> dict[int, UUID]:
    claims = sorted(
        (-entities[customer].submissions, customer.bytes, -count, number, customer)
        for number, each in enumerate(clusters)
        for customer, count in _holders(each).items()
    )
    chosen: dict[int, UUID] = {}
    placed: set[UUID] = set()
    for *_, number, customer in claims:
        if number not in chosen and customer not in placed:
            chosen[number] = customer
            placed.add(customer)
    return chosen


def _holders(cluster: Cluster) -> dict[UUID, int]:
    counts: dict[UUID, int] = {}
    for each in cluster.old:
        counts[each.customer] = counts.get(each.customer, 0) + 1
    return counts


def _moves(placed: Iterable[tuple[Cluster, UUID]], kept: set[UUID]) -> Iterable[Move]:
    leaving: dict[tuple[UUID, UUID], list[Placed]] = {}
    for cluster, target in placed:
        for each in cluster.old:
            if each.customer != target:
                leaving.setdefault((each.customer, target), []).append(each)
    for (source, target), signatures in leaving.items():
        yield Move(source, target, tuple(signatures), absorbed=source not in kept and target == _heir(source, leaving))


def _heir(source: UUID, leaving: Mapping[tuple[UUID, UUID], Sequence[Placed]]) -> UUID:
    """Of a customer that falls apart and is nobody's any more: where most of it went; its id becomes an alias of that."""
    goes = {target: len(signatures) for (leaver, target), signatures in leaving.items() if leaver == source}
    return min(goes, key=lambda target: (-goes[target], target.bytes))
