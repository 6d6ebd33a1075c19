"""A small world for profile's tests: dedup's events by hand, keys in memory, and a store in memory that passed the contract suite."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import msgspec

from services.profile.domain.contribution import Contribution
from services.profile.domain.customer import Customer
from services.profile.ports import Arrival, Changes, ClosedKey, Filler, Mark
from services.profile.use_cases.apply_identities import ApplyIdentities
from services.profile.use_cases.fold_customers import FoldCustomers
from services.profile.use_cases.likeness import LikenessReader, LikenessSealer, open_golden
from services.profile.use_cases.mark_pass import MarkPass
from shared.contracts.dedup import SubmissionResolved, SubmissionsErased, SubmissionsMoved
from shared.contracts.event import Event, Outgoing
from shared.contracts.ids import event_id
from shared.contracts.submission import BODY_VERSION, Contact, Identifier, OrderLine, Submission, SubmissionBody
from shared.sealing import BlindIndex, DataKey, MemoryKeyProvider, body_aad
from shared.storage import DuplicateKey

RULES = {"name": "most_trusted", "phone": "most_recent", "city": "most_complete"}
PARTITIONS = 4
START = datetime(2026, 1, 1, tzinfo=UTC)


def uid(name: str) -> UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, name)


def partition_of(key: bytes) -> int:
    return key[0] % PARTITIONS


class MemoryKeys:
    """`ports.Keys` over a dict."""

    def __init__(self) -> None:
        self.known: dict[UUID, DataKey | None] = {}

    async def open(self, key_ids: Iterable[UUID]) -> Mapping[UUID, DataKey | None]:
        return {key_id: self.known[key_id] for key_id in key_ids}

    async def create(self, key_ids: Sequence[UUID]) -> Mapping[UUID, DataKey]:
        for key_id in key_ids:
            assert key_id not in self.known, "a key id is used once"
            self.known[key_id] = DataKey(os.urandom(32))
        return {key_id: key for key_id in key_ids if (key := self.known[key_id]) is not None}

    def destroy(self, *key_ids: UUID) -> None:
        self.known.update(dict.fromkeys(key_ids))


class MemoryStore:
    """`ports.Snapshot` over dicts; `apply` is the commit."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Contribution] = {}
        self.people: dict[UUID, Customer] = {}
        self.dirty: dict[tuple[UUID, UUID], Mark] = {}
        self.closed: dict[UUID, ClosedKey] = {}
        self.waiting: dict[UUID, Filler] = {}

    async def contributions(self, submission_ids: Iterable[UUID]) -> dict[UUID, Contribution]:
        return {each: replace(self.rows[each], content=None) for each in submission_ids if each in self.rows}

    async def present(self, customers: Iterable[UUID], submission_ids: Iterable[UUID]) -> list[Contribution]:
        holders, named = set(customers), set(submission_ids)
        return [row for row in self.rows.values() if row.is_present and (row.customer in holders or row.submission_id in named)]

    async def customers(self, customer_ids: Iterable[UUID]) -> dict[UUID, Customer]:
        return {each: self.people[each] for each in customer_ids if each in self.people}

    async def marks(self, partition: int) -> list[Mark]:
        return [mark for mark in self.dirty.values() if mark.partition == partition]

    async def closed_keys_of(self, customer: UUID) -> list[ClosedKey]:
        return [key for key in self.closed.values() if key.customer == customer]

    async def reportable_keys(self, partition: int) -> list[ClosedKey]:
        return [key for key in self.closed.values() if key.partition == partition]

    async def fillers(self, partition: int, now: datetime) -> list[Filler]:
        return [filler for filler in self.waiting.values() if filler.partition == partition and filler.due_at <= now]

    async def apply(self, changes: Changes) -> None:
        if any(before is None and submission_id in self.rows for submission_id, (before, _) in changes.contributions.items()):
            raise DuplicateKey
        for submission_id, (before, after) in changes.contributions.items():
            content = after.content
            if after.is_present and content is None and before is not None:
                content = self.rows[submission_id].content
            self.rows[submission_id] = replace(after, content=content)
        for before, after in changes.customers:
            assert self.people.get(after.customer_id, before).version == before.version
            self.people[after.customer_id] = after
        for key, mark in changes.marks_made.items():
            self.dirty.setdefault(key, mark)
        for mark in changes.marks_done:
            del self.dirty[mark.customer, mark.cause]
        for closed in changes.keys_closed:
            self.closed[closed.key_id] = closed
        self.waiting.update({filler.customer: filler for filler in changes.fillers_made})
        for filler in changes.fillers_done:
            del self.waiting[filler.customer]
        for closed in changes.keys_reported:
            del self.closed[closed.key_id]


