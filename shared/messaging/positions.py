"""How far each partition was consumed: the truth in MongoDB, and the lag against Kafka's end."""

from __future__ import annotations

from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class Position:
    """What the partition's row says.

    Attributes:
        next: offset of the first record that is not consumed.
        sequence: rises with every transaction of the partition, mark passes included, so that each conflicts with a zombie's.
        epoch: rises with every fence.
    """

    next: int
    sequence: int
    epoch: int

    def after(self, next_offset: int | None = None) -> Position:
        """The position one transaction later; `next` stays if not given."""
        return replace(self, next=self.next if next_offset is None else next_offset, sequence=self.sequence + 1)


async def consumed_positions(store: Store, group: str, topic: str | Topic, transaction: Transaction | None = None) -> dict[int, int]:
    """Next offset by partition, of everything that is committed. Partitions never owned by anybody are left out."""
    name = topic if isinstance(topic, str) else topic.name
    rows = await store.collection(OFFSETS).find({"group": group, "topic": name}, projection=["partition", "next"], transaction=transaction)
    return {row["partition"]: row["next"] for row in rows}
