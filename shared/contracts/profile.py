"""Events published by profile. Consumers: analytics and downstream teams."""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Literal
from uuid import UUID

from shared.contracts.event import Event


class CustomerChanged(Event, frozen=True, kw_only=True):
    """The present state of one customer, compacted by customer id; a tombstone means erased.

    Attributes:
        version: rises with every published state; ignore a record whose version is not higher than the one you hold.
        state: `active`, or `alias` of `alias_of` (then nothing else is set).
        counts: timeline items by submission kind.
        revenue_minor: sum of order lines by currency, in its smallest unit.
        fields: names of the golden fields that are set; their values are in `sealed`.
        sealed: nonce + AES-256-GCM of the golden record's JSON under the entity key named by the `keyid` header; AAD = key id | schema version.
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
