"""The outbox: events stored in the transaction that caused them, packed, until Kafka has acknowledged them."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from shared.contracts.event import Outgoing, encode_body, encode_headers
from shared.contracts.topics import TOPICS
from shared.storage import Document, Store, Transaction
from shared.telemetry import current_traceparent

OUTBOX = "outbox"
OF_DOORS = "writer:"
"""Begins the ids of documents that no partition owns; those of partitions begin with their group and sort before."""
DOCUMENT_BYTES_MAX = 8 * 1024 * 1024
"""MongoDB refuses documents over 16 MiB; half of it leaves room for one large message and the packing."""
BODY_BYTES_MAX = 4 * 1024 * 1024
"""Half of what the topics take, and a quarter of what fits an outbox document."""
_MESSAGE_OVERHEAD_BYTES = 400


class Message(msgspec.Struct, frozen=True, array_like=True):
    """A record as it will be published; a repeat publishes the same bytes. `topic` is without the namespace."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


_COMPACTED = frozenset(topic.name for topic in TOPICS if topic.compacted)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Message])
_sequence = itertools.count()


class MessageTooLarge(RuntimeError):
    """An event that Kafka would refuse for ever. Its handler has to cut it; nothing was stored. The text names the type alone."""


def to_message(outgoing: Outgoing, traceparent: str | None = None) -> Message:
    """Encodes an event once, for good. `traceparent` counts where the event has none of its own.

    Raises:
        MessageTooLarge: the body exceeds `BODY_BYTES_MAX`.
    """
    headers, body = encode_headers(outgoing), encode_body(outgoing.event)
    if body is not None and len(body) > BODY_BYTES_MAX:
        raise MessageTooLarge(f"{type(outgoing.event).__name__}: {len(body)} bytes, at most {BODY_BYTES_MAX}")
    if traceparent is not None and outgoing.traceparent is None:
        headers.append(("traceparent", traceparent.encode()))
    return Message(outgoing.topic, outgoing.key, body, headers)


def documents(prefix: str, members: Mapping[str, Any], messages: Sequence[Message]) -> list[Document]:
    """Outbox documents in the order of their ids, each below MongoDB's limit. No messages: no documents."""
    return [
        {"_id": f"{prefix}:{part:04d}", **members, "count": len(chunk), "messages": _encoder.encode(chunk)}
        for part, chunk in enumerate(_chunks(messages))
    ]


def messages_of(document: Document) -> list[Message]:
    """The messages of an outbox document, in order."""
    return _decoder.decode(document["messages"])


def _chunks(messages: Iterable[Message]) -> Iterator[list[Message]]:
    chunk: list[Message] = []
    size = 0
    for message in messages:
        cost = len(message.value or b"") + len(message.key or b"") + _MESSAGE_OVERHEAD_BYTES
        if chunk and size + cost > DOCUMENT_BYTES_MAX:
            yield chunk
            chunk, size = [], 0
        chunk.append(message)
        size += cost
    if chunk:
        yield chunk


async def enqueue(transaction: Transaction, store: Store, outgoing: Sequence[Outgoing]) -> tuple[str, ...]:
    """Stores events in a transaction of a writer that is not a Kafka consumer, for this process's `OutboxRelay`.

    Call the relay's `wake` after the commit. Events of one call keep their order; of different transactions none is promised.

    Returns:
        ids of the outbox documents, usually one.

    Raises:
        RuntimeError: no `OutboxRelay` was made for this store, or a topic is compacted: a process that was frozen publishes again when it wakes,
            and of a compacted topic the last record stands.
    """
    if not store.writer:
        raise RuntimeError("make an OutboxRelay for the store first: nobody would publish these events")
    if compacted := _COMPACTED.intersection(each.topic for each in outgoing):
        raise RuntimeError(f"only the owner of a partition writes to {', '.join(sorted(compacted))}")
    # Time first, so that a relay that took over sorts the documents of several processes sensibly.
    prefix = f"{OF_DOORS}{time.time_ns():020d}:{next(_sequence):08d}:{secrets.token_hex(4)}"
    stored = documents(prefix, {"writer": store.writer}, [to_message(each, current_traceparent()) for each in outgoing])
    await store.collection(OUTBOX).insert_many(stored, transaction=transaction)
    return tuple(each["_id"] for each in stored)


def written_at(document_id: str) -> float:
    """When a door stored this outbox document, seconds since the epoch."""
    return int(document_id.removeprefix(OF_DOORS).partition(":")[0]) / 1e9
