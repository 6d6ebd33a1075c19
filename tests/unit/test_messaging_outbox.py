"""What a door may put into the outbox, refused before anything is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast
from uuid import uuid4

import pytest

from shared.contracts.event import Outgoing
from shared.contracts.topics import CHANGES, CONSENTS
from shared.messaging import enqueue
from shared.storage import Store, Transaction


def store(writer: str) -> Store:
    return cast(Store, SimpleNamespace(writer=writer))


@pytest.mark.parametrize("topic", [CHANGES.name, CONSENTS.name])
async def test_nothing_on_a_compacted_topic_goes_through_a_relay_that_a_zombie_may_repeat(topic: str) -> None:
    tombstone = Outgoing(topic, uuid4().bytes, uuid4(), None, datetime.now(UTC))

    with pytest.raises(RuntimeError, match=topic):
        await enqueue(cast(Transaction, None), store("p1"), [tombstone])


async def test_events_that_nobody_would_publish_are_refused() -> None:
    with pytest.raises(RuntimeError, match="OutboxRelay"):
        await enqueue(cast(Transaction, None), store(""), [])
