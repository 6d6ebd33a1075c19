"""The only file that knows the documents analytics writes.

contributions {_id: submission id, customer, assignment, kind, channel, day, order_day, lines: [[product, currency, quantity, amount]], at};
              a stub has no kind, an erased row is {_id, erased: true}
customers     {_id: customer id, living, orders: {day: n}, merges, erased}
counters      {_id: cell and partition, metric, period, first, second, n, quantity, amount}
merges        {_id: merge id, survivor}
dirty_marks   {_id: customer id + cause, partition, erased}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from services.analytics.domain.cells import Cell, Count
from services.analytics.domain.contribution import Contribution, Facts, Line
from services.analytics.domain.customer import Customer
from services.analytics.ports import Changes, Mark
from shared.contracts.topics import IDENTITIES
from shared.failpoints import failpoint
from shared.storage import DeleteMany, DeleteOne, Document, InsertOne, ReplaceOne, Store, Transaction, UpdateOne, WriteOperation

CONTRIBUTIONS = "contributions"
CUSTOMERS = "customers"
COUNTERS = "counters"
MERGES = "merges"
DIRTY_MARKS = "dirty_marks"

MARKS_MAX = 500
"""Marks of one pass; what is left waits for the next second."""
CELLS_AT_ONCE = 1_000
"""Of counters asked for in one command, which may hold 16 MiB; each cell has one id for each partition."""
_SEPARATOR = "\x1f"


class MongoSnapshot:
    """`ports.Snapshot` on one transaction, or on committed state without one."""

    def __init__(self, store: Store, transaction: Transaction | None = None) -> None:
        self._store, self._transaction = store, transaction

    async def contributions(self, submission_ids: Iterable[UUID]) -> dict[UUID, Contribution]:
        """Rows by submission id."""
        found = await self._by_ids(CONTRIBUTIONS, submission_ids)
        return {row.submission_id: row for row in map(contribution_from, found)}

    async def customers(self, customer_ids: Iterable[UUID]) -> dict[UUID, Customer]:
        """Stored folds."""
        found = await self._by_ids(CUSTOMERS, customer_ids)
        return {customer.customer_id: customer for customer in map(_customer_from, found)}

    async def holdings(self, customer_ids: Iterable[UUID]) -> dict[UUID, list[tuple[str | None, int]]]:
        """Counts of present rows by customer and order day."""
        pipeline: list[Document] = [
            {"$match": {"customer": {"$in": [customer.bytes for customer in customer_ids]}, "kind": {"$exists": True}}},
            {"$group": {"_id": {"customer": "$customer", "day": "$order_day"}, "n": {"$sum": 1}}},
        ]
        held: dict[UUID, list[tuple[str | None, int]]] = {}
        for group in await self._store.collection(CONTRIBUTIONS).aggregate(pipeline, transaction=self._transaction):
            held.setdefault(UUID(bytes=group["_id"]["customer"]), []).append((group["_id"].get("day"), group["n"]))
        return held

    async def known_merges(self, merge_ids: Iterable[UUID]) -> set[UUID]:
        """Merges counted before."""
        return {UUID(bytes=document["_id"]) for document in await self._by_ids(MERGES, merge_ids)}

    async def counters(self, cells: Iterable[Cell]) -> dict[Cell, dict[int, Count]]:
        """Counters by partition, of those cells that have any."""
        held: dict[Cell, dict[int, Count]] = {}
        remaining = iter(cells)
        while some := list(islice(remaining, CELLS_AT_ONCE)):
            places = {counter_id(cell, partition): (cell, partition) for cell in some for partition in range(IDENTITIES.partitions)}
            for raw_id, document in (await self._store.collection(COUNTERS).find_by_ids(places, transaction=self._transaction)).items():
                cell, partition = places[raw_id]
                held.setdefault(cell, {})[partition] = count_from(document)
        return held

    async def marks(self, partition: int) -> list[Mark]:
        """Marks of this partition."""
        found = await self._store.collection(DIRTY_MARKS).find({"partition": partition}, limit=MARKS_MAX, transaction=self._transaction)
        return [Mark(UUID(bytes=each["_id"][:16]), UUID(bytes=each["_id"][16:]), partition, each["erased"]) for each in found]

    async def rows_of(self, customer: UUID) -> list[Contribution]:
        """Present rows of one customer, in order of day."""
        wanted = {"customer": customer.bytes, "kind": {"$exists": True}}
        found = await self._store.collection(CONTRIBUTIONS).find(wanted, sort=[("day", 1), ("_id", 1)], transaction=self._transaction)
        return [contribution_from(document) for document in found]

    async def _by_ids(self, collection: str, ids: Iterable[UUID]) -> Iterable[Document]:
        found = await self._store.collection(collection).find_by_ids((each.bytes for each in ids), transaction=self._transaction)
        return found.values()


async def partitions_with_marks(store: Store) -> set[int]:
    """Partitions whose owners have something to fold again."""
    return set(await store.collection(DIRTY_MARKS).distinct("partition"))


def writes(changes: Changes) -> list[tuple[str, Sequence[WriteOperation]]]:
    """The changes as operations by collection, for one transaction; collections without any are left out."""
    failpoint("analytics.before_writes")
    by_collection: list[tuple[str, Sequence[WriteOperation]]] = [
        (CONTRIBUTIONS, [_contribution_write(before, after, changes.at) for before, after in changes.contributions.values()]),
        (CUSTOMERS, [_customer_write(after) for _, after in changes.customers]),
        (MERGES, [InsertOne({"_id": merge_id.bytes, "survivor": survivor.bytes}) for merge_id, survivor in changes.merges.items()]),
        (COUNTERS, [*(_counter_write(cell, count, changes.partition) for cell, count in changes.counts.items()), *_gathered_writes(changes)]),
        (DIRTY_MARKS, _mark_writes(changes)),
    ]
    return [(name, operations) for name, operations in by_collection if operations]


def contribution_from(document: Document) -> Contribution:
    """The row that a document holds."""
    submission_id = UUID(bytes=document["_id"])
    if document.get("erased"):
        return Contribution(submission_id, None, 0, erased=True)
    customer, assignment = UUID(bytes=document["customer"]), document["assignment"]
    if "kind" not in document:
        return Contribution(submission_id, customer, assignment)
    lines = tuple(Line(*line) for line in document["lines"])
    return Contribution(submission_id, customer, assignment, Facts(document["kind"], document["channel"], document["day"], lines))


def count_from(document: Document) -> Count:
    """What a counter holds."""
    return Count(document.get("n", 0), document.get("quantity", 0), document.get("amount", 0))


def counter_id(cell: Cell, partition: int) -> str:
    """Id of a cell's counter in one partition."""
    return _SEPARATOR.join((*cell, str(partition)))