class World:
    """Makes events and runs them through the use cases."""

    def __init__(self) -> None:
        self.keys, self.store = MemoryKeys(), MemoryStore()
        self.index = BlindIndex(MemoryKeyProvider())
        fold = FoldCustomers(LikenessReader(self.index), LikenessSealer(RULES), partition_of)
        self.now = START
        self.apply_identities = ApplyIdentities(fold, partition_of, lambda: self.now)
        self.mark_pass = MarkPass(fold, lambda: self.now)
        self.published: list[Outgoing] = []

    async def deliver(self, *events: Event) -> None:
        """One batch for each partition, in partition order."""
        by_partition: dict[int, list[Arrival]] = {}
        for event in events:
            by_partition.setdefault(partition_of(key_of(event)), []).append(arrival(event))
        for partition, arrivals in sorted(by_partition.items()):
            await self.commit(await self.apply_identities(arrivals, {partition}, self.store, self.keys))

    async def deliver_joined(self, *events: Event) -> None:
        """One batch of all partitions, and one for each if an id turns out to be taken, as the worker does it."""
        arrivals = [arrival(event) for event in sorted(events, key=lambda event: partition_of(key_of(event)))]
        known = dict(self.keys.known)
        try:
            await self.commit(await self.apply_identities(arrivals, set(range(PARTITIONS)), self.store, self.keys, assume_new=True))
        except DuplicateKey:
            self.keys.known = known  # made in the transaction that failed
            await self.deliver(*events)

    async def settle(self) -> None:
        """Mark passes over all partitions until nothing is left."""
        while True:
            passes = [await self._pass(partition) for partition in range(PARTITIONS)]
            if not any(passes):
                return

    async def _pass(self, partition: int) -> bool:
        changes = await self.mark_pass(partition, self.store, self.keys)
        if changes is not None:
            await self.commit(changes)
        return changes is not None

    async def commit(self, changes: Changes) -> None:
        await self.store.apply(changes)
        self.published += list(changes.events)

    def submission(
        self, name: str, *, trust: int = 50, day: int = 0, fields: Mapping[str, str] | None = None, amount: int | None = None
    ) -> Submission:
        """A submission whose key exists; phone and e-mail fields are identifiers as well."""
        fields = dict(fields or {})
        submission_id = uid(name)
        key = self.keys.known.setdefault(submission_id, DataKey(os.urandom(32)))
        assert key is not None
        body = SubmissionBody(
            occurred_at=START + timedelta(days=day),
            identifiers=tuple(Identifier(kind, value) for kind, value in fields.items() if kind in ("phone", "email")),
            fields=dict(fields),
            contact=Contact(medium="phone", text="call 13800138000 back") if amount is None and not fields else None,
        )
        return Submission(
            submission_id=submission_id,
            kind="profile" if fields else "contact" if amount is None else "transaction",
            channel_id="web",
            channel_kind="form",
            channel_trust=trust,
            received_on=date(2026, 1, 1) + timedelta(days=day),
            occurred_on=date(2026, 1, 1) + timedelta(days=day),
            has_fields=bool(fields),
            order_lines=() if amount is None else (OrderLine(product_code="p", quantity=1, amount_minor=amount, currency="CNY"),),
            sealed=key.seal(msgspec.json.encode(body), body_aad(submission_id, BODY_VERSION)),
        )

    def golden(self, customer: UUID) -> dict[str, object]:
        """The golden values of a customer."""
        known = self.store.people[customer]
        record = open_golden(known, self.keys.known[known.key_id]) if known.key_id else None
        return {name: (found.value, found.submission_id, found.alternatives) for name, found in record.fields.items()} if record else {}

    def golden_bytes(self, customer: UUID) -> bytes:
        known = self.store.people[customer]
        return known.golden_sealed + known.standings_sealed

    def portrait(self, customer: UUID) -> tuple[object, ...]:
        """All that must not depend on order and batches."""
        known = self.store.people[customer]
        return known.state, known.alias_of, known.tally, known.tokens, known.fields, tuple(sorted(self.golden(customer).items()))


def resolved(customer: UUID, submission: Submission, assignment: int = 1) -> SubmissionResolved:
    return SubmissionResolved(customer_id=customer, assignment=assignment, submission=submission)


def moved(
    loser: UUID, winner: UUID, submissions: Sequence[UUID], assignment: int, *, absorbed: bool = True
) -> tuple[SubmissionsMoved, SubmissionsMoved]:
    """The losing and the gaining part."""
    merge, ids = uid(f"merge-{assignment}-{loser}"), tuple(submissions)
    lost = SubmissionsMoved(
        merge_id=merge,
        customer_id=loser,
        counterpart_id=winner,
        direction="lost",
        assignment=assignment,
        submission_ids=ids,
        absorbed=absorbed,
        part=1,
        parts=1,
    )
    gained = SubmissionsMoved(
        merge_id=merge, customer_id=winner, counterpart_id=loser, direction="gained", assignment=assignment, submission_ids=ids, part=1, parts=1
    )
    return lost, gained


def erased(customer: UUID, submissions: Sequence[UUID], aliases: Sequence[UUID] = ()) -> SubmissionsErased:
    return SubmissionsErased(
        request_id=uid("request"), customer_id=customer, alias_ids=tuple(aliases), submission_ids=tuple(submissions), part=1, parts=1
    )


def key_of(event: Event) -> bytes:
    customer: UUID = event.customer_id  # type: ignore[attr-defined]
    return customer.bytes


def arrival(event: Event) -> Arrival:
    return Arrival(event, event_id(uid(type(event).type), str(hash_of(event))))


def hash_of(event: Event) -> str:
    return msgspec.json.encode(event).hex()
