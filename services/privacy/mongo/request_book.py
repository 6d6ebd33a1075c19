"""Requests, receipts, certificates, closed keys and the audit chain; ids are stored as 16 bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.privacy.domain.audit import GENESIS, Entry
from services.privacy.domain.erasure import Stage
from services.privacy.domain.requests import COLLECTING, READY, Receipt, Request
from services.privacy.mongo import documents
from shared.storage import InsertOne, Store, Transaction, TransientStorageError, UpdateOne, WriteOperation

AUDIT_HEAD = "head"


class MongoRequestBook:
    """`RequestBook` on MongoDB."""

    def __init__(self, store: Store) -> None:
        self._requests = store.collection("requests")
        self._receipts = store.collection("receipts")
        self._parts = store.collection("access_parts")
        self._certificates = store.collection("certificates")
        self._closed = store.collection("closed_keys")
        self._audit = store.collection("audit")
        self._head = store.collection("audit_head")

    async def request(self, request_id: UUID, transaction: Transaction | None = None) -> Request | None:
        """The request, or None."""
        document = await self._requests.find_one({"_id": request_id.bytes}, transaction=transaction)
        return None if document is None else documents.to_request(document)

    async def requests(
        self,
        transaction: Transaction | None = None,
        *,
        kind: str | None = None,
        stages: Iterable[str] | None = None,
        customers: Iterable[UUID] | None = None,
        limit: int = 0,
    ) -> list[Request]:
        """Requests that meet all criteria given, newest first."""
        wanted: dict[str, Any] = {} if kind is None else {"kind": kind}
        if stages is not None:
            wanted["stage"] = {"$in": [str(stage) for stage in stages]}
        if customers is not None:
            wanted["customer"] = {"$in": [each.bytes for each in customers]}
        return [
            documents.to_request(each) for each in await self._requests.find(wanted, sort=[("opened_at", -1)], limit=limit, transaction=transaction)
        ]

    async def anything_due(self, exports_before: datetime, now: datetime) -> bool:
        """Whether time alone may move something."""
        erasures = {"stage": {"$in": [Stage.DRAINING.value, Stage.DESTROYING.value]}}
        exports = {"stage": {"$in": [COLLECTING, READY]}, "opened_at": {"$lte": exports_before}}
        if await self._requests.find_one({"$or": [erasures, exports]}, projection=["_id"]) is not None:
            return True
        return await self._closed.find_one({"destroyed_at": None, "due_at": {"$lte": now}}, projection=["_id"]) is not None

    async def save_request(self, request: Request, transaction: Transaction) -> None:
        """Stores the request whole."""
        await self._requests.bulk([documents.replacing(documents.of_request(request))], transaction=transaction)

    async def add_receipts(self, receipts: Sequence[Receipt], transaction: Transaction) -> None:
        """Keeps the first of each `erased` receipt and the latest of each `drained` one."""
        operations: list[WriteOperation] = []
        for receipt in receipts:
            document = documents.of_receipt(receipt)
            if receipt.stage == "drained":
                operations.append(documents.replacing(document))
            else:
                operations.append(UpdateOne({"_id": document.pop("_id")}, {"$setOnInsert": document}, upsert=True))
        await self._receipts.bulk(operations, transaction=transaction)

    async def receipts(self, request_id: UUID, transaction: Transaction | None = None, *, with_keys: bool = False) -> list[Receipt]:
        """All receipts of a request, ordered by id; without `with_keys` one key of each stands for the rest."""
        projection = None if with_keys else {"keys": {"$slice": 1}}
        found = await self._receipts.find({"request": request_id.bytes}, projection=projection, sort=[("_id", 1)], transaction=transaction)
        return [documents.to_receipt(document) for document in found]

    async def spend(self, receipt: Receipt, transaction: Transaction) -> None:
        """Notes that the receipt's keys are destroyed."""
        await self._receipts.update_one({"_id": receipt.id}, {"$set": {"spent": True}}, transaction=transaction)

    async def add_access_part(self, request_id: UUID, holder: str, part: int, parts: int, sealed: bytes, transaction: Transaction) -> None:
        """Keeps the first of each part."""
        document = {"request": request_id.bytes, "holder": holder, "part": part, "parts": parts, "sealed": sealed}
        change = {"$setOnInsert": document}
        await self._parts.update_one({"_id": _part_id(request_id, holder, part)}, change, upsert=True, transaction=transaction)

    async def access_parts(self, request_id: UUID, transaction: Transaction | None = None) -> list[tuple[str, int, int]]:
        """Holder, part, parts."""
        found = await self._parts.find({"request": request_id.bytes}, projection={"sealed": 0}, sort=[("_id", 1)], transaction=transaction)
        return [(each["holder"], each["part"], each["parts"]) for each in found]

    async def access_content(self, request_id: UUID, holder: str, part: int) -> bytes | None:
        """The sealed content of one part."""
        found = await self._parts.find_one({"_id": _part_id(request_id, holder, part)}, projection=["sealed"])
        return None if found is None else bytes(found["sealed"])

    async def delete_access_parts(self, request_id: UUID, transaction: Transaction) -> None:
        """Deletes the export's content."""
        await self._parts.delete_many({"request": request_id.bytes}, transaction=transaction)

    async def add_closed_keys(self, customer: UUID, key_ids: Sequence[UUID], due_at: datetime, transaction: Transaction) -> None:
        """Keys of ended membership epochs; a repeat changes nothing."""
        fresh = {"customer": customer.bytes, "due_at": due_at, "destroyed_at": None}
        operations: list[WriteOperation] = [UpdateOne({"_id": each.bytes}, {"$setOnInsert": fresh}, upsert=True) for each in key_ids]
        await self._closed.bulk(operations, transaction=transaction)

    async def closed_keys(
        self, transaction: Transaction, *, due_by: datetime | None = None, customers: Iterable[UUID] | None = None, limit: int = 0
    ) -> list[tuple[UUID, UUID, datetime | None]]:
        """Key id, customer, time of destruction."""
        wanted: dict[str, Any] = {}
        if due_by is not None:
            wanted |= {"destroyed_at": None, "due_at": {"$lte": due_by}}
        if customers is not None:
            wanted["customer"] = {"$in": [each.bytes for each in customers]}
        found = await self._closed.find(wanted, limit=limit, transaction=transaction)
        return [(UUID(bytes=each["_id"]), UUID(bytes=each["customer"]), each["destroyed_at"]) for each in found]

    async def note_closed_destroyed(self, key_ids: Sequence[UUID], at: datetime, transaction: Transaction) -> None:
        """Keeps the time, which a rotation has to follow."""
        if key_ids:
            await self._closed.update_many(
                {"_id": {"$in": [each.bytes for each in key_ids]}}, {"$set": {"destroyed_at": at}}, transaction=transaction
            )

    async def audit_head(self, transaction: Transaction | None = None) -> tuple[int, str]:
        """Position and hash of the last entry; (0, GENESIS) before the first."""
        head = await self._head.find_one({"_id": AUDIT_HEAD}, transaction=transaction)
        return (0, GENESIS) if head is None else (head["position"], head["hash"])

    async def append_audit(self, entry: Entry, transaction: Transaction) -> None:
        """Adds the entry behind the head.

        Raises:
            TransientStorageError: somebody else appended meanwhile; the transaction has to run again.
        """
        before = {"_id": AUDIT_HEAD, "position": entry.position - 1}
        moved = {"$set": {"position": entry.position, "hash": entry.hash}}
        if not await self._head.update_one(before, moved, upsert=entry.position == 1, transaction=transaction):
            raise TransientStorageError("the audit chain grew meanwhile")
        await self._audit.bulk([InsertOne({**documents.of_audit_entry(entry)})], transaction=transaction)

    async def audit(self, transaction: Transaction | None = None) -> list[tuple[Entry, str]]:
        """The whole chain, each entry with its stored hash."""
        return [documents.to_audit_entry(document) for document in await self._audit.find({}, sort=[("_id", 1)], transaction=transaction)]

    async def save_certificate(
        self, request_id: UUID, signed: Mapping[str, Any], slots_waiting: Sequence[int], closed_at: datetime, transaction: Transaction
    ) -> None:
        """Adds a revision."""
        change = {"$push": {"revisions": dict(signed)}, "$set": {"slots_waiting": list(slots_waiting), "closed_at": closed_at}}
        await self._certificates.update_one({"_id": request_id.bytes}, change, upsert=True, transaction=transaction)

    async def certificate(self, request_id: UUID, transaction: Transaction | None = None) -> dict[str, Any] | None:
        """`revisions` (oldest first), `slots_waiting` and `closed_at`, or None."""
        return await self._certificates.find_one({"_id": request_id.bytes}, transaction=transaction)

    async def waiting_certificates(self, transaction: Transaction | None = None) -> list[tuple[UUID, dict[str, Any]]]:
        """Certificates that wait for the rotation of slots."""
        found = await self._certificates.find({"slots_waiting.0": {"$exists": True}}, transaction=transaction)
        return [(UUID(bytes=each["_id"]), each) for each in found]

    async def wait_for_slots(self, request_id: UUID, slots: Sequence[int], transaction: Transaction) -> None:
        """Replaces the slots that a certificate still waits for."""
        await self._certificates.update_one({"_id": request_id.bytes}, {"$set": {"slots_waiting": list(slots)}}, transaction=transaction)

    async def forget_closed(self, key_ids: Sequence[UUID], transaction: Transaction) -> None:
        """Drops closed keys that a rotation made final."""
        await self._closed.delete_many({"_id": {"$in": [each.bytes for each in key_ids]}}, transaction=transaction)


def _part_id(request_id: UUID, holder: str, part: int) -> str:
    return f"{request_id.hex}:{holder}:{part:04d}"
