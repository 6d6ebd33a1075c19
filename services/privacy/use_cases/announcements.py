"""The events that privacy publishes for requests, under ids derived from request and step."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from services.privacy.domain.requests import Request
from shared.contracts import ids
from shared.contracts.event import Event, Outgoing
from shared.contracts.privacy import AccessPart, AccessRequested, ErasureBarrierSet, ErasureRequested, KeysDestroyed
from shared.contracts.topics import RECEIPTS, REQUESTS


def erasure_requested(request: Request, attempt: int, now: datetime) -> Outgoing:
    """Step 1. Each attempt has an id of its own, so that nobody takes it for a repeat."""
    event = ErasureRequested(request_id=request.request_id, customer_id=request.customer_id, attempt=attempt)
    return _outgoing(REQUESTS.name, request.request_id, f"erasure-requested:{attempt}", event, now)


def barrier_set(request: Request, offsets: Mapping[str, int], now: datetime) -> Outgoing:
    """Step 2."""
    event = ErasureBarrierSet(request_id=request.request_id, customer_id=request.customer_id, offsets=dict(offsets))
    return _outgoing(REQUESTS.name, request.request_id, "erasure-barrier-set", event, now)


def keys_destroyed(cause: UUID, key_ids: tuple[UUID, ...], part: int, parts: int, now: datetime, *, acknowledge: bool = False) -> Outgoing:
    """Step 4: drop them from every cache."""
    event = KeysDestroyed(request_id=cause, key_ids=key_ids, part=part, parts=parts, acknowledge=acknowledge)
    return _outgoing(REQUESTS.name, cause, f"keys-destroyed:{part}", event, now)


def closing(first_key: UUID) -> UUID:
    """Stands for a request where closed membership epochs end without one."""
    return uuid.uuid5(first_key, "closed-epochs")


def access_requested(request: Request, now: datetime) -> Outgoing:
    """Every holder answers with its parts."""
    event = AccessRequested(request_id=request.request_id, customer_id=request.customer_id)
    return _outgoing(REQUESTS.name, request.request_id, "access-requested", event, now)


def own_access_part(request_id: UUID, sealed: bytes, now: datetime) -> Outgoing:
    """What privacy itself knows about the person."""
    event = AccessPart(request_id=request_id, holder="privacy", part=1, parts=1, sealed=sealed)
    return _outgoing(RECEIPTS.name, request_id, "privacy-access-part:1", event, now)


def _outgoing(topic: str, cause: UUID, step: str, event: Event, now: datetime) -> Outgoing:
    return Outgoing(topic=topic, key=cause.bytes, event_id=ids.event_id(cause, step), event=event, occurred_at=now)
