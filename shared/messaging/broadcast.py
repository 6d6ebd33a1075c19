"""A topic read by every process, without a group: for what each must hear, such as destroyed keys."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.contracts.event import Decoder
from shared.contracts.topics import Topic
from shared.messaging.broker import Broker
from shared.messaging.fetching import QUIET_WAIT_MS, wait_for_records
from shared.messaging.producer import REQUEST_TIMEOUT_MS
from shared.messaging.record import Record, decode
from shared.storage import TransientError

OnRecord = Callable[[Record], Awaitable[None]]
_log = logging.getLogger("kehu.messaging.broadcast")


class BroadcastReader:
    """Calls `on_record` for every record from the start of the process on, at least once and in order per partition.

    While Kafka is away it waits; afterwards it goes on where it was, so nothing is missed while the process lives. A record that does
    not decode is passed over with a log line; a TransientError of `on_record` repeats the record; any other error fails the process.
    """

    def __init__(self, broker: Broker, topic: Topic, on_record: OnRecord, start: Literal["end", "beginning"] = "end") -> None:
        self._broker, self._topic, self._on_record, self._start = broker, topic, on_record, start
        self._decoder = Decoder(topic.events)
        self._positions: dict[TopicPartition, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Starts reading in the background."""
        self._task = asyncio.create_task(self._run(), name=f"broadcast {self._topic.name}")

    async def stop(self) -> None:
        """Stops reading."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def wait_until_ready(self) -> None:
        """Returns once the starting position is fixed: later records will be heard."""
        await self._ready.wait()

    async def _run(self) -> None:
        while True:
            try:
                await self._read()
            except (KafkaError, OSError, TimeoutError, TransientError):
                _log.warning("broadcast reader waits for a dependency", extra={"topic": self._topic.name})
            except Exception as error:  # noqa: BLE001 - unknown: the process must not go on deaf
                self._broker.fail(error)
                return
            await asyncio.sleep(1.0)

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._broker.bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            await consumer.start()
            await self._take_positions(consumer)
            while True:
                for place, records in (await consumer.getmany(timeout_ms=QUIET_WAIT_MS)).items():
                    await self._hear(place, records)
        finally:
            await consumer.stop()

    async def _take_positions(self, consumer: AIOKafkaConsumer) -> None:
        name = self._broker.physical(self._topic)
        places = [TopicPartition(name, each) for each in await self._broker.producer.partitions_of(name)]
        consumer.assign(places)
        limits = await (consumer.end_offsets(places) if self._start == "end" else consumer.beginning_offsets(places))
        for place in places:
            consumer.seek(place, self._positions.setdefault(place, limits[place]))
        wait_for_records(consumer, QUIET_WAIT_MS)
        self._ready.set()

    async def _hear(self, place: TopicPartition, records: Sequence[object]) -> None:
        for raw in records:
            record = decode(raw, self._decoder)  # type: ignore[arg-type] # aiokafka ships no types
            if isinstance(record, str):
                _log.error("broadcast record does not decode: %s", record, extra={"topic": self._topic.name})
            else:
                await self._on_record(record)
            self._positions[place] = raw.offset + 1  # type: ignore[attr-defined]


def broadcast_reader(broker: Broker, topic: Topic, on_event: OnRecord, *, start: Literal["end", "beginning"] = "end") -> BroadcastReader:
    """A reader of the whole topic for this process alone; call its `start` and, at the end, its `stop`."""
    return BroadcastReader(broker, topic, on_event, start)
