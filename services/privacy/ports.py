"""What the use cases need from outside. Whatever takes a transaction is part of it: it happens as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from services.privacy.domain.audit import Entry
from services.privacy.domain.consents import LedgerRow
from services.privacy.domain.requests import Receipt, Request
from shared.messaging import Record
from shared.sealing import DataKey
from shared.storage import Transaction


@dataclass(frozen=True, slots=True)
class CustomerConsents:
    """What was last published about a customer.

    Attributes:
        purposes: purpose -> {state, notice_version, since}, as published.
        alias_of: the customer that absorbed this one.
        erased_by: the request that erased it; then nothing else is kept and nothing is ever published again.
    """

    customer_id: UUID
    version: int = 0
    purposes: Mapping[str, Mapping[str, Any]] | None = None
    alias_of: UUID | None = None
    erased_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class DirtyMark:
    """Asks the worker that owns a customer's partition to fold it again, or to report that it is erased."""

    customer_id: UUID
    cause: UUID
    partition: int
    erased_by: UUID | None = None
    part: int = 0
    parts: int = 0


class Ledger(Protocol):
    """Consent rows, the published state per customer, and the marks between workers."""

    async def rows(self, ids: Iterable[UUID], transaction: Transaction | None = None) -> dict[UUID, LedgerRow]:
        """The rows of these submissions; one for each id, fresh where there is none."""
        ...

    async def rows_of(self, customers: Iterable[UUID], transaction: Transaction | None = None) -> list[LedgerRow]:
        """All rows that belong to these customers now."""
        ...

    async def save_rows(self, rows: Sequence[LedgerRow], transaction: Transaction) -> None:
        """Stores the rows whole."""
        ...

    async def customers(self, ids: Iterable[UUID], transaction: Transaction | None = None) -> dict[UUID, CustomerConsents]:
        """The published state; one for each id, version 0 where there is none."""
        ...

    async def save_customers(self, states: Sequence[CustomerConsents], transaction: Transaction) -> None:
        """Stores the states whole."""
        ...

    async def add_marks(self, marks: Sequence[DirtyMark], transaction: Transaction) -> None:
        """Leaves work for other partitions' owners; a mark that is there already stays one."""
        ...

    async def marks(self, partition: int, limit: int, transaction: Transaction) -> list[DirtyMark]:
        """Marks for the owner of this partition."""
        ...

    async def partitions_due(self, now: datetime) -> list[int]:
        """Partitions whose owner has marks or repeated tombstones to see to."""
        ...

    async def delete_marks(self, marks: Sequence[DirtyMark], transaction: Transaction) -> None:
        """Removes exactly these marks."""
        ...

    async def add_fillers(self, customers: Mapping[UUID, int], due_at: datetime, transaction: Transaction) -> None:
        """Remembers to repeat these tombstones, since only a later write lets the broker drop the old segment.

        Args:
            customers: each with its owner's partition.
        """
        ...

    async def take_fillers(self, partition: int, now: datetime, transaction: Transaction) -> list[UUID]:
        """Removes and returns the customers whose tombstone is due again."""
        ...

    async def erased_by(self, request_id: UUID, transaction: Transaction | None = None) -> list[UUID]:
        """Every customer that this erasure took: the one that was asked for and its aliases."""
        ...


