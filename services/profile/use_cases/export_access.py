"""Answer a person who asks for a copy: everything profile holds, sealed under the request's key."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.profile.use_cases.apply_identities import Clock
from services.profile.use_cases.read_customers import Cursor, Moment, Portrayed, ReadCustomers, cursor_behind
from shared.contracts.access_parts import cut
from shared.contracts.event import Outgoing
from shared.contracts.ids import event_id
from shared.contracts.privacy import RECEIPTS_TOPIC, AccessPart, AccessRequested
from shared.sealing import DataKey, KeyRing, body_aad

KINDS = ("profile", "transaction", "contact", "feedback", "behaviour")
PAGE = 1_000
ACCESS_VERSION = 1


class ExportAccess:
    """Builds the access parts of one request. Nothing is masked: it is the person's own copy."""

    def __init__(self, read: ReadCustomers, ring: KeyRing, clock: Clock) -> None:
        self._read = read
        self._ring = ring
        self._clock = clock

    async def __call__(self, request: AccessRequested, traceparent: str | None = None) -> list[Outgoing]:
        """The parts, at least one, also for a person that profile does not know; none if the request's key is gone already."""
        key = (await self._ring.open([request.request_id]))[request.request_id]
        if key is None:
            return []
        plain = await self._plain_parts(request.customer_id)
        at = self._clock()
        return [_part(request.request_id, number, len(plain), key, body, at, traceparent) for number, body in enumerate(plain, start=1)]

    async def _plain_parts(self, customer_id: UUID) -> list[bytes]:
        customer = await self._read.living(customer_id)
        if customer is None:
            return [b"{}"]
        [portrayed] = await self._read.portrayed([customer])
        parts = [msgspec.json.encode(_summary(portrayed))]
        timeline = [msgspec.json.encode(_item(moment)) for moment in await self._whole_timeline(customer.customer_id)]
        return parts + [b'{"timeline":[' + b",".join(chunk) + b"]}" for chunk in cut(timeline)]

    async def _whole_timeline(self, customer_id: UUID) -> list[Moment]:
        moments: list[Moment] = []
        before: Cursor | None = None
        while True:
            page = await self._read.timeline(customer_id, KINDS, before, PAGE)
            moments += page
            before = cursor_behind(page)
            if len(page) < PAGE or before is None:
                return moments


def _part(request_id: UUID, number: int, total: int, key: DataKey, plain: bytes, at: datetime, traceparent: str | None) -> Outgoing:
    sealed = key.seal(plain, body_aad(request_id, ACCESS_VERSION))
    part = AccessPart(request_id=request_id, holder="profile", part=number, parts=total, sealed=sealed)
    identity = event_id(request_id, f"profile-access:{number}")
    return Outgoing(RECEIPTS_TOPIC, request_id.bytes, identity, part, at, request_id, traceparent)


def _summary(portrayed: Portrayed) -> dict[str, Any]:
    customer, tally = portrayed.customer, portrayed.customer.tally
    return {
        "customer_id": customer.customer_id,
        "version": customer.version,
        "counts": tally.kinds,
        "order_count": tally.order_count,
        "revenue_minor": tally.revenue_minor,
        "first_on": tally.first_on,
        "last_on": tally.last_on,
        "golden_record": portrayed.golden,
    }


def _item(moment: Moment) -> dict[str, Any]:
    content = moment.row.content
    return {
        "submission_id": moment.row.submission_id,
        "kind": content and content.kind,
        "channel_id": content and content.channel_id,
        "received_on": content and content.received_on,
        "occurred_on": content and content.occurred_on,
        "order_lines": content and content.order_lines,
        "body": moment.body,
    }
