"""What a handler gets: decoded records of the partitions that its worker owns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol
from uuid import UUID

import msgspec

from shared.contracts.event import Decoder, Event, UnknownEvent
from shared.storage import Transaction

if TYPE_CHECKING:
    from shared.messaging.effects import Effects


class RawRecord(Protocol):
    """A record as it came from Kafka, or as a dead letter keeps it."""

    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102


class Tombstone(Event, frozen=True):
    """Stands for an empty value: on a compacted topic the key's state is gone."""

    topic: ClassVar[str] = ""
    type: ClassVar[str] = "tombstone"


TOMBSTONE = Tombstone()


class Record(msgspec.Struct, frozen=True):
    """One event and where it came from.

    Attributes:
        key: partition key; empty if there was none.
        offset: place in its partition. Redriven records keep theirs, so it may be lower than one seen before.
        event_id: derived by the publisher, the same in every repeat.
        key_id: id of the data key that opens what is sealed, if any.
        timestamp_ms: when Kafka took it, in milliseconds since 1970.
    """

    event: Event
    key: bytes
    offset: int
    event_id: UUID
    key_id: UUID | None
    traceparent: str | None
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Decoded records, those of each partition in the order of their offsets; never empty.

    Attributes:
        topic: without the namespace.
        partitions: where the records come from: one partition, or several whose batches share a transaction. The worker owns them all.
        assume_new: the handler may take every id for new that a record brings, if it inserts a document of that id: should it be taken,
            the transaction fails, and the batch comes again without the assumption. It spares a look-up that nearly always finds nothing.
    """

    topic: str
    partitions: frozenset[int]
    records: Sequence[Record]
    assume_new: bool = False

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)


Handler = Callable[[Batch, Transaction], Awaitable["Effects"]]
"""Decides what a batch changes. Reads inside the transaction; may run several times, so it keeps no state and has no other effect."""

Idle = Callable[[int, Transaction], Awaitable["Effects | None"]]
"""Work of a partition that no record causes, offered at most once a second; None if there is nothing to do."""


_parse_identity = msgspec.json.Decoder(UUID).decode


def _identity(text: bytes) -> UUID:
    """A UUID from its text, by msgspec because the standard library's parser costs five times as much."""
    try:
        return _parse_identity(b'"%b"' % text)
    except msgspec.DecodeError as error:
        raise ValueError("no UUID") from error


def decode(raw: RawRecord, decoder: Decoder) -> Record | str:
    """The typed record, or the reason code why it can never be one."""
    try:
        headers = dict(raw.headers)
        event = TOMBSTONE if raw.value is None else decoder(headers, raw.value)
        return Record(
            event,
            raw.key or b"",
            raw.offset,
            _identity(headers["ce_id"]),
            _identity(headers["keyid"]) if "keyid" in headers else None,
            headers["traceparent"].decode() if "traceparent" in headers else None,
            raw.timestamp,
        )
    except UnknownEvent:
        return "unknown_event"
    except msgspec.DecodeError:  # also its subclass ValidationError
        return "body_does_not_fit"
    except (KeyError, ValueError, TypeError):
        return "headers_do_not_fit"
    except RecursionError:
        return "nested_too_deep"
