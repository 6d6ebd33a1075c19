"""How far the consumers are behind: the truth from MongoDB's positions against Kafka's ends, whoever runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.local.connection import Connection


@dataclass(frozen=True, slots=True)
class GroupLag:
    """A service's distance from the end of one topic.

    Attributes:
        records: not yet consumed, over all partitions; 0 when drained.
    """

    service: str
    topic: str
    records: int


async def consumer_lag(connection: Connection) -> list[GroupLag]:
    """Lag of every service on every topic its group reads.

    Raises:
        CommandFailed: MongoDB does not answer.
        KafkaError: Kafka does not.
    """
    from shared.contracts.topics import SUBSCRIPTIONS
    from shared.messaging import consumed_positions
    from shared.messaging.topic_admin import end_offsets

    wanted = [(service, topic) for service, topics in SUBSCRIPTIONS.items() for topic in topics]
    ends = await end_offsets(connection.kafka_bootstrap_servers, {connection.namespace + topic.name for _, topic in wanted})
    store = await connection.store("keyring")
    try:
        lags = []
        for service, topic in wanted:
            positions = await consumed_positions(store.other(service), service, topic)
            lags.append(GroupLag(service, topic.name, _behind(ends[connection.namespace + topic.name], positions)))
        return lags
    finally:
        store.close()


def _behind(ends: Mapping[int, int], positions: Mapping[int, int]) -> int:
    return sum(max(0, end - positions.get(partition, 0)) for partition, end in ends.items())


async def dead_letter_counts(connection: Connection) -> dict[str, dict[str, int]]:
    """Set-aside records by service and state."""
    from deploy.local.stack import SERVICES
    from shared.messaging import DeadLetters

    store = await connection.store("keyring")
    try:
        return {service: dict(await DeadLetters(store.other(service)).count()) for service in SERVICES}
    finally:
        store.close()
