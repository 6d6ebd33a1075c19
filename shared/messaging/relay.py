"""The relay of writers that are not Kafka consumers: HTTP doors and sagas."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from shared.contracts.event import Outgoing
from shared.failpoints import failpoint, mutant
from shared.messaging.broker import Broker
from shared.messaging.leases import RENEW_SECONDS, Lease
from shared.messaging.outbox import OUTBOX, Message, enqueue, messages_of
from shared.storage import Document, Store, Transaction, TransientError

SWEEP_SECONDS = 5.0
"""Between looks for what nobody announced: a commit whose answer was lost. Everything else wakes the relay at once."""
DOCUMENTS_MAX = 8
"""At once: a document may hold a few megabytes."""
DELAY_SECONDS_MAX = 15.0
OnPublished = Callable[[Sequence[Document]], Awaitable[None]]
_log = logging.getLogger("kehu.messaging.relay")


class OutboxRelay:
    """Publishes this process's outbox documents in order, at least once, and forgets each only when Kafka has it.

    Documents of a process whose lease lapsed are taken over by whoever notices first. A frozen process that wakes may publish a
    document a second time, with the same ids; why that is harmless: docs/adr/door-relay-without-epochs.md.
    """

    def __init__(self, store: Store, broker: Broker, instance: str, on_published: OnPublished | None = None) -> None:
        """`on_published` gets the outbox documents that Kafka has, before they are deleted; after a crash it gets them once more."""
        store.writer = instance
        self._store = store
        self._outbox = store.collection(OUTBOX)
        self._broker, self._instance, self._on_published = broker, instance, on_published
        self._lease = Lease(store, instance)
        self._wanted = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Keeps the lease and publishes until cancelled; waits out what is transient and raises anything else."""
        tasks = [asyncio.create_task(_patiently(each)) for each in (self._publish_when_wanted, self._renew_and_take_over)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(TransientError):
                await self._lease.release()

    async def start(self) -> None:
        """As `run`, in the background; what it would raise fails the process through the broker."""
        await self._lease.renew()
        self._running = asyncio.create_task(self.run(), name="outbox relay")
        self._running.add_done_callback(self._report)

    async def stop(self, drain_seconds: float = 5.0) -> None:
        """Publishes what is left, for so long, and gives the lease back; what remains is taken over by another process."""
        with contextlib.suppress(TimeoutError, TransientError):
            async with asyncio.timeout(drain_seconds):
                await self.drain()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Stores events that come with no other change, in a transaction of their own, and has them published. Raises as `enqueue` does."""

        async def work(transaction: Transaction) -> None:
            await enqueue(transaction, self._store, outgoing)

        await self._store.transaction(work)
        self.wake()

    def wake(self) -> None:
        """Something was committed: publish it now rather than at the next sweep."""
        self._wanted.set()

    async def drain(self) -> None:
        """Returns once nothing of this process is left in the outbox; waits while Kafka is away."""
        while not await self.drained():
            self.wake()
            await asyncio.sleep(0.05)

    async def drained(self) -> bool:
        """Whether every committed event of this process is acknowledged by Kafka."""
        return await self._outbox.find_one({"writer": self._instance}, projection=["_id"]) is None

    async def live_instances(self) -> tuple[str, ...]:
        """Every process of this service whose lease has not lapsed, this one included."""
        return await self._lease.live()

    async def _publish_when_wanted(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), SWEEP_SECONDS)
            self._wanted.clear()
            while await self._publish_some():
                pass

    async def _publish_some(self) -> bool:
        """One round; returns whether there may be more."""
        async with self._one_at_a_time:
            found = await self._outbox.find({"writer": self._instance}, sort=[("_id", 1)], limit=DOCUMENTS_MAX)
            if found:
                await self._publish(found)
            return len(found) == DOCUMENTS_MAX

    async def _publish(self, found: Sequence[Document]) -> None:
        ids = [each["_id"] for each in found]
        messages: list[Message] = [message for each in found for message in messages_of(each)]
        failpoint("relay.after_claim_before_publish")
        if mutant("outbox_deleted_early"):
            await self._outbox.delete_many({"_id": {"$in": ids}})
            failpoint("relay.after_delete_before_publish")
        await self._broker.publish_messages(messages)
        if self._on_published is not None:
            await self._on_published(found)
        failpoint("relay.after_publish_before_delete")
        await self._outbox.delete_many({"_id": {"$in": ids}})

    async def _renew_and_take_over(self) -> None:
        while True:
            await self._lease.renew()
            if orphans := await self._orphaned_writers():
                failpoint("relay.takeover_before_publish")
                await self._outbox.update_many({"writer": {"$in": orphans}}, {"$set": {"writer": self._instance}})
                self.wake()
            await asyncio.sleep(RENEW_SECONDS)

    async def _orphaned_writers(self) -> list[str]:
        writers = await self._outbox.distinct("writer", {"writer": {"$exists": True, "$ne": self._instance}})
        return sorted(set(writers) - set(await self._lease.live())) if writers else []

    def _report(self, ended: asyncio.Task[None]) -> None:
        error = None if ended.cancelled() else ended.exception()
        if error is not None:
            self._broker.fail(error)


async def _patiently(work: Callable[[], Awaitable[None]]) -> None:
    """Repeats `work` while the trouble is transient, backing off with jitter."""
    delay = 0.1
    while True:
        started = time.monotonic()
        try:
            await work()
        except TransientError as error:
            _log.warning("relay waits: %s", type(error).__name__)
        delay = 0.1 if time.monotonic() - started > DELAY_SECONDS_MAX else min(delay * 2, DELAY_SECONDS_MAX)
        await asyncio.sleep(delay * (0.5 + random.random()))  # noqa: S311 - jitter
