"""The merge log on MongoDB."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from services.dedup.mongo.documents import MERGE_LOG, Document, log_of, log_progress
from services.dedup.ports import MoveLog
from shared.storage import Store, Transaction


class MongoMoveLogs:
    """`ports.MoveLogs` on MongoDB."""

    def __init__(self, store: Store) -> None:
        self._log = store.collection(MERGE_LOG)

    async def open_log(self, transaction: Transaction, touching: Collection[UUID] | None = None) -> MoveLog | None:
        """See the port."""
        wanted: Document = {"open": True}
        if touching is not None:
            wanted["touched"] = {"$in": [each.bytes for each in touching]}
        row = await self._log.find_one(wanted, sort=[("at", 1), ("_id", 1)], transaction=transaction)
        return None if row is None else log_of(row)

    async def save_progress(self, log: MoveLog, transaction: Transaction) -> None:
        """See the port."""
        await self._log.update_one({"_id": log.id.bytes}, {"$set": log_progress(log)}, transaction=transaction)
