"""What a worker does without records, once a second: make partitions ready, publish leftovers, mark passes, redrives, figures."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection

from aiokafka.errors import KafkaError

from shared.messaging.assignment import Assignment, Held
from shared.messaging.fetching import Fetching
from shared.messaging.partition import PartitionOwner, PositionMoved
from shared.storage import DuplicateKey, TransientError

TEND_SECONDS = 1.0
TURN_SECONDS = 5.0
"""How long a partition with work to do waits for the batch in hand; a batch that waits for a dependency itself may last longer."""
_log = logging.getLogger("kehu.messaging.worker")

IdleDue = Callable[[], Awaitable[Collection[int]]]


async def every_partition_is_due(assignment: Assignment) -> Collection[int]:
    """Where the service cannot tell cheaply which partitions have marks."""
    return assignment.partitions()


class Tending:
    """Looks after the partitions of one worker in the background."""

    def __init__(self, assignment: Assignment, fetching: Fetching, due: IdleDue, measure: Callable[[], None]) -> None:
        self._assignment, self._fetching, self._due, self._measure = assignment, fetching, due, measure

    async def run(self, stopping: asyncio.Event) -> None:
        """Until stopped. Raises what is not transient."""
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._assignment.wake.wait(), TEND_SECONDS)
            self._assignment.wake.clear()
            try:
                await self._all(stopping)
            except (TransientError, KafkaError, DuplicateKey) as error:
                _log.warning("tending waits: %s", type(error).__name__)
            self._measure()

    async def _all(self, stopping: asyncio.Event) -> None:
        due = await self._due()
        for partition in self._assignment.partitions():
            held = self._assignment.hold(partition)
            if not stopping.is_set() and await _turn(held, wanted=partition in due or held.owner.has_leftovers):
                try:
                    await self._one(partition, held, partition in due)
                finally:
                    held.lock.release()

    async def _one(self, partition: int, held: Held, due: bool) -> None:
        await self._assignment.make_ready(partition)
        if not held.ready:
            return
        try:
            await self._work(held.owner, due=due)
        except PositionMoved:
            held.unready()  # the next turn fences again
        except (TransientError, DuplicateKey):
            held.unready()
            raise
        await self._assignment.return_to_position(partition, held, self._fetching)

    async def _work(self, owner: PartitionOwner, *, due: bool) -> None:
        if owner.has_leftovers:
            await owner.relay()
        if due and await owner.mark_pass():
            await owner.relay()
        while await owner.redrive():
            await owner.relay()


async def _turn(held: Held, *, wanted: bool) -> bool:
    """Takes the partition's lock; without work to do only if it is free.

    A busy worker holds all its locks nearly always: whoever only looks whether one is free never gets it.
    """
    if held.lock.locked() and not wanted:
        return False
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await held.lock.acquire()
    except TimeoutError:
        return False
    return True