def _contribution_write(before: Contribution | None, after: Contribution, at: datetime) -> WriteOperation:
    document = _contribution_document(after, at)
    return InsertOne(document) if before is None else ReplaceOne({"_id": document["_id"]}, document)


def _contribution_document(row: Contribution, at: datetime) -> Document:
    if row.erased or row.customer is None:
        return {"_id": row.submission_id.bytes, "erased": True}
    document: Document = {"_id": row.submission_id.bytes, "customer": row.customer.bytes, "assignment": row.assignment, "at": at}
    if row.facts is not None:
        facts = row.facts
        lines: list[list[Any]] = [[line.product, line.currency, line.quantity, line.amount_minor] for line in facts.lines]
        document |= {"kind": facts.kind, "channel": facts.channel, "day": facts.day, "order_day": facts.order_day, "lines": lines}
    return document


def _customer_from(document: Document) -> Customer:
    return Customer(UUID(bytes=document["_id"]), document["living"], document["orders"], document["merges"], document["erased"])


def _customer_write(customer: Customer) -> WriteOperation:
    key = {"_id": customer.customer_id.bytes}
    if customer.is_trivial:
        return DeleteOne(key)
    members = {"living": customer.is_living, "orders": dict(customer.orders), "merges": customer.merges, "erased": customer.erased}
    return ReplaceOne(key, members, upsert=True)


def _counter_write(cell: Cell, count: Count, partition: int) -> WriteOperation:
    return UpdateOne({"_id": counter_id(cell, partition)}, {"$inc": _members(count), "$setOnInsert": cell._asdict()}, upsert=True)


def _gathered_writes(changes: Changes) -> Iterator[WriteOperation]:
    """Deletes every counter that was read, also of other partitions: a booking of theirs meanwhile conflicts, and one of us runs again."""
    for cell, (left, partitions) in changes.gathered.items():
        kept = {changes.partition} if left.n else set()
        yield from (DeleteOne({"_id": counter_id(cell, each)}) for each in sorted(partitions - kept))
        yield from (ReplaceOne({"_id": counter_id(cell, each)}, cell._asdict() | _members(left), upsert=True) for each in kept)


def _members(count: Count) -> Document:
    return {name: value for name, value in (("n", count.n), ("quantity", count.quantity), ("amount", count.amount_minor)) if value}


def _mark_writes(changes: Changes) -> list[WriteOperation]:
    operations: list[WriteOperation] = [_mark_write(mark) for mark in changes.marks_made.values()]
    if changes.marks_done:
        operations.append(DeleteMany({"_id": {"$in": [_mark_id(mark) for mark in changes.marks_done]}}))
    return operations


def _mark_write(mark: Mark) -> WriteOperation:
    # Counting up makes a repeat a real write, which conflicts with the owner deleting the mark it saw; a write that changes nothing would not.
    update = {"$inc": {"times": 1}, "$set": {"partition": mark.partition, "erased": mark.erased}}
    return UpdateOne({"_id": _mark_id(mark)}, update, upsert=True)


def _mark_id(mark: Mark) -> bytes:
    return mark.customer.bytes + mark.cause.bytes
