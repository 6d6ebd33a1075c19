"""The servers that the tests and the embedded runtime stand on."""

from __future__ import annotations

import pytest

from shared.contracts.topics import TOPICS
from shared.messaging.topic_admin import apply_topics, delete_topics, describe_topics, start_groups
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


async def test_a_new_group_starts_at_the_log_start_and_keeps_its_offsets_later(kafka_bootstrap, namespace):
    from aiokafka import AIOKafkaConsumer, TopicPartition

    # given
    await apply_topics(kafka_bootstrap, namespace)
    topic = namespace + TOPICS[0].name
    try:
        # when
        await start_groups(kafka_bootstrap, {namespace + "dedup": [topic]})

        # then
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap, group_id=namespace + "dedup", enable_auto_commit=False)
        await consumer.start()
        try:
            committed = [await consumer.committed(TopicPartition(topic, number)) for number in range(12)]
        finally:
            await consumer.stop()
        assert committed == [0] * 12
    finally:
        await delete_topics(kafka_bootstrap, namespace)


async def test_a_group_that_still_has_members_is_left_alone(kafka_bootstrap, namespace):
    from aiokafka import AIOKafkaConsumer

    # given: a member, as a process leaves it behind that was killed a moment ago
    await apply_topics(kafka_bootstrap, namespace)
    topic, group = namespace + TOPICS[0].name, namespace + "dedup"
    member = AIOKafkaConsumer(topic, bootstrap_servers=kafka_bootstrap, group_id=group, enable_auto_commit=False)
    await member.start()
    try:
        # when, then: no error
        await start_groups(kafka_bootstrap, {group: [topic]})
    finally:
        await member.stop()
        await delete_topics(kafka_bootstrap, namespace)


def test_mongodb_has_a_primary(mongodb_uri):
    ping(mongodb_uri)
