"""Reads and writes of one batch's decision."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from services.dedup.domain.model import Entity, Placed
from services.dedup.mongo import documents
from services.dedup.mongo.documents import ENTITIES, IDENTIFIERS, MERGE_LOG, SIGNATURES, SOURCE_RECORDS, Document, placed_of
from services.dedup.ports import Decision
from shared.failpoints import mutant
from shared.messaging import Effects
from shared.storage import Store, Transaction


class MongoIdentities:
    """`ports.Identities` on MongoDB."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._records, self._signatures = store.collection(SOURCE_RECORDS), store.collection(SIGNATURES)
        self._identifiers, self._entities = store.collection(IDENTIFIERS), store.collection(ENTITIES)

    async def settled(self, submissions: Collection[UUID], transaction: Transaction) -> set[UUID]:
        """See the port."""
        found = await self._records.find_by_ids((each.bytes for each in submissions), projection=["state"], transaction=transaction)
        if mutant("existence_as_guard"):
            return {UUID(bytes=each) for each in found}
        return {UUID(bytes=each) for each, row in found.items() if row["state"] in ("resolved", "erased")}

    async def placed(self, signatures: Collection[bytes], transaction: Transaction) -> dict[bytes, Placed]:
        """See the port."""
        found = await self._signatures.find_by_ids(signatures, transaction=transaction)
        return {each: placed_of(row) for each, row in found.items()}

    async def bearers(self, tokens: Collection[bytes], transaction: Transaction) -> list[Placed]:
        """See the port."""
        if not tokens:
            return []
        return [placed_of(row) for row in await self._signatures.find({"tokens": {"$in": list(tokens)}}, transaction=transaction)]

    async def generic(self, tokens: Collection[bytes], transaction: Transaction) -> set[bytes]:
        """See the port."""
        found = await self._identifiers.find_by_ids(tokens, projection=["generic"], transaction=transaction)
        return {each for each, row in found.items() if row["generic"]}

    async def entities(self, customers: Collection[UUID], transaction: Transaction) -> dict[UUID, Entity]:
        """See the port."""
        found = await self._entities.find_by_ids(
            (each.bytes for each in customers), projection=["version", "submissions", "state"], transaction=transaction
        )
        return {(customer := UUID(bytes=each)): Entity(customer, row["version"], row["submissions"]) for each, row in found.items()}

    async def count_submissions(self, founders: Iterable[UUID], transaction: Transaction) -> int:
        """See the port."""
        return await self._records.count({"signature": {"$in": [each.bytes for each in founders]}, "state": "resolved"}, transaction=transaction)

    async def submissions(self, founders: Iterable[UUID], before: int, after: UUID | None, limit: int, transaction: Transaction) -> list[UUID]:
        """See the port."""
        wanted: Document = {"signature": {"$in": [each.bytes for each in founders]}, "state": "resolved", "assignment": {"$lt": before}}
        if after is not None:
            wanted["_id"] = {"$gt": after.bytes}
        rows = await self._records.find(wanted, projection=["_id"], sort=[("_id", 1)], limit=limit, transaction=transaction)
        return [UUID(bytes=row["_id"]) for row in rows]

    def write(self, decision: Decision, effects: Effects) -> None:
        """See the port. Identifiers and entities come first: that is where two decisions meet, so the slower one stops early."""
        effects.write(IDENTIFIERS, *(documents.identifier_decided(*each) for each in decision.identifiers))
        effects.write(ENTITIES, *(documents.entity_founded(each) for each in decision.founded))
        effects.write(ENTITIES, *(documents.entity_decided(each) for each in decision.decided))
        effects.write(SIGNATURES, *(documents.signature_founded(each) for each in decision.founded_signatures))
        effects.write(SIGNATURES, *(documents.signature_moved(each) for each in decision.moved_signatures))
        effects.write(SOURCE_RECORDS, *(documents.record_written(each, decision.at) for each in decision.records))
        effects.write(MERGE_LOG, *(documents.log_written(each) for each in decision.logs))
