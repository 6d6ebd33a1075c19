"""Open what profile holds about a customer: the raw material of every look and export. Masking is the door's work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.profile.domain.contribution import Contribution
from services.profile.domain.customer import Customer, CustomerState
from services.profile.ports import CustomerReader
from services.profile.use_cases.likeness import open_body, open_golden
from shared.contracts.profile import GoldenRecord
from shared.contracts.submission import SubmissionBody
from shared.sealing import BlindIndex, DataKey, KeyRing

ALIASES_MAX = 64
"""Longest chain of merges that is followed; a longer one is a fault, not a person."""
MATCHES_MAX = 20

Cursor = tuple[str, UUID]


@dataclass(frozen=True, slots=True)
class Portrayed:
    """A customer with its golden record opened; None where the key was destroyed though a record is stored."""

    customer: Customer
    golden: GoldenRecord | None


@dataclass(frozen=True, slots=True)
class Moment:
    """One item of a timeline; `body` None: its key was destroyed."""

    row: Contribution
    body: SubmissionBody | None


class ReadCustomers:
    """Finds customers and opens what is known of them."""

    def __init__(self, reader: CustomerReader, ring: KeyRing, index: BlindIndex) -> None:
        self._reader = reader
        self._ring = ring
        self._index = index

    async def living(self, customer_id: UUID) -> Customer | None:
        """The active customer that this id names, directly or as an alias; None if unknown or erased."""
        for _ in range(ALIASES_MAX):
            customer = await self._reader.customer(customer_id)
            if customer is None or customer.is_erased:
                return None
            if customer.state is CustomerState.ACTIVE or customer.alias_of is None:
                return customer
            customer_id = customer.alias_of
        return None

    async def by_identifier(self, kind: str, value: str, namespace: str) -> Sequence[Customer]:
        """Active customers that this canonical value names."""
        return await self._reader.by_token(self._index.token(kind, value, namespace), MATCHES_MAX)

    async def portrayed(self, customers: Sequence[Customer]) -> list[Portrayed]:
        """The customers with their golden records."""
        keys = await self._ring.open(customer.key_id for customer in customers if customer.key_id is not None)
        return [Portrayed(customer, _golden(customer, keys)) for customer in customers]

    async def timeline(self, customer_id: UUID, kinds: Sequence[str], before: Cursor | None, limit: int) -> list[Moment]:
        """A page of the timeline, newest first."""
        rows = await self._reader.timeline(customer_id, kinds, before, limit)
        keys = await self._ring.open(row.submission_id for row in rows)
        return [Moment(row, open_body(row, keys[row.submission_id])) for row in rows]


def _golden(customer: Customer, keys: Mapping[UUID, DataKey | None]) -> GoldenRecord | None:
    return GoldenRecord() if customer.key_id is None else open_golden(customer, keys[customer.key_id])


def cursor_behind(moments: Sequence[Moment]) -> Cursor | None:
    """Where the next page begins."""
    if not moments or moments[-1].row.content is None:
        return None
    return moments[-1].row.content.occurred_on.isoformat(), moments[-1].row.submission_id


def shown_cursor(cursor: Cursor) -> str:
    """A cursor as a client sends it back: day and submission id, neither of them personal."""
    return f"{cursor[0]}_{cursor[1]}"


def read_cursor(shown: str) -> Cursor:
    """The cursor behind its shown form.

    Raises:
        ValueError: it is none.
    """
    day, _, submission_id = shown.partition("_")
    return date.fromisoformat(day).isoformat(), UUID(submission_id)
