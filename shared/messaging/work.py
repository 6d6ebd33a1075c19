"""What a worker does with every partition it owns."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contracts.event import Decoder
from shared.contracts.topics import Topic
from shared.messaging.broker import Broker
from shared.messaging.record import Handler, Idle
from shared.messaging.share_limit import ShareLimit
from shared.storage import Store


@dataclass(frozen=True, slots=True)
class Work:
    """The service's part and the shared parts that every partition of one worker needs."""

    group: str
    topic: Topic
    store: Store
    broker: Broker
    handle: Handler
    idle: Idle | None
    share: ShareLimit
    decoder: Decoder
