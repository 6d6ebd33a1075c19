"""Events published by profile. Consumers: analytics and downstream teams."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar, Literal
from uuid import UUID

import msgspec

from shared.contracts.event import Event

GOLDEN_VERSION = 1


class GoldenField(msgspec.Struct, frozen=True, kw_only=True):
    """The believed value of one field and where it came from.

    Attributes:
        trust: trust of the channel that said so, 0 to 100.
        occurred_at: aware, UTC.
        alternatives: how many other values were claimed.
    """

    value: str | int | float | bool
    submission_id: UUID
    channel_id: str
    trust: int
    occurred_at: datetime
    alternatives: int = 0


class GoldenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the sealed part of `CustomerChanged` opens to, as JSON: the golden record by catalogue field name."""

    fields: dict[str, GoldenField] = {}


class CustomerChanged(Event, frozen=True, kw_only=True):
    """The present state of one customer, compacted by customer id; a tombstone means erased.

    Attributes:
        version: rises with every published state; ignore a record whose version is not higher than the one you hold.
        state: `active`, or `alias` of `alias_of` (then nothing else is set).
        counts: timeline items by submission kind.
        revenue_minor: sum of order lines by currency, in its smallest unit.
        fields: names of the golden fields that are set; their values are in `sealed`.
        sealed: the golden record, nonce + AES-256-GCM under the entity key named by the `keyid` header; associated data = key id |
            `GOLDEN_VERSION`. Opens to a `GoldenRecord`; empty if no field is known.
    """

    topic: ClassVar[str] = "profile.changes.v1"
    type: ClassVar[str] = "profile.customer-changed.v1"
    customer_id: UUID
    version: int
    state: Literal["active", "alias"] = "active"
    alias_of: UUID | None = None
    first_on: date | None = None
    last_on: date | None = None
    counts: dict[str, int] = {}
    order_count: int = 0
    revenue_minor: dict[str, int] = {}
    fields: tuple[str, ...] = ()
    key_id: UUID | None = None
    sealed: bytes = b""
