"""The decision about one batch: pure, from what was read to what is written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from uuid import UUID

from services.dedup.domain.clustering import Clustering, cluster
from services.dedup.domain.model import Entity, MatchingKey, Placed, Rules, Signature, generic_tokens
from services.dedup.domain.resolution import Cluster, Move, Plan, plan
from services.dedup.ports import DecidedEntity, Decision, FoundedEntity, SourceRecord
from services.dedup.use_cases.component import Component
from shared.contracts import ids
from shared.contracts.submission import Submission


@dataclass(frozen=True)
class Known:
    """What a batch read before it decides.

    Attributes:
        placed: stored signatures that records of the batch repeat.
        component: what the batch's new signatures hang together with.
        entities: every customer of both.
    """

    placed: Mapping[bytes, Placed]
    component: Component
    entities: Mapping[UUID, Entity]


@dataclass
class BatchDecision:
    """Where every record of a batch belongs, and what follows for those who were there before.

    All new signatures of the batch are taken at once: the result is a function of the set of records, so the order within a batch
    cannot matter, nor can the cut of a stream into batches.
    """

    records: Sequence[tuple[Submission, Signature]]
    known: Known
    rules: Rules
    at: datetime

    @cached_property
    def new(self) -> dict[bytes, tuple[Signature, UUID]]:
        """New signatures with the submission that founds each."""
        founders: dict[bytes, tuple[Signature, UUID]] = {}
        for submission, signature in self.records:
            if signature.id not in self.known.placed:
                founders.setdefault(signature.id, (signature, submission.submission_id))
        return founders

    @cached_property
    def generic(self) -> frozenset[bytes]:
        """Tokens over their limit, the batch's signatures included."""
        return generic_tokens(self._signatures, self.rules) | self.known.component.generic

    @property
    def _signatures(self) -> list[Signature]:
        old = (each.signature for each in self.known.component.placed.values())
        return [*old, *(signature for signature, _ in self.new.values())]

    @cached_property
    def clustering(self) -> Clustering:
        """Who is one person, of all that the new signatures may concern."""
        return cluster(self._signatures, self.rules, self.generic)

    @cached_property
    def plan(self) -> Plan:
        """Which customer each cluster is."""
        return plan([self._cluster(members) for members in self.clustering.clusters], self._component_entities)

    @property
    def _component_entities(self) -> dict[UUID, Entity]:
        return {each.customer: self.known.entities[each.customer] for each in self.known.component.placed.values()}

    def _cluster(self, members: Sequence[Signature]) -> Cluster:
        old = tuple(self.known.component.placed[each.id] for each in members if each.id not in self.new)
        new = tuple(each for each in members if each.id in self.new)
        if new:
            return Cluster(old, new, ids.customer_id(min(self.new[each.id][1] for each in new)))
        # Split off from a customer that goes on elsewhere: a number that never repeats makes an id that never did.
        number = 1 + max(entity.version for entity in self._component_entities.values())
        return Cluster(old, (), ids.event_id(old[0].customer, f"apart:{old[0].founder}:{number}"))

    @cached_property
    def customer_of(self) -> dict[bytes, UUID]:
        """Customer by signature id, after the decision."""
        placed = {each.signature.id: each.customer for each in self.known.placed.values()}
        for members, customer in zip(self.clustering.clusters, self.plan.customers, strict=True):
            placed |= dict.fromkeys((each.id for each in members), customer)
        return placed

    @cached_property
    def versions(self) -> dict[UUID, int]:
        """Version by customer, after the decision: raised for whom a move touches."""
        versions = dict.fromkeys(self.plan.customers, 1) | {each.id: each.version for each in self.known.entities.values()}
        for move in self.plan.moves:
            versions[move.source] = versions[move.target] = self.plan.assignment
        return versions

    @cached_property
    def resolved(self) -> list[tuple[SourceRecord, bool]]:
        """Every record with its customer, and whether its identifiers were new to the store."""
        seen, shared = set(self.known.placed), self._shared_types
        result = []
        for submission, signature in self.records:
            customer, first = self.customer_of[signature.id], signature.id not in seen
            matched = shared(signature) if first else _types(signature)
            seen.add(signature.id)
            record = SourceRecord(submission, customer, self.versions[customer], self.founder_of(signature), matched)
            result.append((record, first))
        return result

    def founder_of(self, signature: Signature) -> UUID:
        """The submission that brought this signature first."""
        placed = self.known.placed.get(signature.id)
        return placed.founder if placed else self.new[signature.id][1]

    def _shared_types(self, signature: Signature) -> tuple[str, ...]:
        """Types of the keys that others of the customer bear as well."""
        borne = self._bearers_by_customer[self.customer_of[signature.id]]
        return tuple(sorted({key.type for key in signature.keys if borne[key] > 1}))

    @cached_property
    def _bearers_by_customer(self) -> dict[UUID, Counter[MatchingKey]]:
        counts: dict[UUID, Counter[MatchingKey]] = defaultdict(Counter)
        for members, customer in zip(self.clustering.clusters, self.plan.customers, strict=True):
            counts[customer].update(key for each in members for key in each.keys)
        return counts

    def store(self, moved_submissions: Mapping[Move, int]) -> Decision:
        """What is written; `moved_submissions` counts the stored submissions of each move."""
        decision = Decision(self.at, [record for record, _ in self.resolved])
        decision.founded_signatures = [self._founded(signature, founder) for signature, founder in self.new.values()]
        decision.moved_signatures = [self._moved(each, move) for move in self.plan.moves for each in move.signatures]
        decision.identifiers = self._identifiers()
        self._entities(decision, moved_submissions)
        return decision

    def _founded(self, signature: Signature, founder: UUID) -> Placed:
        customer = self.customer_of[signature.id]
        return Placed(signature, customer, founder, self.versions[customer])

    def _moved(self, placed: Placed, move: Move) -> Placed:
        return replace(placed, customer=move.target, assignment=self.plan.assignment)

    def _identifiers(self) -> list[tuple[MatchingKey, bool, bool]]:
        """Every key a new signature bears, unless it is generic already: such a key decides nothing, and many writers would meet there."""
        keys = sorted({key for signature, _ in self.new.values() for key in signature.keys})
        contested = self.clustering.contested
        return [(key, key.token in self.generic, key.token in contested) for key in keys if key.token not in self.known.component.generic]

    def _entities(self, decision: Decision, moved_submissions: Mapping[Move, int]) -> None:
        gained = Counter(record.customer for record in decision.records)
        heirs = {move.source: move.target for move in self.plan.moves if move.absorbed}
        for move, count in moved_submissions.items():
            gained[move.target] += count
            gained[move.source] -= count
        for customer in sorted({*self.known.entities, *self.plan.customers}, key=lambda each: each.bytes):
            version, count = self.versions[customer], gained[customer]
            if customer in self.known.entities:
                decision.decided.append(DecidedEntity(customer, version, count, heirs.get(customer)))
            else:
                decision.founded.append(FoundedEntity(customer, version, count, self._first_founders[customer]))

    @cached_property
    def _first_founders(self) -> dict[UUID, UUID]:
        """The lowest founder by customer."""
        old, new = self.known.component.placed, self.new
        clusters = zip(self.clustering.clusters, self.plan.customers, strict=True)
        return {holder: min(old[each.id].founder if each.id in old else new[each.id][1] for each in members) for members, holder in clusters}

    def cause_of(self, target: UUID) -> tuple[UUID, tuple[str, ...]]:
        """The submission that led to moves into `target`, and what it matched on."""
        first = {signature.id for signature, _ in self.new.values()}
        records = [(record, signature) for (record, _), (_, signature) in zip(self.resolved, self.records, strict=True) if signature.id in first]
        record = next((record for record, _ in records if record.customer == target), records[0][0])
        return record.submission.submission_id, record.matched


def _types(signature: Signature) -> tuple[str, ...]:
    return tuple(sorted({key.type for key in signature.keys}))
