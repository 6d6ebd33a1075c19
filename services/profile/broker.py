"""Topics in, handlers named: how profile's use cases meet the batch worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from services.profile.mongo import MongoSnapshot, partitions_due, writes
from services.profile.ports import Arrival, Changes
from services.profile.use_cases.apply_identities import ApplyIdentities, Clock
from services.profile.use_cases.export_access import ExportAccess
from services.profile.use_cases.mark_pass import MarkPass
from shared.contracts.privacy import AccessRequested
from shared.contracts.topics import IDENTITIES, REQUESTS
from shared.messaging import Batch, BatchWorker, Broker, DeadLetters, Effects
from shared.sealing import DataKey, KeyRing
from shared.storage import Store, Transaction

GROUP = "profile"


class TransactionKeys:
    """`ports.Keys`: new keys belong to the batch's transaction, known ones come from the key ring."""

    def __init__(self, ring: KeyRing, transaction: Transaction) -> None:
        self._ring = ring
        self._transaction = transaction

    async def open(self, key_ids: Iterable[UUID]) -> Mapping[UUID, DataKey | None]:
        """The keys; None for a destroyed one."""
        return await self._ring.open(key_ids)

    async def create(self, key_ids: Sequence[UUID]) -> Mapping[UUID, DataKey]:
        """New keys, there once the transaction commits."""
        return await self._ring.create(key_ids, self._transaction)


class Handlers:
    """What the workers call: a batch, or a partition's turn, into effects."""

    def __init__(self, store: Store, ring: KeyRing, apply: ApplyIdentities, mark_pass: MarkPass, export: ExportAccess) -> None:
        self._store = store
        self._letters = DeadLetters(store)
        self._ring = ring
        self._apply = apply
        self._mark_pass = mark_pass
        self._export = export

    async def identities(self, batch: Batch, transaction: Transaction) -> Effects:
        """Apply what dedup decided."""
        letters = await self._letters.forget_erased(batch, transaction)
        arrivals = [Arrival(record.event, record.event_id, record.traceparent, letters.get(record.event_id, 0)) for record in batch]
        snapshot, keys = MongoSnapshot(self._store, transaction), TransactionKeys(self._ring, transaction)
        return effects_of(await self._apply(arrivals, batch.partitions, snapshot, keys, assume_new=batch.assume_new))

    async def idle(self, partition: int, transaction: Transaction) -> Effects | None:
        """Work off the partition's marks."""
        snapshot, keys = MongoSnapshot(self._store, transaction), TransactionKeys(self._ring, transaction)
        changes = await self._mark_pass(partition, snapshot, keys)
        return None if changes is None else effects_of(changes)

    async def requests(self, batch: Batch, transaction: Transaction) -> Effects:
        """Answer people who ask for a copy; erasures reach profile through dedup."""
        effects = Effects()
        for record in batch:
            if isinstance(record.event, AccessRequested):
                effects.publish_all(await self._export(record.event, record.traceparent))
        return effects


def effects_of(changes: Changes) -> Effects:
    """The changes as the worker carries them out."""
    effects = Effects()
    for collection, operations in writes(changes):
        effects.write(collection, *operations)
    effects.publish_all(changes.events)
    return effects


def build_workers(handlers: Handlers, store: Store, broker: Broker, clock: Clock) -> list[BatchWorker]:
    """One worker for what dedup decides, one for what privacy asks."""

    async def due() -> set[int]:
        return await partitions_due(store, clock())

    return [
        BatchWorker(group=GROUP, topic=IDENTITIES, handle=handlers.identities, store=store, broker=broker, idle=handlers.idle, idle_due=due),
        BatchWorker(group=GROUP, topic=REQUESTS, handle=handlers.requests, store=store, broker=broker),
    ]
