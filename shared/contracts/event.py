"""The event base class and its CloudEvents 1.0 binary form in Kafka headers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, ClassVar
from uuid import UUID

import msgspec

SPEC_VERSION = b"1.0"
CONTENT_TYPE = b"application/json"
KEY_ID = "keyid"
"""Header that names the data key of what is sealed."""

Headers = tuple[tuple[str, bytes], ...]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A past fact, published once under a derived id and perhaps delivered several times.

    Bodies are JSON; unknown members are ignored, so adding a member with a default keeps the version.
    Personal data stands only in members called `sealed`.
    """

    topic: ClassVar[str]
    type: ClassVar[str]
    """CloudEvents type, `<service>.<fact>.v<major>`."""
    overtakes: ClassVar[bool] = False
    """Whether it is handled even while records of its key are parked: a dead letter must not hold it up."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event on its way out, or a tombstone when `event` is None.

    Attributes:
        key: opaque partition key; None only where any partition will do.
        event_id: derived, so that a repeat carries the same id.
        key_id: id of the data key that opens `sealed`, if there is one.
        traceparent: W3C context of the work that caused the event.
    """

    topic: str
    key: bytes | None
    event_id: UUID
    event: Event | None
    occurred_at: datetime
    key_id: UUID | None = None
    traceparent: str | None = None


class UnknownEvent(ValueError):
    """The record names an event type that its topic does not carry."""


_encoder = msgspec.json.Encoder()


def encode_body(event: Event | None) -> bytes | None:
    """The record value: JSON, or None for a tombstone."""
    return None if event is None else _encoder.encode(event)


@cache
def _type_headers(event_type: str) -> Headers:
    """The headers that all events of a type share; there are few types, and making these costs more than the body."""
    return (
        ("ce_source", b"kehu/" + event_type.split(".", 1)[0].encode()),
        ("ce_type", event_type.encode()),
        ("ce_dataschema", f"kehu:schemas/{event_type}.json".encode()),
        ("content-type", CONTENT_TYPE),
    )


def encode_headers(outgoing: Outgoing) -> list[tuple[str, bytes]]:
    """CloudEvents binary-mode headers; a tombstone carries its id and time only."""
    headers = [
        ("ce_id", str(outgoing.event_id).encode()),
        ("ce_time", outgoing.occurred_at.isoformat().encode()),
        ("ce_specversion", SPEC_VERSION),
    ]
    if outgoing.event is not None:
        headers += _type_headers(outgoing.event.type)
    if outgoing.key_id is not None:
        headers.append((KEY_ID, str(outgoing.key_id).encode()))
    if outgoing.traceparent is not None:
        headers.append(("traceparent", outgoing.traceparent.encode()))
    return headers


class Decoder:
    """Decodes the records of one topic, each on its own, by their `ce_type` header."""

    def __init__(self, event_types: Iterable[type[Event]]) -> None:
        self._decoders: dict[bytes, msgspec.json.Decoder[Any]] = {
            event_type.type.encode(): msgspec.json.Decoder(event_type) for event_type in event_types
        }

    def __call__(self, headers: dict[str, bytes], value: bytes) -> Event:
        """The typed event.

        Raises:
            UnknownEvent: the `ce_type` header is missing or not one of this topic's.
            msgspec.DecodeError: the body is not JSON or does not fit the schema.
        """
        decoder = self._decoders.get(headers.get("ce_type", b""))
        if decoder is None:
            raise UnknownEvent
        event: Event = decoder.decode(value)
        return event
