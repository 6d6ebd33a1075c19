"""Destroyed keys leave the memory of every process at once, not only of one replica, and each process says so when it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import get_args

from shared.contracts.event import Outgoing
from shared.contracts.ids import event_id
from shared.contracts.privacy import Holder, KeysDestroyed, KeysEvicted
from shared.contracts.topics import REQUESTS
from shared.hosting.context import ServiceContext
from shared.messaging import Broker, Record, broadcast_reader
from shared.sealing import KeyRing

Acknowledge = Callable[[Record, KeysDestroyed], Awaitable[None]]
"""Called once the keys are gone from memory and an answer is asked for."""
_HOLDERS: dict[str, Holder] = {name: name for name in get_args(Holder)}


async def evict_destroyed_keys(broker: Broker, keyring: KeyRing, acknowledge: Acknowledge) -> None:
    """Reads the requests topic without a group until cancelled, and evicts what it says is destroyed."""

    async def evict(record: Record) -> None:
        if isinstance(record.event, KeysDestroyed):
            keyring.evict(record.event.key_ids)
            if record.event.acknowledge:
                await acknowledge(record, record.event)

    reader = broadcast_reader(broker, REQUESTS, evict)
    await reader.start()
    try:
        await asyncio.Event().wait()
    finally:
        await reader.stop()


def acknowledging(context: ServiceContext) -> Acknowledge:
    """Answers with who else of this service is alive; each of them has a memory of its own. Parts come in order, so the last speaks for all."""

    async def acknowledge(record: Record, event: KeysDestroyed) -> None:
        evicted = KeysEvicted(
            request_id=event.request_id,
            holder=_HOLDERS[context.name],
            instance=context.settings.instance,
            live_instances=await context.relay.live_instances(),
        )
        outgoing = Outgoing(
            topic=KeysEvicted.topic,
            key=event.request_id.bytes,
            event_id=event_id(record.event_id, f"evicted:{context.name}:{context.settings.instance}"),
            event=evicted,
            occurred_at=datetime.now(UTC),
            traceparent=record.traceparent,
        )
        await context.relay.send([outgoing])

    return acknowledge
