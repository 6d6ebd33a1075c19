"""Topics as code, applied: `shared.contracts.topics` says what should be, this makes it so and reports what differs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from shared.contracts.topics import TOPICS, Topic

_POLL_S = 0.1
_TOPIC_ALREADY_EXISTS = 36


class KafkaUnavailable(RuntimeError):
    """No broker answered in time."""


class TopicMismatch(RuntimeError):
    """A topic exists with another number of partitions; keys would change partition, so nobody may mend that in place."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """How a topic stands.

    Attributes:
        state: `missing`, `created`, `changed`, `differs` (when only looked at) or `right`.
        differences: setting -> (as it is, as it should be).
    """

    name: str
    partitions: int
    state: str
    differences: Mapping[str, tuple[str, str]] = field(default_factory=dict)


async def wait_for_kafka(bootstrap_servers: str, timeout_s: float = 60.0) -> None:
    """Return once a broker answers a metadata request.

    Raises:
        KafkaUnavailable: none did within `timeout_s`.
    """
    # Refused connections are what is waited out here, no news for a log.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            async with _admin(bootstrap_servers):
                return
        except (KafkaError, OSError) as error:
            if time.monotonic() > deadline:
                raise KafkaUnavailable(f"Kafka does not answer at {bootstrap_servers}") from error
        await asyncio.sleep(_POLL_S)


async def describe_topics(bootstrap_servers: str, namespace: str, topics: Iterable[Topic] = TOPICS) -> list[TopicState]:
    """Compare the topics with their declaration; changes nothing."""
    async with _admin(bootstrap_servers) as admin:
        return await _compare(admin, namespace, list(topics))


async def apply_topics(bootstrap_servers: str, namespace: str, topics: Iterable[Topic] = TOPICS, replication: int = 1) -> list[TopicState]:
    """Create what is missing and set what differs. Idempotent.

    Raises:
        TopicMismatch: a topic has another number of partitions.
        KafkaError: the broker refused a change.
    """
    declared = list(topics)
    async with _admin(bootstrap_servers) as admin:
        before = await _compare(admin, namespace, declared)
        by_name = {namespace + topic.name: topic for topic in declared}
        await _create(admin, {state.name: by_name[state.name] for state in before if state.state == "missing"}, replication)
        await _configure(admin, {state.name: by_name[state.name] for state in before if state.state == "differs"})
    done = {"missing": "created", "differs": "changed"}
    return [TopicState(state.name, state.partitions, done.get(state.state, state.state), state.differences) for state in before]


async def end_offsets(bootstrap_servers: str, names: Iterable[str]) -> dict[str, dict[int, int]]:
    """The offset that the next record will get, by topic and partition.

    Raises:
        KafkaError: no broker answers.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    try:
        await consumer.start()
        partitions = {name: await _partitions(consumer, name) for name in names}
        ends = await consumer.end_offsets([TopicPartition(name, number) for name, numbers in partitions.items() for number in numbers])
        return {name: {number: ends[TopicPartition(name, number)] for number in numbers} for name, numbers in partitions.items()}
    finally:
        await consumer.stop()


async def delete_topics(bootstrap_servers: str, prefix: str) -> None:
    """Delete every topic whose name starts with `prefix` (not empty): tests clean up behind them."""
    if not prefix:
        raise ValueError("an empty prefix would delete everything")
    async with _admin(bootstrap_servers) as admin:
        names = [name for name in await admin.list_topics() if name.startswith(prefix)]
        if names:
            await admin.delete_topics(names)


async def _partitions(consumer: AIOKafkaConsumer, name: str) -> list[int]:
    await consumer._client._wait_on_metadata(name)
    return sorted(consumer.partitions_for_topic(name) or ())


async def _compare(admin: AIOKafkaAdminClient, namespace: str, topics: list[Topic]) -> list[TopicState]:
    existing = set(await admin.list_topics())
    present = [topic for topic in topics if namespace + topic.name in existing]
    partitions = await _partition_counts(admin, [namespace + topic.name for topic in present])
    settings = await _settings(admin, [namespace + topic.name for topic in present])
    return [_state(namespace + topic.name, topic, partitions, settings) for topic in topics]


def _state(name: str, topic: Topic, partitions: dict[str, int], settings: dict[str, dict[str, str]]) -> TopicState:
    if name not in partitions:
        return TopicState(name, topic.partitions, "missing")
    if partitions[name] != topic.partitions:
        raise TopicMismatch(f"{name} has {partitions[name]} partitions, declared are {topic.partitions}; create a new topic version instead")
    actual = settings.get(name, {})
    differences = {key: (actual.get(key, ""), value) for key, value in topic.config.items() if actual.get(key) != value}
    return TopicState(name, topic.partitions, "differs" if differences else "right", differences)


async def _partition_counts(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    if not names:
        return {}
    return {row["topic"]: len(row["partitions"]) for row in await admin.describe_topics(names)}


async def _settings(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    found: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]):
        for _code, _message, _kind, name, entries in response.resources:
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


async def _create(admin: AIOKafkaAdminClient, topics: dict[str, Topic], replication: int) -> None:
    wanted = [NewTopic(name, topic.partitions, replication, topic_configs=topic.config) for name, topic in topics.items()]
    if not wanted:
        return
    response = await admin.create_topics(wanted)
    for name, code, *_ in response.topic_errors:
        if code not in (0, _TOPIC_ALREADY_EXISTS):  # Another process may have been faster.
            raise for_code(code)(f"cannot create topic {name}")


async def _configure(admin: AIOKafkaAdminClient, topics: dict[str, Topic]) -> None:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, configs=topic.config) for name, topic in topics.items()]
    if resources:
        await admin.alter_configs(resources)


@asynccontextmanager
async def _admin(bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=20_000)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()
