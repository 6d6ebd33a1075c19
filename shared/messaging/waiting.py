"""What waits in a service's database: events not published yet, and records set aside. Measured when somebody looks, not all the time."""

from __future__ import annotations

import time

from shared.messaging.dead_letters import DeadLetters
from shared.messaging.outbox import OF_DOORS, OUTBOX, written_at
from shared.storage import Collection, Store
from shared.telemetry import metrics

STATES = ("dead", "parked", "redrive")


async def measure_waiting(store: Store) -> None:
    """Brings the gauges of outbox and dead letters up to date.

    Raises:
        TransientStorageError: the database does not answer; the gauges keep what they said.
    """
    counts = await DeadLetters(store).count()
    for state in STATES:
        metrics.DEAD_LETTERS.set(counts.get(state, 0), {"state": state})
    metrics.OUTBOX_DOCUMENTS.set(await store.collection(OUTBOX).count({}))
    metrics.OUTBOX_AGE.set(max(0.0, time.time() - await _oldest(store.collection(OUTBOX))))


async def _oldest(outbox: Collection) -> float:
    """When the oldest waiting document was written, seconds since the epoch; now, if nothing waits."""
    of_doors = await outbox.find_one({"_id": {"$gte": OF_DOORS}}, projection=["_id"], sort=[("_id", 1)])
    of_partitions = await outbox.find_one({"_id": {"$lt": OF_DOORS}}, projection=["at"], sort=[("at", 1)])
    times = [time.time()]
    times += [] if of_doors is None else [written_at(of_doors["_id"])]
    times += [] if of_partitions is None else [of_partitions["at"].timestamp()]
    return min(times)
