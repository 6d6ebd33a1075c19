"""The servers that the tests and the embedded runtime stand on."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from shared.contracts.topics import TOPICS
from shared.messaging.topic_admin import Durability, apply_topics, delete_topics, describe_topics
from shared.storage.administration import ping

pytestmark = pytest.mark.servers


async def test_topics_are_created_once_and_found_right_afterwards(kafka_bootstrap, namespace):
    # given
    assert {state.state for state in await describe_topics(kafka_bootstrap, namespace)} == {"missing"}

    try:
        # when
        first = await apply_topics(kafka_bootstrap, namespace)
        second = await apply_topics(kafka_bootstrap, namespace)

        # then
        assert {state.state for state in first} == {"created"}
        assert {state.state for state in second} == {"right"}
        assert {state.name for state in second} == {namespace + topic.name for topic in TOPICS}
    finally:
        await delete_topics(kafka_bootstrap, namespace)


async def test_what_differs_is_set_and_what_an_operator_set_besides_stays(kafka_bootstrap, namespace):
    # given
    topic = TOPICS[0]
    name = namespace + topic.name
    try:
        await apply_topics(kafka_bootstrap, namespace, [topic])
        await set_topic(kafka_bootstrap, name, {**topic.config, "retention.ms": "1000", "flush.messages": "7"})

        # when
        [changed] = await apply_topics(kafka_bootstrap, namespace, [topic], Durability(1, min_insync_replicas=1))
        [after] = await describe_topics(kafka_bootstrap, namespace, [topic], Durability(1, min_insync_replicas=1))

        # then
        assert changed.state == "changed"
        assert changed.differences == {"retention.ms": ("1000", topic.config["retention.ms"])}
        assert after.state == "right"
        own = await settings_of(kafka_bootstrap, name)
        assert own.items() >= {**topic.config, "flush.messages": "7", "min.insync.replicas": "1"}.items()
    finally:
        await delete_topics(kafka_bootstrap, namespace)


async def test_a_topic_with_too_few_copies_is_reported_and_not_passed_over(kafka_bootstrap, namespace):
    try:
        # given
        await apply_topics(kafka_bootstrap, namespace, TOPICS[:1])

        # when
        states = [
            *await describe_topics(kafka_bootstrap, namespace, TOPICS[:1], Durability(3)),
            *await apply_topics(kafka_bootstrap, namespace, TOPICS[:1], Durability(3)),
        ]

        # then
        assert [(state.state, state.differences) for state in states] == [("differs", {"replication": ("1", "3")})] * 2
        with pytest.raises(KafkaError):
            await apply_topics(kafka_bootstrap, namespace, TOPICS[1:2], Durability(3))
    finally:
        await delete_topics(kafka_bootstrap, namespace)


async def set_topic(bootstrap, name, settings):
    """As an operator does with Kafka's own tool."""
    async with admin_of(bootstrap) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=settings)])


async def settings_of(bootstrap, name):
    """Those made for the topic itself."""
    async with admin_of(bootstrap) as admin:
        [response] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        return {entry[0]: entry[1] for entry in response.resources[0][4] if entry[3] == 1}


@asynccontextmanager
async def admin_of(bootstrap):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def test_mongodb_has_a_primary(mongodb_uri):
    ping(mongodb_uri)
