"""Privacy's ports in memory: pass the same suite as those on MongoDB, so unit tests may trust them. A transaction is whatever the caller passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.privacy.domain.audit import GENESIS, Entry
from services.privacy.domain.consents import LedgerRow
from services.privacy.domain.erasure import Stage
from services.privacy.domain.requests import COLLECTING, READY, Receipt, Request
from services.privacy.ports import CustomerConsents, DirtyMark
from shared.storage import Transaction, TransientStorageError


class MemoryConsentLedger:
    """`Ledger` without a server."""

    def __init__(self) -> None:
        self._rows: dict[UUID, LedgerRow] = {}
        self._customers: dict[UUID, CustomerConsents] = {}
        self._marks: dict[tuple[UUID, UUID], DirtyMark] = {}
        self._fillers: dict[UUID, tuple[int, datetime]] = {}

    async def rows(self, ids: Iterable[UUID], transaction: Transaction | None = None) -> dict[UUID, LedgerRow]:
        return {each: self._rows.get(each, LedgerRow(each)) for each in ids}

    async def rows_of(self, customers: Iterable[UUID], transaction: Transaction | None = None) -> list[LedgerRow]:
        wanted = set(customers)
        return [row for row in self._rows.values() if row.customer_id in wanted]

    async def save_rows(self, rows: Sequence[LedgerRow], transaction: Transaction) -> None:
        self._rows |= {row.submission_id: row for row in rows}

    async def customers(self, ids: Iterable[UUID], transaction: Transaction | None = None) -> dict[UUID, CustomerConsents]:
        return {each: self._customers.get(each, CustomerConsents(each)) for each in ids}

    async def save_customers(self, states: Sequence[CustomerConsents], transaction: Transaction) -> None:
        self._customers |= {state.customer_id: state for state in states}

    async def add_marks(self, marks: Sequence[DirtyMark], transaction: Transaction) -> None:
        self._marks |= {(mark.customer_id, mark.cause): mark for mark in marks}

    async def marks(self, partition: int, limit: int, transaction: Transaction) -> list[DirtyMark]:
        return [mark for mark in self._marks.values() if mark.partition == partition][:limit]

    async def partitions_due(self, now: datetime) -> list[int]:
        due = {partition for partition, at in self._fillers.values() if at <= now}
        return sorted(due | {mark.partition for mark in self._marks.values()})

    async def delete_marks(self, marks: Sequence[DirtyMark], transaction: Transaction) -> None:
        for mark in marks:
            self._marks.pop((mark.customer_id, mark.cause), None)

    async def add_fillers(self, customers: Mapping[UUID, int], due_at: datetime, transaction: Transaction) -> None:
        self._fillers |= {customer: (partition, due_at) for customer, partition in customers.items()}

    async def take_fillers(self, partition: int, now: datetime, transaction: Transaction) -> list[UUID]:
        due = [customer for customer, (at_partition, at) in self._fillers.items() if at_partition == partition and at <= now]
        for customer in due:
            del self._fillers[customer]
        return due

    async def erased_by(self, request_id: UUID, transaction: Transaction | None = None) -> list[UUID]:
        return [state.customer_id for state in self._customers.values() if state.erased_by == request_id]


class MemoryRequestBook:
    """`RequestBook` without a server."""

    def __init__(self) -> None:
        self._requests: dict[UUID, Request] = {}
        self._receipts: dict[str, Receipt] = {}
        self._parts: dict[tuple[UUID, str, int], tuple[int, bytes]] = {}
        self._closed: dict[UUID, tuple[UUID, datetime, datetime | None]] = {}
        self._audit: list[Entry] = []
        self._certificates: dict[UUID, dict[str, Any]] = {}

    async def request(self, request_id: UUID, transaction: Transaction | None = None) -> Request | None:
        return self._requests.get(request_id)

    async def requests(
        self,
        transaction: Transaction | None = None,
        *,
        kind: str | None = None,
        stages: Iterable[str] | None = None,
        customers: Iterable[UUID] | None = None,
        limit: int = 0,
    ) -> list[Request]:
        of_stages = None if stages is None else set(map(str, stages))
        of_customers = None if customers is None else set(customers)
        found = [
            each
            for each in self._requests.values()
            if kind in (None, each.kind)
            and (of_stages is None or str(each.stage) in of_stages)
            and (of_customers is None or each.customer_id in of_customers)
        ]
        return sorted(found, key=lambda each: each.opened_at, reverse=True)[: limit or None]

    async def anything_due(self, exports_before: datetime, now: datetime) -> bool:
        waiting = {Stage.DRAINING.value, Stage.DESTROYING.value}
        old = {COLLECTING, READY}
        moving = any(str(each.stage) in waiting or (each.stage in old and each.opened_at <= exports_before) for each in self._requests.values())
        return moving or any(destroyed is None and due_at <= now for _, due_at, destroyed in self._closed.values())

    async def save_request(self, request: Request, transaction: Transaction) -> None:
        self._requests[request.request_id] = request

    async def add_receipts(self, receipts: Sequence[Receipt], transaction: Transaction) -> None:
        for receipt in receipts:
            if receipt.stage == "drained":
                self._receipts[receipt.id] = receipt
            else:
                self._receipts.setdefault(receipt.id, receipt)

    async def receipts(self, request_id: UUID, transaction: Transaction | None = None, *, with_keys: bool = False) -> list[Receipt]:
        found = sorted((each for each in self._receipts.values() if each.request_id == request_id), key=lambda each: each.id)
        return found if with_keys else [replace(each, key_ids=each.key_ids[:1]) for each in found]

    async def spend(self, receipt: Receipt, transaction: Transaction) -> None:
        self._receipts[receipt.id] = replace(self._receipts[receipt.id], spent=True)

    async def add_access_part(self, request_id: UUID, holder: str, part: int, parts: int, sealed: bytes, transaction: Transaction) -> None:
        self._parts.setdefault((request_id, holder, part), (parts, sealed))

    async def access_parts(self, request_id: UUID, transaction: Transaction | None = None) -> list[tuple[str, int, int]]:
        return sorted((holder, part, parts) for (request, holder, part), (parts, _) in self._parts.items() if request == request_id)

    async def access_content(self, request_id: UUID, holder: str, part: int) -> bytes | None:
        _, sealed = self._parts.get((request_id, holder, part), (0, None))
        return sealed

    async def delete_access_parts(self, request_id: UUID, transaction: Transaction) -> None:
        self._parts = {place: content for place, content in self._parts.items() if place[0] != request_id}

    async def add_closed_keys(self, customer: UUID, key_ids: Sequence[UUID], due_at: datetime, transaction: Transaction) -> None:
        for key_id in key_ids:
            self._closed.setdefault(key_id, (customer, due_at, None))

    async def closed_keys(
        self, transaction: Transaction, *, due_by: datetime | None = None, customers: Iterable[UUID] | None = None, limit: int = 0
    ) -> list[tuple[UUID, UUID, datetime | None]]:
        wanted = None if customers is None else set(customers)
        found = [
            (key_id, customer, destroyed)
            for key_id, (customer, due_at, destroyed) in self._closed.items()
            if (due_by is None or (destroyed is None and due_at <= due_by)) and (wanted is None or customer in wanted)
        ]
        return found[: limit or None]

    async def note_closed_destroyed(self, key_ids: Sequence[UUID], at: datetime, transaction: Transaction) -> None:
        for key_id in key_ids:
            if key_id in self._closed:
                customer, due_at, _ = self._closed[key_id]
                self._closed[key_id] = (customer, due_at, at)

    async def audit_head(self, transaction: Transaction | None = None) -> tuple[int, str]:
        return (len(self._audit), self._audit[-1].hash) if self._audit else (0, GENESIS)

    async def append_audit(self, entry: Entry, transaction: Transaction) -> None:
        if entry.position != len(self._audit) + 1:
            raise TransientStorageError("the audit chain grew meanwhile")
        self._audit.append(entry)

    async def save_certificate(
        self, request_id: UUID, signed: Mapping[str, Any], slots_waiting: Sequence[int], closed_at: datetime, transaction: Transaction
    ) -> None:
        held = self._certificates.setdefault(request_id, {"revisions": []})
        held["revisions"].append(dict(signed))
        held |= {"slots_waiting": list(slots_waiting), "closed_at": closed_at}

    async def certificate(self, request_id: UUID, transaction: Transaction | None = None) -> dict[str, Any] | None:
        return self._certificates.get(request_id)