class RequestBook(Protocol):
    """Requests, receipts, access parts, certificates, closed keys and the audit chain."""

    async def request(self, request_id: UUID, transaction: Transaction | None = None) -> Request | None:
        """The request, or None."""
        ...

    async def requests(
        self,
        transaction: Transaction | None = None,
        *,
        kind: str | None = None,
        stages: Iterable[str] | None = None,
        customers: Iterable[UUID] | None = None,
        limit: int = 0,
    ) -> list[Request]:
        """Requests that meet all criteria given, newest first; a limit of 0 is none."""
        ...

    async def anything_due(self, exports_before: datetime, now: datetime) -> bool:
        """Whether time alone may move something: an erasure that asks again or destroys keys, an export opened before, a closed key."""
        ...

    async def save_request(self, request: Request, transaction: Transaction) -> None:
        """Stores the request whole."""
        ...

    async def add_receipts(self, receipts: Sequence[Receipt], transaction: Transaction) -> None:
        """Keeps the first of each `erased` receipt and the latest of each `drained` one."""
        ...

    async def receipts(self, request_id: UUID, transaction: Transaction | None = None, *, with_keys: bool = False) -> list[Receipt]:
        """All receipts of a request, in a stable order. Without `with_keys` at most one key id of each is read."""
        ...

    async def spend(self, receipt: Receipt, transaction: Transaction) -> None:
        """Notes that the receipt's keys are destroyed."""
        ...

    async def add_access_part(self, request_id: UUID, holder: str, part: int, parts: int, sealed: bytes, transaction: Transaction) -> None:
        """Keeps the first of each part."""
        ...

    async def access_parts(self, request_id: UUID, transaction: Transaction | None = None) -> list[tuple[str, int, int]]:
        """Holder, part, parts: what has come, without its content."""
        ...

    async def access_content(self, request_id: UUID, holder: str, part: int) -> bytes | None:
        """The sealed content of one part, or None if it is not there."""
        ...

    async def delete_access_parts(self, request_id: UUID, transaction: Transaction) -> None:
        """Deletes the export's content."""
        ...

    async def add_closed_keys(self, customer: UUID, key_ids: Sequence[UUID], due_at: datetime, transaction: Transaction) -> None:
        """Keys of ended membership epochs, to be destroyed at `due_at`."""
        ...

    async def closed_keys(
        self, transaction: Transaction, *, due_by: datetime | None = None, customers: Iterable[UUID] | None = None, limit: int = 0
    ) -> list[tuple[UUID, UUID, datetime | None]]:
        """Key id, customer, time of destruction. With `due_by`: those not destroyed yet that are due."""
        ...

    async def note_closed_destroyed(self, key_ids: Sequence[UUID], at: datetime, transaction: Transaction) -> None:
        """Remembers that, so that a later certificate waits for their slots."""
        ...

    async def audit_head(self, transaction: Transaction) -> tuple[int, str]:
        """Position and hash of the last entry."""
        ...

    async def append_audit(self, entry: Entry, transaction: Transaction) -> None:
        """Adds the entry behind the head; conflicts with whoever appends at the same time."""
        ...

    async def save_certificate(
        self, request_id: UUID, signed: Mapping[str, Any], slots_waiting: Sequence[int], closed_at: datetime, transaction: Transaction
    ) -> None:
        """Adds a revision."""
        ...

    async def certificate(self, request_id: UUID, transaction: Transaction | None = None) -> dict[str, Any] | None:
        """`revisions` (oldest first), `slots_waiting` and `closed_at`, or None."""
        ...


class SetAside(Protocol):
    """This service's dead letters."""

    async def forget_erased(self, records: Iterable[Record], transaction: Transaction) -> Mapping[UUID, int]:
        """Deletes those that the erasures among these records reach. Returns how many, by the id of the erasing event."""
        ...


class Keys(Protocol):
    """The key ring."""

    async def create(self, key_ids: Sequence[UUID], transaction: Transaction) -> Mapping[UUID, DataKey]:
        """New keys, durable with the transaction."""
        ...

    async def open(self, key_ids: Iterable[UUID]) -> Mapping[UUID, DataKey | None]:
        """The keys; None for a destroyed one."""
        ...

    async def destroy(self, key_ids: Iterable[UUID], transaction: Transaction) -> Any:
        """Nulls the keys; those that are gone already stay as they are."""
        ...


class Signer(Protocol):
    """The installation's certificate key."""

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature, 64 bytes."""
        ...

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        ...
