"""What waits in a service's database: events not published yet, and records set aside. Measured when somebody looks, not all the time."""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.messaging.dead_letters import DeadLetters
from shared.messaging.outbox import OF_DOORS, OUTBOX, written_at
from shared.storage import Collection, Store
from shared.telemetry import metrics

MEASURE_SECONDS = 5.0
STATES = ("dead", "parked", "redrive")


class Waiting:
    """The gauges of outbox and dead letters of one service. Anybody may look, so however many do, the database is asked every few seconds only."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._due = clock()

    async def measure(self) -> None:
        """Brings the gauges up to date, unless that was tried in the last `MEASURE_SECONDS`.

        Raises:
            TransientStorageError: the database does not answer; the gauges keep what they said.
        """
        if self._clock() < self._due:
            return
        self._due = self._clock() + MEASURE_SECONDS  # before any wait: who looks meanwhile, or after a failure, asks nothing
        counts = await DeadLetters(self._store).count()
        for state in STATES:
            metrics.DEAD_LETTERS.set(counts.get(state, 0), {"state": state})
        outbox = self._store.collection(OUTBOX)
        metrics.OUTBOX_DOCUMENTS.set(await outbox.count({}))
        metrics.OUTBOX_AGE.set(max(0.0, time.time() - await _oldest(outbox)))


async def _oldest(outbox: Collection) -> float:
    """When the oldest waiting document was written, seconds since the epoch; now, if nothing waits."""
    of_doors = await outbox.find_one({"_id": {"$gte": OF_DOORS}}, projection=["_id"], sort=[("_id", 1)])
    of_partitions = await outbox.find_one({"_id": {"$lt": OF_DOORS}}, projection=["at"], sort=[("at", 1)])
    times = [time.time()]
    times += [] if of_doors is None else [written_at(of_doors["_id"])]
    times += [] if of_partitions is None else [of_partitions["at"].timestamp()]
    return min(times)
