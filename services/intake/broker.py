"""What intake hears: erasures and destroyed keys. Topics in, handlers named, nothing else.

A request for access (`AccessRequested`) is left to dedup: intake's bodies are the very bytes that dedup's source records hold, and what is
quarantined belongs to nobody yet.
"""

from __future__ import annotations

from services.intake.erasure import AnswerErasure, forget_destroyed
from shared.contracts.topics import REQUESTS
from shared.messaging import BatchWorker, BroadcastReader, Broker, broadcast_reader
from shared.storage import Store


def build_workers(store: Store, broker: Broker) -> list[BatchWorker]:
    """One process of the group drops what destroyed keys sealed."""
    return [BatchWorker(group="intake", topic=REQUESTS, handle=forget_destroyed(store), store=store, broker=broker)]


def build_reader(broker: Broker, answer: AnswerErasure) -> BroadcastReader:
    """Every process drains for an erasure."""
    return broadcast_reader(broker, REQUESTS, answer)
