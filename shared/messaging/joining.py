"""Whether what one poll brought can be applied in one transaction, and doing so."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from shared.messaging.assignment import Assignment, Held
from shared.messaging.fetching import BYTES_MAX, Fetching
from shared.storage import DuplicateKey, TransientError
from shared.telemetry import batch_span, metrics
from shared.telemetry.tracing import LINKS_MAX


class Joining:
    """Applies the batches of several partitions together where all is well with them; what it leaves is done one partition at a time."""

    def __init__(self, assignment: Assignment, topic: str, group: str) -> None:
        self._assignment, self._topic, self._group = assignment, topic, group
        self._labels = {"topic": topic, "group": group}

    async def consume(self, polled: Sequence[tuple[int, Sequence[Any]]], fetching: Fetching) -> frozenset[int]:
        """Returns the partitions whose records are applied and published; the others are as they were before."""
        if len(polled) < 2 or sum(len(raw.value or b"") for _, records in polled for raw in records) > BYTES_MAX:
            return frozenset()
        async with contextlib.AsyncExitStack() as locks:
            for partition, _ in sorted(polled, key=lambda each: each[0]):
                await locks.enter_async_context(self._assignment.hold(partition).lock)
            fit = [(self._assignment.hold(partition), records) for partition, records in polled if self._fits(partition, records, fetching)]
            if len(fit) < 2 or not await self._applied(fit):
                return frozenset()
            done = frozenset(held.owner.partition for held, _ in fit)
            fetching.in_flight -= done
            return done

    def _fits(self, partition: int, records: Sequence[Any], fetching: Fetching) -> bool:
        """Fetched under the present assignment, without a gap before it, and with nothing set aside that later records wait for."""
        held = self._assignment.hold(partition)
        current = held.ready and fetching.generations.get(partition) == held.generation
        return current and records[0].offset <= held.owner.position.next and not held.owner.wants_care

    async def _applied(self, fit: Sequence[tuple[Held, Sequence[Any]]]) -> bool:
        started, count = time.monotonic(), sum(len(records) for _, records in fit)
        partitions = [held.owner.partition for held, _ in fit]
        try:
            with batch_span(self._topic, partitions, self._group, count, traceparents(raw for _, records in fit for raw in records)):
                await self._assignment.joined.apply([(held.owner, records) for held, records in fit])
        except (TransientError, DuplicateKey) as error:
            metrics.RETRIES.add(1, {**self._labels, "error": type(error).__name__})
            return False
        for held, _ in fit:
            held.expects_first = False
        metrics.BATCHES.add(1, self._labels)
        metrics.BATCH_SECONDS.record(time.monotonic() - started, self._labels)
        return True


def traceparents(records: Iterable[Any]) -> Iterator[str | None]:
    """Of the first records only: a span has few links anyway."""
    for _, raw in zip(range(LINKS_MAX), records, strict=False):
        for name, value in raw.headers:
            if name == "traceparent":
                yield value.decode("ascii", "replace")
