"""Consent rows, published states and the marks between workers; ids are stored as 16 bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from services.privacy.domain.consents import LedgerRow
from services.privacy.mongo import documents
from services.privacy.ports import CustomerConsents, DirtyMark
from shared.storage import Store, Transaction


class MongoLedger:
    """`Ledger` on MongoDB."""

    def __init__(self, store: Store) -> None:
        self._ledger = store.collection("ledger")
        self._customers = store.collection("customers")
        self._marks = store.collection("dirty_marks")
        self._fillers = store.collection("fillers")

    async def rows(self, ids: Iterable[UUID], transaction: Transaction | None = None) -> dict[UUID, LedgerRow]:
        """One row for each id, fresh where there is none."""
        wanted = list(ids)
        found = await self._ledger.find_by_ids([each.bytes for each in wanted], transaction=transaction)
        return {each: documents.to_row(found[each.bytes]) if each.bytes in found else LedgerRow(each) for each in wanted}

    async def rows_of(self, customers: Iterable[UUID], transaction: Transaction | None = None) -> list[LedgerRow]:
        """All rows that belong to these customers now."""
        wanted = [each.bytes for each in customers]
        found = await self._ledger.find({"customer": {"$in": wanted}}, transaction=transaction) if wanted else []
        return [documents.to_row(document) for document in found]

    async def save_rows(self, rows: Sequence[LedgerRow], transaction: Transaction) -> None:
        """Stores the rows whole."""
        await self._ledger.bulk([documents.replacing(documents.of_row(row)) for row in rows], transaction=transaction)

    async def customers(self, ids: Iterable[UUID], transaction: Transaction | None = None) -> dict[UUID, CustomerConsents]:
        """One state for each id, version 0 where there is none."""
        wanted = list(ids)
        found = await self._customers.find_by_ids([each.bytes for each in wanted], transaction=transaction)
        return {each: documents.to_customer(found[each.bytes]) if each.bytes in found else CustomerConsents(each) for each in wanted}

    async def save_customers(self, states: Sequence[CustomerConsents], transaction: Transaction) -> None:
        """Stores the states whole."""
        await self._customers.bulk([documents.replacing(documents.of_customer(state)) for state in states], transaction=transaction)

    async def add_marks(self, marks: Sequence[DirtyMark], transaction: Transaction) -> None:
        """A mark that is there already stays one."""
        await self._marks.bulk([documents.replacing(documents.of_mark(mark)) for mark in marks], transaction=transaction)

    async def marks(self, partition: int, limit: int, transaction: Transaction) -> list[DirtyMark]:
        """Marks for the owner of this partition."""
        return [documents.to_mark(document) for document in await self._marks.find({"partition": partition}, limit=limit, transaction=transaction)]

    async def partitions_due(self, now: datetime) -> list[int]:
        """Partitions whose owner has marks or repeated tombstones to see to."""
        marked = await self._marks.distinct("partition")
        return sorted({*marked, *await self._fillers.distinct("partition", {"due_at": {"$lte": now}})})

    async def delete_marks(self, marks: Sequence[DirtyMark], transaction: Transaction) -> None:
        """Removes exactly these marks."""
        if marks:
            await self._marks.delete_many({"_id": {"$in": [documents.mark_id(mark) for mark in marks]}}, transaction=transaction)

    async def add_fillers(self, customers: Mapping[UUID, int], due_at: datetime, transaction: Transaction) -> None:
        """Remembers to repeat these tombstones; the partition of each customer's owner is given."""
        due = [{"_id": each.bytes, "partition": partition, "due_at": due_at} for each, partition in customers.items()]
        await self._fillers.bulk([documents.replacing(document) for document in due], transaction=transaction)

    async def take_fillers(self, partition: int, now: datetime, transaction: Transaction) -> list[UUID]:
        """Removes and returns the customers whose tombstone is due again."""
        due = await self._fillers.find({"partition": partition, "due_at": {"$lte": now}}, limit=500, transaction=transaction)
        if due:
            await self._fillers.delete_many({"_id": {"$in": [document["_id"] for document in due]}}, transaction=transaction)
        return [UUID(bytes=document["_id"]) for document in due]

    async def erased_by(self, request_id: UUID, transaction: Transaction | None = None) -> list[UUID]:
        """Every customer that this erasure took."""
        found = await self._customers.find({"erased_by": request_id.bytes}, projection={"_id": 1}, transaction=transaction)
        return [UUID(bytes=document["_id"]) for document in found]
