"""What the use cases need: a snapshot to read, keys for an access request, and figures for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.analytics.domain.cells import Cell, Count
from services.analytics.domain.contribution import Contribution
from services.analytics.domain.customer import Customer
from shared.contracts.event import Event, Outgoing
from shared.sealing import DataKey


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event with the id it was published under and the time the broker took it.

    Attributes:
        dead_letters: of an erasure, how many records that were set aside went with it.
    """

    event: Event
    event_id: UUID
    occurred_at: datetime
    traceparent: str | None = None
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """A note to the owner of a customer to fold it anew, since rows left it or somebody else changed them; `erased`: it was erased.

    One per (customer, cause), so that the owner deletes exactly what it has seen.
    """

    customer: UUID
    cause: UUID
    partition: int
    erased: bool = False


@dataclass(slots=True)
class Changes:
    """All that one batch changes; nothing of it is done yet.

    Attributes:
        partition: whose counters are booked.
        contributions: row before (None: not there) and after, by submission id.
        customers: fold before and after.
        counts: what is added to each cell.
        gathered: cells that an erasure lowered: what is left in all, and the partitions whose counters of it go. What is left stands in
            ours alone, and nothing stands where nothing is left, since the cell itself names goods that only the erased may have bought.
        merges: ids of merges heard of for the first time, with their survivors.
    """

    partition: int
    at: datetime
    contributions: dict[UUID, tuple[Contribution | None, Contribution]] = field(default_factory=dict)
    customers: list[tuple[Customer, Customer]] = field(default_factory=list)
    counts: dict[Cell, Count] = field(default_factory=dict)
    gathered: dict[Cell, tuple[Count, frozenset[int]]] = field(default_factory=dict)
    merges: dict[UUID, UUID] = field(default_factory=dict)
    marks_made: dict[tuple[UUID, UUID], Mark] = field(default_factory=dict)
    marks_done: list[Mark] = field(default_factory=list)
    events: list[Outgoing] = field(default_factory=list)


class Snapshot(Protocol):
    """Reads of one transaction; one round trip each, none for nothing. Ids that are not there are left out."""

    async def contributions(self, submission_ids: Iterable[UUID]) -> Mapping[UUID, Contribution]:
        """Rows by submission id."""
        ...

    async def customers(self, customer_ids: Iterable[UUID]) -> Mapping[UUID, Customer]:
        """Stored folds."""
        ...

    async def holdings(self, customer_ids: Iterable[UUID]) -> Mapping[UUID, Sequence[tuple[str | None, int]]]:
        """How many present rows each customer holds, by order day (None: no order)."""
        ...

    async def known_merges(self, merge_ids: Iterable[UUID]) -> set[UUID]:
        """Those that were counted before."""
        ...

    async def counters(self, cells: Iterable[Cell]) -> Mapping[Cell, Mapping[int, Count]]:
        """What each partition's counter of these cells holds."""
        ...

    async def marks(self, partition: int) -> Sequence[Mark]:
        """Marks for the owner of this partition, at most a pass's worth."""
        ...

    async def rows_of(self, customer: UUID) -> Sequence[Contribution]:
        """Present rows of one customer, for its access request."""
        ...


class Keys(Protocol):
    """The key ring."""

    async def open(self, key_ids: Iterable[UUID]) -> Mapping[UUID, DataKey | None]:
        """The keys; None for a destroyed one."""
        ...
