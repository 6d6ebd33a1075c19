"""Source records of one customer, and the digest's list of who holds what."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.dedup.mongo.documents import ERASURES, SIGNATURES, SOURCE_RECORDS, submission_of
from services.dedup.mongo.erasures import MongoErasures, erasure_noted
from shared.contracts.privacy import ErasureBarrierSet
from shared.contracts.submission import Submission
from shared.messaging import Effects
from shared.storage import Store, Transaction


class MongoCustomerRecords:
    """`ports.CustomerRecords` on MongoDB."""

    def __init__(self, store: Store) -> None:
        self._signatures, self._records = store.collection(SIGNATURES), store.collection(SOURCE_RECORDS)
        self._erasures = MongoErasures(store)

    async def of_customer(self, customer: UUID, transaction: Transaction) -> Sequence[Submission]:
        """See the port."""
        holder = await self._erasures.holder_of(customer, transaction)
        signatures = await self._signatures.find({"customer": holder.bytes}, projection=["founder"], transaction=transaction)
        wanted = {"signature": {"$in": [row["founder"] for row in signatures]}, "state": "resolved"}
        return [submission_of(row) for row in await self._records.find(wanted, sort=[("_id", 1)], transaction=transaction)]

    def note_erasure(self, barrier: ErasureBarrierSet, effects: Effects) -> None:
        """See the port."""
        effects.write(ERASURES, erasure_noted(barrier.request_id, barrier.customer_id, barrier.offsets))


async def current_customers(store: Store) -> dict[UUID, UUID]:
    """Submission -> current customer of every living source record: the partition that the twin-run digest covers."""
    signatures = await store.collection(SIGNATURES).find({}, projection=["founder", "customer"])
    holders = {row["founder"]: UUID(bytes=row["customer"]) for row in signatures}
    records = await store.collection(SOURCE_RECORDS).find({"state": "resolved"}, projection=["signature"])
    return {UUID(bytes=row["_id"]): holders[row["signature"]] for row in records}
