"""Which topics analytics reads, and what handles them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from services.analytics.mongo import MongoSnapshot, partitions_with_marks, writes
from services.analytics.ports import Arrival, Changes, Snapshot
from services.analytics.use_cases import AnswerAccess, CountBatch, FoldMarked, within_limits
from shared.contracts.dedup import SubmissionResolved
from shared.contracts.topics import IDENTITIES, REQUESTS
from shared.messaging import Batch, BatchWorker, Broker, DeadLetters, Effects, Record, partition_of
from shared.storage import Store, Transaction

GROUP = "analytics"


def owner_of(customer: UUID) -> int:
    """The partition whose worker alone writes this customer's fold."""
    return partition_of(customer.bytes, IDENTITIES.partitions)


def build_workers(store: Store, broker: Broker, count: CountBatch, fold_marked: FoldMarked, answer_access: AnswerAccess) -> Sequence[BatchWorker]:
    """The workers of one process."""

    letters = DeadLetters(store)

    async def on_identities(batch: Batch, transaction: Transaction) -> Effects:
        forgotten, snapshot = await letters.forget_erased(batch, transaction), MongoSnapshot(store, transaction)
        accepted = [_arrival(record, forgotten.get(record.event_id, 0)) for record in batch if within_limits(record.event)]
        effects = _effects(await count(accepted, batch.partitions, snapshot, assume_new=batch.assume_new))
        if len(accepted) < len(batch):
            for record in await unless_erased([record for record in batch if not within_limits(record.event)], snapshot):
                effects.reject(record, "amount_out_of_range")
        return effects

    async def on_idle(partition: int, transaction: Transaction) -> Effects | None:
        changes = await fold_marked(partition, MongoSnapshot(store, transaction))
        return None if changes is None else _effects(changes)

    async def on_requests(batch: Batch, transaction: Transaction) -> Effects:
        effects = Effects()
        effects.publish_all(await answer_access([_arrival(record) for record in batch], MongoSnapshot(store, transaction)))
        return effects

    async def marked() -> set[int]:
        return await partitions_with_marks(store)

    return (
        BatchWorker(group=GROUP, topic=IDENTITIES, handle=on_identities, store=store, broker=broker, idle=on_idle, idle_due=marked),
        BatchWorker(group=GROUP, topic=REQUESTS, handle=on_requests, store=store, broker=broker),
    )


async def unless_erased(records: Sequence[Record], snapshot: Snapshot) -> list[Record]:
    """Those whose submission was not erased: a late repeat must not become a dead letter again."""
    submissions = {each.event_id: each.event.submission.submission_id for each in records if isinstance(each.event, SubmissionResolved)}
    rows = await snapshot.contributions(submissions.values())
    erased = {submission_id for submission_id, row in rows.items() if row.erased}
    return [each for each in records if submissions.get(each.event_id) not in erased]


def _arrival(record: Record, dead_letters: int = 0) -> Arrival:
    return Arrival(record.event, record.event_id, datetime.fromtimestamp(record.timestamp_ms / 1000, UTC), record.traceparent, dead_letters)


def _effects(changes: Changes) -> Effects:
    effects = Effects()
    for collection, operations in writes(changes):
        effects.write(collection, *operations)
    effects.publish_all(changes.events)
    return effects
