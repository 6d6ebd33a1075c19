"""Open requests, answer access requests with our own part, and put exports together."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from services.privacy.domain import access
from services.privacy.domain.audit import Entry
from services.privacy.domain.consents import LedgerRow, in_force
from services.privacy.domain.erasure import Stage
from services.privacy.domain.requests import COLLECTING, READY, Kind, Request
from services.privacy.ports import CustomerConsents, Keys, Ledger, RequestBook
from services.privacy.use_cases import announcements
from shared.contracts.event import Outgoing
from shared.contracts.privacy import AccessRequested
from shared.failpoints import failpoint
from shared.messaging import Batch, Effects
from shared.sealing import DataKey, body_aad
from shared.storage import Transaction

T = TypeVar("T")
_REQUESTS = uuid.uuid5(uuid.NAMESPACE_URL, "kehu:request")
_PART_VERSION = 1
_ALIAS_STEPS_MAX = 100
"""Ends the walk along a broken alias chain; whole ones are a handful long."""

RunInTransaction = Callable[[Callable[[Transaction], Awaitable[T]]], Awaitable[T]]
Enqueue = Callable[[Transaction, Sequence[Outgoing]], Awaitable[None]]


class ConflictingRequest(Exception):
    """The idempotency key was used for another request."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """Opens an access or erasure request; the answer never tells whether the customer exists."""

    book: RequestBook
    keys: Keys
    enqueue: Enqueue
    run: RunInTransaction[Any]
    clock: Callable[[], datetime]

    async def __call__(self, kind: Kind, customer_id: UUID, opened_by: str, idempotency_key: str = "") -> Request:
        """The request, durable and on its way.

        Raises:
            ConflictingRequest: the key stands for a request of another kind or customer.
        """
        now = self.clock()
        # Never the caller's own id: it is the name of a key, and must not be able to name somebody else's.
        request_id = uuid.uuid5(_REQUESTS, f"{opened_by}|{idempotency_key}") if idempotency_key else uuid.uuid4()
        stage = Stage.DRAINING if kind == "erasure" else COLLECTING
        request = Request(request_id, kind, customer_id, now, opened_by, stage, now, steps=(("opened", now),))

        async def store(transaction: Transaction) -> Request:
            known = await self.book.request(request_id, transaction)
            return known if known is not None else await self._store(request, transaction)

        stored: Request = await self.run(store)
        if (stored.kind, stored.customer_id) != (kind, customer_id):
            raise ConflictingRequest
        return stored

    async def _store(self, request: Request, transaction: Transaction) -> Request:
        await self.book.save_request(request, transaction)
        if request.kind == "access":
            await self.keys.create([request.request_id], transaction)
            event = announcements.access_requested(request, request.opened_at)
        else:
            event = announcements.erasure_requested(request, 1, request.opened_at)
        await self.enqueue(transaction, [event])
        failpoint("privacy.request_before_commit")
        return request


@dataclass(frozen=True, slots=True)
class ReadConsents:
    """What a customer chose, now and before."""

    ledger: Ledger
    notices: Mapping[str, str]

    async def __call__(self, customer_id: UUID, transaction: Transaction | None = None) -> dict[str, Any]:
        """Choices in force and whole history; empty for somebody unknown or erased, who thus look alike."""
        holder = await self._holder(customer_id, transaction)
        rows = await self.ledger.rows_of([holder], transaction)
        return {
            "customer_id": str(holder),
            "purposes": {
                purpose: {
                    "state": now.choice.state,
                    "notice_version": now.choice.notice_version,
                    "since": now.since.isoformat(),
                    "ask_again": now.ask_again,
                }
                for purpose, now in in_force(rows, self.notices).items()
            },
            "history": [entry for row in sorted(rows, key=_when) for entry in _history(row)],
        }

    async def _holder(self, customer_id: UUID, transaction: Transaction | None) -> UUID:
        for _ in range(_ALIAS_STEPS_MAX):
            state: CustomerConsents = (await self.ledger.customers([customer_id], transaction))[customer_id]
            if state.alias_of is None:
                return customer_id
            customer_id = state.alias_of
        return customer_id


def _when(row: LedgerRow) -> tuple[str, bytes]:
    return ("" if row.occurred_at is None else row.occurred_at.isoformat(), row.submission_id.bytes)


def _history(row: LedgerRow) -> list[dict[str, Any]]:
    if row.occurred_at is None:
        return []
    return [
        {
            "submission_id": str(row.submission_id),
            "purpose": choice.purpose,
            "state": choice.state,
            "notice_version": choice.notice_version,
            "occurred_at": row.occurred_at.isoformat(),
            "channel_id": row.channel_id,
        }
        for choice in row.choices
    ]


@dataclass(frozen=True, slots=True)
class AnswerAccess:
    """Privacy is a data holder like the others: it answers access requests with the consents it keeps."""

    read_consents: ReadConsents
    keys: Keys
    clock: Callable[[], datetime]

    async def __call__(self, batch: Batch, transaction: Transaction) -> Effects:
        """One part for each access request; the other events on the topic are for others."""
        effects = Effects()
        asked = [each.event for each in batch.records if isinstance(each.event, AccessRequested)]
        keys = await self.keys.open(event.request_id for event in asked)
        for event in asked:
            key = keys[event.request_id]
            if key is not None:  # None: the request is over, its key destroyed.
                content = json.dumps(await self.read_consents(event.customer_id, transaction)).encode()
                sealed = key.seal(content, body_aad(event.request_id, _PART_VERSION))
                effects.publish(announcements.own_access_part(event.request_id, sealed, self.clock()))
        return effects


@dataclass(frozen=True, slots=True)
class NoteExportRead:
    """Who took a copy of a person away is entered in the audit chain, before the copy leaves."""

    book: RequestBook
    run: RunInTransaction[Any]
    clock: Callable[[], datetime]

    async def __call__(self, request: Request, reader: str) -> None:
        """Durable when it returns.

        Args:
            reader: id of the principal; opaque.
        """

        async def note(transaction: Transaction) -> None:
            position, previous = await self.book.audit_head(transaction)
            entry = Entry(position + 1, previous, f"export-read by {reader}", str(request.request_id), "", self.clock().isoformat())
            await self.book.append_audit(entry, transaction)

        await self.run(note)


class ExportCutOff(Exception):
    """A part of an export is gone while it is read: the person was erased, or the export is no longer fresh. What was sent is not all."""


@dataclass(frozen=True, slots=True)
class ReadExport:
    """Opens a finished access export part by part; nothing is kept in clear, and no more than one part is in memory."""

    book: RequestBook
    keys: Keys

    async def __call__(self, request: Request) -> AsyncIterator[bytes] | None:
        """The document as JSON in pieces, or None once the export is no longer fresh or not yet complete."""
        key = (await self.keys.open([request.request_id])).get(request.request_id) if request.stage == READY else None
        if key is None:
            return None
        return self._document(request, key, [(holder, part) for holder, part, _ in await self.book.access_parts(request.request_id)])

    async def _document(self, request: Request, key: DataKey, parts: Sequence[tuple[str, int]]) -> AsyncIterator[bytes]:
        head = {
            "request_id": str(request.request_id),
            "customer_id": str(request.customer_id),
            "requested_at": request.opened_at.isoformat(),
            "fresh_until": access.fresh_until(request.opened_at).isoformat(),
        }
        yield json.dumps(head).encode()[:-1] + b', "holders": {'
        for place, (holder, numbers) in enumerate(access.in_order(parts).items()):
            yield (b", " if place else b"") + json.dumps(holder).encode() + b": ["
            for number in numbers:
                yield (b", " if number != numbers[0] else b"") + await self._part(request.request_id, key, holder, number)
            yield b"]"
        yield b"}}"

    async def _part(self, request_id: UUID, key: DataKey, holder: str, part: int) -> bytes:
        sealed = await self.book.access_content(request_id, holder, part)
        if sealed is None:
            raise ExportCutOff
        return key.unseal(sealed, body_aad(request_id, _PART_VERSION))
