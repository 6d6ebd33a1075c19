"""Values to documents and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from services.privacy.domain.audit import Entry
from services.privacy.domain.consents import Choice, LedgerRow
from services.privacy.domain.requests import Receipt, Request
from services.privacy.ports import CustomerConsents, DirtyMark
from shared.storage import Document, ReplaceOne


def replacing(document: Document) -> ReplaceOne[Any]:
    """Stores the document whole, new or not."""
    return ReplaceOne({"_id": document["_id"]}, document, upsert=True)


def _optional(raw: bytes | None) -> UUID | None:
    return None if raw is None else UUID(bytes=raw)


def of_row(row: LedgerRow) -> Document:
    """The document."""
    if row.erased:
        return {"_id": row.submission_id.bytes, "erased": True}
    return {
        "_id": row.submission_id.bytes,
        "customer": row.customer_id.bytes if row.customer_id else None,
        "assignment": row.assignment,
        "occurred_at": row.occurred_at,
        "recorded_at": row.recorded_at,
        "channel": row.channel_id,
        "choices": [asdict(choice) for choice in row.choices],
    }


def to_row(document: Document) -> LedgerRow:
    """The value."""
    submission = UUID(bytes=document["_id"])
    if document.get("erased"):
        return LedgerRow(submission, erased=True)
    return LedgerRow(
        submission,
        _optional(document["customer"]),
        document["assignment"],
        document["occurred_at"],
        document["recorded_at"],
        document["channel"],
        tuple(Choice(**choice) for choice in document["choices"]),
    )


def of_customer(state: CustomerConsents) -> Document:
    """The document."""
    document: Document = {"_id": state.customer_id.bytes, "version": state.version}
    if state.erased_by is not None:
        return document | {"erased_by": state.erased_by.bytes}
    return document | {"purposes": dict(state.purposes or {}), "alias_of": state.alias_of.bytes if state.alias_of else None}


def to_customer(document: Document) -> CustomerConsents:
    """The value."""
    return CustomerConsents(
        UUID(bytes=document["_id"]),
        document["version"],
        document.get("purposes"),
        _optional(document.get("alias_of")),
        _optional(document.get("erased_by")),
    )


def mark_id(mark: DirtyMark) -> bytes:
    """One mark per customer and cause."""
    return mark.customer_id.bytes + mark.cause.bytes


def of_mark(mark: DirtyMark) -> Document:
    """The document."""
    erased_by = mark.erased_by.bytes if mark.erased_by else None
    return {"_id": mark_id(mark), "partition": mark.partition, "erased_by": erased_by, "part": mark.part, "parts": mark.parts}


def to_mark(document: Document) -> DirtyMark:
    """The value."""
    customer, cause = UUID(bytes=document["_id"][:16]), UUID(bytes=document["_id"][16:])
    return DirtyMark(customer, cause, document["partition"], _optional(document["erased_by"]), document["part"], document["parts"])


def of_request(request: Request) -> Document:
    """The document."""
    return {
        "_id": request.request_id.bytes,
        "kind": request.kind,
        "customer": request.customer_id.bytes,
        "opened_at": request.opened_at,
        "opened_by": request.opened_by,
        "stage": str(request.stage),
        "asked_at": request.asked_at,
        "attempt": request.attempt,
        "steps": [{"step": step, "at": at} for step, at in request.steps],
    }


def to_request(document: Document) -> Request:
    """The value."""
    return Request(
        UUID(bytes=document["_id"]),
        document["kind"],
        UUID(bytes=document["customer"]),
        document["opened_at"],
        document["opened_by"],
        document["stage"],
        document["asked_at"],
        document["attempt"],
        tuple((each["step"], each["at"]) for each in document["steps"]),
    )


def of_receipt(receipt: Receipt) -> Document:
    """The document."""
    return {
        "_id": receipt.id,
        "request": receipt.request_id.bytes,
        "holder": receipt.holder,
        "stage": receipt.stage,
        "place": receipt.place,
        "part": receipt.part,
        "parts": receipt.parts,
        "live": list(receipt.live),
        "attempt": receipt.attempt,
        "offsets": dict(receipt.offsets),
        "counts": dict(receipt.counts),
        "keys": [each.bytes for each in receipt.key_ids],
        "spent": receipt.spent,
        "key_count": receipt.key_count,
        "keys_in_all": receipt.keys_in_all,
    }


def to_receipt(document: Document) -> Receipt:
    """The value."""
    return Receipt(
        UUID(bytes=document["request"]),
        document["holder"],
        document["stage"],
        document["place"],
        document["part"],
        document["parts"],
        live=tuple(document["live"]),
        attempt=document.get("attempt", 1),
        offsets=document["offsets"],
        counts=document["counts"],
        key_ids=tuple(UUID(bytes=each) for each in document["keys"]),
        spent=document["spent"],
        key_count=document["key_count"],
        keys_in_all=document["keys_in_all"],
    )


def of_audit_entry(entry: Entry) -> Document:
    """The document."""
    document = asdict(entry)
    return {"_id": document.pop("position"), **document, "hash": entry.hash}


def to_audit_entry(document: Document) -> tuple[Entry, str]:
    """The value."""
    members = dict(document)
    stored = str(members.pop("hash"))
    return Entry(position=members.pop("_id"), **members), stored
