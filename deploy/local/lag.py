"""How far the consumers are behind: the truth from MongoDB's positions against Kafka's ends, or what running services see themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.local.connection import Connection

if TYPE_CHECKING:
    import httpx

LOOK_SECONDS = 0.25


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


async def drained(clients: Iterable[httpx.AsyncClient]) -> AsyncIterator[int]:
    """Yields the records that the services' own consumers see before them, until that was 0 twice running; the last value is 0.

    A reading to rest by, between one measurement and the next: a consumer that gets partitions in this moment sees nothing. Whether all
    has arrived is for `arrival` to say.

    Args:
        clients: one for each service that consumes, with the service's address as base.
    """
    services, zeros = list(clients), 0
    while zeros < 2:
        lag = sum([await seen_lag(client) for client in services])
        zeros = zeros + 1 if lag == 0 else 0
        yield lag
        if zeros < 2:
            await asyncio.sleep(LOOK_SECONDS)


async def seen_lag(client: httpx.AsyncClient) -> int:
    """The records that one service's consumers know to be before them: a reading, of the partitions they hold at this moment."""
    body = (await client.get("/livez")).json()
    return sum(each["lag_records"] for each in body["consumers"])


async def dead_letter_counts(connection: Connection) -> dict[str, dict[str, int]]:
    """Set-aside records by service and state."""
    from deploy.local.stack import SERVICES
    from shared.messaging import DeadLetters

    store = await connection.store("keyring")
    try:
        return {service: dict(await DeadLetters(store.other(service)).count()) for service in SERVICES}
    finally:
        store.close()
