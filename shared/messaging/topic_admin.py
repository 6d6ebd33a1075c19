"""Topics as code, applied: `shared.contracts.topics` says what should be, this makes it so and reports what differs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from shared.contracts.topics import TOPICS, Topic

_POLL_S = 0.1
_TOPIC_ALREADY_EXISTS = 36
_OF_THIS_TOPIC = 1
"""A setting that was made for the topic itself; the others are the broker's defaults."""
BROKERS_DEFAULT = -1


class KafkaUnavailable(RuntimeError):
    """No broker answered in time."""


class TopicMismatch(RuntimeError):
    """A topic exists with another number of partitions; keys would change partition, so nobody may mend that in place."""


@dataclass(frozen=True, slots=True)
class Durability:
    """How many brokers keep each record. It belongs to the cluster, not to a topic's declaration: one broker cannot keep three.

    Attributes:
        replication: copies of each partition; `BROKERS_DEFAULT` leaves it to the cluster.
        min_insync_replicas: copies that must hold a record before it is acknowledged (`acks=all`); None leaves it to the cluster.
    """

    replication: int = BROKERS_DEFAULT
    min_insync_replicas: int | None = None

    def settings_of(self, topic: Topic) -> dict[str, str]:
        """What the topic is set to."""
        return topic.config | ({} if self.min_insync_replicas is None else {"min.insync.replicas": str(self.min_insync_replicas)})


_CLUSTERS_OWN = Durability()
_COPIES = "replication"


class _Setting(NamedTuple):
    value: str
    of_topic: bool


@dataclass(frozen=True, slots=True)
class TopicState:
    """How a topic stands.

    Attributes:
        state: `missing`, `created`, `changed`, `differs` (when only looked at, or in its number of copies, which only the cluster's own
            tool `kafka-reassign-partitions` changes) or `right`.
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


async def describe_topics(
    bootstrap_servers: str, namespace: str, topics: Iterable[Topic] = TOPICS, durability: Durability = _CLUSTERS_OWN
) -> list[TopicState]:
    """Compare the topics with their declaration; changes nothing."""
    async with _admin(bootstrap_servers) as admin:
        return await _compare(admin, namespace, list(topics), durability)


async def apply_topics(
    bootstrap_servers: str, namespace: str, topics: Iterable[Topic] = TOPICS, durability: Durability = _CLUSTERS_OWN
) -> list[TopicState]:
    """Create what is missing and set what differs. Idempotent; settings that are not ours stay as an operator made them.

    Raises:
        TopicMismatch: a topic has another number of partitions.
        KafkaError: the broker refused a change.
    """
    declared = list(topics)
    async with _admin(bootstrap_servers) as admin:
        before = await _compare(admin, namespace, declared, durability)
        by_name = {namespace + topic.name: topic for topic in declared}
        await _create(admin, {state.name: by_name[state.name] for state in before if state.state == "missing"}, durability)
        await _configure(admin, {state.name: durability.settings_of(by_name[state.name]) for state in before if state.state == "differs"})
    return [replace(state, state=_outcome(state)) for state in before]


def _outcome(state: TopicState) -> str:
    if state.state == "differs":
        return "differs" if _COPIES in state.differences else "changed"
    return "created" if state.state == "missing" else state.state


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


async def _compare(admin: AIOKafkaAdminClient, namespace: str, topics: list[Topic], durability: Durability) -> list[TopicState]:
    existing = set(await admin.list_topics())
    present = [namespace + topic.name for topic in topics if namespace + topic.name in existing]
    copies = await _copies(admin, present)
    settings = await _settings(admin, present)
    return [_state(namespace + topic.name, topic, copies, settings, durability) for topic in topics]


def _state(name: str, topic: Topic, copies: dict[str, list[int]], settings: dict[str, dict[str, _Setting]], durability: Durability) -> TopicState:
    if name not in copies:
        return TopicState(name, topic.partitions, "missing")
    if len(copies[name]) != topic.partitions:
        raise TopicMismatch(f"{name} has {len(copies[name])} partitions, declared are {topic.partitions}; create a new topic version instead")
    actual = {key: setting.value for key, setting in settings.get(name, {}).items()}
    differences = {key: (actual.get(key, ""), value) for key, value in durability.settings_of(topic).items() if actual.get(key) != value}
    if durability.replication not in (BROKERS_DEFAULT, fewest := min(copies[name])):
        differences[_COPIES] = (str(fewest), str(durability.replication))
    return TopicState(name, topic.partitions, "differs" if differences else "right", differences)


async def _copies(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, list[int]]:
    """Number of replicas, by topic and partition."""
    if not names:
        return {}
    return {row["topic"]: [len(each["replicas"]) for each in row["partitions"]] for row in await admin.describe_topics(names)}


async def _settings(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, _Setting]]:
    if not names:
        return {}
    found: dict[str, dict[str, _Setting]] = {}
    for response in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]):
        for _code, _message, _kind, name, entries in response.resources:
            found[name] = {entry[0]: _Setting(entry[1], entry[3] == _OF_THIS_TOPIC) for entry in entries}
    return found


async def _create(admin: AIOKafkaAdminClient, topics: dict[str, Topic], durability: Durability) -> None:
    wanted = [_new_topic(name, topic, durability) for name, topic in topics.items()]
    if not wanted:
        return
    response = await admin.create_topics(wanted)
    for name, code, *_ in response.topic_errors:
        if code not in (0, _TOPIC_ALREADY_EXISTS):  # Another process may have been faster.
            raise for_code(code)(f"cannot create topic {name}")


def _new_topic(name: str, topic: Topic, durability: Durability) -> NewTopic:
    new = NewTopic(name, topic.partitions, 1, topic_configs=durability.settings_of(topic))
    new.replication_factor = durability.replication  # the constructor takes no -1, the broker does
    return new


async def _configure(admin: AIOKafkaAdminClient, wanted: dict[str, dict[str, str]]) -> None:
    """The client has no call that sets single settings: what is not named goes back to its default. So all are named."""
    if not wanted:
        return
    present = await _settings(admin, list(wanted))
    own = {name: {key: each.value for key, each in present[name].items() if each.of_topic} for name in wanted}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, configs=own[name] | settings) for name, settings in wanted.items()]
    for response in await admin.alter_configs(resources):
        for code, _message, _kind, name in response.resources:
            if code:
                raise for_code(code)(f"cannot configure topic {name}")


@asynccontextmanager
async def _admin(bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=20_000)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()
