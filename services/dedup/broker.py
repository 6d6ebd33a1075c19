"""Which topics dedup reads, and what handles them."""

from __future__ import annotations

from services.dedup.use_cases.answer_requests import AnswerRequests
from services.dedup.use_cases.resolve_identities import ResolveIdentities
from shared.contracts.privacy import KeysDestroyed
from shared.contracts.topics import REQUESTS, SUBMISSIONS
from shared.messaging import BatchWorker, BroadcastReader, Broker, Record, broadcast_reader
from shared.sealing import KeyRing
from shared.storage import Store

GROUP = "dedup"


def submissions_worker(handle: ResolveIdentities, store: Store, broker: Broker) -> BatchWorker:
    """Accepted submissions become somebody's."""
    return BatchWorker(group=GROUP, topic=SUBMISSIONS, handle=handle, store=store, broker=broker)


def requests_worker(handle: AnswerRequests, store: Store, broker: Broker) -> BatchWorker:
    """Requests of data subjects."""
    return BatchWorker(group=GROUP, topic=REQUESTS, handle=handle, store=store, broker=broker)


def eviction_reader(keyring: KeyRing, broker: Broker) -> BroadcastReader:
    """Every process forgets destroyed keys at once."""

    async def forget(record: Record) -> None:
        if isinstance(record.event, KeysDestroyed):
            keyring.evict(record.event.key_ids)

    return broadcast_reader(broker, REQUESTS, forget)
