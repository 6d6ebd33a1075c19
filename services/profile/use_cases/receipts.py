"""What profile answers to privacy: receipts of an erasure and keys of closed epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from services.profile.domain.customer import Customer
from services.profile.ports import ClosedKey, Erasure
from shared.contracts.event import Outgoing
from shared.contracts.ids import event_id
from shared.contracts.privacy import RECEIPTS_TOPIC, EntityKeysClosed, ErasureReceipt


def erasure_receipt(
    erasure: Erasure, customer: Customer, closed: Sequence[UUID], counts: Mapping[str, int], at: datetime, traceparent: str | None = None
) -> Outgoing:
    """One part of the receipt: the customer's own key and those of earlier epochs that were not reported yet."""
    own = () if customer.key_id is None else (customer.key_id,)
    receipt = ErasureReceipt(
        request_id=erasure.request_id,
        holder="profile",
        stage="erased",
        counts=dict(counts),
        key_ids=(*own, *closed),
        part=erasure.part,
        parts=erasure.parts,
    )
    identity = event_id(erasure.request_id, f"profile-erased:{erasure.part}")
    return Outgoing(RECEIPTS_TOPIC, erasure.request_id.bytes, identity, receipt, at, None, traceparent)


def keys_closed(customer: UUID, keys: Sequence[ClosedKey], at: datetime) -> Outgoing:
    """These keys seal nothing that is still the last word on the customer."""
    key_ids = tuple(sorted(key.key_id for key in keys))
    identity = event_id(customer, f"keys-closed:{','.join(key_id.hex for key_id in key_ids)}")
    return Outgoing(RECEIPTS_TOPIC, customer.bytes, identity, EntityKeysClosed(customer_id=customer, key_ids=key_ids), at)
