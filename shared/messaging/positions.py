"""How far each partition was consumed: the truth in MongoDB, and the lag against Kafka's end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.contracts.topics import Topic
from shared.storage import Store, Transaction

OFFSETS = "offsets"


@dataclass(frozen=True, slots=True)
class Progress:
    """State of one owned partition.

    Attributes:
        lag_records: records known to be behind the consumed position, at the last fetch.
        lag_seconds: age of the last consumed record while there is lag; 0 without lag.
        last_progress: when the partition was last found drained, or a batch of it was committed.
    """

    partition: int
    lag_records: int
    lag_seconds: float
    last_progress: datetime


async def consumed_positions(store: Store, group: str, topic: str | Topic, transaction: Transaction | None = None) -> dict[int, int]:
    """Next offset by partition, of everything that is committed. Partitions never owned by anybody are left out."""
    name = topic if isinstance(topic, str) else topic.name
    rows = await store.collection(OFFSETS).find({"group": group, "topic": name}, projection=["partition", "next"], transaction=transaction)
    return {row["partition"]: row["next"] for row in rows}
