"""The only file that knows profile's documents.

contributions {_id: submission id, customer, assignment, state, kind, channel, channel_kind, trust, received, occurred, lines,
               has_fields, new_identifiers, body_version, sealed, applied_at, applied_version}
customers     {_id: customer id, version, state, alias_of, decided, epoch, key, kinds, orders, revenue, first, last,
               standings, golden, fields, tokens}
dirty_marks   {_id: customer id + cause, partition, gained, erasure}
closed_keys   {_id: key id, customer, partition}
fillers       {_id: customer id, partition, due_at}
reads         {at, principal, customers, what, fields, unmasked}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.profile.documents import (
    contribution_document,
    contribution_from,
    customer_document,
    customer_from,
    mark_document,
    mark_from,
    mark_id,
)
from services.profile.domain.contribution import Contribution, State
from services.profile.domain.customer import Customer
from services.profile.ports import Changes, ClosedKey, Filler, Mark, ReadEntry
from shared.contracts.topics import IDENTITIES
from shared.failpoints import failpoint
from shared.storage import DeleteMany, Document, InsertOne, ReplaceOne, Store, Transaction, UpdateMany, UpdateOne, WriteOperation

CONTRIBUTIONS = "contributions"
CUSTOMERS = "customers"
DIRTY_MARKS = "dirty_marks"
CLOSED_KEYS = "closed_keys"
FILLERS = "fillers"
READS = "reads"
OUTBOX = "outbox"

MARKS_MAX = 1_000
"""Marks that one pass takes; what is left waits for the next second."""

_BEHIND_ANY_CAUSE = b"\xff" * 17
_PLACE = {"customer": 1, "assignment": 1, "state": 1}


class MongoSnapshot:
    """`ports.Snapshot` on one transaction."""

    def __init__(self, store: Store, transaction: Transaction | None, group: str = "profile") -> None:
        self._store = store
        self._transaction = transaction
        self._group = group

    async def contributions(self, submission_ids: Iterable[UUID]) -> dict[UUID, Contribution]:
        """Rows without their content."""
        ids = [submission_id.bytes for submission_id in submission_ids]
        found = await self._store.collection(CONTRIBUTIONS).find_by_ids(ids, projection=_PLACE, transaction=self._transaction)
        return {row.submission_id: row for row in map(contribution_from, found.values())}

    async def present(self, customers: Iterable[UUID], submission_ids: Iterable[UUID]) -> list[Contribution]:
        """Present rows with their content."""
        holders, named = [c.bytes for c in customers], [s.bytes for s in submission_ids]
        if not holders and not named:
            return []
        wanted = {"$or": [{"customer": {"$in": holders}}, {"_id": {"$in": named}}], "state": State.PRESENT.value}
        found = await self._store.collection(CONTRIBUTIONS).find(wanted, transaction=self._transaction)
        return [contribution_from(document) for document in found]

    async def customers(self, customer_ids: Iterable[UUID]) -> dict[UUID, Customer]:
        """The stored documents."""
        ids = [customer_id.bytes for customer_id in customer_ids]
        found = await self._store.collection(CUSTOMERS).find_by_ids(ids, transaction=self._transaction)
        return {customer.customer_id: customer for customer in map(customer_from, found.values())}

    async def marks(self, partition: int) -> list[Mark]:
        """Marks of this partition, whole customers only: folding again counts every row, so it must also take every mark of its customer."""
        marks = await self._marks({"partition": partition}, MARKS_MAX)
        if len(marks) < MARKS_MAX:
            return marks
        last = marks[-1].customer
        whole = [mark for mark in marks if mark.customer != last]
        return whole or await self._marks({"partition": partition, "_id": {"$gte": last.bytes, "$lt": last.bytes + _BEHIND_ANY_CAUSE}}, 0)

    async def _marks(self, wanted: Mapping[str, Any], limit: int) -> list[Mark]:
        found = await self._store.collection(DIRTY_MARKS).find(wanted, sort=[("_id", 1)], limit=limit, transaction=self._transaction)
        return [mark_from(document) for document in found]

    async def closed_keys_of(self, customer: UUID) -> list[ClosedKey]:
        """Not reported yet, of this customer."""
        return await self._closed_keys({"customer": customer.bytes})

    async def reportable_keys(self, partition: int) -> list[ClosedKey]:
        """Closed keys of this partition, unless a batch of it still waits in the outbox.

        A closed key's row is committed with the outbox document that carries the new snapshot. That document is deleted only after
        the broker acknowledged it, so a snapshot of the database without one is later than every acknowledgement.
        """
        keys = await self._closed_keys({"partition": partition})
        if not keys:
            return []
        waiting = await self._store.collection(OUTBOX).find_one(
            {"group": self._group, "topic": IDENTITIES.name, "partition": partition}, projection=("_id",), transaction=self._transaction
        )
        return [] if waiting is not None else keys

    async def fillers(self, partition: int, now: datetime) -> list[Filler]:
        """Fillers of this partition that are due."""
        due = {"partition": partition, "due_at": {"$lte": now}}
        found = await self._store.collection(FILLERS).find(due, limit=MARKS_MAX, transaction=self._transaction)
        return [Filler(UUID(bytes=d["_id"]), d["partition"], d["due_at"]) for d in found]

    async def _closed_keys(self, wanted: Mapping[str, Any]) -> list[ClosedKey]:
        found = await self._store.collection(CLOSED_KEYS).find(wanted, limit=MARKS_MAX, transaction=self._transaction)
        return [ClosedKey(UUID(bytes=d["_id"]), UUID(bytes=d["customer"]), d["partition"]) for d in found]


async def partitions_due(store: Store, now: datetime) -> set[int]:
    """Partitions that a mark pass has work for."""
    marked = await store.collection(DIRTY_MARKS).distinct("partition")
    closed = await store.collection(CLOSED_KEYS).distinct("partition")
    return {*marked, *closed, *await store.collection(FILLERS).distinct("partition", {"due_at": {"$lte": now}})}


def writes(changes: Changes) -> list[tuple[str, list[WriteOperation]]]:
    """The changes as operations by collection, to be written in one transaction; empty lists are left out."""
    failpoint("profile.before_writes")
    by_collection: list[tuple[str, list[WriteOperation]]] = [
        (CONTRIBUTIONS, _contribution_writes(changes)),
        (CUSTOMERS, [_customer_write(before, after) for before, after in changes.customers]),
        (DIRTY_MARKS, _mark_writes(changes)),
        (CLOSED_KEYS, _closed_key_writes(changes)),
        (FILLERS, _filler_writes(changes)),
    ]
    return [(name, operations) for name, operations in by_collection if operations]


def _contribution_writes(changes: Changes) -> list[WriteOperation]:
    versions = {after.customer_id: after.version for _, after in changes.customers}
    operations: list[WriteOperation] = []
    moved: dict[tuple[UUID, int], list[bytes]] = {}
    for before, after in changes.contributions.values():
        if before is not None and before.is_present and after.is_present and after.content is None and after.customer is not None:
            moved.setdefault((after.customer, after.assignment), []).append(after.submission_id.bytes)
            continue
        document = contribution_document(after)
        if after.is_present:
            document |= {"applied_at": changes.applied_at, "applied_version": versions.get(after.customer) if after.customer else None}
        operations.append(InsertOne(document) if before is None else ReplaceOne({"_id": document["_id"]}, document))
    # One statement for all rows that go the same way costs a quarter of one each.
    for (customer, assignment), ids in moved.items():
        operations.append(UpdateMany({"_id": {"$in": ids}}, {"$set": {"customer": customer.bytes, "assignment": assignment}}))
    return operations


def _customer_write(before: Customer, after: Customer) -> WriteOperation:
    document = customer_document(after)
    return InsertOne(document) if before.is_new else ReplaceOne({"_id": document["_id"]}, document)


def _mark_writes(changes: Changes) -> list[WriteOperation]:
    operations: list[WriteOperation] = [
        UpdateOne({"_id": mark_id(mark)}, {"$setOnInsert": mark_document(mark)}, upsert=True) for mark in changes.marks_made.values()
    ]
    if changes.marks_done:
        operations.append(DeleteMany({"_id": {"$in": [mark_id(mark) for mark in changes.marks_done]}}))
    return operations


def _closed_key_writes(changes: Changes) -> list[WriteOperation]:
    operations: list[WriteOperation] = [
        InsertOne({"_id": key.key_id.bytes, "customer": key.customer.bytes, "partition": key.partition}) for key in changes.keys_closed
    ]
    if changes.keys_reported:
        operations.append(DeleteMany({"_id": {"$in": [key.key_id.bytes for key in changes.keys_reported]}}))
    return operations


def _filler_writes(changes: Changes) -> list[WriteOperation]:
    operations: list[WriteOperation] = [
        UpdateOne({"_id": filler.customer.bytes}, {"$set": {"partition": filler.partition, "due_at": filler.due_at}}, upsert=True)
        for filler in changes.fillers_made
    ]
    if changes.fillers_done:
        operations.append(DeleteMany({"_id": {"$in": [filler.customer.bytes for filler in changes.fillers_done]}}))
    return operations


class MongoReader:
    """`ports.CustomerReader`: committed state, outside any batch."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def customer(self, customer_id: UUID) -> Customer | None:
        """The stored document."""
        document = await self._store.collection(CUSTOMERS).find_one({"_id": customer_id.bytes})
        return None if document is None else customer_from(document)

    async def by_token(self, token: bytes, limit: int) -> list[Customer]:
        """Active customers known by this token."""
        found = await self._store.collection(CUSTOMERS).find({"tokens": token}, sort=[("_id", 1)], limit=limit)
        return [customer_from(document) for document in found]

    async def timeline(self, customer_id: UUID, kinds: Sequence[str], before: tuple[str, UUID] | None, limit: int) -> list[Contribution]:
        """Present rows, newest first."""
        wanted: Document = {"customer": customer_id.bytes, "state": State.PRESENT.value, "kind": {"$in": list(kinds)}}
        if before is not None:
            day, submission_id = date.fromisoformat(before[0]).isoformat(), before[1].bytes
            wanted["$or"] = [{"occurred": {"$lt": day}}, {"occurred": day, "_id": {"$lt": submission_id}}]
        found = await self._store.collection(CONTRIBUTIONS).find(wanted, sort=[("occurred", -1), ("_id", -1)], limit=limit)
        return [contribution_from(document) for document in found]

    async def contribution(self, submission_id: UUID) -> tuple[Contribution, datetime | None, int | None] | None:
        """A row, when it was applied, and the customer's version then."""
        document = await self._store.collection(CONTRIBUTIONS).find_one({"_id": submission_id.bytes})
        if document is None:
            return None
        return contribution_from(document), document.get("applied_at"), document.get("applied_version")

    async def log_read(self, read: ReadEntry) -> None:
        """One row for each read."""
        customers = [customer.bytes for customer in read.customers]
        entry = {"at": read.at, "principal": read.principal, "customers": customers, "what": read.what}
        await self._store.collection(READS).insert_one(entry | {"fields": list(read.fields), "unmasked": read.unmasked})
