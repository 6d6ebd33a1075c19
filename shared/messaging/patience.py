"""Doing a partition's work until it succeeds: transient trouble is waited out, loss of the partition is accepted, the rest is raised."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError

from shared.messaging.assignment import Assignment, Held
from shared.messaging.partition import Overtaken, PositionMoved
from shared.storage import DuplicateKey, TransientError
from shared.telemetry import metrics

DELAY_SECONDS_MAX = 15.0
PATIENCE_SECONDS = 60.0
"""How long a batch waits inside the handler; then it is dropped, unacknowledged, so that polling goes on and the member is not evicted."""
_FIRST_DELAY_SECONDS = 0.005
_PAUSE_FROM_SECONDS = 0.2
_DUPLICATES_MAX = 8
_log = logging.getLogger("kehu.messaging.worker")


class Stopping(Exception):
    """The worker stops while a dependency is away: what is not committed is delivered again."""


class Patience:
    """Repeats work under back-off with jitter, for the partitions of one worker."""

    def __init__(self, assignment: Assignment, labels: dict[str, str]) -> None:
        self._assignment, self._labels = assignment, labels
        self.stopping = asyncio.Event()
        self.ended = False
        """Set when waiting was given up; whoever polls next clears it."""

    async def done(self, partition: int, work: Callable[[], Awaitable[object]]) -> bool:
        """Does `work` until it succeeds; false if the partition was lost or patience ended, and then it is unready.

        Raises:
            Stopping: the worker stops while the trouble lasts.
            Exception: whatever `work` raises that is not transient.
        """
        held = self._assignment.hold(partition)
        delay, deadline, duplicates, was_ready = 0.0, time.monotonic() + PATIENCE_SECONDS, 0, held.ready
        while True:
            try:
                if delay and was_ready:
                    if not held.ready:
                        return False  # reassigned meanwhile: to be fenced again, and what was fetched is void
                    await held.owner.refresh()
                await work()
            except Overtaken:
                self._assignment.leave(held)
                return False
            except (TransientError, KafkaError, DuplicateKey) as error:
                duplicates += isinstance(error, DuplicateKey)
                if duplicates > _DUPLICATES_MAX:
                    raise  # no race: the handler inserts what it should have read
                delay = min(delay * 2, DELAY_SECONDS_MAX) or _FIRST_DELAY_SECONDS
                if not await self._worth_waiting(partition, held, delay, deadline, error):
                    return False
            else:
                return True

    async def _worth_waiting(self, partition: int, held: Held, delay: float, deadline: float, error: Exception) -> bool:
        metrics.RETRIES.add(1, {**self._labels, "error": type(error).__name__})
        if self.stopping.is_set() and not (isinstance(error, PositionMoved) and delay < _PAUSE_FROM_SECONDS):
            raise Stopping from error
        self.ended = self.ended or time.monotonic() > deadline
        if self.ended or partition not in self._assignment.partitions():
            self._assignment.leave(held)
            return False
        if delay < _PAUSE_FROM_SECONDS:
            await self._rest(delay)
            return True
        _log.warning("waits for a dependency: %s", type(error).__name__, extra={**self._labels, "partition": partition})
        with self._assignment.paused():
            await self._rest(delay)
        return True

    async def _rest(self, delay: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), delay * (0.5 + random.random()))  # noqa: S311 - jitter
