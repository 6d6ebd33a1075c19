"""Kafka behind one package: records in batches, effects in one transaction, an outbox that forgets nothing."""

from shared.messaging.broadcast import BroadcastReader, broadcast_reader
from shared.messaging.broker import Broker, BrokerSettings
from shared.messaging.dead_letters import DeadLetter, DeadLetters
from shared.messaging.effects import Effects
from shared.messaging.migrations import MESSAGING_MIGRATIONS
from shared.messaging.outbox import OF_DOORS, enqueue, messages_of
from shared.messaging.partitioner import partition_of
from shared.messaging.positions import Progress, consumed_positions
from shared.messaging.record import Batch, Handler, Idle, Record, Tombstone
from shared.messaging.relay import OnPublished, OutboxRelay
from shared.messaging.waiting import Waiting
from shared.messaging.worker import BatchWorker
from shared.storage import TransientError

__all__ = [
    "MESSAGING_MIGRATIONS",
    "OF_DOORS",
    "Batch",
    "BatchWorker",
    "BroadcastReader",
    "Broker",
    "BrokerSettings",
    "DeadLetter",
    "DeadLetters",
    "Effects",
    "Handler",
    "Idle",
    "OnPublished",
    "OutboxRelay",
    "Progress",
    "Record",
    "Tombstone",
    "TransientError",
    "Waiting",
    "broadcast_reader",
    "consumed_positions",
    "enqueue",
    "messages_of",
    "partition_of",
]
