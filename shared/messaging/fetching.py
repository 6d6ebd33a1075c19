"""How a worker's consumer fetches: at once when idle, in large batches when busy, and every batch marked with what it was fetched under."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

RECORDS_MAX = 1_000
"""A transaction of so many is large enough that its fixed cost is small; twice as many took 50 MiB more in five services."""
BYTES_MAX = 4 * 1024 * 1024
PARTITION_BYTES_MAX = 256 * 1024
"""The client fetches ahead until it holds so much of every partition: 3 MiB for twelve, more than one full batch."""
POLL_WAIT_MS = 3_000
"""A poll returns with the first records; an empty one waits longer than the hosting loop asks for, to cost nothing when idle."""
IDLE_WAIT_MS = 500
"""Long poll of an idle consumer: the first record ends it, so it costs no latency and few requests."""
QUIET_SECONDS = 5.0
QUIET_WAIT_MS = 3_000
"""Long poll of a consumer without a record for `QUIET_SECONDS`. Not sooner: what is sought behind a running poll is fetched after it only."""
BUSY_WAIT_MS = 100
BUSY_RECORDS_PER_SECOND = 100.0
_RATE_WINDOW_SECONDS = 1.0
_log = logging.getLogger("kehu.messaging.fetching")


class Fetching:
    """Stands in front of a consumer's `getmany`, which the hosting loop calls.

    Attributes:
        last_poll: monotonic time of the last return, empty ones too: the loop is alive.
        in_flight: partitions whose records were handed out and are not settled yet.
        generations: by partition, what the last batch was fetched under.
    """

    def __init__(self, consumer: AIOKafkaConsumer, generation_of: Callable[[int], int], on_out_of_range: Callable[[int, int], None]) -> None:
        self._consumer, self._native_getmany = consumer, consumer.getmany
        self._generation_of, self._on_out_of_range = generation_of, on_out_of_range
        self.last_poll = time.monotonic()
        self.in_flight: set[int] = set()
        self.generations: dict[int, int] = {}
        self._window_start, self._window_records, self._rate = time.monotonic(), 0, 0.0
        self._last_record = self._window_start
        consumer.getmany = self.getmany

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None) -> dict[TopicPartition, list[Any]]:
        """As the consumer's own. An offset out of range is reported, never jumped over."""
        try:
            # Nothing may be awaited between the return of the records and their marking.
            fetched: dict[TopicPartition, list[Any]] = await self._native_getmany(
                *partitions, timeout_ms=max(timeout_ms, POLL_WAIT_MS), max_records=max_records
            )
        except NoOffsetForPartitionError:
            fetched = {}  # a new group: the worker seeks to its own position
        except OffsetOutOfRangeError as error:
            fetched = {}
            for place, offset in error.args[0].items():
                self._on_out_of_range(place.partition, offset)
        self._note(fetched)
        return fetched

    def _note(self, fetched: dict[TopicPartition, list[Any]]) -> None:
        self.last_poll = time.monotonic()
        for place in fetched:
            self.in_flight.add(place.partition)
            self.generations[place.partition] = self._generation_of(place.partition)
        if fetched:
            self._last_record = self.last_poll
        self._window_records += sum(map(len, fetched.values()))
        elapsed = self.last_poll - self._window_start
        if elapsed >= _RATE_WINDOW_SECONDS:
            self._rate = self._window_records / elapsed
            self._window_start, self._window_records = self.last_poll, 0
            self._adapt()

    def _adapt(self) -> None:
        """While busy, the broker gathers for a moment before it answers, so that a transaction covers more records."""
        busy = self._rate >= BUSY_RECORDS_PER_SECOND
        quiet = self.last_poll - self._last_record >= QUIET_SECONDS
        self._consumer._fetcher._fetch_min_bytes = 512 * 1024 if busy else 1
        wait_for_records(self._consumer, BUSY_WAIT_MS if busy else QUIET_WAIT_MS if quiet else IDLE_WAIT_MS)


def wait_for_records(consumer: AIOKafkaConsumer, wait_ms: int) -> None:
    """Lets the broker hold an empty fetch for so long. aiokafka reads this at every request but has no public way to change it.

    Its loop also wakes for nothing every 200 ms; whatever it has to hear of (a seek, a resume, an assignment) wakes it anyway.
    """
    consumer._fetcher._fetch_max_wait_ms = wait_ms
    consumer._fetcher._fetcher_timeout = max(0.2, wait_ms / 1000)


def bounded(records: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cuts the records of one partition into batches of at most `RECORDS_MAX` and, beyond one record, `BYTES_MAX`."""
    start = size = 0
    for index, raw in enumerate(records):
        cost = len(raw.value or b"")
        if index > start and (index - start == RECORDS_MAX or size + cost > BYTES_MAX):
            yield records[start:index]
            start, size = index, 0
        size += cost
    if start < len(records):
        yield records[start:]
