"""Rows and customers as MongoDB documents and back. UUIDs are 16 bytes, days are ISO texts, which sort as they should."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from services.profile.domain.contribution import Content, Contribution, OrderLine, State
from services.profile.domain.customer import Customer, CustomerState
from services.profile.domain.portrait import Tally
from services.profile.ports import Erasure, Mark
from shared.storage import Document


def contribution_document(row: Contribution) -> Document:
    """A row as it is stored; an erased one is its id and state, nothing else."""
    if row.state is State.ERASED or row.customer is None:
        return {"_id": row.submission_id.bytes, "state": State.ERASED.value}
    document: Document = {
        "_id": row.submission_id.bytes,
        "customer": row.customer.bytes,
        "assignment": row.assignment,
        "state": row.state.value,
    }
    if row.content is not None:
        document |= _content_document(row.content)
    return document


def _content_document(content: Content) -> Document:
    return {
        "kind": content.kind,
        "channel": content.channel_id,
        "channel_kind": content.channel_kind,
        "trust": content.channel_trust,
        "received": content.received_on.isoformat(),
        "occurred": content.occurred_on.isoformat(),
        "has_fields": content.has_fields,
        "new_identifiers": content.new_identifiers,
        "lines": [[line.product_code, line.quantity, line.amount_minor, line.currency] for line in content.order_lines],
        "body_version": content.body_version,
        "sealed": content.sealed,
    }


def contribution_from(document: Document) -> Contribution:
    """A stored row; without its content where the reader did not ask for it."""
    holder = document.get("customer")
    return Contribution(
        UUID(bytes=document["_id"]),
        None if holder is None else UUID(bytes=holder),
        document.get("assignment", 0),
        State(document["state"]),
        _content_from(document) if "kind" in document else None,
    )


def _content_from(document: Document) -> Content:
    return Content(
        document["kind"],
        document["channel"],
        document["channel_kind"],
        document["trust"],
        date.fromisoformat(document["received"]),
        date.fromisoformat(document["occurred"]),
        document["has_fields"],
        document["new_identifiers"],
        tuple(OrderLine(*line) for line in document["lines"]),
        document["body_version"],
        document["sealed"],
    )


def customer_document(customer: Customer) -> Document:
    """A customer as it is stored; what is not set is left out."""
    tally = customer.tally
    members = {
        "alias_of": customer.alias_of and customer.alias_of.bytes,
        "decided": customer.decided,
        "epoch": customer.epoch,
        "key": customer.key_id and customer.key_id.bytes,
        "kinds": dict(tally.kinds),
        "orders": tally.order_count,
        "revenue": dict(tally.revenue_minor),
        "first": tally.first_on and tally.first_on.isoformat(),
        "last": tally.last_on and tally.last_on.isoformat(),
        "standings": customer.standings_sealed,
        "golden": customer.golden_sealed,
        "fields": list(customer.fields),
        "tokens": sorted(customer.tokens),
    }
    document: Document = {"_id": customer.customer_id.bytes, "version": customer.version, "state": customer.state.value}
    return document | {name: value for name, value in members.items() if value}


def customer_from(document: Document) -> Customer:
    """A stored customer."""
    first, last = document.get("first"), document.get("last")
    tally = Tally(
        document.get("kinds", {}),
        document.get("orders", 0),
        document.get("revenue", {}),
        date.fromisoformat(first) if first else None,
        date.fromisoformat(last) if last else None,
    )
    return Customer(
        UUID(bytes=document["_id"]),
        document["version"],
        CustomerState(document["state"]),
        _optional_id(document.get("alias_of")),
        document.get("decided", 0),
        document.get("epoch", 0),
        _optional_id(document.get("key")),
        tally,
        document.get("standings", b""),
        document.get("golden", b""),
        tuple(document.get("fields", ())),
        frozenset(document.get("tokens", ())),
    )


def mark_id(mark: Mark) -> bytes:
    """A mark's `_id`: the customer in front, so that a customer's marks lie together."""
    return mark.customer.bytes + mark.cause.bytes


def mark_document(mark: Mark) -> Document:
    """A mark as it is stored, without its id."""
    document: Document = {"partition": mark.partition}
    if mark.gained is not None:
        document["gained"] = mark.gained.bytes
    if mark.erasure is not None:
        document["erasure"] = {"request": mark.erasure.request_id.bytes, "part": mark.erasure.part, "parts": mark.erasure.parts}
    return document


def mark_from(document: Document) -> Mark:
    """A stored mark."""
    erasure = document.get("erasure")
    return Mark(
        UUID(bytes=document["_id"][:16]),
        UUID(bytes=document["_id"][16:]),
        document["partition"],
        _optional_id(document.get("gained")),
        erasure and Erasure(UUID(bytes=erasure["request"]), erasure["part"], erasure["parts"]),
    )


def _optional_id(stored: bytes | None) -> UUID | None:
    return None if stored is None else UUID(bytes=stored)
