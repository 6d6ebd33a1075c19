"""Events published by privacy, and the receipts that every data holder answers with."""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Literal
from uuid import UUID

import msgspec

from shared.contracts.event import Event

REQUESTS_TOPIC = "privacy.requests.v1"
RECEIPTS_TOPIC = "privacy.receipts.v1"
PART_KEYS_MAX = 5_000
UNREADABLE_DEAD_LETTERS = "dead_letters_unreadable"
"""A count in receipts: dead letters left alone, because nobody can tell whose they are."""

Holder = Literal["intake", "dedup", "profile", "analytics", "privacy"]


class PurposeConsent(msgspec.Struct, frozen=True, kw_only=True):
    """The choice in force for one purpose."""

    state: Literal["granted", "denied", "withdrawn"]
    notice_version: str
    since: date


class ConsentsChanged(Event, frozen=True, kw_only=True):
    """The choices in force of one customer, compacted by customer id; a tombstone means erased."""

    topic: ClassVar[str] = "privacy.consents.v1"
    type: ClassVar[str] = "privacy.consents-changed.v1"
    customer_id: UUID
    version: int
    purposes: dict[str, PurposeConsent] = {}


class ErasureRequested(Event, frozen=True, kw_only=True):
    """Step 1: every live intake process drains its outbox and answers with the end offsets of the submissions topic.

    Attributes:
        attempt: how often this was asked, from 1; answers repeat it.
    """

    topic: ClassVar[str] = REQUESTS_TOPIC
    type: ClassVar[str] = "privacy.erasure-requested.v1"
    request_id: UUID
    customer_id: UUID
    attempt: int = 1


class ErasureBarrierSet(Event, frozen=True, kw_only=True):
    """Step 2: dedup erases once its positions have passed `offsets` (partition number as text -> end offset)."""

    topic: ClassVar[str] = REQUESTS_TOPIC
    type: ClassVar[str] = "privacy.erasure-barrier-set.v1"
    request_id: UUID
    customer_id: UUID
    offsets: dict[str, int]


class KeysDestroyed(Event, frozen=True, kw_only=True):
    """Step 4: these keys are gone; every process drops them from its cache. In parts of at most `PART_KEYS_MAX`.

    Attributes:
        acknowledge: on the last part of an erasure: every process answers `KeysEvicted`, so that nobody waits for the caches to run out.
    """

    topic: ClassVar[str] = REQUESTS_TOPIC
    type: ClassVar[str] = "privacy.keys-destroyed.v1"
    request_id: UUID
    key_ids: tuple[UUID, ...]
    part: int
    parts: int
    acknowledge: bool = False


class AccessRequested(Event, frozen=True, kw_only=True):
    """A person asks for a copy: every holder answers with `AccessPart`s sealed under the request's key (key id = request id)."""

    topic: ClassVar[str] = REQUESTS_TOPIC
    type: ClassVar[str] = "privacy.access-requested.v1"
    request_id: UUID
    customer_id: UUID


class ErasureReceipt(Event, frozen=True, kw_only=True):
    """What one holder did for an erasure. Keyed by request id.

    Attributes:
        stage: `drained` (intake only) or `erased`.
        instance: the process that answers; of `drained` receipts one per live process is awaited.
        live_instances: on `drained`: every intake process alive by the ledger of leases.
        attempt: on `drained`: which asking this answers.
        offsets: on `drained`: end offsets of the submissions topic after the drain, by partition number as text.
        counts: what was erased, by collection or topic.
        key_ids: keys that sealed what the holder held, this part of them.
        key_ids_in_all: how many key ids all parts name together, the same in every part; None: the holder does not know.
            No key is destroyed and nothing is certified while fewer have come.
    """

    topic: ClassVar[str] = RECEIPTS_TOPIC
    type: ClassVar[str] = "privacy.erasure-receipt.v1"
    request_id: UUID
    holder: Holder
    stage: Literal["drained", "erased"]
    instance: str = ""
    live_instances: tuple[str, ...] = ()
    attempt: int = 1
    offsets: dict[str, int] = {}
    counts: dict[str, int] = {}
    key_ids: tuple[UUID, ...] = ()
    key_ids_in_all: int | None = None
    part: int = 1
    parts: int = 1


class KeysEvicted(Event, frozen=True, kw_only=True):
    """One process holds none of an erasure's destroyed keys in memory any more. Keyed by request id.

    Attributes:
        holder: its service.
        instance: the process; one answer per live process is awaited, for a cache period at most.
        live_instances: every process of the service alive by the ledger of leases.
    """

    topic: ClassVar[str] = RECEIPTS_TOPIC
    type: ClassVar[str] = "privacy.keys-evicted.v1"
    request_id: UUID
    holder: Holder
    instance: str
    live_instances: tuple[str, ...]


class AccessPart(Event, frozen=True, kw_only=True):
    """One part of what a holder knows about the person: JSON, sealed under the request's key; associated data = request id | 1."""

    topic: ClassVar[str] = RECEIPTS_TOPIC
    type: ClassVar[str] = "privacy.access-part.v1"
    request_id: UUID
    holder: Holder
    part: int
    parts: int
    sealed: bytes


class EntityKeysClosed(Event, frozen=True, kw_only=True):
    """Keys of closed membership epochs: the new snapshot is acknowledged, so privacy destroys them after one cache period."""

    topic: ClassVar[str] = RECEIPTS_TOPIC
    type: ClassVar[str] = "privacy.entity-keys-closed.v1"
    customer_id: UUID
    key_ids: tuple[UUID, ...]


REQUEST_EVENTS: tuple[type[Event], ...] = (ErasureRequested, ErasureBarrierSet, KeysDestroyed, AccessRequested)
RECEIPT_EVENTS: tuple[type[Event], ...] = (ErasureReceipt, KeysEvicted, AccessPart, EntityKeysClosed)
