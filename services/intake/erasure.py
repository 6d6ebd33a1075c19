"""Intake's part in forgetting somebody: nothing of theirs may still be on its way, and no sealed body outlives its key."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from services.intake.micro_batches import MicroBatches
from services.intake.migrations import BODIES, LEDGER, OUTBOX, QUARANTINE
from shared.contracts.event import Outgoing
from shared.contracts.ids import event_id
from shared.contracts.privacy import ErasureReceipt, ErasureRequested, KeysDestroyed
from shared.contracts.topics import SUBMISSIONS
from shared.failpoints import failpoint
from shared.messaging import OF_DOORS, Batch, Broker, Effects, Handler, OutboxRelay, Record
from shared.storage import DeleteMany, Store, Transaction, UpdateMany, UpdateOne

_POLL_SECONDS = 0.1


class AnswerErasure:
    """Called for every record of the requests topic, in every process: drains for an erasure and answers."""

    def __init__(self, writer: MicroBatches, store: Store, relay: OutboxRelay, broker: Broker, instance: str) -> None:
        self._writer, self._store, self._relay, self._broker, self._instance = writer, store, relay, broker, instance

    async def __call__(self, record: Record) -> None:
        """Handles one record; what it does not know it passes over."""
        if isinstance(record.event, ErasureRequested):
            await self._drain()
            await self._answer(record.event, record)

    async def _drain(self) -> None:
        """Returns once every submission accepted before the call, here or by a process that has died, is in Kafka."""
        await self._writer.settled()
        # Exactly what waits now: later submissions need not be below the barrier, and under load some would always wait. What a dead process
        # left is among it, whatever its clock said, and published by whoever takes it over.
        waiting = await self._still_waiting({"_id": {"$gte": OF_DOORS}})
        while waiting:
            self._relay.wake()
            await asyncio.sleep(_POLL_SECONDS)
            waiting = await self._still_waiting({"_id": {"$in": waiting}})

    async def _still_waiting(self, wanted: Mapping[str, Any]) -> list[str]:
        return [each["_id"] for each in await self._store.collection(OUTBOX).find(wanted, projection=["_id"])]

    async def _answer(self, event: ErasureRequested, record: Record) -> None:
        offsets = await self._broker.end_offsets(SUBMISSIONS)
        receipt = ErasureReceipt(
            request_id=event.request_id,
            holder="intake",
            stage="drained",
            instance=self._instance,
            live_instances=await self._relay.live_instances(),
            attempt=event.attempt,
            offsets={str(partition): offset for partition, offset in offsets.items()},
        )
        outgoing = Outgoing(
            topic=ErasureReceipt.topic,
            key=event.request_id.bytes,
            event_id=event_id(record.event_id, f"drained:{self._instance}"),
            event=receipt,
            occurred_at=datetime.now(UTC),
            traceparent=record.traceparent,
        )
        failpoint("intake.drained_before_receipt")
        await self._relay.send([outgoing])


def forget_destroyed(store: Store, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Handler:
    """The handler that drops sealed bodies whose keys are destroyed and marks their rows `erased`, for good. Repeats change nothing."""

    async def handle(batch: Batch, transaction: Transaction) -> Effects:
        key_ids = [key_id.bytes for record in batch if isinstance(record.event, KeysDestroyed) for key_id in record.event.key_ids]
        rows = await store.collection(LEDGER).find_by_ids(key_ids, projection={"batch": 1, "state": 1}, transaction=transaction)
        living = {raw_id: row for raw_id, row in rows.items() if row["state"] != "erased"}
        return _forgetting(living, clock())

    return handle


def _forgetting(rows: Mapping[bytes, Mapping[str, Any]], now: datetime) -> Effects:
    effects = Effects()
    if not rows:
        return effects
    ids, by_batch = list(rows), defaultdict[str, list[bytes]](list)
    for raw_id, row in rows.items():
        by_batch[row["batch"]].append(raw_id)
    effects.write(LEDGER, UpdateMany({"_id": {"$in": ids}}, {"$set": {"state": "erased", "erased_at": now}}))
    effects.write(
        BODIES, *(UpdateOne({"_id": batch}, {"$unset": {f"sealed.{raw_id.hex()}": "" for raw_id in members}}) for batch, members in by_batch.items())
    )
    effects.write(QUARANTINE, DeleteMany({"_id": {"$in": ids}}))
    return effects
