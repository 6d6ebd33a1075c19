"""How often each event lies in a topic: what was never published, and what came again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient


@dataclass(frozen=True, slots=True)
class Copies:
    """Of the events of one type.

    Attributes:
        distinct: different events, by id.
        repeated: records beyond the first of an event.
    """

    distinct: int
    repeated: int


async def copies(bootstrap_servers: str, topic: str, event_type: str) -> Copies:
    """Reads the whole topic, past every offset that a group keeps."""
    counts = await _count_ids(bootstrap_servers, topic, event_type.encode())
    return Copies(len(counts), sum(counts.values()) - len(counts))


async def _count_ids(bootstrap_servers: str, topic: str, event_type: bytes) -> Counter[bytes]:
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    await reader.start()
    try:
        places = await _partitions(bootstrap_servers, topic)
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        ends = await reader.end_offsets(places)
        counts: Counter[bytes] = Counter()
        while any([await reader.position(place) < ends[place] for place in places]):
            for records in (await reader.getmany(timeout_ms=200)).values():
                headers = [dict(record.headers) for record in records]
                counts.update(each["ce_id"] for each in headers if each.get("ce_type") == event_type)
        return counts
    finally:
        await reader.stop()


async def _partitions(bootstrap_servers: str, topic: str) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        [described] = await admin.describe_topics([topic])
        return [TopicPartition(topic, each["partition"]) for each in described["partitions"]]
    finally:
        await admin.close()
