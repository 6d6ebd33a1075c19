"""What the use cases need from the world: a snapshot to read, keys, and a place for what should change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.profile.domain.contribution import Contribution
from services.profile.domain.customer import Customer
from shared.contracts.event import Event, Outgoing
from shared.sealing import DataKey


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event of the identities topic with the id it was published under.

    Attributes:
        dead_letters: of an erasure, how many records that were set aside went with it.
    """

    event: Event
    event_id: UUID
    traceparent: str | None = None
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class Erasure:
    """The receipt that an erased customer owes: part number `part` of `parts`."""

    request_id: UUID
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A note to the owner of a customer, made by whoever changed its rows.

    One per (customer, cause), so that the owner deletes exactly what it has seen.

    Attributes:
        gained: a submission to add; None: something went, fold again from all rows.
        erasure: forget the customer, and answer with this receipt.
    """

    customer: UUID
    cause: UUID
    partition: int
    gained: UUID | None = None
    erasure: Erasure | None = None


@dataclass(frozen=True, slots=True)
class ClosedKey:
    """An entity key of a closed membership epoch, to be reported once no snapshot sealed by it is the last one published."""

    key_id: UUID
    customer: UUID
    partition: int


@dataclass(frozen=True, slots=True)
class Filler:
    """A record to append behind a tombstone, later: only an append closes a segment, and only a closed one is compacted."""

    customer: UUID
    partition: int
    due_at: datetime


@dataclass(slots=True)
class Changes:
    """All that one batch changes; nothing of it is done yet.

    Attributes:
        contributions: row before (None: not there) and after, by submission id.
        customers: document before and after; a version of 0 before means not there.
        applied_at: when the batch was folded, for the trace of a submission.
    """

    applied_at: datetime
    contributions: dict[UUID, tuple[Contribution | None, Contribution]] = field(default_factory=dict)
    customers: list[tuple[Customer, Customer]] = field(default_factory=list)
    marks_made: dict[tuple[UUID, UUID], Mark] = field(default_factory=dict)
    marks_done: list[Mark] = field(default_factory=list)
    keys_closed: list[ClosedKey] = field(default_factory=list)
    keys_reported: list[ClosedKey] = field(default_factory=list)
    fillers_made: list[Filler] = field(default_factory=list)
    fillers_done: list[Filler] = field(default_factory=list)
    events: list[Outgoing] = field(default_factory=list)


class Snapshot(Protocol):
    """Reads of one transaction. Every method is one round trip at most; ids that are not there are left out."""

    async def contributions(self, submission_ids: Iterable[UUID]) -> Mapping[UUID, Contribution]:
        """Rows without their content: who holds them and in what state."""
        ...

    async def present(self, customers: Iterable[UUID], submission_ids: Iterable[UUID]) -> Sequence[Contribution]:
        """Present rows with their content: all that these customers hold, and those named."""
        ...

    async def customers(self, customer_ids: Iterable[UUID]) -> Mapping[UUID, Customer]:
        """The stored documents."""
        ...

    async def marks(self, partition: int) -> Sequence[Mark]:
        """Marks for the owner of this partition, a pass's worth: of each customer in it, all that there are."""
        ...

    async def closed_keys_of(self, customer: UUID) -> Sequence[ClosedKey]:
        """Closed keys of this customer that were not reported yet."""
        ...

    async def reportable_keys(self, partition: int) -> Sequence[ClosedKey]:
        """Closed keys of this partition whose successors' snapshots have been acknowledged by the broker."""
        ...

    async def fillers(self, partition: int, now: datetime) -> Sequence[Filler]:
        """Fillers of this partition that are due."""
        ...


class Keys(Protocol):
    """The key ring, bound to one transaction."""

    async def open(self, key_ids: Iterable[UUID]) -> Mapping[UUID, DataKey | None]:
        """The keys; None for a destroyed one."""
        ...

    async def create(self, key_ids: Sequence[UUID]) -> Mapping[UUID, DataKey]:
        """New keys, there once the transaction commits."""
        ...


class CustomerReader(Protocol):
    """Committed state for people who look, outside any batch."""

    async def customer(self, customer_id: UUID) -> Customer | None:
        """The stored document."""
        ...

    async def by_token(self, token: bytes, limit: int) -> Sequence[Customer]:
        """Active customers known by this token."""
        ...

    async def timeline(self, customer_id: UUID, kinds: Sequence[str], before: tuple[str, UUID] | None, limit: int) -> Sequence[Contribution]:
        """Present rows, newest first, strictly behind (`occurred day`, submission id)."""
        ...

    async def contribution(self, submission_id: UUID) -> tuple[Contribution, datetime | None, int | None] | None:
        """A row, when it was applied, and the customer's version then (None: it was applied by another customer's worker)."""
        ...

    async def log_read(self, read: ReadEntry) -> None:
        """Durable when it returns."""
        ...


@dataclass(frozen=True, slots=True)
class ReadEntry:
    """Who looked at whom: opaque ids and field names only."""

    at: datetime
    principal: str
    customers: tuple[UUID, ...]
    what: str
    fields: tuple[str, ...]
    unmasked: bool
