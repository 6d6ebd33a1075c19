"""The servers that the tests and the embedded runtime stand on."""

from __future__ import annotations

import pytest

from shared.contracts.topics import TOPICS
from shared.messaging.topic_admin import apply_topics, delete_topics, describe_topics
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


def test_mongodb_has_a_primary(mongodb_uri):
    ping(mongodb_uri)
